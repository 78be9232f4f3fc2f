"""Translations drawn at random: a sample depends on the seed, its line and its number alone.

Random numbers come from a counter (Philox; Salmon et al. 2011): those of a sample are found from
its line's number and its own, not from what was drawn before. One is taken a step, and is looked up
in the cumulative distribution of what may follow. So company changes nothing.

Shapes: B sentences still open, W samples of each, N = B * W, V vocabulary, T tokens written so far.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import BOS, EOS, PAD
from seq2seq.decoding.constraints import Constraints
from seq2seq.decoding.coverage import Step
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.rules import FORBIDDEN, rules_of
from seq2seq.models import Encoded, Moves, State, select

WORD = 1 << 64  # numbers that a word of Philox can be


@torch.inference_mode()
def sample(
    step: Step, state: State, encoded: Encoded, requests: Sequence[Request], options: Decoding
) -> list[list[Hypothesis]]:
    """`options.n_best` independent translations of each request, the likeliest first.

    Two may be the same. `state` is that of one hypothesis a sentence, before its first token; it
    and `encoded` are used up. A sample that rules leave nothing to go on with is lost.
    """
    device, count = next(iter(encoded.values())).device, options.n_best
    constraints = Constraints(requests) if any(one.present for one in requests) else None
    rules = rules_of(requests, options, device, [constraints.forbid] if constraints else [])
    uniforms = torch.from_numpy(random_numbers(requests, options.seed, count)).to(device)
    results: list[list[Hypothesis]] = [[] for _ in requests]
    places = torch.arange(len(requests), device=device)  # (B,)
    state = select(state, places.repeat_interleave(count))  # samples share nothing
    tokens = torch.full((len(requests), count, 1), BOS, device=device)  # (B, W, 1 + T)
    totals = torch.zeros(len(requests), count, device=device)  # (B, W) log-probabilities

    while len(places):
        logits, state = step(tokens[:, :, -1].flatten(), state, encoded, None)
        own = logits.log_softmax(dim=1).unflatten(0, totals.shape)  # (B, W, V)
        allowed = own.clone()
        for rule in rules:
            rule(allowed, tokens, places)
        ended = (tokens == EOS).any(dim=2)  # (B, W)
        lost = ~(allowed.amax(dim=2) > FORBIDDEN)  # true of what is not a number, too
        following = draw(allowed, uniforms[places, :, tokens.shape[2] - 1], options)
        following = following.masked_fill(lost, EOS)
        gained = own.gather(2, following[:, :, None])[:, :, 0].masked_fill(lost, FORBIDDEN)
        totals = totals + gained.masked_fill(ended, 0)
        tokens = torch.cat([tokens, following.masked_fill(ended, PAD)[:, :, None]], dim=2)

        done = (ended | (following == EOS)).all(dim=1)
        if done.any():
            for sentence in done.nonzero().flatten().tolist():
                results[int(places[sentence])] = hypotheses(totals[sentence], tokens[sentence])
            moves = Moves.without(done)
            encoded, state = moves.of(encoded), moves.each(count).of(state)
            places, tokens, totals = (one[moves.rows] for one in (places, tokens, totals))
    return results


def random_numbers(requests: Sequence[Request], seed: int, count: int) -> np.ndarray:
    """Numbers in [0, 1), one for each step of each sample: (B, W, longest + 1), float32."""
    steps = max((one.longest for one in requests), default=0) + 1
    found = np.empty((len(requests), count, steps), dtype=np.float32)
    for row, request in enumerate(requests):
        for number in range(count):
            counter = [0, number, request.number % WORD, 0]  # the first counts on by itself
            generator = np.random.Generator(np.random.Philox(key=seed % WORD, counter=counter))
            found[row, number] = generator.random(steps, dtype=np.float32)
    return found


def draw(log_probabilities: Tensor, uniforms: Tensor, options: Decoding) -> Tensor:
    """A token (B, W) of each distribution (B, W, V), by a number (B, W) in [0, 1) for each."""
    kept = narrowed((log_probabilities / options.temperature).softmax(dim=2), options)
    if kept.device.type != "mps":  # which has no such numbers
        kept = kept.double()
    below = kept.cumsum(dim=2)
    below = below / below[:, :, -1:]  # ends with 1, from the last token on that can be drawn
    number = uniforms[:, :, None].to(below.dtype).contiguous()
    found = torch.searchsorted(below, number, right=True)[:, :, 0]
    return found.clamp(max=below.shape[2] - 1)  # where there is nothing to draw


def narrowed(probabilities: Tensor, options: Decoding) -> Tensor:
    """Probabilities (B, W, V), 0 for what top_k, top_p or min_p leave out; no longer of sum 1.

    First top_k (Fan et al. 2018), of that top_p (Holtzman et al. 2020); and min_p (Nguyen et al.
    2025) by what is likeliest of all.
    """
    likeliest = probabilities.amax(dim=2, keepdim=True)
    least = options.min_p * likeliest
    if 0 < options.top_k < probabilities.shape[2]:
        last = probabilities.topk(options.top_k, dim=2).values[:, :, -1:]
        probabilities = probabilities * (probabilities >= last)
    if options.top_p < 1:
        ordered = probabilities.sort(dim=2, descending=True).values
        before = ordered.cumsum(dim=2) - ordered  # the share of all that are likelier
        enough = before >= options.top_p * ordered.sum(dim=2, keepdim=True)
        least = least.maximum(ordered.masked_fill(enough, 2).amin(dim=2, keepdim=True))
    return probabilities * (probabilities >= least)


def hypotheses(totals: Tensor, tokens: Tensor) -> list[Hypothesis]:
    """The samples of a sentence, by log-probabilities (W,) and tokens (W, 1 + T); no lost ones."""
    found = [
        Hypothesis([token for token in written[1:] if token not in (EOS, PAD)], total, total)
        for total, written in zip(totals.tolist(), tokens.tolist(), strict=True)
        if total > FORBIDDEN
    ]
    return sorted(found, key=lambda one: -one.score)
