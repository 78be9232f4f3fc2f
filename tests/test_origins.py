"""Laws of starting from another model: what comes along, what does not learn, what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import build_tiny, config_of, equal

from seq2seq.config import Config, load
from seq2seq.errors import ConfigError, UserError
from seq2seq.origins import completed, freeze
from seq2seq.prepare import prepare
from seq2seq.train import new_learner

BEGIN = "training.init_from=runs/toy"
OTHER = ["--set", "name=other", "--set", BEGIN]


def config(*changes: str) -> Config:
    return completed(load(Path("toy.yaml"), [BEGIN, *changes]))


def best(run: str) -> dict[str, torch.Tensor]:
    return load_file(Path("runs", run, "best", "model.safetensors"))


def weights(learner) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in learner.model.named_parameters()}


def test_training_starts_with_the_weights_and_the_pieces_of_the_other(own, capsys):
    found = config("data.train=[{source: first.digits, target: first.de}]", "data.prepared=new")
    prepared = prepare(found)
    for name, content in prepared.tokenizers.files.items():
        assert Path("new", name).read_bytes() == content == Path("runs/toy/best", name).read_bytes()
    assert equal(weights(new_learner(found, prepared.tokenizers)), best("toy"))
    count = len(best("toy"))
    assert f"{count} of {count} weights are those of runs/toy/best\n" in capsys.readouterr().err


def test_who_resumes_does_not_start_again(own):
    found = config()
    tokenizers = prepare(found).tokenizers
    assert not equal(weights(new_learner(found, tokenizers, resuming=True)), best("toy"))


def test_what_does_not_fit_is_new_and_said(own, capsys):
    found = config("model.decoder_layers=2", "model.ffn_dim=80")
    started = weights(new_learner(found, prepare(found).tokenizers))
    there = best("toy")
    for name, weight in started.items():
        fits = name in there and "feed_forward.0" not in name and "feed_forward.3.w" not in name
        assert (name in there and torch.equal(weight, there[name])) == fits, name
    told = capsys.readouterr().err
    assert "; new: encoder.0.feed_forward.0.weight, " in told
    assert "; left there: " in told


def test_options_that_are_left_open_are_those_of_the_other(own):
    text = Path("toy.yaml").read_text(encoding="utf-8")
    start = text.index("tokenizer:")
    end = text.index("training:")
    Path("open.yaml").write_text(text[:start] + text[end:], encoding="utf-8")
    found = completed(load(Path("open.yaml"), [BEGIN, "model={kind: transformer, dropout: 0.3}"]))
    toy = load(Path("toy.yaml"))
    assert found.tokenizer == toy.tokenizer
    assert found.model == toy.model.model_copy(update={"dropout": 0.3})


def test_another_tokenizer_is_an_error_that_explains(own):
    with pytest.raises(ConfigError, match=r"tokenizer\.kind: must be char, as of runs/toy/best"):
        config("tokenizer.kind=word")


def test_a_model_that_fits_nowhere_is_refused(own):
    found = config("model.dim=16", "model.ffn_dim=8", "model.heads=1", "tokenizer={}")
    with pytest.raises(UserError, match=r"no weight of runs/toy/best .* fits the model"):
        new_learner(found, prepare(found).tokenizers)


def test_what_is_frozen_does_not_learn_and_the_rest_does(own, command):
    changes = ["--set", "training.freeze=[embeddings, encoder, '!*norm*']"]
    result = command("train", "toy.yaml", *OTHER, *changes, "--set", "training.average=0")
    assert result.code == 0, result.err
    before, after = best("toy"), best("other")
    for name, weight in after.items():
        frozen = name.startswith(("embeddings.", "encoder.")) and "norm" not in name
        assert torch.equal(weight, before[name]) == frozen, name


def test_stopped_and_resumed_is_never_stopped(own, command):
    def trained(name: str, *updates: int) -> dict[str, torch.Tensor]:
        for number in updates:
            sets = ["--set", f"name={name}", "--set", f"training.max_updates={number}"]
            sets += ["--set", "training.freeze=[encoder]", "--set", BEGIN]
            assert command("train", "toy.yaml", *sets, "--set", "training.average=0").code == 0
        return load_file(Path("runs", name, "checkpoints", "step-00000060", "model.safetensors"))

    assert equal(trained("stopped", 20, 60), trained("never", 60))


@pytest.mark.parametrize(
    ("patterns", "learning"),
    [
        (["encoder"], lambda name: not name.startswith("encoder.")),
        (["encoder.0"], lambda name: not name.startswith("encoder.0.")),
        (["*"], None),
        (["*", "!*bias"], lambda name: name.endswith("bias")),
        (["*", "!decoder", "*.weight"], lambda n: n.startswith("decoder.") and "weight" not in n),
        (["decoder.*.cross_attention"], lambda name: "cross_attention" not in name),
    ],
)
def test_the_last_pattern_that_names_a_weight_decides(patterns, learning):
    model = build_tiny(config_of(model={"encoder_layers": 2}))
    if learning is None:
        with pytest.raises(ConfigError, match="leaves nothing to learn"):
            freeze(model, patterns)
        return
    freeze(model, patterns)
    found = {name for name, one in model.named_parameters() if one.requires_grad}
    assert found == {name for name, _ in model.named_parameters() if learning(name)}


def test_a_pattern_that_names_nothing_is_an_error():
    with pytest.raises(ConfigError, match=r"freeze: encoder\.7 names no part .* which has decoder"):
        freeze(build_tiny(config_of()), ["encoder", "encoder.7"])
