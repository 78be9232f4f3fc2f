"""Files as streams, packed or not, and the files inside tar and zip archives.

What a file is, its first bytes tell, not its name. Everything streams: nothing is ever written to
disk or held in memory as a whole, and a pipe is read like a file. What others have packed is not
trusted: damage is an error wherever it is, names that lead out of an archive are refused, and so is
what grows beyond a limit.
"""

import difflib
import io
import re
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from seq2seq.errors import UserError
from seq2seq.text.inflate import CHUNK, Filled, Limited, damage_named, inflated

LARGEST_HEADER = 1 << 20  # bytes that tar may need to say what comes next
LISTED = 10  # names that a message has room for
CANDIDATES = 10_000  # names that are looked at for it

ZIP = re.compile(rb"PK(\x03\x04|\x05\x06)")
OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|\Z)", re.DOTALL)
ENCRYPTED = 0x41  # flags in a zip: weakly or strongly
TAR_MARK = slice(257, 262)


@contextmanager
def unpacked(path: Path, member: str | None, *, limit: int) -> Iterator[BinaryIO]:
    """A buffered stream of what is in a file, or in one of the files of an archive.

    Takes the name of the file in the archive as `member`, and as `limit` the bytes that anything
    may become. The first file of a name counts. Damage shows at the latest when the stream comes to
    its end. Raises a UserError, here or while the stream is read, for what is damaged, too large,
    not there, or no plain file.
    """
    with ExitStack() as stack:
        with damage_named(path):
            file = stack.enter_context(open(path, "rb", buffering=0))
            whole = file if file.seekable() else Filled(path, file)
            stream = inflated(path, io.BufferedReader(whole, CHUNK), limit)
            if member is not None:
                stream = inflated(path, _member(path, stream, member, limit, stack), limit)
            elif ZIP.match(stream.peek()) or stream.peek()[TAR_MARK] == b"ustar":
                raise UserError(f"{path} is an archive; name the file in it to read, as member")
        yield cast(BinaryIO, stream)


class _Member(Limited):
    """A file in an archive; the archive is read to its end with it, because a checksum is there."""

    def __init__(
        self, path: Path, limit: int, content: io.BufferedIOBase | Any, rest: io.BufferedReader
    ) -> None:
        super().__init__(path, limit)
        self.content, self.rest = content, rest

    def unpack(self, view: memoryview) -> int:
        if block := self.content.read(min(len(view), CHUNK)):
            view[: len(block)] = block
        elif not self.rest.seekable():
            while self.rest.read1(CHUNK):
                pass
        return len(block)


def _member(
    path: Path, archive: io.BufferedReader, member: str, limit: int, stack: ExitStack
) -> io.BufferedReader:
    if OUTSIDE.match(member):
        raise UserError(f"{path}: {member} leads out of the archive; such files are not read")
    if not ZIP.match(archive.peek()):
        content: Any = _tar_member(path, archive, member, stack)
    elif archive.seekable():
        content = _zip_member(path, archive, member, stack)
    else:
        raise UserError(f"{path} is a zip archive, which no pipe can bring; save it as a file")
    return io.BufferedReader(_Member(path, limit, content, archive), CHUNK)


class _Forward:
    """A stream as tarfile reads it: ever forward, and headers of a size that memory can bear."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream, self.position, self.last = stream, 0, b""
        self.allowance = LARGEST_HEADER

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        if position < self.position:
            raise tarfile.ReadError("a header leads back")
        if self.stream.seekable():
            self.position = self.stream.seek(position)
        while skipped := len(self.stream.read(min(CHUNK, position - self.position))):
            self.position += skipped

    def read(self, size: int) -> bytes:
        self.allowance -= size
        if self.allowance < 0:
            raise tarfile.ReadError("a header has no end")
        self.last = self.stream.read(size)
        self.position += len(self.last)
        return self.last


def _tar_member(path: Path, stream: io.BufferedReader, member: str, stack: ExitStack) -> Any:
    forward = _Forward(stream)
    archive = stack.enter_context(tarfile.TarFile(fileobj=cast(Any, forward)))
    names: list[str] = []
    for entry in _entries(archive, forward):
        if _plain(entry.name) == _plain(member):
            _refuse(path, member, _kind_in_tar(entry))
            forward.allowance = sys.maxsize  # what is read from now on is content
            return archive.extractfile(entry)
        if entry.isreg() and len(names) < CANDIDATES:
            names.append(entry.name)
    if forward.last.strip(b"\0") or not forward.last:
        raise tarfile.ReadError("no end")  # tarfile takes a damaged header for the end
    raise _missing(path, member, names)


def _entries(archive: Any, forward: _Forward) -> Iterator[tarfile.TarInfo]:
    while entry := archive.next():
        archive.members.clear()  # an archive may have any number of them
        yield entry
        forward.allowance = LARGEST_HEADER


def _kind_in_tar(entry: tarfile.TarInfo) -> str:
    if entry.issym() or entry.islnk():
        return "a link"
    return "" if entry.isreg() else "a folder" if entry.isdir() else "no file"


def _zip_member(path: Path, stream: io.BufferedReader, member: str, stack: ExitStack) -> Any:
    archive = stack.enter_context(zipfile.ZipFile(stream))
    found = [entry for entry in archive.infolist() if _plain(entry.filename) == _plain(member)]
    if not found:
        names = (entry.filename for entry in archive.infolist() if not _kind_in_zip(entry))
        raise _missing(path, member, islice(names, CANDIDATES))
    entry = found[0]
    _refuse(path, member, _kind_in_zip(entry))
    if entry.flag_bits & ENCRYPTED:
        raise UserError(f"{path}: {member} is encrypted; unpack it and name the file instead")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(
            f"{path}: {member} is packed by method {entry.compress_type}, of which only 0 and 8 "
            "are read; unpack it and name the file instead"
        )  # zipfile unpacks bzip2 and LZMA in bites of any size, which a bomb could use
    return stack.enter_context(archive.open(entry))


def _kind_in_zip(entry: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(entry.external_attr >> 16)  # zero unless it was packed on Unix
    if kind == stat.S_IFLNK:
        return "a link"
    if entry.is_dir() or kind == stat.S_IFDIR:
        return "a folder"
    return "" if kind in (0, stat.S_IFREG) else "no file"


def _plain(name: str) -> str:
    """A name in an archive without what `tar -C folder .` puts around it."""
    return name.removeprefix("./").rstrip("/")


def _refuse(path: Path, member: str, kind: str) -> None:
    if kind:
        raise UserError(f"{path}: {member} is {kind} in the archive; only plain files are read")


def _missing(path: Path, member: str, names: Iterable[str]) -> UserError:
    names = list(names)
    alike = [name for name in names if name.split("/")[-1] == member.split("/")[-1]]
    alike += difflib.get_close_matches(member, names, LISTED)
    ranked = list(dict.fromkeys(alike + names))
    listed = [name if name.isprintable() else repr(name) for name in ranked[:LISTED]]
    more = ["..."] if len(ranked) > LISTED else []
    return UserError(f"{path} has no file {member}; it has: {', '.join(listed + more) or 'none'}")
