"""The training loop, one function.

It knows nothing of text: `validate` gives scores, `save` writes a checkpoint, `log` shows what
happens, `stop` tells whether a signal came.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from seq2seq import distributed
from seq2seq.config import Training
from seq2seq.data.batches import Batches, share
from seq2seq.training.checkpoint import Progress
from seq2seq.training.learner import Learner, diverged
from seq2seq.training.progress import Log, Scores
from seq2seq.training.ranking import PERPLEXITY
from seq2seq.training.schedule import learning_rate

Validate = Callable[[Progress], Scores]


def train(
    learner: Learner,
    batches: Batches,
    config: Training,
    *,
    progress: Progress,
    validate: Validate,
    save: Callable[[Progress], None],
    log: Log,
    stop: Callable[[], bool],
) -> Progress:
    """Trains until a limit of the config is reached or `stop` is true; the progress made.

    What comes of it depends on the config and the state of the learner alone: a training that was
    stopped and went on ends in the same bits as one that was not. Several processes do as one:
    what they must agree on is summed before each update.
    """
    metric = config.metrics[0]  # the judging one
    started = time.monotonic() - progress.seconds
    kept = progress  # as it was when it was last saved
    stopped = False

    def seconds() -> float:
        return time.monotonic() - started

    def judged(progress: Progress) -> Progress:
        log.sum_up()
        learner.check()
        scores = validate(progress)
        log.validated(progress, scores)
        if not math.isfinite(scores.valid.get(PERPLEXITY, 0.0)):
            raise diverged(f"after update {progress.update:,} the perplexity is beyond all numbers")
        return progress.judged(scores.valid, metric, scores.chance)

    def saved(progress: Progress) -> Progress:
        log.sum_up()
        save(replace(progress, seconds=seconds()))
        return progress

    while not (stopped or progress.limit(config)):
        updates = batches.updates_of(progress.epoch, config.accumulate)
        for numbers in updates[progress.position :]:
            own = [
                batches.collate(pairs, progress.epoch)
                for pairs in share(numbers, distributed.rank(), distributed.size())
            ]
            tokens, stops, spent = distributed.total(
                sum(batch.target_tokens for batch in own),
                stop(),
                seconds() if distributed.leads() else 0.0,
            )
            progress = replace(progress, seconds=spent)
            stopped = stops > 0
            if stopped or progress.limit(config):
                break
            rate = learning_rate(progress.update + 1, config, progress.ranks(metric))
            reseed(batches.seed, progress.update)
            learner.unfreeze(progress.update)
            result = learner.update(own, int(tokens), rate)
            progress = progress.after_update(len(updates))
            log.updated(progress, result, rate, len(updates))
            if progress.update % config.log_every == 0:
                learner.check()  # which waits for the device, as the log has just done
            if progress.update % config.validate_every == 0:
                progress = judged(progress)
                kept = saved(progress)
        del updates, numbers  # before the next epoch is made, which takes as much memory
    if not stopped and str(progress.update) not in progress.scores:
        progress = judged(progress)
        saved(progress)
    elif kept.update < progress.update or (progress.limit(config) and not kept.limit(config)):
        saved(progress)  # that time is over, too: else the same command would go on
    return progress


def reseed(seed: int, update: int) -> None:
    """Makes the random numbers of an update in this process a function of nothing else."""
    mixed = np.random.SeedSequence((seed, update, distributed.rank()))
    torch.manual_seed(int(mixed.generate_state(1, np.uint64)[0]))
