"""Batches by length, in an order that is a function of the seed and the epoch alone.

An epoch of 100 million pairs is put into batches in seconds, with 16 bytes of memory a pair.

Shapes: B pairs, S source positions, T target positions.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.mixing import Mixture
from seq2seq.data.objectives import Objectives
from seq2seq.data.resampling import Resampler, take
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import BOS, EOS, PAD

LONGEST = np.uint32(0xFFFF)  # longer segments are sorted as if they had this many pieces
BANDS, NARROWING = 1.6, 1.5  # found by trying: see benchmarks/README.md
STRETCH = 1 << 20


class Batch(NamedTuple):
    """Some pairs as rectangles of ids, padded on the right.

    `target_in` is what the decoder reads, `<s>` first; `target_out` what it must say, `</s>` last;
    `masked` what the encoder must say of the source, if it must of any.
    """

    source: Tensor  # (B, S)
    target_in: Tensor  # (B, T)
    target_out: Tensor  # (B, T)
    target_tokens: int  # all of target_out and of masked that is not padding
    masked: Tensor | None = None  # (B, S)

    @property
    def ids(self) -> dict[str, Tensor]:
        """The rectangles by name."""
        return {name: ids for name, ids in self._asdict().items() if isinstance(ids, Tensor)}

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device.

        For a GPU lengths are rounded up to what its kernels like, and nobody waits for the copy.
        """
        if device.type == "cpu":
            return self
        ids = {name: rounded_up(tensor) for name, tensor in self.ids.items()}
        if device.type == "cuda":
            ids = {name: tensor.pin_memory() for name, tensor in ids.items()}
        there = {name: tensor.to(device, non_blocking=True) for name, tensor in ids.items()}
        return Batch(**there, target_tokens=self.target_tokens)

    def twice(self) -> "Batch":
        """The batch with each pair once more, behind all of them."""
        again = {name: ids.repeat(2, 1) for name, ids in self.ids.items()}
        return Batch(**again, target_tokens=2 * self.target_tokens)

    def halves(self) -> Iterator["Batch"]:
        """The batch in two, unless it is of one pair."""
        middle = -(-len(self.source) // 2)
        names = list(self.ids)
        for parts in zip(*(ids.split(middle) for ids in self.ids.values()), strict=True):
            half = dict(zip(names, parts, strict=True))
            yield Batch(**half, target_tokens=said(half["target_out"], half.get("masked")))


class Batches:
    """A store in batches of at most `batch_tokens` padded positions of the longer side."""

    def __init__(
        self,
        store: Store,
        batch_tokens: int,
        *,
        seed: int = 0,
        mixture: Mixture | None = None,
        resampler: Resampler | None = None,
        objectives: Objectives | None = None,
    ) -> None:
        """A `resampler` or `objectives` may make segments longer than `batch_tokens` counts."""
        self.store = store
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.mixture = mixture or Mixture([len(store)])
        self.resampler = resampler
        self.objectives = None if objectives is None or objectives.idle else objectives
        self._latest: tuple[int, list[np.ndarray]] | None = None

    def epoch(self, number: int) -> list[np.ndarray]:
        """The pairs of each batch of an epoch, in random order."""
        if self._latest is None or self._latest[0] != number:  # asked for again, it is still there
            self._latest = None  # two at once would take more memory
            batches = self._cut(self._by_length(self.mixture.draw(self.seed, number)))
            order = np.random.default_rng((self.seed, number, 1)).permutation(len(batches))
            self._latest = number, [batches[index] for index in order]
        return self._latest[1]

    def in_order(self) -> list[np.ndarray]:
        """The pairs of each batch, shortest first, always the same."""
        return self._cut(self._by_length(np.arange(len(self.store), dtype=np.uint32)))

    def collate(self, pairs: np.ndarray, epoch: int = 0) -> Batch:
        """The batch of some pairs, in the pieces and with the noise of this epoch."""
        if not len(pairs):
            return self._nothing()
        store, numbers, hidden = self.store, pairs, None
        if self.resampler:
            store, pairs = self.resampler(store, pairs, epoch), np.arange(len(pairs))
        if self.objectives:
            some = Store(*(take(side, pairs) for side in store))
            (store, hidden), pairs = self.objectives(some, numbers, epoch), np.arange(len(pairs))
        source = ended(store.source, pairs)
        target = ended(store.target, pairs)
        target_in = np.roll(target, 1, axis=1)
        target_in[target_in == EOS] = PAD  # not needed as input; in the last column it wrapped
        target_in[:, 0] = BOS
        masked = None
        if hidden is not None and hidden.lengths.any():
            masked = torch.from_numpy(rectangle(hidden, pairs, source.shape[1]))
            target[hidden.lengths > 0] = PAD
        target_out = torch.from_numpy(target)
        return Batch(
            torch.from_numpy(source),
            torch.from_numpy(target_in),
            target_out,
            said(target_out, masked),
            masked,
        )

    def updates_of(self, epoch: int, accumulate: int) -> list[list[np.ndarray]]:
        """The pairs of each batch of each update of an epoch, by all processes together."""
        batches = self.epoch(epoch)
        return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]

    def _nothing(self) -> Batch:
        """A batch to go through the motions with, of which nothing is to be said."""
        batch = self.collate(np.array([0]))
        nothing = torch.full_like(batch.target_out, PAD)
        return batch._replace(target_out=nothing, target_tokens=0, masked=None)

    def __iter__(self) -> Iterator[Batch]:
        return (self.collate(pairs) for pairs in self.in_order())

    def padding(self, batches: Iterable[np.ndarray]) -> float:
        """The share of all positions, of both sides, that is padding."""
        real = positions = 0
        for pairs in batches:
            for side in self.store:
                lengths = side.lengths[pairs] + 1
                real += int(lengths.sum())
                positions += len(pairs) * int(lengths.max())
        return 1 - real / positions

    def _by_length(self, order: np.ndarray) -> np.ndarray:
        """The pairs by bands of target length, then source length; ties stay in the given order.

        A band is one length where a length has pairs for many batches, and several lengths where
        it has few: else a batch of long pairs would hold sources of all lengths. Source lengths
        rise in one band and fall in the next, so that a batch which holds the end of one and the
        beginning of the next holds similar sources.
        """
        source, target = (side.lengths for side in self.store)
        bands = self._bands(order)
        keys = np.empty(len(order), np.uint64)  # band, source length, place: 16, 16 and 32 bits
        for some in _slices(len(order)):
            band = bands[np.minimum(target[order[some]], LONGEST)]
            length = np.minimum(source[order[some]], LONGEST).astype(np.uint64)
            key = band << np.uint64(16) | np.where(band % 2, length, LONGEST - length)
            keys[some] = key << np.uint64(32) | np.arange(some.start, some.stop, dtype=np.uint64)
        keys.sort()
        for some in _slices(len(order)):
            keys[some] = order[keys[some] & np.uint64(0xFFFF_FFFF)]
        return keys.astype(np.uint32)

    def _bands(self, order: np.ndarray) -> np.ndarray:
        """The band of each target length: long pairs, which waste more, have narrower bands."""
        source, target = (side.lengths for side in self.store)
        weights = np.zeros(int(LONGEST) + 1)
        positions = 0
        for some in _slices(len(order)):
            lengths = np.minimum(target[order[some]], LONGEST).astype(np.int64)
            longer = np.maximum(lengths, source[order[some]]) + 1  # </s> takes a position too
            positions += int(longer.sum())
            weights += np.bincount(lengths, longer**NARROWING, len(weights))
        count = BANDS * np.sqrt(positions / self.batch_tokens)
        return (np.cumsum(weights) / weights.sum() * count).astype(np.uint64)

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        """Cuts a sequence of pairs into batches, each as large as the budget allows."""
        longer = np.empty(len(order), np.uint32)
        for some in _slices(len(order)):
            lengths = (side.lengths[order[some]] for side in self.store)
            longer[some] = np.maximum(*lengths) + np.uint32(1)  # </s> takes a position too
        batches = []
        start = 0
        while start < len(order):
            most = max(1, self.batch_tokens // int(longer[start]))
            window = np.maximum.accumulate(longer[start : start + most])
            positions = window * np.arange(1, len(window) + 1)  # never falls
            size = max(1, int(np.searchsorted(positions, self.batch_tokens, side="right")))
            batches.append(order[start : start + size])
            start += size
        return batches


def _slices(size: int) -> Iterator[slice]:
    """Stretches that keep what is computed of each in little memory."""
    return (slice(start, min(start + STRETCH, size)) for start in range(0, size, STRETCH))


def share(batches: Sequence[np.ndarray], number: int, of: int) -> list[np.ndarray]:
    """The share of process `number` in an update's batches, as many as any other's.

    Whole batches where there are enough of them, else parts; a part may be empty.
    """
    pieces = of // math.gcd(of, len(batches))
    parts = [pairs[piece::pieces] for pairs in batches for piece in range(pieces)]
    return parts[number::of]


def rounded_up(ids: Tensor) -> Tensor:
    """Some ids (B, T), padded so that T is a multiple of 8: half a matrix tile of a GPU."""
    return torch.nn.functional.pad(ids, (0, -ids.shape[1] % 8), value=PAD)


def said(target_out: Tensor, masked: Tensor | None) -> int:
    """How many tokens a model must say."""
    return sum(int((ids != PAD).sum()) for ids in (target_out, masked) if ids is not None)


def ended(side: Side, rows: np.ndarray) -> np.ndarray:
    """Some segments of a side (B,), each with `</s>` behind it, padded: (B, S) of int64."""
    lengths = side.offsets[rows + 1] - side.offsets[rows]
    padded = rectangle(side, rows, lengths.max() + 1)
    padded[np.arange(len(rows)), lengths] = EOS
    return padded


def rectangle(side: Side, rows: np.ndarray, width: int) -> np.ndarray:
    """Some segments of a side (B,), padded to a width: (B, width) of int64."""
    starts = side.offsets[rows]
    columns = np.arange(width)
    within = columns < (side.offsets[rows + 1] - starts)[:, None]
    padded = np.full(within.shape, PAD, np.int64)
    padded[within] = side.ids[(starts[:, None] + columns)[within]]
    return padded
