"""What a line of input asks for, and what is written of its translations: text, TSV or JSON.

A form reads and writes bytes, so that what it only passes on leaves as it came. For each line it
reads it writes one, whatever the bytes; a line that asks for nothing it can understand is a problem
that is told of, and its translation is empty.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

from seq2seq.data.tokenizer import Tokenizer
from seq2seq.decoding.alignment import aligned_as
from seq2seq.decoding.translator import Line, Output
from seq2seq.errors import UserError
from seq2seq.files import to_json

BREAKS = re.compile("[\n\r]")
TEXT = ("text", "source")  # the fields of an object that may hold its text
OURS = (
    "translation",
    "translations",
    "score",
    "log_probability",
    "tokens",
    "alignment",
    "error",
)


class Asked(NamedTuple):
    """What a line of input asks for."""

    line: Line
    rest: Any = None  # what else is in it, as its form keeps it
    problem: str = ""  # why there is nothing to translate, if that is a mistake


class Form(Protocol):
    """A way to write lines and their translations."""

    def read(self, line: bytes) -> Asked:
        """What a line without its end asks for."""

    def write(self, number: int, asked: Asked, outputs: Sequence[Output]) -> bytes:
        """What answers the line of a number (from 1): a line, or several, with their ends."""


class Text(NamedTuple):
    """Lines of text; with `several`, each answered by the lines of an n-best list."""

    tag: str | None = None
    several: bool = False
    alignments: str | None = None  # hard or soft, if they are to be written

    def read(self, line: bytes) -> Asked:
        """All of it is to be translated."""
        return Asked(Line(line.decode("utf-8", errors="replace"), self.tag))

    def write(self, number: int, asked: Asked, outputs: Sequence[Output]) -> bytes:
        """The best translation; or as in Moses `number ||| translation ||| score`, from 0 on.

        An alignment is one field more, as in Moses and Marian.
        """
        rows = []
        for output in outputs if self.several else outputs[:1]:
            fields = [_one_line(output.text)]
            if self.several:
                fields = [str(number - 1), *fields, f"{output.hypothesis.score:.6f}"]
            if self.alignments:
                fields.append(aligned_as(self.alignments, output.alignment))
            rows.append(" ||| ".join(fields))
        return _encoded("\n".join(rows))


class Tsv(NamedTuple):
    """Columns with tabs between; the translation of one of them is added as the last."""

    tag: str | None = None
    column: int = 1
    alignments: str | None = None  # as in `Text`

    def read(self, line: bytes) -> Asked:
        """One column is to be translated, and all of them are kept."""
        cells = line.split(b"\t")
        if len(cells) < self.column:
            count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
            return Asked(Line(""), line, f"has {count}, so there is no column {self.column}")
        return Asked(Line(cells[self.column - 1].decode("utf-8", errors="replace"), self.tag), line)

    def write(self, number: int, asked: Asked, outputs: Sequence[Output]) -> bytes:
        """The line as it came, and a column more; and one for an alignment."""
        cells = [_one_line(outputs[0].text).replace("\t", " ")]
        if self.alignments:
            cells.append(aligned_as(self.alignments, outputs[0].alignment))
        return asked.rest + b"\t" + _encoded("\t".join(cells))


class Json(NamedTuple):
    """An object a line, which is written again with its translation in it."""

    tag: str | None = None
    several: bool = False
    scores: bool = False
    tokens: Tokenizer | None = None  # to show the pieces of a translation
    check: Callable[[str], object] = lambda tag: None  # raises a UserError for an unknown tag
    alignments: str | None = None  # as in `Text`

    def read(self, line: bytes) -> Asked:
        """Its text is to be translated, and unknown fields are kept."""
        kept: dict[str, Any] = {}
        try:
            value = _parsed(line)
            fields = {"text": value} if isinstance(value, str) else value
            if not isinstance(fields, dict):
                raise ValueError("is neither an object nor a string")
            kept = {name: field for name, field in fields.items() if name not in OURS}
            return Asked(self._line(fields), kept)
        except (ValueError, UserError) as error:
            return Asked(Line(""), kept, str(error))

    def _line(self, fields: Mapping[str, Any]) -> Line:
        """What an object asks for; raises a ValueError for a field that cannot be used."""
        holder = next((name for name in TEXT if name in fields), None)
        if holder is None:
            raise ValueError(f"has neither {' nor '.join(TEXT)}")
        text = _string(fields, holder)
        tag = self.tag if fields.get("tag") is None else _string(fields, "tag")
        if tag:
            self.check(tag)
        prefix = "" if fields.get("prefix") is None else _string(fields, "prefix")
        return Line(text, tag, prefix, _words(fields, "present"), _words(fields, "absent"))

    def write(self, number: int, asked: Asked, outputs: Sequence[Output]) -> bytes:
        """The object with `translation`, and with what else was asked for; or with `error`."""
        if asked.problem:
            answer: dict[str, Any] = {"error": asked.problem}
        else:
            answer = self._answer(outputs[0], scores=self.scores)
            if self.several:
                answer["translations"] = [self._answer(one, scores=True) for one in outputs]
        return _encoded(to_json({**asked.rest, **answer}))

    def _answer(self, output: Output, *, scores: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {"translation": output.text}
        if scores:
            fields["score"] = output.hypothesis.score
            fields["log_probability"] = output.hypothesis.log_probability
        if self.tokens:
            fields["tokens"] = self.tokens.pieces(output.hypothesis.tokens)
        if self.alignments:
            fields["alignment"] = aligned_as(self.alignments, output.alignment)
        return fields


def _parsed(line: bytes) -> Any:
    """The value of JSON; raises a ValueError that says what is wrong."""
    text = line.decode("utf-8", errors="replace")
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("is JSON that is nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits, too
        raise ValueError(f"is not JSON: {error}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number


def _string(fields: Mapping[str, Any], name: str) -> str:
    if not isinstance(fields[name], str):
        raise ValueError(f"has a {name} that is no string")
    return fields[name]


def _words(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    words = fields.get(name) or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"has {name} that is no list of strings")
    return tuple(words)


def _one_line(text: str) -> str:
    return BREAKS.sub(" ", text)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace") + b"\n"  # as JSON itself writes a lone surrogate
