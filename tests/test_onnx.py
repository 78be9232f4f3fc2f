"""Laws of `seq2seq export --to onnx`: graphs write what we write, without anything of ours."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from test_export import program
from tiny import build_tiny, config_of

from seq2seq import export as exporting
from seq2seq.data.tokenizer import EOS, PAD
from seq2seq.export import judge_by_graphs
from seq2seq.files import check_manifest
from seq2seq.models.onnx import DECODER, ENCODER, write_graphs

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

LINES = b"1 2\n3\n4 4 4\n"
VARIANTS = {
    "learned": {},
    "relative": {"positions": "relative", "normalization": "rms"},
    "rotary": {"positions": "rotary", "kv_heads": 1, "activation": "swiglu", "decoder_layers": 2},
    "ssru": {"positions": "alibi", "autoregression": "ssru", "share_layers": "all"},
}


def session(path):
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_the_readme_of_an_export_to_onnx_translates_as_we_do(own, command, tmp_path):
    output = tmp_path / "exported"
    result = command("export", "--to", "onnx", "--output", output)
    assert (result.code, result.out) == (0, b"")
    assert f"{output} is runs/toy/best for onnx; log-probabilities differ by" in result.err
    check_manifest(output, "")
    expected = command("translate", "--beam", "1", stdin=LINES).out.splitlines()
    for line, translation in zip(LINES.splitlines(), expected, strict=True):
        done = subprocess.run(
            [sys.executable, "-I", "-c", program(output)],
            input=line,
            cwd=output,
            capture_output=True,
            check=True,
        )
        assert translation
        assert done.stdout.strip() == translation


@pytest.mark.parametrize("variant", VARIANTS)
def test_graphs_compute_what_the_model_computes(tmp_path, variant):
    """For sentences of other numbers and lengths than the graphs were drawn with; padded, too."""
    model = build_tiny(config_of("transformer", model=VARIANTS[variant])).eval()
    write_graphs(model, tmp_path)
    encoder, decoder = session(tmp_path / ENCODER), session(tmp_path / DECODER)
    generator = torch.Generator().manual_seed(1)
    for sentences, length in ((1, 1), (2, 9), (4, 6)):
        source = torch.randint(EOS + 1, 20, (sentences, length), generator=generator)
        source[-1, length // 2 + 1 :] = PAD
        with torch.no_grad():
            encoded = model.encode(source)
            past = model.start(encoded)
        found = encoder.run(None, {"source": source.numpy()})
        for name, value in zip(encoded, found, strict=True):
            np.testing.assert_allclose(value, encoded[name], atol=1e-5)
        inputs = dict(zip(encoded, found, strict=True))
        inputs |= {f"past.{name}": value.numpy() for name, value in past.items()}
        wanted = {one.name for one in decoder.get_inputs()}
        for step in range(5):
            last = torch.randint(EOS + 1, 20, (sentences,), generator=generator)
            with torch.no_grad():
                logits, past = model.step(last, past, encoded)
            inputs["last"] = last.numpy()
            scores, *present = decoder.run(None, {name: inputs[name] for name in wanted})
            np.testing.assert_allclose(scores, logits.log_softmax(-1), atol=1e-5, err_msg=str(step))
            inputs |= dict(zip((f"past.{name}" for name in past), present, strict=True))


def test_what_the_graphs_compute_wrongly_is_not_exported(own, command, tmp_path, monkeypatch):
    """Numbers are compared on the spot; nothing is left of what is wrong."""
    monkeypatch.setattr(
        exporting,
        "judge_by_graphs",
        lambda *given: [value - 0.01 for value in judge_by_graphs(*given)],
    )
    result = command("export", "--to", "onnx", "--output", tmp_path / "exported")
    assert result.code == 1
    assert "was not exported: log-probabilities would be wrong by 0.01" in result.err
    assert not (tmp_path / "exported").exists()


def test_what_cannot_be_graphs_is_said(own, command, tmp_path, monkeypatch):
    asked = ("export", "--to", "onnx", "--output", tmp_path / "exported")
    monkeypatch.setattr(exporting.onnx, "PACKAGES", ("onnx", "not_there_at_all"))
    result = command(*asked)
    assert result.code == 1
    assert result.err.endswith(
        "error: runs/toy/best cannot be exported to onnx: not_there_at_all is not installed "
        "(pip install 'seq2seq[onnx]')\n"
    )
    assert not (tmp_path / "exported").exists()


def test_a_config_that_wants_graphs_of_an_lstm_is_refused_before_it_is_trained():
    with pytest.raises(ValueError, match="the model cannot become one for onnx: recurrent net"):
        config_of("lstm", export="onnx")
    assert config_of("transformer", export="onnx").training.export == "onnx"
