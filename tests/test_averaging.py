"""The laws of means: the running one of weights, and that of several sets of them."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from seq2seq.training.averaging import RunningMean, mean


def model_of(seed: int = 1) -> nn.Module:
    """A few layers, two of which share a weight."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def wander(model: nn.Module, averages: RunningMean, updates: int) -> Iterator[dict[str, Tensor]]:
    """The weights of a model after each of some random steps, which the mean takes in."""
    for _ in range(updates):
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
        averages.update()
        yield weights_of(model)


def means_in(model: nn.Module, averages: RunningMean) -> dict[str, Tensor]:
    """What the model has for weights while it has the means."""
    with averages.in_model():
        return weights_of(model)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_the_running_mean_is_its_formula(decay):
    model = model_of()
    averages = RunningMean(model, decay)
    expected = {name: weight.double() for name, weight in weights_of(model).items()}
    for number, weights in enumerate(wander(model, averages, 30), start=1):
        kept = min(decay, (1 + number) / (10 + number))
        for name, weight in weights.items():
            expected[name] = kept * expected[name] + (1 - kept) * weight.double()
        found = means_in(model, averages)
        for name, value in expected.items():
            torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-5)


def test_what_was_before_any_learning_is_soon_forgotten():
    model = model_of()
    start = weights_of(model)
    averages = RunningMean(model, 0.999)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    for _ in range(30):
        averages.update()
    far = {name: (1 + start[name] - one).max() for name, one in means_in(model, averages).items()}
    assert max(far.values()) < 1e-4
    assert 0.999**30 > 0.97  # what would be left of it


def test_weights_that_stay_are_their_mean():
    model = model_of()
    averages = RunningMean(model, 0.9)
    for _ in range(20):
        averages.update()
    assert same(means_in(model, averages), weights_of(model))


def test_the_model_has_the_means_and_then_its_weights_again_to_the_bit():
    model = model_of()
    averages = RunningMean(model, 0.9)
    *_, weights = wander(model, averages, 3)
    kept = {name: tensor.clone() for name, tensor in averages.state().items()}

    def fail() -> None:
        with averages.in_model():
            assert not same(weights_of(model), weights)
            assert same({**weights_of(model), "updates": torch.tensor(3)}, kept)
            assert model[2].weight is model[0].weight
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert same(weights_of(model), weights)
    assert same(averages.state(), kept)


@pytest.mark.parametrize("misuse", [RunningMean.update, RunningMean.state])
def test_while_the_means_are_lent_nothing_is_taken_for_them(misuse):
    averages = RunningMean(model_of(), 0.9)
    with averages.in_model(), pytest.raises(AssertionError):
        misuse(averages)


@pytest.mark.parametrize("stop_after", [0, 1, 12])
def test_restored_is_never_stopped_bit_for_bit(stop_after):
    never, model = model_of(), model_of()
    one, part = RunningMean(never, 0.95), RunningMean(model, 0.95)
    torch.manual_seed(7)
    list(wander(never, one, 20))
    torch.manual_seed(7)
    list(wander(model, part, stop_after))
    other = RunningMean(model, 0.95)
    other.restore(load(save(part.state())))
    list(wander(model, other, 20 - stop_after))
    assert same(other.state(), one.state())


def test_the_mean_of_sets_is_that_of_numpy():
    sets = [weights_of(model_of(seed)) for seed in range(5)]
    found = mean(iter(sets))
    assert found.keys() == sets[0].keys()
    for name, value in found.items():
        expected = np.mean([one[name].double().numpy() for one in sets], axis=0)
        assert value.dtype == torch.float32
        assert np.array_equal(value.numpy(), expected.astype(np.float32))


def test_the_mean_leaves_its_sets_as_they_are():
    sets = [{"weight": torch.ones(2, dtype=torch.float64)} for _ in range(3)]
    mean(sets)
    assert all(torch.equal(one["weight"], torch.ones(2).double()) for one in sets)


def test_of_the_sets_one_at_a_time_is_in_memory():
    there = 0

    class Set(dict):
        def __del__(self) -> None:
            nonlocal there
            there -= 1

    def sets() -> Iterator[dict[str, Tensor]]:
        nonlocal there
        for _ in range(4):
            there += 1
            assert there <= 2  # the one that is made while the one before is still held
            yield Set(weight=torch.ones(2))

    assert torch.equal(mean(sets())["weight"], torch.ones(2))
