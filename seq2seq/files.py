"""Files and folders that are complete or absent, never half; hashes and locks.

Durable means: written beside its place, flushed to disk, then renamed. A reader sees the old file
or the new one, whenever the power fails.

All that the package writes is written by the functions here, which follow no link: a folder that
came from a stranger may have links in it, under any name that can be guessed. Beside NAME there
may lie, while it is written or after a kill,

    .NAME.<random>.partial     the file to come, or a folder with MARK and the folder to come, NAME
    .NAME.<random>.old         the folder that is being replaced, if the one above is there, too

What a kill has left is removed by who next writes NAME, and only if no process is writing it.
"""

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial as bind
from pathlib import Path
from typing import IO, Any, BinaryIO

from seq2seq.errors import UserError
from seq2seq.layout import CONFIG, MODEL_FILES, REPLACE, TOKENIZERS, WEIGHTS
from seq2seq.regular import UNUSUAL, kind_of, open_own, open_regular, read_regular

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that is open
    fcntl = None  # type: ignore[assignment]

MARK = "seq2seq.partial"  # an empty file: the folder around it is ours to remove


# Files


def write_file(path: Path, content: bytes | str) -> None:
    """Replaces a file durably."""
    with new_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to fill, which takes its place, instead of what was there, when it is complete.

    A link in its place is replaced, and what it leads to left alone. Raises a UserError if a pipe
    or a device is there.
    """
    kind = kind_of(path)
    if kind not in (None, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
        raise UserError(f"{path} is {UNUSUAL.get(kind, 'no file')}; name a file to write to")
    for partial in _partials(path):
        if kind_of(partial) == stat.S_IFREG:
            _if_abandoned(partial, partial.unlink)
    with _named(path):
        file = _file_beside(path)
        partial = Path(file.name)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if fcntl is not None:  # while it is locked nobody takes it for abandoned
                    os.replace(partial, path)
            if fcntl is None:
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


def _file_beside(path: Path) -> BinaryIO:
    """A new file beside a path, under a name that nobody can guess, locked until it is closed."""
    while True:
        file = open(_beside(path), "xb")  # noqa: SIM115 (closed by who fills it)
        _lock_file(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was taken for an abandoned one, before it was locked


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


def _form(path: Path) -> str:
    """A pattern for the names that `_beside` gives."""
    return rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.partial"


def _partials(path: Path) -> list[Path]:
    """What is there that is named as `_beside` names what will become `path`."""
    form = re.compile(_form(path))
    try:
        return [Path(entry.path) for entry in os.scandir(path.parent) if form.fullmatch(entry.name)]
    except OSError:  # no folder yet, or one that may not be listed
        return []


def _if_abandoned(locked: Path, action: Callable[[], object]) -> None:
    """Does something, unless a process holds a file; nothing if there is any doubt."""
    with suppress(OSError, UserError):
        if fcntl is None:
            os.rename(locked, locked)  # Windows renames nothing that is open
            action()
            return
        with open_own(locked, "r+b") as file:
            if _lock_file(file, wait=False):
                action()


def _lock_file(file: IO[Any], *, wait: bool) -> bool:
    """Locks an open file until it is closed, if no process has; whether that was done."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another has it, or the file system has no locks
        return False
    return True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors about what lies beside a path for a while tell of the path itself."""
    try:
        yield
    except OSError as error:
        name = re.escape(path.name)
        if isinstance(error.filename, str) and re.search(_form(path), error.filename):
            form = rf"{_form(path)}([/\\]{name}(?=[/\\]|$))?"
            error.filename = re.sub(form, lambda _: path.name, error.filename)
            error.filename2 = None
        raise


# Folders


@contextmanager
def new_folder(path: Path, *, replace: bool = True, ours: Collection[str] = ()) -> Iterator[Path]:
    """A folder to fill, which takes its place when it is complete.

    What was there goes then, but for what others have put into it: files that stand neither in its
    manifest, nor in the new folder, nor among `ours`. Unless it may `replace` something, its place
    must be free.

    Raises a UserError if a link or a file is in its place, or if the place is to be free and isn't.
    """
    check_replaceable(path, replace=replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(path, ours)
    with _named(path), _folder_beside(path) as partial:
        folder = partial / path.name
        try:
            folder.mkdir()
            yield folder
            for file in folder.iterdir():
                with open(file, "r+b") as opened:  # Windows flushes only what may be written
                    os.fsync(opened.fileno())
            for changed in (folder, partial, path.parent):
                sync_folder(changed)
            check_replaceable(path, replace=replace)
            if path.exists():
                os.rename(path, _old(partial))
            os.rename(folder, path)
            sync_folder(path.parent)
        finally:
            _settle(path, partial, ours)


def check_replaceable(path: Path, *, replace: bool) -> None:
    """Raises a UserError if a folder cannot take a place."""
    kind = kind_of(path)
    if kind is not None and not replace:
        raise UserError(f"{path} exists; give --output a name that is still free")
    if kind not in (None, stat.S_IFDIR):
        raise UserError(
            f"{path} is {UNUSUAL.get(kind, 'a file')}, where a folder is to be; move it away"
        )


def standing(path: Path) -> Path:
    """Where to read a folder: its place or, between the two renames of its replacement, beside it.

    A reader must not mend what a writer may be about to complete.
    """
    if not os.path.lexists(path):
        for partial in _partials(path):
            marked = kind_of(partial) == stat.S_IFDIR and kind_of(partial / MARK) == stat.S_IFREG
            if marked and kind_of(_old(partial)) == stat.S_IFDIR:
                return _old(partial)
    return path


def recover_folder(path: Path, ours: Collection[str] = ()) -> None:
    """Puts the old folder back if a replacement was killed between its two renames.

    Removes what else a killed process left beside a folder that it was writing; `ours` as in
    `new_folder`.
    """
    for partial in _partials(path):
        if kind_of(partial / MARK) == stat.S_IFREG and kind_of(partial) == stat.S_IFDIR:
            _if_abandoned(partial / MARK, bind(_settle, path, partial, ours))
        elif kind_of(partial) == stat.S_IFDIR:
            with suppress(OSError):  # raised unless it is empty, because of a kill before the mark
                partial.rmdir()


def _old(partial: Path) -> Path:
    """Where the folder lies that is being replaced by what is in `partial`."""
    return partial.with_suffix(".old")


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A new marked folder beside a path, whose mark is locked."""
    while True:
        partial = _beside(path)
        partial.mkdir()
        try:
            mark = open(partial / MARK, "xb")  # noqa: SIM115 (closed below)
        except FileNotFoundError:
            continue  # it was taken for an abandoned one, before it was marked
        try:
            with mark:
                _lock_file(mark, wait=True)
                yield partial
        finally:
            _remove_empty(partial)
        return


def _remove_empty(partial: Path) -> None:
    """Removes a marked folder that holds nothing but its mark, and that nothing waits beside."""
    with suppress(OSError):
        if {*os.listdir(partial)} == {MARK} and not os.path.lexists(_old(partial)):
            (partial / MARK).unlink()
        partial.rmdir()


def _settle(path: Path, partial: Path, ours: Collection[str]) -> None:
    """Ends a replacement, complete or not: the old folder is put back, or goes; so does the rest.

    The mark goes last, so that a kill leaves what the next one can go on with.
    """
    old = _old(partial)
    if os.path.lexists(old):
        if not os.path.lexists(path):
            os.rename(old, path)
        elif kind_of(old) == stat.S_IFDIR:
            _keep_strangers(old, path, ours)
            shutil.rmtree(old)
    if kind_of(partial / path.name) == stat.S_IFDIR:
        shutil.rmtree(partial / path.name)
    with suppress(OSError):  # NFS and Windows remove nothing that is open: see `_folder_beside`
        (partial / MARK).unlink()
        partial.rmdir()
    sync_folder(path.parent)


def _keep_strangers(old: Path, new: Path, ours: Collection[str]) -> None:
    """Moves what others have put into a folder to the one that replaces it."""
    known = {*recorded_names(old), *ours}
    if not known:
        return  # whoever replaces a folder without a manifest has looked at what is in it
    for entry in old.iterdir():
        if entry.name not in {*known, MANIFEST} and not os.path.lexists(new / entry.name):
            os.rename(entry, new / entry.name)


def remove(path: Path) -> None:
    """Removes a folder of ours and all that is in it, if it is there; a link is left alone."""
    if kind_of(path) == stat.S_IFDIR:
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


# Hashes


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
    return hashlib.sha256(to_json(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


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


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a small file that a training wrote.

    Raises a UserError that names the file if it holds anything else.
    """
    try:
        found = json.loads(read_regular(path, SMALL))
    except OSError as error:
        raise UserError(f"{path} cannot be used: it {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} has been altered; the run needs it as it was")
    return found


def recorded_names(folder: Path) -> set[str]:
    """The names in the manifest of a folder; none if it has no manifest that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(read_regular(folder / MANIFEST, SMALL))
        return set(found) if isinstance(found, dict) else set()
    return set()


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
