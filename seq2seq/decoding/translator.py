"""Lines to pieces to an engine to lines, in order; what is beside a line never changes it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from seq2seq.config import Data, Decoding
from seq2seq.data.normalization import normalizer
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.engine import Engine, Hypothesis, Request

SPARE_LENGTH = 10  # pieces that a translation may have beyond max_length_ratio


class Line(NamedTuple):
    """What is to be translated, and what is wanted of its translation; the rest are options."""

    text: str
    tag: str | None = None
    prefix: str = ""  # the translation begins so
    present: tuple[str, ...] = ()  # words that it must contain
    absent: tuple[str, ...] = ()  # words that it must not


class Output(NamedTuple):
    """A translation of a line."""

    text: str
    hypothesis: Hypothesis


NOTHING = Output("", Hypothesis([], 0.0, 0.0))  # the translation of an empty line


class Translator:
    """A model that takes text and gives text."""

    def __init__(
        self,
        engine: Engine,
        tokenizers: Tokenizers,
        options: Decoding,
        data: Data,
        *,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`data` tells how lines are normalized; `warn` is told of lines that had to be cut."""
        self.engine = engine
        self.tokenizers = tokenizers
        self.options = options
        self.max_length = data.max_length
        self.normalize = normalizer(data.normalize, data.source)
        self.warn = warn

    def translate(
        self,
        lines: Sequence[str],
        *,
        tag: str | None = None,
        first_number: int = 1,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[str]:
        """The best translation of each line; an empty one of an empty one.

        `tag` is put before each; `first_number` is the number of the first line, for warnings;
        `done` is told how many more lines are done.
        """
        asked = [Line(line, tag) for line in lines]
        return [best.text for best, *_ in self.outputs(asked, first_number, done)]

    def stream(self, lines: Iterable[str], buffer: int, *, tag: str | None = None) -> Iterator[str]:
        """The translation of each line, as soon as `buffer` lines are read and done."""
        iterator = iter(lines)
        number = 1
        while some := list(islice(iterator, buffer)):
            yield from self.translate(some, tag=tag, first_number=number)
            number += len(some)

    def outputs(
        self,
        lines: Sequence[Line],
        first_number: int = 1,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Output]]:
        """The translations of each line, `options.n_best` at most, the best first."""
        requests = self.requests(lines, first_number)
        outputs = [[NOTHING] for _ in lines]
        filled = [number for number, request in enumerate(requests) if request.source]
        done(len(lines) - len(filled))
        found = self.engine.search([requests[number] for number in filled], self.options, done)
        texts = iter(self.tokenizers.target.decode([one.tokens for some in found for one in some]))
        for number, hypotheses in zip(filled, found, strict=True):
            outputs[number] = [Output(next(texts), one) for one in hypotheses]
        return outputs

    def requests(self, lines: Sequence[Line], first_number: int = 1) -> list[Request]:
        """What the engine is asked for: a line without text has no source."""
        encoded = self.tokenizers.source.encode([self.normalize(line.text) for line in lines])
        ratio = self.options.max_length_ratio
        requests = []
        for number, (line, source) in enumerate(
            zip(lines, encoded, strict=True), start=first_number
        ):
            front = [self.tokenizers.source.tag(line.tag)] if line.tag else []
            room = self.max_length - len(front)
            if len(source) > room:
                self.warn(
                    f"line {number:,} has {len(source):,} pieces; only the first "
                    f"{room:,} are translated (data.max_length)"
                )
            source = source and [*front, *source[:room]]
            longest = min(int(ratio * len(source)) + SPARE_LENGTH, self.max_length)
            requests.append(Request(source, longest, number=number))
        return requests
