"""Whose a run folder is: one training's at a time, and of one config and data for good."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from seq2seq import distributed
from seq2seq.config import Config, differences, load
from seq2seq.console import say
from seq2seq.errors import UserError
from seq2seq.files import check_inside, lock, write_json
from seq2seq.layout import BASE, BEST, CHECKPOINTS, CONFIG

DATA = "data.json"
FIRST = {DATA, BASE}  # what a run may have before its config


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Holds the run for this process, or for all that train together."""
    busy = f"{folder} is being trained by another process"
    with ExitStack() as held:
        with distributed.together():
            if distributed.leads():
                held.enter_context(lock(folder.parent / f".{folder.name}.lock", busy))
        yield


def check_folder(folder: Path) -> None:
    """Raises a UserError if a folder is no run's, or if a link leads from it to another place.

    The folder itself may be a link, to a larger disk for instance.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(name for name in names - FIRST if not name.endswith(".partial"))
    if others and CONFIG not in names:
        raise UserError(
            f"{folder} is no run: it has {others[0]}, but no {CONFIG}; move it away, choose "
            "another name, or let --fresh move it aside"
        )
    for name in (CHECKPOINTS, BEST, "tensorboard", "evaluation"):
        check_inside(folder / name, folder)


def check_config(folder: Path, config: Config) -> None:
    """Raises a UserError if a run was begun with options that make another result."""
    saved = folder / "config.yaml"
    if saved.exists() and (lines := differences(load(saved), config)):
        raise UserError(
            f"{folder} was begun with other options:\n  "
            + "\n  ".join(lines)
            + "\nrestore them, choose another name, or start over with --fresh (the old run is "
            "moved aside)"
        )


def check_data(folder: Path, key: str) -> None:
    """Raises a UserError if a run was begun with other prepared data."""
    saved = folder / DATA
    if not saved.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(saved, {"key": key})
    elif (before := json.loads(saved.read_text())["key"]) != key:
        raise UserError(
            f"{folder} was begun with other data ({before[:12]}) than there is now ({key[:12]}); "
            "restore the files, choose another name, or start over with --fresh"
        )


def check_base(folder: Path, base: dict[str, Any] | None) -> None:
    """Raises a UserError if a run's adapters were begun for another model, or its other weights."""
    saved = folder / BASE
    if base is None:
        return
    if not saved.exists():
        write_json(saved, base)
    elif (before := json.loads(saved.read_text(encoding="utf-8"))) != base:
        raise UserError(
            f"{folder} holds adapters for {before['path']} with weights whose SHA-256 is "
            f"{before['sha256'][:12]}..., not for {base['path']} with {base['sha256'][:12]}...; "
            "put that model back, choose another name, or start over with --fresh"
        )


def move_aside(folder: Path) -> None:
    """Renames a run folder, so that nothing is lost."""
    if os.path.lexists(folder):
        aside = next(
            path for number in count(1) if not os.path.lexists(path := Path(f"{folder}.{number}"))
        )
        folder.rename(aside)
        say(f"the old run is now {aside}")
