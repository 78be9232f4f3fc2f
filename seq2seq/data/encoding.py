"""Clean text to pieces, and what was lost on the way."""

from collections.abc import Iterator, Sequence
from itertools import compress, takewhile
from typing import Any, NamedTuple

import numpy as np

from seq2seq.data.cleaning import EXAMPLES, Dropped, add, shown
from seq2seq.data.store import Side, Store, smallest_type
from seq2seq.data.tokenizer import Tokenizer, Tokenizers
from seq2seq.text.rows import Pair

SHOWN = 40  # characters of a line around what its normalization changed


class Sides(NamedTuple):
    """Lines of both sides: line n of one belongs to line n of the other."""

    source: list[str]
    target: list[str]

    def slices(self, size: int) -> Iterator["Sides"]:
        """All lines, at most so many at once; a slice without lines if there are none."""
        for start in range(0, max(1, len(self.source)), size):
            yield Sides(*(side[start : start + size] for side in self))


class Normalized(NamedTuple):
    """How many lines of a side its tokenizer normalizes to other text, and one of them."""

    lines: int
    before: str = ""
    after: str = ""

    @property
    def interest(self) -> tuple[bool, bool]:
        """More for a better example: spaces alone tell people little."""
        inked = [text.replace(" ", "") for text in (self.before, self.after)]
        return inked[0] != inked[1], self.lines > 0


class Outcome(NamedTuple):
    """What became of clean pairs when they were cut into pieces."""

    pairs: int
    source_pieces: int
    target_pieces: int
    cut: int  # pairs with a side that was too long, and was shortened
    dropped: list[Dropped]
    normalized: tuple[Normalized, ...] = (Normalized(0), Normalized(0))  # of source and target

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Outcome":
        """Return what `_asdict` gave before it was written as JSON."""
        dropped = [Dropped(*one) for one in facts["dropped"]]
        normalized = tuple(Normalized(*one) for one in facts.get("normalized", []))
        return cls(**{**facts, "dropped": dropped, "normalized": normalized})


def total(outcomes: Sequence[Outcome]) -> Outcome:
    """All outcomes together."""
    pairs, source_pieces, target_pieces, cut, dropped, normalized = zip(*outcomes, strict=True)
    together = [add(some) for some in zip(*dropped, strict=True)]
    sides = tuple(
        max(some, key=lambda one: one.interest)._replace(lines=sum(one.lines for one in some))
        for some in zip(*normalized, strict=True)
    )
    return Outcome(sum(pairs), sum(source_pieces), sum(target_pieces), sum(cut), together, sides)


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
    if training:  # white space is pieces where normalization leaves it
        for side in lines:
            empty |= np.fromiter(map(str.isspace, side), bool, len(side))
    long = np.maximum(*lengths) > longest
    keep = ~(empty | long) if training else np.ones_like(long)
    kept: list[list[list[int]]] = [list(side) for side in sides]
    normalized = lines
    if not keep.all():
        kept = [list(compress(side, keep)) for side in sides]
        normalized = Sides(*(list(compress(side, keep)) for side in lines))
    elif long.any():
        kept = [[ids[:longest] for ids in side] for side in sides]
    types = [smallest_type(len(tokenizer)) for tokenizer in tokenizers]
    store = Store(*map(Side.of, kept, types))
    dropped = [
        _dropped("having no pieces", lines, empty & ~keep),
        _dropped(f"max_length ({longest:,} pieces)", lines, long & ~empty & ~keep),
    ]
    cut = int((long & keep).sum())
    sizes = len(store), len(store.source.ids), len(store.target.ids)
    changed = tuple(map(_normalized, normalized, tokenizers))
    return store, Outcome(*sizes, cut, dropped, changed)


def _normalized(lines: Sequence[str], tokenizer: Tokenizer) -> Normalized:
    """Return how many lines are other text for the tokenizer, and where one of them changes."""
    found = [(line, tokenizer.normalize(line)) for line in lines if not tokenizer.keeps(line)]
    examples = [Normalized(len(found), *_around_change(*pair)) for pair in found]
    return max(examples, key=lambda one: one.interest, default=Normalized(0))


def _around_change(before: str, after: str) -> tuple[str, str]:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    start = max(0, sum(1 for _ in same) - SHOWN // 2)
    return before[start : start + SHOWN], after[start : start + SHOWN]


def _dropped(rule: str, lines: Sides, which: np.ndarray) -> Dropped:
    some = [
        Pair(lines.source[number], lines.target[number])
        for number in np.flatnonzero(which)[:EXAMPLES]
    ]
    return Dropped(rule, int(which.sum()), [shown(pair) for pair in some])
