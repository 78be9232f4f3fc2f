"""Label-smoothed cross-entropy, summed over all that must be said.

Shapes: B pairs, T target positions, P passes over them, N tokens that must be said, n of them (of
all passes) at a time, D width, V vocabulary.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq import distributed
from seq2seq.config import Training
from seq2seq.data.batches import Batch, Batches
from seq2seq.data.tokenizer import PAD
from seq2seq.models import Seq2Seq, sayable
from seq2seq.models.products import linear, matmul

# Logits held at a time: on a processor 4 MB in bfloat16, which stay in its cache (found by trying:
# see benchmarks/README.md); on a GPU as many as keep it busy.
CHUNK = {"cpu": 2_000_000}
LARGE_CHUNK = 64_000_000


class Loss(NamedTuple):
    """Sums over the tokens that must be said of a batch, in nats."""

    smoothed: Tensor  # what training lowers
    nll: Tensor  # negative log-likelihood: what perplexity is made of


class Criterion(nn.Module):
    """A model with its loss: what is computed of a batch, and shared out to processes, as one."""

    def __init__(self, model: Seq2Seq, config: Training) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = config.label_smoothing
        self.r_drop = config.r_drop

    def forward(self, batch: Batch) -> Loss:
        """The loss of a batch. With r_drop, that of two passes, halved (Liang et al. 2021)."""
        return summed_loss(self.model, batch, self.label_smoothing, self.r_drop)


def summed_loss(
    model: Seq2Seq, batch: Batch, label_smoothing: float = 0.0, r_drop: float = 0.0
) -> Loss:
    """The loss of a batch: of every token, `</s>` too, padding never.

    The target distribution puts 1 - label_smoothing on the true piece and spreads the rest evenly
    over all pieces that can be said (Szegedy et al. 2016, section 7).
    """
    passes = 2 if r_drop else 1
    losses = []
    for hidden, weight, targets in predictions(model, batch.twice() if r_drop else batch):
        count = len(targets) // passes
        rows = hidden.view(passes, count, hidden.shape[1])
        losses.append(cross_entropy(rows, weight, targets[:count], label_smoothing, r_drop))
    smoothed, nll = (torch.stack(sums).sum() / passes for sums in zip(*losses, strict=True))
    return Loss(smoothed, nll)


class Predictions(NamedTuple):
    """What a model predicts at some positions, and what is true."""

    hidden: Tensor  # (N, D)
    weight: Tensor  # (V, D): its product with a hidden state gives logits, once they are `sayable`
    targets: Tensor  # (N,)


def predictions(model: Seq2Seq, batch: Batch) -> Iterator[Predictions]:
    """What the decoder predicts, and the encoder where it must say something, padding never."""
    if batch.masked is None:
        hidden = model(batch.source, batch.target_in)
    else:
        read = model.read(batch.source)
        hidden = model.decode(batch.target_in, model.remember(read))
        real = batch.masked != PAD
        yield Predictions(read["states"][real], model.source_weight, batch.masked[real])
    real = batch.target_out != PAD
    yield Predictions(hidden[real], model.output_weight, batch.target_out[real])


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float, r_drop: float = 0.0
) -> Loss:
    """The loss of the hidden states (P, N, D) of P passes, summed over these too.

    `weight` (V, D) is the output projection, `targets` (N,) are the true pieces. Two passes whose
    predictions p and q are apart cost `r_drop` / 2 times KL(p, q) + KL(q, p) more.
    """
    return Loss(*ChunkedCrossEntropy.apply(hidden, weight, targets, label_smoothing, r_drop))


def chunk_size(hidden: Tensor, weight: Tensor) -> int:
    """How many hidden states of each pass to compute logits of at a time."""
    return max(1, CHUNK.get(hidden.device.type, LARGE_CHUNK) // (len(hidden) * len(weight)))


class ChunkedCrossEntropy(torch.autograd.Function):
    """What `cross_entropy` computes, and its gradients.

    All logits at once would be the largest thing in memory by far, read and written many times
    over. So some of them are computed, turned into their gradient in place, and used up before the
    next, in the forward pass already: the loss is a scalar, so backward only scales.

    The gradient is softmax minus the target distribution. What label smoothing takes from it is the
    same for all logits that count, so that it can be taken from the products instead; and the mean
    logit, of which its loss is made, is a product with the mean row of the projection.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        label_smoothing: float,
        r_drop: float,
    ) -> tuple[Tensor, Tensor]:
        (passes, _, dim), vocab = hidden.shape, len(weight)
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        nll, uniform, apart = (weight.new_zeros(()) for _ in range(3))
        projection = weight.to(hidden.dtype)
        evenly = sayable(weight.new_zeros(vocab)).softmax(dim=0)  # as smoothing spreads it
        mean = evenly @ weight  # (D,)
        size = chunk_size(hidden, weight)
        # the same memory for all: new memory costs more than what is computed in it
        logits_memory = hidden.new_empty(passes * min(size, len(targets)), vocab)
        memory = logits_memory.to(weight.dtype)  # the same where the precision is
        hidden_memory = hidden.new_empty(len(logits_memory), dim)
        product = torch.empty_like(projection)
        for start in range(0, len(targets), size):
            some = hidden[:, start : start + size].reshape(-1, dim)  # (n, D)
            true = targets[start : start + size].repeat(passes)
            logits = sayable(matmul(some, projection.T, out=logits_memory[: len(some)]))  # (n, V)
            largest, true_logits = logits.amax(dim=1), logits.gather(1, true[:, None])[:, 0]
            differences = difference_of_halves(logits, weight.dtype) if r_drop else None
            probabilities = memory[: len(some)]
            torch.softmax(logits, dim=1, dtype=weight.dtype, out=probabilities)
            partition = largest - probabilities.amax(dim=1).log()
            # subtracted before they are summed: large sums would differ by little but rounding
            nll += (partition - true_logits).sum()
            if label_smoothing:
                uniform += (partition - some.to(weight.dtype) @ mean).sum()
            if differences is not None:
                apart += drawn_together(differences, partition, probabilities, r_drop / 2)
            share = probabilities.new_full((len(true), 1), label_smoothing - 1)
            gradient = logits.copy_(probabilities.scatter_add_(1, true[:, None], share))
            some_gradient = matmul(gradient, projection, out=hidden_memory[: len(some)])
            hidden_gradient[:, start : start + size] = some_gradient.view(passes, -1, dim)
            weight_gradient += matmul(gradient.T, some, out=product)
        if label_smoothing:
            hidden_gradient -= (label_smoothing * mean).to(hidden.dtype)
            sums = hidden.sum(dim=(0, 1), dtype=weight.dtype)
            weight_gradient.addr_(evenly, sums, alpha=-label_smoothing)
        ctx.gradients = hidden_gradient, weight_gradient
        ctx.mark_non_differentiable(nll)
        smoothed = (1 - label_smoothing) * nll + label_smoothing * uniform
        return smoothed + r_drop / 2 * apart, nll

    @staticmethod
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.gradients
        return hidden_gradient.mul_(scale), weight_gradient.mul_(scale), None, None, None


def difference_of_halves(logits: Tensor, precision: torch.dtype) -> Tensor:
    """By how much the logits (n, V) of one pass are above those of the other: (n / 2, V)."""
    one, other = logits.chunk(2)
    return one.to(precision, copy=True).sub_(other)


def drawn_together(
    differences: Tensor, partition: Tensor, probabilities: Tensor, share: float
) -> Tensor:
    """How far two passes are apart, KL(p, q) + KL(q, p), summed; adds `share` of its gradient.

    The first half of the log-partitions (n,) and of the `probabilities` (n, V) is of one pass, the
    other of the other, `differences` are those of their logits (n / 2, V). The gradient by logits
    is added to the probabilities, in place; with r = log p - log q, that by the logits of p is
    p * (r - KL(p, q)) + p - q.
    """
    p, q = probabilities.chunk(2)
    of_p, of_q = partition.chunk(2)
    ratio = differences.add_((of_q - of_p)[:, None])
    p_to_q, q_to_p = torch.linalg.vecdot(p, ratio), -torch.linalg.vecdot(q, ratio)
    factor_of_p = torch.add((1 + share * (1 - p_to_q))[:, None], ratio, alpha=share)
    factor_of_q = ratio.mul_(-share).add_((1 + share * (1 - q_to_p))[:, None])
    before = p.clone()
    p.mul_(factor_of_p).sub_(q, alpha=share)
    q.mul_(factor_of_q).sub_(before, alpha=share)
    return (p_to_q + q_to_p).sum()


class Judgement(NamedTuple):
    """How well a model tells what is true."""

    perplexity: float  # exp(nats per token)
    accuracy: float  # percent of the tokens that are its likeliest


@torch.inference_mode()
def judge(model: Seq2Seq, batches: Batches) -> Judgement:
    """What a model makes of true tokens; the same however the pairs are cut into batches.

    `model` is not training. Several processes share the batches, and all get what came of all.
    """
    device = next(model.parameters()).device
    sums, tokens = [torch.zeros(2, device=device)], 0
    for pairs in batches.in_order()[distributed.rank() :: distributed.size()]:
        batch = batches.collate(pairs)
        sums.extend(judged(*some) for some in predictions(model, batch.to(device)))
        tokens += batch.target_tokens
    exact = torch.stack(sums).cpu().double().sum(dim=0)  # there: not every device has float64
    nats, right, all_tokens = distributed.total(*exact.tolist(), tokens)
    return Judgement(bounded_exp(nats / all_tokens), 100 * right / all_tokens)


def judged(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood, in nats, and how many of the targets (N,) are the likeliest: (2,).

    `hidden` (N, D) and `weight` (V, D) are as in Predictions.
    """
    sums = weight.new_zeros(2)
    projection, size = weight.to(hidden.dtype), chunk_size(hidden[None], weight)
    for some, true in zip(hidden.split(size), targets.split(size), strict=True):
        logits = sayable(linear(some, projection)).to(weight.dtype)
        nll = nn.functional.cross_entropy(logits, true, reduction="sum")
        sums += torch.stack([nll, (logits.argmax(dim=1) == true).sum()])
    return sums


def bounded_exp(nats: float) -> float:
    """exp, but infinity where a float cannot hold it."""
    return math.exp(nats) if nats < 700 else math.inf
