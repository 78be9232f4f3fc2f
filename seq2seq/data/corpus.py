"""Aligned text from files: one segment a line, plain or gzip, or inside a tar archive.

A line ends at a line feed and nothing else: Python's text mode and `splitlines` both see other ends
(U+0085, U+2028, a lone carriage return), which would shift the alignment.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, NamedTuple

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
    with ExitStack() as stack:
        try:
            stream = _open(file, stack)
            for number, line in enumerate(stream, start=1):
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{file.path}:{number} is not UTF-8 (byte {error.start + 1} of the line is "
                        f"0x{line[error.start]:02x}); convert the file, for example with iconv"
                    ) from None
                if number == 1:
                    text = text.removeprefix(BYTE_ORDER_MARK)
                yield text.removesuffix("\n").removesuffix("\r")
        except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.ReadError):
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
        raise UserError(f"{corpus.source.path} and {corpus.target.path} are empty")


def _open(file: File, stack: ExitStack) -> BinaryIO:
    """The bytes of a file, unpacked."""
    if file.member:
        archive = stack.enter_context(tarfile.open(file.path))  # noqa: SIM115 (the stack closes)
        try:
            stream = archive.extractfile(file.member)
        except KeyError:
            stream = None
        if stream is None:
            raise UserError(f"{file.path} has no file {file.member}; see tar --list")
        return stack.enter_context(stream)  # type: ignore[return-value]
    raw = stack.enter_context(open(file.path, "rb"))  # noqa: SIM115 (the stack closes it)
    packed = raw.read(len(GZIP)) == GZIP
    raw.seek(0)
    return stack.enter_context(gzip.open(raw)) if packed else raw  # type: ignore[return-value]


def _misalignment(corpus: Corpus) -> str:
    """Which side is longer, and where the two seem to part."""
    sides = [(side.path, list(read_lines(side))) for side in (corpus.source, corpus.target)]
    (long_path, long), (short_path, short) = sorted(sides, key=lambda side: -len(side[1]))
    message = f"{long_path} has {len(long):,} lines but {short_path} {len(short):,}"
    if not short:
        return f"{message}: it is empty"
    place = parting(np.array([len(line) for line in long]), np.array([len(line) for line in short]))
    clue = f"{message}; they seem to part at line {place + 1:,}"
    empty = next(
        (
            f"{path}:{number}"
            for number, pair in enumerate(zip(long, short, strict=False), start=1)
            for path, line, other in zip((long_path, short_path), pair, pair[::-1], strict=True)
            if not line.strip() and other.strip()
        ),
        None,
    )
    return f"{clue}; the first empty line is {empty}" if empty else clue


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
