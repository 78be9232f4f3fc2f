"""Options in words: what is wrong with one, and what it may be instead.

Keys lead to an option: ("data", "train", 0, "source") is data.train.0.source.
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import ValidationError

from seq2seq.config.data import File, Source
from seq2seq.config.objectives import TASKS
from seq2seq.config.options import Config, Normalization
from seq2seq.config.rules import RULES
from seq2seq.config.section import Section, meanings
from seq2seq.config.tuning import Origin
from seq2seq.config.urls import masked
from seq2seq.files import to_json

Keys = tuple[str | int, ...]

KINDS: dict[str, type[Section]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for model in get_args(Config.model_fields["model"].annotation)
}
TAGGED = {
    "kind": KINDS,
    "rule": RULES,
    "task": TASKS,
}  # the option that tells which section is meant

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "letters A-Z and a-z, digits, dots, hyphens and underscores, "
    "with a letter or a digit first",
    "^[0-9a-f]{64}$": "64 hexadecimal digits in lower case",
    r"^<[^<>\s]+>$": "a word in angle brackets such as <bt>",
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
    "less_than_equal": "must be {le:,.12g} or less, not {value}",
    "list_type": "must be a list such as [a, b], not {value}",
    "too_short": "must be a list of {min_length} or more, not of {actual_length}",
    "too_long": "must be a list of {max_length} or fewer, not of {actual_length}",
    "dict_type": "must be entries by name such as {{name: ...}}, not {value}",
}


def explain(error: ValidationError) -> Iterator[tuple[Keys, str]]:
    """The keys of each option that is wrong, and what is wrong with it."""
    for problem in error.errors(include_url=False):
        kind = problem["type"]
        of_name = kind.startswith("string") and problem["loc"][-1] == "[key]"  # pydantic's word
        keys, holder = _place(problem["loc"][: -1 if of_name else None])
        if kind == "conflict":
            for option, message in problem["ctx"]["found"]:
                yield (*keys, *option.split(".")), message
        elif kind.startswith("union_tag"):
            tag = problem["ctx"]["discriminator"].strip("'")
            yield (*keys, tag), _wrong_tag(tag, problem["input"])
        elif kind == "extra_forbidden":
            yield keys, _unknown(keys, holder)
        elif kind == "missing":
            meaning = described(holder, str(keys[-1])).rstrip(".")
            yield keys, f"is required: {meaning[:1].lower()}{meaning[1:]}".removesuffix(": ")
        else:
            yield keys, _message(keys, problem)


def _message(keys: Keys, problem: Any) -> str:
    kind, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "string_type" and isinstance(value, int | float):
        return f"must be text, not {shown(value)}; put it in quotes"
    if kind == "string_pattern_mismatch":
        words = PATTERNS.get(context["pattern"], f"text of the form {context['pattern']}")
        return f"must be {words}, not {shown(value)}"
    if kind == "count_or_auto":
        number = "1 or more," if type(value) is int else "a whole number"
        return f"must be {number} or auto, not {shown(value)}{did_you_mean(value, ['auto'])}"
    if kind == "literal_error":
        return _wrong_choice(value, context["expected"].replace("'", ""))
    if kind == "model_type":
        return f"must be {form(section_named(context['class_name']))}, not {shown(value)}"
    if kind == "model_attributes_type":
        return f"must be options such as {{{_example(keys)}}}, not {shown(value)}"
    if kind in MESSAGES:
        return MESSAGES[kind].format(value=shown(value), **context)
    return f"{problem['msg'][:1].lower()}{problem['msg'][1:]}, not {shown(value)}"


def _example(keys: Keys) -> str:
    tag = {"model": "kind", "objective": "task"}.get(str(keys[-1]), "rule")
    return f"{tag}: {next(iter(TAGGED[tag]))}"


def _wrong_choice(value: Any, choices: str) -> str:
    names = choices.replace(" or ", ", ").split(", ")
    return f"must be {choices}, not {shown(value)}{did_you_mean(value, names)}"


def _wrong_tag(tag: str, section: dict[str, Any]) -> str:
    if tag in section:
        return _wrong_choice(section[tag], _either(TAGGED[tag]))
    return f"is required: add {_either(f'{tag}: {name}' for name in TAGGED[tag])}"


def _either(choices: Iterable[str]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}"


def _unknown(keys: Keys, holder: type[Section]) -> str:
    *above, last = keys
    for tag, sections in TAGGED.items():
        own = next((name for name in sections if sections[name] is holder), None)
        for name, section in sections.items():
            if own and last in section.model_fields:
                return f"is an option of {tag}: {name}, not {own}"
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


def _place(location: Keys) -> tuple[Keys, type[Section]]:
    """The keys of an option without what pydantic puts between them, and the section it is in."""
    keys: list[str | int] = []
    section: type[Section] = Config
    inside: Any = Config
    for key in location:
        sections = _sections_in(inside)
        if get_origin(inside) not in (list, dict) and len(sections) > 1:  # told apart by a tag
            inside = next(sections[str(key)] for sections in TAGGED.values() if key in sections)
        else:
            keys.append(key)
            if get_origin(inside) in (list, dict):
                inside = _bare(get_args(inside)[-1])
            elif sections:
                (section,) = sections
                field = section.model_fields.get(str(key))
                inside = _bare(field.annotation) if field else None
    return tuple(keys), section


def _bare(annotation: Any) -> Any:
    """A type without its metadata, and without None beside it."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    others = [part for part in get_args(annotation) if part is not type(None)]
    return _bare(others[0]) if type(None) in get_args(annotation) else annotation


def did_you_mean(wrong: Any, choices: Iterable[str]) -> str:
    """The end of a message: the choice that comes close to what was written, if any does."""
    close = difflib.get_close_matches(str(wrong), choices, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def dotted(keys: Iterable[str | int]) -> str:
    """The name of an option."""
    return ".".join(str(_masked(key)) for key in keys)


NOT_FINITE = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def shown(value: Any, width: int = 60) -> str:
    """Return a value in a line, shortened, with secrets in URLs masked."""
    if value is None:
        return "empty"
    # JSON has no such numbers, but YAML has
    text = NOT_FINITE.get(str(value)) if isinstance(value, float) else None
    text = text or to_json(_masked(value))
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value) if "://" in value else value
    if isinstance(value, dict):
        return {_masked(name): _masked(one) for name, one in value.items()}
    return [_masked(one) for one in value] if isinstance(value, list) else value


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections_in(part)]


def all_sections(section: type[Section] = Config, above: str = "") -> Iterator[tuple[str, Any]]:
    """Each section with what stands before the names of its options.

    Lists and entries by name are left out, because all they hold is like data.valid; so are tasks,
    which have a table of their own.
    """
    if section in TASKS.values():
        return
    yield above, section
    for name, field in section.model_fields.items():
        if get_origin(_bare(field.annotation)) not in (list, dict):
            for inner in _sections_in(field.annotation):
                yield from all_sections(inner, f"{above}{name}.")


OPTIONS = list(
    dict.fromkeys(
        above + name for above, section in all_sections() for name in section.model_fields
    )
)


def described(section: type[Section], option: str) -> str:
    """What an option of a section means."""
    if option in meanings(section):
        return meanings(section)[option]
    inside = _sections_in(section.model_fields[option].annotation)
    return " Or: ".join(one.__doc__ or "" for one in inside)


def section_named(name: str) -> type[Section]:
    """The section of a name."""
    every = [Section]
    for section in every:
        every += section.__subclasses__()
    return next(section for section in every if section.__name__ == name)


def form(section: type[Section]) -> str:
    """What a section may be given as."""
    names = list(section.model_fields)
    listed = ", ".join(names if len(names) <= 4 else [*names[:3], "..."])
    alone = "a path, or " if issubclass(section, File | Source | Origin) else ""
    alone = "a name, or " if issubclass(section, Normalization) else alone
    return f"{alone}options {{{listed}}}"
