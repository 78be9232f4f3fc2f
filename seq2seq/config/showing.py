"""A config with a comment for every option, to read and to go on from."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from seq2seq.config.documentation import described, shown
from seq2seq.config.options import Config
from seq2seq.config.section import Section
from seq2seq.config.urls import masked
from seq2seq.config.writing import Dumper, map_urls, written

WIDTH = 100  # of a line of comment


def show(config: Config) -> str:
    """The config as YAML, each option below its text, and its default where it differs.

    Loading it gives an equal config, but for secrets in URLs, which are masked. What an option
    means is said where it stands first.
    """
    return "\n".join(_section(map_urls(config, masked), set(), 0)) + "\n"


def _section(section: Section, said: set[str], depth: int) -> Iterator[str]:
    """The lines of a section, without indentation; `depth` says how much there will be."""
    fields = type(section).model_fields
    for name, value in written(section).items():
        field, within = fields[name], _within(value)
        if within and not depth:
            yield ""
        meaning = described(type(section), name)
        if meaning not in said:
            said.add(meaning)
            text = f"{meaning}{'' if within else _default(field, value)}"
            for line in textwrap.wrap(text, WIDTH - depth - 2, break_on_hyphens=False):
                yield f"# {line}"
        if within:
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(value, said, depth + 2))
        else:
            yield from _dumped({name: value})


def _within(value: Any) -> bool:
    """Whether a value has options in it that are to be said in words."""
    if isinstance(value, dict | list):
        return any(map(_within, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Section) and list(written(value)) not in (["path"], ["rule"], ["task"])


def _lines(value: Any, said: set[str], depth: int) -> Iterator[str]:
    """The lines of what has options in it."""
    if isinstance(value, Section):
        yield from _section(value, said, depth)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if _within(entry):
                yield _dumped(name)[0] + ":"
                yield from (f"  {line}" for line in _lines(entry, said, depth + 2))
            else:
                yield from _dumped({name: entry})
    else:
        for entry in value:
            lines = list(_lines(entry, said, depth + 2)) if _within(entry) else _dumped(entry)
            first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
            yield from lines[:first]
            yield f"- {lines[first]}"
            yield from (f"  {line}" for line in lines[first + 1 :])


def _dumped(value: Any) -> list[str]:
    """The lines of a value without a comment."""
    text = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**9)
    return text.removesuffix("...\n").splitlines()


def _default(field: FieldInfo, value: Any) -> str:
    """What the option would be, if that is not what it is."""
    if field.is_required() or field.default in (value, None, []):
        return ""
    default = field.default
    if isinstance(default, Section):
        default = next(iter(written(default).values()))
    return f" Unless given: {default if isinstance(default, str) else shown(default, 200)}."
