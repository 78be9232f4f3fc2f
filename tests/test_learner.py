"""The laws of an update: exact however it is cut, skipped if it is no number, restored."""

import math
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    batch_of,
    equal,
    learn,
    learner_of,
    nothing_of,
    pairs,
    tiny,
    weights_in,
)
from torch import Tensor

from seq2seq.data.batches import Batch, rounded_up
from seq2seq.data.tokenizer import PAD
from seq2seq.errors import UserError
from seq2seq.models import MODELS
from seq2seq.training import learner as engine
from seq2seq.training.checkpoint import State
from seq2seq.training.learner import Learner
from seq2seq.training.loss import Criterion, Loss, summed_loss
from seq2seq.training.precision import LossScale

pytestmark = pytest.mark.usefixtures("products")  # float32 by oneDNN, then by MKL

PLAIN = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0}
OPTIMIZERS = ["adamw", "adam", "sgd", "adafactor", "muon"]


def after_one_step(
    kind: str, cuts: list[list[int]], *, double: bool = True, empty: bool = False, **options: Any
) -> tuple[list[Tensor], Any]:
    """How far each parameter goes against its gradient, and what the update says of itself."""
    learner = learner_of(kind, double=double, **{**PLAIN, "clip_norm": 0.0, **options})
    before, store = weights_in(learner.model), pairs(8)
    batches = [batch_of(store, *cut) for cut in cuts]
    result = learn(learner, *batches, *[nothing_of(store)] * empty, rate=1.0)
    assert all(parameter.grad is None for parameter in learner.model.parameters())
    return [a - b for a, b in zip(before, weights_in(learner.model), strict=True)], result


def copy_of(state: State) -> State:
    """The tensors of a state, which the learner goes on to change, as they are now."""
    return {
        name: {key: tensor.clone() for key, tensor in tensors.items()}
        for name, tensors in state.items()
    }


TOGETHER = [[*range(8)]]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-4)])
@pytest.mark.parametrize(
    "cuts",
    [
        [[0], [1, 2, 3, 4, 5, 6, 7]],
        [[7, 6, 5], [0, 1, 2, 3], [4]],
        [[number] for number in range(8)],
    ],
    ids=lambda cuts: "+".join(str(len(cut)) for cut in cuts),
)
def test_uneven_micro_batches_are_one_batch(kind, double, tolerance, cuts):
    together, one = after_one_step(kind, TOGETHER, double=double)
    apart, several = after_one_step(kind, cuts, double=double)
    torch.testing.assert_close(apart, together, rtol=tolerance, atol=tolerance / 1000)
    torch.testing.assert_close(several[:3], one[:3], rtol=tolerance, atol=0)
    assert several.tokens == one.tokens
    assert several.positions <= one.positions


@pytest.mark.parametrize("kind", MODELS)
def test_a_batch_of_no_pair_changes_no_update(kind):
    without, one = after_one_step(kind, TOGETHER)
    beside, other = after_one_step(kind, TOGETHER, empty=True)
    assert equal(without, beside)
    assert equal(one[:3], other[:3])
    assert one.tokens == other.tokens


@pytest.mark.parametrize("kind", MODELS)
def test_lengths_that_are_rounded_up_change_nothing(kind):
    """As they are for a GPU."""
    model, batch = tiny(kind).double(), batch_of(pairs(8))
    longer = Batch(*map(rounded_up, batch[:3]), batch.target_tokens)
    assert [ids.shape[1] for ids in longer[:3]] != [ids.shape[1] for ids in batch[:3]]
    parameters = [*model.parameters()]
    found = [summed_loss(model, one, 0.1) for one in (batch, longer)]
    gradients = [torch.autograd.grad(one.smoothed, parameters) for one in found]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("most", [1, 3, 5])
def test_batches_that_memory_is_too_small_for_are_split_and_the_update_is_the_same(
    monkeypatch, capsys, kind, most
):
    """Whatever had been added up before memory was exhausted counts once."""
    together, one = after_one_step(kind, [[0], [*range(1, 8)]])
    forward = Criterion.forward
    tried = []

    def small(self: Criterion, batch: Batch) -> Loss:
        tried.append(len(batch.source))
        if len(batch.source) > most:
            raise torch.OutOfMemoryError("pretended")
        return forward(self, batch)

    monkeypatch.setattr(Criterion, "forward", small)
    apart, several = after_one_step(kind, [[0], [*range(1, 8)]])
    assert max(tried) > most
    torch.testing.assert_close(apart, together, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(several[:3], one[:3], rtol=1e-9, atol=0)
    assert several[3:] == one[3:]
    assert capsys.readouterr().err.count("too little memory") == 1


def test_a_pair_that_memory_is_too_small_for_is_a_message(monkeypatch):
    def none(self: Criterion, batch: Batch) -> Loss:
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(Criterion, "forward", none)
    with pytest.raises(UserError, match=r"too little memory .* lower training\.batch_tokens"):
        after_one_step("transformer", [[0, 1, 2]])


@pytest.mark.parametrize("kind", MODELS)
def test_an_update_follows_the_mean_loss_of_a_token(kind):
    model, batch = tiny(kind).double(), batch_of(pairs(8))
    summed = summed_loss(model, batch, 0.1).smoothed
    (summed / batch.target_tokens).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    steps, result = after_one_step(kind, TOGETHER)
    torch.testing.assert_close(steps, gradients)
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    assert result.gradient_norm.item() == pytest.approx(norm)
    assert result.loss.item() == pytest.approx(summed.item())
    assert result.nll.item() == pytest.approx(summed_loss(model, batch).nll.item())
    assert result.tokens == batch.target_tokens
    assert result.positions == batch.target_out.numel()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999, 1.001, 100.0])
def test_clipping_shortens_long_gradients_and_turns_none(share):
    steps, free = after_one_step("transformer", TOGETHER)
    limit = share * free.gradient_norm.item()
    clipped, result = after_one_step("transformer", TOGETHER, clip_norm=limit)
    # the norm that is shown is the one before
    assert result.gradient_norm.item() == pytest.approx(free.gradient_norm.item())
    expected = [min(share, 1.0) * step for step in steps]
    torch.testing.assert_close(clipped, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_tiny_model_learns_a_few_pairs_by_heart(kind, precision):
    learner = learner_of(kind, label_smoothing=0.0, precision=precision)
    store = pairs(6)
    batches = [batch_of(store, 0, 1), batch_of(store, 2, 3, 4, 5)]
    for _ in range(150):
        result = learn(learner, *batches, rate=0.02)
    assert result.loss / result.tokens < 0.03
    batch = batch_of(store)
    said = learner.model.project(learner.model(batch.source, batch.target_in)).argmax(dim=-1)
    real = batch.target_out != PAD
    assert torch.equal(said[real], batch.target_out[real])


# What is not finite


class Spoiled:
    """Makes the gradient of a learner's first weight something else, while it lasts."""

    def __init__(self, learner: Learner, value: float) -> None:
        weight = next(learner.model.parameters())
        self.hook = weight.register_hook(
            lambda gradient: gradient.index_fill(0, torch.tensor([5]), value)
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self.hook.remove()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_an_update_that_is_no_number_is_as_if_it_had_not_been(optimizer, value, clip_norm):
    """Weights and all that the optimizer remembers, then and after the next updates."""
    store = pairs(8)
    first, second = batch_of(store, 0, 1, 2), batch_of(store, 3, 4, 5, 6, 7)
    disturbed, other = (learner_of(optimizer=optimizer, clip_norm=clip_norm) for _ in range(2))
    for learner in (disturbed, other):
        learn(learner, first)
    before = copy_of(disturbed.state())
    with Spoiled(disturbed, value):
        assert not learn(disturbed, second).gradient_norm.isfinite()
    assert equal(before, disturbed.state())
    assert disturbed.skipped == 1
    for learner in (disturbed, other):
        learn(learner, second)
        assert learn(learner, first).gradient_norm.isfinite()
    assert equal(disturbed.state(), other.state())
    assert disturbed.skipped == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_first_update_may_be_skipped_too(optimizer):
    disturbed, other = (learner_of(optimizer=optimizer) for _ in range(2))
    batch = batch_of(pairs(5))
    with Spoiled(disturbed, math.nan):
        learn(disturbed, batch)
    for learner in (disturbed, other):
        learn(learner, batch)
    assert equal(disturbed.state(), other.state())


@pytest.mark.parametrize("kind", MODELS)
def test_weights_that_are_no_numbers_stay_as_they_are(kind):
    learner = learner_of(kind)
    with torch.no_grad():
        learner.model.output_weight[4:].fill_(math.nan)
    before = weights_in(learner.model)
    learn(learner, batch_of(pairs(4)))
    torch.testing.assert_close(weights_in(learner.model), before, rtol=0, atol=0, equal_nan=True)


def test_many_skipped_in_a_row_are_hopeless_and_fewer_are_not():
    learner, batch = learner_of(), batch_of(pairs(4))
    for _ in range(2):
        with Spoiled(learner, math.nan):
            for _ in range(engine.HOPELESS - 1):
                learn(learner, batch)
                learner.check()
        learn(learner, batch)
        learner.check()
    with Spoiled(learner, math.nan):
        for _ in range(engine.HOPELESS):
            learner.check()
            learn(learner, batch)
    with pytest.raises(UserError) as error:
        learner.check()
    assert str(error.value) == (
        "the last 20 updates were skipped, because their gradients were no longer numbers: "
        "training has diverged; its checkpoints are intact. Start over (--fresh) with a lower "
        "training.learning_rate or a longer training.warmup"
    )


# float16


def in_half(**options: Any) -> Learner:
    """A tiny model that computes in float16, which the command refuses on a processor."""
    return learner_of(precision="fp16", **{**PLAIN, "clip_norm": 0.0, **options})


@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_the_scale_of_the_loss_is_gone_before_gradients_are_clipped(clip_norm):
    """So that an update of float16 is one of float32, about, whatever the scale."""
    batch = batch_of(pairs(8))
    exact, half = learner_of(**{**PLAIN, "clip_norm": clip_norm}), in_half(clip_norm=clip_norm)
    results = []
    for learner in (exact, half):
        before = torch.cat([one.flatten() for one in weights_in(learner.model)])
        norm = learn(learner, batch, rate=1.0).gradient_norm.item()
        after = torch.cat([one.flatten() for one in weights_in(learner.model)])
        results.append((norm, before - after))
    assert half.scale.value == 2**16
    (norm, step), (other_norm, other_step) = results
    assert other_norm == pytest.approx(norm, rel=0.01)
    assert norm > 0.2  # so that it is clipped
    assert (step - other_step).norm() < 0.01 * step.norm()


def test_an_overflow_halves_the_scale_and_changes_nothing_else():
    half, batch = in_half(), batch_of(pairs(8))
    before = weights_in(half.model)
    half.scale.value = 2.0**40
    sums = []
    while half.scale.value > 2.0**34:
        scale = half.scale.value
        result = learn(half, batch)
        sums.append(result.loss.item())
        assert not result.gradient_norm.isfinite()
        assert half.scale.value == scale / 2
        assert equal(weights_in(half.model), before)
    assert len({*sums}) == 1  # the scale is not in the loss that is shown
    while not learn(half, batch).gradient_norm.isfinite():
        pass
    assert half.scale.value > 1
    assert not equal(weights_in(half.model), before)


def test_the_scale_follows_its_rule(monkeypatch):
    monkeypatch.setattr(LossScale, "LONG", 3)
    scale, value, finite_since = LossScale(torch.float16), 2.0**16, 0
    numbers = random.Random(1)
    for _ in range(200):
        finite = numbers.random() < 0.8
        scale.after(finite)
        finite_since = finite_since + 1 if finite else 0
        if not finite:
            value = max(value / 2, 1.0)
        elif finite_since == 3:
            value, finite_since = 2 * value, 0
        assert scale.value == value
    for _ in range(100):
        scale.after(False)
    assert scale.value == 1.0


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_other_types_have_no_scale(precision):
    scale = LossScale(precision)
    assert scale.value == 1.0
    assert not scale.moves


# Going on


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("more", [{}, {"ema": 0.9}, {"precision": "bf16"}, {"precision": "fp16"}])
def test_what_is_restored_goes_on_to_the_same_bits(monkeypatch, optimizer, more):
    monkeypatch.setattr(LossScale, "LONG", 3)
    store, options = pairs(8), {"optimizer": optimizer, **more}
    learner, other = learner_of(**options), learner_of(seed=2, **options)
    batches = [batch_of(store, *numbers) for numbers in ([0, 1], [2, 3, 4], [5, 6, 7])]
    for batch in batches[:2]:
        learn(learner, batch)
    other.restore(copy_of(learner.state()), Path("here"))
    assert equal(other.state(), learner.state())
    for batch in batches[2:]:
        results = [learn(one, batch) for one in (learner, other)]
        assert equal(*[result[:3] for result in results])
    assert equal(other.state(), learner.state())
    assert learner.scale.value == (2.0**17 if more.get("precision") == "fp16" else 1.0)


def test_what_is_of_another_model_is_refused():
    state = learner_of("lstm").state()
    with pytest.raises(UserError, match="here"):
        learner_of("transformer").restore(state, Path("here"))


# Judging


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("ema", [0.0, 0.5])
@pytest.mark.parametrize("error", [None, UserError("no"), KeyboardInterrupt()])
def test_judging_lends_the_mean_and_leaves_no_trace(kind, ema, error):
    learner, batch = learner_of(kind, ema=ema), batch_of(pairs(6))
    for _ in range(3):
        learn(learner, batch)
    before, weights = copy_of(learner.state()), weights_in(learner.model)
    judged = before["mean"] if ema else before["model"]
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, learner.judged() as model:
        assert not any(module.training for module in model.modules())
        lent = dict(model.named_parameters())
        assert all(torch.equal(weight, judged[name]) for name, weight in lent.items())
        assert equal(weights_in(model), weights) == (not ema)
        if error is not None:
            raise error
    assert all(module.training for module in learner.model.modules())
    assert equal(learner.state(), before)


def test_the_mean_follows_the_weights_and_changes_none():
    averaged, plain = learner_of(ema=0.6), learner_of()
    expected, batch = weights_in(plain.model), batch_of(pairs(6))
    for number in range(1, 8):
        decay = min(0.6, (1 + number) / (10 + number))
        for learner in (averaged, plain):
            learn(learner, batch)
        assert equal(weights_in(averaged.model), weights_in(plain.model))
        expected = [
            decay * one + (1 - decay) * weight
            for one, weight in zip(expected, weights_in(plain.model), strict=True)
        ]
    with averaged.judged() as model:
        torch.testing.assert_close(weights_in(model), expected)


def test_what_is_kept_of_a_run_is_this():
    assert learner_of().state().keys() == {"model", "optimizer"}
    assert learner_of(ema=0.9).state().keys() == {"model", "optimizer", "mean"}
    assert in_half().state().keys() == {"model", "optimizer", "scale"}
