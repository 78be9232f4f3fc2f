"""Laws of the store: ids on disk or in memory come back, and a store opens without reading."""

import resource
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.data.store import SIDES, ArrayWriter, Side, Store, StoreWriter, smallest_type

ids = st.lists(st.integers(0, 70_000), max_size=6)
pairs = st.lists(st.tuples(ids, ids), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def _segments(store: Store) -> list[tuple[list[int], list[int]]]:
    return [
        tuple(side.ids[side.offsets[row] : side.offsets[row + 1]].tolist() for side in store)
        for row in range(len(store))
    ]


def _of(block: list) -> Store:
    return Store.of([source for source, _ in block], [target for _, target in block])


def _write(folder: Path, blocks: list, vocab_sizes: tuple[int, int]) -> Store:
    with StoreWriter(folder, vocab_sizes) as writer:
        for block in blocks:
            writer.append(_of(block))
    return Store.open(folder)


@given(blocks=st.lists(pairs, max_size=3))
@settings(max_examples=25, deadline=None)
def test_what_is_stored_on_disk_or_in_memory_comes_back(folder, blocks):
    everything = [*chain.from_iterable(blocks)]
    on_disk, in_memory = _write(folder, blocks, (70_001, 70_001)), _of(everything)
    for store in (on_disk, in_memory):
        assert len(store) == len(everything)
        assert _segments(store) == everything
        for side, number in ((store.source, 0), (store.target, 1)):
            assert side.lengths.tolist() == [len(pair[number]) for pair in everything]
            assert np.array_equal(np.diff(side.offsets), side.lengths)


@given(blocks=st.lists(pairs, max_size=3))
@settings(max_examples=25, deadline=None)
def test_in_how_many_pieces_it_was_written_changes_no_byte(tmp_path_factory, blocks):
    folders = [tmp_path_factory.mktemp(name) for name in ("some", "whole")]
    _write(folders[0], blocks, (70_001, 9_999_999))
    _write(folders[1], [[*chain.from_iterable(blocks)]], (70_001, 9_999_999))
    one, other = ({file.name: file.read_bytes() for file in one.iterdir()} for one in folders)
    assert one == other
    assert set(one) == {f"{side}.{part}.npy" for side in SIDES for part in Side._fields}


@given(segments=st.lists(ids, max_size=8))
@settings(max_examples=25, deadline=None)
def test_segments_joined_are_those_given_one_by_one(segments):
    one = Side.of(segments, np.uint32)
    lengths = np.array([len(segment) for segment in segments], np.uint32)
    joined = Side.joined(np.array([*chain.from_iterable(segments)], np.uint32), lengths)
    again = Side.of([np.array(segment, np.int64) for segment in segments], np.uint32)
    for other in (joined, again):
        assert all(map(np.array_equal, one, other))
        assert [part.dtype for part in other] == [part.dtype for part in one]


def test_a_store_is_memory_mapped_with_the_smallest_type_that_holds_the_ids(tmp_path):
    largest = 65_535
    store = _write(tmp_path, [[([largest], [largest + 1])]], (largest + 1, largest + 2))
    assert all(isinstance(array, np.memmap) for side in store for array in side)
    assert (store.source.ids.dtype, store.target.ids.dtype) == (np.uint16, np.uint32)
    assert _segments(store) == [([largest], [largest + 1])]


def test_a_length_beyond_two_bytes_is_kept(tmp_path):
    long = [7] * 70_000
    store = _write(tmp_path, [[(long, [1])], [([2], long)]], (10, 10))
    assert _segments(store) == [(long, [1]), ([2], long)]
    assert store.source.lengths.tolist() == [70_000, 1]


def test_a_store_of_any_size_opens_at_once_and_reads_nothing(tmp_path):
    count, length = 10_000_000, 30
    for side in SIDES:
        for part, size, kind in (
            ("ids", count * length, np.uint16),
            ("offsets", count + 1, np.int64),
            ("lengths", count, np.uint32),
        ):
            path = tmp_path / f"{side}.{part}.npy"
            np.lib.format.open_memmap(path, "w+", kind, (size,)).flush()  # a file of holes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    store = Store.open(tmp_path)
    assert time.monotonic() - start < 0.5
    assert len(store) == count
    assert store.source.ids[-1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_an_error_while_writing_comes_through(tmp_path):
    def write():
        with StoreWriter(tmp_path, (10, 10)):
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        write()


def test_an_id_that_the_type_cannot_hold_is_refused():
    with pytest.raises(OverflowError):
        Side.of([[70_000]], np.uint16)


@given(st.integers(1, 1 << 20))
@settings(max_examples=25, deadline=None)
def test_the_smallest_type_holds_the_largest_id(vocab_size):
    assert np.iinfo(smallest_type(vocab_size)).max >= vocab_size - 1


@given(blocks=st.lists(st.lists(st.integers(0, 9), max_size=9)), wide=st.booleans())
@settings(max_examples=25, deadline=None)
def test_an_array_written_in_pieces_is_the_file_that_numpy_saves(folder, blocks, wide):
    dtype = np.dtype(np.int64 if wide else np.uint16)
    writer = ArrayWriter(folder / "pieces.npy", dtype)
    for block in blocks:
        writer.append(block)
    writer.close()
    np.save(folder / "whole.npy", np.array([value for block in blocks for value in block], dtype))
    assert (folder / "pieces.npy").read_bytes() == (folder / "whole.npy").read_bytes()
