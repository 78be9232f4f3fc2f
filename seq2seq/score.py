"""`seq2seq score`: how likely a model finds given translations, for filtering and re-ranking."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from seq2seq.config import File
from seq2seq.console import say
from seq2seq.data.normalization import normalizer
from seq2seq.data.store import Side, Store
from seq2seq.decoding.forced import Judged, judge
from seq2seq.decoding.translator import CUT, Warnings
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import to_json
from seq2seq.models.folder import choose_device, load_model
from seq2seq.runs import Opened, open_model
from seq2seq.text.corpus import Text, read_rows
from seq2seq.text.formats import format_of
from seq2seq.text.rows import Pair
from seq2seq.text.sources import locate
from seq2seq.training.loss import bounded_exp

BUFFER = 1024  # pairs that are read, sorted by length and scored together


class Pieces(NamedTuple):
    """A pair as the model sees it."""

    source: list[int]
    target: list[int]


def score(
    model: Path | None,
    overrides: Sequence[str],
    *,
    source: Path | None,
    target: Path | None,
    as_json: bool,
    device: str | None,
    tag: str | None,
) -> None:
    """Prints a line for each pair of two files, or of standard input: source, tab, target.

    A line is the log-probability of the target given the source, in nats, </s> counted, and the
    perplexity by piece, with a tab between; or a JSON object with more.
    """
    if (source is None) != (target is None):
        raise ConfigError("--source and --target go together; without them, pairs are read as TSV")
    pairs = files(source, target) if source and target else rows(sys.stdin.buffer)
    opened = open_model(model, overrides, device=device)
    if tag:
        opened.tokenizers.source.tag(tag)  # before anything is read
    loaded = load_model(
        opened.folder, opened.config, opened.tokenizers, choose_device(opened.config.device)
    )
    warn, first = Warnings(lambda message: say(f"warning: {message}"), "pairs"), 1
    while some := list(islice(pairs, BUFFER)):
        pieces = list(cut(opened, some, tag, first, warn))
        store = Store(*map(Side.of, zip(*pieces, strict=True)))
        judged = judge(loaded, store, opened.config.decoding.batch_tokens)
        for pair, known, one in zip(some, pieces, judged, strict=True):
            print(as_object(opened, pair, known, one) if as_json else as_line(one))
        sys.stdout.flush()
        first += len(some)
    warn.close()


def files(source: Path, target: Path) -> Iterator[Pair]:
    """The pairs of two files; raises a UserError if they are not aligned."""
    both = [File(path=str(path)) for path in (source, target)]
    for file in both:
        locate(file, remedy="name another file")
    formats = [format_of(file.path, pairs=False) for file in both]
    text = Text(both, formats, None, ("source", "target"), stop=True, limit=sys.maxsize)
    return (row for row in read_rows(text) if isinstance(row, Pair))


def rows(stream: BinaryIO) -> Iterator[Pair]:
    """The pairs of lines with a tab; raises a UserError that names one that has none, or two."""
    for number, line in enumerate(stream, start=1):
        columns = line.decode("utf-8", errors="replace").rstrip("\r\n").split("\t")
        if len(columns) != 2:
            raise UserError(
                f"line {number:,} of the input has {len(columns)} columns; give source, tab, "
                "target, or two files by --source and --target"
            )
        yield Pair(*columns)


def cut(
    opened: Opened,
    pairs: Iterable[Pair],
    tag: str | None,
    first: int,
    warn: Callable[[str], None],
) -> Iterator[Pieces]:
    """The pieces of pairs, of which `first` is the number of the first, for warnings."""
    data = opened.config.data
    sides = [
        [normalizer(data.normalize, language)(line) for line in side]
        for side, language in zip(zip(*pairs, strict=True), (data.source, data.target), strict=True)
    ]
    encoded = zip(*opened.tokenizers.encode(sides, tag), strict=True)
    for number, (source, target) in enumerate(encoded, start=first):
        if max(len(source), len(target)) > data.max_length:
            warn(
                f"pair {number:,} has {len(source):,} and {len(target):,} pieces; only "
                f"the first {data.max_length:,} of a side count {CUT}"
            )
        yield Pieces(source[: data.max_length], target[: data.max_length])


def as_line(judged: Judged) -> str:
    """Log-probability and perplexity, with a tab between."""
    return f"{judged.log_probability:.6f}\t{perplexity(judged):.6g}"


def as_object(opened: Opened, pair: Pair, pieces: Pieces, judged: Judged) -> str:
    """All that is known of a pair, as JSON."""
    tokens = [*opened.tokenizers.target.pieces(pieces.target), "</s>"]
    return to_json(
        {
            "source": pair.source,
            "target": pair.target,
            "log_probability": judged.log_probability,
            "perplexity": perplexity(judged),
            "tokens": tokens,
            "log_probabilities": judged.log_probabilities.tolist(),
        }
    )


def perplexity(judged: Judged) -> float:
    """exp(nats per piece), </s> counted."""
    return bounded_exp(-judged.log_probability / len(judged.log_probabilities))
