"""Options in words: what is wrong with one, and the page that lists them all.

Keys lead to an option: ("data", "train", 0, "source") is data.train.0.source.
"""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from seq2seq.config.options import FREE, Config, File, Section

Keys = tuple[str | int, ...]

KINDS: dict[str, type[Section]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for model in get_args(Config.model_fields["model"].annotation)
}

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters A-Z and a-z, digits, dots, hyphens and underscores, "
    "with a letter or a digit first",
    "^[0-9a-f]{64}$": "64 hexadecimal digits in lower case",
}

MESSAGES = {
    "string_type": "must be text, not {value}",
    "string_unicode": "must be text, not {value}",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false, not {value}",
    "bool_parsing": "must be true or false, not {value}",
    "int_type": "must be a whole number, not {value}",
    "int_parsing": "must be a whole number, not {value}",
    "int_from_float": "must be a whole number, not {value}",
    "float_type": "must be a number, not {value}",
    "float_parsing": "must be a number, not {value}",
    "finite_number": "must be a finite number, not {value}",
    "greater_than": "must be more than {gt:g}, not {value}",
    "greater_than_equal": "must be {ge:g} or more, not {value}",
    "less_than": "must be less than {lt:g}, not {value}",
    "less_than_equal": "must be {le:g} or less, not {value}",
    "list_type": "must be a list such as [a, b], not {value}",
    "too_short": "must be a list of {min_length} or more, not of {actual_length}",
    "too_long": "must be a list of {max_length} or fewer, not of {actual_length}",
    "dict_type": "must be entries by name such as {{name: ...}}, not {value}",
}


def explain(error: ValidationError) -> Iterator[tuple[Keys, str]]:
    """The keys of each option that is wrong, and what is wrong with it."""
    for problem in error.errors(include_url=False):
        location, kind = problem["loc"], problem["type"]
        if (
            kind.startswith("string") and location[-1] == "[key]"
        ):  # pydantic's word for the name of an entry
            location = location[:-1]
        keys = location
        if location[0:1] == ("model",):  # pydantic puts the kind in between
            keys = ("model", *location[2:])
        if kind == "conflict":
            for option, message in problem["ctx"]["found"]:
                yield (*keys, *option.split(".")), message
        elif kind.startswith("union_tag"):
            yield (*keys, "kind"), _wrong_kind(problem["input"])
        elif kind == "extra_forbidden":
            yield keys, _unknown(keys, _holder(location))
        elif kind == "missing":
            description = _description(_holder(location).model_fields[str(keys[-1])])
            yield keys, f"is required: {description[0].lower()}{description[1:].rstrip('.')}"
        else:
            yield keys, _message(kind, problem["input"], problem.get("ctx", {}), problem["msg"])


def _message(kind: str, value: Any, context: dict[str, Any], otherwise: str) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return f"must be text, not {shown(value)}; put it in quotes"
    if kind == "string_pattern_mismatch":
        words = PATTERNS.get(context["pattern"], f"text of the form {context['pattern']}")
        return f"must be {words}, not {shown(value)}"
    if kind == "literal_error":
        return _wrong_choice(value, context["expected"].replace("'", ""))
    if kind == "model_type":
        section = next(s for s in Section.__subclasses__() if s.__name__ == context["class_name"])
        return f"must be {_form(section)}, not {shown(value)}"
    if kind == "model_attributes_type":
        return f"must be options such as {{kind: {next(iter(KINDS))}}}, not {shown(value)}"
    if kind in MESSAGES:
        return MESSAGES[kind].format(value=shown(value), **context)
    return f"{otherwise[:1].lower()}{otherwise[1:]}, not {shown(value)}"


def _wrong_choice(value: Any, choices: str) -> str:
    names = choices.replace(" or ", ", ").split(", ")
    return f"must be {choices}, not {shown(value)}{did_you_mean(value, names)}"


def _wrong_kind(model: dict[str, Any]) -> str:
    if "kind" in model:
        return _wrong_choice(model["kind"], " or ".join(KINDS))
    return "is required: add " + " or ".join(f"kind: {kind}" for kind in KINDS)


def _unknown(keys: Keys, holder: type[Section]) -> str:
    *above, last = keys
    if holder in KINDS.values():
        (own,) = (kind for kind, section in KINDS.items() if section is holder)
        for kind, section in KINDS.items():
            if last in section.model_fields:
                return f"is an option of kind: {kind}, not {own}"
    if "." in str(last) and last in OPTIONS:
        section_name, _, option = str(last).rpartition(".")
        return f"is not an option; put {option} in a line of its own below {section_name}:"
    beside = [dotted((*above, name)) for name in holder.model_fields]
    section_names = (f"{dotted(above)}.", "data.valid.")
    elsewhere = [name for name in OPTIONS if not name.startswith(section_names)]
    last_parts = {name: name.rpartition(".")[2] for name in beside + elsewhere}
    close = difflib.get_close_matches(str(last), set(last_parts.values()), n=1)
    meant = [name for name, part in last_parts.items() if part in close]
    if meant and meant[0] in beside:
        meant = meant[:1]
    return "is not an option" + (f"; did you mean {' or '.join(meant)}?" if meant else "")


def _holder(location: Keys) -> type[Section]:
    """The section that was asked for the last key."""
    section: type[Section] = Config
    keys = iter(location[:-1])
    for key in keys:
        field = section.model_fields[str(key)]
        if field.discriminator:
            section = KINDS[str(next(keys))]
        else:
            section = _sections_in(field.annotation)[0]
        if get_origin(field.annotation) in (list, dict):
            next(keys, None)  # which entry
    return section


def did_you_mean(wrong: Any, choices: Iterable[str]) -> str:
    """The end of a message: the choice that comes close to what was written, if any does."""
    close = difflib.get_close_matches(str(wrong), choices, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def dotted(keys: Iterable[str | int]) -> str:
    """The name of an option."""
    return ".".join(map(str, keys))


def shown(value: Any, width: int = 60) -> str:
    """A value in a line, shortened."""
    if value is None:
        return "empty"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _sections_in(annotation: Any) -> list[type[Section]]:
    if annotation in Section.__subclasses__():
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections_in(part)]


def _sections(section: type[Section] = Config, above: str = "") -> Iterator[tuple[str, Any]]:
    """Each section with what stands before the names of its options.

    Lists and entries by name are left out, because all they hold is like data.valid.
    """
    yield above, section
    for name, field in section.model_fields.items():
        if get_origin(field.annotation) not in (list, dict):
            for inner in _sections_in(field.annotation):
                yield from _sections(inner, f"{above}{name}.")


OPTIONS = list(
    dict.fromkeys(above + name for above, section in _sections() for name in section.model_fields)
)


def _description(field: FieldInfo) -> str:
    return field.description or " Or: ".join(
        section.__doc__ or "" for section in _sections_in(field.annotation)
    )


def _form(section: type[Section]) -> str:
    names = list(section.model_fields)
    listed = ", ".join(names if len(names) <= 4 else [*names[:3], "..."])
    return f"{'a path, or ' if section is File else ''}options {{{listed}}}"


ELSEWHERE = {"name": "the file's name", "model.kind": "required below `model:`"}  # not defaults


def page() -> str:
    """All options as Markdown."""
    lines = [
        "# Options",
        "",
        "Written by `python -m seq2seq.config`; the text itself stands in `options.py`.",
        "",
        "An option marked \\* may change between stopping a run and resuming it. "
        "Each entry of `data.train` and of `data.test` is like `data.valid`.",
    ]
    sections: dict[type[Section], str] = {}
    for above, section in _sections():
        sections.setdefault(section, above)
    for section, above in sections.items():
        kind = next((f", kind: {kind}" for kind in KINDS if KINDS[kind] is section), "")
        lines += [
            "",
            f"## {above.rstrip('.') or 'The experiment'}{kind}",
            "",
            str(section.__doc__),
            "",
        ]
        lines += ["| option | value | unless given | meaning |", "| --- | --- | --- | --- |"]
        schema = section.model_json_schema()["properties"]
        for name, field in section.model_fields.items():
            mark = " \\*" if FREE in field.metadata else ""
            default = ELSEWHERE.get(above + name) or _default(field)
            cells = [f"`{above}{name}`{mark}", _values(schema[name]), default]
            description = re.sub(r"<(\w)", r"\<\1", _description(field))
            lines.append(f"| {' | '.join([*cells, description])} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, Section):
        return "as below"
    return f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"


def _values(schema: dict[str, Any]) -> str:
    """What an option may be, in words, from its JSON schema."""
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return ", or ".join(map(_values, choices))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _form(next(s for s in Section.__subclasses__() if s.__name__ == name))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    kind = schema["type"]
    if kind == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        count = f"list of {most}" if most else "list, not empty" if least else "list"
        return f"{count}: {_values(schema['items'])}"
    if kind == "object":
        return f"{{name: {', '.join(map(_values, schema['patternProperties'].values()))}}}"
    words = {"string": "text", "boolean": "true or false", "null": "null"}
    words |= {"integer": "whole number", "number": "number"}
    ranges = {"minimum": "{} or more", "exclusiveMinimum": "more than {}"}
    ranges |= {"maximum": "{} or less", "exclusiveMaximum": "less than {}"}
    bounds = [text.format(schema[bound]) for bound, text in ranges.items() if bound in schema]
    return f"{words[kind]}, {' and '.join(bounds)}" if bounds else words[kind]
