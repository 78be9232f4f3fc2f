"""One optimizer step, the same however its pairs are cut into batches."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from seq2seq.data.batches import Batch
from seq2seq.errors import UserError
from seq2seq.models import Seq2Seq
from seq2seq.training.loss import summed_loss


class Update(NamedTuple):
    """What an update saw, summed over its target tokens, in nats."""

    loss: float
    nll: float
    tokens: int
    gradient_norm: float  # before clipping


def update(
    model: Seq2Seq,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    *,
    label_smoothing: float,
    clip_norm: float,
) -> Update:
    """Learns from some batches together: losses are summed, and divided once by all tokens.

    Raises a UserError, before any weight has changed, if the gradient is not finite.
    """
    tokens = sum(batch.target_tokens for batch in batches)
    loss, nll = 0.0, 0.0
    for batch in batches:
        sums = summed_loss(model, batch, label_smoothing)
        (sums.smoothed / tokens).backward()
        loss += sums.smoothed.item()
        nll += sums.nll.item()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm or float("inf"))
    if not norm.isfinite():
        raise UserError(
            "the gradient is no longer a number: training has diverged; the last checkpoint is "
            "intact. Start over (--fresh) with a lower training.learning_rate or a longer "
            "training.warmup"
        )
    optimizer.step()
    optimizer.zero_grad()
    return Update(loss, nll, tokens, norm.item())
