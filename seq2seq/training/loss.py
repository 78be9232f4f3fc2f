"""Label-smoothed cross-entropy, summed over target tokens.

Shapes: B pairs, T target positions, N target tokens that are not padding, D width, V vocabulary.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.data.batches import Batch
from seq2seq.data.tokenizer import PAD
from seq2seq.models import Seq2Seq

CHUNK = 4_000_000  # logits held at a time: 16 MB, which stay in a processor's cache


class Loss(NamedTuple):
    """Sums over the target tokens of a batch, in nats."""

    smoothed: Tensor  # what training lowers
    nll: Tensor  # negative log-likelihood: what perplexity is made of


def summed_loss(model: Seq2Seq, batch: Batch, label_smoothing: float = 0.0) -> Loss:
    """The loss of a batch: of every token, `</s>` too, padding never.

    The target distribution puts 1 - label_smoothing on the true piece and spreads the rest evenly
    over the vocabulary (Szegedy et al. 2016, section 7).
    """
    hidden = model(batch.source, batch.target_in)
    real = batch.target_out != PAD
    weight = model.output_weight
    if not torch.is_grad_enabled():
        weight = weight.detach()  # else the function below would work out gradients for nothing
    smoothed, nll = ChunkedCrossEntropy.apply(
        hidden[real], weight, batch.target_out[real], label_smoothing
    )
    return Loss(smoothed, nll)


class ChunkedCrossEntropy(torch.autograd.Function):
    """The loss of hidden states (N, D) under an output projection (V, D), and its gradients.

    All logits at once would be the largest thing in memory by far, read and written many times
    over. So a chunk of them is computed, turned into its gradient in place, and used up before the
    next, in the forward pass already: the loss is a scalar, so backward only scales.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        vocab = weight.shape[0]
        learning = any(ctx.needs_input_grad)
        hidden_gradient = torch.empty_like(hidden if learning else hidden[:0])
        weight_gradient = torch.zeros_like(weight if learning else weight[:0])
        nll, uniform = hidden.new_zeros(()), hidden.new_zeros(())
        for start in range(0, len(hidden), size := max(1, CHUNK // vocab)):
            part = slice(start, start + size)
            true = targets[part, None]
            logits = hidden[part] @ weight.T  # (n, V)
            partition = logits.logsumexp(dim=1, keepdim=True)
            nll += (partition - logits.gather(1, true)).sum()
            if label_smoothing:
                uniform += (partition - logits.mean(dim=1, keepdim=True)).sum()
            if learning:
                # softmax minus the target distribution
                gradient = logits.sub_(partition).exp_()
                if label_smoothing:
                    gradient -= label_smoothing / vocab
                gradient.scatter_add_(1, true, gradient.new_full(true.shape, label_smoothing - 1))
                torch.mm(gradient, weight, out=hidden_gradient[part])
                weight_gradient.addmm_(gradient.T, hidden[part])
        ctx.gradients = hidden_gradient, weight_gradient
        ctx.mark_non_differentiable(nll)
        return (1 - label_smoothing) * nll + label_smoothing * uniform, nll

    @staticmethod
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.gradients
        return hidden_gradient.mul_(scale), weight_gradient.mul_(scale), None, None


@torch.inference_mode()
def perplexity(model: Seq2Seq, batches: Iterable[Batch], device: torch.device) -> float:
    """exp(nats per target token); the same however the pairs are cut into batches."""
    training = model.training
    model.eval()
    nats, tokens = 0.0, 0
    for batch in batches:
        nats += summed_loss(model, batch.to(device)).nll.item()
        tokens += batch.target_tokens
    model.train(training)
    return bounded_exp(nats / tokens)


def bounded_exp(nats: float) -> float:
    """exp, but infinity where a float cannot hold it."""
    return math.exp(nats) if nats < 700 else math.inf
