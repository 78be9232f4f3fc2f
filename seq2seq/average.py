"""`seq2seq average`: a model whose weights are the mean of those of some checkpoints of a run.

The mean of the last or best few is often better than each of them (Vaswani et al. 2017, section
6.1). Training tries one mean when it ends; this makes any other.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from seq2seq.config import Training
from seq2seq.console import say
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import check_replaceable
from seq2seq.models import build_shapes
from seq2seq.models.adapters import adapt, own_parameters
from seq2seq.models.folder import base_beside, check_shapes, save_model, shapes_of
from seq2seq.runs import newest_run, open_model
from seq2seq.training.averaging import mean
from seq2seq.training.checkpoint import Checkpoints, Progress, check_checkpoint, read_state


def average(
    named: Path | None,
    output: Path,
    *,
    last: int | None = None,
    best: int | None = None,
    updates: str | None = None,
) -> None:
    """Writes the mean of some checkpoints of a run, the newest unless named, as a model folder.

    They are the last or the best so many that were validated, or those after the given updates
    (500,1000,...); without any of these, what `training.average` and `training.average_of` say.

    Raises a UserError if there are too few, or if one is damaged or does not fit the others.
    """
    if sum(map(bool, (last, best, updates))) > 1:
        raise ConfigError("--last, --best and --checkpoints are three ways to choose; give one")
    check_replaceable(output, replace=False)
    run = named or newest_run()
    opened = open_model(run)  # the best model has all that another needs but weights
    folder, config = opened.folder.parent, opened.config
    checkpoints = Checkpoints(folder / "checkpoints")
    if not checkpoints.folder.is_dir():
        raise UserError(f"{run} has no checkpoints; name a run, such as runs/quickstart")
    if not (last or best or updates):
        last, best = default(config.training)
    chosen = (
        given(checkpoints, updates)
        if updates
        else ranked(checkpoints, config.training, last=last, best=best)
    )

    model = build_shapes(config, len(opened.tokenizers.source), len(opened.tokenizers.target))
    if config.training.lora:
        adapt(model, config.training.lora)
    expected = shapes_of(own_parameters(model))

    def weights(update: int) -> dict[str, Tensor]:
        found = checkpoints.weights(update)
        check_shapes(shapes_of(found), expected, checkpoints.path(update))
        return found

    origin = {"average": sorted(chosen), "run": str(folder)}
    averaged = mean(map(weights, sorted(chosen)))
    base = base_beside(opened.folder)
    save_model(output, config, opened.tokenizers, averaged, origin, base, replace=False)
    say(f"{output} is the mean of {len(chosen)} checkpoints of {folder}: {listed(sorted(chosen))}")
    say(f"how good it is nobody knows yet: seq2seq evaluate {output}")


def default(config: Training) -> tuple[int | None, int | None]:
    """How many of the last and of the best checkpoints the config would average."""
    if config.average < 2:
        raise ConfigError(
            f"the config of this run has training.average: {config.average}; say which checkpoints "
            "to take with --last, --best or --checkpoints"
        )
    return (config.average, None) if config.average_of == "last" else (None, config.average)


def given(checkpoints: Checkpoints, text: str) -> list[int]:
    """The updates that a person named; raises an error if there is no checkpoint of one."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--checkpoints {text}: give updates with commas between, as in 500,1000")
    updates = [int(part) for part in parts]
    if len(set(updates)) < max(2, len(updates)):
        raise ConfigError(f"--checkpoints {text}: name two or more, each once")
    there = checkpoints.updates()
    if missing := sorted(set(updates) - set(there)):
        raise UserError(
            f"{checkpoints.folder} has no checkpoint after update {listed(missing)}; "
            f"there are {listed(there)}"
        )
    return updates


def ranked(
    checkpoints: Checkpoints, config: Training, *, last: int | None, best: int | None
) -> list[int]:
    """The updates of the last or the best checkpoints that were validated."""
    there = checkpoints.updates()
    progress = progress_of(checkpoints, there[-1]) if there else Progress()
    if best:
        order = progress.best(len(progress.scores), config.metrics[0])
        usable = [update for update in order if update in there]
    else:
        usable = checkpoints.validated(progress, config)[::-1]
    wanted = best or last or 0
    if len(usable) < wanted:
        option = "keep_best" if best else "keep_last"
        raise UserError(
            f"{checkpoints.folder} has {len(usable)} validated checkpoints, not {wanted}"
            f"{': ' if usable else ''}{listed(sorted(usable))}; take fewer (two at least), or "
            f"train on with a higher training.{option}"
        )
    return usable[:wanted]


def progress_of(checkpoints: Checkpoints, update: int) -> Progress:
    """How far training had come at a checkpoint, which is checked first."""
    folder = checkpoints.path(update)
    check_checkpoint(folder)
    return read_state(folder)[1]


def listed(updates: Sequence[int]) -> str:
    """Updates as people read them, and as --checkpoints takes them."""
    return ",".join(map(str, updates))
