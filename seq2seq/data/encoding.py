"""Clean text to pieces, and what was lost on the way."""

from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from seq2seq.data.cleaning import EXAMPLES, Dropped, shown
from seq2seq.data.rows import Pair
from seq2seq.data.store import Side, Store, smallest_type
from seq2seq.data.tokenizer import Tokenizers


class Sides(NamedTuple):
    """Lines of both sides: line n of one belongs to line n of the other."""

    source: list[str]
    target: list[str]


class Outcome(NamedTuple):
    """What became of clean pairs when they were encoded, with examples of those that were lost."""

    pairs: int = 0
    source_pieces: int = 0
    target_pieces: int = 0
    empty: int = 0
    long: int = 0
    cut: int = 0
    empty_examples: list[str] = []  # noqa: RUF012 (a NamedTuple's default is never changed)
    long_examples: list[str] = []  # noqa: RUF012

    def __add__(self, other: tuple[Any, ...]) -> "Outcome":  # type: ignore[override]
        """Both together."""
        sums = (one + another for one, another in zip(self, other, strict=True))
        *counts, empty, long = sums
        return Outcome(*counts, empty[:EXAMPLES], long[:EXAMPLES])

    def dropped(self, longest: int) -> list[Dropped]:
        """What was lost, as rules report it."""
        return [
            Dropped("having no pieces", self.empty, self.empty_examples),
            Dropped(f"max_length ({longest:,} pieces)", self.long, self.long_examples),
        ]


def encode(
    lines: Sides, tokenizers: Tokenizers, tag: str | None, longest: int, *, training: bool
) -> tuple[Store, Outcome]:
    """The pieces of both sides of the pairs that belong into a set.

    A model cannot learn from training pairs with an empty or an over-long side. What is to be
    validated on stays whole in number: over-long segments are cut.
    """
    sides = tokenizers.encode(lines, tag)
    lengths = [np.fromiter(map(len, side), np.int64, len(side)) for side in sides]
    bare = 1 if tag else 0
    empty = (lengths[0] == bare) | (lengths[1] == 0)
    long = np.maximum(*lengths) > longest
    if training:
        keep = ~(empty | long)
        kept = [list(compress(side, keep)) for side in sides] if not keep.all() else list(sides)
        empties, longs = np.flatnonzero(empty), np.flatnonzero(long & ~empty)
        lost = {
            "empty": len(empties),
            "long": len(longs),
            "empty_examples": _shown(lines, empties),
            "long_examples": _shown(lines, longs),
        }
    else:
        kept = [[ids[:longest] for ids in side] if long.any() else list(side) for side in sides]
        lost = {"cut": int(long.sum())}
    types = [smallest_type(len(tokenizer)) for tokenizer in tokenizers]
    store = Store(*map(Side.of, kept, types))
    return store, Outcome(len(store), len(store.source.ids), len(store.target.ids), **lost)


def _shown(lines: Sides, numbers: np.ndarray) -> list[str]:
    some = [Pair(lines.source[number], lines.target[number]) for number in numbers[:EXAMPLES]]
    return [shown(pair) for pair in some]
