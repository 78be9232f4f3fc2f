"""How fast a model translates here: `python benchmarks/decoding.py runs/multi30k FILE`.

Translates the lines of a file by each engine, precision and beam that is asked for, in turn, for
some rounds, and prints the median of lines a second, loading not counted. Each has a process of its
own: threads of one engine that wait would slow another down by a third. Timings on a shared machine
mean something as ratios within one run only.
"""

import argparse
import itertools
import multiprocessing
import statistics
import time
from pathlib import Path

from seq2seq.decoding.choice import open_engine
from seq2seq.decoding.translator import Translator
from seq2seq.runs import open_model

WARM_UP = 32  # lines that are translated before any are timed


def main() -> None:
    """Times all that was asked for and prints a line of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--engines", nargs="+", default=["pytorch", "ctranslate2"])
    parser.add_argument("--precisions", nargs="+", default=["fp32"])
    parser.add_argument("--beams", nargs="+", type=int, default=[5, 1])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    every = [
        (f"engine={engine}", f"precision={precision}", f"beam={beam}")
        for engine, precision, beam in itertools.product(
            arguments.engines, arguments.precisions, arguments.beams
        )
    ]
    rates: dict[tuple[str, ...], list[float]] = {options: [] for options in every}
    for _ in range(arguments.rounds):
        for options in every:
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                rate = alone.apply(measure, (arguments.model, arguments.file, options))
            rates[options].append(rate)
    for options, found in rates.items():
        print(f"| {' | '.join(options)} | {statistics.median(found):,.1f} lines/s |")


def measure(model: Path, file: Path, options: tuple[str, ...]) -> float:
    """Lines a second."""
    opened = open_model(model, [f"decoding.{option}" for option in options])
    translator = Translator(
        open_engine(opened.folder, opened.config, opened.tokenizers),
        opened.tokenizers,
        opened.config.decoding,
        opened.config.data,
    )
    lines = file.read_text(encoding="utf-8").splitlines()
    translator.translate(lines[:WARM_UP])
    before = time.perf_counter()
    translator.translate(lines)
    return len(lines) / (time.perf_counter() - before)


if __name__ == "__main__":
    main()
