"""How fast text becomes batches, and in how much memory.

    python benchmarks/data.py SOURCE TARGET [--pairs 200000 1000000 5000000] [--workers 1 2]

SOURCE and TARGET are two aligned files (plain or gzip), repeated with a counter in each line until
there are enough pairs. Beside each preparation stands the `sentencepiece` library encoding the same
lines alone in as many processes. Then a store is opened, and an epoch put into batches, at 1, 10
and 100 million pairs of made-up lengths.
"""

import argparse
import gzip
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq import prepare
from seq2seq.config import Config
from seq2seq.data.store import SIDES, Side, Store
from seq2seq.prepare import ROWS
from seq2seq.text.archive import unpacked

RULES = ["empty", {"rule": "length", "max": 100}, "ratio", "duplicates"]


def grow(path: Path, grown: Path, pairs: int) -> None:
    """Repeats the lines of a file, each with its number, until there are so many."""
    with unpacked(path, None, limit=1 << 40) as stream:
        lines = [line.rstrip(b"\r\n") for line in stream]
    with gzip.open(grown, "wb", compresslevel=1) as file:
        for number in range(pairs):
            file.write(b"%s %d\n" % (lines[number % len(lines)], number))


def config_of(folder: Path) -> Config:
    """Preparation as it is usual: four rules, one vocabulary."""
    sides = {"source": str(folder / "text.source.gz"), "target": str(folder / "text.target.gz")}
    valid = {side: str(folder / f"valid.{side}.gz") for side in SIDES}
    return Config.model_validate(
        {
            "name": "benchmark",
            "data": {
                "train": [sides],
                "valid": valid,
                "filters": RULES,
                "prepared": str(folder / "prepared"),
            },
            "tokenizer": {"training_sentences": 100_000},
        }
    )


def prepared(folder: Path, workers: int) -> dict[str, float]:
    """Seconds of each step of a preparation."""
    config = config_of(folder)
    home = prepare.folder_of(config)
    seconds: dict[str, float] = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = action()
        seconds[name] = time.perf_counter() - started
        return result

    preparation = timed("find", lambda: prepare.Preparation(config, home, workers))
    timed("clean", lambda: preparation._cleaned("train"))
    timed("tokenizer", preparation.make_tokenizers)
    timed("encode", lambda: preparation.make_store("train"))
    return seconds


def alone(folder: Path, share: int, shares: int) -> None:
    """Reads the lines and encodes a share of them with sentencepiece, and nothing else."""
    from sentencepiece import SentencePieceProcessor

    processors = [
        SentencePieceProcessor(model_file=str(folder / f"prepared/tokenizer.{side}.model"))
        for side in ("source", "target")
    ]
    with ExitStack() as stack:
        files = [gzip.open(folder / f"text.{side}.gz", "rt") for side in SIDES]  # noqa: SIM115
        pairs = zip(*map(stack.enter_context, files), strict=True)
        number = 0
        while some := list(islice(pairs, ROWS)):
            if number % shares == share:
                for processor, lines in zip(processors, zip(*some, strict=True), strict=True):
                    processor.encode([line.rstrip("\n") for line in lines], num_threads=1)
            number += 1


def sentencepiece(folder: Path, workers: int) -> float:
    """Seconds that sentencepiece takes for the same lines."""
    started = time.perf_counter()
    if workers == 1:
        alone(folder, 0, 1)
    else:
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=alone, args=(folder, n, workers)) for n in range(workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    return time.perf_counter() - started


def peak(who: int) -> float:
    """The most memory that this process (or one of its children) has had, in MB."""
    return resource.getrusage(who).ru_maxrss / 1000


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own, whose memory is counted from nothing."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_put, args=(queue, function, arguments))
    process.start()
    result = queue.get()
    process.join()
    return result


def _put(queue: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    result = function(*arguments)
    memory = peak(resource.RUSAGE_SELF), peak(resource.RUSAGE_CHILDREN)
    queue.put((result, *memory))


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def preparations(source: Path, target: Path, sizes: list[int], workers: list[int]) -> Iterator[str]:
    """The table of preparations."""
    yield row(
        "pairs",
        "workers",
        "clean",
        "encode",
        "lines/s",
        "sentencepiece alone",
        "ratio",
        "tokenizer",
        "peak memory, a worker's",
    )
    yield row(*["---:"] * 9)
    for pairs in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for side, file in zip(SIDES, (source, target), strict=True):
                grow(file, folder / f"text.{side}.gz", pairs)
                grow(file, folder / f"valid.{side}.gz", 1000)
            for count in workers:
                for file in sorted((folder / "prepared").rglob("*"), reverse=True):
                    file.rmdir() if file.is_dir() else file.unlink()
                seconds, own, child = in_process(prepared, folder, count)
                other, _, _ = in_process(sentencepiece, folder, count)
                ours = seconds["find"] + seconds["clean"] + seconds["encode"]
                yield row(
                    f"{pairs:,}",
                    str(count),
                    f"{seconds['clean']:.1f} s",
                    f"{seconds['encode']:.1f} s",
                    f"{2 * pairs / ours:,.0f}",
                    f"{2 * pairs / other:,.0f}",
                    f"{other / ours:.2f}",
                    f"{seconds['tokenizer']:.1f} s",
                    f"{own:,.0f} MB, {child:,.0f} MB",
                )


def made_up(pairs: int) -> Store:
    """A store of made-up lengths, whose ids are all the same."""
    random = np.random.default_rng(1)
    ids = np.zeros(1, np.uint16)
    target = np.clip(random.lognormal(3, 0.6, pairs).astype(np.float32), 1, 250).astype(np.uint32)
    source = np.maximum(1, target + random.integers(-5, 6, pairs, dtype=np.int8)).astype(np.uint32)
    offsets = np.broadcast_to(np.zeros(1, np.int64), pairs + 1)
    return Store(Side(ids, offsets, source), Side(ids, offsets, target))


def shuffled(folder: Path, pairs: int) -> tuple[float, float, float]:
    """Seconds to open a store and to put an epoch into batches, and bytes a pair for that."""
    from seq2seq.data.batches import Batches  # loads torch, which workers do without

    started = time.perf_counter()
    store = Store.open(folder)
    opened = time.perf_counter() - started
    for side in store:
        side.lengths.sum()  # into the memory of the system, which counts as ours
    batches = Batches(store, 4096)
    before = peak(resource.RUSAGE_SELF)
    started = time.perf_counter()
    for epoch in range(2):
        batches.epoch(epoch)
    seconds = (time.perf_counter() - started) / 2
    return opened, seconds, (peak(resource.RUSAGE_SELF) - before) * 1e6 / pairs


def write_lengths(folder: Path, pairs: int) -> None:
    """Writes a made-up store as one on disk."""
    for name, side in zip(SIDES, made_up(pairs), strict=True):
        for part, array in side._asdict().items():
            np.save(folder / f"{name}.{part}.npy", array)


def epochs(sizes: list[int]) -> Iterator[str]:
    """The table of epochs."""
    yield row("pairs", "open", "an epoch into batches", "memory")
    yield row(*["---:"] * 4)
    for pairs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            in_process(write_lengths, Path(folder), pairs)
            (opened, seconds, memory), _, _ = in_process(shuffled, Path(folder), pairs)
        cells = f"{1000 * opened:.1f} ms", f"{seconds:.1f} s", f"{memory:.1f} bytes a pair"
        yield row(f"{pairs:,}", *cells)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--pairs", type=int, nargs="*", default=[200_000, 1_000_000, 5_000_000])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--epochs", type=int, nargs="*", default=[10**6, 10**7, 10**8])
    options = parser.parse_args()
    for line in preparations(options.source, options.target, options.pairs, options.workers):
        print(line, flush=True)
    print()
    for line in epochs(options.epochs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
