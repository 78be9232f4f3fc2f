"""The laws of who searches and who tells alignments; of conversions whose model has changed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from tiny import build_tiny, config_of

from seq2seq.config import Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.decoding import choice as conversions_users
from seq2seq.decoding import conversions
from seq2seq.files import write_manifest
from seq2seq.layout import WEIGHTS
from seq2seq.models.folder import save_model, weights_of

pytest.importorskip("ctranslate2")

TEXT = ["eins zwei drei vier", "zwei drei fünf", "vier sechs acht"] * 5
TOKENIZER = train_tokenizer(TEXT, TokenizerOptions(kind="char", vocab_size=290), 1)
STDIN = "eins zwei\n\ndrei vier fünf\nacht\n".encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder that CTranslate2 can serve, and has been converted for."""
    config = config_of(model={"positions": "sinusoidal"})
    data = config.data.model_copy(update={"max_length": 24})
    update = {"device": "cpu", "data": data, "decoding": Decoding(beam=2)}
    config = config.model_copy(update=update)
    model = build_tiny(config, 1, len(TOKENIZER)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    folder = tmp_path / "model"
    save_model(folder, config, Tokenizers(TOKENIZER, TOKENIZER), weights_of(model), {})
    return folder


def test_whoever_searches_alignments_are_the_same(command, folder):
    flags = ["translate", "--model", folder, "--n-best", "2"]
    plain = command(*flags, "--engine", "ctranslate2", stdin=STDIN)
    assert plain.code == 0
    by_engine = {
        engine: command(*flags, "--engine", engine, "--alignments", "hard", stdin=STDIN)
        for engine in ("ctranslate2", "pytorch")
    }
    assert by_engine["ctranslate2"].err == ""
    aligned = [row.rsplit(b" ||| ", 1) for row in by_engine["ctranslate2"].out.splitlines()]
    assert [row for row, _ in aligned] == plain.out.splitlines()
    assert any(alignment for _, alignment in aligned)
    others = [row.rsplit(b" ||| ", 1)[1] for row in by_engine["pytorch"].out.splitlines()]
    assert [alignment for _, alignment in aligned] == others


def test_altered_weights_are_not_translated_with_a_conversion_of_others(command, folder):
    flags = ["translate", "--model", folder]
    assert command(*flags, stdin=STDIN).code == 0
    expected = command(*flags, stdin=STDIN)
    assert (expected.code, expected.err) == (0, "")
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-4] + b"\0\0\0\1")
    result = command(*flags, stdin=STDIN)
    assert (result.code, result.out) == (1, b"")
    assert WEIGHTS in result.err
    (folder / WEIGHTS).write_bytes(content)
    assert command(*flags, stdin=STDIN) == expected


def test_an_older_file_of_weights_is_found_out_too(command, folder):
    flags = ["translate", "--model", folder]
    assert command(*flags, stdin=STDIN).code == 0
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-4] + b"\0\0\0\1")
    os.utime(folder / WEIGHTS, (1, 1))
    assert command(*flags, stdin=STDIN).code == 1


def test_weights_of_a_copy_are_read_once(command, folder, tmp_path, monkeypatch):
    assert command("translate", "--model", folder, stdin=STDIN).code == 0
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copy)
    os.utime(tmp_path / "copy" / WEIGHTS, (1, 1))
    checked: list[Path] = []
    check = conversions.check_model

    def counted(path: Path) -> None:
        checked.append(path)
        check(path)

    monkeypatch.setattr(conversions, "check_model", counted)
    copy = tmp_path / "copy"
    for model, times in ((folder, 0), (copy, 1), (copy, 0)):
        checked.clear()
        result = command("translate", "--model", model, stdin=STDIN)
        assert (result.code, result.err) == (0, "")
        assert checked.count(model) == times


def test_json_of_alignments_has_them_whoever_searches(command, folder):
    flags = ["translate", "--model", folder, "--json", "--alignments", "soft"]
    row = command(*flags, stdin=b'{"text": "eins zwei", "alignment": "old"}').out
    assert json.loads(row)["alignment"] not in ("", "old")


def test_no_conversion_is_kept_of_weights_that_came_in_between(
    command, folder, tmp_path, monkeypatch
):
    """A folder is replaced while it is being read, and put back before anybody looks."""
    evil = tmp_path / "evil"
    shutil.copytree(folder, evil)
    with torch.no_grad():
        weights = {name: value + 1 for name, value in load_file(folder / WEIGHTS).items()}
    (evil / WEIGHTS).write_bytes(save(weights))
    write_manifest(evil)
    load = conversions_users.load_on_processor

    def swapped(place, *arguments):
        folder.rename(tmp_path / "good")
        evil.rename(folder)
        try:
            return load(place, *arguments)
        finally:
            folder.rename(evil)
            (tmp_path / "good").rename(folder)

    monkeypatch.setattr(conversions_users, "load_on_processor", swapped)
    result = command("translate", "--model", folder, stdin=STDIN)
    assert (result.code, result.out) == (1, b"")
    assert "was replaced while it was read" in result.err
