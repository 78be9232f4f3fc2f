"""The laws of learning rates: warm-up, schedules, and what torch has under the same names."""

import math
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, ReduceLROnPlateau

from seq2seq.config import LOWER_IS_BETTER, Training
from seq2seq.config.training import ENDING, Schedule
from seq2seq.training.ranking import rank
from seq2seq.training.schedule import SCHEDULES, Ranks, learning_rate

PEAK, WARMUP, LAST = 0.3, 8, 40


def config_of(schedule: str, **options: Any) -> Training:
    """Options of a short training."""
    given = {"learning_rate": PEAK, "warmup": WARMUP, "max_updates": LAST, **options}
    return Training.model_validate({"schedule": schedule, **given})


def rates(schedule: str, scores: dict[str, float] | None = None, **options: Any) -> list[float]:
    """The learning rate of each update; that of update n is at n - 1."""
    config = config_of(schedule, **options)
    ranks = ranks_of(scores or {}, config.metrics[0])
    return [learning_rate(number, config, ranks) for number in range(1, LAST + 1)]


def ranks_of(scores: dict[str, float], metric: str) -> Ranks:
    """The ranks of validations by their scores alone."""
    return {int(update): rank({metric: score}, metric) for update, score in scores.items()}


def by_torch(scheduler: Any, **options: Any) -> Iterator[float]:
    """The learning rates of one of torch's schedulers, for one step after the other."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    stepping = scheduler(optimizer, **options)
    while True:
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        stepping.step()


def test_every_schedule_of_a_config_is_there():
    assert set(SCHEDULES) == set(get_args(Schedule))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_is_a_straight_line_from_nothing_to_the_peak(schedule):
    found = rates(schedule)
    assert np.diff([0.0, *found[:WARMUP]]) == pytest.approx(PEAK / WARMUP)
    assert found[WARMUP - 1] == pytest.approx(PEAK)
    assert rates(schedule, warmup=0)[0] == pytest.approx(PEAK, rel=0.04)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1, WARMUP, LAST - 10])
def test_the_rate_is_never_above_its_peak_nor_rises_after_the_warm_up(schedule, warmup):
    scores = {str(number): float(number % 3) for number in range(1, LAST, 2)}
    found = rates(schedule, scores, warmup=warmup)
    assert min(found) >= 0
    assert max(found) <= PEAK
    assert all(later <= one for one, later in pairwise(found[max(warmup - 1, 0) :]))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_ends_with_max_updates_ends_at_nothing_and_the_rest_does_not(schedule):
    *_, last = rates(schedule)
    assert last == pytest.approx(0, abs=1e-12) if schedule in ENDING else last > PEAK / 10
    longer = [learning_rate(n, config_of(schedule, max_updates=99), {}) for n in range(1, LAST + 1)]
    assert (longer == rates(schedule)) == (schedule not in ENDING)


def test_inverse_sqrt_is_the_formula_of_the_paper():
    expected = [min(number**-0.5, number * WARMUP**-1.5) for number in range(1, LAST + 1)]
    assert rates("inverse_sqrt") == pytest.approx([PEAK * WARMUP**0.5 * one for one in expected])


@pytest.mark.parametrize(
    ("schedule", "scheduler", "options"),
    [
        ("cosine", CosineAnnealingLR, {"T_max": LAST - WARMUP}),
        (
            "linear",
            LinearLR,
            {"start_factor": 1.0, "end_factor": 0.0, "total_iters": LAST - WARMUP},
        ),
        ("constant", LambdaLR, {"lr_lambda": lambda step: 1.0}),
    ],
)
def test_torch_has_the_same_under_the_same_name(schedule, scheduler, options):
    found = rates(schedule)[WARMUP - 1 :]
    expected = [rate for rate, _ in zip(by_torch(scheduler, **options), found, strict=False)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("decay", [0.1, 0.2, 0.5, 0.8])
def test_warmup_stable_decay_is_stable_and_falls_with_the_root_of_the_time_passed(decay):
    found = rates("warmup_stable_decay", decay=decay)
    start = round((1 - decay) * LAST)
    assert found[WARMUP - 1 : start] == pytest.approx([PEAK] * (start - WARMUP + 1))
    lost = [1 - rate / PEAK for rate in found[start:]]
    assert np.diff([0.0, *np.square(lost)]) == pytest.approx(1 / (LAST - start))


# Waiting for a plateau


@pytest.mark.parametrize("metric", ["ppl", "bleu"])
@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_plateau_is_what_torch_takes_for_one(metric, patience, seed):
    numbers = random.Random(seed)
    scores = {str(update): float(numbers.randrange(9)) for update in range(WARMUP, LAST)}
    found = rates(
        "reduce_on_plateau",
        scores,
        metrics=[metric],
        plateau_patience=patience,
        plateau_factor=0.7,
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = ReduceLROnPlateau(
        optimizer,
        mode="min" if metric in LOWER_IS_BETTER else "max",
        factor=0.7,
        patience=patience - 1,  # torch reduces after one more
        threshold=0.0,
    )
    expected = []
    for update in range(WARMUP, LAST):
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(scores[str(update)])
    assert found[WARMUP - 1 : -1] == pytest.approx(expected)
    assert found[-1] < PEAK


def test_what_is_judged_later_or_during_the_warm_up_changes_nothing():
    config = config_of("reduce_on_plateau", plateau_patience=1)
    ranks = {update: rank({"bleu": 1.0}, "bleu") for update in range(1, LAST + 1)}
    for update in range(1, LAST + 1):
        before = {key: one for key, one in ranks.items() if WARMUP <= key < update}
        assert learning_rate(update, config, ranks) == learning_rate(update, config, before)
    assert learning_rate(WARMUP + 1, config, ranks) == PEAK
    assert learning_rate(WARMUP + 3, config, ranks) == PEAK * config.plateau_factor**2


def test_the_rate_stays_while_perplexity_falls_and_bleu_is_noise():
    perplexities = [717.0, 500.0, 204.0, 204.0, 300.0]
    ranks = {
        WARMUP + number: rank({"bleu": [0.05, 0.0][number > 0], "ppl": one}, "bleu")
        for number, one in enumerate(perplexities)
    }
    config = config_of("reduce_on_plateau", plateau_patience=1, metrics=["bleu"])
    found = [learning_rate(update + 1, config, ranks) for update in ranks]
    assert found == [PEAK, PEAK, PEAK, PEAK / 2, PEAK / 4]


def test_a_score_that_is_no_number_is_not_better():
    scores = {str(WARMUP): 1.0, str(WARMUP + 1): math.nan, str(WARMUP + 2): math.nan}
    assert rates("reduce_on_plateau", scores, plateau_patience=2)[-1] == PEAK / 2
