"""Which pairs and segments are among those that were learned from, exactly as they are in pieces.

A pair is there if source and target are those of one training pair; its source alone, or its target
alone, if it is that of any. Tags before sources do not count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.data.store import Side, Store

STRETCH = 1 << 18  # segments that are looked at together
ODD = np.uint64(0x9E3779B97F4A7C15)
MIXER = np.uint64(0xD6E8FEB86659FD93)


class Known(NamedTuple):
    """What of each pair is among what was learned from: booleans, a pair each."""

    pairs: np.ndarray
    sources: np.ndarray
    targets: np.ndarray


def known(pairs: Store, learned: Store, tags: Sequence[int] = ()) -> Known:
    """Return what of `pairs` is among those `learned` from; `tags` may stand before sources."""
    wanted = _keys(pairs, tags)
    found = Known(*(np.zeros(len(pairs), bool) for _ in Known._fields))
    for start in range(0, len(learned), STRETCH):
        some = Store(*(_stretch(side, start, start + STRETCH) for side in learned))
        for there, one, other in zip(found, wanted, _keys(some, tags), strict=True):
            there |= np.isin(one, other)
    return found


def _stretch(side: Side, start: int, stop: int) -> Side:
    offsets = side.offsets[start : stop + 1]
    ids = side.ids[int(offsets[0]) : int(offsets[-1])]
    return Side(ids, offsets - offsets[0], np.diff(offsets))


def _keys(pairs: Store, tags: Sequence[int]) -> Known:
    """The keys of pairs, of their sources and of their targets."""
    sources, targets = keys_of(pairs.source, tags), keys_of(pairs.target)
    mixed = (sources ^ (sources >> np.uint64(31))) * MIXER + targets
    return Known(mixed, sources, targets)


def keys_of(side: Side, tags: Sequence[int] = ()) -> np.ndarray:
    """A number of 64 bits for each segment, by its pieces and their order, without a tag before."""
    starts, ends = np.asarray(side.offsets[:-1]), np.asarray(side.offsets[1:])
    if len(tags) and len(side.ids):
        first = np.asarray(side.ids)[np.minimum(starts, len(side.ids) - 1)]
        starts = starts + ((starts < ends) & np.isin(first, tags))
    places = np.arange(len(side.ids)) - np.repeat(starts, np.diff(side.offsets))
    mixed = (np.asarray(side.ids, dtype=np.uint64) + np.uint64(1)) * ODD
    mixed ^= mixed >> np.uint64(29)
    mixed *= (places + 1).astype(np.uint64) * ODD | np.uint64(1)
    mixed ^= mixed >> np.uint64(32)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(mixed * ODD, dtype=np.uint64)])
    return (sums[ends] - sums[starts]) * ODD + (ends - starts).astype(np.uint64)
