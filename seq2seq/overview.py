"""`seq2seq runs`: the runs that are here, how far each has come, how good it is, what it does now.

It reads small files and the ends of long ones, also while a run is writing them, and no torch.
"""

import json
import math
import os
import stat
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.config import load
from seq2seq.console import for_terminal, format_number, print_line, say
from seq2seq.errors import UserError
from seq2seq.files import check_regular, standing, to_json
from seq2seq.layout import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    FINISHED,
    METRICS,
    RUNS,
    SCORES,
    WEIGHTS,
    update_of,
)
from seq2seq.locks import lock
from seq2seq.runs import REMAKE, Best, read_best

TAIL = 1 << 16  # bytes of metrics.jsonl: the last few hundred lines
ATTEMPTS = 5
COLUMNS = ("run", "model", "size", "update", "epoch", "minutes", "tokens/s", "best")
LINE = 80
ALTERED: tuple[type[Exception], ...] = (  # raised where a file holds other things
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


class Overview(NamedTuple):
    """What there is to know of a run; None is what it does not tell (yet)."""

    name: str
    state: str  # training, stopped, finished or broken
    reason: str | None = None  # why training is over, or what is broken
    kind: str | None = None  # of model
    parameters: int | None = None
    update: int | None = None  # the last one that is known of
    checkpoint: int | None = None  # the update that training would go on after
    epoch: float | None = None
    minutes: float | None = None
    tokens_per_second: float | None = None
    best: dict[str, Any] | None = None  # metric, score, and update or (a mean's) average


def show_runs(*, as_json: bool = False) -> None:
    """Prints the runs in runs/, the one that was written to last at the end."""
    runs = overviews()
    if as_json:
        print(to_json([run._asdict() for run in runs], indent=2))
    elif runs:
        for line in table(runs):
            print_line(line)
    else:
        say(f"there are no runs in {RUNS}/; train one: seq2seq train configs/quickstart.yaml")


def overviews() -> list[Overview]:
    """What there is to know of each run, the one that was written to last at the end."""
    if not RUNS.is_dir():
        return []
    folders = [
        folder
        for folder in RUNS.iterdir()
        if folder.is_dir()
        and not folder.name.startswith(".")
        and not os.path.exists(folder / WEIGHTS)  # a model that someone keeps beside the runs
    ]
    return [overview(folder) for folder in sorted(folders, key=_last_written)]


def overview(folder: Path) -> Overview:
    """What there is to know of the run in a folder, broken or not."""
    training = _is_held(RUNS / f".{folder.name}.lock")  # first: it may end while the rest is read
    try:
        found = _read(folder)
    except (UserError, OSError) as error:  # one run must not hide the others
        found = Overview(folder.name, "broken", _explained(error))
    return found._replace(state="training") if training else found


def table(runs: Sequence[Overview]) -> list[str]:
    """The runs as lines of at most 80 columns: numbers in a table, and below each what it does."""
    rows = [COLUMNS, *map(_cells, runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    widths[0] = min(widths[0], LINE - sum(widths[1:]) - 2 * (len(widths) - 1))
    lines = []
    for row, run in zip(rows, [None, *runs], strict=True):
        name = row[0]
        if len(name) > widths[0]:  # it has a line of its own
            lines.append(name)
            name = ""
        left = [f"{name:<{max(widths[0], 0)}}", f"{row[1]:<{widths[1]}}"]
        right = [f"{cell:>{width}}" for cell, width in zip(row[2:-1], widths[2:-1], strict=True)]
        lines.append("  ".join([*left, *right, row[-1]]).rstrip())
        if run:
            lines += textwrap.wrap(
                for_terminal(_sentence(run)),
                LINE,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def _cells(run: Overview) -> tuple[str, ...]:
    best = None
    if run.best:
        score = run.best["score"]
        best = f"{run.best['metric']} {'-' if score is None else format_number(score)}"
    cells = (
        for_terminal(run.name),
        run.kind,
        None if run.parameters is None else rounded(run.parameters),
        None if run.update is None else f"{run.update:,}",
        None if run.epoch is None else f"{run.epoch:,.1f}",
        None if run.minutes is None else f"{run.minutes:,.1f}",
        None if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}",
        best,
    )
    return tuple(cell or "-" for cell in cells)


def _sentence(run: Overview) -> str:
    """What a run does, and which of its models is best."""
    if run.state == "training":
        state = "training now"
    elif run.reason:
        state = f"{run.state}: {run.reason}"
    elif run.checkpoint is None:
        state = "stopped before its first checkpoint"
    else:
        state = f"stopped; the same command goes on after update {run.checkpoint:,}"
    if not run.best:
        if run.checkpoint is None or run.state == "training":
            return state
        return f"{state}; {BEST}/ is missing: {REMAKE}"
    best = Best(run.best["update"], run.best["average"], {})
    unknown = "" if run.best["score"] is not None else ", whose score is not known"
    return f"{state}; best: {best}{unknown}"


def rounded(number: int) -> str:
    """A number in three digits: 950, 12.3K, 7.58M, 1.23B."""
    number = int(float(f"{number:.3g}"))
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _read(folder: Path) -> Overview:
    """Reads a run; what is being replaced is absent for a moment, so it is tried several times."""
    for _ in range(ATTEMPTS - 1):
        with suppress(FileNotFoundError):
            return _read_once(folder)
    return _read_once(folder)


def _read_once(folder: Path) -> Overview:
    for name in (CONFIG, METRICS, FINISHED):
        check_regular(folder / name)
    config = load(folder / CONFIG)
    checkpoint = _newest_checkpoint(folder / CHECKPOINTS)
    records = _last_records(folder / METRICS)
    updates = [record for record in records if "loss" in record]
    best = standing(folder / BEST)
    weights = None
    if best.is_dir():
        check_regular(best / SCORES)
        weights = best / WEIGHTS
    elif checkpoint is not None:
        weights = folder / CHECKPOINTS / f"step-{checkpoint:08d}" / WEIGHTS
    known = [record["update"] for record in records[-1:]]
    known += [] if checkpoint is None else [checkpoint]
    ended = _ended(folder / FINISHED, checkpoint)
    return Overview(
        folder.name,
        "finished" if ended else "stopped",
        ended,
        config.model.kind,
        None if weights is None else _parameters(weights),
        max(known, default=None),
        checkpoint,
        updates[-1]["epoch"] if updates else None,
        records[-1]["minutes"] if records else None,
        updates[-1]["tokens_per_second"] if updates else None,
        _best(folder, config.training.metrics[0]),
    )


def _newest_checkpoint(folder: Path) -> int | None:
    return max(map(update_of, folder.glob("step-????????")), default=None)


def _last_records(path: Path) -> list[dict[str, Any]]:
    """The last whole lines of metrics.jsonl; the very last may be half written."""
    if not path.exists():
        return []
    with open(path, "rb") as file, _altered(path):
        start = max(0, file.seek(0, os.SEEK_END) - TAIL)
        file.seek(start)
        lines = file.read().split(b"\n")[1 if start else 0 : -1]
        records = [json.loads(line) for line in lines]
        for record in records:
            _check_numbers(record["seconds"])
            _check_numbers(record["update"], whole=True)
            if "loss" in record:
                _check_numbers(record["epoch"], record["tokens_per_second"])
        return [{**record, "minutes": record["seconds"] / 60} for record in records]


def _parameters(path: Path) -> int:
    """How many numbers a file of weights has; only its header is read."""
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    # opened beforehand, so that the error has a name if it is not there
    with path.open("rb"), _altered(path, SafetensorError), safe_open(path, "numpy") as weights:
        names = weights.keys()
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in names)


def _best(folder: Path, metric: str) -> dict[str, Any] | None:
    """The score of a run's best model, if it has one, and what it is made of."""
    best = read_best(folder)
    if best is None:
        return None
    if not best.average and metric not in best.scores:
        raise UserError(f"{standing(folder / BEST) / SCORES} has been altered; it has no {metric}")
    score = best.scores.get(metric, math.nan)
    return {
        "metric": metric,
        "score": score if math.isfinite(score) else None,  # which JSON cannot hold
        "update": best.update,
        "average": best.average,
    }


def _ended(path: Path, checkpoint: int | None) -> str | None:
    """Why training is over, unless it went on after that was written."""
    if not path.exists():
        return None
    with _altered(path):
        ended = json.loads(path.read_bytes())
        return str(ended["reason"]) if checkpoint in (None, ended["update"]) else None


def _check_numbers(*values: Any, whole: bool = False) -> None:
    """Raises a TypeError for what is no number, an OverflowError for one that is out of reach."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise TypeError
        float(value)


def _is_held(path: Path) -> bool:
    """Whether another process has a lock; trying must not make its file."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:  # nobody's lock
        return False
    try:
        with lock(path):
            return False
    except OSError:  # such as another user's, which cannot be tried
        return False
    except UserError:
        return True


def _last_written(folder: Path) -> tuple[int, str]:
    for path in (folder / METRICS, folder):
        with suppress(OSError):
            return path.stat().st_mtime_ns, folder.name
    return 0, folder.name


@contextmanager
def _altered(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Names the file that does not hold what a training writes there."""
    try:
        yield
    except (*ALTERED, *more):
        raise UserError(f"{path} has been altered; the run needs it as it was") from None


def _explained(error: UserError | OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} is missing"
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
