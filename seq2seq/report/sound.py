"""Foreign values: of JSON files that anyone may have altered, what a page can show.

Values of another kind than the page expects are left out.
"""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]

BOUND = 1 << 63  # of whole numbers; times in nanoseconds are below it


def json_or_none(content: bytes) -> Any:
    """Return a JSON value, or None where there is none."""
    try:
        return json.loads(content, parse_int=_bounded)
    except (ValueError, RecursionError):
        return None


def json_object(path: Path) -> Record | None:
    """Return the JSON object in a regular file, if there is one."""
    found = json_or_none(path.read_bytes()) if path.is_file() else None
    return found if isinstance(found, dict) else None


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def only(found: Any, kind: Callable[[Any], bool]) -> Record:
    """Return the entries of an object that are of a kind; none if it is no object."""
    return {name: one for name, one in items(found) if kind(one)}


def items(found: Any) -> Iterable[tuple[str, Any]]:
    """Return the entries of an object; none if it is no object."""
    return found.items() if isinstance(found, dict) else ()


def scores_in(found: Any) -> dict[str, Record]:
    """Return the scores of a test set by metric: each has a score, perhaps None, and a signature.

    An interval is there if it is one.
    """
    kept = {}
    for metric, entry in items(found):
        if not isinstance(entry, dict) or not is_text(entry.get("signature")):
            continue
        if "score" in entry and (entry["score"] is None or is_number(entry["score"])):
            kept[metric] = {**entry, "interval": _interval(entry.get("interval"))}
    return kept


def _interval(found: Any) -> list[float] | None:
    known = isinstance(found, list) and len(found) == 2 and all(map(is_number, found))
    return found if known else None


def slices_in(found: Any) -> dict[str, dict[str, Record]]:
    """Return the scores of slices, by what tells them apart and by their names."""
    return {
        by: {
            name: only(one, is_number)
            for name, one in items(some)
            if isinstance(one, dict) and is_whole(one.get("lines"))
        }
        for by, some in items(found)
    }


def is_part(part: Any) -> bool:
    """Whether this is what the manifest of prepared data says of a set."""
    return (
        isinstance(part, dict)
        and "key" in part
        and all(is_whole(part.get(name)) for name in ("pairs", "source_pieces", "target_pieces"))
        and isinstance(part.get("corpora"), list)
        and all(map(_is_corpus, part["corpora"]))
    )


def _is_corpus(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("text"), list)
        and all(map(is_text, one["text"]))
        and is_whole(one.get("pairs"))
        and is_whole(one.get("rows"))
        and isinstance(one.get("dropped"), list)
        and all(_is_dropped(rule) and one["rows"] > 0 for rule in one["dropped"])
    )


def _is_dropped(rule: Any) -> bool:
    return (
        isinstance(rule, dict)
        and is_text(rule.get("rule"))
        and is_whole(rule.get("pairs"))
        and isinstance(rule.get("examples"), list)
    )


def _bounded(digits: str) -> int:
    if abs(number := int(digits)) > BOUND:
        raise ValueError(f"{digits} is out of reach")
    return number
