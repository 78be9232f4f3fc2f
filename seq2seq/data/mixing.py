"""Which pairs an epoch has, and in which order: a function of the seed and the epoch alone.

An epoch has as many pairs as there are. Each corpus has its share of them, exact in every epoch,
and is gone through again and again: no pair of it comes twice before each has come once.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from seq2seq.errors import UserError


class Mixture:
    """Corpora, one after the other in a store, that share each epoch."""

    def __init__(self, sizes: Sequence[int], shares: Sequence[float] | None = None) -> None:
        """`sizes` are in pairs; `shares` are relative to each other, the sizes unless given.

        A corpus without pairs has no share.
        """
        self.sizes = sizes
        present = [share * (size > 0) for share, size in zip(shares or sizes, sizes, strict=True)]
        self.quotas = apportioned(sum(sizes), present)

    @classmethod
    def of(
        cls, sizes: Sequence[int], weights: Sequence[float | None], temperature: float
    ) -> "Mixture":
        """Corpora that share by their weights, or by size ** (1 / temperature).

        Raises a UserError if one has a weight, and no pair that could have its share.
        """
        given = [weight for weight in weights if weight is not None]
        for number, (weight, size) in enumerate(zip(weights, sizes, strict=True)):
            if weight and not size:
                raise UserError(
                    f"data.train.{number} has a weight but no pair left; change its filters, or "
                    "leave it out"
                )
        return cls(sizes, given or [size ** (1 / temperature) for size in sizes])

    def draw(self, seed: int, epoch: int) -> np.ndarray:
        """The pairs of an epoch in random order, as uint32; at most 16 bytes of memory a pair."""
        random = np.random.default_rng((seed, epoch))
        if list(self.quotas) == list(self.sizes):
            return permutation(sum(self.sizes), random)
        starts = np.cumsum([0, *self.sizes])
        parts = [
            part + np.uint32(starts[corpus])
            for corpus, (size, quota) in enumerate(zip(self.sizes, self.quotas, strict=True))
            for part in _turns(size, epoch * quota, quota, (seed, corpus))
        ]
        drawn = np.concatenate(parts)
        del parts
        return drawn[permutation(len(drawn), random)]


def _turns(size: int, start: int, count: int, seed: tuple[int, int]) -> list[np.ndarray]:
    """So many entries from a place on of an endless sequence: a corpus shuffled anew each time."""
    parts = []
    while count:
        turn, place = divmod(start, size)
        shuffled = permutation(size, np.random.default_rng((*seed, turn, 1)))
        parts.append(shuffled[place : place + count])
        start, count = start + len(parts[-1]), count - len(parts[-1])
    return parts


def apportioned(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to a total, in proportion to shares (largest remainders)."""
    exact = [total * Fraction(share) / sum(map(Fraction, shares)) for share in shares]
    whole = [int(part) for part in exact]
    by_remainder = sorted(range(len(shares)), key=lambda n: whole[n] - exact[n])
    for number in by_remainder[: total - sum(whole)]:
        whole[number] += 1
    return whole


def permutation(size: int, random: np.random.Generator) -> np.ndarray:
    """The numbers below a size in random order, as uint32.

    Sorting random keys takes a quarter of the time of swapping entries all over memory.
    """
    keys = random.integers(0, 1 << 32, size, dtype=np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(size, dtype=np.uint32)
    keys.sort()
    return keys.astype(np.uint32)  # the lower half
