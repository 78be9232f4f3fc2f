"""Runs of the version before targets had a tokenizer file of their own still do what they did.

`old_version.tar.xz` was written by that version: two runs with the folders prepared for them, one
with a tokenizer for both sides and one with a tokenizer a side, and the configs and text of both.
"""

import json
import tarfile
from pathlib import Path

import pytest

from seq2seq.config import dump, load
from seq2seq.config.options import Normalization
from seq2seq.data.tokenizer import SIDE_FILES
from seq2seq.runs import open_model

ARCHIVE = Path(__file__).with_name("old_version.tar.xz")
LINES = "1 2\n３ ４ ５\n7\n０ ９\n8 6 5\n"  # noqa: RUF001 (full-width digits)
RULE = "nmt_nfkc"
TRANSLATIONS = {
    "shared": ["eins zwei...", "null fünf...", "drei drei drei...", "null null...", "eins fünf..."],
    "unshared": ["sechs...", "sechs..", "siebeeieieiei", "null null...", "sechs..."],
}
RESUMED = {"shared": 3.0134191799646053, "unshared": 2.9037731133056566}  # perplexity at 310


@pytest.fixture(params=["shared", "unshared"])
def old(request, tmp_path, monkeypatch) -> str:
    """The name of an old run, in a working folder that has all of it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return request.param


@pytest.mark.parametrize("engine", ["pytorch", "ctranslate2"])
def test_an_old_model_translates_as_it_did(old, engine, command):
    asked = ["--model", f"runs/{old}", "--set", f"decoding.engine={engine}"]
    result = command("translate", *asked, stdin=LINES.encode())
    assert result.code == 0, result.err
    assert result.out.decode().splitlines() == TRANSLATIONS[old]


def test_an_old_run_goes_on_with_its_data(old, command):
    result = command("train", f"{old}.yaml", "--set", "training.max_updates=310")
    assert result.code == 0, result.err
    assert "going on after update 300" in result.err
    assert "finding" not in result.err  # what was prepared is taken as it is
    last = json.loads(Path(f"runs/{old}/metrics.jsonl").read_text().splitlines()[-1])
    assert last["update"] == 310
    assert last["valid"]["ppl"] == pytest.approx(RESUMED[old], rel=1e-3)


def test_an_old_config_keeps_its_meaning(old):
    for config in (load(f"runs/{old}/config.yaml"), open_model(Path("runs", old)).config):
        assert config.tokenizer.normalization == Normalization(source=RULE, target=RULE)
        assert f"normalization: {RULE}\n" in dump(config)
        assert config.tokenizer.shared == (old == "shared")


def test_an_old_run_says_that_it_goes_on_as_it_was_begun(old, command):
    text = Path(f"{old}.yaml").read_text()
    text = text.replace("tokenizer: {", "tokenizer: {normalization: nfkc, ")
    Path("other.yaml").write_text(text)
    more = ["--set", "training.max_updates=310", "--set", f"name={old}"]
    result = command("train", "other.yaml", *more)
    assert result.code != 0
    assert 'tokenizer.normalization.target: "nmt_nfkc" before, "nfkc" now' in result.err
    result = command("train", f"{old}.yaml", "--dry-run")
    assert result.code == 0, result.err
    said = f"runs/{old} was begun with tokenizer.normalization: nmt_nfkc, and goes on so"
    assert said in result.err


def test_what_is_made_of_an_old_model_has_a_tokenizer_a_side(old, command):
    for name, arguments in {
        "safetensors": ["export", f"runs/{old}", "--to", "safetensors", "--output"],
        "ctranslate2": ["export", f"runs/{old}", "--to", "ctranslate2", "--output"],
    }.items():
        result = command(*arguments, name)
        assert result.code == 0, result.err
        assert sorted(path.name for path in Path(name).glob("tokenizer*")) == [*SIDE_FILES]
    result = command("translate", "--model", "safetensors", stdin=LINES.encode())
    assert result.out.decode().splitlines() == TRANSLATIONS[old]
