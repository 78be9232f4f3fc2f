"""What is learned from text alone: sources with noise, which is drawn anew each epoch.

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
    MaskedLanguageModelling,
    Masking,
    Permutation,
    Spans,
    Task,
    Translation,
)
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import EOS, PAD, Tokenizer, Tokenizers

SENTENCE_END = re.compile(r"[.!?。！？।]+[\"'»”’)\]]*$")  # noqa: RUF001 (of scripts that have these)


class Pair(NamedTuple):
    """What is to be read, and what is to be said: by the decoder, or by the encoder alone."""

    source: list[int]
    target: list[int]
    masked: Sequence[int] = ()
    """What the encoder must say at each position of the source, PAD where nothing."""


class Learned(NamedTuple):
    """What is learned of some pairs; where a pair has something masked, no target is said."""

    pairs: Store
    masked: Side


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

    def __call__(self, some: Store, pairs: np.ndarray, epoch: int) -> Learned:
        """What is learned of some pairs in an epoch; `pairs` are their numbers in the corpora."""
        made = []
        for row, number in enumerate(pairs.tolist()):
            source, target = (side.segment(row) for side in some)
            make = self.makers[int(np.searchsorted(self.ends, number, side="right"))]
            if make is None:
                made.append(Pair(source, target))
                continue
            front = source[: 1 if source and self.tokenizers.source.is_tag(source[0]) else 0]
            random = np.random.default_rng((self.seed, epoch, number))
            bare, target, masked = make(Pair(source[len(front) :], target), random)
            made.append(Pair([*front, *bare], target, masked and [*[PAD] * len(front), *masked]))
        sources, targets, hidden = (Side.of([*side]) for side in zip(*made, strict=True))
        return Learned(Store(sources, targets), hidden)


Maker = Callable[[Pair, Generator], Pair]


def maker(task: Task, tokenizers: Tokenizers) -> Maker | None:
    """What makes another pair of one; None if pairs stay as they are."""
    source = tokenizers.source
    if isinstance(task, Translation):
        return None
    if isinstance(task, LanguageModelling):
        return lambda pair, random: Pair([], pair.target)
    if isinstance(task, MaskedLanguageModelling):
        mask = source.tag(MASK)
        return lambda pair, random: concealed(pair.source, task, mask, source.ordinary, random)
    if isinstance(task, Spans):
        sentinels = [source.tag(name) for name in SENTINELS]
        return lambda pair, random: corrupted(pair.source, task, sentinels, random)
    noise = noise_of(task, source)
    return lambda pair, random: Pair(noise(pair.source, random), pair.target)


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


def concealed(
    text: list[int],
    task: MaskedLanguageModelling,
    mask: int,
    ordinary: Sequence[int],
    random: Generator,
) -> Pair:
    """The text with some pieces hidden, one at least, which the encoder must tell.

    Those in whose place any other is to stand get one of the `ordinary`. Of a text without pieces
    it must tell the `</s>`.
    """
    if not text:
        return Pair([], [], [EOS])
    places = chosen(len(text), task.mask_ratio, random)
    if not places.any():
        places[random.integers(len(text))] = True
    read, said = list(text), [PAD] * len(text)
    for place in np.flatnonzero(places).tolist():
        said[place] = text[place]
        fate = random.random() - task.keep_ratio
        if fate >= task.random_ratio:
            read[place] = mask
        elif fate >= 0:
            read[place] = int(random.choice(ordinary))
    return Pair(read, [], said)


def masked(text: list[int], share: float, mask: int, random: Generator) -> list[int]:
    """The text with some pieces masked."""
    places = chosen(len(text), share, random)
    return [mask if hide else piece for piece, hide in zip(text, places, strict=True)]


def thinned(text: list[int], share: float, random: Generator) -> list[int]:
    """The text with some pieces left out."""
    places = chosen(len(text), share, random)
    return [piece for piece, hide in zip(text, places, strict=True) if not hide]


def chosen(size: int, share: float, random: Generator) -> np.ndarray:
    """A share of so many places, at random."""
    places = np.zeros(size, bool)
    places[random.permutation(size)[: rounded(size * share, random)]] = True
    return places


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
