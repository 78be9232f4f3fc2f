"""Laws of low-rank adapters: they begin as nothing, learn alone, are kept alone, and merge."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import batch_of, build_tiny, config_of, equal, learn, pairs
from torch import Tensor

from seq2seq.config import Lora, load
from seq2seq.config.changing import changed
from seq2seq.errors import ConfigError
from seq2seq.files import write_manifest
from seq2seq.models import MODELS, Seq2Seq, build
from seq2seq.models.adapters import adapt, merged, own_parameters, scale_of
from seq2seq.models.folder import set_weights
from seq2seq.origins import completed, take_weights
from seq2seq.runs import open_model
from seq2seq.train import new_learner
from seq2seq.training.learner import Learner

pytestmark = pytest.mark.usefixtures("products")  # float32 by oneDNN, then by MKL

OPTIONS = Lora(rank=3, alpha=5.0)
BASE = Path("runs/toy/best")
LORA = ["--set=training.init_from=runs/toy", "--set=training.lora={rank: 2, layers: [decoder]}"]


def named(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: one.detach().clone() for name, one in model.named_parameters()}


def adapted(kind: str = "transformer", seed: int = 1, options: Lora = OPTIONS) -> Seq2Seq:
    """The same tiny model each time, with adapters of random numbers that depend on the seed."""
    model = build_tiny(config_of(kind))
    torch.manual_seed(seed)
    adapt(model, options)
    return model


def stirred(model: Seq2Seq) -> Seq2Seq:
    """A model whose adapters do something."""
    for name, one in own_parameters(model).items():
        if name.endswith(".up"):
            torch.nn.init.normal_(one)
    return model


def states(model: Seq2Seq) -> Tensor:
    """What a model makes of some pairs."""
    batch = batch_of(pairs(6))
    with torch.no_grad():
        return model.eval()(batch.source, batch.target_in)


@pytest.mark.parametrize("kind", MODELS)
def test_in_the_beginning_adapters_change_nothing(kind):
    assert torch.equal(states(adapted(kind)), states(build_tiny(config_of(kind))))


@pytest.mark.parametrize("kind", MODELS)
def test_merged_is_unmerged(kind):
    model, whole = stirred(adapted(kind)), build_tiny(config_of(kind))
    assert not torch.allclose(states(model), states(whole), atol=1e-2)
    found = merged(named(whole), own_parameters(model), scale_of(OPTIONS))
    set_weights(whole, found, Path("merged"))
    torch.testing.assert_close(states(model), states(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon", "adafactor"])
def test_adapters_learn_and_nothing_else_does(kind, optimizer):
    model = adapted(kind)
    learner = Learner(model, config_of(optimizer=optimizer, weight_decay=0.1).training)
    before = named(model)
    for _ in range(2):  # the second finds other factors than zero
        learn(learner, batch_of(pairs(8)))
    own = own_parameters(model)
    for name, weight in named(model).items():
        assert torch.equal(weight, before[name]) == (name not in own), name
    assert {name.rpartition(".")[2] for name in own} == {"up", "down"}


@pytest.mark.parametrize("kind", MODELS)
def test_stopped_and_restored_is_never_stopped(kind, tmp_path):
    config = config_of(ema=0.9, optimizer="muon", layer_decay=0.7).training
    never, stopped = (Learner(adapted(kind), config) for _ in range(2))
    for _ in range(3):
        learn(never, batch_of(pairs(8)))
    learn(stopped, batch_of(pairs(8)))
    state = stopped.state()
    assert all(name.endswith((".up", ".down")) for name in state["model"])
    assert state["mean"].keys() == {*state["model"], "updates"}
    went_on = Learner(adapted(kind, seed=2), config)
    went_on.restore(state, tmp_path)
    for _ in range(2):
        learn(went_on, batch_of(pairs(8)))
    assert equal(went_on.state(), never.state())
    with never.judged() as one, went_on.judged() as other:
        assert torch.equal(states(one), states(other))


def test_layers_are_chosen_by_name():
    model = adapted(options=Lora(layers=["encoder.*.query", "*.memory"]))
    places = {name.rpartition(".")[0] for name in own_parameters(model)}
    assert places == {
        "encoder.0.attention.query",
        "encoder.0.attention.memory",
        "decoder.0.self_attention.memory",
        "decoder.0.cross_attention.memory",
    }


def test_layers_that_are_not_there_are_an_error():
    with pytest.raises(ConfigError, match=r"lora\.layers: embeddings names no linear layer"):
        adapted(options=Lora(layers=["*.query", "embeddings"]))


# Runs


@pytest.fixture(scope="module")
def tuned_once(trained_once, tmp_path_factory, command) -> Path:
    """A toy run, and one of adapters for it, `runs/lora`."""
    folder = tmp_path_factory.mktemp("tuned") / "toy"
    shutil.copytree(trained_once.untouched, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = command("train", "toy.yaml", "--set=name=lora", *LORA)
        assert result.code == 0, result.err
        assert "parameters learn, runs/toy/best stays as it is" in result.err
    return folder


@pytest.fixture
def tuned(tuned_once, tmp_path, monkeypatch) -> Path:
    """A copy of it, as working folder, to do anything with."""
    shutil.copytree(tuned_once, tmp_path / "tuned")
    monkeypatch.chdir(tmp_path / "tuned")
    return tmp_path / "tuned"


def weights_of_base() -> dict[str, Tensor]:
    return load_file(BASE / "model.safetensors")


def merged_by_hand() -> dict[str, Tensor]:
    """Formula (3) of the paper, with the scale of rank 2 and alpha 16."""
    weights = weights_of_base()
    own = load_file("runs/lora/best/model.safetensors")
    for name in own:
        place, _, part = name.rpartition(".")
        if part == "up":
            weights[f"{place}.weight"] += 16 / 2 * own[name] @ own[f"{place}.down"]
    return weights


def test_a_run_keeps_adapters_alone_and_says_for_what(tuned):
    manifest = json.loads((BASE / "manifest.json").read_text())
    expected = {"path": "runs/toy/best", "scale": 8.0}
    expected["sha256"] = manifest["model.safetensors"]["sha256"]
    for base in ("runs/lora/base.json", "runs/lora/best/base.json"):
        assert json.loads(Path(base).read_text()) == expected
    (checkpoint, *_), (other, *_) = (
        sorted(Path("runs", run, "checkpoints").iterdir()) for run in ("lora", "toy")
    )
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert (checkpoint / file).stat().st_size < (other / file).stat().st_size / 3
        assert all(".up" in name or ".down" in name for name in load_file(checkpoint / file))


@pytest.mark.parametrize("resuming", [False, True])
def test_adapters_are_learned_on_top_of_the_base(tuned, resuming):
    config = completed(load(Path("toy.yaml"), [one.removeprefix("--set=") for one in LORA]))
    tokenizers = open_model(Path("runs/toy")).tokenizers
    model = new_learner(config, tokenizers, resuming=resuming).model
    found, own = named(model), own_parameters(model)
    assert equal({name: found[name] for name in found if name not in own}, weights_of_base())


def test_resumed_is_never_stopped(tuned, command):
    for name, updates in (("stopped", 20), ("stopped", 60), ("whole", 60)):
        sets = [f"--set=name={name}", f"--set=training.max_updates={updates}"]
        assert command("train", "toy.yaml", *sets, *LORA).code == 0
    last = "checkpoints/step-00000060/model.safetensors"
    assert equal(load_file(f"runs/stopped/{last}"), load_file(f"runs/whole/{last}"))


def test_what_is_exported_is_the_merged_model_and_needs_no_base(tuned, command):
    lines, expected = b"1 2 3\n4 5\n", merged_by_hand()
    translated = command("translate", "--model=runs/lora", stdin=lines)
    assert translated.code == 0, translated.err
    for form in ("safetensors", "ctranslate2"):
        result = command("export", "runs/lora", f"--to={form}", f"--output={form}")
        assert result.code == 0, result.err
    shutil.rmtree("runs")
    found = load_file("safetensors/model.safetensors")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert command("translate", "--model=safetensors", stdin=lines).out == translated.out


def test_adapters_can_be_averaged_and_begun_from(tuned, command):
    result = command("average", "runs/lora", "--last=2", "--output=mean")
    assert result.code == 0, result.err
    assert command("translate", "--model=mean", stdin=b"1 2\n").code == 0
    opened = open_model(Path("runs/lora"))
    config = changed(opened.config, "training", {"lora": None, "init_from": "runs/lora"})
    model = build(config, *map(len, opened.tokenizers))
    take_weights(model, config, opened.tokenizers)
    torch.testing.assert_close(named(model), merged_by_hand(), rtol=1e-5, atol=1e-6)


def test_a_base_that_is_missing_or_another_is_named(tuned, command):
    weights = weights_of_base()
    save_file({name: weight + 1 for name, weight in weights.items()}, BASE / "model.safetensors")
    write_manifest(BASE)
    set_engine = "--set=decoding.engine=pytorch"
    result = command("translate", "--model=runs/lora", set_engine, stdin=b"1\n")
    assert result.code == 1
    assert "runs/lora/best holds adapters for runs/toy/best, which has other weights" in result.err
    result = command("train", "toy.yaml", "--set=name=lora", *LORA)
    assert result.code == 1
    assert "runs/lora holds adapters for runs/toy/best with weights whose SHA-256" in result.err
    shutil.rmtree("runs/toy")
    result = command("translate", "--model=runs/lora", set_engine, stdin=b"1\n")
    assert result.code == 1
    assert "runs/lora/best holds adapters for runs/toy/best, which is not here" in result.err


def test_another_model_than_the_base_is_an_error(tuned, command):
    sets = ["--set=name=wide", "--set=model.ffn_dim=80"]
    result = command("train", "toy.yaml", *sets, *LORA)
    assert result.code == 2
    assert "the model must be that of runs/toy/best, but decoder.0.feed_forward" in result.err
