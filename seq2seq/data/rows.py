"""What the reading of a file brings, row by row, whatever the format.

A line ends at a line feed and nothing else: Python's text mode and `splitlines` both see other ends
(U+0085, U+2028, a lone carriage return), which would shift the alignment.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

from seq2seq.errors import UserError

BYTE_ORDER_MARK = "\ufeff"
LONGEST_LINE = 1 << 26  # bytes; a bomb may be one line without an end
LARGEST_DOCUMENT = 1 << 28  # bytes, of formats that are read as a whole

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


def numbered_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str | Unreadable]]:
    """The lines from 1 on, without their ends (LF or CRLF) and a byte order mark.

    A line that is not UTF-8 is Unreadable. Raises a UserError for one too long to be text.
    """
    lines = iter(partial(stream.readline, LONGEST_LINE), b"")
    for number, line in enumerate(lines, start=1):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            size = LONGEST_LINE >> 20
            raise UserError(f"{name}:{number} is longer than {size} MiB; is it a file of text?")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield number, not_utf8(name, number, "line", error)
            continue
        if number == 1 and not (text := text.removeprefix(BYTE_ORDER_MARK)):
            continue  # the mark alone is no line
        yield number, text.removesuffix("\n").removesuffix("\r")


def not_utf8(name: str, number: int, unit: str, error: UnicodeDecodeError) -> Unreadable:
    """A row whose bytes are not UTF-8; `unit` is what the bytes are counted in."""
    return Unreadable(
        f"{name}:{number} is not UTF-8 (byte {error.start + 1} of the {unit} is "
        f"0x{error.object[error.start]:02x}); convert the file, for example with iconv"
    )


def pair_of_lines(source: str, target: str) -> Pair:
    """A pair with each side on one line: a line break becomes a space."""
    return Pair(BREAK.sub(" ", source), BREAK.sub(" ", target))


def whole(stream: BinaryIO, name: str) -> bytes:
    """All of a stream; raises a UserError if it is too large to be read as a whole."""
    content = stream.read(LARGEST_DOCUMENT + 1)
    if len(content) > LARGEST_DOCUMENT:
        size = LARGEST_DOCUMENT >> 20
        raise UserError(f"{name} is larger than {size} MiB, the most in this format; split it")
    return content
