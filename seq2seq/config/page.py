"""The page that lists all options."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from seq2seq.config.documentation import (
    KINDS,
    PATTERNS,
    all_sections,
    described,
    form,
    section_named,
)
from seq2seq.config.objectives import TASKS
from seq2seq.config.rules import RULES
from seq2seq.config.section import FREE, Section
from seq2seq.files import to_json

ELSEWHERE = {  # not defaults
    "name": "the file's name",
    "model.kind": "required below `model:`",
    "model.share_embeddings": "`all`, or `target` if `tokenizer.shared` is false",
}


def page() -> str:
    """All options as Markdown."""
    lines = [
        "# Options",
        "",
        "Written by `python -m seq2seq.config`; the text itself stands beside each option there.",
        "",
        "An option marked \\* may change between stopping a run and resuming it. "
        "Each entry of `data.train`, `data.watch` and `data.test` is like `data.valid`.",
    ]
    sections: dict[type[Section], str] = {}
    for above, section in all_sections():
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
        schema = section.model_json_schema(mode="serialization")["properties"]
        for name, field in section.model_fields.items():
            mark = " \\*" if FREE in field.metadata else ""
            default = ELSEWHERE.get(above + name) or _default(field)
            cells = [f"`{above}{name}`{mark}", _values(schema[name]), default]
            lines.append(_row(*cells, described(section, name)))
    rules = _named("data.filters", "rule", RULES)
    return "\n".join([*lines, *rules, *_named("data.train.objective", "task", TASKS)]) + "\n"


def _named(above: str, tag: str, sections: Mapping[str, type[Section]]) -> Iterator[str]:
    """Sections that go by a name, as Markdown."""
    yield from ["", f"## {above}", "", f"A {tag}'s name, or {{{tag}: name, option: value}}."]
    yield from ["", f"| {tag} | option | value | unless given | meaning |"]
    yield "| --- | --- | --- | --- | --- |"
    for name, section in sections.items():
        yield _row(f"`{name}`", "", "", "", str(section.__doc__))
        schema = section.model_json_schema(mode="serialization")["properties"]
        for option, field in section.model_fields.items():
            if option != tag:
                cells = [f"`{option}`", _values(schema[option]), _default(field)]
                yield _row("", *cells, described(section, option))


def _row(*cells: str) -> str:
    return f"| {' | '.join(re.sub(r'<(?=[a-z0-9])', chr(92) + '<', cell) for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, Section):
        task = getattr(field.default, "task", None)
        return f"`{task}`" if task else "as below"
    return f"`{field.default if isinstance(field.default, str) else to_json(field.default)}`"


def _values(schema: dict[str, Any]) -> str:
    """What an option may be, in words, from its JSON schema."""
    if (tag := schema.get("discriminator", {}).get("propertyName")) in ("rule", "task"):
        return f"a {tag}'s name, or {{{tag}, ...}}"
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return ", or ".join(map(_values, choices))
    if "$ref" in schema:
        return form(section_named(schema["$ref"].rpartition("/")[2]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    kind = schema["type"]
    if kind == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        count = "list, not empty" if least else "list"
        if most:
            count = f"list of {most}" if least == most else f"list of up to {most}"
        return f"{count}: {_values(schema['items'])}"
    if kind == "object":
        entries = schema.get("patternProperties")
        if entries is None:  # by text of any form
            return f"{{text: {_values(schema['additionalProperties'])}}}"
        return f"{{name: {', '.join(map(_values, entries.values()))}}}"
    words = {"string": "text", "boolean": "true or false", "null": "null"}
    words |= {"integer": "whole number", "number": "number"}
    ranges = {"minimum": "{} or more", "exclusiveMinimum": "more than {}"}
    ranges |= {"maximum": "{} or less", "exclusiveMaximum": "less than {}"}
    if "minimum" in schema and "maximum" in schema:
        return f"{words[kind]}, {schema['minimum']:,} to {schema['maximum']:,}"
    bounds = [text.format(schema[bound]) for bound, text in ranges.items() if bound in schema]
    return f"{words[kind]}, {' and '.join(bounds)}" if bounds else words[kind]
