"""The laws of intervals and of significance: sacreBLEU's numbers, and what follows from chance."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from seq2seq.scoring.metrics import Score, mean_of, score
from seq2seq.scoring.significance import compare, interval

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
    assert same.difference == 0


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    scores = np.random.default_rng(3).normal(50, 10, 2_000).tolist()
    low, high = interval(mean_of("mean", "", scores))
    width = 1.96 * 10 / 2_000**0.5
    assert (low, high) == pytest.approx((50 - width, 50 + width), abs=0.3)
    assert (high - low) / 2 == pytest.approx(width, rel=0.15)
