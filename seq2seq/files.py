"""Files and folders that are complete or absent, never half; hashes and locks.

Durable means: written beside its place, flushed to disk, then renamed. A reader sees the old file
or the new one, whenever the power fails.
"""

import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from seq2seq.errors import UserError


def write_file(path: Path, content: bytes | str) -> None:
    """Replaces a file durably."""
    with new_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to fill, which takes its place, instead of what was there, when it is complete."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file durably."""
    text = to_json(value, indent=2) + "\n"
    write_file(path, text.encode(errors="backslashreplace"))  # JSON's own escape of a surrogate


def check_regular(path: Path) -> None:
    """Raises a UserError for a pipe, a device or a folder in place of a file, and opens none.

    Reading them may never end. A path where there is nothing passes.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is no regular file; move it away")


def to_json(value: Any, **options: Any) -> str:
    """Return a value as JSON; the only writer of JSON in the package.

    JSON has no Infinity and no NaN (RFC 8259): they become null. `options` are those of
    `json.dumps`; unless they say otherwise, text stays as it is, not escaped as ASCII.
    """
    return json.dumps(finite(value), **{"ensure_ascii": False, **options}, allow_nan=False)


def finite(value: Any) -> Any:
    """Return a value in which None has taken the place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place, instead of what was there, when it is complete."""
    recover_folder(path)
    partial = path.with_name(f"{path.name}.partial")
    remove(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.iterdir():
            with open(file, "r+b") as opened:  # Windows flushes only what may be written
                os.fsync(opened.fileno())
        sync_folder(partial)
    except BaseException:
        remove(partial)
        raise
    if path.exists():
        old = path.with_name(f"{path.name}.old")
        remove(old)
        os.rename(path, old)
        os.rename(partial, path)
        remove(old)
    else:
        os.rename(partial, path)
    sync_folder(path.parent)


def standing(path: Path) -> Path:
    """Where to read a folder: its place or, between the two renames of its replacement, beside it.

    A reader must not mend what a writer may be about to complete.
    """
    old = path.with_name(f"{path.name}.old")
    return old if old.exists() and not path.exists() else path


def recover_folder(path: Path) -> None:
    """Puts the old folder back if a replacement was killed between its two renames."""
    if (found := standing(path)) != path:
        os.rename(found, path)


def remove(path: Path) -> None:
    """Removes a folder of ours and all that is in it, if it is there."""
    if path.exists():
        shutil.rmtree(path)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable (where the system can: Windows opens no folders)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """The SHA-256 of a JSON value."""
    return hashlib.sha256(to_json(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Records size and hash of each file in a folder, so that damage shows."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST
    }
    write_json(folder / MANIFEST, files)


def check_manifest(folder: Path, remedy: str, *, unread: Collection[str] = ()) -> None:
    """Raises a UserError that names every file that is missing or altered.

    Of those that will stay `unread` only presence and size are looked at.
    """
    try:
        recorded = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        problems = []
        for name, entry in recorded.items():
            file = folder / name
            if not file.is_file():
                problems.append(f"{name} is missing")
            elif file.stat().st_size != entry["bytes"] or (
                name not in unread and sha256(file) != entry["sha256"]
            ):
                problems.append(f"{name} has been altered")
    except FileNotFoundError:
        problems = [f"{MANIFEST} is missing"]
    except (ValueError, TypeError, KeyError, AttributeError):
        problems = [f"{MANIFEST} has been altered"]
    if problems:
        raise UserError(f"{folder} cannot be used: {', '.join(problems)}; {remedy}")


@contextmanager
def lock(path: Path, busy: str = "", *, wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Holds a lock file for this process alone.

    If another process has it, calls `wait` and waits; without one, raises UserError(busy).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(path, blocking=False).acquire()
    except Timeout:
        if wait is None:
            raise UserError(busy) from None
        wait()
        held = FileLock(path).acquire()
    with held:
        yield
