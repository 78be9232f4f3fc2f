"""What the reading of a file brings, row by row, whatever the format.

A line ends at a line feed and nothing else: Python's text mode and `splitlines` both see other ends
(U+0085, U+2028, a lone carriage return), which would shift the alignment.
"""

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

from seq2seq.errors import UserError

LONGEST_LINE = 1 << 26  # bytes; a bomb may be one line without an end
BLOCK = 1 << 20  # bytes
LARGEST_DOCUMENT = 1 << 28  # bytes, of formats that are read as a whole
LARGEST_ROW = 1 << 24  # of a row with a structure, which may take a hundred times its size to read

BREAK = re.compile(r"\r\n?|\n")


class Pair(NamedTuple):
    """A source segment and its target."""

    source: str
    target: str


class Unreadable(NamedTuple):
    """A row that cannot be read; the message says where it is, what is wrong, and what to do."""

    message: str


class Reading(NamedTuple):
    """How to read a file of pairs, and what messages call it."""

    name: str
    fields: list[str | int] | None  # source and target; the format's own unless given
    languages: tuple[str, str]


def lines(stream: BinaryIO, name: str) -> Iterator[str | Unreadable]:
    """The lines without their ends (LF or CRLF) and a byte order mark.

    A line that is not UTF-8 is Unreadable. Raises a UserError for one too long to be text.
    """
    return chain.from_iterable(_blocks(stream, name))


def numbered_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str | Unreadable]]:
    """The lines as `lines` gives them, from 1 on."""
    return enumerate(lines(stream, name), start=1)


def _blocks(stream: BinaryIO, name: str) -> Iterator[list[str] | list[str | Unreadable]]:
    """The lines, many at once: decoding a line at a time would take several times as long."""
    number, rest = 1, b""
    while block := stream.read(BLOCK):
        whole_lines, end, rest = (rest + block).rpartition(b"\n")
        if len(rest) > LONGEST_LINE:
            longest = number + (whole_lines.count(b"\n") + 1 if end else 0)
            size = LONGEST_LINE >> 20
            raise UserError(f"{name}:{longest} is longer than {size} MiB; is it a file of text?")
        if end:
            some = _decoded(whole_lines, name, number)
            yield some
            number += len(some)
    if rest.removeprefix(codecs.BOM_UTF8) if number == 1 else rest:
        yield _decoded(rest, name, number)


def _decoded(content: bytes, name: str, first: int) -> list[str] | list[str | Unreadable]:
    """Some lines, of which the first has this number in the file."""
    if first == 1:
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        some = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return [
            _decoded_line(line.removesuffix(b"\r"), name, number)
            for number, line in enumerate(content.split(b"\n"), start=first)
        ]
    return [line.removesuffix("\r") for line in some] if b"\r" in content else some


def _decoded_line(line: bytes, name: str, number: int) -> str | Unreadable:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return not_utf8(name, number, "line", error)


def not_utf8(name: str, number: int, unit: str, error: UnicodeDecodeError) -> Unreadable:
    """A row whose bytes are not UTF-8; `unit` is what the bytes are counted in."""
    return Unreadable(
        f"{name}:{number} is not UTF-8 (byte {error.start + 1} of the {unit} is "
        f"0x{error.object[error.start]:02x}); convert the file, for example with iconv"
    )


def pair_of_lines(source: str, target: str) -> Pair:
    """A pair with each side on one line: a line break becomes a space."""
    return Pair(BREAK.sub(" ", source), BREAK.sub(" ", target))


def whole(stream: BinaryIO, name: str, most: int | None = None) -> bytes:
    """All of a stream; raises a UserError if it is too large to be read as a whole."""
    most = most or LARGEST_DOCUMENT
    content = stream.read(most + 1)
    if len(content) > most:
        size = most >> 20
        raise UserError(f"{name} is larger than {size} MiB, the most in this format; split it")
    return content
