"""How the learning rate changes: a straight line up to its peak, and then a schedule.

All are functions of the number of the update and, where the learning rate waits for a plateau, of
how good the model was so far. So nothing needs to be remembered when a run stops.
"""

import math
from collections.abc import Callable, Mapping

from seq2seq.config import Training
from seq2seq.training.ranking import Rank, outcomes

Ranks = Mapping[int, Rank]  # by the update that was judged; less is better
Schedule = Callable[[int, Training, Ranks], float]


def learning_rate(update: int, config: Training, ranks: Ranks) -> float:
    """The learning rate of an update (the first is 1), given the ranks of validations before it.

    `ranks` is what `Progress.ranks` gives; the order of entries is that of updates.
    """
    if update < config.warmup:
        return config.learning_rate * update / config.warmup
    return config.learning_rate * SCHEDULES[config.schedule](update, config, ranks)


def inverse_sqrt(update: int, config: Training, ranks: Ranks) -> float:
    """Falls with the root of updates, from one at the end of the warm-up (Vaswani et al. 2017)."""
    return math.sqrt(max(config.warmup, 1) / update)


def cosine(update: int, config: Training, ranks: Ranks) -> float:
    """Falls to nothing at max_updates along half a cosine (Loshchilov and Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * done(update, config.warmup, config)))


def linear(update: int, config: Training, ranks: Ranks) -> float:
    """Falls to nothing at max_updates along a straight line."""
    return 1 - done(update, config.warmup, config)


def constant(update: int, config: Training, ranks: Ranks) -> float:
    """Stays as it is."""
    return 1.0


def warmup_stable_decay(update: int, config: Training, ranks: Ranks) -> float:
    """Stays, and falls to nothing in the end, as one minus the root of the time that has passed.

    That shape was better than a straight line for Hägele et al. (2024, arXiv:2405.18392), and as
    good as a cosine when a fifth of the updates was spent on it.
    """
    return 1 - math.sqrt(done(update, config.decay_start, config))


def reduce_on_plateau(update: int, config: Training, ranks: Ranks) -> float:
    """Is multiplied by plateau_factor each time that the model has not become better for long.

    Long is plateau_patience validations in a row; then counting begins anew. What is judged during
    the warm-up says nothing about a plateau.
    """
    factor, worse = 1.0, 0
    counted = (rank for judged, rank in ranks.items() if config.warmup <= judged < update)
    for outcome in outcomes(counted):
        if outcome == "better":
            worse = 0
        elif outcome == "worse" and (worse := worse + 1) == config.plateau_patience:
            factor, worse = factor * config.plateau_factor, 0
    return factor


def done(update: int, start: int, config: Training) -> float:
    """How much of the way from an update to max_updates is done: a number from 0 to 1."""
    return min(max(0.0, (update - start) / (config.max_updates - start)), 1.0)


SCHEDULES: dict[str, Schedule] = {
    "inverse_sqrt": inverse_sqrt,
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
    "warmup_stable_decay": warmup_stable_decay,
    "reduce_on_plateau": reduce_on_plateau,
}
