"""Token ids on disk, memory-mapped: a set of any size opens at once.

A store is a folder with three NumPy arrays a side: the ids of all segments one after the other,
where each segment begins (one entry more than there are segments), and how long it is. Special ids
are not stored, but for the tag that may stand before a source.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

SIDES = ("source", "target")


class Side(NamedTuple):
    """One side of all pairs: segment n is ids[offsets[n] : offsets[n + 1]]."""

    ids: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(
        cls, segments: Sequence[Sequence[int] | np.ndarray], dtype: npt.DTypeLike = np.int64
    ) -> "Side":
        """Segments in memory."""
        lengths = np.fromiter(map(len, segments), np.uint32, len(segments))
        return cls.joined(np.array(list(chain.from_iterable(segments)), dtype), lengths)

    @classmethod
    def joined(cls, ids: np.ndarray, lengths: np.ndarray) -> "Side":
        """Segments of these lengths, whose ids stand one after the other."""
        return cls(ids, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), lengths)

    def segment(self, number: int) -> list[int]:
        """The ids of one."""
        ids: list[int] = self.ids[self.offsets[number] : self.offsets[number + 1]].tolist()
        return ids


class Store(NamedTuple):
    """Pairs of segments as token ids."""

    source: Side
    target: Side

    def __len__(self) -> int:
        return len(self.source.offsets) - 1

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Maps what a StoreWriter wrote."""
        return cls(
            *(
                Side(*(np.load(folder / f"{side}.{part}.npy", mmap_mode="r") for part in PARTS))
                for side in SIDES
            )
        )

    @classmethod
    def of(cls, sources: Iterable[list[int]], targets: Iterable[list[int]]) -> "Store":
        """A store in memory."""
        return cls(Side.of(list(sources)), Side.of(list(targets)))


PARTS = Side._fields
STORE_FILES = frozenset(f"{side}.{part}.npy" for side in SIDES for part in PARTS)


class _Writers(NamedTuple):
    ids: "ArrayWriter"
    offsets: "ArrayWriter"
    lengths: "ArrayWriter"


class StoreWriter:
    """Writes a store into a folder, a piece at a time; complete when the `with` block ends."""

    def __init__(self, folder: Path, vocab_sizes: tuple[int, int]) -> None:
        self._writers = [
            _Writers(
                ArrayWriter(folder / f"{side}.ids.npy", smallest_type(vocab)),
                ArrayWriter(folder / f"{side}.offsets.npy", np.dtype(np.int64)),
                ArrayWriter(folder / f"{side}.lengths.npy", np.dtype(np.uint32)),
            )
            for side, vocab in zip(SIDES, vocab_sizes, strict=True)
        ]
        for writers in self._writers:
            writers.offsets.append([0])

    def append(self, some: Store) -> None:
        """Writes some pairs behind the others."""
        for writers, side in zip(self._writers, some, strict=True):
            writers.offsets.append(writers.ids.length + side.offsets[1:])
            writers.ids.append(side.ids)
            writers.lengths.append(side.lengths)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:  # each is closed, even if the disk is too full for another
            for writer in chain.from_iterable(self._writers):
                stack.callback(writer.close)


class ArrayWriter:
    """A one-dimensional .npy file that grows."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.length = 0
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 (closed by `close`)
        self._write_header()

    def append(self, values: np.ndarray | list[int]) -> None:
        """Writes values behind the others."""
        array = np.asarray(values, self.dtype)
        self._file.write(array.tobytes())
        self.length += len(array)

    def close(self) -> None:
        """Writes the length where it belongs, in the room that NumPy's header leaves for it."""
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.length,),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def smallest_type(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
