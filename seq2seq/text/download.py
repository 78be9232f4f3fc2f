"""Files by URL: fetched from the first mirror that works, checked, then put in their place.

What has come of a file stays beside its place, in NAME.part, over whatever may stop it: a signal, a
lost connection, a full disk. NAME.part.json tells what it is a part of, so that it goes on only
with bytes of the same file. The file itself is there once it is complete, durable and right.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from tqdm import tqdm

from seq2seq.console import for_terminal, say
from seq2seq.errors import UserError
from seq2seq.files import sha256 as sha256_of
from seq2seq.files import sync_folder, write_json
from seq2seq.text.remote import BrokenOffError, Remote, RemoteError, has_page_name, opened

WAITS = (1.0, 3.0, 10.0)  # seconds before each attempt to go on
ADVANCE = 1 << 20  # bytes that must have come before they are all allowed again
PAGE = (b"<!doctype html", b"<html")


def fetch(path: Path, urls: Sequence[str], sha256: str | None) -> None:
    """Puts a file in its place, unless it is there, from the first URL that gives it.

    Goes on with what an earlier attempt has left. With `sha256`, the file is what it should be; two
    processes that want the same file fetch it once. Raises a UserError that tells of each URL what
    is wrong with it if none gives the file.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if path.exists():
            return  # another process was faster
        part, problems = _Part(path), []
        for url in urls:
            problem = part.problem(url, sha256)
            if problem is None:
                part.take_place()
                return
            problems.append(f"  {_shown(url)}: {problem}")
    there = "one of these" if len(urls) > 1 else "there"
    remedy = f"run the same command again, or fetch it by hand from {there} and put it at {path}"
    raise UserError("\n".join([f"{path} could not be fetched:", *problems, remedy]))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process fetches the file."""
    place = path.with_name(f"{path.name}.part.lock")
    lock = FileLock(place)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(f"waiting for another process that fetches {path}")
        lock.acquire()
    try:
        yield
        if path.exists() and os.name == "posix":  # elsewhere the lock removes its file itself
            place.unlink(missing_ok=True)
    finally:
        lock.release()


class _Origin(NamedTuple):
    """What a part is a part of."""

    url: str
    size: int | None
    version: str | None


class _Part:
    """What has come of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.continued = False  # whether the last transfer went on with what was there

    def problem(self, url: str, sha256: str | None) -> str | None:
        """Completes the part with what a URL gives; returns what is wrong if it is not the file."""
        try:
            self._receive(url, sha256)
        except RemoteError as error:
            return str(error)
        return None

    def take_place(self) -> None:
        """Makes the file of the part, durably."""
        with open(self.file, "r+b") as file:
            os.fsync(file.fileno())
        if self.path.exists():
            self.remove()  # somebody has put it there by hand
            return
        os.replace(self.file, self.path)
        sync_folder(self.path.parent)
        self.note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forgets what has come."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return self.file.stat().st_size if self.file.exists() else 0

    def _receive(self, url: str, sha256: str | None) -> None:
        for _ in range(2):
            self._complete(url, sha256)
            found = sha256_of(self.file) if sha256 else None
            page = self._is_page() and not has_page_name(url)
            if found == sha256 and (sha256 or not page):
                return
            self.remove()
            if page:
                raise RemoteError("answered with a web page")
            if not self.continued:
                break  # otherwise the two parts may not have been of one file
        raise RemoteError(f"gave a file whose sha256 is {found}, not {sha256}")

    def _complete(self, url: str, sha256: str | None) -> None:
        """Transfers the rest, over interruptions."""
        waits, enough = list(WAITS), self.size + ADVANCE
        while error := self._interruption(url, sha256):
            if self.size >= enough:
                waits, enough = list(WAITS), self.size + ADVANCE
            if not waits:
                raise RemoteError(f"{error}, at {_amount(self.size)}")
            say(f"{_shown(url)}: {error}, at {_amount(self.size)}; going on")
            time.sleep(waits.pop(0))

    def _interruption(self, url: str, sha256: str | None) -> BrokenOffError | None:
        try:
            self._transfer(url, sha256)
        except BrokenOffError as error:
            return error
        return None

    def _transfer(self, url: str, sha256: str | None) -> None:
        """Receives once what is missing."""
        origin = self._origin()
        if origin and origin.url != _shown(url) and not sha256:
            origin = None  # nothing tells whether another mirror has the same
        have = self.size if origin else 0
        self.continued = bool(have)
        if origin and have and have == origin.size:
            return  # only its place was missing
        for start in dict.fromkeys((have, 0)):
            with opened(url, start) as remote:
                found = _Origin(_shown(url), remote.size, remote.version)
                self.continued = bool(start) and remote.start == start
                if self.continued and origin and found.size is None:
                    found = found._replace(size=origin.size)
                if self.continued and origin and _same(origin, found, sha256):
                    self._write(found, remote)
                    return
                if remote.start == 0:
                    self._begin(found)
                    self._write(found, remote)
                    return
        raise RemoteError("answered with another part of the file than asked for")

    def _origin(self) -> _Origin | None:
        with suppress(FileNotFoundError, ValueError, TypeError):
            return _Origin(**json.loads(self.note.read_text(encoding="utf-8")))
        return None

    def _begin(self, origin: _Origin) -> None:
        self.file.open("wb").close()
        write_json(self.note, origin._asdict())

    def _write(self, origin: _Origin, remote: Remote) -> None:
        """Appends what comes."""
        name, total = self.path.name, origin.size
        size = "" if total is None else f" ({_amount(total)})"
        onward = f", from {_amount(remote.start)} on" if remote.start else ""
        say(f"fetching {name}{size} from {origin.url}{onward}")
        try:
            with (
                open(self.file, "ab") as file,
                tqdm(
                    desc=for_terminal(name),
                    total=total,
                    initial=remote.start,
                    unit="B",
                    unit_scale=True,
                    disable=None,
                    leave=False,
                ) as bar,
            ):
                while block := remote.read():
                    file.write(block)
                    bar.update(len(block))
        except OSError as error:
            error.filename = error.filename or str(self.file)
            raise
        if total is not None and self.size < total:
            raise BrokenOffError("broke off")

    def _is_page(self) -> bool:
        with open(self.file, "rb") as file:
            return file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGE)


def _same(part: _Origin, found: _Origin, sha256: str | None) -> bool:
    """Whether a part may go on with what was found; where versions do not tell, a hash will."""
    if found.size is not None and found.size != part.size:
        return False
    if part.url != found.url:
        return True
    return part.version == found.version and (found.version or sha256) is not None


def _shown(url: str) -> str:
    """A URL without a password."""
    return re.sub(r"(?<=//)[^/@]*@", "", url, count=1)


def _amount(size: int) -> str:
    """A number of bytes for people."""
    return f"{tqdm.format_sizeof(size)}B"
