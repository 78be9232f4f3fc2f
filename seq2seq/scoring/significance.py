"""How far scores are to be trusted: intervals, and whether two systems differ by more than chance.

A score is made of sums over sentences (`Score`), so all of this is sums over other selections of
them. With the same seed the numbers are those of sacreBLEU, for metrics that it has, but for one
thing: a difference by chance that is as large as the real one counts, too. sacreBLEU counts larger
ones only, so that systems with the same output differ most of all.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seq2seq.scoring.metrics import Score

SEED = 12345  # sacreBLEU's
RESAMPLES, TRIALS = 1_000, 10_000  # sacreBLEU's, of bootstrap and of randomization
ROUNDING = 1e-9  # of scores, within which they are equal


class Interval(NamedTuple):
    """Where 95 % of the scores of test sets lie that are drawn like this one."""

    low: float
    high: float


def interval(score: Score, resamples: int = RESAMPLES) -> Interval:
    """By bootstrap: sentences are drawn again, with replacement (Koehn 2004)."""
    rng = np.random.default_rng(SEED)
    found = sorted(score.aggregate(sums) for sums in _drawn(rng, [score], resamples))
    cut = resamples // 40
    return Interval(found[cut], found[resamples - cut - 1])


class Difference(NamedTuple):
    """What a system's score is above another's, and how often chance would make it as large.

    That is at least as large: equal systems have a p-value of 1.
    """

    difference: float
    bootstrap: float
    """The p-value of paired bootstrap resampling (Koehn 2004)."""
    randomization: float
    """The p-value of approximate randomization, two-sided (Riezler and Maxwell 2005)."""


def compare(
    score: Score, baseline: Score, resamples: int = RESAMPLES, trials: int = TRIALS
) -> Difference:
    """Whether two systems differ on the same test set by one metric.

    `score` and `baseline` are of the same sentences, in the same order.
    """
    real = _difference(score.score, baseline.score)
    return Difference(
        real,
        _paired_bootstrap(score, baseline, real, resamples),
        _randomization(score, baseline, abs(real), trials),
    )


def no_difference(found: Difference) -> bool:
    """Whether nothing tells the systems apart."""
    return found.difference == 0 and min(found.bootstrap, found.randomization) == 1


def p_value(share: float, digits: int) -> str:
    """Return a p-value as people read it, such as 0.013; never 0.000, but < 0.001."""
    told = f"{share:.{digits}f}"
    return told if float(told) else f"< {10**-digits:.{digits}f}"


def _paired_bootstrap(score: Score, baseline: Score, real: float, resamples: int) -> float:
    rng = np.random.default_rng(SEED)
    differences = np.array(
        [
            _difference(
                score.aggregate(sums[: score.statistics.shape[1]]),
                baseline.aggregate(sums[score.statistics.shape[1] :]),
            )
            for sums in _drawn(rng, [score, baseline], resamples)
        ]
    )
    sizes = np.abs(differences)
    with np.errstate(invalid="ignore"):
        centred = sizes - sizes.mean()  # how the difference would vary about 0
    if real and (differences * np.sign(real) >= 0).all():
        # The mean is the real difference but for the sampling, so that twice that is a tie.
        tied = np.isclose(differences, 2 * real, rtol=ROUNDING, atol=ROUNDING)
        centred = np.where(tied, abs(real), centred)
    return _share(centred, abs(real))


def _randomization(score: Score, baseline: Score, real: float, trials: int) -> float:
    """Each sentence goes to one system or to the other, as a coin falls."""
    rng = np.random.default_rng(SEED)
    stayed = rng.integers(2, size=(trials, len(score.statistics)), dtype=bool)
    one, other = baseline.statistics.astype(float), score.statistics.astype(float)
    with np.errstate(invalid="ignore"):  # of what is infinite
        mixed = stayed @ one + ~stayed @ other
        rest = (one + other).sum(axis=0) - mixed
    differences = np.abs(
        [
            _difference(score.aggregate(a), score.aggregate(b))
            for a, b in zip(mixed, rest, strict=True)
        ]
    )
    return _share(differences, real)


def _drawn(rng: np.random.Generator, scores: list[Score], resamples: int) -> Iterator[np.ndarray]:
    """The sums of sentences that are drawn again, of all scores side by side."""
    together = np.concatenate([score.statistics for score in scores], axis=1)
    for _ in range(resamples):
        yield together[rng.choice(len(together), size=len(together), replace=True)].sum(axis=0)


def _share(differences: np.ndarray, real: float) -> float:
    """How often a difference is at least as large as the real one; never quite never.

    What is infinite cannot be told apart, so that it counts.
    """
    least = real if np.isinf(real) else real - ROUNDING * max(1, real)
    found = int((~(differences < least)).sum())
    return (found + 1) / (len(differences) + 1)


def _difference(score: float, other: float) -> float:
    """The difference of two scores, 0 where both are infinite."""
    return 0.0 if score == other else score - other
