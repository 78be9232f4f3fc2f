"""How fast a config trains here: `python benchmarks/training.py configs/multi30k.yaml`.

Prepares the data if needed, then times updates of a new model on the batches of the first epoch.
Prints real target tokens a second (padding does not count), the share of the peak of a large matrix
product that the arithmetic reaches, padding and peak memory. Timings on a shared machine mean
something as ratios within one run only: alternate what you compare.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from seq2seq.config import load
from seq2seq.models.products import linear
from seq2seq.prepare import prepare
from seq2seq.train import new_learner, training_batches
from seq2seq.training.loop import reseed
from seq2seq.training.precision import NAMES
from seq2seq.training.progress import peak_memory
from seq2seq.training.schedule import learning_rate

WARM_UP = 8  # updates that are not counted
LARGE = 4096  # rows and columns of the matrices whose product is the peak


def operations_of(x: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    """Those of a product of oneDNN, which PyTorch's counter does not know."""
    return 2 * math.prod(x) * weight[0]


BY_ONEDNN = {torch.ops.mkldnn._linear_pointwise: operations_of}


def main() -> None:
    """Times updates and prints a line of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--updates", type=int, default=40)
    arguments = parser.parse_args()

    config = load(arguments.config, arguments.set)
    prepared = prepare(config)
    learner = new_learner(config, prepared.tokenizers)
    batches = training_batches(config, prepared)
    updates = batches.updates_of(0, config.training.accumulate)[: arguments.updates + WARM_UP]

    def update(number: int) -> int:
        reseed(config.seed, number)
        own = [batches.collate(pairs) for pairs in updates[number]]
        tokens = sum(batch.target_tokens for batch in own)
        rate = learning_rate(number + 1, config.training, {})
        learner.update(own, tokens, rate).loss.item()  # which waits until a GPU is done
        return tokens

    with FlopCounterMode(display=False, custom_mapping=BY_ONEDNN) as counter:
        counted = update(0)
    operations = counter.get_total_flops() / counted  # a token
    rates = []
    for number in range(1, len(updates)):
        seconds, tokens = timed(lambda number=number: update(number))
        rates.append(tokens / seconds)
    rate, memory = statistics.median(rates[WARM_UP - 1 :]), peak_memory()

    precision = learner.model.precision or torch.float32
    share = rate * operations / peak(precision, learner.device)
    print(f"| {arguments.config} {' '.join(arguments.set)} | {NAMES[precision]} ", end="")
    print(f"| {rate:,.0f} target tokens/s | {operations / 1e6:.0f} MFLOP a token ", end="")
    print(f"| {share:.0%} of the peak ", end="")
    print(f"| {batches.padding(batches.epoch(0)):.1%} padding | {memory / 1e6:,.0f} MB |")


def peak(precision: torch.dtype, device: torch.device) -> float:
    """Operations a second of a large matrix product."""
    matrix = torch.ones(LARGE, LARGE, dtype=precision, device=device)

    def multiply() -> float:
        return linear(matrix, matrix)[0, 0].item()

    return 2 * LARGE**3 / min(timed(multiply)[0] for _ in range(5))


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """The seconds that a function takes, and what it gives."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
