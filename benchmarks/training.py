"""How fast a config trains here: `python benchmarks/training.py configs/multi30k.yaml`.

Prepares the data if needed, then times updates of a new model on the batches of the first epoch.
Prints real target tokens a second (padding does not count), padding and peak memory. Timings on a
shared machine mean something as ratios within one run only: alternate what you compare.
"""

import argparse
import statistics
import time

from seq2seq.config import load
from seq2seq.prepare import prepare
from seq2seq.train import new_model, training_batches
from seq2seq.training.learner import Learner
from seq2seq.training.loop import reseed
from seq2seq.training.precision import NAMES, choose_precision
from seq2seq.training.progress import peak_memory
from seq2seq.training.schedule import learning_rate

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
    learner = Learner(new_model(config, prepared.tokenizers), config.training)
    batches = training_batches(config, prepared)
    updates = batches.updates_of(0, config.training.accumulate)[: arguments.updates + WARM_UP]

    rates = []
    for number, numbers in enumerate(updates):
        started = time.perf_counter()
        reseed(config.seed, number)
        own = [batches.collate(pairs) for pairs in numbers]
        tokens = sum(batch.target_tokens for batch in own)
        result = learner.update(own, tokens, learning_rate(number + 1, config.training, {}))
        result.loss.item()  # which waits until a GPU is done
        rates.append(tokens / (time.perf_counter() - started))

    precision = NAMES[choose_precision(config.training.precision, learner.device)]
    print(f"| {arguments.config} {' '.join(arguments.set)} | {precision} ", end="")
    print(f"| {statistics.median(rates[WARM_UP:]):,.0f} target tokens/s ", end="")
    print(f"| {batches.padding(batches.epoch(0)):.1%} padding | {peak_memory() / 1e6:,.0f} MB |")


if __name__ == "__main__":
    main()
