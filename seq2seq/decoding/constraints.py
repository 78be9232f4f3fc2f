"""Phrases that a translation must contain: lexically constrained beam search.

A rule sees to it that no hypothesis ends without its phrases, nor comes to where there is no more
room for them. Dynamic beam allocation (Post and Vilar 2018; Hu et al. 2019) makes the beam hold
hypotheses that have come differently far with them, so that phrases stand where they fit best, and
not where room runs out. Phrases may overlap; one that is asked for twice begins at two places.

What each hypothesis still needs is found by plain programs, not by tensors: only requests with
phrases pay for that, and a step of a model takes far longer.

Shapes: R searches (each for one request), W hypotheses of each, K those that a search keeps,
V vocabulary, T tokens written so far.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq.data.tokenizer import EOS, PAD
from seq2seq.decoding.engine import Phrase, Request
from seq2seq.decoding.rules import FORBIDDEN, NEVER, aligned

NOTHING = PAD  # in place of a candidate: one that never is
EXACT = 6  # missing phrases up to which the shortest way to write them all is looked for


class Candidates(NamedTuple):
    """How hypotheses may go on, the best first; minus infinity where there are no more."""

    totals: Tensor  # (R, 2 K)
    places: Tensor  # (R, 2 K) among all W * V that there are


class Progress(NamedTuple):
    """How far a hypothesis has come."""

    begun: Phrase  # the longest end of it that is the beginning of a missing phrase
    missing: tuple[int, ...]  # how many times each phrase must still come


class Wanted:
    """The phrases of a request."""

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        counts = Counter(phrases)
        self.phrases = list(counts)
        self.start = Progress((), tuple(counts.values()))
        self.alphabet = sorted({token for phrase in phrases for token in phrase})
        self._after: dict[tuple[Progress, int], Progress] = {}
        self._needs: dict[Progress, int] = {}

    def after(self, progress: Progress, token: int) -> Progress:
        """How far a hypothesis is with a token more."""
        key = progress, token
        if key not in self._after:
            written = (*progress.begun, token)
            missing = tuple(
                count - (count > 0 and written[-len(phrase) :] == phrase)
                for phrase, count in zip(self.phrases, progress.missing, strict=True)
            )
            overlaps = [overlap(written, phrase) for phrase in self._of(missing)]
            begun = written[len(written) - max(overlaps, default=0) :]
            self._after[key] = Progress(begun, missing)
        return self._after[key]

    def of(self, tokens: Sequence[int]) -> Progress:
        """How far a hypothesis has come that consists of some tokens."""
        return reduce(self.after, tokens, self.start)

    def need(self, progress: Progress) -> int:
        """How many tokens more it takes at least.

        Where many phrases are missing, this is what it takes if those not begun do not overlap. In
        any case there is a token that makes the need smaller, if there is one.
        """
        if progress not in self._needs:
            missing = [len(phrase) for phrase in self._of(progress.missing)]
            if not missing:
                need = 0
            elif sum(progress.missing) > EXACT:
                times = filter(None, progress.missing)
                need = sum(count * length for count, length in zip(times, missing, strict=True))
                need -= len(progress.begun)
            else:
                need = min(self._needs_by_way_of(progress))
            self._needs[progress] = need
        return self._needs[progress]

    def helpful(self, progress: Progress, room: int) -> list[int]:
        """The tokens after which there must be no more than `room` tokens."""
        return [token for token in self.alphabet if self.need(self.after(progress, token)) <= room]

    def _needs_by_way_of(self, progress: Progress) -> Iterator[int]:
        """What it takes if each missing phrase is the next."""
        for phrase in self._of(progress.missing):
            rest = phrase[overlap(progress.begun, phrase) :]
            yield len(rest) + self.need(reduce(self.after, rest, progress))

    def _of(self, missing: tuple[int, ...]) -> list[Phrase]:
        return [phrase for phrase, count in zip(self.phrases, missing, strict=True) if count]


class Constraints:
    """What the phrases of requests mean for a search; without phrases, nothing."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.wanted = [Wanted(possible(one)) for one in requests]
        self.longest = [one.longest for one in requests]

    def forbid(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        """A rule: no end without the phrases, and no token that takes the room they need."""
        unfinished: list[tuple[int, int]] = []
        texts = written(tokens)
        for row, place in enumerate(places.tolist()):
            wanted, room = self.wanted[place], self.longest[place] - tokens.shape[2]
            for column, one in enumerate(texts[row]):
                progress = wanted.of(one)
                if not wanted.need(progress):
                    continue
                unfinished.append((row, column))
                if wanted.need(progress._replace(begun=())) > room:
                    helpful = torch.tensor(wanted.helpful(progress, room), dtype=torch.long)
                    kept = log_probabilities[row, column, helpful]
                    log_probabilities[row, column] = FORBIDDEN
                    log_probabilities[row, column, helpful] = kept
        if unfinished:
            rows, columns = torch.tensor(unfinished).unbind(dim=1)
            log_probabilities[rows, columns, EOS] = FORBIDDEN

    def choose(self, totals: Tensor, tokens: Tensor, places: Tensor, beam: int) -> Candidates:
        """The candidates of searches: the best of all, the best of each, and those that help.

        They are dealt out by what they still need: the best of each need come first, those that
        need least before others, then the second best of each, and so on.
        """
        vocab, flat = totals.shape[2], totals.flatten(1)
        best = flat.topk(min(2 * beam, flat.shape[1]), dim=1).indices
        each = totals.argmax(dim=2) + vocab * torch.arange(totals.shape[1], device=flat.device)
        progress = [
            [self.wanted[place].of(one) for one in hypotheses]
            for place, hypotheses in zip(places.tolist(), written(tokens), strict=True)
        ]
        helping = [
            [
                column * vocab + token
                for column, one in enumerate(some)
                for token in self.wanted[place].helpful(one, self.wanted[place].need(one) - 1)
            ]
            for place, some in zip(places.tolist(), progress, strict=True)
        ]
        looked_at = torch.cat([best, each, aligned(helping, NOTHING).to(best)], dim=1)
        values = flat.gather(1, looked_at).tolist()
        chosen = []
        for place, some, *found in zip(
            places.tolist(), progress, looked_at.tolist(), values, strict=True
        ):
            order = ranked(dict(zip(*found, strict=True)))
            needs = [self._need_after(place, some[one // vocab], one % vocab) for one in order]
            there = dealt(order, needs)[: best.shape[1]]
            chosen.append([*there, *[NOTHING] * (best.shape[1] - len(there))])
        where = torch.tensor(chosen).to(best)
        return Candidates(flat.gather(1, where), where)

    def _need_after(self, place: int, progress: Progress, token: int) -> int:
        return self.wanted[place].need(self.wanted[place].after(progress, token))


def possible(request: Request) -> tuple[Phrase, ...]:
    """The phrases that a translation can contain: so many of them as there is room for.

    Not those with a piece that may not be written, nor those with a phrase that must be absent.
    """
    phrases = tuple(
        phrase
        for phrase in request.present
        if set(phrase).isdisjoint((*NEVER, EOS))
        and not any(contains(phrase, absent) for absent in request.absent)
    )
    prefix = request.prefix[: request.longest]
    while phrases:
        wanted = Wanted(phrases)
        if wanted.need(wanted.of(prefix)) <= request.longest - len(prefix):
            break
        phrases = phrases[:-1]
    return phrases


def contains(tokens: Sequence[int], phrase: Phrase) -> bool:
    """Whether tokens contain a phrase, side by side."""
    size = len(phrase)
    return any(tuple(tokens[at : at + size]) == phrase for at in range(len(tokens) - size + 1))


def overlap(written: Phrase, phrase: Phrase) -> int:
    """The length of the longest end of what is written that is a beginning of a phrase, not all."""
    longest = min(len(written), len(phrase) - 1)
    sizes = (size for size in range(longest, 0, -1) if written[-size:] == phrase[:size])
    return next(sizes, 0)


def ranked(totals: dict[int, float]) -> list[int]:
    """The candidates that there are, the best first."""
    return sorted((one for one in totals if totals[one] > FORBIDDEN), key=lambda one: -totals[one])


def dealt(order: Sequence[int], needs: Sequence[int]) -> list[int]:
    """Candidates in turns: the first of each need, by need, then the second of each, and so on."""
    turns: Counter[int] = Counter()
    keys = []
    for need in needs:
        turns[need] += 1
        keys.append((turns[need], need))
    return [one for _, one in sorted(zip(keys, order, strict=True), key=lambda pair: pair[0])]


def written(tokens: Tensor) -> list[list[list[int]]]:
    """The tokens of each hypothesis (R, W, 1 + T) as lists, without <s>."""
    return tokens[:, :, 1:].tolist()
