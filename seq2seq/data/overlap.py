"""Which segments are among those that were learned from, exactly as they are in pieces."""

from collections.abc import Sequence

import numpy as np

from seq2seq.data.store import Side

STRETCH = 1 << 18  # segments that are looked at together
ODD = np.uint64(0x9E3779B97F4A7C15)


def known(segments: Sequence[Sequence[int]], learned: Side) -> np.ndarray:
    """Of each segment, given in pieces, whether it is one of those `learned` from."""
    wanted = keys_of(Side.of([list(ids) for ids in segments]))
    found = np.zeros(len(wanted), bool)
    count = len(learned.offsets) - 1
    for start in range(0, count, STRETCH):
        stop = min(start + STRETCH, count)
        offsets = learned.offsets[start : stop + 1]
        ids = learned.ids[int(offsets[0]) : int(offsets[-1])]
        found |= np.isin(wanted, keys_of(Side(ids, offsets - offsets[0], np.diff(offsets))))
    return found


def keys_of(side: Side) -> np.ndarray:
    """A number of 64 bits for each segment, by its pieces and their order."""
    starts, lengths = side.offsets[:-1], np.diff(side.offsets)
    places = np.arange(len(side.ids), dtype=np.uint64) - np.repeat(starts, lengths).astype(
        np.uint64
    )
    mixed = (np.asarray(side.ids, dtype=np.uint64) + np.uint64(1)) * ODD
    mixed ^= mixed >> np.uint64(29)
    mixed *= (places + np.uint64(1)) * ODD | np.uint64(1)
    mixed ^= mixed >> np.uint64(32)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(mixed * ODD, dtype=np.uint64)])
    return (sums[side.offsets[1:]] - sums[starts]) * ODD + lengths.astype(np.uint64)
