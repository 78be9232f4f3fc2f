"""What a model makes of translations that are given to it: forced decoding.

The same numbers as when search had written them, token by token, but in one pass.

Shapes: B pairs, T target positions, S source positions, D width, V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seq2seq.data.batches import Batches
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import PAD
from seq2seq.models import Seq2Seq

LOGITS = 1 << 22  # that are held at once


class Judged(NamedTuple):
    """How a model sees a given translation; the last position is that of </s>."""

    log_probabilities: np.ndarray  # (T + 1,) of each token and </s>, in nats
    attention: np.ndarray | None  # (..., T + 1, S + 1): what of the source each was written from

    @property
    def log_probability(self) -> float:
        """Of the whole translation."""
        return float(self.log_probabilities.sum(dtype=np.float64))


def mean_head(weights: Tensor) -> Tensor:
    """The mean (B, T, S) over layers and heads of weights (B, layers, heads, T, S)."""
    return weights.mean(dim=(1, 2))


def every_head(weights: Tensor) -> Tensor:
    """All weights (B, layers, heads, T, S), as they are."""
    return weights


@torch.inference_mode()
def judge(
    model: Seq2Seq,
    pairs: Store,
    batch_tokens: int,
    *,
    attention: bool = False,
    reduced: Callable[[Tensor], Tensor] = mean_head,
) -> list[Judged]:
    """What the model makes of some pairs, in order.

    `attention` asks for the weights of cross-attention too, `reduced` to the mean over layers and
    heads, or to `every_head`; they are None if the model has none.
    """
    if not len(pairs):
        return []
    device = next(model.parameters()).device
    batches = Batches(pairs, batch_tokens)
    judged: list[Judged | None] = [None] * len(pairs)
    training = model.training
    model.eval()
    model.keep_attention(attention)
    for numbers in batches.in_order():
        batch = batches.collate(numbers).to(device)
        hidden = model(batch.source, batch.target_in)
        weights = None
        if attention and model.attention is not None:
            weights = reduced(model.attention).float().cpu().numpy()  # (B, ..., T, S)
        found = _of_tokens(model, hidden, batch.target_out).cpu().numpy()
        for row, number in enumerate(numbers):
            read, written = (int(side.lengths[number]) + 1 for side in pairs)
            seen = None if weights is None else weights[row, ..., :written, :read]
            judged[number] = Judged(found[row, :written], seen)
    model.keep_attention(False)
    model.train(training)
    return [one for one in judged if one is not None]


def _of_tokens(model: Seq2Seq, hidden: Tensor, tokens: Tensor) -> Tensor:
    """The log-probabilities of tokens (B, T), by hidden states (B, T, D); of padding, nothing."""
    flat, wanted = hidden.flatten(0, 1), tokens.flatten()
    size = max(1, LOGITS // len(model.output_weight))
    found = [
        -torch.nn.functional.cross_entropy(
            model.project(some).float(), true, ignore_index=PAD, reduction="none"
        )
        for some, true in zip(flat.split(size), wanted.split(size), strict=True)
    ]
    return torch.cat(found).view(tokens.shape)
