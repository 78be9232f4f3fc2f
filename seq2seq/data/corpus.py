"""Aligned text from files: one segment a line, plain or gzip, and either inside a tar archive.

A line ends at a line feed and nothing else: Python's text mode and `splitlines` both see other ends
(U+0085, U+2028, a lone carriage return), which would shift the alignment.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from seq2seq.config import Corpus, File
from seq2seq.errors import UserError

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = "\ufeff"


class Pair(NamedTuple):
    """A source segment and its target."""

    source: str
    target: str


def locate(file: File) -> Path:
    """Where a file lies; raises a UserError that tells where to fetch it if it is missing."""
    path = Path(file.path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file of text in the config")
    if not path.exists():
        if not file.urls:
            raise UserError(f"{path} is missing; put it there, or name another file in the config")
        others = f" (or {', '.join(file.urls[1:])})" if file.urls[1:] else ""
        raise UserError(f"{path} is missing; fetch {file.urls[0]}{others} and put it there")
    return path


def verify(file: File, found: str) -> None:
    """Raises a UserError if a file, whose SHA-256 is given, is not the one the config means."""
    if file.sha256 and file.sha256 != found:
        source = f" from {file.urls[0]}" if file.urls else ""
        raise UserError(
            f"{file.path} is not the file that the config means: its sha256 is {found}, not "
            f"{file.sha256}; move it away and fetch it again{source}"
        )


def read_lines(file: File) -> Iterator[str]:
    """The segments of a file, without line ends (LF or CRLF) and byte order mark.

    Raises a UserError for a file that is not UTF-8 (naming the line) or a damaged archive.
    """
    try:
        for number, line in enumerate(_unpacked(file), start=1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{named(file)}:{number} is not UTF-8 (byte {error.start + 1} of the line is "
                    f"0x{line[error.start]:02x}); convert the file, for example with iconv"
                ) from None
            if number == 1 and not (text := text.removeprefix(BYTE_ORDER_MARK)):
                continue  # the mark alone is no line
            yield text.removesuffix("\n").removesuffix("\r")
    except (EOFError, OSError, zlib.error, tarfile.TarError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, not a decompressor's
        raise UserError(f"{file.path} is cut off or damaged; fetch it again") from None


def read_pairs(corpus: Corpus) -> Iterator[Pair]:
    """The pairs of a corpus, in order.

    Raises a UserError, after the last pair, if one file is longer or both are empty.
    """
    sides = zip_longest(read_lines(corpus.source), read_lines(corpus.target))
    number = 0
    for source, target in sides:
        if source is None or target is None:
            raise UserError(_misalignment(corpus))
        number += 1
        yield Pair(source, target)
    if not number:
        raise UserError(f"{named(corpus.source)} and {named(corpus.target)} are empty")


def named(file: File) -> str:
    """What messages call a file: its path, and what it is called in the archive."""
    return f"{file.path}:{file.member}" if file.member else file.path


def _unpacked(file: File) -> Iterator[bytes]:
    """The lines of a file as they are, with their ends."""
    if not file.member:
        with open(file.path, "rb") as stream:
            yield from _inflated(stream)
        return
    with tarfile.open(file.path) as archive:
        try:
            member = archive.extractfile(file.member)
        except KeyError:
            member = None
        if member is None:
            raise UserError(f"{file.path} has no file {file.member}; see tar --list")
        with member:
            yield from _inflated(member)
        while archive.fileobj and archive.fileobj.read(1 << 20):
            pass  # a packed archive has its checksum at its end


def _inflated(stream: IO[bytes]) -> Iterator[bytes]:
    packed = stream.peek(len(GZIP))[: len(GZIP)] == GZIP  # type: ignore[attr-defined]
    with gzip.open(stream) if packed else nullcontext(stream) as lines:
        yield from lines


def _misalignment(corpus: Corpus) -> str:
    """Which side is longer, and where the two seem to part."""
    sides = [
        (named(side), np.fromiter((len(line.strip()) for line in read_lines(side)), np.int64))
        for side in (corpus.source, corpus.target)
    ]
    (long_name, long), (short_name, short) = sorted(sides, key=lambda side: -len(side[1]))
    message = f"{long_name} has {len(long):,} lines but {short_name} {len(short):,}"
    if not len(short):
        return f"{message}: it is empty"
    message += f"; they seem to part at line {parting(long, short) + 1:,}"
    alone = np.flatnonzero((long[: len(short)] == 0) != (short == 0))
    if len(alone):
        name = short_name if short[alone[0]] == 0 else long_name
        message += f"; the first empty line is {name}:{alone[0] + 1}"
    return message


def parting(long: np.ndarray, short: np.ndarray) -> int:
    """Where a run of lines was most likely put into one file, or lost from the other.

    Takes the lengths of the lines of both. Segments that belong together have similar lengths: of
    all places, this is the one which makes the lengths before it, aligned as they are, and those
    after it, aligned from the end, most alike.
    """
    surplus = len(long) - len(short)

    def unlike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.abs(np.log((one + 1) / (other + 1)))

    before = np.concatenate([[0], np.cumsum(unlike(long[: len(short)], short))])
    after = np.concatenate([[0], np.cumsum(unlike(long[surplus:], short)[::-1])])[::-1]
    return int(np.argmin(before + after))
