"""Which model a person means, and all of it but the weights, without loading torch."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.config import Config, load
from seq2seq.console import say
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import check_manifest, fingerprint, standing
from seq2seq.layout import BEST, CHECKPOINTS, CONFIG, METRICS, REPLACE, RUNS, SCORES, WEIGHTS

CHANGEABLE = ("decoding.", "evaluation.", "data.test.", "data.test=", "device=")
ALLOWED = "decoding, evaluation, data.test and device"


class Opened(NamedTuple):
    """A model's folder, and what is in it beside the weights."""

    config: Config
    tokenizers: Tokenizers
    folder: Path  # the model's
    results: Path  # the folder for what is made with it: in its run, or here


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
    check_manifest(folder, REPLACE, unread=[WEIGHTS])
    shared = load(folder / CONFIG).tokenizer.shared
    config = load((folder.parent if in_run else folder) / CONFIG, overrides)
    if device is not None:
        config = config.model_copy(update={"device": device})
    return Opened(config, Tokenizers.read(folder, shared=shared), folder, results)


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
    if (named / CHECKPOINTS).is_dir():
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
        run for run in RUNS.glob("*") if standing(run / BEST).is_dir() and (run / METRICS).is_file()
    ]
    if not found:
        raise UserError(
            f"there is no trained model in {RUNS}/; train one: "
            "seq2seq train configs/quickstart.yaml"
        )
    return max(found, key=lambda run: ((run / METRICS).stat().st_mtime_ns, run.name))
