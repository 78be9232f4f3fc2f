"""Laws of an encoder and a decoder from different models: each is the whole of its half."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from seq2seq.config import Config, dump, load
from seq2seq.data.extension import extended
from seq2seq.data.tokenizer import Tokenizer
from seq2seq.errors import ConfigError
from seq2seq.files import write_manifest
from seq2seq.origins import completed
from seq2seq.prepare import prepare
from seq2seq.train import new_learner

HALVES = "training.init_from={encoder: runs/toy, decoder: runs/second}"


@pytest.fixture
def two(own) -> Path:
    """The toy run, and a second that has its tokenizer and other weights."""
    shutil.copytree("runs/toy", "runs/second")
    numbers = torch.Generator().manual_seed(1)
    weights = {
        name: weight + torch.randn(weight.shape, generator=numbers)
        for name, weight in best("toy").items()
    }
    save_file(weights, "runs/second/best/model.safetensors")
    write_manifest(Path("runs/second/best"))
    return own


def best(run: str) -> dict[str, Tensor]:
    return load_file(f"runs/{run}/best/model.safetensors")


def started(config: Config) -> Any:
    """The model that training starts with."""
    return new_learner(config, prepare(config).tokenizers).model.eval()


def test_each_half_is_that_of_its_model(two, capsys):
    config = completed(load(Path("toy.yaml"), [HALVES]))
    found = dict(started(config).named_parameters())
    first, second = best("toy"), best("second")
    assert torch.equal(found["embeddings.source.weight"], first["embeddings.source.weight"])
    assert torch.equal(found["embeddings.target.weight"], second["embeddings.source.weight"])
    for name, weight in found.items():
        if not name.startswith("embeddings."):
            there = first if name.startswith(("encoder", "source_positions")) else second
            assert torch.equal(weight, there[name]), name
    said = capsys.readouterr().err
    counted = f"{len(found)} of {len(found)} weights are those of "
    assert f"{counted}runs/toy/best (encoder) and runs/second/best (decoder)\n" in said


def test_two_halves_of_a_model_say_what_it_says(two):
    """Told as two models, with copies of the table that it shares."""
    shutil.rmtree("runs/second")
    shutil.copytree("runs/toy", "runs/second")
    source, target = torch.tensor([[5, 6, 7]]), torch.tensor([[2, 8, 9]])
    ways = HALVES, "training.init_from=runs/toy"
    models = [started(completed(load(Path("toy.yaml"), [way]))) for way in ways]
    with torch.no_grad():
        assert torch.equal(*(model.project(model(source, target)) for model in models))


def test_the_encoder_is_as_deep_as_that_of_its_model(two, command):
    sets = ["name=deep", "model.encoder_layers=2", "training.max_updates=20"]
    result = command("train", "toy.yaml", *(f"--set={one}" for one in sets))
    assert result.code == 0, result.err
    halves = "training.init_from={encoder: runs/deep, decoder: runs/second}"
    text = Path("toy.yaml").read_text(encoding="utf-8")
    text = text.replace("encoder_layers: 1, ", "")
    Path("open.yaml").write_text(text, encoding="utf-8")
    config = completed(load(Path("open.yaml"), [halves]))
    assert (config.model.encoder_layers, config.model.decoder_layers) == (2, 1)
    found = dict(started(config).named_parameters())
    for name, weight in best("deep").items():
        if name.startswith("encoder"):
            assert torch.equal(found[name], weight), name


def test_a_run_of_halves_resumes_and_translates(two, command):
    def trained(name: str, *updates: int) -> dict[str, Tensor]:
        for number in updates:
            sets = [HALVES, f"name={name}", f"training.max_updates={number}", "training.average=0"]
            result = command("train", "toy.yaml", *(f"--set={one}" for one in sets))
            assert result.code == 0, result.err
        return load_file(f"runs/{name}/checkpoints/step-00000060/model.safetensors")

    stopped, never = trained("stopped", 20, 60), trained("never", 60)
    assert all(torch.equal(stopped[name], never[name]) for name in never)
    assert command("translate", "--model=runs/never", stdin=b"1 2\n").code == 0


def test_different_tokenizers_are_an_error_that_explains(two):
    file = Path("runs/second/best/tokenizer.source.model")
    file.write_bytes(extended(Tokenizer(file.read_bytes()), ["<more>"], []).model)
    write_manifest(file.parent)
    with pytest.raises(ConfigError, match=r"toy/best and runs/second/best .* different token"):
        completed(load(Path("toy.yaml"), [HALVES]))


def test_what_a_model_has_only_one_of_is_an_error_that_explains(two):
    """Weights of another meaning have the same shapes."""
    file = Path("runs/second/config.yaml")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("positions: relative", "positions: rotary"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"have different model\.positions, relative and rotary"):
        completed(load(Path("toy.yaml"), [HALVES]))


def test_both_ways_to_write_one_model_are_the_same(own):
    alike = "training.init_from={encoder: runs/toy, decoder: runs/toy}"
    one, other = (load(Path("toy.yaml"), [how]) for how in (alike, "training.init_from=runs/toy"))
    assert one == other
    assert "  init_from: runs/toy\n" in dump(one)
    assert "    encoder: runs/toy\n" in dump(load(Path("toy.yaml"), [HALVES]))


def test_adapters_are_for_one_model(own):
    with pytest.raises(ConfigError, match=r"training\.lora: adapters are for one model"):
        load(Path("toy.yaml"), [HALVES, "training.lora={}"])
