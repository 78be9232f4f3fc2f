"""How hypotheses of CTranslate2 become those that our own search would have found.

Two things make that less than simple.

CTranslate2 knows none of our rules: that a hypothesis at its longest length must end, when it may
end, and that `<unk>` is not written. (It has ways to enforce some of them, but they all
change the probabilities.) So it searches freely. Where no hypothesis that has ended breaks a rule,
none made a difference. Where one is too long, the line is searched again up to its longest length,
and what goes on there is made to end. What still breaks a rule, our own search does again.

More hypotheses can end at the last step than CTranslate2 gives back, and it ranks them by a power
of their lengths only. Where what it has kept to itself might be better, the line is searched again
up to that step, and all is given back.

A hypothesis ends with </s> in here, and its length counts it; engines give it without.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK
from seq2seq.decoding.engine import Hypothesis, Request

# What CTranslate2 is to end at; </s> is the only end that counts. Padding and <s> have no
# probability, but where a vocabulary is small nothing else may be left.
ENDS = (EOS, PAD, UNK, BOS)

ROUNDING = 1e-5  # of scores

UNNORMALIZED = 1e-9  # the exponent of lengths; at zero, CTranslate2 would end searches sooner


class Found(NamedTuple):
    """What CTranslate2 gives back of a line."""

    hypotheses: list[Hypothesis]  # with what they end with, if they do
    bound: float  # no other that had ended when it was done has a higher score


class Stop(NamedTuple):
    """Where to end when a line is searched again."""

    length: int  # tokens
    must_end: bool  # whether what goes on there is made to end; else it does not count


def found_of(
    tokens: Sequence[list[int]], scores: Sequence[float], options: Decoding, exponent: float
) -> Found:
    """What CTranslate2 gives back of a line, with our scores.

    Its own are log-probabilities, divided by lengths to the power of the exponent.
    """
    hypotheses = [
        scored(one, score * len(one) ** exponent, options)
        for one, score in zip(tokens, scores, strict=True)
    ]
    if options.beam == 1:
        return Found(hypotheses, -math.inf)
    # Our score is its own times this factor, which is least for the shortest or the longest.
    longest = max(map(len, tokens))
    factor = min(length**exponent / penalty(length, options) for length in (1, longest))
    return Found(hypotheses, min(scores) * factor - ROUNDING)


def may_end(one: Hypothesis, request: Request, *, at_longest: bool = False) -> bool:
    """Whether our own search would have let a hypothesis, </s> included, end where it does.

    At the longest length all must end, not only those that want to: it is `at_longest` that all do.
    """
    written = one.tokens[:-1]
    return (
        request.shortest <= len(written) < request.longest + at_longest
        and one.tokens[-1] == EOS
        and set(ENDS).isdisjoint(written)
        and math.isfinite(one.log_probability)
    )


def as_given(some: Sequence[Hypothesis], options: Decoding) -> list[Hypothesis]:
    """Hypotheses as engines give them: the best first, without </s>."""
    ranked = sorted(some, key=lambda one: -one.score)
    return [one._replace(tokens=one.tokens[:-1]) for one in ranked[: options.n_best]]


def scored(tokens: list[int], log_probability: float, options: Decoding) -> Hypothesis:
    """A hypothesis, </s> included."""
    return Hypothesis(tokens, log_probability / penalty(len(tokens), options), log_probability)


def penalty(length: int, options: Decoding) -> float:
    """What the log-probability of so many tokens, </s> too, is divided by."""
    if options.length_normalization == "average":
        return float(length**options.length_penalty)
    return ((5 + length) / 6) ** options.length_penalty


def lengths_exponent(options: Decoding, length: float) -> float:
    """The power of lengths that CTranslate2 is to divide by.

    The normalization of Wu et al. (2016) is no such power; this one is the same for one piece and
    for `length` pieces.
    """
    exponent = options.length_penalty
    if options.length_normalization == "gnmt":
        exponent *= math.log((6 + length) / 6) / math.log(1 + length)
    return max(exponent, UNNORMALIZED)
