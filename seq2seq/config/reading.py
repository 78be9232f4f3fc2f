"""YAML to a config and back, with everything that is wrong said at once, by line.

YAML is read as version 1.2 has it, in its core schema: 1e-4 is a number, 010 is ten, and only true
and false are booleans, so that `target: no` is Norwegian. Merge keys (<<) are of version 1.1, and
known everywhere.
"""

import codecs
import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from seq2seq.config.documentation import Keys, dotted, explain, shown
from seq2seq.config.options import Config
from seq2seq.errors import ConfigError

TAG = "tag:yaml.org,2002:"
MERGE = "<<"  # takes in the names of another mapping, or of several, that are not given here
ASIDE = "x-"  # begins names at the top that are for anchors and hold no options
Place = tuple[int, int, str]  # its order in a report: lines, overrides, nowhere; its name there
MANY, DEEP = 20_000, 50  # values, and levels of them, in a config; aliases of aliases multiply
FORM = "must have the form section.option=value, such as training.max_updates=100"
OVERGROWN = "nests or repeats too much; does an alias contain itself?"

PLAIN: list[tuple[str, Callable[[str], Any]]] = [
    (r"null|Null|NULL|~|", lambda text: None),
    (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    (r"[-+]?[0-9]{1,400}", int),
    (r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}", lambda text: int(text, 0)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
]

# What PyYAML says, what that means, and whether the cause lies where the construct began.
SYNTAX = [
    (r"'\\t' that cannot start", "a tab stands where YAML wants spaces", False),
    (r"mapping values are not", 'check the indentation, and put text with ": " in quotes', False),
    (r"could not find expected ':'", 'a name and its value need ": " between them', True),
    (r"<block end>|'<document", "this line does not go on from the lines above", False),
    (r"unexpected end of stream", "a quotation mark opens here and never closes", True),
    (r"expected ',' or", "a bracket opens here and does not close, or lacks a comma", True),
    (r"expected the node content", "a value is missing, or a bracket out of place", False),
    (r"undefined alias", "text that starts with * must be in quotes", False),
    (r"character '(.)' that cannot start", r"text that starts with \1 must be in quotes", False),
    (r"sequence entries are not", 'put each "- " in a line of its own', False),
    (r"found another document", "--- starts a second document, but a config is one", False),
]


class Unreadable(Exception):  # noqa: N818 (it becomes a ConfigError)
    """What keeps a text from being data, and in which line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file, changed by overrides such as training.max_updates=100.

    Raises a ConfigError that names all problems at once.
    """
    path, document = Path(path), Document()
    try:
        document.read(_text(path))
    except Unreadable as error:
        raise ConfigError(f"{path} cannot be used:\n  line {error.line}: {error}") from None
    for number, override in enumerate(overrides):
        document.override(number, override)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-") or "run"
    try:
        config = Config.model_validate({"name": name, "data": {}, **document.data})
    except ValidationError as error:
        for keys, message in explain(error):
            document.report(keys, message)
    if document.problems:
        lines = (text for _, text in sorted(document.problems))
        message = "\n  ".join([f"{path} cannot be used:", *lines])
        raise ConfigError(message.encode(errors="backslashreplace").decode())
    return config


def _text(path: Path) -> str:
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8).decode()
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing{_similar(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name a file in it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, "is not UTF-8; save the file in that encoding") from None


def _similar(path: Path) -> str:
    files = [file for folder in (path.parent, Path("configs")) for file in folder.glob("*.y*ml")]
    close = difflib.get_close_matches(path.stem, [file.stem for file in files], n=1)
    meant = next((file for file in files if file.stem in close), None)
    return f"; did you mean {meant}?" if meant else ""


class Document:
    """The data of a YAML text, where each value was given, and what is wrong with it."""

    def __init__(self) -> None:
        self.data: Any = {}
        self.places: dict[Keys, Place] = {}
        self.problems: list[tuple[Place, str]] = []
        self.values = 0

    def report(self, keys: Keys, message: str, place: Place | None = None) -> None:
        """Adds a problem; unless given, its place is that of the value, or of what lacks it."""
        given = (keys[:end] for end in range(len(keys), 0, -1) if keys[:end] in self.places)
        place = place or self.places.get(next(given, ()), (2, 0, ""))
        option = f"{dotted(keys)}: " if keys else ""
        self.problems.append((place, f"{place[2]}{option}{message}"))

    def read(self, text: str) -> None:
        """Takes the data of a YAML text."""
        if node := _compose(text):
            self.data = self._value(node, (), None)
        if not isinstance(self.data, dict):
            raise Unreadable(1, f"must be options such as `seed: 1`, not {shown(self.data)}")
        self.data = {k: v for k, v in self.data.items() if not k.startswith(ASIDE)}

    def override(self, number: int, text: str) -> None:
        """Sets an option as in training.max_updates=100."""
        name, equals, value = text.partition("=")
        parts, place = name.split("."), (1, number, "--set ")
        holder: Any = [self.data]
        key: str | int = 0
        keys: Keys = ()
        try:
            if not equals or not all(parts):
                raise Unreadable(0, FORM)
            node = _compose(value)
            for part in parts:
                holder[key] = {} if holder[key] is None else holder[key]
                holder = holder[key]
                key = _room(holder, part)
                keys = (*keys, key)
                self.places.setdefault(keys, place)
            self.places = {k: v for k, v in self.places.items() if k[: len(keys)] != keys}
            self.places[keys] = place
            holder[key] = node and self._value(node, keys, place)
        except Unreadable as error:
            self.report((name or text,), str(error), place)

    def _value(self, node: yaml.Node, keys: Keys, place: Place | None) -> Any:
        here = place or _line(node)
        self.places.setdefault(keys, here)
        self.values += 1
        if self.values > MANY or len(keys) > DEEP:
            raise Unreadable(here[1], OVERGROWN)
        if node.tag.removeprefix(TAG) not in ("map", "seq", "str"):
            tag = node.tag.replace(TAG, "!!")
            self.report(keys, f"cannot have a tag ({tag}); put text that starts with ! in quotes")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys, place)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        return [self._value(item, (*keys, i), place) for i, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, keys: Keys, place: Place | None) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in self._pairs(node, keys, place):
            key = _key(key_node)
            if key not in mapping:  # else it comes from a merge, before which its own values go
                inner = (*keys, key)
                self.places[inner] = place or _line(key_node)
                mapping[key] = self._value(value_node, inner, place)
        return mapping

    def _pairs(
        self, node: yaml.Node, keys: Keys, place: Place | None, depth: int = 0
    ) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The names of a mapping and their values, then those of the mappings that it merges."""
        here = place or _line(node)
        self.values += bool(depth)
        if self.values > MANY or depth > DEEP:
            raise Unreadable(here[1], OVERGROWN)
        if not isinstance(node, yaml.MappingNode):
            self.report(
                keys, f"{MERGE} merges options, such as an alias of some, not other values", here
            )
            return
        lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            here = place or _line(key_node)
            key = _key(key_node)
            if not isinstance(key, str):
                self.report(keys, f"a name must be text; put {shown(key)} in quotes", here)
            elif key in lines:
                first = "" if place else f", first in line {lines[key]}"
                self.report((*keys, key), f"is given twice{first}", here)
            else:
                lines[key] = here[1]
                if key != MERGE or key_node.style is not None:
                    yield key_node, value_node
                elif isinstance(value_node, yaml.SequenceNode):
                    merged += value_node.value
                else:
                    merged.append(value_node)
        for other in merged:
            yield from self._pairs(other, keys, place, depth + 1)


def _compose(text: str) -> yaml.Node | None:
    """What a YAML text consists of; nothing if it is empty."""
    try:
        return yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        raise _in_words(error) from None
    except yaml.reader.ReaderError as error:
        line, found = text.count("\n", 0, error.position) + 1, ascii(text[error.position])
        raise Unreadable(line, f"has a control character, {found}; remove it") from None
    except (OverflowError, ValueError):  # PyYAML does not check \U escapes
        raise Unreadable(1, r"is not valid YAML: a \U escape names no character") from None
    except RecursionError:
        raise Unreadable(1, OVERGROWN) from None


def _line(node: yaml.Node) -> Place:
    number = node.start_mark.line + 1
    return 0, number, f"line {number}: "


def _key(node: yaml.Node) -> Any:
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else []


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.style is None:
        for pattern, value in PLAIN:
            if re.fullmatch(pattern, node.value):
                return value(node.value)
    return node.value


def _room(holder: Any, part: str) -> str | int:
    """The key of a part of an option's name, with an entry made for it where there is none."""
    if isinstance(holder, dict):
        holder.setdefault(part, None)
        return part
    if isinstance(holder, list) and part.isdecimal() and int(part) <= len(holder):
        holder.extend([None] * (int(part) == len(holder)))
        return int(part)
    raise Unreadable(0, f"cannot be set, because {shown(holder)} has no {part}")


def _in_words(error: yaml.MarkedYAMLError) -> Unreadable:
    said, mark = str(error.problem), error.problem_mark
    for pattern, words, began in SYNTAX:
        if found := re.search(pattern, said):
            said, mark = found.expand(words), error.context_mark if began else mark
            break
    return Unreadable(mark.line + 1 if mark else 1, f"is not valid YAML: {said}")


class Loader(yaml.SafeLoader):
    """Leaves it to `PLAIN` what text without quotes means."""

    yaml_implicit_resolvers: dict[str, Any] = {}
