"""How long the segments are that a run learned from.

Lengths are in pieces, the end that is put behind each segment not counted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seq2seq.data.store import SIDES

BARS = 60  # at most, so that a histogram has a shape
CHUNK = 1 << 20  # lengths that are counted at once, so that memory stays flat


class Histogram(NamedTuple):
    """How many segments have which lengths: bars of equal width, and the whole in numbers."""

    width: int  # of a bar, in pieces
    counts: dict[str, list[int]]  # by side: segments from n * width up to (n + 1) * width
    numbers: dict[str, dict[str, int]]  # by side: median, 95 % and longest


def histogram(folder: Path) -> Histogram | None:
    """That of the store in a folder; None if it is not there."""
    paths = {side: folder / f"{side}.lengths.npy" for side in SIDES}
    if not all(path.is_file() for path in paths.values()):
        return None
    try:
        exact = {side: counted(np.load(path, mmap_mode="r")) for side, path in paths.items()}
    except (OSError, ValueError, TypeError, EOFError):  # altered: no lengths
        return None
    numbers = {side: described(counts) for side, counts in exact.items()}
    width = max(1, -(-max(len(counts) for counts in exact.values()) // BARS))
    return Histogram(
        width, {side: barred(counts, width) for side, counts in exact.items()}, numbers
    )


def counted(lengths: np.ndarray) -> np.ndarray:
    """How many segments have each length, from 0 to the longest."""
    total = np.zeros(1, np.int64)
    for start in range(0, len(lengths), CHUNK):
        some = np.bincount(lengths[start : start + CHUNK], minlength=len(total))
        some[: len(total)] += total
        total = some
    return total


def described(counts: np.ndarray) -> dict[str, int]:
    """The median, the length that 95 % do not exceed, and the longest."""
    share = np.cumsum(counts) / max(1, counts.sum())
    return {
        "median": int(np.searchsorted(share, 0.5)),
        "most": int(np.searchsorted(share, 0.95)),
        "longest": len(counts) - 1,
    }


def barred(counts: np.ndarray, width: int) -> list[int]:
    """Counts by length, added up to bars."""
    filled = np.pad(counts, (0, -len(counts) % width))
    return [int(bar) for bar in filled.reshape(-1, width).sum(axis=1)]


def told(numbers: dict[str, dict[str, int]], names: Sequence[str]) -> str:
    """A histogram in words; `names` are those of source and target."""
    return ". ".join(
        f"{name}: half have at most {one['median']:,} pieces, 95 % at most {one['most']:,}, "
        f"the longest {one['longest']:,}"
        for name, one in zip(names, numbers.values(), strict=True)
    )
