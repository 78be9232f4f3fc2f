"""The laws of the loss: what it is of each token, and what its gradient is, in any precision."""

import math
from typing import Any

import pytest
import torch
from tiny import VOCAB, batch_of, build_tiny, config_of, nothing_of, pairs, tiny
from torch import Tensor
from torch.nn import functional

from seq2seq.data.batches import Batch, Batches
from seq2seq.data.tokenizer import PAD
from seq2seq.models import MODELS, Seq2Seq
from seq2seq.models.interface import UNSAID
from seq2seq.training import loss
from seq2seq.training.loss import (
    Criterion,
    cross_entropy,
    judge,
    judged,
    summed_loss,
)

pytestmark = pytest.mark.usefixtures("products")  # float32 by oneDNN, then by MKL


def nll_by_hand(model: Seq2Seq, batch: Batch, smoothing: float) -> tuple[float, float, int]:
    """Smoothed loss, negative log-likelihood and tokens of a batch, token by token."""
    smoothed, nll, tokens = 0.0, 0.0, 0
    scores = model.project(model(batch.source, batch.target_in)).log_softmax(dim=-1).tolist()
    for row, targets in zip(scores, batch.target_out.tolist(), strict=True):
        for distribution, target in zip(row, targets, strict=True):
            if target != PAD:
                nll -= distribution[target]
                smoothed -= (1 - smoothing) * distribution[target]
                counted = [p for piece, p in enumerate(distribution) if piece not in UNSAID]
                smoothed -= smoothing * sum(counted) / len(counted)
                tokens += 1
    return smoothed, nll, tokens


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_the_loss_is_what_comes_out_by_hand(kind, smoothing):
    model, batch = tiny(kind).double(), batch_of(pairs(7))
    smoothed, nll, tokens = nll_by_hand(model, batch, smoothing)
    found = summed_loss(model, batch, smoothing)
    assert found.smoothed.item() == pytest.approx(smoothed, rel=1e-12)
    assert found.nll.item() == pytest.approx(nll, rel=1e-12)
    assert batch.target_tokens == tokens == sum(batch.target_out.flatten() != PAD)


# In chunks


def drawn(rows: int, width: int, vocab: int, spread: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, an output projection and what is true, in float64."""
    torch.manual_seed(1)
    hidden = torch.randn(rows, width, dtype=torch.float64) * spread
    weight = torch.randn(vocab, width, dtype=torch.float64)
    targets = said(vocab)[torch.randint(vocab - len(UNSAID), (rows,))]
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def said(vocab: int) -> Tensor:
    """The pieces that can be said."""
    return torch.tensor([piece for piece in range(vocab) if piece not in UNSAID])


def as_pytorch_has_it(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The sum of cross-entropies over what can be said, and over nothing else."""
    pieces = said(logits.shape[1])
    return functional.cross_entropy(
        logits[:, pieces],
        torch.searchsorted(pieces, targets),
        label_smoothing=smoothing,
        reduction="sum",
    )


def plainly(
    hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Smoothed loss and negative log-likelihood as PyTorch has them."""
    logits = hidden @ weight.T
    return as_pytorch_has_it(logits, targets, smoothing), as_pytorch_has_it(logits, targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("logits_at_a_time", [1, VOCAB, 3 * VOCAB, 3 * VOCAB + 1, 10**6])
def test_chunks_are_cross_entropy_in_value_and_gradient(monkeypatch, smoothing, logits_at_a_time):
    monkeypatch.setitem(loss.CHUNK, "cpu", logits_at_a_time)
    hidden, weight, targets = drawn(11, 5, VOCAB)
    expected, plain = plainly(hidden, weight, targets, smoothing)
    found, nll = cross_entropy(hidden[None], weight, targets, smoothing)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(nll, plain)
    gradients = torch.autograd.grad(found / 7, (hidden, weight))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected / 7, (hidden, weight)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradients_are_finite_differences(monkeypatch, smoothing):
    monkeypatch.setitem(loss.CHUNK, "cpu", 12)
    hidden, weight, _ = drawn(5, 3, 6)
    targets = torch.tensor([3, 5, 4, 4, 1])

    def smoothed(hidden: Tensor, weight: Tensor) -> Tensor:
        return cross_entropy(hidden[None], weight, targets, smoothing)[0]

    assert torch.autograd.gradcheck(smoothed, (hidden, weight))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("precision", "rounding"), [(torch.bfloat16, 2**-8), (torch.half, 2**-11)])
def test_low_precision_costs_its_rounding_and_no_more(monkeypatch, precision, rounding, smoothing):
    """Of the same rounded numbers: what is lost is lost in products and gradients alone."""
    monkeypatch.setitem(loss.CHUNK, "cpu", 16 * VOCAB)
    hidden, weight, targets = drawn(200, 32, VOCAB, spread=0.5)
    low = hidden.detach().to(precision).requires_grad_()
    master = weight.detach().to(precision).float().requires_grad_()
    found, nll = cross_entropy(low[None], master, targets, smoothing)
    exact = low.detach().double().requires_grad_(), master.detach().double().requires_grad_()
    expected, plain = plainly(*exact, targets, smoothing)

    assert found.dtype == nll.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=rounding)
    assert nll.item() == pytest.approx(plain.item(), rel=rounding)
    gradients = torch.autograd.grad(found, (low, master))
    assert [one.dtype for one in gradients] == [precision, torch.float32]
    for one, other in zip(gradients, torch.autograd.grad(expected, exact), strict=True):
        assert (one.double() - other).norm() < 2 * rounding * other.norm()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.half])
def test_logits_far_apart_give_finite_and_exact_losses(precision):
    """Of each token: 0 where the truth is far ahead, the distance where it is far behind."""
    logits = torch.tensor([[300.0, 0.0, -300.0], [0.0, 300.0, 44.0], [0.0, 0.0, -256.0]])
    weight = torch.zeros(5, 3)
    weight[said(5)] = torch.eye(3)  # so that hidden states are the logits of what can be said
    weight.requires_grad_()
    hidden = logits.to(precision).requires_grad_()
    targets, by_hand = said(5)[[0, 2, 1]], [0.0, 256.0, math.log(2)]
    for row, expected in enumerate(by_hand):
        found, nll = cross_entropy(hidden[None, row : row + 1], weight, targets[row : row + 1], 0.0)
        assert found.item() == nll.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    smoothed, _ = cross_entropy(hidden[None], weight, targets, 0.3)
    expected, _ = plainly(hidden.double(), weight.double(), targets, 0.3)
    assert smoothed.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients = torch.autograd.grad(smoothed, (hidden, weight))
    assert all(one.isfinite().all() for one in gradients)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_many_large_logits_leave_no_rounding_in_a_small_loss(smoothing):
    torch.manual_seed(1)
    hidden = torch.rand(20_000, 1) * 500 + 100
    weight = torch.zeros(4, 1)
    weight[said(4)] = torch.tensor([[1.0], [1 - 2**-7]])  # so that the truth is a little ahead
    targets = said(4)[:1].repeat(len(hidden))
    found = torch.stack(cross_entropy(hidden[None], weight, targets, smoothing))
    exact = torch.stack(plainly(hidden.double(), weight.double(), targets, smoothing))
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


# Batches without a pair


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("r_drop", [0.0, 1.0])
def test_of_a_batch_without_a_pair_nothing_is_said_and_nothing_learned(kind, r_drop):
    config = config_of(kind, 0.3, r_drop=r_drop)
    model = build_tiny(config)
    nothing = nothing_of(pairs(4))
    assert nothing.target_tokens == 0
    found = Criterion(model, config.training)(nothing)
    assert found.smoothed.item() == found.nll.item() == 0.0
    found.smoothed.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None for gradient in gradients)  # as processes expect of each other
    assert not any(gradient.any() for gradient in gradients)


# R-Drop


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("at_a_time", [1, 3 * VOCAB, 10**6])
def test_r_drop_is_its_formula_in_value_and_gradient(monkeypatch, kind, at_a_time):
    """Half of equation 4 of Liang et al. (2021), so that it is a loss of as many tokens."""
    monkeypatch.setitem(loss.CHUNK, "cpu", at_a_time)
    alpha, smoothing = 0.7, 0.1
    config = config_of(kind, 0.3, r_drop=alpha, label_smoothing=smoothing)
    model, batch = build_tiny(config).double(), batch_of(pairs(6))
    torch.manual_seed(5)
    found = Criterion(model, config.training)(batch)
    gradients = torch.autograd.grad(found.smoothed, [*model.parameters()])

    torch.manual_seed(5)
    hidden = model(batch.source.repeat(2, 1), batch.target_in.repeat(2, 1))
    one, other = model.project(hidden).log_softmax(dim=-1).chunk(2)
    real = batch.target_out != PAD

    def both(function: Any) -> Tensor:
        return function(one[real]) + function(other[real])

    truth = batch.target_out[real]
    likelihood = both(lambda p: functional.nll_loss(p, truth, reduction="sum"))
    pieces = said(VOCAB)
    smoothed = (1 - smoothing) * likelihood
    smoothed -= smoothing * both(lambda p: p[:, pieces].mean(dim=1).sum())
    apart = sum(
        functional.kl_div(q[real], p[real], reduction="sum", log_target=True)
        for p, q in ((one, other), (other, one))
    )
    assert apart > 0.01
    expected = (smoothed + alpha * apart / 2) / 2
    torch.testing.assert_close(found.smoothed, expected)
    torch.testing.assert_close(found.nll, likelihood / 2)
    by_hand = torch.autograd.grad(expected, [*model.parameters()])
    torch.testing.assert_close(gradients, by_hand)


def test_predictions_that_agree_are_not_apart():
    hidden, weight, targets = drawn(9, 5, VOCAB)
    twice = torch.stack([hidden, hidden])
    found, plain = (cross_entropy(twice, weight, targets, 0.1, share) for share in (3.0, 0.0))
    assert found == plain
    config = config_of(r_drop=3.0)
    model, batch = build_tiny(config).double(), batch_of(pairs(6))  # without dropout
    found, plain = Criterion(model, config.training)(batch), summed_loss(model, batch, 0.1)
    torch.testing.assert_close(found, plain)


# Perplexity


@pytest.mark.parametrize("kind", MODELS)
def test_perplexity_does_not_depend_on_batch_size(kind):
    model, store = tiny(kind, dropout=0.5).eval(), pairs(13)
    _, nll, tokens = nll_by_hand(model, batch_of(store), 0.0)
    for size in (1, 17, 40, 10**6):
        found = judge(model, Batches(store, size))
        assert found.perplexity == pytest.approx(math.exp(nll / tokens), rel=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_accuracy_is_the_share_of_the_likeliest_by_hand(kind):
    model, store = tiny(kind, seed=3).eval(), pairs(40)
    batch = batch_of(store)
    likeliest = model.project(model(batch.source, batch.target_in)).argmax(dim=-1)
    real = batch.target_out != PAD
    share = 100 * (likeliest == batch.target_out)[real].float().mean().item()
    assert 0 < share < 100
    for size in (17, 10**6):
        assert judge(model, Batches(store, size)).accuracy == pytest.approx(share)


def test_perplexity_that_no_number_holds_is_infinite():
    model = tiny("transformer").eval()
    with torch.no_grad():
        model.output_weight.mul_(1e6)
    assert judge(model, Batches(pairs(3), 100)).perplexity == math.inf


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_is_judged_is_what_is_learned_from(monkeypatch, precision):
    """Likelihoods in chunks, beside those that come with gradients."""
    monkeypatch.setitem(loss.CHUNK, "cpu", 4 * VOCAB)
    hidden, weight, targets = drawn(11, 5, VOCAB)
    low, master = hidden.detach().to(precision), weight.detach().float()
    nats, right = judged(low, master, targets).tolist()
    assert nats == pytest.approx(
        cross_entropy(low[None], master, targets, 0.0).nll.item(), rel=1e-2
    )
    assert right == (low @ master.to(precision).T).argmax(dim=1).eq(targets).sum()


# What the encoder must tell


def masked_batch() -> Batch:
    """Pairs of which the first and the third are the encoder's alone, at two places each."""
    batch = batch_of(pairs(5))
    masked = torch.full_like(batch.source, PAD)
    for row in (0, 2):
        masked[row, 0], masked[row, 2] = 5 + row, 6
        batch.target_out[row] = PAD
    tokens = int((batch.target_out != PAD).sum()) + 4
    return batch._replace(masked=masked, target_tokens=tokens)


def wide(kind: str, **options: Any) -> Any:
    """A model whose embeddings are as wide as its encoder's states."""
    more = {"embedding_dim": 16} if kind == "lstm" else {}
    return config_of(kind, model=more, **options)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_what_the_encoder_tells_is_its_states_by_the_embeddings(kind, smoothing):
    model, batch = build_tiny(wide(kind)).double().eval(), masked_batch()
    assert batch.masked is not None
    states = model.read(batch.source)["states"]
    logits = torch.cat(
        [
            (states @ model.source_weight.T)[batch.masked != PAD],
            model.project(model(batch.source, batch.target_in))[batch.target_out != PAD],
        ]
    )
    true = torch.cat([batch.masked[batch.masked != PAD], batch.target_out[batch.target_out != PAD]])
    found = summed_loss(model, batch, smoothing)
    by_hand = as_pytorch_has_it(logits, true, smoothing)
    torch.testing.assert_close(found.smoothed, by_hand)
    torch.testing.assert_close(found.nll, as_pytorch_has_it(logits, true))
    weights = [*model.parameters()]
    gradients = torch.autograd.grad(found.smoothed, weights)
    torch.testing.assert_close(gradients, torch.autograd.grad(by_hand, weights))


@pytest.mark.parametrize("kind", MODELS)
def test_two_passes_of_what_the_encoder_tells_are_drawn_together(kind):
    config = wide(kind, r_drop=3.0)
    model, batch = build_tiny(config).double(), masked_batch()  # without dropout they agree
    found, plain = Criterion(model, config.training)(batch), summed_loss(model, batch, 0.1)
    torch.testing.assert_close(found, plain)


READ = ("encoder", "embeddings", "source_positions")


@pytest.mark.parametrize("kind", MODELS)
def test_where_only_the_encoder_learns_the_decoder_gets_no_gradient(kind):
    model, batch = build_tiny(wide(kind)), masked_batch()
    assert batch.masked is not None
    rows = torch.tensor([0, 2])
    alone = Batch(*(ids[rows] for ids in batch[:3]), 4, batch.masked[rows])
    summed_loss(model, alone, 0.1).smoothed.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name  # processes wait for it
        assert bool(parameter.grad.any()) == name.startswith(READ), name
