"""How lines were translated: what search found and dropped, and what the model looked at.

Nothing is computed here that the model has not: weights are those that it kept as it was asked for
the likelihood of the translation (see `forced`), and what was dropped is told by the search that
dropped it. A search that nobody watches does nothing for this.

Shapes: T target pieces, S source pieces, </s> of both apart; R searches, W hypotheses of each.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seq2seq.decoding.engine import Hypothesis, Request

if TYPE_CHECKING:
    from torch import Tensor

LINES = 200  # that are watched: the first
MOST = 100_000  # weights that are kept of a line; of more, only means
AT_ONCE = 8  # lines whose weights are all held

# what hypotheses (R, W) are ranked by, their log-probabilities, and their tokens (R, W, 1 + T)
Beam = tuple["Tensor", "Tensor", "Tensor"]


class Map(NamedTuple):
    """What was looked at by one head of one layer, both from 1; None stands for the mean of all."""

    layer: int | None
    head: int | None
    weights: np.ndarray  # (T + 1, S + 1), each row sums to 1


class Dropped(NamedTuple):
    """A hypothesis that fell out of the beam, or was left `unfinished` when its search ended."""

    tokens: list[int]
    score: float  # what it was ranked by
    log_probability: float
    unfinished: bool


class Written(NamedTuple):
    """A translation as it is given, and what it is of."""

    request: Request
    line: str
    text: str
    hypothesis: Hypothesis


class Trace(NamedTuple):
    """How a line was translated."""

    written: Written
    log_probabilities: np.ndarray  # (T + 1,) of each piece and </s>, in nats
    maps: list[Map]  # the mean of all first
    ended: list[Hypothesis]  # what search found, the best first
    dropped: list[Dropped]  # in the order in which search dropped them


class Recorder:
    """Watches how the first lines are translated, as our own search does it."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []
        self.left_out = 0  # lines beyond those that are watched
        self._engine: Any = None
        self._batch_tokens = 0
        self._asked: Sequence[Request] = ()  # what is being searched for
        self._ended: dict[int, list[Hypothesis]] = {}  # by the numbers of the lines watched
        self._dropped: dict[int, list[Dropped]] = {}

    def watch(self, engine: Any, batch_tokens: int) -> None:
        """From now on, our own engine tells what it does; in batches of so many tokens."""
        self._engine, self._batch_tokens = engine, batch_tokens
        engine.recorder = self

    def expect(self, numbers: Sequence[int]) -> None:
        """Lines of these numbers are about to be translated."""
        room = max(0, LINES - len(self._dropped))
        self._dropped |= {number: [] for number in islice(numbers, room)}
        self.left_out += max(0, len(numbers) - room)

    def begin(self, requests: Sequence[Request]) -> None:
        """A search for these begins; what an earlier one dropped of them is forgotten."""
        self._asked = requests
        for one in requests:
            if one.number in self._dropped:
                self._dropped[one.number] = []

    def drop(self, beam: Beam, which: "Tensor", places: "Tensor", *, unfinished: bool) -> None:
        """Some hypotheses `which` (R, W) are gone; `places` (R,) are those of their requests."""
        numbers = [self._asked[place].number for place in places.tolist()]
        for row, column in which.nonzero().tolist():
            if numbers[row] in self._dropped:
                score, log_probability = (float(part[row, column]) for part in beam[:2])
                tokens = beam[2][row, column, 1:].tolist()
                self._dropped[numbers[row]].append(
                    Dropped(tokens, score, log_probability, unfinished)
                )

    def end(self, request: Request, hypotheses: Sequence[Hypothesis]) -> None:
        """What was found for a request, the best first."""
        if request.number in self._dropped:
            self._ended[request.number] = list(hypotheses)

    def keep(self, written: Iterable[Written]) -> None:
        """Translations are done: how they came about is kept, with what the model looked at."""
        some = [one for one in written if one.request.number in self._dropped]
        for start in range(0, len(some), AT_ONCE):
            few = some[start : start + AT_ONCE]
            judged = self._engine.examine(
                [(one.request.source, one.hypothesis.tokens) for one in few], self._batch_tokens
            )
            for one, seen in zip(few, judged, strict=True):
                number = one.request.number
                maps = maps_of(seen.attention)
                ended, dropped = self._ended[number], self._dropped[number]
                self.traces.append(Trace(one, seen.log_probabilities, maps, ended, dropped))


def maps_of(weights: np.ndarray) -> list[Map]:
    """The maps of weights (layers, heads, T + 1, S + 1): the mean of all, of layers, and each head.

    A mean of one is left out, and so is what would be more than MOST weights.
    """
    layers, heads, *shape = weights.shape
    size = layers * int(np.prod(shape))
    maps = [Map(None, None, weights.mean(axis=(0, 1)))]
    for layer, some in enumerate(weights, 1):
        if layers > 1 and heads > 1 and size <= MOST:
            maps.append(Map(layer, None, some.mean(axis=0)))
        if layers * heads > 1 and size * heads <= MOST:
            maps += [Map(layer, head, one.copy()) for head, one in enumerate(some, 1)]
    return maps


def entropies(weights: np.ndarray) -> np.ndarray:
    """The entropy of each row of weights (..., T, S), in bits: 0 for one source piece, log2 S for
    all alike."""
    logarithms = np.log2(np.where(weights > 0, weights, 1.0), dtype=np.float64)
    return -(weights * logarithms).sum(axis=-1) + 0.0  # no negative zero
