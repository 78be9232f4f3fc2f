"""The order of validations: which of two models is better.

Early in training, and for long where there is little text, scores of translations are noise: a
BLEU of 0.05 is luck, while perplexity tells well what has been learned. So a metric of translations
counts only where it is clearly above chance, and perplexity decides until then.

Chance is the score of the same translations against the references of other sentences. A model
that says the same of every source gets no more than that.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from seq2seq.config import LOWER_IS_BETTER, OF_TRUE_TEXT

PERPLEXITY = "ppl"
CLEAR = 0.03  # share of the way from chance to a perfect score, below which a score is noise


class Rank(NamedTuple):
    """How good a model was at a validation; less is better.

    Those that are judged by their score come before those that are judged by perplexity.
    """

    by_perplexity: bool  # because the score is noise
    first: float
    second: float  # decides between equals

    @property
    def perplexity(self) -> float:
        """The perplexity, of a model that is judged by a metric of translations."""
        return self.first if self.by_perplexity else self.second


NONE = Rank(True, math.inf, math.inf)  # of no model


def rank(found: Mapping[str, float], metric: str, chance: float | None = None) -> Rank:
    """Return the rank of a validation by a metric, whose score by chance is `chance`."""
    score, perplexity = found[metric], _cost(found.get(PERPLEXITY, math.inf))
    cost = _cost(score if metric in LOWER_IS_BETTER else -score)
    if is_noise(score, metric, chance):
        return Rank(True, perplexity, cost)
    return Rank(False, cost, perplexity)


def is_noise(score: float, metric: str, chance: float | None = None) -> bool:
    """Return whether a score of translations is not clearly above chance.

    Where chance is not known, it is the score of a model that says nothing: 100 for TER, else 0.
    """
    if metric in OF_TRUE_TEXT:
        return False
    nothing, perfect = (100.0, 0.0) if metric in LOWER_IS_BETTER else (0.0, 100.0)
    floor = nothing if chance is None else chance
    way = perfect - floor
    return way == 0 or not (score - floor) / way >= CLEAR  # not: a score may be no number


def outcomes(ranks: Iterable[Rank]) -> Iterator[Literal["better", "learns", "worse"]]:
    """Tell of each validation whether the model was better than at all before it.

    A model learns, although it is not better, where its score is noise and its perplexity the least
    so far: such a validation says nothing against going on.
    """
    best, least = None, math.inf
    for one in ranks:
        if best is None or one < best:
            best = one
            yield "better"
        else:
            yield "learns" if one.by_perplexity and one.perplexity < least else "worse"
        least = min(least, one.perplexity)


def _cost(number: float) -> float:
    """Return what can be compared: of a model that diverged, a score is no number."""
    return math.inf if math.isnan(number) else number
