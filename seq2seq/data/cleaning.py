"""What text is made of before it is tokenized: normalized, and without the pairs that rules drop.

`duplicates` needs to know all pairs before it, whoever reads them. So every pair is first judged
by the other rules, and gets a fingerprint for each rule on duplicates that it reaches; when all
shards have been read, `settle` decides in their order. The result is that of applying one rule
after the other to one pair after the other.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from seq2seq.config import Corpus, Data
from seq2seq.config.rules import Duplicates, Filter
from seq2seq.console import for_terminal, printable
from seq2seq.data.filters import FILTERS, Keeps, description, fingerprints, first_of_each
from seq2seq.data.normalization import normalizer
from seq2seq.text.rows import Pair, Unreadable

EXAMPLES = 3  # of each rule, kept to show
LONGEST_EXAMPLE = 200  # characters
UNREADABLE = 254
KEPT = 255  # the fate of a pair that no rule dropped; less is the number of the rule that did


def rules_of(corpus: Corpus, data: Data) -> Sequence[Filter]:
    """What the pairs of a corpus must pass to be learned from."""
    return data.filters if corpus.filters is None else corpus.filters


class Cleaned(NamedTuple):
    """What became of the rows of a shard."""

    sources: list[str]  # of the pairs whose fate may still change, and of those that are kept
    targets: list[str]
    there: np.ndarray  # of each row, whether it is among these
    fates: np.ndarray  # of each row
    fingerprints: dict[int, np.ndarray]  # of each row, by the number of a rule on duplicates
    examples: dict[int, list[str]]  # by fate, of those that are settled


class Cleaner:
    """The rules of a corpus, and how its text is normalized."""

    def __init__(
        self, rules: Sequence[Filter], languages: tuple[str, str], normalize: Sequence[str]
    ) -> None:
        """`languages` are those of source and target."""
        self._normalize = [normalizer(normalize, one) if normalize else None for one in languages]
        self._rules: list[Keeps | None] = []  # a rule on duplicates is none
        self._fingerprints: dict[int, Callable[[str, str], int]] = {}
        for number, rule in enumerate(rules):
            if isinstance(rule, Duplicates):
                self._fingerprints[number] = fingerprints(rule.of)
                self._rules.append(None)
            else:
                self._rules.append(FILTERS[rule.rule](rule, languages))

    def clean(self, rows: Iterable[Pair | Unreadable]) -> Cleaned:
        """Judges some rows.

        Each rule goes through all that is left before the next one begins, because Python is much
        faster so than with all rules for one pair after the other.
        """
        every = list(rows)
        fates = np.full(len(every), KEPT, np.uint8)
        examples: dict[int, list[str]] = {}
        bad = [number for number, row in enumerate(every) if isinstance(row, Unreadable)]
        if bad:
            fates[bad] = UNREADABLE
            messages = [for_terminal(row.message) for row in every if isinstance(row, Unreadable)]
            examples[UNREADABLE] = messages[:EXAMPLES]
            every = [row for row in every if isinstance(row, Pair)]
        sources, targets = (
            [row[side] for row in every]
            if normalize is None
            else [normalize(row[side]) for row in every]
            for side, normalize in enumerate(self._normalize)
        )
        del every
        places = np.flatnonzero(fates == KEPT)
        prints: dict[int, np.ndarray] = {}
        unsettled = None
        for number, keeps in enumerate(self._rules):
            if keeps is None:
                unsettled = unsettled or (sources, targets, places)
                prints[number] = np.zeros(len(fates), np.uint64)
                prints[number][places] = list(map(self._fingerprints[number], sources, targets))
                continue
            kept = np.fromiter(map(keeps, sources, targets), bool, len(places))
            if not kept.all():
                lost = np.flatnonzero(~kept)
                if unsettled is None:
                    some = lost[:EXAMPLES].tolist()
                    examples[number] = [shown(Pair(sources[one], targets[one])) for one in some]
                fates[places[lost]] = number
                places = places[kept]
                sources, targets = (list(compress(side, kept)) for side in (sources, targets))
        sources, targets, places = unsettled or (sources, targets, places)
        there = np.zeros(len(fates), bool)
        there[places] = True
        return Cleaned(sources, targets, there, fates, prints, examples)


def settle(fates: np.ndarray, number: int, prints: np.ndarray) -> None:
    """Writes into the fates of all rows which of them a rule on duplicates drops.

    Rules with lower numbers must have been settled before.
    """
    reached = (fates > number) & (fates != UNREADABLE)
    first = first_of_each(prints if reached.all() else prints[reached])
    reached[reached] = ~first
    fates[reached] = number


def shown(pair: Pair) -> str:
    """A pair in a line of a report, shortened."""
    sides = (
        side if len(side) <= LONGEST_EXAMPLE else f"{side[:LONGEST_EXAMPLE]}…" for side in pair
    )
    return " ||| ".join(map(printable, sides))


class Dropped(NamedTuple):
    """How many pairs a rule dropped, and some of them."""

    rule: str
    pairs: int
    examples: list[str]


def add(some: Sequence[Dropped]) -> Dropped:
    """What one rule dropped in several places."""
    examples = [text for one in some for text in one.examples][:EXAMPLES]
    return Dropped(some[0].rule, sum(one.pairs for one in some), examples)


def report(
    rules: Sequence[Filter], fates: Iterable[np.ndarray], examples: dict[int, list[str]]
) -> list[Dropped]:
    """What each rule dropped, in order; rules that dropped nothing, too."""
    counts = np.zeros(KEPT + 1, np.int64)
    for some in fates:
        counts += np.bincount(some, minlength=KEPT + 1)
    names = {number: description(rule) for number, rule in enumerate(rules)}
    if counts[UNREADABLE]:
        names = {UNREADABLE: "on_error: skip", **names}
    return [
        Dropped(name, int(counts[fate]), examples.get(fate, [])[:EXAMPLES])
        for fate, name in names.items()
    ]
