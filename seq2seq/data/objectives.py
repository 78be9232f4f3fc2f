"""What is learned from text alone: sources made of targets, by noise that is drawn anew each epoch.

A draw depends on the seed, the epoch and the pair, so that a batch, its company and a pause in the
training change nothing. Noise is made of pieces; a tag in front of a source stays there.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from seq2seq.config.objectives import (
    MASK,
    SENTINELS,
    Deletion,
    Infilling,
    LanguageModelling,
    Masking,
    Permutation,
    Spans,
    Task,
    Translation,
)
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import Tokenizer, Tokenizers

SENTENCE_END = re.compile(r"[.!?。！？।]+[\"'»”’)\]]*$")  # noqa: RUF001 (of scripts that have these)


class Pair(NamedTuple):
    """What is to be read, and what is to be said."""

    source: list[int]
    target: list[int]


class Objectives:
    """Turns the pairs of corpora, one after the other in a store, into what is learned of them."""

    def __init__(
        self, tokenizers: Tokenizers, tasks: Sequence[Task], sizes: Sequence[int], seed: int
    ) -> None:
        """`tasks` are those of the corpora, `sizes` how many pairs each has."""
        self.tokenizers = tokenizers
        self.makers = [maker(task, tokenizers) for task in tasks]
        self.ends = np.cumsum(sizes)
        self.seed = seed

    @property
    def idle(self) -> bool:
        """Whether all pairs stay as they are."""
        return not any(self.makers)

    def __call__(self, some: Store, pairs: np.ndarray, epoch: int) -> Store:
        """What is learned of some pairs in an epoch; `pairs` are their numbers in the corpora."""
        made: list[Pair] = []
        for row, number in enumerate(pairs.tolist()):
            source, target = (side.segment(row) for side in some)
            make = self.makers[int(np.searchsorted(self.ends, number, side="right"))]
            if make is None:
                made.append(Pair(source, target))
                continue
            front = source[: 1 if source and self.tokenizers.source.is_tag(source[0]) else 0]
            bare, target = make(
                source[len(front) :], np.random.default_rng((self.seed, epoch, number))
            )
            made.append(Pair([*front, *bare], target))
        return Store(*(Side.of([list(ids) for ids in side]) for side in zip(*made, strict=True)))


Maker = Callable[[list[int], Generator], Pair]


def maker(task: Task, tokenizers: Tokenizers) -> Maker | None:
    """What makes a pair of a text; None if pairs stay as they are."""
    source = tokenizers.source
    if isinstance(task, Translation):
        return None
    if isinstance(task, LanguageModelling):
        return lambda text, random: Pair([], text)
    if isinstance(task, Spans):
        sentinels = [source.tag(name) for name in SENTINELS]
        return lambda text, random: corrupted(text, task, sentinels, random)
    noise = noise_of(task, source)
    return lambda text, random: Pair(noise(text, random), text)


def noise_of(task: Task, tokenizer: Tokenizer) -> Callable[[list[int], Generator], list[int]]:
    """What becomes of the source."""
    if isinstance(task, Deletion):
        return lambda text, random: thinned(text, task.delete_ratio, random)
    if isinstance(task, Permutation):
        return lambda text, random: permuted(text, tokenizer, random)
    assert isinstance(task, Masking | Infilling)
    mask = tokenizer.tag(MASK)
    if isinstance(task, Masking):
        return lambda text, random: masked(text, task.mask_ratio, mask, random)

    def infill(text: list[int], random: Generator) -> list[int]:
        if task.permute_sentences:
            text = permuted(text, tokenizer, random)
        return infilled(text, task, mask, random)

    return infill


def masked(text: list[int], share: float, mask: int, random: Generator) -> list[int]:
    """The text with some pieces masked."""
    hidden = chosen(len(text), share, random)
    return [mask if hide else piece for piece, hide in zip(text, hidden, strict=True)]


def thinned(text: list[int], share: float, random: Generator) -> list[int]:
    """The text with some pieces left out."""
    hidden = chosen(len(text), share, random)
    return [piece for piece, hide in zip(text, hidden, strict=True) if not hide]


def chosen(size: int, share: float, random: Generator) -> np.ndarray:
    """A share of so many places, at random."""
    hidden = np.zeros(size, bool)
    hidden[random.permutation(size)[: rounded(size * share, random)]] = True
    return hidden


def rounded(number: float, random: Generator) -> int:
    """A whole number beside this one; the number itself on average."""
    return int(number + random.random())


def infilled(text: list[int], task: Infilling, mask: int, random: Generator) -> list[int]:
    """The text with spans of it masked, each by a single mask; no two spans touch."""
    missing = min(rounded(len(text) * task.mask_ratio, random), len(text))
    lengths: list[int] = []
    while (left := missing - sum(lengths)) > 0:
        lengths.append(min(int(random.poisson(task.poisson_lambda)), left))
        if task.poisson_lambda == 0:  # insertions alone
            missing -= 1
    kept = len(text) - sum(lengths)
    lengths = sorted(lengths, reverse=True)[: kept + 1]  # the shortest where there is no room
    kept = len(text) - sum(lengths)
    gaps = np.sort(random.permutation(kept + 1)[: len(lengths)])
    after: list[int] = []
    place = 0
    before = 0
    for gap, length in zip(gaps.tolist(), random.permutation(lengths).tolist(), strict=True):
        after += [*text[place : place + gap - before], mask]
        place += gap - before + length
        before = gap
    return [*after, *text[place:]]


def permuted(text: list[int], tokenizer: Tokenizer, random: Generator) -> list[int]:
    """The text with its sentences in random order."""
    sentences: list[list[int]] = [[]]
    for piece, name in zip(text, tokenizer.pieces(text), strict=True):
        sentences[-1].append(piece)
        if SENTENCE_END.search(name):
            sentences.append([])
    whole = [sentence for sentence in sentences if sentence]
    return [piece for number in random.permutation(len(whole)) for piece in whole[number]]


def corrupted(text: list[int], task: Spans, sentinels: Sequence[int], random: Generator) -> Pair:
    """The text with a sentinel for each span that is missing, and the spans behind theirs.

    A last sentinel ends the target. Missing spans may lie anywhere, so long as no two touch; the
    authors' own code takes the last piece every time.
    """
    size = len(text)
    missing = min(max(round(size * task.noise_density), 1), max(size - 1, 1))
    count = max(round(missing / task.mean_noise_span_length), 1)
    count = min(count, len(sentinels) - 1, size - missing + 1)
    kept = parts_of(size - missing + 2, count + 1, random)  # one too many at both ends
    kept[0] -= 1
    source, target, place = text[: kept[0]], [], kept[0]
    for sentinel, gone, there in zip(
        sentinels, parts_of(missing, count, random), [*kept[1:-1], kept[-1] - 1], strict=False
    ):
        target += [sentinel, *text[place : place + gone]]
        place += gone
        source += [sentinel, *text[place : place + there]]
        place += there
    return Pair(source, [*target, sentinels[count]])


def parts_of(size: int, count: int, random: Generator) -> list[int]:
    """So many whole numbers above 0 that add up to a size, every way as likely."""
    cuts = np.sort(random.permutation(size - 1)[: count - 1]) + 1
    return np.diff([0, *cuts.tolist(), size]).tolist()
