"""What turns pieces into pieces: our own search (`pytorch`), or CTranslate2. No torch in here.

An engine is asked by `Request`, one a line, and answers with `Hypothesis`, the best first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from seq2seq.config import Decoding

Phrase = tuple[int, ...]  # pieces that stand side by side


class Request(NamedTuple):
    """A line to translate, as pieces without </s>, and what is wanted of its translation."""

    source: list[int]  # with its tag in front
    longest: int  # pieces that the translation may have
    shortest: int = 0
    number: int = 1  # of the line; its random numbers depend on it, not on its company
    prefix: Phrase = ()  # what the translation begins with
    present: tuple[Phrase, ...] = ()  # what it must contain
    absent: tuple[Phrase, ...] = ()  # what it must not
    unknown: bool = False  # whether it may have unknown pieces


class Hypothesis(NamedTuple):
    """A finished translation."""

    tokens: list[int]  # without </s>
    score: float  # what hypotheses are ranked by
    log_probability: float  # by the model, of all tokens and </s>


class Engine(Protocol):
    """Searches for translations."""

    def search(
        self,
        requests: Sequence[Request],
        options: Decoding,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Hypothesis]]:
        """Hypotheses of each request, best first: one or more, `options.n_best` at most.

        `done` is told how many more requests are done. No request has an empty source.
        """


def batches(
    requests: Sequence[Request],
    numbers: Sequence[int],
    batch_tokens: int,
    *,
    width: int,
    at_least: int = 1,
) -> Iterator[list[int]]:
    """The numbers of the requests to search together, of those given, the longest first.

    So if memory is short, that shows at once. A batch has `batch_tokens` positions of the source at
    most, counted for each of the `width` hypotheses of a request. There are `at_least` so many
    batches, if there are requests for them, with as many pieces in each, so that no one who
    searches idles.
    """

    def positions(number: int) -> int:
        return (len(requests[number].source) + 1) * width

    left = sorted(numbers, key=lambda number: -positions(number))
    remaining, wanted = sum(map(positions, left)), at_least
    while left:
        longest = positions(left[0])
        size = max(1, batch_tokens // longest)
        if at_least > 1:
            size = min(size, -(-remaining // (max(1, wanted) * longest)))
        yield left[:size]
        remaining -= sum(map(positions, left[:size]))
        left, wanted = left[size:], wanted - 1
