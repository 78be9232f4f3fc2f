"""Subword regularisation: segments cut into other pieces each time that they are learned from.

Unigram sampling (Kudo 2018) or BPE-dropout (Provilkov et al. 2020), on the ids of a store: their
text is what the same ids decode to.
"""

from typing import Any, NamedTuple

import numpy as np

from seq2seq.data.store import SIDES, Side, Store
from seq2seq.data.tokenizer import UNK, Tokenizer, Tokenizers


class Resampler(NamedTuple):
    """How segments are cut anew."""

    tokenizers: Tokenizers
    sides: frozenset[str]  # of SIDES
    alpha: float
    seed: int
    longest: int  # in pieces

    def __call__(self, store: Store, pairs: np.ndarray, epoch: int) -> Store:
        """Some pairs of a store in memory, cut as they are in this epoch."""
        return Store(
            *(
                self._cut(tokenizer, side, pairs, (epoch, int(pairs[0]), number))
                if name in self.sides
                else take(side, pairs)
                for number, (name, side, tokenizer) in enumerate(
                    zip(SIDES, store, self.tokenizers, strict=True)
                )
            )
        )

    def _cut(self, tokenizer: Tokenizer, side: Side, pairs: np.ndarray, place: Any) -> Side:
        before = [side.segment(n) for n in pairs.tolist()]
        fronts = [ids[: 1 if ids and tokenizer.is_tag(ids[0]) else 0] for ids in before]
        bare = [ids[len(front) :] for ids, front in zip(before, fronts, strict=True)]
        (state,) = np.random.SeedSequence((self.seed, *place)).generate_state(1)
        drawn = tokenizer.sample(tokenizer.decode(bare), self.alpha, int(state) >> 1)
        after = []
        for old, front, new in zip(before, fronts, drawn, strict=True):
            # what no piece spells has no text to come from, and nothing may grow too long
            usable = UNK not in old and len(front) + len(new) <= self.longest
            after.append([*front, *new] if usable else old)
        return Side.of(after)


def take(side: Side, rows: np.ndarray) -> Side:
    """Some segments of a side, in memory."""
    some = [side.ids[side.offsets[n] : side.offsets[n + 1]] for n in rows.tolist()]
    return Side.joined(np.concatenate(some), side.lengths[rows])
