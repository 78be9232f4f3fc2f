"""Beam search over anything that can step; a beam of one is greedy search.

Search knows no model. It asks one thing of it, a step, and moves rows of tensors whose first axis
is hypotheses (the state) or sentences (what was encoded).

Shapes: B sentences still open, K beam, W hypotheses a sentence (one at first, then K),
V vocabulary, T tokens written so far.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK
from seq2seq.decoding.engine import Hypothesis
from seq2seq.models import Encoded, State, select

# what follows the last tokens (B * W,), as logits (B * W, V), and the state after them
Step = Callable[[Tensor, State, Encoded], tuple[Tensor, State]]

NEVER = (PAD, UNK, BOS)  # what no hypothesis may contain


class Finished(NamedTuple):
    """The best finished hypotheses of each open sentence, best first; -inf where there is none."""

    scores: Tensor  # (B, K)
    log_probabilities: Tensor  # (B, K)
    tokens: Tensor  # (B, K, T), padded

    def merged(self, other: "Finished") -> "Finished":
        """The best of both."""
        beam = self.scores.shape[1]
        scores, best = torch.cat([self.scores, other.scores], dim=1).topk(beam, dim=1)
        log_probabilities = torch.cat([self.log_probabilities, other.log_probabilities], dim=1)
        tokens = torch.cat([self.tokens, other.tokens], dim=1)
        return Finished(scores, log_probabilities.gather(1, best), pick(tokens, best))

    def selected(self, rows: Tensor) -> "Finished":
        """Those of some sentences."""
        return Finished(*(tensor.index_select(0, rows) for tensor in self))

    def hypotheses(self, sentence: int) -> list[Hypothesis]:
        """Those of a sentence, as lists and numbers."""
        rows = zip(*(tensor[sentence].tolist() for tensor in self), strict=True)
        return [
            Hypothesis([token for token in tokens if token != PAD], score, log_probability)
            for score, log_probability, tokens in rows
            if score > float("-inf")
        ]


@torch.inference_mode()
def search(
    step: Step,
    state: State,
    encoded: Encoded,
    *,
    beam: int,
    max_lengths: Tensor,
    length_penalty: float = 0.0,
) -> list[list[Hypothesis]]:
    """At most `beam` hypotheses of each sentence, best first.

    `state` is that of one hypothesis a sentence, before its first token. `max_lengths` (B,) are
    tokens without </s>: a hypothesis that long must end. A sentence is done when `beam` hypotheses
    have ended; it leaves the batch, and nothing that comes later changes it.
    """
    device = max_lengths.device
    results: list[list[Hypothesis]] = [[] for _ in range(len(max_lengths))]
    open_sentences = torch.arange(len(max_lengths), device=device)
    scores = torch.zeros(len(max_lengths), 1, device=device)  # (B, W) log-probabilities
    tokens = torch.full((len(max_lengths), 1, 1), BOS, device=device)  # (B, W, 1 + T)
    finished: Finished | None = None

    length = 0
    while len(open_sentences):
        logits, state = step(tokens[:, :, -1].flatten(), state, encoded)
        must_end = max_lengths == length
        torch.log_softmax(logits, dim=1, out=logits)
        log_probabilities = allowed(logits.unflatten(0, scores.shape), must_end)
        length += 1

        # Twice the beam: each hypothesis can end once, so half of them or more go on. An end counts
        # only among the first half; further down, it would not have been in the beam.
        totals = log_probabilities.add_(scores[:, :, None]).flatten(1)  # (B, W * V)
        totals, candidates = totals.topk(min(2 * beam, totals.shape[1]), dim=1)
        origins = candidates // logits.shape[1]  # (B, 2 K) which hypothesis each continues
        following = candidates % logits.shape[1]
        longer = torch.cat([pick(tokens, origins), following[:, :, None]], dim=2)
        ends = following == EOS

        counted = totals[:, :beam].masked_fill(~ends[:, :beam], float("-inf"))
        written = longer[:, :beam, 1:].masked_fill(longer[:, :beam, 1:] == EOS, PAD)
        ended = Finished(counted / penalty(length, length_penalty), counted, written)
        finished = _best_of(finished, ended, beam)

        scores, going_on = totals.masked_fill(ends, float("-inf")).topk(
            min(beam, totals.shape[1]), dim=1
        )
        tokens = pick(longer, going_on)
        rows = torch.arange(len(scores), device=device)[:, None] * log_probabilities.shape[1]
        rows = rows + origins.gather(1, going_on)  # (B, W) rows of the state

        done = must_end | (finished.scores > float("-inf")).all(dim=1)
        if done.any():
            for sentence in done.nonzero().flatten().tolist():
                results[int(open_sentences[sentence])] = finished.hypotheses(sentence)
            still = (~done).nonzero().flatten()
            encoded = select(encoded, still)
            finished = finished.selected(still)
            open_sentences, max_lengths = open_sentences[still], max_lengths[still]
            scores, tokens, rows = scores[still], tokens[still], rows[still]
        state = select(state, rows.flatten())
    return results


def allowed(log_probabilities: Tensor, must_end: Tensor) -> Tensor:
    """What may follow (B, W, V): no special token, and </s> alone in sentences (B,) that must end.

    Changes what it is given. Probabilities are not made to sum to one again, so that a score is
    what forced decoding gives.
    """
    log_probabilities[:, :, NEVER] = float("-inf")
    if must_end.any():
        end = log_probabilities[must_end, :, EOS].clone()
        log_probabilities[must_end] = float("-inf")
        log_probabilities[must_end, :, EOS] = end
    return log_probabilities


def penalty(length: int, alpha: float) -> float:
    """What the log-probability of so many tokens, </s> too, is divided by (Wu et al. 2016, 7)."""
    return ((5 + length) / 6) ** alpha


def pick(tensor: Tensor, hypotheses: Tensor) -> Tensor:
    """Some hypotheses (B, n) of each sentence, of a tensor (B, W, ...)."""
    rows = torch.arange(len(tensor), device=tensor.device)[:, None]
    return tensor[rows, hypotheses]


def _best_of(finished: Finished | None, ended: Finished, beam: int) -> Finished:
    if finished is None:
        missing = beam - ended.scores.shape[1]  # a vocabulary smaller than the beam
        pad = torch.nn.functional.pad
        return Finished(
            pad(ended.scores, (0, missing), value=float("-inf")),
            pad(ended.log_probabilities, (0, missing), value=float("-inf")),
            pad(ended.tokens, (0, 0, 0, missing), value=PAD),
        )
    padded = torch.nn.functional.pad(finished.tokens, (0, 1), value=PAD)
    return finished._replace(tokens=padded).merged(ended)
