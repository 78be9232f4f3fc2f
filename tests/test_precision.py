"""The laws of precision: which is chosen where, and that a lower one is the same computation."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import batch_of, build_tiny, config_of, pairs
from torch import Tensor

from seq2seq import distributed
from seq2seq.data.batches import Batches
from seq2seq.errors import UserError
from seq2seq.models import MODELS, Seq2Seq
from seq2seq.training.loss import Criterion, judge
from seq2seq.training.precision import NAMES, PRECISIONS, choose_precision, seconds_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")
DEEP = {"transformer": {"encoder_layers": 2, "decoder_layers": 2}, "lstm": {}}
# What they round to, and how far gradients may be off: a rectifier that turns counts for more.
LOW = [("bf16", 2**-8, 0.04), ("fp16", 2**-11, 0.02)]


@pytest.mark.parametrize(
    ("machine", "capabilities", "chosen"),
    [
        ("x86_64", {"avx512_bf16": True}, torch.bfloat16),
        ("AMD64", {"amx_bf16": True}, torch.bfloat16),
        ("x86_64", {"avx512_bf16": False, "amx_bf16": False, "avx2": True}, torch.float32),
        ("x86_64", {}, torch.float32),
        ("aarch64", {"avx512_bf16": True}, torch.float32),  # not tried
    ],
)
def test_auto_is_bfloat16_where_a_processor_multiplies_it(
    monkeypatch, machine, capabilities, chosen
):
    monkeypatch.setattr(
        "seq2seq.training.precision.seconds_of", {torch.bfloat16: 1.0, torch.float32: 2.0}.get
    )
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("fp32", CPU) == torch.float32
    assert choose_precision("bf16", CPU) == torch.bfloat16  # whoever asks for it gets it


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize(("seconds", "faster"), [(1.0, True), (2.0, False), (3.0, False)])
def test_auto_is_float32_where_a_processor_multiplies_bfloat16_slowly(
    monkeypatch, seconds, faster, everywhere
):
    told = []
    monkeypatch.setattr(distributed, "everywhere", lambda value: told.append(value) or everywhere)
    monkeypatch.setattr("seq2seq.training.precision.multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(
        "seq2seq.training.precision.seconds_of", {torch.bfloat16: seconds, torch.float32: 2.0}.get
    )
    assert choose_precision("auto", CPU) == (torch.bfloat16 if everywhere else torch.float32)
    assert told == [faster]  # what all processes go by


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_products_are_timed_once_on_one_thread(monkeypatch, kind):
    """Where others want the processors, several threads wait for each other, and chance decides."""
    timed, threads = [], []

    def linear(*given):
        timed.append(given)
        threads.append(torch.get_num_threads())

    monkeypatch.setattr("seq2seq.training.precision.linear", linear)
    before = torch.get_num_threads()
    seconds_of.cache_clear()
    assert 0 < seconds_of(kind) == seconds_of(kind) < 1
    assert {one.dtype for given in timed for one in given} == {kind}
    assert (set(threads), torch.get_num_threads()) == ({1}, before)
    seconds_of.cache_clear()


def test_precision_auto_is_the_precision_that_it_takes(own, command, automatic):
    weights = []
    for name, precision in {"auto": "auto", "named": automatic}.items():
        options = [f"name={name}", f"training.precision={precision}", "training.max_updates=4"]
        words = [word for option in options for word in ("--set", option)]
        assert command("train", "toy.yaml", *words).code == 0
        weights.append(Path("runs", name, "best", "model.safetensors").read_bytes())
        state = json.loads(next(Path("runs", name).rglob("state.json")).read_text())
        assert state["surroundings"]["precision"] == automatic
    assert weights[0] == weights[1]


def test_auto_is_float32_where_torch_does_not_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", CPU) == torch.float32


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_bfloat16_where_a_gpu_has_it_without_emulation(monkeypatch, has):
    def supported(including_emulation: bool = True) -> bool:
        return has or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", GPU) == (torch.bfloat16 if has else torch.float32)
    assert choose_precision("fp16", GPU) == torch.float16


def test_auto_is_float32_on_other_devices():
    assert choose_precision("auto", torch.device("mps")) == torch.float32


def test_float16_is_refused_where_it_is_slow():
    with pytest.raises(UserError) as error:
        choose_precision("fp16", CPU)
    assert str(error.value) == (
        "training.precision: fp16 is for GPUs; set it to auto, which is bf16 on a processor that "
        "is faster in it"
    )


def test_every_precision_has_a_name():
    assert {NAMES[precision]: precision for precision in NAMES} == PRECISIONS
    options = type(config_of().training).model_fields["precision"].annotation
    assert {"auto", *PRECISIONS} == {*options.__args__}


# The same computation


def a_model(
    kind: str, precision: str, dropout: float = 0.0, **training: float
) -> tuple[Seq2Seq, Criterion]:
    """A tiny model, and its loss."""
    config = config_of(kind, dropout, DEEP[kind], precision=precision, **training)
    model = build_tiny(config)
    return model, Criterion(model, config.training)


def gradients(model: Seq2Seq, criterion: Criterion, passes: int = 1) -> tuple[float, list[Tensor]]:
    """The loss of some pairs, and the gradients after so many passes."""
    torch.manual_seed(3)
    for _ in range(passes):
        loss = criterion(batch_of(pairs(20))).smoothed
        loss.backward()
    found = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in found)
    return loss.item(), found


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("r_drop", [0.0, 1.0])
@pytest.mark.parametrize(("precision", "rounding", "apart"), LOW)
def test_loss_and_gradients_are_near_those_of_float32(kind, r_drop, precision, rounding, apart):
    options = {"r_drop": r_drop, "dropout": 0.3 if r_drop else 0.0}
    loss, expected = gradients(*a_model(kind, "fp32", **options))
    low_loss, found = gradients(*a_model(kind, precision, **options))
    assert low_loss != loss  # it is indeed computed in another precision
    assert low_loss == pytest.approx(loss, rel=rounding)
    whole, low = (torch.cat([one.flatten() for one in some]) for some in (expected, found))
    assert (low - whole).norm() < apart * whole.norm()
    for one, other in zip(found, expected, strict=True):
        if other.norm() > 1e-3 * whole.norm():
            assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 1 - apart / 4


@pytest.mark.parametrize("kind", MODELS)
def test_what_flows_is_low_and_what_stays_is_float32(kind):
    model, _ = a_model(kind, "bf16")
    batch = batch_of(pairs(5))
    hidden = model(batch.source, batch.target_in)
    assert hidden.dtype == model.project(hidden).dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    encoded = model.encode(batch.source)
    assert {one.dtype for one in [*encoded.values(), *model.start(encoded).values()]} == {
        torch.bfloat16
    }


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_of_many_batches_are_added_up_in_float32(kind):
    _, once = gradients(*a_model(kind, "bf16"))
    _, often = gradients(*a_model(kind, "bf16"), passes=40)
    for one, many in zip(once, often, strict=True):
        torch.testing.assert_close(many, 40 * one, rtol=1e-4, atol=1e-4 * one.abs().max().item())


@pytest.mark.parametrize("kind", MODELS)
def test_perplexity_is_near_that_of_float32(kind):
    batches = Batches(pairs(20), 50)
    found = [judge(a_model(kind, name)[0].eval(), batches).perplexity for name in ("fp32", "bf16")]
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], rel=2**-7)


SHAPES = """
import seq2seq.models
import torch

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def multiply(lengths):
    weight = torch.ones(256, 256, dtype=torch.bfloat16)
    for length in lengths:
        (torch.ones(length, 256, dtype=torch.bfloat16) @ weight).sum().item()
    return resident()

before = multiply(range(1000, 1100))
print(multiply(range(1100, 1400)) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux's /proc")
def test_what_was_compiled_for_the_shapes_of_old_batches_is_not_kept():
    done = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, check=True)
    assert int(done.stdout) < 50_000_000
