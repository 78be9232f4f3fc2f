"""Any JSON value as tables, for what others add to a file of scores.

A mapping of plain values is a table of two columns; several mappings alike are rows of one table;
what is deeper gets tables of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

NUMBER = re.compile(r"-?[\d,]*(\.\d+)?")


class Table(NamedTuple):
    """A table: a title, what its columns are called (or none), and its rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    @property
    def numeric(self) -> list[bool]:
        """Of each column, whether it has numbers alone."""
        return [
            all(NUMBER.fullmatch(cell) for cell in column)
            for column in zip(*self.rows, strict=True)
        ]


def tables(title: str, value: Any) -> Iterator[Table]:
    """The tables that show a value."""
    if isinstance(value, Mapping):
        if value and all(is_row(entry) for entry in value.values()):
            yield of_rows(title, value)
            return
        plain = {name: entry for name, entry in value.items() if is_plain(entry)}
        if plain:
            yield Table(title, [], [[words(name), cell(entry)] for name, entry in plain.items()])
        for name, entry in value.items():
            if name not in plain:
                yield from tables(f"{title}: {words(name)}", entry)
    elif isinstance(value, list) and value and all(is_row(entry) for entry in value):
        yield of_rows(title, dict(enumerate(value)))
    elif isinstance(value, list):
        yield Table(title, [], [[cell(entry)] for entry in value])
    elif value is not None:
        yield Table(title, [], [[cell(value)]])


def of_rows(title: str, rows: Mapping[Any, Mapping[str, Any]]) -> Table:
    """A table with a row for each mapping; their names, if they have any, come first."""
    names = list(dict.fromkeys(key for row in rows.values() for key in row))
    numbered = all(isinstance(name, int) for name in rows)
    columns = [*([] if numbered else [""]), *map(words, names)]
    body = [
        [*([] if numbered else [words(name)]), *(cell(row.get(key)) for key in names)]
        for name, row in rows.items()
    ]
    return Table(title, columns, body)


def is_plain(value: Any) -> bool:
    """Whether a value fits into a cell."""
    if isinstance(value, Mapping):
        return "score" in value and all(not isinstance(one, Mapping) for one in value.values())
    if isinstance(value, list):
        return len(value) <= 4 and all(isinstance(one, int | float) for one in value)
    return True


def is_row(value: Any) -> bool:
    """Whether a value is a mapping whose values fit into cells, and no cell itself."""
    if not isinstance(value, Mapping) or is_plain(value):
        return False
    return bool(value) and all(is_plain(one) for one in value.values())


def cell(value: Any) -> str:
    """A value as it stands in a table: numbers of two decimals, a score with its interval."""
    if isinstance(value, Mapping):
        if "score" not in value:
            return ", ".join(f"{words(name)} {cell(one)}" for name, one in value.items())
        return f"{cell(value['score'])}{interval(value.get('interval'))}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(cell, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def interval(bounds: Any) -> str:
    """The bounds of an interval behind a score; nothing if there are none."""
    if not isinstance(bounds, list) or len(bounds) != 2:
        return ""
    return f" [{cell(bounds[0])}, {cell(bounds[1])}]"


def words(name: Any) -> str:
    """A key as people read it."""
    return str(name).replace("_", " ")
