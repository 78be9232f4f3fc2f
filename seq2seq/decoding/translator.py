"""Lines to pieces to an engine to lines, in order; what is beside a line never changes it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from seq2seq.config import Data, Decoding
from seq2seq.data.normalization import normalizer
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.alignment import side_by_side
from seq2seq.decoding.attending import Attention, Seen, Source
from seq2seq.decoding.engine import Engine, Hypothesis, Request
from seq2seq.decoding.phrases import begun, contained, forbidden
from seq2seq.decoding.risk import UTILITIES, least_risk
from seq2seq.decoding.trace import Recorder, Written

if TYPE_CHECKING:
    import numpy as np

    from seq2seq.decoding.splitting import Part

CUT = "(data.max_length)"  # ends warnings of what is longer than it may be
SHOWN = 3  # of these warnings
SPARE_LENGTH = 10  # pieces that a translation may have beyond max_length_ratio
PART = 32  # bits of a request's number that tell the line; those above tell the part of it


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
    alignment: "np.ndarray | None" = None  # (its words, those of the line), if it is wanted

    def in_light_of(self, seen: Seen) -> "Output":
        """The same with what attention tells of it."""
        text = self.text if seen.text is None else seen.text
        return self._replace(text=text, alignment=seen.alignment)


NOTHING = Output("", Hypothesis([], 0.0, 0.0))  # the translation of an empty line


class Warnings:
    """Says warnings; of lines that are cut only the first few, and in the end how many they are."""

    def __init__(self, say: Callable[[str], None], unit: str = "lines") -> None:
        self.say = say
        self.unit = unit
        self.cut = 0

    def __call__(self, message: str) -> None:
        """Says a warning, unless too many are like it."""
        self.cut += message.endswith(CUT)
        if self.cut <= SHOWN or not message.endswith(CUT):
            self.say(message)

    def close(self) -> None:
        """Says how many lines were cut if not each has been named."""
        if self.cut > SHOWN:
            self.say(f"{self.cut:,} {self.unit} in all are longer than the model reads {CUT}")


class Translator:
    """A model that takes text and gives text."""

    def __init__(
        self,
        engine: Engine,
        tokenizers: Tokenizers,
        options: Decoding,
        data: Data,
        *,
        attention: Attention | None = None,
        splitting: bool = False,
        recorder: Recorder | None = None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`data` tells how lines are normalized; `attention` looks at translations, if it is there.

        A `recorder` that watches the engine is told of what becomes of lines.

        A line of more than data.max_length pieces is translated in parts if `splitting`, else cut,
        of which `warn` is told.
        """
        self.engine = engine
        self.tokenizers = tokenizers
        self.options = options
        self.attention = attention
        self.max_length = data.max_length
        self.language = data.target
        self.normalize = normalizer(data.normalize, data.source)
        self.normalize_target = normalizer(data.normalize, data.target)
        self.splitting = splitting
        self.recorder = recorder
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

    def outputs(
        self,
        lines: Sequence[Line],
        first_number: int = 1,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Output]]:
        """The translations of each line, `options.n_best` at most, the best first.

        Raises a UserError for a tag that the model does not know.
        """
        if self.splitting:
            return self._in_parts(lines, first_number, done)
        return self._found(lines, self.requests(lines, first_number), done)

    def _in_parts(
        self, lines: Sequence[Line], first_number: int, done: Callable[[int], object]
    ) -> list[list[Output]]:
        from seq2seq.decoding.splitting import Part  # its patterns take a while to compile

        divided = [
            self.parts(line) if len(ids) > self._room(line) else [Part(line.text, "")]
            for line, ids in zip(lines, self._encoded(lines), strict=True)
        ]
        asked, numbers, places = [], [], []
        for number, (line, parts) in enumerate(zip(lines, divided, strict=True), first_number):
            for place, part in enumerate(parts):
                asked.append(line._replace(text=part.text, prefix="" if place else line.prefix))
                numbers.append(number)
                places.append(place)
        requests = [
            request._replace(number=request.number + (place << PART))
            for request, place in zip(self._requests(asked, numbers), places, strict=True)
        ]
        found = iter(self._found(asked, requests))
        done(len(lines))
        return [joined(parts, [next(found) for _ in parts]) for parts in divided]

    def parts(self, line: Line) -> "list[Part]":
        """What of a line is translated apart; words that must be present hold it together."""
        from seq2seq.decoding.splitting import Part, split

        if line.present:
            return [Part(line.text, "")]
        room = self._room(line)

        def fits(texts: Sequence[str]) -> list[bool]:
            return [len(ids) <= room for ids in self._encoded(list(map(Line, texts)))]

        return split(line.text, fits)

    def requests(self, lines: Sequence[Line], first_number: int = 1) -> list[Request]:
        """What the engine is asked for: a line without text has no source."""
        return self._requests(lines, range(first_number, first_number + len(lines)))

    def _requests(self, lines: Sequence[Line], numbers: Sequence[int]) -> list[Request]:
        requests = []
        for number, line, source in zip(numbers, lines, self._encoded(lines), strict=True):
            front = [self.tokenizers.source.tag(line.tag)] if line.tag else []
            room = self._room(line)
            if len(source) > room:
                self.warn(
                    f"line {number:,} has {len(source):,} pieces; only the first "
                    f"{room:,} are translated {CUT}"
                )
            requests.append(self._request(line, source and [*front, *source[:room]], number))
        return requests

    def _encoded(self, lines: Sequence[Line]) -> list[list[int]]:
        # a tokenizer that leaves text as it is would make pieces of tabs
        texts = (self.normalize(line.text) for line in lines)
        return self.tokenizers.source.encode([text if text.strip(" \t") else "" for text in texts])

    def _room(self, line: Line) -> int:
        """How many pieces a line may have, beside its tag."""
        return self.max_length - bool(line.tag)

    def _request(self, line: Line, source: list[int], number: int) -> Request:
        options, target = self.options, self.tokenizers.target
        limit = min(self.max_length, options.max_length or self.max_length)
        prefix = begun(line.prefix, target, self.normalize_target)[:limit] if line.prefix else ()
        usual = int(options.max_length_ratio * len(source))
        longest = min(max(usual, len(prefix)) + SPARE_LENGTH, limit)
        shortest = max(options.min_length, int(options.min_length_ratio * len(source)))
        unknown = bool(self.attention and self.attention.wishes.replace_unknown)
        request = Request(source, longest, min(shortest, longest), number, prefix, unknown=unknown)
        if not line.present and not line.absent:
            return request
        return request._replace(
            present=contained(line.present, target, self.normalize_target),
            absent=forbidden(line.absent, target, self.normalize_target),
        )

    def _found(
        self,
        lines: Sequence[Line],
        requests: Sequence[Request],
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Output]]:
        outputs = [[NOTHING] for _ in requests]
        filled = [number for number, request in enumerate(requests) if request.source]
        done(len(requests) - len(filled))
        options = self._candidates()
        if self.recorder:
            self.recorder.expect([requests[number].number for number in filled])
        found = self.engine.search([requests[number] for number in filled], options, done)
        texts = iter(self.tokenizers.target.decode([one.tokens for some in found for one in some]))
        translated = [[Output(next(texts), one) for one in some] for some in found]
        if self.attention:
            asked = [(lines[number], requests[number]) for number in filled]
            translated = self._attended(self.attention, asked, translated)
        for number, some in zip(filled, translated, strict=True):
            outputs[number] = self._chosen(some)
        if self.recorder:
            self.recorder.keep(
                Written(requests[number], lines[number].text, best.text, best.hypothesis)
                for number, (best, *_) in ((number, outputs[number]) for number in filled)
            )
        return outputs

    def _attended(
        self,
        attention: Attention,
        asked: Sequence[tuple[Line, Request]],
        translated: Sequence[Sequence[Output]],
    ) -> list[list[Output]]:
        """Translations with what attention tells of them."""
        sources = self._sources([line for line, _ in asked])
        seen = iter(
            attention.of(
                [
                    (source, request.source, one.hypothesis.tokens)
                    for source, (_, request), some in zip(sources, asked, translated, strict=True)
                    for one in some
                ]
            )
        )
        return [[one.in_light_of(next(seen)) for one in some] for some in translated]

    def _sources(self, lines: Sequence[Line]) -> list[Source]:
        spell = self.tokenizers.source.spell
        return [
            Source(line.text, spell(self.normalize(line.text)), ids, int(bool(line.tag)))
            for line, ids in zip(lines, self._encoded(lines), strict=True)
        ]

    def _candidates(self) -> Decoding:
        """The options of a search that finds as many translations as there are to choose from."""
        options = self.options
        if options.risk == "none":
            return options
        count = options.candidates if options.sampling else min(options.candidates, options.beam)
        return options.model_copy(update={"n_best": count, "risk": "none"})

    def _chosen(self, outputs: list[Output]) -> list[Output]:
        if self.options.risk == "none":
            return outputs
        score = UTILITIES[self.options.risk]
        texts = [one.text for one in outputs]
        order = least_risk(texts, lambda text, other: score(text, other, self.language))
        return [outputs[place] for place in order[: self.options.n_best]]


def joined(parts: "Sequence[Part]", found: Sequence[Sequence[Output]]) -> list[Output]:
    """The translations of a line from those of its parts, the best of each if there are several.

    Between them stands what stood between the parts; scores and log-probabilities are sums, and
    alignments have the numbers of the words of the whole line.
    """
    if len(parts) == 1:
        return list(*found)
    best = [outputs[0] for outputs in found]
    texts = [one.text + part.gap for one, part in zip(best, parts, strict=True)]
    alignment = side_by_side(
        [one.alignment for one in best], texts, [part.text + part.gap for part in parts]
    )
    hypotheses = [one.hypothesis for one in best]
    tokens = [token for one in hypotheses for token in one.tokens]
    score = sum(one.score for one in hypotheses)
    log_probability = sum(one.log_probability for one in hypotheses)
    return [Output("".join(texts), Hypothesis(tokens, score, log_probability), alignment)]
