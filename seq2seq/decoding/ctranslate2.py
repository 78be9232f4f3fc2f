"""CTranslate2 as an engine: the searches that it does as ours does them, in a fraction of the time.

What comes out is what our own search finds, but for rounding (see `agreement`); torch is not loaded
before a line needs it.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seq2seq.config import Decoding
from seq2seq.console import say
from seq2seq.data.tokenizer import EOS, Tokenizers
from seq2seq.decoding.agreement import (
    ENDS,
    Found,
    Stop,
    as_given,
    found_of,
    lengths_exponent,
    may_end,
    scored,
)
from seq2seq.decoding.ahead import ahead, result_of
from seq2seq.decoding.engine import Engine, Hypothesis, Request, batches

PLAIN = {  # options that CTranslate2 serves at these values alone, as we understand them
    "sampling": False,
    "coverage_penalty": 0.0,
    "diversity_groups": 1,
    "risk": "none",
    "no_repeat_ngram": 0,
    "repetition_penalty": 1.0,
}

COMPUTE_TYPES = {"fp32": "float32", "int8": "int8"}

# Positions of a batch, at most, those of the source times beam: larger ones are not multiplied
# faster, and what a step reads and writes leaves the processor's cache (found by trying: see
# benchmarks/README.md).
BATCH_POSITIONS = 2_560

FEW = 4  # requests a processor, below which one worker with all of them is faster


def why_not_here() -> str | None:
    """Why the library cannot be used, in words; None if it can. It is not loaded for that."""
    if importlib.util.find_spec("ctranslate2") is None:
        return "it is not installed (pip install ctranslate2)"
    return None


def why_not_options(options: Decoding) -> str | None:
    """Why CTranslate2 cannot search as the options say, in words; None if it can."""
    if options.precision not in COMPUTE_TYPES:
        return f"decoding.precision: {options.precision} is for our own search"
    for name, value in PLAIN.items():
        if getattr(options, name) != value:
            return f"decoding.{name} is for our own search"
    return None


class CTranslate2:
    """Searches with a converted model, and leaves to another engine what is not for it."""

    def __init__(
        self, folder: Path, tokenizers: Tokenizers, precision: str, own: Callable[[], Engine]
    ) -> None:
        """`folder` is what `models.conversion` wrote; `own` gives our own search when it is needed.

        `precision` is one of COMPUTE_TYPES.
        """
        self.pieces, self.target_pieces = (
            tokenizer.pieces(range(len(tokenizer))) for tokenizer in tokenizers
        )
        self.ids = {piece: token for token, piece in enumerate(self.target_pieces)}
        self.processors = processors()
        self._open = partial(
            translator, folder, compute_type=COMPUTE_TYPES[precision], processors=self.processors
        )
        self._translator: Any = None
        self._workers = 0
        self._load_own = own
        self._own: Engine | None = None

    def search(
        self,
        requests: Sequence[Request],
        options: Decoding,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Hypothesis]]:
        """See `Engine`."""
        found: list[list[Hypothesis]] = [[] for _ in requests]
        served = [number for number, one in enumerate(requests) if self.serves(one, options)]
        again: dict[Stop, list[int]] = {}
        cut: list[tuple[int, list[Hypothesis]]] = []  # what greedy search writes beyond its end
        for batch, results in self._translated(requests, served, options):
            for number, (some, bound) in zip(batch, results, strict=True):
                request, length = requests[number], max(len(one.tokens) for one in some)
                ranked = as_given(some, options)
                if not all(may_end(one, request) for one in some):
                    if options.beam == 1 and length >= request.longest > 0:
                        cut.append((number, some))
                    elif length >= request.longest > 0:
                        again.setdefault(Stop(request.longest, must_end=True), []).append(number)
                elif ranked[-1].score < bound:
                    again.setdefault(Stop(length, must_end=False), []).append(number)
                else:
                    found[number] = ranked
            done(sum(bool(found[number]) for number in batch))
        if cut:
            self._cut_short(requests, cut, options, found)
            done(sum(bool(found[number]) for number, _ in cut))
        for batch, ended in self._searched_again(requests, again, options):
            for number, some in zip(batch, ended, strict=True):
                found[number] = as_given(some, options)
            done(sum(bool(found[number]) for number in batch))
        if len(served) < len(requests) and self._own is None:
            say("CTranslate2 does not serve all that is asked for; our own search does the rest")
        if left := [number for number, some in enumerate(found) if not some]:
            last = self.own.search([requests[number] for number in left], options, done)
            for number, some in zip(left, last, strict=True):
                found[number] = some
        return found

    def serves(self, request: Request, options: Decoding) -> bool:
        """Whether a request is one for CTranslate2."""
        few = 2 * options.beam <= len(self.target_pieces)  # candidates of a step
        words = request.prefix or request.present or request.absent
        return few and not words and why_not_options(options) is None

    @property
    def own(self) -> Engine:
        """Our own search."""
        if self._own is None:
            self._own = self._load_own()
        return self._own

    def _translated(
        self, requests: Sequence[Request], served: Sequence[int], options: Decoding
    ) -> Iterator[tuple[list[int], list[Found]]]:
        """The numbers of batches and their hypotheses."""
        if not served:
            return
        workers = self.processors if len(served) >= FEW * self.processors else 1
        if workers > self._workers:
            self._translator, self._workers = self._open(workers=workers), workers
        at_least = 2 * self._workers if self._workers > 1 else 1

        def begun() -> Iterator[tuple[list[int], Callable[[], list[Found]]]]:
            for batch in self._batches(requests, served, options, at_least):
                some = [requests[number] for number in batch]
                longest = max(1, *(one.longest for one in some))
                yield batch, self._started(some, options, longest, options.endings)

        yield from ahead(begun(), self._workers)

    def _batches(
        self,
        requests: Sequence[Request],
        numbers: Sequence[int],
        options: Decoding,
        at_least: int = 1,
    ) -> Iterator[list[int]]:
        most = min(BATCH_POSITIONS, options.batch_tokens)
        return batches(requests, numbers, most, width=options.beam, at_least=at_least)

    def _started(
        self, some: Sequence[Request], options: Decoding, longest: int, endings: int
    ) -> Callable[[], list[Found]]:
        """Begins to translate a batch; what it gives waits for the result.

        A line is done when so many hypotheses have ended (`endings`), or with `longest` tokens.
        """
        exponent = lengths_exponent(options, sum(len(one.source) for one in some) / len(some))
        futures = self._translator.translate_batch(
            self._sources(some),
            asynchronous=True,
            beam_size=options.beam,
            patience=(endings + 0.01) / options.beam,  # it rounds the product with the beam
            num_hypotheses=endings,
            length_penalty=exponent,
            max_decoding_length=longest,
            min_decoding_length=0,
            max_input_length=0,
            end_token=[self.target_pieces[token] for token in ENDS],
            return_end_token=True,
            return_scores=True,
        )
        return lambda: [self._found(result_of(one), options, exponent) for one in futures]

    def _found(self, result: Any, options: Decoding, exponent: float) -> Found:
        tokens = [[self.ids[piece] for piece in pieces] for pieces in result.hypotheses]
        return found_of(tokens, result.scores, options, exponent)

    def _searched_again(
        self, requests: Sequence[Request], again: Mapping[Stop, list[int]], options: Decoding
    ) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """The numbers of batches, and all that ends up to their stop, of requests by their stops.

        There are many stops and few requests for each, so the workers need several at once, too.
        """
        endings = options.endings + options.beam  # no more have ended up to the stop

        def begun() -> Iterator[tuple[tuple[list[int], Stop], Callable[[], list[Found]]]]:
            for stop, numbers in again.items():
                for batch in self._batches(requests, numbers, options):
                    some = [requests[number] for number in batch]
                    results = self._started(some, options, stop.length, endings)
                    yield (batch, stop), results

        for (batch, stop), results in ahead(begun(), self._workers):
            some = [requests[number] for number in batch]
            yield batch, self._ended(some, results, options, stop)

    def _ended(
        self,
        some: Sequence[Request],
        results: Sequence[Found],
        options: Decoding,
        stop: Stop,
    ) -> list[list[Hypothesis]]:
        """All that ends up to the stop, of requests with this stop.

        Nothing for a request whose hypotheses must end there if CTranslate2 has not told all of
        them: it tells the first `beam` candidates of its last step, which are those that go on only
        if none of them is an end.
        """
        ended = [[one for one in found if one.tokens[-1] in ENDS] for found, _ in results]
        if stop.must_end:
            going = [[one for one in found if one.tokens[-1] not in ENDS] for found, _ in results]
            for row, last in enumerate(self._made_to_end(some, going, options)):
                earlier = all(len(one.tokens) < stop.length for one in ended[row])
                told = earlier and len(last) == options.beam
                ended[row] = [*ended[row], *last] if told else []
        return [
            found if all(may_end(one, request, at_longest=stop.must_end) for one in found) else []
            for request, found in zip(some, ended, strict=True)
        ]

    def _cut_short(
        self,
        requests: Sequence[Request],
        cut: Sequence[tuple[int, list[Hypothesis]]],
        options: Decoding,
        found: list[list[Hypothesis]],
    ) -> None:
        """Ends what greedy search wrote beyond the longest length of some requests, by number."""
        some = [requests[number] for number, _ in cut]
        going = [
            [Hypothesis(one.tokens[: request.longest], 0.0, 0.0) for one in written]
            for request, (_, written) in zip(some, cut, strict=True)
        ]
        for (number, _), ended in zip(cut, self._made_to_end(some, going, options), strict=True):
            if all(may_end(one, requests[number], at_longest=True) for one in ended):
                found[number] = as_given(ended, options)

    def _made_to_end(
        self, some: Sequence[Request], going: Sequence[list[Hypothesis]], options: Decoding
    ) -> list[list[Hypothesis]]:
        """The hypotheses of each request that go on, with </s> put behind them."""
        judged = self._translator.score_batch(
            self._sources([some[row] for row, found in enumerate(going) for _ in found]),
            [[self.target_pieces[token] for token in one.tokens] for row in going for one in row],
            max_input_length=0,
        )
        totals = iter(math.fsum(one.log_probs) for one in judged)
        return [
            [scored([*one.tokens, EOS], next(totals), options) for one in found] for found in going
        ]

    def _sources(self, some: Sequence[Request]) -> list[list[str]]:
        return [[self.pieces[token] for token in one.source] for one in some]


def translator(folder: Path, *, compute_type: str, processors: int, workers: int) -> Any:
    """CTranslate2's own engine: many workers of one thread each, or one with all."""
    import ctranslate2

    return ctranslate2.Translator(
        str(folder),
        compute_type=compute_type,
        inter_threads=workers,
        intra_threads=max(1, processors // workers),
    )


def processors() -> int:
    """Processors that may be used: OMP_NUM_THREADS says how many, as to torch, or the system."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
