"""The laws of intervals and of significance: sacreBLEU's numbers, and what follows from chance."""

import math
from collections.abc import Iterable
from itertools import product
from math import comb

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from seq2seq.scoring.metrics import Score, mean_of, score
from seq2seq.scoring.significance import Difference, compare, interval, no_difference, p_value

RANDOM = np.random.default_rng(7)
WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "home"]
REFERENCES = [" ".join(RANDOM.choice(WORDS, 3 + n % 9)) for n in range(80)]
KINDS = {"bleu": BLEU(force=True), "chrf": CHRF(), "ter": TER()}


def altered(share: float, seed: int) -> list[str]:
    """The references, of which a share of the words are others."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(str(rng.choice(WORDS)) if rng.random() < share else word for word in line.split())
        for line in REFERENCES
    ]


GOOD, EQUAL, POOR = altered(0.2, 1), altered(0.2, 2), altered(0.5, 3)


def scores(name: str, hypotheses: list[str]) -> Score:
    return score([name], hypotheses, [REFERENCES])[name]


@pytest.mark.parametrize("name", KINDS)
def test_intervals_and_p_values_are_those_of_sacrebleu(name):
    good, poor = scores(name, GOOD), scores(name, POOR)
    systems = [("baseline", GOOD), ("other", POOR)]
    found = compare(poor, good, resamples=200, trials=300)
    for kind, samples, p in (("bs", 200, found.bootstrap), ("ar", 300, found.randomization)):
        _, results = PairedTest(systems, {name: KINDS[name]}, [REFERENCES], kind, samples)()
        (theirs,) = [values for key, values in results.items() if key != "System"]
        assert poor.score == pytest.approx(theirs[1].score)
        assert p == pytest.approx(theirs[1].p_value)
    theirs = KINDS[name].corpus_score(GOOD, [REFERENCES], n_bootstrap=200)
    low, high = interval(good, 200)
    assert (high - low) / 2 == pytest.approx(theirs._ci, rel=1e-4)
    assert low < good.score < high


@pytest.mark.parametrize("name", ["bleu", "chrf", "rouge1", "rougeL"])
def test_a_worse_system_differs_and_an_equal_one_does_not(name):
    worse = compare(scores(name, POOR), scores(name, GOOD), 200, 300)
    equal = compare(scores(name, EQUAL), scores(name, GOOD), 200, 300)
    same = compare(scores(name, GOOD), scores(name, GOOD), 200, 300)
    assert worse.difference < 0
    assert max(worse.bootstrap, worse.randomization) < 0.02
    assert min(equal.bootstrap, equal.randomization) > 0.1
    assert same == (0, 1, 1)
    assert no_difference(same)
    assert not no_difference(equal)


def of_differences(differences: Iterable[float]) -> Difference:
    """How a system differs that is better on each line by that much."""
    better = np.array([*differences], dtype=float)
    return compare(mean_of("mean", "", 50 + better), mean_of("mean", "", [50.0] * len(better)))


@pytest.mark.parametrize(
    "differences",
    [
        [0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0],
        [1, -1, 0, 0, 0],
        [1, 1, -1, 0, 0],
        [-2, -1, 0, 0, 1],
        [0.1, 0.2, 0, 0.7, 0],  # sums that rounding would tell apart
        [0.3, 0.7, -0.2, 0.4, 0.1],
    ],
)
def test_p_values_are_those_of_all_that_chance_can_make(differences):
    lines = np.array(differences, dtype=float)
    real = abs(lines.mean()) - 1e-9
    drawn = np.abs([lines[[*some]].mean() for some in product(range(5), repeat=5)])
    swapped = np.abs([(lines * signs).mean() for signs in product((1, -1), repeat=5)])
    found = of_differences(differences)
    assert found.bootstrap == pytest.approx((drawn - drawn.mean() >= real).mean(), abs=0.05)
    assert found.randomization == pytest.approx((swapped >= real).mean(), abs=0.02)


def test_randomization_of_better_and_worse_lines_is_the_sign_test():
    exact = 2 * sum(comb(48, k) for k in range(31, 49)) / 2**48
    assert exact == pytest.approx(0.0595, abs=1e-4)
    found = of_differences([1] * 31 + [-1] * 17)
    assert found.randomization == pytest.approx(exact, abs=0.005)
    shares = np.array([comb(48, k) * 31**k * 17 ** (48 - k) / 48**48 for k in range(49)])
    drawn = np.abs(2 * np.arange(49) - 48)
    bootstrap = shares[drawn - shares @ drawn >= 14].sum()
    assert found.bootstrap == pytest.approx(bootstrap, abs=0.005)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter", "rougeL", "exact"])
def test_one_line_of_many_tells_nothing(name):
    changed = [REFERENCES[0] + " again", *REFERENCES[1:]]
    found = compare(scores(name, changed), scores(name, REFERENCES), 200, 300)
    assert found.difference
    assert found.bootstrap > 0.1
    assert found.randomization == 1


def test_infinite_scores_do_not_differ():
    endless = score(["length"], ["a", "b"], [["", ""]])["length"]
    assert compare(endless, endless, 20, 20) == (0, 1, 1)


def test_no_p_value_is_told_as_nothing():
    assert p_value(1 / 10_001, 3) == "< 0.001"
    assert p_value(1 / 10_001, 4) == "0.0001"
    assert p_value(1 / 100_001, 4) == "< 0.0001"
    assert p_value(1, 3) == "1.000"


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    scores = np.random.default_rng(3).normal(50, 10, 2_000).tolist()
    low, high = interval(mean_of("mean", "", scores))
    width = 1.96 * 10 / 2_000**0.5
    assert (low, high) == pytest.approx((50 - width, 50 + width), abs=0.3)
    assert (high - low) / 2 == pytest.approx(width, rel=0.15)


def test_an_infinite_difference_proves_nothing():
    """Whichever way the coin falls, one of the systems has the line that costs infinitely much."""
    costs = np.ones((10, 1))
    infinite = costs.copy()
    infinite[3] = math.inf
    one, other = (
        Score("PPL", "test", statistics, lambda sums: float(sums[0]))
        for statistics in (infinite, costs)
    )
    found = compare(one, other)
    assert found.randomization == 1.0
    assert found.bootstrap > 0.5  # a third of the resamples have not drawn the line
