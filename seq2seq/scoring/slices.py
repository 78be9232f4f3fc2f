"""Scores of parts of a test set: which lines are short or long, of common or of rare words.

Scores are made of sums over sentences, so those of some lines cost next to nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from seq2seq.scoring.metrics import Score, words

QUARTERS = 4
TIMES = (1, 10, 100)  # a word was seen less often than that: the edges of rarity

Slices = dict[str, np.ndarray]  # by name: the numbers of the lines in it, ascending


def by_length(sources: Sequence[str]) -> Slices:
    """Lines by the words of the source, in quarters as far as lines of one length allow it."""
    lengths = np.array([len(words(line)) for line in sources])
    edges = np.unique(np.quantile(lengths, np.arange(1, QUARTERS) / QUARTERS, method="higher"))
    found = {}
    for part in np.split(
        order := np.argsort(lengths, kind="stable"),
        np.searchsorted(lengths[order], edges, side="right"),
    ):
        if len(part):
            low, high = lengths[part].min(), lengths[part].max()
            name = f"{low}" if low == high else f"{low} to {high}"
            found[name] = np.sort(part)
    return found


def by_rarity(references: Sequence[str], seen: Mapping[str, int]) -> Slices:
    """Lines by the rarest word of the reference: how often it was `seen`; without words: never."""
    rarest = np.array(
        [min((seen.get(word, 0) for word in words(line)), default=0) for line in references]
    )
    names = [*(f"{low} to {high - 1}" for low, high in pairwise(TIMES)), f"{TIMES[-1]} or more"]
    groups = np.searchsorted(TIMES, rarest, side="right")
    found = {
        name: np.flatnonzero(groups == number) for number, name in enumerate(["never", *names])
    }
    return {name: lines for name, lines in found.items() if len(lines)}


def by_part(parts: Sequence[str]) -> Slices:
    """Lines by the part of the test set that they are of, in the order of the parts."""
    numbers = np.array([*map({part: n for n, part in enumerate(dict.fromkeys(parts))}.get, parts)])
    return {
        part: np.flatnonzero(numbers == number) for number, part in enumerate(dict.fromkeys(parts))
    }


def part_of(score: Score, lines: np.ndarray) -> Score:
    """The score of some lines alone."""
    return score._replace(statistics=score.statistics[lines])


def furthest(score: Score, baseline: Score, count: int) -> list[tuple[int, float]]:
    """The lines in which a system differs most from another, by a metric of each line alone.

    At most `count` in which it is above the other and as many in which it is below, each as its
    number, from 0, and the difference: the greatest rise comes first, the greatest fall last.
    """
    differences = np.array(
        [
            score.aggregate(ours) - score.aggregate(theirs)
            for ours, theirs in zip(score.statistics, baseline.statistics, strict=True)
        ]
    )
    order = np.argsort(-differences, kind="stable")
    rises, falls = order[:count], order[-count:]
    return [
        (int(line), float(differences[line]))
        for line in [*rises[differences[rises] > 0], *falls[differences[falls] < 0]]
    ]
