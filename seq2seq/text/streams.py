"""Where lines come from and go to: files, packed or not, and the standard streams.

A line ends at a line feed and nothing else, and is bytes here.
"""

import bz2
import gzip
import lzma
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from seq2seq.errors import ConfigError, UserError
from seq2seq.text.archive import unpacked
from seq2seq.text.inflate import CHUNK, zstd
from seq2seq.text.rows import LONGEST_LINE

MARK = b"\xef\xbb\xbf"  # byte order mark
LARGEST_BUFFER = 1 << 24  # bytes of lines that are held at once, however many were asked for

PACKERS: dict[str, Callable[[Path], Any]] = {
    ".gz": partial(gzip.open, mode="wb", compresslevel=6),
    ".bz2": partial(bz2.open, mode="wb"),
    ".xz": partial(lzma.open, mode="wb"),
    ".zst": partial(zstd.open, mode="wb"),
}


class Files(NamedTuple):
    """The files that a filter reads and writes; None is a standard stream."""

    input: Path | None = None
    output: Path | None = None

    @property
    def resumable(self) -> bool:
        """Whether an output that was interrupted can be gone on with: a plain file can."""
        if not self.input or not self.output or self.output.suffix.lower() in PACKERS:
            return False
        return not self.output.exists() or self.output.is_file()


@contextmanager
def reading(files: Files) -> Iterator[BinaryIO]:
    """The input, unpacked if it is a packed file.

    Raises a UserError if it is the output, too, and, while it is read, if it is damaged.
    """
    if files.input is None:
        stream = sys.stdin.buffer
        _distinct(stream, files.output)
        yield stream
    elif files.input.exists() and not files.input.is_file():  # a pipe gives what it has, at once
        with open(files.input, "rb") as pipe:
            yield pipe
    else:
        with open(files.input, "rb") as file:
            _distinct(file, files.output)
        with unpacked(files.input, None, limit=sys.maxsize) as stream:
            yield stream


def _distinct(stream: IO[bytes], output: Path | None) -> None:
    if output is None or not output.exists():
        return
    try:
        here = os.fstat(stream.fileno())
    except OSError:  # no file of the system's
        return
    if stat.S_ISREG(here.st_mode) and os.path.samestat(here, output.stat()):
        raise UserError(f"{output} is the input, too; write the output to another file")


@contextmanager
def writing(output: Path | None, *, resuming: bool = False) -> Iterator[BinaryIO]:
    """The output, packed as the suffix of its name says; what was there goes, unless `resuming`."""
    if output is None:
        yield sys.stdout.buffer
    elif packer := PACKERS.get(output.suffix.lower()):
        with packer(output) as file:
            yield file
    else:
        with open(output, "ab" if resuming else "wb") as file:
            yield file


def check_place(output: Path | None) -> None:
    """Raises an error if nothing can be written there, before time is spent on what would be."""
    if output is None:
        return
    if output.is_dir():
        raise UserError(f"{output} is a folder; name a file in it")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent} is no folder; make it, or name another output")
    if output.suffix.lower() == ".zip":
        raise ConfigError(f"{output}: nothing is packed as zip; name it {', '.join(PACKERS)}")


class Complete(NamedTuple):
    """The lines of a file that have an end, which one that was cut off lacks."""

    lines: int
    bytes: int


def complete_lines(output: Path) -> Complete:
    """How much of a file is complete; nothing if it is not there."""
    count = end = position = 0
    if output.exists():
        with open(output, "rb") as file:
            while block := file.read(CHUNK):
                count += block.count(b"\n")
                if b"\n" in block:
                    end = position + block.rindex(b"\n") + 1
                position += len(block)
    return Complete(count, end)


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines without their ends (LF or CRLF) and a byte order mark, as soon as they come.

    Raises a UserError for one too long to be text.
    """
    for number, line in enumerate(iter(partial(stream.readline, LONGEST_LINE), b""), start=1):
        if len(line) == LONGEST_LINE:
            size = LONGEST_LINE >> 20
            raise UserError(f"line {number:,} is longer than {size} MiB; is the input text?")
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        yield text.removeprefix(MARK) if number == 1 else text


def buffers(some: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """The lines, so many at once; fewer if they are very long, and at the end."""
    buffer: list[bytes] = []
    held = 0
    for line in some:
        buffer.append(line)
        held += len(line) + 1  # an empty line is held, too
        if len(buffer) == size or held >= LARGEST_BUFFER:
            yield buffer
            buffer, held = [], 0
    if buffer:
        yield buffer


def count_lines(stream: BinaryIO) -> int:
    """How many lines come, of which the last may lack its end."""
    count, last = 0, b"\n"
    while block := stream.read(CHUNK):
        count += block.count(b"\n")
        last = block
    return count + (not last.endswith(b"\n"))
