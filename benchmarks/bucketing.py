"""What batches of similar lengths cost in quality: `python benchmarks/bucketing.py CONFIG`.

Trains the config twice a seed, with batches by length and with batches of pairs at random, of as
many pairs each, so that both make the same number of updates an epoch. Prints the best scores on
the validation set, the padding and the minutes.
"""

import argparse
import json

import numpy as np

from seq2seq.config import Config, load
from seq2seq.data.batches import Batches
from seq2seq.runs import RUNS
from seq2seq.train import train


class AtRandom(Batches):
    """Batches of pairs at random, as many a batch as batches by length have on average."""

    def epoch(self, number: int) -> list[np.ndarray]:
        """The pairs of each batch of an epoch."""
        count = len(super().epoch(number))
        return np.array_split(self.mixture.draw(self.seed, number), count)


def trained(config: Config, batches: type[Batches]) -> str:
    """A row of the table: what a training came to."""
    import seq2seq.train

    seq2seq.train.Batches = batches  # type: ignore[attr-defined]
    how = "at random" if batches is AtRandom else "by length"
    name = f"{config.name}-{how.replace(' ', '-')}-{config.seed}"
    train(config.model_copy(update={"name": name}))
    scores = json.loads((RUNS / name / "best/scores.json").read_text())["valid"]
    records = [
        json.loads(line) for line in (RUNS / name / "metrics.jsonl").read_text().splitlines()
    ]
    minutes = max(record.get("seconds", 0) for record in records) / 60
    return f"| {how} | {config.seed} | {scores['bleu']:.2f} | {scores['ppl']:.2f} | {minutes:.1f} |"


def main() -> None:
    """Trains, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    print("| batches | seed | BLEU, valid | PPL, valid | minutes |")
    print("| --- | --- | ---: | ---: | ---: |")
    for seed in options.seeds:
        config = load(options.config, [*options.set, f"seed={seed}"])
        prepared = {"prepared": f"data/prepared/{config.name}-{seed}"}
        config = config.model_copy(update={"data": config.data.model_copy(update=prepared)})
        for batches in (Batches, AtRandom):
            print(trained(config, batches), flush=True)


if __name__ == "__main__":
    main()
