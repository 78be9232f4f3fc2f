"""Laws of `seq2seq export --to onnx`: graphs say what the model says, without anything of ours."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from test_export import program
from tiny import build_tiny, config_of

from seq2seq import export as exporting
from seq2seq.data.tokenizer import EOS, PAD, Tokenizers
from seq2seq.files import check_manifest
from seq2seq.models import onnx, select
from seq2seq.models.folder import load_model, save_model, weights_of
from seq2seq.runs import open_model

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

LINES = b"1 2\n3\n\n4 4 4 7 7 7 7 7\n0 9 8\n"


class Exported(NamedTuple):
    """A model, and what was made of it."""

    model: Path
    output: Path


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def exported(request, trained_once, command, tmp_path_factory):
    """The toy run's Transformer; and an LSTM that has learned nothing, so that lines do not end."""
    folder = tmp_path_factory.mktemp("onnx")
    model, output = trained_once.untouched / "runs" / "toy" / "best", folder / "exported"
    if request.param == "lstm":
        config, tokenizers = config_of("lstm"), Tokenizers.read(model)
        weights = weights_of(build_tiny(config, vocab=len(tokenizers.target)))
        model = folder / "lstm"
        save_model(model, config, tokenizers, weights, {})
    result = command("export", model, "--to", "onnx", "--output", output)
    assert (result.code, result.out) == (0, b""), result.err
    assert f"{output} is {model} for onnx; log-probabilities differ by" in result.err
    return Exported(model, output)


def translated_by_readme(folder: Path) -> list[bytes]:
    """What the program of a README writes, in an interpreter that sees nothing of ours."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program(folder)],
        input=LINES,
        cwd=folder,
        capture_output=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_readme_of_an_export_to_onnx_translates_as_we_do(exported, command):
    check_manifest(exported.output, "")
    asked = "translate", "--model", exported.model, "--beam", "1"
    expected = command(*asked, stdin=LINES).out.splitlines()
    assert any(expected)
    assert translated_by_readme(exported.output) == expected


def test_graphs_say_what_the_model_says(exported):
    opened = open_model(exported.model)
    model = load_model(exported.model, opened.config, opened.tokenizers, torch.device("cpu"))
    assert_they_agree(exported.output, model)


VARIANTS = {
    "rotary": ("transformer", {"positions": "rotary", "kv_heads": 1, "activation": "swiglu"}),
    "relative": ("transformer", {"positions": "relative", "normalization": "rms"}),
    "learned": ("transformer", {"positions": "learned", "norm": "post"}),
    "alibi": ("transformer", {"positions": "alibi", "autoregression": "ssru"}),
    "none": ("transformer", {"positions": "none", "decoder_layers": 2, "share_layers": "all"}),
    "gru": ("lstm", {"cell": "gru", "attention": "general", "input_feeding": False}),
    "rnn": ("lstm", {"cell": "rnn", "attention": "none"}),
    "one way": ("lstm", {"bidirectional": False, "attention": "dot"}),
    "deep": ("lstm", {"encoder_layers": 2, "decoder_layers": 2, "attention": "scaled_dot"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_graphs_say_what_a_model_of_any_options_says(tmp_path, variant):
    kind, options = VARIANTS[variant]
    model = build_tiny(config_of(kind, model=options)).eval()
    onnx.write_graphs(model, tmp_path)
    assert_they_agree(tmp_path, model)


def assert_they_agree(folder, model):
    """For other numbers of sentences, hypotheses and pieces than graphs were written with."""
    graphs, vocab = onnx.Graphs(folder), len(model.output_weight)
    numbers = torch.Generator().manual_seed(1)
    for sentences, beam, length in ((1, 1, 1), (2, 1, 9), (4, 3, 6), (1, 5, 12)):
        source = torch.randint(EOS, vocab, (sentences, length), generator=numbers)
        source[-1, length // 2 + 1 :] = PAD
        rows = torch.arange(sentences).repeat_interleave(beam)
        with torch.no_grad():  # in which memory has no more room than it needs, as in graphs
            encoded = model.encode(source)
            state = select(model.start(encoded), rows)
        known = graphs.encode(source.numpy())
        assert known.keys() == named(encoded, state).keys()
        starts = [name for name in known if name.startswith("state.")]
        known |= {name: known[name].take(rows.numpy(), axis=0) for name in starts}
        for _ in range(5):
            assert_close(known, named(encoded, state))
            last_tokens = torch.randint(EOS, vocab, rows.shape, generator=numbers)
            with torch.no_grad():
                logits, state = model.step(last_tokens, state, encoded)
            found, known = graphs.step(last_tokens.numpy(), known)
            assert_close({"found": found}, {"found": logits.log_softmax(dim=-1)})


def named(encoded, state):
    """All tensors by the names that they have in graphs."""
    both = {"encoded": encoded, "state": state}
    return {f"{kind}.{name}": one for kind, some in both.items() for name, one in some.items()}


def assert_close(found, expected):
    """Arrays are what tensors are, but for rounding."""
    for name, one in expected.items():
        assert found[name].shape == tuple(one.shape), name
        np.testing.assert_allclose(found[name], one.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_graphs_of_another_model_leave_nothing(exported, tmp_path, command, monkeypatch):
    def write(model, folder):
        for path in exported.output.glob("*coder.onnx*"):
            (folder / path.name).write_bytes(path.read_bytes())

    def another(*given):
        model = load_model(*given)
        next(model.parameters()).data *= 1.5
        return model

    monkeypatch.setattr(onnx, "write_graphs", write)
    asked = "export", exported.model, "--to", "onnx", "--output"
    assert command(*asked, tmp_path / "same").code == 0
    monkeypatch.setattr(exporting, "load_model", another)
    result = command(*asked, tmp_path / "out")
    assert result.code == 1
    assert "was not exported: log-probabilities would be wrong by" in result.err
    assert not list(tmp_path.glob("out*"))


def test_graphs_tell_nothing_of_the_machine_that_wrote_them(exported):
    for path in exported.output.iterdir():
        content = path.read_bytes()
        assert str(Path(torch.__file__).parent).encode() not in content, path.name
        assert str(Path(onnx.__file__).parent).encode() not in content, path.name


def test_what_is_not_installed_is_named_at_once(own, command, monkeypatch):
    monkeypatch.setattr(onnx, "PACKAGES", ("numpy", "not_there", "nor_there"))
    result = command("export", "--to", "onnx", "--output", "out")
    assert result.code == 1
    assert result.err.endswith(
        "error: runs/toy/best cannot be exported to ONNX: it needs not_there and nor_there; "
        "pip install 'seq2seq[onnx]'\n"
    )
    assert not Path("out").exists()
