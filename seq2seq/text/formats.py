"""The formats of text in a file: each is a function from a stream of bytes to rows.

A row that cannot be read comes as Unreadable in its place, so that the rows after it keep theirs;
what makes a whole file unusable is raised as a UserError.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from seq2seq.errors import UserError
from seq2seq.files import to_json
from seq2seq.text.exchange import read_po, read_tmx, read_xliff
from seq2seq.text.rows import (
    LARGEST_ROW,
    Pair,
    Reading,
    Unreadable,
    lines,
    not_utf8,
    numbered_lines,
    pair_of_lines,
    whole,
)

PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
SUFFIXES = {
    ".sgm": "sgm",
    ".sgml": "sgm",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tmx": "tmx",
    ".xlf": "xliff",
    ".xliff": "xliff",
    ".sdlxliff": "xliff",
    ".po": "po",
    ".pot": "po",
}
LISTED = 20  # names that a message has room for

SEGMENT = re.compile(
    rb"<seg\b[^<>]*?(?:/>|>(?P<text>.*?)(?:(?P<end></seg\s*>)|(?=<seg\b)|\Z))",
    re.DOTALL | re.IGNORECASE,
)
REFERENCE = re.compile(r"&(?:\w+|#\d+|#[xX][0-9a-fA-F]+);")


def format_of(name: str, pairs: bool) -> str:
    """The format that a file's name tells; text, or tsv for pairs, if it tells none."""
    path = PurePosixPath(name.lower())
    if path.suffix in PACKED:
        path = path.with_suffix("")
    found = SUFFIXES.get(path.suffix, "")
    return found if found in (PAIRS if pairs else SIDES) else "tsv" if pairs else "text"


def read_text(stream: BinaryIO, name: str) -> Iterator[str | Unreadable]:
    """The lines of a file of plain text."""
    return lines(stream, name)


def read_sgm(stream: BinaryIO, name: str) -> Iterator[str | Unreadable]:
    """The segments of a test set of WMT: what is inside <seg>, on one line, spaces collapsed.

    The files look like XML but often are not: some have bare & and < in their text, some no root,
    some upper-case tags or ids without quotes. So nothing but <seg> and </seg> is looked for, and
    only what is a character reference from & to ; is unescaped. Reads the whole document into
    memory. Raises a UserError if there is no segment.
    """
    content = whole(stream, name)
    number, counted, found = 1, 0, False
    for segment in SEGMENT.finditer(content):
        number += content.count(b"\n", counted, segment.start())
        counted, found = segment.start(), True
        if segment["text"] is not None and segment["end"] is None:
            yield Unreadable(f"{name}:{number} has a <seg> that does not end; put </seg> there")
            continue
        try:
            text = (segment["text"] or b"").decode("utf-8")
        except UnicodeDecodeError as error:
            yield not_utf8(name, number, "segment", error)
        else:
            text = REFERENCE.sub(lambda reference: html.unescape(reference[0]), text)
            yield " ".join(text.split())
    if content and not found:
        raise UserError(f"{name} has no <seg>; if it is no SGM, say what it is by format")


def read_tsv(stream: BinaryIO, reading: Reading) -> Iterator[Pair | Unreadable]:
    """Pairs from columns set apart by tabs, without any quoting.

    Fields are columns, by their numbers from 1 or by headings: the first line is one of headings if
    a field is text. Raises a UserError for a heading that is not there.
    """
    name = reading.name
    rows = _rows(stream, name)
    fields = reading.fields or [1, 2]
    if any(isinstance(field, str) for field in fields):
        first = next(rows, None)
        if first is None:
            return
        columns = _columns(first[1], reading)
    else:
        columns = [int(field) for field in fields]
    if min(columns) < 1:
        raise UserError(f"{name}: fields cannot name column 0; columns are counted from 1")
    source, target = (column - 1 for column in columns)
    for number, line in rows:
        if isinstance(line, Unreadable):
            yield line
            continue
        cells = line.split("\t", max(columns))
        if len(cells) < max(columns):
            count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
            yield Unreadable(
                f"{name}:{number} has {count}, so there is no column {max(columns)}; put a tab "
                "between columns, or name others by fields"
            )
        else:
            yield pair_of_lines(cells[source], cells[target])


def _columns(line: str | Unreadable, reading: Reading) -> list[int]:
    """The numbers of the columns that fields mean, by the first line."""
    if isinstance(line, Unreadable):
        raise UserError(line.message)
    headings = [heading.strip() for heading in line.split("\t")]
    asked = reading.fields or []
    if missing := [field for field in asked if isinstance(field, str) and field not in headings]:
        raise UserError(
            f"{reading.name} has no column {' or '.join(map(str, missing))}; its first line names: "
            f"{_listed(iter(headings))}"
        )
    return [field if isinstance(field, int) else headings.index(field) + 1 for field in asked]


def read_jsonl(stream: BinaryIO, reading: Reading) -> Iterator[Pair | Unreadable]:
    """Pairs from a JSON value a line; fields: dotted names, with numbers from 0 inside lists.

    Unless given, the fields are the two languages: at the top, or inside `translation`, as the sets
    of the Hugging Face hub have them.
    """
    if reading.fields:
        choices = [[[str(field)], str(field).split(".")] for field in reading.fields]
    else:
        choices = [[[language], ["translation", language]] for language in reading.languages]
    for number, line in _rows(stream, reading.name):
        if isinstance(line, Unreadable):
            yield line
            continue
        try:
            value = json.loads(line)
            source, target = (_field(value, choice) for choice in choices)
        except json.JSONDecodeError as error:
            message = f"column {error.colno} is not JSON ({error.msg}); correct or remove the line"
        except RecursionError:
            message = "the JSON is nested too deeply; remove the line"
        except ValueError as error:  # a field, or a number with thousands of digits
            message = str(error)
        else:
            yield pair_of_lines(source, target)
            continue
        yield Unreadable(f"{reading.name}:{number}: {message}")


def _field(value: Any, choice: list[list[str]]) -> str:
    """The text at the first of some paths that is there; raises a ValueError if there is none."""
    for path in choice:
        found = value
        for step in path:
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                break
        else:
            if isinstance(found, str):
                return found
            raise ValueError(
                f"{'.'.join(path)} is {_kind(found)}, not text; correct the line, or name another "
                "field by fields"
            )
    raise ValueError(
        f"there is no {' or '.join(dict.fromkeys(map('.'.join, choice)))}; name two by fields, of "
        f"the text there is: {_listed(_texts(value, ''))}"
    )


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return to_json(value)
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return f"the number {value}"


def _texts(value: Any, path: str) -> Iterator[str]:
    """The dotted names of all text in a value."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, f"{path}.{step}" if path else str(step))


def _listed(names: Iterator[str]) -> str:
    shown = list(islice(names, LISTED + 1))
    return ", ".join(shown[:LISTED] + ["..."] * (len(shown) > LISTED)) or "none"


def _rows(stream: BinaryIO, name: str) -> Iterator[tuple[int, str | Unreadable]]:
    """The lines but for empty ones at the end, which many editors leave and nobody means."""
    empty = 0  # before this line, counted alone: a small packed file has millions of them
    for number, line in numbered_lines(stream, name):
        if line == "":
            empty += 1
            continue
        for earlier in range(number - empty, number):
            yield earlier, ""
        empty = 0
        if isinstance(line, str) and len(line) > LARGEST_ROW:
            size = LARGEST_ROW >> 20
            line = Unreadable(f"{name}:{number} is longer than {size} MiB; remove the line")
        yield number, line


Side = Callable[[BinaryIO, str], Iterator[str | Unreadable]]
Pairs = Callable[[BinaryIO, Reading], Iterator[Pair | Unreadable]]

SIDES: dict[str, Side] = {"text": read_text, "sgm": read_sgm}
PAIRS: dict[str, Pairs] = {
    "tsv": read_tsv,
    "jsonl": read_jsonl,
    "tmx": read_tmx,
    "xliff": read_xliff,
    "po": read_po,
}
