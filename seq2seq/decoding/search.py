"""Beam search over anything that can step; a beam of one is greedy search.

Search knows no model. It asks one thing of it, a step, tells it which hypotheses go on, and moves
sentences of what was encoded when others are done.

The beam of a sentence may be parted into groups. Each is a search of its own, except that it pays
for going on as the groups before it do (Vijayakumar et al. 2018).

Shapes: B sentences still open, R searches (the groups of a sentence side by side), K hypotheses
that a search keeps, W hypotheses that it has (one at first, then K), V vocabulary, T tokens
written so far.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import BOS, EOS, PAD
from seq2seq.decoding.agreement import penalty
from seq2seq.decoding.constraints import Candidates, Constraints
from seq2seq.decoding.coverage import Step, uncovered
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.rules import FORBIDDEN, rules_of
from seq2seq.decoding.trace import Recorder
from seq2seq.models import Encoded, Moves, State

# the best candidates of searches, by totals (R, W, V), tokens (R, W, 1 + T), requests (R,) and K
Choose = Callable[[Tensor, Tensor, Tensor, int], Candidates]


class Beam(NamedTuple):
    """The hypotheses of each search that go on, or might."""

    scores: Tensor  # (R, W) what they are ranked by while they go on
    log_probabilities: Tensor  # (R, W) the model's own: the same, unless rules change the ranking
    tokens: Tensor  # (R, W, 1 + T), <s> in front

    @classmethod
    def first(cls, searches: int, device: torch.device) -> "Beam":
        """One hypothesis of each, of which nothing is written."""
        nothing = torch.zeros(searches, 1, device=device)
        return cls(nothing, nothing, torch.full((searches, 1, 1), BOS, device=device))

    def picked(self, hypotheses: Tensor) -> "Beam":
        """Some hypotheses (R, n) of each search."""
        return Beam(*(pick(tensor, hypotheses) for tensor in self))

    def without_ends(self) -> "Beam":
        """Those that end are gone: of a small vocabulary there may be too few others."""
        ends = self.tokens[:, :, -1] == EOS
        return self._replace(scores=self.scores.masked_fill(ends, FORBIDDEN))

    def selected(self, rows: Tensor) -> "Beam":
        """Those of some searches."""
        return Beam(*(tensor.index_select(0, rows) for tensor in self))


class Finished(NamedTuple):
    """The finished hypotheses of each search, best first; -inf where there is none.

    A search ends when E have ended; at its last step, K may, so that there is room for all.
    """

    scores: Tensor  # (R, E + K - 1)
    log_probabilities: Tensor  # (R, E + K - 1)
    tokens: Tensor  # (R, E + K - 1, T), padded

    @classmethod
    def none(cls, searches: int, room: int, device: torch.device) -> "Finished":
        """Nothing has ended yet."""
        missing = torch.full((searches, room), FORBIDDEN, device=device)
        return cls(missing, missing, torch.empty(searches, room, 0, dtype=torch.long).to(device))

    def merged(self, later: "Finished") -> "Finished":
        """The best of these and of later ones, which have a token more."""
        scores, best = torch.cat([self.scores, later.scores], 1).topk(self.scores.shape[1], dim=1)
        log_probabilities = torch.cat([self.log_probabilities, later.log_probabilities], dim=1)
        padded = torch.nn.functional.pad(self.tokens, (0, 1), value=PAD)
        tokens = torch.cat([padded, later.tokens], dim=1)
        return Finished(scores, log_probabilities.gather(1, best), pick(tokens, best))

    def selected(self, rows: Tensor) -> "Finished":
        """Those of some searches."""
        return Finished(*(tensor.index_select(0, rows) for tensor in self))

    def hypotheses(self, searches: slice) -> list[Hypothesis]:
        """Those of some searches as lists and numbers, each once, best first."""
        rows = zip(*(tensor[searches].flatten(0, 1).tolist() for tensor in self), strict=True)
        found = [
            Hypothesis([token for token in tokens if token != PAD], score, log_probability)
            for score, log_probability, tokens in rows
            if score > FORBIDDEN
        ]
        once: dict[tuple[int, ...], Hypothesis] = {}
        for one in sorted(found, key=lambda one: -one.score):
            once.setdefault(tuple(one.tokens), one)
        return list(once.values())


class Plan:
    """What is asked for, as a search goes by it. What nobody asks for costs nothing."""

    def __init__(
        self, requests: Sequence[Request], options: Decoding, device: torch.device
    ) -> None:
        self.options, self.groups = options, options.diversity_groups
        self.beam = options.beam // self.groups  # K
        self.longest = torch.tensor([one.longest for one in requests], device=device)
        constraints = Constraints(requests) if any(one.present for one in requests) else None
        more = [constraints.forbid] if constraints else []
        self.rules = rules_of(requests, options, device, more)
        choose = constraints.choose if constraints else likeliest
        self.choose = choose if self.groups == 1 else apart(choose, options)
        self.reranks = self.groups > 1 or options.repetition_penalty > 1

    def continued(
        self, going: Beam, log_probabilities: Tensor, places: Tensor
    ) -> tuple[Beam, Tensor]:
        """The best candidates (R, 2 K), and which hypothesis (R, 2 K) each of them continues.

        `log_probabilities` (R, W, V) of what follows are changed.
        """
        own = None
        if self.reranks:
            own = log_probabilities + going.log_probabilities[:, :, None]
        for rule in self.rules:
            rule(log_probabilities, going.tokens, places)
        totals = log_probabilities.add_(going.scores[:, :, None])
        scores, candidates = self.choose(totals, going.tokens, places, self.beam)
        vocab = totals.shape[2]
        origins, following = candidates // vocab, candidates % vocab
        tokens = torch.cat([pick(going.tokens, origins), following[:, :, None]], dim=2)
        own_scores = scores if own is None else own.flatten(1).gather(1, candidates)
        return Beam(scores, own_scores, tokens), origins

    def ended(self, candidates: Beam, lifts: Tensor | None) -> Finished:
        """The candidates that have ended: an end counts only among the first K.

        Further down, it would not have been in the beam. `lifts` (R, 2 K) are added to scores.
        """
        scores, log_probabilities, tokens = (part[:, : self.beam] for part in candidates)
        goes_on = tokens[:, :, -1] != EOS
        scores = scores / penalty(tokens.shape[2] - 1, self.options)
        if lifts is not None:
            scores = scores + lifts[:, : self.beam]
        written = tokens[:, :, 1:].masked_fill(tokens[:, :, 1:] == EOS, PAD)
        return Finished(scores.masked_fill(goes_on, FORBIDDEN), log_probabilities, written)

    def done(self, going: Beam, finished: Finished, places: Tensor) -> Tensor:
        """Which searches (R,) are: E hypotheses have ended, or none can go on.

        With E = K, a search may end before a better hypothesis does: that of a sure model is often
        the longest of the beam. Kasai et al. (2022) let E be a multiple of K.
        """
        length = going.tokens.shape[2] - 1
        full = (finished.scores > FORBIDDEN).sum(dim=1) >= self.options.endings
        nothing_left = (going.scores == FORBIDDEN).all(dim=1)
        return full | nothing_left | (self.longest[places] < length)


@torch.inference_mode()
def search(
    step: Step,
    state: State,
    encoded: Encoded,
    requests: Sequence[Request],
    options: Decoding,
    recorder: Recorder | None = None,
) -> list[list[Hypothesis]]:
    """All hypotheses of each request that have ended, the best first: `options.beam` or more.

    `state` is that of one hypothesis a sentence, before its first token; it and `encoded` are used
    up. A sentence whose searches are done leaves the batch, and nothing that comes later changes
    it. It has no hypothesis if its rules together have left it none (see `rules`). A `recorder` is
    told what is dropped.
    """
    device, groups = next(iter(encoded.values())).device, options.diversity_groups
    plan = Plan(requests, options, device)
    results: list[list[Hypothesis]] = [[] for _ in requests]
    places = torch.arange(len(requests), device=device)  # (R,) the request of each search
    rows: Tensor | None = None  # the hypotheses of the state that go on: all
    if groups > 1:
        rows = places = places.repeat_interleave(groups)
    going = Beam.first(len(places), device)
    finished = Finished.none(len(places), options.endings + plan.beam - 1, device)
    if recorder:
        recorder.begin(requests)

    while len(places):
        logits, state = step(going.tokens[:, :, -1].flatten(), state, encoded, rows)
        torch.log_softmax(logits, dim=1, out=logits)
        width = going.scores.shape[1]
        candidates, origins = plan.continued(going, logits.unflatten(0, (-1, width)), places)
        lifts = None
        if options.coverage_penalty:
            cover = options.coverage_penalty * uncovered(state, encoded)  # (R * W,)
            lifts = cover.view(-1, width).gather(1, origins)
        finished = finished.merged(plan.ended(candidates, lifts))

        going_on = first_to_go_on(candidates.tokens[:, :, -1], plan.beam)
        if recorder:
            lost = (going.scores > FORBIDDEN) & ~alive(candidates, origins, going_on, width)
            recorder.drop(going, lost, places, unfinished=False)
        going = candidates.picked(going_on).without_ends()
        first = torch.arange(len(places), device=device)[:, None] * width
        heirs = first + origins.gather(1, going_on)  # (R, W) hypotheses of the state

        done = plan.done(going, finished, places)
        if done.any():
            if recorder:
                open_still = (going.scores > FORBIDDEN) & done[:, None]
                recorder.drop(going, open_still, places, unfinished=True)
            going.scores[done] = FORBIDDEN  # a group that is done waits for the others
            done = done.view(-1, groups).all(dim=1)  # (B,)
            for sentence in done.nonzero().flatten().tolist():
                searches = slice(sentence * groups, (sentence + 1) * groups)
                results[int(places[sentence * groups])] = finished.hypotheses(searches)
            moves = Moves.without(done)
            encoded, still = moves.of(encoded), moves.each(groups).rows
            going, finished = going.selected(still), finished.selected(still)
            places, heirs = places[still], heirs[still]
        changed = plan.beam > 1 or len(places) < len(first)
        rows = heirs.flatten() if changed else None
    return results


def likeliest(totals: Tensor, tokens: Tensor, places: Tensor, beam: int) -> Candidates:
    """Twice as many as a search keeps: each hypothesis can end once, so half or more go on."""
    flat = totals.flatten(1)  # (R, W * V)
    return Candidates(*largest(flat, min(2 * beam, flat.shape[1])))


BLOCK = 32  # numbers


def largest(numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest numbers of each row (R, n), largest first, and their places: both (R, count).

    They are looked for in the blocks whose largest numbers are the largest, so that few of many are
    found three times as fast as by `topk` alone.
    """
    blocks = numbers.shape[1] // BLOCK
    if blocks <= count:
        values, places = numbers.topk(count, dim=1)
        return values, places
    even = blocks * BLOCK
    peaks = numbers[:, :even].unflatten(1, (blocks, BLOCK)).amax(dim=2)
    best = peaks.topk(count, dim=1).indices
    within = torch.arange(BLOCK, device=numbers.device)
    rest = torch.arange(even, numbers.shape[1], device=numbers.device).expand(len(numbers), -1)
    places = torch.cat([(best[:, :, None] * BLOCK + within).flatten(1), rest], dim=1)
    values, among = numbers.gather(1, places).topk(count, dim=1)
    return values, places.gather(1, among)


def apart(choose: Choose, options: Decoding) -> Choose:
    """Chooses for one group after the other.

    Each pays for every token with which hypotheses of those before it go on, as often as they do.
    """
    groups, fee = options.diversity_groups, options.diversity_penalty

    def choose_by_group(totals: Tensor, tokens: Tensor, places: Tensor, beam: int) -> Candidates:
        vocab = totals.shape[2]
        taken = totals.new_zeros(len(totals) // groups, vocab)
        found = []
        for group in range(groups):
            own = slice(group, None, groups)
            some = totals[own] - fee * taken[:, None]
            candidates = choose(some, tokens[own], places[own], beam)
            following = candidates.places % vocab
            first = first_to_go_on(following, beam)
            there = candidates.totals.gather(1, first) > FORBIDDEN
            taken.scatter_add_(1, following.gather(1, first), there.to(taken.dtype))
            found.append(candidates)
        in_turn = (torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*found, strict=True))
        return Candidates(*in_turn)

    return choose_by_group


def first_to_go_on(following: Tensor, beam: int) -> Tensor:
    """Which candidates go on, by what follows in each (R, n): the first K that do not end."""
    return (following == EOS).byte().sort(dim=1, stable=True).indices[:, :beam]


def alive(candidates: Beam, origins: Tensor, going_on: Tensor, width: int) -> Tensor:
    """Which hypotheses (R, W) live on in candidates: one that goes on, or that has just ended.

    `origins` (R, 2 K) are the hypotheses that candidates continue, `going_on` (R, K) candidates.
    """
    stays = candidates.tokens[:, :, -1] == EOS
    stays[:, going_on.shape[1] :] = False  # further down, an end does not count
    stays = stays.scatter(1, going_on, True) & (candidates.scores > FORBIDDEN)
    heirs = torch.zeros(len(origins), width, dtype=torch.long, device=origins.device)
    return heirs.scatter_add(1, origins, stays.long()) > 0


def pick(tensor: Tensor, hypotheses: Tensor) -> Tensor:
    """Some hypotheses (R, n) of each search, of a tensor (R, W, ...)."""
    rows = torch.arange(len(tensor), device=tensor.device)[:, None]
    return tensor[rows, hypotheses]
