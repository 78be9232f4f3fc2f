"""Laws of limits: the first that is reached counts, and what a schedule will not reach is said."""

import re

import pytest

from seq2seq.config import Training
from seq2seq.console import format_number
from seq2seq.training.limits import Limit, Pace, first_limit, schedule_warnings
from seq2seq.training.progress import described

SOON = ("--set", "training.max_minutes=0.05", "--set", "training.max_updates=1000000")


@pytest.mark.parametrize(
    ("limits", "seconds", "expected"),
    [
        ({}, 1.0, Limit(1000, "training.max_updates")),
        ({"max_epochs": 3}, 1.0, Limit(120, "training.max_epochs")),
        ({"max_minutes": 1}, 1.0, Limit(60, "training.max_minutes")),
        ({"max_minutes": 1}, 0.01, Limit(1000, "training.max_updates")),
        ({"max_minutes": 1, "max_epochs": 1}, 1.0, Limit(40, "training.max_epochs")),
        ({"max_minutes": 1}, 3600.0, Limit(1, "training.max_minutes")),
    ],
)
def test_the_first_limit_is_the_one_that_training_ends_by(limits, seconds, expected):
    config = Training.model_validate({"max_updates": 1000, "warmup": 10, **limits})
    assert first_limit(config, 40, Pace(seconds)) == expected
    if "max_minutes" not in limits:
        assert first_limit(config, 40) == expected


def test_time_that_was_spent_before_counts():
    config = Training.model_validate({"max_minutes": 2})
    assert first_limit(config, 40, Pace(1.0, update=50, spent=100.0)).updates == 50 + 20


@pytest.mark.parametrize(
    ("options", "updates", "said"),
    [
        ({"warmup": 10}, 1000, ""),
        ({"warmup": 99}, 100, ""),
        ({"warmup": 100}, 100, "set training.warmup to 10, or train longer"),
        ({"schedule": "cosine", "warmup": 10}, 1000, ""),
        ({"schedule": "cosine", "warmup": 10}, 950, ""),
        ({"schedule": "cosine", "warmup": 10}, 500, "set training.max_updates to 500"),
        ({"schedule": "linear", "warmup": 10}, 500, "set training.max_updates to 500"),
        ({"schedule": "warmup_stable_decay"}, 1500, "set training.max_updates to 1,500"),
        ({"schedule": "constant", "warmup": 0}, 10, ""),
    ],
)
def test_what_the_schedule_will_not_reach_is_said_with_the_remedy(options, updates, said):
    most = 2000 if options.get("schedule") == "warmup_stable_decay" else 1000
    config = Training.model_validate({"max_updates": most, **options})
    warnings = [*schedule_warnings(config, Limit(updates, "training.max_minutes"))]
    assert len(warnings) == bool(said)
    assert all(said in one and "training.max_minutes" in one for one in warnings)


def test_training_says_at_the_start_what_it_will_not_reach(own, command):
    late = command("train", "toy.yaml", "--set", "training.warmup=60", "--set", "name=late")
    assert late.err.count("the learning rate never reaches its peak; set training.warmup to 6") == 1
    schedule = ("--set", "training.schedule=cosine", "--set", "training.max_epochs=4")
    ends = command("train", "toy.yaml", *schedule, "--set", "name=ends")
    assert ends.err.count("training.max_epochs), when the learning rate is still high") == 1
    assert command("train", "toy.yaml", *schedule, "--set", "name=ends").err.count("warning") == 0


def test_training_says_as_soon_as_the_pace_is_known_what_time_will_not_allow(own, command):
    options = ("--set", "training.schedule=linear", "--set", "name=short")
    result = command("train", "toy.yaml", *SOON, *options)
    warning = r"warning: training.schedule: linear .*\(training.max_minutes\)"
    assert len(re.findall(warning, result.err)) == 1
    assert result.err.index("warning") < result.err.index("update 20")


@pytest.mark.parametrize(
    ("limit", "length"), [("max_minutes=0.5", "30.00 s"), ("max_epochs=1", None)]
)
def test_a_dry_run_counts_with_every_limit(own, command, limit, length):
    most = ("--set", "training.max_updates=1000000")
    result = command("train", "toy.yaml", "--dry-run", *most, "--set", f"training.{limit}")
    assert result.code == 0, result.err
    found = re.search(r"^  training +([\d.,]+ \w+)  (.*)$", result.out.decode(), re.M)
    assert found
    assert re.search(rf"^  ends by +{limit.partition('=')[0]} ", result.out.decode(), re.M)
    seconds = float(found[1].removesuffix(" s"))
    if length:
        assert seconds == pytest.approx(float(length.removesuffix(" s")), rel=0.05)
    else:
        assert "1.0 epochs" in found[2]


@pytest.mark.parametrize(
    "options",
    [
        ("training.learning_rate=100", "training.clip_norm=0"),
        ("training.learning_rate=30",),
        ("training.learning_rate=1.0e+5", "training.optimizer=sgd", "training.clip_norm=0"),
        ("training.learning_rate=100", "training.metrics=[bleu]", "training.ema=0.9"),
    ],
)
def test_a_training_that_diverged_says_so_and_the_run_can_be_listed(own, command, options):
    changes = [part for one in (*options, "name=far") for part in ("--set", one)]
    for _ in range(2):  # the same command again, too
        result = command("train", "toy.yaml", *changes)
        assert result.code == 1
        *_, last = result.err.splitlines()
        assert last.startswith("error: ")
        assert "training has diverged; its checkpoints are intact. Start over (--fresh)" in last
    listed = command("runs").out.decode()
    assert "altered" not in listed
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12.3456, "12.35"),
        (999_999.0, "999999.00"),
        (1.5e96, "1.50e+96"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_of_97_digits_are_not_printed(value, shown):
    assert format_number(value) == shown
    assert described({"ppl": value}) == f"ppl {shown}"
