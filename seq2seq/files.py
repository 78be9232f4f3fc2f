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

import errno
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
from typing import IO, Any, BinaryIO, Literal

from filelock import FileLock, Timeout

from seq2seq.errors import UserError
from seq2seq.layout import CONFIG, MODEL_FILES, REPLACE, TOKENIZERS, WEIGHTS

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that is open
    fcntl = None  # type: ignore[assignment]

MARK = "seq2seq.partial"  # an empty file: the folder around it is ours to remove
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for a pipe
UNUSUAL = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
    kind = _kind(path)
    if kind not in (None, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
        raise UserError(f"{path} is {UNUSUAL.get(kind, 'no file')}; name a file to write to")
    for partial in _partials(path):
        if _kind(partial) == stat.S_IFREG:
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


def open_own(path: Path, mode: Literal["ab", "r+b", "rb"]) -> BinaryIO:
    """A file that this package alone writes, opened to append ("ab", made if it is absent), to
    alter or to read.

    Raises a UserError, before anything is altered, if it is a link, has another name (a hard link),
    or is no regular file: writing to it would alter what lies elsewhere.
    """
    _check_own(path, _status(path))

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | NO_LINK, 0o666)

    file = open(path, mode, opener=opener)  # noqa: SIM115 (it is returned)
    try:
        _check_own(path, os.fstat(file.fileno()))  # it may be another by now
    except BaseException:
        file.close()
        raise
    return file


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


def _status(path: Path) -> os.stat_result | None:
    """What the system says of a path, and not of what it may lead to; None if nothing is there."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _kind(path: Path) -> int | None:
    """The kind of what is at a path, as `stat` has it; None if nothing is there."""
    status = _status(path)
    return None if status is None else stat.S_IFMT(status.st_mode)


def _check_own(path: Path, status: os.stat_result | None) -> None:
    """Raises a UserError if something is there that is no regular file with this one name."""
    if status is None:
        return
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        what = UNUSUAL.get(kind, "no file")
    elif status.st_nlink > 1:
        what = "a hard link to a file that has other names, too"
    else:
        return
    raise UserError(f"{path} is {what}, and nothing is written through it; move it away")


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
    kind = _kind(path)
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
            marked = _kind(partial) == stat.S_IFDIR and _kind(partial / MARK) == stat.S_IFREG
            if marked and _kind(_old(partial)) == stat.S_IFDIR:
                return _old(partial)
    return path


def recover_folder(path: Path, ours: Collection[str] = ()) -> None:
    """Puts the old folder back if a replacement was killed between its two renames.

    Removes what else a killed process left beside a folder that it was writing; `ours` as in
    `new_folder`.
    """
    for partial in _partials(path):
        if _kind(partial / MARK) == stat.S_IFREG and _kind(partial) == stat.S_IFDIR:
            _if_abandoned(partial / MARK, bind(_settle, path, partial, ours))
        elif _kind(partial) == stat.S_IFDIR:
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
        with mark:
            _lock_file(mark, wait=True)
            yield partial
        return


def _settle(path: Path, partial: Path, ours: Collection[str]) -> None:
    """Ends a replacement, complete or not: the old folder is put back, or goes; so does the rest.

    The mark goes last, so that a kill leaves what the next one can go on with.
    """
    old = _old(partial)
    if os.path.lexists(old):
        if not os.path.lexists(path):
            os.rename(old, path)
        elif _kind(old) == stat.S_IFDIR:
            _keep_strangers(old, path, ours)
            shutil.rmtree(old)
    if _kind(partial / path.name) == stat.S_IFDIR:
        shutil.rmtree(partial / path.name)
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
    if _kind(path) == stat.S_IFDIR:
        shutil.rmtree(path)


def check_inside(path: Path, root: Path) -> None:
    """Raises a UserError if a link leads from a folder, which something is to be written into, out
    of the folder that it belongs to.

    That folder itself may be a link: who put it there has chosen where it leads.
    """
    place = Path(os.path.realpath(path))
    if not place.is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{path} is a link that leads out of {root}, to {place}, and nothing is written there; "
            f"put a folder in its place, or link {root} as a whole"
        )


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


def recorded_names(folder: Path) -> set[str]:
    """The names in the manifest of a folder; none if it has no manifest that can be read."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / MANIFEST).read_bytes())
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


# Locks

PATIENCE = 30.0  # seconds of waiting before it is said who may be waited for


@contextmanager
def lock(
    path: Path,
    busy: str = "",
    *,
    wait: Callable[[], object] | None = None,
    tell: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """Holds a lock file for this process alone.

    If another process has it, calls `wait` and waits; without one, raises UserError(busy). After a
    while, `tell` is told who may have it.

    The file may be opened by whoever may write to its folder, else any user could hold it for ever.
    Raises a UserError if it is a link or no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_own(path, _status(path))
    shared = os.name == "posix" and path.parent.stat().st_mode & stat.S_IWGRP
    file_lock = FileLock(path, mode=0o660 if shared else 0o600)
    try:
        file_lock.acquire(blocking=False)
    except Timeout:
        if wait is None:
            raise UserError(busy) from None
        wait()
        try:
            file_lock.acquire(timeout=PATIENCE)
        except Timeout:
            if tell is not None:
                tell(f"still waiting: {path} may be held by {holder(path)}")
            file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()


def holder(path: Path) -> str:
    """Who may hold a lock file, in words."""
    with suppress(OSError):  # as Linux tells it; see proc_locks(5)
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        inode = f":{path.stat().st_ino}"
        held = [entry[4] for entry in locks if entry[1] == "FLOCK" and entry[5].endswith(inode)]
        if held:
            return f"process {held[0]}"
    with suppress(OSError, KeyError, RuntimeError):  # the last: a system without owners
        return f"a process of {path.owner()}, or of who may write there"
    return "another process"
