"""The training loop, one function.

It knows nothing of text: `validate` gives scores, `save` writes a checkpoint, `log` shows what
happens, `stop` tells whether a signal came.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from seq2seq.config import Training
from seq2seq.data.batches import Batches
from seq2seq.models import Seq2Seq
from seq2seq.training.checkpoint import Progress
from seq2seq.training.optimizer import set_learning_rate
from seq2seq.training.progress import Log
from seq2seq.training.schedule import learning_rate
from seq2seq.training.update import update

Validate = Callable[[Progress], dict[str, float]]


def train(
    model: Seq2Seq,
    optimizer: torch.optim.Optimizer,
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

    What comes of it depends on the config and the state of model, optimizer and random numbers
    alone: a training that was stopped and went on ends in the same bits as one that was not.
    """
    device = next(model.parameters()).device
    started = time.monotonic() - progress.seconds
    last_saved = progress.update

    def judged(progress: Progress) -> Progress:
        scores = validate(progress)
        log.validated(progress, scores)
        progress = progress.judged(scores.get(config.metrics[0]), config.metrics[0])
        return replace(progress, seconds=time.monotonic() - started)

    while not (progress.limit(config) or stop()):
        updates = batches.updates_of(progress.epoch, config.accumulate)
        for numbers in updates[progress.position :]:
            rate = learning_rate(progress.update + 1, config, progress.scores)
            set_learning_rate(optimizer, rate)
            result = update(
                model,
                optimizer,
                [batches.collate(pairs, progress.epoch).to(device) for pairs in numbers],
                label_smoothing=config.label_smoothing,
                clip_norm=config.clip_norm,
            )
            progress = progress.after_update(len(updates), time.monotonic() - started)
            log.updated(progress, result, rate, len(updates))

            if progress.update % config.validate_every == 0:
                progress = judged(progress)
                save(progress)
                last_saved = progress.update
            if progress.limit(config) or stop():
                break
        del updates, numbers  # before the next epoch is made, which takes as much memory
    if not stop() and str(progress.update) not in progress.scores:
        progress = judged(progress)  # the end always is, even if a stop came just before it
        save(progress)
    elif last_saved < progress.update:
        save(progress)
    return progress
