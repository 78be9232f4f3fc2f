"""Words cut into pieces at random: the same for the same random numbers, in every process.

SentencePiece samples too, but 0.2.3 salts its random numbers anew in every process, so that a
training that is resumed would not end like one that was never stopped.

A word is what stands between spaces, with the mark for a space in front; no piece goes beyond it.
"""

from bisect import bisect
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from math import exp, inf, log
from random import Random
from typing import NamedTuple

Cut = Callable[[str, Random], list[int]]

UNKNOWN_PENALTY = 10.0  # what SentencePiece takes from the least score for an unknown character
REMEMBERED = 1 << 15  # words
LONGEST_REMEMBERED = 24  # characters; where no spaces are written, whole sentences are words


class Pieces(NamedTuple):
    """What text may be cut into."""

    ids: Mapping[str, int]
    scores: Mapping[str, float]
    spell: Callable[[str], list[int]]  # the ids of a character that is no piece


def unigrams(pieces: Pieces, alpha: float) -> Cut:
    """Draws a way to cut a word with its probability to the power of alpha (Kudo 2018).

    Goes through the word once to add up the probabilities of all ways to its beginnings, and back
    to draw one piece after the other; the first does not change, so it is remembered.
    """
    longest = max(map(len, pieces.scores))
    unknown = min(pieces.scores.values()) - UNKNOWN_PENALTY

    def table(word: str) -> list[tuple[list[float], list[tuple[int, list[int]]]]]:
        """For each end: the pieces that may end there, by where they begin; their summed shares."""
        ways, found = [0.0], []
        for end in range(1, len(word) + 1):
            scores, last = [], []
            for start in range(max(0, end - longest), end):
                text = word[start:end]
                if text in pieces.scores:
                    scores.append(ways[start] + alpha * pieces.scores[text])
                    last.append((start, [pieces.ids[text]]))
                elif end - start == 1:
                    scores.append(ways[start] + alpha * unknown)
                    last.append((start, pieces.spell(text)))
            most = max(scores)
            sums = list(accumulate(exp(score - most) for score in scores))
            ways.append(most + log(sums[-1]))
            found.append((sums, last))
        return found

    remembered = lru_cache(REMEMBERED)(table)

    def cut(word: str, random: Random) -> list[int]:
        ends = (remembered if len(word) <= LONGEST_REMEMBERED else table)(word)
        end = len(word)
        parts = []
        while end:
            sums, last = ends[end - 1]
            end, ids = last[min(bisect(sums, random.random() * sums[-1]), len(last) - 1)]
            parts.append(ids)
        return list(chain.from_iterable(reversed(parts)))

    return cut


def merges(pieces: Pieces, alpha: float) -> Cut:
    """Merges the parts of a word, leaving out a share of alpha each time (Provilkov et al. 2020).

    At each step, of all merges of two neighbours, each is left out with probability alpha, and the
    best of the others is done; it ends when there is none.
    """

    def score(text: str) -> float:
        return pieces.scores.get(text, -inf)

    def cut(word: str, random: Random) -> list[int]:
        parts = [*word]
        scores = [score(one + other) for one, other in pairwise(parts)]
        while True:
            best, highest = None, -inf
            for place, found in enumerate(scores):
                if found > highest and random.random() >= alpha:
                    best, highest = place, found
            if best is None:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
            del scores[best]
            if best:
                scores[best - 1] = score(parts[best - 1] + parts[best])
            if best < len(scores):
                scores[best] = score(parts[best] + parts[best + 1])
        ids = pieces.ids
        return list(
            chain.from_iterable([ids[one]] if one in ids else pieces.spell(one) for one in parts)
        )

    return cut
