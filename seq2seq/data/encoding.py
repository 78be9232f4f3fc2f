"""Clean text to pieces, and what was lost on the way."""

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from seq2seq.data.cleaning import EXAMPLES, Dropped, add, shown
from seq2seq.data.store import Side, Store, smallest_type
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.text.rows import Pair


class Sides(NamedTuple):
    """Lines of both sides: line n of one belongs to line n of the other."""

    source: list[str]
    target: list[str]

    def slices(self, size: int) -> Iterator["Sides"]:
        """All lines, at most so many at once; a slice without lines if there are none."""
        for start in range(0, max(1, len(self.source)), size):
            yield Sides(*(side[start : start + size] for side in self))


class Outcome(NamedTuple):
    """What became of clean pairs when they were cut into pieces."""

    pairs: int
    source_pieces: int
    target_pieces: int
    cut: int  # pairs with a side that was too long, and was shortened
    dropped: list[Dropped]


def total(outcomes: Sequence[Outcome]) -> Outcome:
    """All outcomes together."""
    pairs, source_pieces, target_pieces, cut, dropped = zip(*outcomes, strict=True)
    together = [add(some) for some in zip(*dropped, strict=True)]
    return Outcome(sum(pairs), sum(source_pieces), sum(target_pieces), sum(cut), together)


def encode(
    lines: Sides, tokenizers: Tokenizers, tag: str | None, longest: int, *, training: bool
) -> tuple[Store, Outcome]:
    """The pieces of both sides of the pairs that belong into a set.

    A model cannot learn from training pairs with an empty or an over-long side. What is to be
    validated or tested on stays whole in number: over-long segments are cut.
    """
    sides = tokenizers.encode(lines, tag)
    lengths = [np.fromiter(map(len, side), np.int64, len(side)) for side in sides]
    empty = (lengths[0] == bool(tag)) | (lengths[1] == 0)
    long = np.maximum(*lengths) > longest
    keep = ~(empty | long) if training else np.ones_like(long)
    kept: list[list[list[int]]] = [list(side) for side in sides]
    if not keep.all():
        kept = [list(compress(side, keep)) for side in sides]
    elif long.any():
        kept = [[ids[:longest] for ids in side] for side in sides]
    types = [smallest_type(len(tokenizer)) for tokenizer in tokenizers]
    store = Store(*map(Side.of, kept, types))
    dropped = [
        _dropped("having no pieces", lines, empty & ~keep),
        _dropped(f"max_length ({longest:,} pieces)", lines, long & ~empty & ~keep),
    ]
    cut = int((long & keep).sum())
    return store, Outcome(len(store), len(store.source.ids), len(store.target.ids), cut, dropped)


def _dropped(rule: str, lines: Sides, which: np.ndarray) -> Dropped:
    some = [
        Pair(lines.source[number], lines.target[number])
        for number in np.flatnonzero(which)[:EXAMPLES]
    ]
    return Dropped(rule, int(which.sum()), [shown(pair) for pair in some])
