"""What of a validation or test set stands in the training text, so that its scores are too good."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from seq2seq.data.encoding import Sides
from seq2seq.data.overlap import known
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.scoring.metrics import words

FEW = 5  # words: shorter sources and targets come again without any harm, as greetings do


class Contamination(NamedTuple):
    """How many lines of a set stand in the training text.

    A pair counts whatever its length; a source or a target alone only with `FEW` words or more.
    """

    lines: int
    pairs: int
    sources: int
    targets: int

    def __str__(self) -> str:
        return (
            f"of {self.lines:,} lines, {self.pairs:,} stand in the training text as pairs, "
            f"{self.sources:,} by their source, {self.targets:,} by their target"
        )

    def __bool__(self) -> bool:
        return bool(self.pairs or self.sources or self.targets)


def contamination(lines: Sides, tokenizers: Tokenizers, learned: Store) -> Contamination:
    """Return how much of a set is among what was learned from.

    Lines are as `data.normalize` makes them; what is compared is their pieces, without tags.
    """
    first = np.unique(learned.source.ids[learned.source.offsets[:-1]])  # none is without pieces
    tags = [*filter(tokenizers.source.is_tag, first.tolist())]
    found = known(Store.of(*tokenizers.encode(lines)), learned, tags)
    return Contamination(
        len(lines.source),
        int(found.pairs.sum()),
        int((found.sources & _long(lines.source)).sum()),
        int((found.targets & _long(lines.target)).sum()),
    )


def _long(lines: Iterable[str]) -> np.ndarray:
    return np.array([len(words(line)) >= FEW for line in lines], bool)
