"""The configs here reach what they promise: on real text where SEQ2SEQ_DATA names a folder with it.

That every config loads stands in test_config.py.
"""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif("SEQ2SEQ_DATA" not in os.environ, reason="SEQ2SEQ_DATA names no real text")
def test_multi30k_is_prepared_from_the_files_as_published(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/multi30k").symlink_to(Path(os.environ["SEQ2SEQ_DATA"], "multi30k").resolve())
    result = command("prepare", ROOT / "configs/multi30k.yaml", "--set", "tokenizer.kind=word")
    assert (result.code, result.out) == (0, b"")
    parts = json.loads(Path("data/prepared/multi30k/manifest.json").read_text())["parts"]
    pairs = {name: part["pairs"] for name, part in parts.items() if "pairs" in part}
    assert pairs == {"train": 29_000, "valid": 1_014, "test.test_2016_flickr": 1_000}


def test_a_published_file_that_is_missing_is_named_with_its_address(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = command("prepare", ROOT / "configs/multi30k.yaml")
    assert result.code == 1
    for name in ("train.en.gz", "train.de.gz", "val.en.gz", "test_2016_flickr.de.gz"):
        assert f"  data/multi30k/{name} is missing; fetch https://" in result.err
    assert result.err.count("/data/task1/raw/") == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "quickstart-lstm"])
def test_the_quick_start_translates_its_phrasebook(name, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/phrasebook").symlink_to(ROOT / "data/phrasebook")
    assert command("train", ROOT / f"configs/{name}.yaml").code == 0
    scores = json.loads(command("evaluate", "--json").out)["sets"]["phrasebook"]
    assert scores["bleu"]["score"] > 90
