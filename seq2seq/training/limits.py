"""The end of a training, foreseen: how many updates its limits leave, and whether these are enough.

Patience is not foreseen: it may end a training before.
"""

from collections.abc import Iterator
from typing import NamedTuple

from seq2seq.config import Training
from seq2seq.config.training import ENDING

CLOSE = 0.9  # share of max_updates after which a schedule has as good as ended


class Limit(NamedTuple):
    """The limit that is reached first."""

    updates: int
    option: str


class Pace(NamedTuple):
    """The time that updates take, and what is behind them."""

    seconds: float  # an update
    update: int = 0  # updates done
    spent: float = 0.0  # seconds spent on them


def first_limit(config: Training, updates_an_epoch: int, pace: Pace | None = None) -> Limit:
    """Return the limit that is reached first; that of time only counts where the pace is known."""
    limits = {"max_updates": config.max_updates}
    if config.max_epochs:
        limits["max_epochs"] = config.max_epochs * updates_an_epoch
    if config.max_minutes and pace:
        left = max(0.0, 60 * config.max_minutes - pace.spent)
        limits["max_minutes"] = pace.update + max(1, int(left / max(pace.seconds, 1e-9)))
    option = min(limits, key=limits.__getitem__)
    return Limit(limits[option], f"training.{option}")


def schedule_warnings(config: Training, limit: Limit) -> Iterator[str]:
    """Tell what of the schedule of the learning rate a training will not reach, and the remedy."""
    if config.warmup >= limit.updates:
        yield (
            f"training.warmup is {config.warmup:,} updates, but training ends after about "
            f"{limit.updates:,} ({limit.option}), so the learning rate never reaches its peak; "
            f"set training.warmup to {limit.updates // 10:,}, or train longer"
        )
    if config.schedule in ENDING and limit.updates < CLOSE * config.max_updates:
        yield (
            f"training.schedule: {config.schedule} ends with training.max_updates "
            f"({config.max_updates:,}), but training ends after about {limit.updates:,} updates "
            f"({limit.option}), when the learning rate is still high; set training.max_updates to "
            f"{limit.updates:,}"
        )
