"""Batches by length, in an order that is a function of the seed and the epoch alone.

Shapes: B pairs, S source positions, T target positions.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import BOS, EOS, PAD


class Batch(NamedTuple):
    """Some pairs as rectangles of ids, padded on the right.

    `target_in` is what the decoder reads, `<s>` first; `target_out` what it must say, `</s>` last.
    """

    source: Tensor  # (B, S)
    target_in: Tensor  # (B, T)
    target_out: Tensor  # (B, T)
    target_tokens: int  # all of target_out that is not padding

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        if device.type == "cpu":
            return self
        source, target_in, target_out = (tensor.to(device) for tensor in self[:3])
        return Batch(source, target_in, target_out, self.target_tokens)


class Batches:
    """A store in batches of at most `batch_tokens` padded positions of the longer side."""

    def __init__(self, store: Store, batch_tokens: int, *, seed: int = 0) -> None:
        self.store = store
        self.batch_tokens = batch_tokens
        self.seed = seed
        # </s> takes a position too
        self._source = store.source.lengths + 1
        self._target = store.target.lengths + 1

    def epoch(self, number: int) -> list[np.ndarray]:
        """The pairs of each batch of an epoch, in random order; every pair once."""
        random = np.random.default_rng((self.seed, number))
        order = random.permutation(len(self.store))
        batches = self._cut(self._by_length(order))
        return [batches[index] for index in random.permutation(len(batches))]

    def in_order(self) -> list[np.ndarray]:
        """The pairs of each batch, shortest first, always the same."""
        return self._cut(self._by_length(np.arange(len(self.store))))

    def collate(self, pairs: np.ndarray) -> Batch:
        """The batch of some pairs."""
        source = rectangle(self.store.source, pairs)
        target = rectangle(self.store.target, pairs)
        target_in = np.roll(target, 1, axis=1)
        target_in[target_in == EOS] = PAD  # not needed as input; in the last column it wrapped
        target_in[:, 0] = BOS
        return Batch(
            torch.from_numpy(source),
            torch.from_numpy(target_in),
            torch.from_numpy(target),
            int(self._target[pairs].sum()),
        )

    def updates_of(self, epoch: int, accumulate: int) -> list[list[np.ndarray]]:
        """The pairs of each batch of each update of an epoch."""
        batches = self.epoch(epoch)
        return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]

    def __iter__(self) -> Iterator[Batch]:
        return (self.collate(pairs) for pairs in self.in_order())

    def padding(self, batches: Iterable[np.ndarray]) -> float:
        """The share of all positions, of both sides, that is padding."""
        real = positions = 0
        for pairs in batches:
            for lengths in (self._source[pairs], self._target[pairs]):
                real += int(lengths.sum())
                positions += len(pairs) * int(lengths.max())
        return 1 - real / positions

    def _by_length(self, order: np.ndarray) -> np.ndarray:
        """The pairs by target length, then source length; ties stay in the given order.

        Source lengths rise for one target length and fall for the next, so that a batch which
        holds the end of one and the beginning of the next holds similar sources.
        """
        source, target = self._source[order], self._target[order]
        return order[np.lexsort((np.where(target % 2, source, -source), target))]

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        """Cuts a sequence of pairs into batches, each as large as the budget allows."""
        longer = np.maximum(self._source[order], self._target[order])
        batches = []
        start = 0
        while start < len(order):
            window = np.maximum.accumulate(longer[start : start + self.batch_tokens])
            positions = window * np.arange(1, len(window) + 1)  # never falls
            size = max(1, int(np.searchsorted(positions, self.batch_tokens, side="right")))
            batches.append(order[start : start + size])
            start += size
        return batches


def rectangle(side: Side, rows: np.ndarray) -> np.ndarray:
    """Some segments of a side (B,), each with `</s>` behind it, padded: (B, S) of int64."""
    starts = side.offsets[rows]
    lengths = side.offsets[rows + 1] - starts
    columns = np.arange(lengths.max() + 1)
    within = columns < lengths[:, None]
    padded = np.full(within.shape, PAD, np.int64)
    padded[within] = side.ids[(starts[:, None] + columns)[within]]
    padded[np.arange(len(rows)), lengths] = EOS
    return padded
