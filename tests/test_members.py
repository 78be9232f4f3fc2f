"""The laws of several models that translate together, through the command and from Python."""

import json
import math
from pathlib import Path

import pytest
import torch
from tiny import build_tiny, config_of

import seq2seq
from seq2seq.config import Config, Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.tokenizer import BOS, EOS, Tokenizer, Tokenizers, train_tokenizer
from seq2seq.errors import UserError
from seq2seq.models import Seq2Seq
from seq2seq.models.folder import save_model, weights_of

TEXT = ["eins zwei drei vier", "zwei drei fünf", "vier sechs acht"] * 5
TOKENIZER = train_tokenizer(TEXT, TokenizerOptions(kind="char", vocab_size=290), 1)
OTHER = train_tokenizer([*TEXT, "x y"], TokenizerOptions(kind="char", vocab_size=289), 1)
LINES = ["eins zwei", "", "drei", "vier acht"]
KINDS = [["transformer", "lstm"], ["lstm", "lstm", "transformer"]]
SAID = "our own search does it, in place of CTranslate2: it serves one model at a time\n"


def config_with(kind: str, **data: object) -> Config:
    config = config_of(kind)
    changed = config.data.model_copy(update={"max_length": 24, **data})
    update = {"device": "cpu", "data": changed, "decoding": Decoding(beam=2)}
    return config.model_copy(update=update)


def model_of(kind: str, seed: int) -> Seq2Seq:
    """Random weights, with likelihoods that differ."""
    model = build_tiny(config_with(kind), seed, len(TOKENIZER)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def folder_of(
    path: Path, kind: str, seed: int = 1, tokenizer: Tokenizer = TOKENIZER, **data: object
) -> Path:
    weights = weights_of(model_of(kind, seed))
    save_model(path, config_with(kind, **data), Tokenizers(tokenizer, tokenizer), weights, {})
    return path


def named(folders: list[Path]) -> list[str]:
    return [word for folder in folders for word in ("--model", str(folder))]


@pytest.mark.parametrize("kinds", KINDS)
def test_the_likelihood_of_a_translation_is_the_mean_of_what_models_say(kinds, command, tmp_path):
    folders = [folder_of(tmp_path / str(n), kind, seed=n) for n, kind in enumerate(kinds)]
    flags = ["--json", "--scores", "--tokens"]
    stdin = "\n".join(map(json.dumps, LINES)).encode()
    result = command("translate", *named(folders), *flags, stdin=stdin)
    assert (result.code, result.err) == (0, SAID if kinds[0] == "transformer" else "")
    ids = {piece: token for token, piece in enumerate(TOKENIZER.pieces(range(len(TOKENIZER))))}
    models = [model_of(kind, seed) for seed, kind in enumerate(kinds)]
    for line, row in zip(LINES, result.out.splitlines(), strict=True):
        found = json.loads(row)
        source = torch.tensor([[*TOKENIZER.encode([line])[0], EOS]])
        tokens = [ids[piece] for piece in found["tokens"]]
        expected = 0.0
        for place, token in enumerate([*tokens, EOS] if line else []):
            prefix = torch.tensor([[BOS, *tokens[:place]]])
            with torch.inference_mode():
                said = [one.project(one(source, prefix))[0, -1].softmax(0) for one in models]
            expected += math.log(sum(one[token].item() for one in said) / len(models))
        assert found["log_probability"] == pytest.approx(expected, abs=1e-3)


def test_a_model_with_itself_is_that_model_alone(command, tmp_path):
    folder = folder_of(tmp_path / "model", "lstm")
    stdin = "\n".join(LINES).encode()
    alone = command("translate", *named([folder]), stdin=stdin)
    assert alone.code == 0
    assert any(alone.out.split(b"\n"))
    assert command("translate", *named([folder] * 3), stdin=stdin) == alone


def test_processes_and_python_give_what_the_command_gives(command, tmp_path):
    folders = [folder_of(tmp_path / kind, kind) for kind in ("lstm", "transformer")]
    stdin = "\n".join(LINES).encode()
    flags = [*named(folders), "--alignments", "soft"]
    expected = command("translate", *flags, stdin=stdin)
    assert expected.code == 0
    assert command("translate", *flags, "--processes", "2", stdin=stdin) == expected
    found = seq2seq.load(folders).translate(LINES, alignments="soft")
    said = "".join(f"{one.text} ||| {one.alignment}\n" for one in found)
    assert said.encode() == expected.out
    assert any(one.alignment for one in found)


def test_lines_are_as_short_as_all_can_read(command, tmp_path):
    folders = [folder_of(tmp_path / str(room), "lstm", max_length=room) for room in (24, 5, 9)]
    result = command("translate", *named(folders), stdin=b"eins zwei drei")
    assert result.err == (
        "warning: line 1 has 15 pieces; only the first 5 are translated (data.max_length)\n"
    )


def test_models_that_do_not_belong_together_are_refused(command, tmp_path):
    first = folder_of(tmp_path / "first", "lstm")
    foreign = folder_of(tmp_path / "foreign", "lstm", tokenizer=OTHER)
    odd = folder_of(tmp_path / "odd", "transformer", normalize=["nfc"])
    (tmp_path / "out").write_text("old")
    reasons = {
        foreign: "their tokenizers differ",
        odd: "data.normalize is [] in one and [nfc] in the other",
    }
    for other, reason in reasons.items():
        said = (
            f"{first} and {other} cannot translate together: {reason}; "
            "name models that were trained on the same prepared data"
        )
        flags = [*named([first, other]), "--output", str(tmp_path / "out")]
        assert command("translate", *flags) == (1, b"", f"error: {said}\n")
        with pytest.raises(UserError) as raised:
            seq2seq.load([first, other])
        assert str(raised.value) == said
    assert (tmp_path / "out").read_text() == "old"


def test_an_engine_for_one_model_is_refused_for_several(command, tmp_path):
    folders = [folder_of(tmp_path / kind, kind) for kind in ("transformer", "lstm")]
    flags = ["translate", *named(folders)]
    assert command(*flags, "--engine", "ctranslate2").err == (
        "error: CTranslate2 cannot do it: it serves one model at a time; "
        "set decoding.engine to auto\n"
    )
    assert command(*flags, "--precision", "int8").err == (
        "error: decoding.precision: int8 needs CTranslate2: it serves one model at a time\n"
    )


def test_the_environment_names_one_model_and_flags_take_its_place(command, tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "with:colon and space", "lstm")
    monkeypatch.setenv("SEQ2SEQ_MODEL", str(folder))
    expected = command("translate", *named([folder]), stdin=b"eins")
    assert expected.code == 0
    assert command("translate", stdin=b"eins") == expected
    monkeypatch.setenv("SEQ2SEQ_MODEL", "absent")
    assert command("translate", *named([folder]), stdin=b"eins") == expected
