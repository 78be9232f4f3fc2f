"""The options of runs: against their defaults, and against each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from seq2seq.config import Config, Section

NOTHING = "—"  # in place of a default that there is not, and of an option that another run lacks
LONGEST = 300  # characters of a value
ORIGIN = ("urls", "sha256")  # of files, which a page lists by themselves
ALONE = (["path"], ["rule"])  # options that say all


class Option(NamedTuple):
    """An option of a run."""

    name: str  # dotted
    value: str
    default: str
    differs: bool  # from the default, where there is one


def against_defaults(config: Config) -> list[Option]:
    """Every option of a config beside its default, in the order of the documentation."""
    return [
        Option(name, shown(value), shown(default), value != default)
        for name, value, default in walk(config)
    ]


def differing(configs: Sequence[Config]) -> list[tuple[str, list[str]]]:
    """The options in which runs differ: the name and the value of each run."""
    sides = [{name: shown(value) for name, value, _ in walk(config)} for config in configs]
    names = dict.fromkeys(name for side in sides for name in side)
    rows = [(name, [side.get(name, NOTHING) for side in sides]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def walk(section: Section, above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each option: its dotted name, its value, and its default (NOTHING if it must be given)."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        default = NOTHING if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(value, Section) and not above:
            yield from walk(value, f"{name}.")
        elif isinstance(value, Mapping) and value:
            for key, entry in value.items():
                yield f"{above}{name}.{key}", entry, NOTHING
        elif isinstance(value, list) and any(isinstance(one, Section) for one in value):
            for number, entry in enumerate(value):
                place = f"{above}{name}" if len(value) == 1 else f"{above}{name}.{number}"
                yield place, entry, NOTHING
        else:
            yield f"{above}{name}", value, default


def shown(value: Any) -> str:
    """A value in a line, as YAML would have it, shortened."""
    text = plain(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def plain(value: Any) -> str:
    """A value in a line, without what only a machine needs: quotes, defaults, hashes."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        chosen = {name: one for name, one in value if one != fields[name].default or name == "rule"}
        given = {name: one for name, one in chosen.items() if name not in ORIGIN}
        return plain(next(iter(given.values())) if list(given) in ALONE else given)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(plain, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
