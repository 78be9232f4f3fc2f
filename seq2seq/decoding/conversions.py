"""Conversions for CTranslate2, made once and kept in the user's cache. No torch until one is made.

None lies in a model's folder: whoever can write there could put in another model. What is in the
cache was made by this user from weights of a known hash; there CTranslate2 reads nothing else. Many
folders with the same model share one conversion, and a folder that cannot be written to has one.

    $SEQ2SEQ_CACHE, $XDG_CACHE_HOME/seq2seq or ~/.cache/seq2seq
        conversions/<key>/    what `models.conversion` writes, origin.json, manifest.json, and an
                              empty file for each file of weights that was found to have the hash
"""

import atexit
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EPERM
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.config import Config
from seq2seq.console import say
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.errors import UserError
from seq2seq.files import (
    check_manifest,
    check_model,
    fingerprint,
    new_folder,
    read_manifest,
    remove,
    write_json,
    write_manifest,
)
from seq2seq.layout import BASE, WEIGHTS
from seq2seq.locks import lock

if TYPE_CHECKING:
    from seq2seq.models.transformer import Transformer

ORIGIN = "origin.json"  # what a conversion was made of
LAYOUT = 3  # of a conversion; raised when `models.conversion` writes something else
KEY = re.compile("[0-9a-f]{64}")
KEPT = 10 * 10**9  # bytes of conversions; those that were not used for longest go
IN_USE = 24 * 60 * 60  # seconds after its last use in which a conversion stays in any case


def converted(
    folder: Path, config: Config, tokenizers: Tokenizers, model: Callable[[], "Transformer"]
) -> Path:
    """The conversion of a model folder: the one in the cache, or a new one of its `model`.

    Where there can be no cache, it is one that goes when the process ends. Raises a UserError if
    the weights have been altered since their hash was recorded.
    """
    made_of = origin(folder, config, tokenizers)
    try:
        cache = conversions()
        path = cache / fingerprint(made_of)
        if not is_current(path, made_of):
            with lock(
                cache / ".lock", wait=lambda: say("waiting for another conversion"), tell=say
            ):
                if not is_current(path, made_of):
                    say(f"converting {folder} for CTranslate2 (once)")
                    loaded = model()
                    check_made_of(loaded, folder, made_of)
                    with new_folder(path) as partial_folder:
                        write_conversion(partial_folder, config, tokenizers, loaded, made_of)
                    (path / seen(folder)).touch()
                    clean(cache)
        check_seen(folder, path)
        with suppress(OSError):
            os.utime(path)
        return path
    except OSError as error:
        say(
            f"no conversion can be kept ({error.strerror}): it is made for this time only; set "
            "SEQ2SEQ_CACHE to a folder of yours"
        )
        path = Path(tempfile.mkdtemp(prefix="seq2seq-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        write_conversion(path, config, tokenizers, model(), made_of)
        return path


def check_made_of(model: "Transformer", folder: Path, made_of: dict[str, Any]) -> None:
    """Raises a UserError if a model was read from other weights than its conversion is kept for.

    Else who can write to a folder for a moment could put other weights in the place of a known
    model's. A model that was read from no folder is the caller's own.
    """
    if model.made_of and model.made_of != made_of["files"]:
        raise UserError(f"{folder} was replaced while it was read; run the same command again")


def conversions() -> Path:
    """Return the folder of conversions, which is made if it is missing.

    Raises an OSError if it cannot be made, or if others than this user can write to it.
    """
    path = cache_folder() / "conversions"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    theirs = hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022)
    if theirs or not stat.S_ISDIR(found.st_mode):
        raise OSError(EPERM, f"{path} is not a folder of this user alone")
    return path


def cache_folder() -> Path:
    """Return where this user's programs may keep what can be made again."""
    if given := os.environ.get("SEQ2SEQ_CACHE"):
        return Path(given).expanduser()
    usual = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (usual if usual.is_absolute() else Path.home() / ".cache") / "seq2seq"
    except RuntimeError as error:  # a user without a home
        raise OSError(EPERM, str(error)) from None


def write_conversion(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    model: "Transformer",
    made_of: dict[str, Any],
) -> None:
    """Fills a folder with a conversion and with what it was made of."""
    from seq2seq.models.conversion import convert

    convert(model, tokenizers, config.data.max_length, folder)
    write_json(folder / ORIGIN, made_of)
    write_manifest(folder)


def origin(folder: Path, config: Config, tokenizers: Tokenizers) -> dict[str, Any]:
    """What a conversion of a model folder is made of, and with what.

    All that makes a difference is named, so that no folder's conversion is taken for another's.
    """
    files = read_manifest(folder)
    return {
        "files": {name: files[name]["sha256"] for name in (WEIGHTS, BASE) if name in files},
        "tokenizers": tokenizers.fingerprint,
        "model": config.model.model_dump(mode="json"),
        "max_length": config.data.max_length,
        "layout": LAYOUT,
        "ctranslate2": version("ctranslate2"),
        "seq2seq": version("seq2seq"),
    }


def is_current(path: Path, made_of: dict[str, Any]) -> bool:
    """Whether a conversion is there, whole, and of what it should be made of."""
    try:
        check_manifest(path, "")
        return json.loads((path / ORIGIN).read_text(encoding="utf-8")) == made_of
    except (UserError, OSError, ValueError):
        return False


def check_seen(folder: Path, path: Path) -> None:
    """Raises a UserError if a model folder's weights are not those that its conversion is of.

    They are read only if this file was not seen before: of large weights, that takes seconds.
    """
    if not (path / seen(folder)).exists():
        check_model(folder)
        with suppress(OSError):  # where it cannot be written to
            (path / seen(folder)).touch()


def seen(folder: Path) -> str:
    """Return a name for a file of weights as it is now: any change of it gives another."""
    path = (folder / WEIGHTS).resolve()
    found = path.stat()
    state = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return f"seen-{fingerprint([str(path), *state])}"


def clean(cache: Path) -> None:
    """Removes the conversions that were not used for longest if all together take too much."""
    entries = [path for path in cache.iterdir() if KEY.fullmatch(path.name) and path.is_dir()]
    used = {path: path.stat().st_mtime for path in entries}
    total = 0
    for path in sorted(entries, key=lambda path: used[path], reverse=True):
        total += sum(file.stat().st_size for file in path.iterdir())
        if total > KEPT and time.time() - used[path] > IN_USE:
            remove(path)
