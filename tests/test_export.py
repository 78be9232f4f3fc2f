"""Laws of `seq2seq export`: what it writes translates as we do, or nothing is written."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from tiny import build_tiny, config_of

from seq2seq import export as exporting
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.files import check_manifest
from seq2seq.models.folder import save_model, weights_of

pytest.importorskip("ctranslate2")

LINES = b"1 2\n3\n4 4 4\n"


def program(folder: Path) -> str:
    """The Python program in a README.txt."""
    text = (folder / "README.txt").read_text(encoding="utf-8")
    lines = [line[4:] for line in text.split("\n") if line.startswith("    ")]
    return "\n".join(line for line in lines if not line.startswith("pip "))


def test_the_readme_of_an_export_to_ctranslate2_translates_as_we_do(own, command, tmp_path):
    output = tmp_path / "exported"
    result = command("export", "--to", "ctranslate2", "--output", output)
    assert (result.code, result.out) == (0, b"")
    assert f"{output} is runs/toy/best for ctranslate2; log-probabilities differ by" in result.err
    check_manifest(output, "")
    greedy = program(output).replace("beam_size=2", "beam_size=1")
    assert greedy != program(output)
    expected = command("translate", "--beam", "1", stdin=LINES).out.splitlines()
    for line, translation in zip(LINES.splitlines(), expected, strict=True):
        done = subprocess.run(
            [sys.executable, "-c", greedy], input=line, cwd=output, capture_output=True, check=True
        )
        assert translation
        assert done.stdout.decode().strip().startswith(translation.decode())  # it knows no limit


def test_an_exported_model_folder_needs_nothing_else(own, command, tmp_path):
    expected = command("translate", stdin=LINES).out
    output = tmp_path / "exported"
    result = command("export", "runs/toy", "--to", "safetensors", "--output", output)
    assert (result.code, result.out) == (0, b"")
    assert result.err == (
        f"{output} is runs/toy/best for safetensors; log-probabilities differ by 0 at most\n"
    )
    Path("runs").rename(tmp_path / "elsewhere")
    assert command("translate", "--model", output, stdin=LINES).out == expected


def test_an_lstm_is_refused_with_the_reason(own, command, tmp_path):
    config = config_of("lstm")
    tokenizers = Tokenizers.read(Path("runs/toy/best"))
    weights = weights_of(build_tiny(config, vocab=len(tokenizers.target)))
    save_model(tmp_path / "lstm", config, tokenizers, weights, {})
    result = command("export", tmp_path / "lstm", "--to", "ctranslate2", "--output", "out")
    assert result.code == 1
    assert result.err == (
        f"error: {tmp_path / 'lstm'} cannot be exported to CTranslate2: "
        "it has no model of kind lstm\n"
    )
    assert not Path("out").exists()
    other = command("export", tmp_path / "lstm", "--to", "safetensors", "--output", "out")
    assert other.code == 0


def test_a_config_that_wants_an_export_has_a_model_for_it():
    assert config_of("transformer", export="ctranslate2").training.export == "ctranslate2"
    with pytest.raises(ValidationError, match=r"training\.export.*no model of kind lstm"):
        config_of("lstm", export="ctranslate2")


@pytest.mark.parametrize("to", ["ctranslate2", "safetensors"])
def test_an_export_with_other_numbers_leaves_nothing(to, own, command, monkeypatch):
    write = exporting.FORMATS[to]

    def spoiled(opened, model, folder, pairs):
        weight = next(one for name, one in model.named_parameters() if "norm" in name)
        before = weight.detach().clone()
        weight.data += 0.5  # what is written, and not what is compared
        if to == "safetensors":
            monkeypatch.setattr(exporting, "load_model", lambda *given: model)
        found = write(opened, model, folder, pairs)
        weight.data = before
        return found

    monkeypatch.setitem(exporting.FORMATS, to, spoiled)
    result = command("export", "--to", to, "--output", "out")
    assert result.code == 1
    assert "was not exported: log-probabilities would be wrong by" in result.err
    assert not list(Path().glob("out*"))


def test_what_is_there_is_left_alone(own, command):
    Path("out").mkdir()
    result = command("export", "--to", "safetensors", "--output", "out")
    assert (result.code, result.err) == (
        1,
        "error: out exists; give --output a name that is still free\n",
    )
    assert not list(Path("out").iterdir())


def test_only_known_formats_are_asked_for(own, command):
    result = command("export", "--to", "pickle", "--output", "out")
    assert (result.code, result.err) == (
        2,
        "error: --to: must be one of ctranslate2, onnx, safetensors, not pickle\n",
    )
