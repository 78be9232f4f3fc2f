"""How fast a config trains here: `python benchmarks/training.py configs/multi30k.yaml`.

Prepares the data if needed, then times updates of a new model on the batches of the first epoch.
Prints real target tokens a second (padding does not count), padding and peak memory. Timings on a
shared machine mean something as ratios within one run only: alternate what you compare.
"""

import argparse
import resource
import statistics
import time

import torch

from seq2seq.config import load
from seq2seq.data.batches import Batches
from seq2seq.models import build
from seq2seq.prepare import prepare
from seq2seq.training.optimizer import build_optimizer
from seq2seq.training.update import update

WARM_UP = 5  # updates that are not counted


def main() -> None:
    """Times updates and prints a line of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--updates", type=int, default=40)
    arguments = parser.parse_args()

    config = load(arguments.config, arguments.set)
    prepared = prepare(config)
    torch.manual_seed(config.seed)
    model = build(config, *map(len, prepared.tokenizers))
    optimizer = build_optimizer(model, config.training)
    batches = Batches(prepared.train, config.training.batch_tokens, seed=config.seed)
    updates = batches.updates_of(0, config.training.accumulate)[: arguments.updates + WARM_UP]

    rates = []
    for numbers in updates:
        started = time.perf_counter()
        result = update(
            model,
            optimizer,
            [batches.collate(pairs) for pairs in numbers],
            label_smoothing=config.training.label_smoothing,
            clip_norm=config.training.clip_norm,
        )
        rates.append(result.tokens / (time.perf_counter() - started))

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {arguments.config} {' '.join(arguments.set)} ", end="")
    print(f"| {statistics.median(rates[WARM_UP:]):,.0f} target tokens/s ", end="")
    print(f"| {batches.padding(batches.epoch(0)):.1%} padding | {peak:,.0f} MB |")


if __name__ == "__main__":
    main()
