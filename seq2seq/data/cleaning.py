"""What text is made of before it is tokenized: normalized, and without the pairs that rules drop.

`duplicates` needs to know all pairs before it, whoever reads them. So every pair is first judged by
the other rules, and gets a fingerprint for each rule on duplicates that it reaches; when all shards
have been read, `settle` decides in their order. The result is that of applying one rule after the
other to one pair after the other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.config.data import Duplicates, Filter
from seq2seq.data.filters import FILTERS, description, fingerprints, first_of_each
from seq2seq.data.rows import Pair, Unreadable

EXAMPLES = 3  # of each rule, kept to show
LONGEST_EXAMPLE = 200  # characters
UNREADABLE = 254
KEPT = 255  # the fate of a pair that no rule dropped; less is the number of the rule that did


class Cleaned(NamedTuple):
    """What became of the rows of a shard."""

    pairs: list[Pair]  # that no rule but one on duplicates can drop, normalized
    fates: np.ndarray  # of each row
    fingerprints: dict[int, np.ndarray]  # of each row, by the number of a rule on duplicates
    examples: dict[int, list[str]]  # by fate


class Cleaner:
    """The rules of a corpus, and how its text is normalized."""

    def __init__(
        self,
        rules: Sequence[Filter],
        languages: tuple[str, str],
        normalize: Sequence[Callable[[str], str]],
    ) -> None:
        """`languages` are those of source and target, and `normalize` what is done to each."""
        self.duplicates = {
            number: fingerprints(rule.of)
            for number, rule in enumerate(rules)
            if isinstance(rule, Duplicates)
        }
        self._keeps = [
            (number, FILTERS[rule.rule](rule, languages))
            for number, rule in enumerate(rules)
            if number not in self.duplicates
        ]
        self._normalize = normalize

    def normalized(self, pair: Pair) -> Pair:
        """A pair as it is judged, stored and learned from."""
        source, target = self._normalize
        return Pair(source(pair.source), target(pair.target))

    def fate(self, pair: Pair) -> int:
        """The number of the first rule that drops a normalized pair; duplicates apart."""
        source, target = pair
        for number, keeps in self._keeps:
            if not keeps(source, target):
                return number
        return KEPT

    def clean(self, rows: Iterable[Pair | Unreadable]) -> Cleaned:
        """Judges some rows."""
        pairs: list[Pair] = []
        fates: list[int] = []
        prints: dict[int, list[int]] = {number: [] for number in self.duplicates}
        examples: dict[int, list[str]] = {}
        for row in rows:
            if isinstance(row, Unreadable):
                fate = UNREADABLE
                _add_example(examples, fate, row.message)
                for found in prints.values():
                    found.append(0)
            else:
                pair = self.normalized(row)
                fate = self.fate(pair)
                if fate == KEPT:
                    pairs.append(pair)
                else:
                    _add_example(examples, fate, shown(pair))
                for number, fingerprint in self.duplicates.items():
                    prints[number].append(fingerprint(*pair) if fate > number else 0)
            fates.append(fate)
        arrays = {number: np.array(found, np.uint64) for number, found in prints.items()}
        return Cleaned(pairs, np.array(fates, np.uint8), arrays, examples)


def settle(fates: np.ndarray, number: int, prints: np.ndarray) -> None:
    """Writes into the fates of all rows which of them a rule on duplicates drops.

    Rules with lower numbers must have been settled before.
    """
    reached = np.flatnonzero((fates > number) & (fates != UNREADABLE))
    fates[reached[~first_of_each(prints[reached])]] = number


def shown(pair: Pair) -> str:
    """A pair in a line of a report, shortened."""
    sides = (
        side if len(side) <= LONGEST_EXAMPLE else f"{side[:LONGEST_EXAMPLE]}…" for side in pair
    )
    return " ||| ".join(sides)


def _add_example(examples: dict[int, list[str]], fate: int, text: str) -> None:
    some = examples.setdefault(fate, [])
    if len(some) < EXAMPLES:
        some.append(text)


class Dropped(NamedTuple):
    """How many pairs a rule dropped, and some of them."""

    rule: str
    count: int
    examples: list[str]


def report(
    rules: Sequence[Filter], fates: np.ndarray, examples: dict[int, list[str]]
) -> list[Dropped]:
    """What each rule dropped, in order; rules that dropped nothing, too."""
    counts = np.bincount(fates, minlength=KEPT + 1)
    names = {number: description(rule) for number, rule in enumerate(rules)}
    if counts[UNREADABLE]:
        names = {UNREADABLE: "unreadable", **names}
    return [
        Dropped(name, int(counts[fate]), examples.get(fate, [])[:EXAMPLES])
        for fate, name in names.items()
    ]
