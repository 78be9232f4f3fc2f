"""Which model a person means, and all of it but the weights, without loading torch."""

import difflib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.config import Config, load
from seq2seq.console import say
from seq2seq.data.tokenizer import EOS, Tokenizers
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import SMALL, check_model, fingerprint, standing
from seq2seq.layout import BEST, CHECKPOINTS, CONFIG, METRICS, REPLACE, RUNS, SCORES, WEIGHTS
from seq2seq.regular import read_regular

CHANGEABLE = ("decoding.", "evaluation.", "data.test.", "data.test=", "device=")
ALLOWED = "decoding, evaluation, data.test and device"
REMAKE = "run its `seq2seq train` command again, which makes it from the best checkpoint"
UNSCORED = (
    "not the best model of the training: it has no validation scores and stays as it is. To have "
    "the best checkpoint there, move it away and run the `seq2seq train` command again"
)


class Opened(NamedTuple):
    """A model's folder, and what is in it beside the weights."""

    config: Config
    tokenizers: Tokenizers
    folder: Path  # the model's
    results: Path  # the folder for what is made with it: in its run, or here


class Best(NamedTuple):
    """The origin of a run's best model, and its scores on the validation set if it has any."""

    update: int | None
    average: list[int] | None  # the updates whose mean it is, if it is one
    scores: dict[str, float]  # none if it is a mean that `seq2seq average` made
    chance: float | None = None

    def __str__(self) -> str:
        if self.average:
            return f"the mean of updates {', '.join(f'{one:,}' for one in self.average)}"
        return f"update {self.update:,}"


def read_best(run: Path) -> Best | None:
    """Return the origin of a run's best model; None if there is no model.

    Raises a UserError if its file has been altered.
    """
    folder = standing(run / BEST)
    if not folder.is_dir():
        return None
    file = folder / SCORES
    try:
        found = json.loads(file.read_bytes())
        scores = {name: as_number(score) for name, score in found.get("valid", {}).items()}
        average, chance = found.get("average"), found.get("chance")
        for update in average or [found["update"]]:
            if type(update) is not int:
                raise TypeError
        return Best(
            None if average else found["update"],
            average or None,
            scores,
            None if chance is None else as_number(chance),
        )
    except FileNotFoundError:
        raise UserError(f"{file} is missing; move {folder} away and {REMAKE}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{file} has been altered; move {folder} away and {REMAKE}") from None


def as_number(score: float | None) -> float:
    """Return a score as a file has it, where null stands for what is no number.

    Raises a TypeError if it is text, or anything else.
    """
    if score is None:
        return math.nan
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise TypeError
    return float(score)


def open_model(
    named: Path | None, overrides: Sequence[str] = (), *, device: str | None = None
) -> Opened:
    """The model of a folder (a model's or a run's), or of the newest run, which it names.

    Its options are those of its run, where it has one: a test set may have been added since the
    model was saved. `overrides` change those that do not make it another model, `device` that one.

    Raises a UserError that says what is wrong with the folder; the weights are not looked at.
    """
    if named is None:
        named = newest_run()
        say(f"using the best model of the newest run, {named}")
    for override in overrides:
        if not override.startswith(CHANGEABLE):
            raise ConfigError(f"--set {override}: a trained model has only {ALLOWED} to set")
    folder = find_model(named)
    in_run = (folder.parent / CHECKPOINTS).is_dir()
    results = folder.parent / "evaluation" if in_run else _results_of(folder.resolve())
    check_model(folder, unread=[WEIGHTS])
    config = load_own(folder.parent if in_run else folder, overrides)
    if device is not None:
        config = config.model_copy(update={"device": device})
    return Opened(config, read_tokenizers(folder), folder, results)


def load_own(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a run or a model folder, which may be anybody's."""
    path = folder / CONFIG
    try:
        read_regular(path, SMALL)
    except FileNotFoundError:
        pass  # `load` says what there is instead
    except OSError as error:
        raise UserError(f"{path} cannot be used: it {error.strerror}") from None
    return load(path, overrides)


def read_tokenizers(folder: Path) -> Tokenizers:
    """Return the tokenizers of a model folder; raise a UserError if its files do not hold them."""
    try:
        tokenizers = Tokenizers.read(folder)
    except (RuntimeError, FileNotFoundError):  # the first is SentencePiece's, with a line of C++
        tokenizers = None
    if tokenizers is None or min(map(len, tokenizers)) <= EOS:
        raise UserError(
            f"{folder} cannot be used: what tokenizer*.model should hold, a SentencePiece model, "
            f"is not there; {REPLACE}"
        )
    return tokenizers


def _results_of(folder: Path) -> Path:
    """The folder for what is made with a model outside of runs: models of one name have several."""
    plain = Path("evaluation", folder.name)
    if all(_names(scores, folder) for scores in plain.glob(f"*.{SCORES}")):
        return plain
    return plain.with_name(f"{folder.name}-{fingerprint(str(folder))[:8]}")


def _names(scores: Path, folder: Path) -> bool:
    """Whether scores that were kept are of the model in a folder."""
    try:
        return Path(json.loads(scores.read_bytes())["model"]).resolve() == folder
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def find_model(named: Path) -> Path:
    """The model folder that a person means by the path of a model or of a run."""
    best = standing(named / BEST)
    if best.is_dir():
        return best
    if (named / CHECKPOINTS).is_dir() or (named / METRICS).is_file():
        if any((named / CHECKPOINTS).glob("step-*")):
            raise UserError(
                f"{named} has checkpoints but no best model: {named / BEST} is missing; {REMAKE}"
            )
        raise UserError(f"{named} has no model yet; let it train until its first validation")
    if not named.is_dir():
        raise UserError(f"{named} is no folder; {_meant(named)}")
    return named


def _meant(named: Path) -> str:
    runs = {run.name: run for folder in (named.parent, RUNS) for run in folder.glob("*/")}
    close = difflib.get_close_matches(named.name, runs, n=1)
    if not close:
        return "name a run, such as runs/quickstart, or a model"
    return f"did you mean {runs[close[0]]}?"


def newest_run() -> Path:
    """The run that was written to last and has a model."""
    found = [
        run
        for run in RUNS.glob("*")
        # of os.path: those of a folder that may not be entered are absent, not an error
        if os.path.isdir(standing(run / BEST)) and os.path.isfile(run / METRICS)
    ]
    if not found:
        raise UserError(
            f"there is no trained model in {RUNS}/; train one: "
            "seq2seq train configs/quickstart.yaml"
        )
    return max(found, key=lambda run: ((run / METRICS).stat().st_mtime_ns, run.name))
