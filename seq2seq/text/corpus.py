"""Files of text to pairs of segments, and what is wrong where two files are not aligned."""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seq2seq.config import File
from seq2seq.console import for_terminal
from seq2seq.errors import UserError
from seq2seq.text.archive import unpacked
from seq2seq.text.formats import PAIRS, SIDES
from seq2seq.text.rows import Pair, Reading, Unreadable

NAMED = 3  # files of a corpus
COMPARED = 20_000_000  # lines of two files that are compared to find where they part


class Text(NamedTuple):
    """One file that holds pairs, or a source and a target file to read side by side."""

    files: list[File]
    formats: list[str]  # of each file
    fields: list[str | int] | None
    languages: tuple[str, str]
    stop: bool  # at a row that cannot be read
    limit: int  # bytes that a file may become when it is unpacked

    @property
    def name(self) -> str:
        """What messages and reports call it."""
        return " and ".join(map(named, self.files))

    @property
    def description(self) -> list[object]:
        """All that its pairs depend on, beside the content of the files."""
        members = [file.member for file in self.files]
        # else languages only name files
        speaks = len(self.files) == 1 and self.formats != ["tsv"] and not self.fields
        languages = self.languages if speaks else None
        return [members, self.formats, self.fields, languages, self.stop]


def read_lines(file: File, form: str = "text", limit: int = sys.maxsize) -> Iterator[str]:
    """The segments of a file; raises a UserError at a row that cannot be read."""
    with unpacked(Path(file.path), file.member, limit=limit) as stream:
        for line in SIDES[form](stream, named(file)):
            if isinstance(line, Unreadable):
                raise UserError(for_terminal(line.message))
            yield line


def read_rows(text: Text) -> Iterator[Pair | Unreadable]:
    """The pairs of some text, in order, and what cannot be read, if that is not to stop it.

    Raises a UserError, after the last pair, if one side is longer or there is nothing.
    """
    rows = _rows(text)
    if (first := next(rows, None)) is None:
        raise UserError(f"{text.name} {'is' if len(text.files) == 1 else 'are'} empty")
    for row in chain([first], rows):
        if text.stop and isinstance(row, Unreadable):
            raise UserError(for_terminal(row.message))
        yield row


def read_pairs(texts: list[Text]) -> Iterator[Pair]:
    """The pairs of some texts that can be read, in order; raises a UserError if there is none."""
    pairs = (row for text in texts for row in read_rows(text) if isinstance(row, Pair))
    if (first := next(pairs, None)) is None:
        raise UserError(f"{names_of(texts)}: no row can be read")
    yield first
    yield from pairs


def _rows(text: Text) -> Iterator[Pair | Unreadable]:
    if len(text.files) == 1:
        (file,), (form,) = text.files, text.formats
        with unpacked(Path(file.path), file.member, limit=text.limit) as stream:
            yield from PAIRS[form](stream, Reading(named(file), text.fields, text.languages))
        return
    source_file, target_file = (
        unpacked(Path(file.path), file.member, limit=text.limit) for file in text.files
    )
    with source_file as source_stream, target_file as target_stream:
        source_name, target_name = map(named, text.files)
        sources = SIDES[text.formats[0]](source_stream, source_name)
        targets = SIDES[text.formats[1]](target_stream, target_name)
        for source, target in zip_longest(sources, targets):
            if source is None or target is None:
                raise UserError(_misalignment(text))
            if isinstance(source, Unreadable):
                yield source
            elif isinstance(target, Unreadable):
                yield target
            else:
                yield Pair(source, target)


def names_of(texts: Sequence[Text]) -> str:
    """What messages call the files of a corpus: the first three by name, and how many more."""
    names = [text.name for text in texts[:NAMED]]
    if len(texts) > NAMED:
        return f"{', '.join(names)} and {len(texts) - NAMED:,} more"
    return " and ".join(names)


def named(file: File) -> str:
    """What messages call a file: its path, and what it is called in the archive."""
    return f"{file.path}:{file.member}" if file.member else file.path


def _misalignment(text: Text) -> str:
    """Which side is longer, and where the two seem to part, unless they are very long."""
    sides = []
    for file, form in zip(text.files, text.formats, strict=True):
        lengths = _lengths(file, form, text.limit)
        compared = np.fromiter(islice(lengths, COMPARED), np.int64)
        sides.append((len(compared) + sum(1 for _ in lengths), named(file), compared))
    (long_count, long_name, long), (short_count, short_name, short) = sorted(
        sides, key=lambda side: -side[0]
    )
    message = f"{long_name} has {long_count:,} lines but {short_name} {short_count:,}"
    if not short_count:
        return f"{message}: it is empty"
    if long_count > COMPARED:
        return message
    message += f"; they seem to part at line {parting(long, short) + 1:,}"
    alone = np.flatnonzero((long[: len(short)] == 0) != (short == 0))
    if len(alone):
        name = short_name if short[alone[0]] == 0 else long_name
        message += f"; the first empty line is {name}:{alone[0] + 1}"
    return message


def _lengths(file: File, form: str, limit: int) -> Iterator[int]:
    with unpacked(Path(file.path), file.member, limit=limit) as stream:
        for line in SIDES[form](stream, named(file)):
            yield 1 if isinstance(line, Unreadable) else len(line.strip())


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
