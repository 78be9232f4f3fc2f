"""`seq2seq translate --attention`: how lines were translated, as a page, as JSON or as pictures.

All three show the same object, which docs/attention.md describes: what each piece that was written
attended to, how likely it was, and what the search dropped.

Shapes: T target pieces, S source pieces, </s> of both apart.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seq2seq.console import say
from seq2seq.data.tokenizer import Tokenizer, Tokenizers
from seq2seq.decoding.engine import Hypothesis
from seq2seq.decoding.trace import Dropped, Map, Recorder, Trace, entropies
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import new_file, to_json, write_file
from seq2seq.report.page import page

FORMATS = ("html", "json", "png")
LAYOUT = 1  # of the object; raised when a field changes its meaning
PAGE = 1_850_000  # bytes of a page that its lines may take, so that it stays under 2 MB
DIGITS = 3  # of weights
END = "</s>"
INCH = 0.3  # of a piece in a picture
LARGEST = 40.0  # inches of a picture
DPI = 150


class Sheet(NamedTuple):
    """Where to show how lines were translated, and as what."""

    path: Path
    format: str  # one of FORMATS


def sheet_of(path: Path, format: str | None) -> Sheet:
    """A file, and its format: by its name, unless it is told.

    Raises a ConfigError if its name tells none, a UserError without matplotlib where it takes that.
    """
    if path == Path("-"):
        raise ConfigError("--attention writes a file, not standard output; name one")
    chosen = format or path.suffix.lower().lstrip(".")
    if chosen not in FORMATS:
        raise ConfigError(
            f"--attention {path}: its name must end in .{', .'.join(FORMATS)}; or give "
            "--attention-format"
        )
    if chosen == "png":
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise UserError(
                "--attention as png needs matplotlib; pip install 'seq2seq[plot]'"
            ) from None
    return Sheet(path, chosen)


def show(sheet: Sheet, recorder: Recorder, tokenizers: Tokenizers, model: str) -> None:
    """Writes what a recorder has of lines that were translated by a model of that name.

    Standard error tells where it is, and of lines that are left out.
    """
    entries = [described(trace, tokenizers) for trace in recorder.traces]
    count = len(entries) + recorder.left_out
    if sheet.format == "html":
        entries = fitting(entries)
    if len(entries) < count:
        say(
            f"warning: {sheet.path} shows the first {len(entries):,} of {count:,} lines; for "
            "others, translate them apart"
        )
    if sheet.format == "png":
        draw(sheet.path, entries)
        return
    value = {"layout": LAYOUT, "model": model, "lines": entries}
    text = attention_page(value) if sheet.format == "html" else compact(value)
    write_file(sheet.path, text.encode(errors="backslashreplace"))
    say(f"what was attended to is in {sheet.path}")


def described(trace: Trace, tokenizers: Tokenizers) -> dict[str, Any]:
    """A line, its translation, and how it came about, as docs/attention.md describes it."""
    source, target = tokenizers
    written = trace.written
    shown = written.hypothesis
    others = [one for one in trace.ended if one.tokens != shown.tokens]
    return {
        "number": written.request.number,
        "source": written.line,
        "translation": written.text,
        "score": shown.score,
        "log_probability": shown.log_probability,
        "source_pieces": [*source.pieces(written.request.source), END],
        "target_pieces": [*target.pieces(shown.tokens), END],
        "probabilities": rounded(np.exp(trace.log_probabilities)),
        "maps": [described_map(one) for one in trace.maps],
        "ended": [described_hypothesis(one, target) for one in others],
        "dropped": [
            {
                "pieces": len(one.tokens),
                **described_hypothesis(one, target),
                "unfinished": one.unfinished,
            }
            for one in trace.dropped
        ],
    }


def described_map(one: Map) -> dict[str, Any]:
    """The weights of a map, and the entropies of its rows and their mean, in bits."""
    rows = entropies(one.weights)
    return {
        "layer": one.layer,
        "head": one.head,
        "entropy": round(float(rows.mean()), DIGITS),
        "entropies": rounded(rows),
        "weights": [rounded(row) for row in one.weights],
    }


def described_hypothesis(one: Hypothesis | Dropped, target: Tokenizer) -> dict[str, Any]:
    """The text of a hypothesis, and what the search knew of it."""
    (text,) = target.decode([one.tokens])
    return {"text": text, "score": one.score, "log_probability": one.log_probability}


def rounded(numbers: np.ndarray) -> list[float]:
    """Numbers as short as they can be written: most weights are zero."""
    return [round(number, DIGITS) or 0 for number in numbers.astype(float).tolist()]


def compact(value: Any) -> str:
    """JSON without any spaces."""
    return to_json(value, separators=(",", ":"))


def fitting(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many of the first lines as a page has room for, at least one."""
    room = PAGE
    some: list[dict[str, Any]] = []
    for entry in entries:
        room -= len(compact(entry).encode(errors="backslashreplace"))
        if room < 0 and some:
            break
        some.append(entry)
    return some


def attention_page(value: dict[str, Any]) -> str:
    """The HTML of what was attended to."""
    return page("attention.html", f"What {value['model']} looked at", {"value": value})


def draw(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Draws the mean of all heads, a picture for each line: FILE, or FILE-NUMBER if several."""
    for entry in entries:
        place = path
        if len(entries) > 1:
            place = path.with_name(f"{path.stem}-{entry['number']}{path.suffix}")
        with new_file(place) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # of scripts no font here has
            picture(entry).savefig(file, format="png", dpi=DPI)
        say(f"what line {entry['number']:,} attended to is in {place}")


def picture(entry: dict[str, Any]) -> Any:
    """A figure of a line: the darker, the more of the attention of the piece at its left."""
    from matplotlib.figure import Figure

    weights = np.array(entry["maps"][0]["weights"])
    height, width = (min(LARGEST, INCH * count + 1.6) for count in weights.shape)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(weights.shape[1]), plain(entry["source_pieces"]), rotation=90)
    axes.set_yticks(range(weights.shape[0]), plain(entry["target_pieces"]))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        label.set_parse_math(False)  # a dollar is a dollar
    axes.set_xlabel("mean of all heads: white 0, dark blue 1")
    return figure


def plain(pieces: Sequence[str]) -> list[str]:
    """Pieces without characters that a picture cannot show."""
    return [re.sub(r"[\x00-\x1f\ud800-\udfff]", "\ufffd", piece) for piece in pieces]
