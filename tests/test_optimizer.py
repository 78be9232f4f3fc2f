"""The laws of optimizers: each is its paper's formulas, and forgets nothing when a run stops."""

import math
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from seq2seq.config import Config, Training
from seq2seq.distributed import shared_out_like, whole
from seq2seq.models import MODELS, Seq2Seq, build
from seq2seq.models.attention import MultiHeadAttention
from seq2seq.training import muon
from seq2seq.training.averaging import RunningMean
from seq2seq.training.optimizer import (
    build_optimizer,
    decaying_of,
    matrices_of,
    moments_of,
    set_learning_rate,
    set_moments,
)

pytestmark = pytest.mark.usefixtures("products")  # float32 by oneDNN, then by MKL

OPTIMIZERS = get_args(Training.model_fields["optimizer"].annotation)
VOCAB = 23
TINY: dict[str, dict[str, Any]] = {
    "transformer": {
        "kind": "transformer",
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "positions": "learned",
    },
    "lstm": {"kind": "lstm", "dim": 16, "embedding_dim": 12},
}


def options(optimizer: str, **more: Any) -> Training:
    """Options of a training with an optimizer."""
    given = {"learning_rate": 0.01, "momentum": 0.9, **more}
    return Training.model_validate({"optimizer": optimizer, **given})


def tiny(kind: str, seed: int = 1) -> Seq2Seq:
    """A tiny model with random weights."""
    torch.manual_seed(seed)
    pair = {"source": "never", "target": "read"}
    data = {"train": [pair], "valid": pair, "max_length": 12}
    model = {**TINY[kind], "dropout": 0.0}
    config = Config.model_validate({"name": "tiny", "data": data, "model": model})
    return build(config, VOCAB, VOCAB)


def loss_of(model: Seq2Seq) -> Tensor:
    """How badly a model knows three pairs by heart."""
    numbers = torch.Generator().manual_seed(3)
    source, target = torch.randint(4, VOCAB, (2, 3, 6), generator=numbers)
    logits = model.project(model(source, target[:, :-1]))
    return functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def learn(model: Seq2Seq, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Some steps down the loss."""
    for _ in range(steps):
        loss_of(model).backward()
        optimizer.step()
        optimizer.zero_grad()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Laws of all


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(kind, optimizer):
    model = tiny(kind)
    before = loss_of(model).item()
    rate = {"sgd": 0.1, "muon": 0.03}.get(optimizer, 0.01)
    learn(model, build_optimizer(model, options(optimizer, learning_rate=rate)), 40)
    assert before > 2.5
    assert loss_of(model).item() < before / 4


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_rate_of_nothing_changes_nothing(kind, optimizer):
    model = tiny(kind)
    before, built = weights_of(model), build_optimizer(model, options(optimizer, weight_decay=0.5))
    set_learning_rate(built, 0.0)
    learn(model, built, 3)
    assert same(weights_of(model), before)
    set_learning_rate(built, 0.01)
    learn(model, built, 1)
    after = weights_of(model)
    assert not any(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop_after", [1, 3])
def test_restored_is_never_stopped_bit_for_bit(kind, optimizer, stop_after):
    config = options(optimizer)
    never, stopped = tiny(kind), tiny(kind)
    one = build_optimizer(never, config)
    learn(never, one, 6)

    other = build_optimizer(stopped, config)
    learn(stopped, other, stop_after)
    kept = load(save(moments_of(stopped, other)))
    went_on = tiny(kind, seed=9)
    went_on.load_state_dict(weights_of(stopped), strict=False)  # those that are shared, once
    other = build_optimizer(went_on, config)
    set_moments(went_on, other, kept)
    learn(went_on, other, 6 - stop_after)
    assert same(weights_of(went_on), weights_of(never))
    assert same(moments_of(went_on, other), moments_of(never, one))
    assert {name.rpartition(":")[0] for name in kept} == weights_of(never).keys()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_has_no_gradient_is_left_alone(optimizer):
    model = tiny("transformer")
    built = build_optimizer(model, options(optimizer, weight_decay=0.5))
    left_out = {id(parameter) for parameter in model.encoder.parameters()}
    before = weights_of(model)
    loss_of(model).backward()
    for parameter in model.encoder.parameters():
        parameter.grad = None
    built.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) in left_out), name
    assert not any(name.startswith("encoder.") for name in moments_of(model, built))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_never_asks_what_a_number_is(optimizer):
    """Else a GPU would have to be waited for. Tensors without numbers raise if they are asked."""
    with FakeTensorMode():
        model = Plain()
        built = build_optimizer(model, options(optimizer))
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        for _ in range(2):
            built.step()
        with pytest.raises(DataDependentOutputException):
            model.linear.weight.sum().item()


# What decays


def matrices(model: nn.Module) -> set[str]:
    """The names of what decays: weights of linear and recurrent layers."""
    return {
        f"{place}.{name}"
        for place, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.RNNBase | nn.RNNCellBase)
        for name, _ in module.named_parameters(recurse=False)
        if name.startswith("weight")
    }


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_matrices_decay(kind, optimizer):
    """Without gradients, an optimizer does nothing but decay."""
    model = tiny(kind)
    before = weights_of(model)
    assert matrices(model)
    assert matrices(model) < before.keys()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(model, options(optimizer, weight_decay=0.5, learning_rate=0.1)).step()
    for name, after in weights_of(model).items():
        if name not in matrices(model):
            assert torch.equal(after, before[name]), name
        elif optimizer in ("adam", "sgd"):  # the penalty is a part of the gradient
            assert torch.equal((after - before[name]).sign(), -before[name].sign())
        else:
            torch.testing.assert_close(after, (1 - 0.1 * 0.5) * before[name], msg=name)


# Each is its formulas


class Plain(nn.Module):
    """A matrix, a table and a vector."""

    def __init__(self, rows: int = 6, columns: int = 9) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.linear = nn.Linear(columns, rows)
        self.table = nn.Embedding(4, 5)


def gradients(model: nn.Module, steps: int = 4) -> list[dict[str, Tensor]]:
    """Random gradients for some steps, of lengths that differ."""
    numbers = torch.Generator().manual_seed(5)
    return [
        {
            name: torch.randn(parameter.shape, generator=numbers) * 10.0 ** (1 - step)
            for name, parameter in model.named_parameters()
        }
        for step in range(steps)
    ]


def follow(
    model: nn.Module, config: Training, given: Sequence[dict[str, Tensor]], **more: Any
) -> dict[str, Tensor]:
    """The weights after steps with given gradients."""
    optimizer = build_optimizer(model, config, **more)
    for step in given:
        for name, parameter in model.named_parameters():
            parameter.grad = step[name].clone()
        optimizer.step()
    return weights_of(model)


def adam_by_hand(w: Tensor, given: list[Tensor], rate: float, decay: float, penalty: float):
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, gradient in enumerate(given, start=1):
        g = gradient + penalty * w
        m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g**2
        step = (m / (1 - 0.9**t)) / ((v / (1 - 0.98**t)).sqrt() + 1e-8)
        w = w - rate * (step + decay * w)
    return w


def sgd_by_hand(w: Tensor, given: list[Tensor], rate: float, decay: float, penalty: float):
    m = torch.zeros_like(w)
    for gradient in given:
        g = gradient + penalty * w
        m = 0.9 * m + g
        w = w - rate * (g + 0.9 * m)
    return w


def adafactor_by_hand(w: Tensor, given: list[Tensor], rate: float, decay: float, penalty: float):
    squares = torch.zeros_like(w)
    rows, columns = torch.zeros(w.shape[:1]).double(), torch.zeros(w.shape[-1:]).double()
    for t, g in enumerate(given, start=1):
        beta = 1 - t**-0.8
        squares = beta * squares + (1 - beta) * g**2
        usual = squares
        if w.dim() > 1:
            rows = beta * rows + (1 - beta) * (g**2).mean(1)
            columns = beta * columns + (1 - beta) * (g**2).mean(0)
            usual = rows[:, None] @ columns[None] / rows.mean()
        step = g / usual.sqrt()
        step = step / max(1.0, (step**2).mean().sqrt().item())
        w = w - rate * (step + decay * w)
    return w


BY_HAND = {
    "adamw": adam_by_hand,
    "adam": adam_by_hand,
    "sgd": sgd_by_hand,
    "adafactor": adafactor_by_hand,
}


@pytest.mark.parametrize("optimizer", BY_HAND)
def test_an_optimizer_is_the_formulas_of_its_paper(optimizer):
    model, decay = Plain(), 0.3
    start, given = weights_of(model), gradients(model)
    config = options(optimizer, weight_decay=decay)
    found = follow(model, config, given)
    for name, weight in start.items():
        decays = decay if name == "linear.weight" else 0.0
        penalty = decays if optimizer in ("adam", "sgd") else 0.0
        expected = BY_HAND[optimizer](
            weight.double(),
            [step[name].double() for step in given],
            config.learning_rate,
            decays - penalty,
            penalty,
        )
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-5, atol=1e-5)


# Muon


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7), (3, 40)])
def test_muon_is_the_nearest_orthogonal_matrix_by_svd(shape):
    """Nearest but for lengths, which the iteration leaves between 0.65 and 1.25."""
    model = Plain(*shape)
    start, given = weights_of(model)["linear.weight"].double(), gradients(model)
    config = options("muon", weight_decay=0.3)
    rate = config.learning_rate
    momentum, before = torch.zeros(shape).double(), start
    for step in range(1, len(given) + 1):
        g = given[step - 1]["linear.weight"].double()
        momentum = 0.9 * momentum + 0.1 * g
        u, _, vt = torch.linalg.svd(0.1 * g + 0.9 * momentum, full_matrices=False)
        found = follow(Plain(*shape), config, given[:step])["linear.weight"].double()
        update = (before * (1 - rate * 0.3) - found) / (rate * 0.2 * math.sqrt(max(shape)))
        lengths = u.T @ update @ vt.T
        assert lengths.diagonal().min() > 0.65
        assert lengths.diagonal().max() < 1.25
        assert (lengths - lengths.diagonal().diag()).abs().max() < 1e-3
        assert (update - u @ lengths @ vt).abs().max() < 1e-3
        before = found


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (40, 32)])
def test_muon_is_that_of_torch_where_a_weight_is_one_matrix(shape):
    model = Plain(*shape)
    weight = nn.Parameter(model.linear.weight.detach().clone())
    given = gradients(model)
    theirs = torch.optim.Muon(
        [weight],
        lr=0.01,
        momentum=0.9,
        weight_decay=0.3,
        adjust_lr_fn="match_rms_adamw",
    )
    for step in given:
        weight.grad = step["linear.weight"].clone()
        theirs.step()
    config = options("muon", weight_decay=0.3)
    for products, near in ((torch.bfloat16, 2e-4), (torch.float32, 2e-3)):
        found = follow(Plain(*shape), config, given, products=products)["linear.weight"]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, weight.detach(), rtol=0, atol=near)


def test_an_update_of_muon_is_as_large_as_one_of_adamw():
    for shape in [(64, 64), (64, 256), (256, 64)]:
        model = Plain(*shape)
        start = weights_of(model)["linear.weight"]
        config = options("muon", weight_decay=0.0)
        update = follow(model, config, gradients(model, 1))["linear.weight"] - start
        assert update.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.2)


def test_what_is_no_matrix_inside_a_layer_follows_adamw():
    given = gradients(Plain())
    one = follow(Plain(), options("muon"), given)
    other = follow(Plain(), options("adamw"), given)
    assert [name for name in one if not torch.equal(one[name], other[name])] == ["linear.weight"]


STACKED_WEIGHTS = {
    "attention": (lambda: MultiHeadAttention(16, 2), {"query": 1, "memory": 2, "output": 1}),
    "lstm": (lambda: nn.LSTM(10, 16, bidirectional=True), {"weight_ih": 4, "weight_hh": 4}),
    "gru": (lambda: nn.GRU(10, 16), {"weight_ih": 3, "weight_hh": 3}),
    "rnn": (lambda: nn.RNN(10, 16), {"weight_ih": 1, "weight_hh": 1}),
    "cell": (lambda: nn.LSTMCell(10, 16), {"weight_ih": 4, "weight_hh": 4}),
}


@pytest.mark.parametrize("layer", STACKED_WEIGHTS)
def test_matrices_that_lie_in_one_weight_are_made_orthogonal_apart(layer):
    """Keys and values, gates: as if each were a weight of its own."""
    make, parts = STACKED_WEIGHTS[layer]
    torch.manual_seed(1)
    together = make()
    start, given = weights_of(together), gradients(together)
    found = follow(together, options("muon"), given)
    holds = matrices_of(together)
    for name, parameter in together.named_parameters():
        if "weight" not in name:
            assert parameter not in holds
            continue
        count = next(count for part, count in parts.items() if part in name)
        assert holds[parameter] == count, name
        apart = nn.ModuleList([nn.Linear(parameter.shape[1], 16) for _ in range(count)])
        for linear, piece in zip(apart, start[name].chunk(count), strict=True):
            linear.weight.data.copy_(piece)
        steps = [
            {f"{n}.weight": piece for n, piece in enumerate(step[name].chunk(count))}
            | {f"{n}.bias": torch.ones(16) for n in range(count)}
            for step in given
        ]
        follow(apart, options("muon"), steps)
        torch.testing.assert_close(torch.cat([one.weight for one in apart]), found[name])


@pytest.mark.parametrize("kind", MODELS)
def test_muon_takes_all_that_decays_but_vectors(kind):
    model = tiny(kind)
    assert matrices_of(model).keys() == {
        parameter for parameter in decaying_of(model) if 1 not in parameter.shape
    }


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("numbers", [1, 600, 10**9])
def test_company_in_a_stack_changes_nothing(monkeypatch, kind, numbers):
    alone, company = tiny(kind), tiny(kind)
    learn(alone, build_optimizer(alone, options("muon")), 1)
    monkeypatch.setitem(muon.STACKED, "cpu", numbers)
    learn(company, build_optimizer(company, options("muon")), 1)
    torch.testing.assert_close(weights_of(company), weights_of(alone), rtol=0, atol=1e-5)


# Several processes


class Uneven(nn.Module):
    """Layers whose weights two processes cannot halve."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.linear = nn.Linear(9, 7)
        self.lstm = nn.LSTM(6, 5)
        self.norm = nn.LayerNorm(5)


Ends = dict[str, Tensor]


def end_of(
    optimizer: str, model: nn.Module, given: Sequence[dict[str, Tensor]], *, stop_after: int = -1
) -> Ends:
    """Weights, moments and running means after steps with given gradients."""
    config = options(optimizer)
    built, means = build_optimizer(model, config), RunningMean(model, 0.9)
    for number, step in enumerate(given):
        if number == stop_after:
            moments, kept = moments_of(model, built), means.state()
            built, means = build_optimizer(model, config), RunningMean(model, 0.9)
            set_moments(model, built, moments)
            means.restore(kept)
        for name, parameter in model.named_parameters():
            parameter.grad = shared_out_like(step[name].clone(), parameter)
        built.step()
        means.update()
    weights = {name: whole(parameter.detach()) for name, parameter in model.named_parameters()}
    averages = {f"{name}:mean": one for name, one in means.state().items()}
    ends = {**weights, **moments_of(model, built), **averages}
    return {f"{optimizer}:{name}": one.clone() for name, one in ends.items()}


def share_out(file: Path) -> None:
    """What each of two processes does: with half of each weight, which is cut by rows."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    given, ends = gradients(Uneven()), {}
    for optimizer in OPTIMIZERS:
        model = Uneven()
        fully_shard(model, mesh=mesh)
        ends |= end_of(optimizer, model, given, stop_after=2)
    if distributed.get_rank() == 0:
        file.write_bytes(save(ends))
    distributed.destroy_process_group()


def test_weights_that_two_processes_share_out_go_the_way_of_one(tmp_path):
    """With every optimizer, and stopped and restored halfway."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(
            [sys.executable, __file__, tmp_path / "ends"],
            env={**os.environ, **shared, "RANK": str(number), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [process.communicate(timeout=100)[1] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running] == [0, 0], said
    given, expected = gradients(Uneven()), {}
    for optimizer in OPTIMIZERS:
        expected |= end_of(optimizer, Uneven(), given)
    found = load((tmp_path / "ends").read_bytes())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    share_out(Path(sys.argv[1]))
