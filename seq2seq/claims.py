"""Whose a run folder is: one training's at a time, and of one config and data for good."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from seq2seq import distributed
from seq2seq.config import Config, differences, load
from seq2seq.config.changing import changed
from seq2seq.config.tuning import Origin
from seq2seq.console import say
from seq2seq.errors import UserError
from seq2seq.files import read_object, write_json
from seq2seq.layout import BASE, BEST, CHECKPOINTS, CONFIG, ORIGINS
from seq2seq.locks import lock
from seq2seq.models.folder import read_base
from seq2seq.origins import gone, origin_hashes
from seq2seq.regular import check_inside

DATA = "data.json"
FIRST = {DATA, BASE, ORIGINS}  # what a run may have before its config


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


def as_begun(folder: Path, config: Config) -> Config:
    """Return the config, with tokenizer.normalization of the run unless it is given.

    Its default has changed: runs that were begun before that go on as they were begun.
    """
    saved = folder / CONFIG
    if "normalization" in config.tokenizer.model_fields_set or not saved.exists():
        return config
    begun = load(saved).tokenizer.normalization
    if begun == config.tokenizer.normalization:
        return config
    say(f"{folder} was begun with tokenizer.normalization: {begun}, and goes on so")
    return changed(config, "tokenizer", {"normalization": begun})


def check_config(folder: Path, config: Config) -> None:
    """Raises a UserError if a run was begun with options that make another result."""
    saved = folder / CONFIG
    if saved.exists() and (lines := differences(load(saved), config)):
        raise UserError(
            f"{folder} was begun with other options:\n  "
            + "\n  ".join(lines)
            + "\nrestore them, choose another name, or start over with --fresh (the old run is "
            "moved aside)"
        )


def check_origins(folder: Path, config: Config) -> None:
    """Raises a UserError if a run was begun with other models than `training.init_from` names.

    They are known by their weights. Of a run that is older than that record, by their names. The
    model that adapters are for is the matter of `check_base`.
    """
    if config.training.lora:
        return
    named, saved = config.training.init_from, folder / ORIGINS
    before = load(folder / CONFIG).training.init_from if (folder / CONFIG).exists() else named
    recorded = read_object(saved) if saved.exists() else None
    if missing := gone(config):
        say(
            f"{' and '.join(missing)} (training.init_from) is not here any more; its weights are "
            "in the checkpoints, so the run goes on without it"
        )
        same = named == before
    else:
        now = origin_hashes(config)
        same = now == recorded if recorded else named == before
        if same and now and not recorded:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(saved, now)
    if not same:
        raise UserError(
            f"{folder} was begun with the weights of {told(before)}, not with those of "
            f"{told(named)} (training.init_from); name the first again, choose another name, or "
            "start over with --fresh"
        )


def told(named: Origin | None) -> str:
    """Return the names of the models that a training starts from."""
    return " and ".join(dict.fromkeys([named.encoder, named.decoder])) if named else "no model"


def check_data(folder: Path, key: str, config: Config) -> None:
    """Raises a UserError if a run was begun with other prepared data, whatever its files' names."""
    saved = folder / DATA
    if not saved.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(saved, {"key": key})
    elif (before := str(read_object(saved).get("key"))) != key:
        raise UserError(
            f"{folder} was begun with other data ({before[:12]}) than there is now ({key[:12]}); "
            f"{renamed(load(folder / CONFIG), config)}restore the files, choose another name, or "
            "start over with --fresh"
        )


def renamed(before: Config, now: Config) -> str:
    """Return a remark about files that a config does not name any more; nothing if there are none.

    Files may have other names than before, as long as their content is the same.
    """
    old, new = (
        {path for corpus in one.data.used for path in corpus.paths} for one in (before, now)
    )
    return f"it was {', '.join(sorted(old - new))} before; " if old - new else ""


def check_base(folder: Path, base: dict[str, Any] | None) -> None:
    """Raises a UserError if a run's adapters were begun for another model, or its other weights."""
    saved = folder / BASE
    if base is None:
        return
    if not saved.exists():
        write_json(saved, base)
        return
    before = read_base(saved)
    if before == {**base, "path": before["path"]}:
        if before != base:  # the same model, which has another name now
            write_json(saved, base)
    else:
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
