"""Files and folders that are complete or absent, never half; hashes and locks.

Durable means: written beside its place, flushed to disk, then renamed. A reader sees the old file
or the new one, whenever the power fails.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from seq2seq.errors import UserError
from seq2seq.layout import CONFIG, MODEL_FILES, REPLACE, TOKENIZERS, WEIGHTS


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
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_file(path, text.encode(errors="backslashreplace"))  # JSON's own escape of a surrogate


def strict(value: Any) -> Any:
    """A value as JSON can hold it: what is infinite or no number becomes null."""
    if isinstance(value, dict):
        return {name: strict(entry) for name, entry in value.items()}
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


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise an OSError if it is a link, a pipe or a device.

    Other people's folders may hold them: a pipe would block, and a link leads elsewhere.
    """
    refused = OSError(errno.EINVAL, "is not a regular file", str(path))
    if not stat.S_ISREG(path.lstat().st_mode):  # opening a device can have effects of its own
        raise refused
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]
    file = open(os.open(path, os.O_RDONLY | sum(flags)), "rb")  # noqa: SIM115 (it is returned)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was replaced in between
        file.close()
        raise refused
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; raise an OSError if it has more bytes than `limit`."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit:,} bytes", str(path))
    return content


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return digest_of(file)


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of what is left to read of a file, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """The SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


MANIFEST = "manifest.json"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SMALL = 1 << 20  # bytes, at most, of JSON about other files


def write_manifest(folder: Path) -> None:
    """Records size and hash of each file in a folder, so that damage shows."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST
    }
    write_json(folder / MANIFEST, files)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the files that a manifest names, by name; raise a ValueError if it is no manifest.

    Names are plain: none leads out of the folder, and none is hidden.
    """
    try:
        recorded = json.loads(read_regular(folder / MANIFEST, SMALL))
        entries = {name: (entry["bytes"], entry["sha256"]) for name, entry in recorded.items()}
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("not the form of a manifest") from error
    for name, (size, digest) in entries.items():
        if not (PLAIN_NAME.fullmatch(name) and type(size) is int and isinstance(digest, str)):
            raise ValueError(f"not an entry of a manifest: {name}")
    return {name: {"bytes": size, "sha256": digest} for name, (size, digest) in entries.items()}


def check_manifest(folder: Path, remedy: str, *, unread: Collection[str] = ()) -> None:
    """Raises a UserError that names every file that is missing or altered.

    Of those that will stay `unread` only presence and size are looked at.
    """
    if problems := [*manifest_problems(folder, unread)]:
        raise UserError(f"{folder} cannot be used: {', '.join(problems)}; {remedy}")


def check_model(folder: Path, *, unread: Collection[str] = ()) -> None:
    """Raise a UserError that says why a model folder cannot be used, as `check_manifest` does.

    It must have all files of a model, and its manifest must name each of them and no others.
    """
    problems = [*manifest_problems(folder, unread)] or [*model_problems(folder)]
    if problems:
        raise UserError(f"{folder} cannot be used: {', '.join(problems)}; {REPLACE}")


def manifest_problems(folder: Path, unread: Collection[str]) -> Iterator[str]:
    """Yield each way in which the files of a folder differ from its manifest."""
    try:
        recorded = read_manifest(folder)
    except FileNotFoundError:
        yield f"{MANIFEST} is missing"
        return
    except ValueError:
        yield f"{MANIFEST} has been altered"
        return
    except OSError as error:
        yield f"{MANIFEST} {error.strerror}"
        return
    for name, entry in recorded.items():
        if problem := file_problem(folder / name, entry, read=name not in unread):
            yield f"{name} {problem}"


def file_problem(path: Path, entry: dict[str, Any], *, read: bool) -> str | None:
    """Return in which way a file differs from its entry in a manifest; None if it does not."""
    try:
        with open_regular(path) as file:
            same = os.fstat(file.fileno()).st_size == entry["bytes"]
            same = same and (not read or digest_of(file) == entry["sha256"])
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return error.strerror
    return None if same else "has been altered"


def model_problems(folder: Path) -> Iterator[str]:
    """Yield each way in which a manifest names other files than those of a model."""
    named = read_manifest(folder).keys()
    for name in sorted(named - {*MODEL_FILES}):
        yield f"{MANIFEST} names {name}, which is not a file of a model"
    one, *sides = TOKENIZERS
    needed = [CONFIG, WEIGHTS] if one in named else [CONFIG, WEIGHTS, *sides]
    present = [name for name in MODEL_FILES if os.path.lexists(folder / name)]
    for name in sorted({*needed, *present} - named):
        yield f"{MANIFEST} does not name {name}"


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
