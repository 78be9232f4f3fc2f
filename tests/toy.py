"""A toy corpus, and what was prepared of it, for the tests of `seq2seq prepare`."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.config import Config
from seq2seq.data.store import Side
from seq2seq.prepare import prepare

FOLDER = Path("data", "prepared", "toy")
SETS = ["train", "valid"]

# Eight words a side, so that every sentence of a few words is unlike its neighbours.
ENGLISH = ["sea", "tree", "stone", "rain", "bird", "house", "road", "night"]
GERMAN = ["meer", "baum", "stein", "regen", "vogel", "haus", "weg", "nacht"]


def sentences(words: list[str], count: int, shift: int = 0) -> list[str]:
    """Sentences of one to five of eight words."""
    return [
        " ".join(words[(number * step + shift) % 8] for step in range(1, 2 + number % 5))
        for number in range(count)
    ]


def write_lines(path: str | Path, lines: list[str]) -> None:
    """Writes a file of text."""
    Path(path).write_bytes("".join(f"{line}\n" for line in lines).encode())


def write_text(sizes: dict[str, int]) -> None:
    """Writes a corpus of each name, a file a side, into the working folder."""
    for name, size in sizes.items():
        write_lines(f"{name}.en", sentences(ENGLISH, size, len(name)))
        write_lines(f"{name}.de", sentences(GERMAN, size, len(name)))


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty training pairs, six to validate on and five to test on, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and the matter of test_files
    write_text({"train": 40, "valid": 6, "test": 5})


def pair(name: str, **more: Any) -> dict[str, Any]:
    """The source of a corpus in a config."""
    return {"source": f"{name}.en", "target": f"{name}.de", **more}


def toy_config(**changes: Any) -> Config:
    """The toy config; a change such as data__max_length=5 sets an option of a section."""
    options: dict[str, Any] = {
        "name": "toy",
        "data": {
            "train": [pair("train")],
            "valid": pair("valid"),
            "test": {"one": pair("test")},
        },
        "tokenizer": {"kind": "bpe", "vocab_size": 45, "byte_fallback": False},
        "model": {"kind": "transformer", "share_embeddings": "none"},
    }
    for name, value in changes.items():
        section, _, option = name.rpartition("__")
        (options.setdefault(section, {}) if section else options)[option] = value
    return Config.model_validate(options)


def manifest() -> dict[str, Any]:
    """What the manifest says."""
    return json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def content(folder: Path = FOLDER) -> dict[str, bytes]:
    """All that was prepared; of the inputs that the manifest remembers, without their times."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    saved = json.loads(found["manifest.json"])
    for entry in saved["files"].values():
        del entry["time"]
    return {**found, "manifest.json": json.dumps(saved, sort_keys=True).encode()}


def stores(folder: Path = FOLDER) -> dict[str, bytes]:
    """The stores and tokenizers alone."""
    return {name: data for name, data in content(folder).items() if name != "manifest.json"}


def from_scratch(config: Config, **more: Any) -> dict[str, bytes]:
    """What a first preparation makes."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    prepare(config, **more)
    return content()


def segments(side: Side) -> list[list[int]]:
    """The ids of each segment of a side."""
    return [
        side.ids[start:end].tolist()
        for start, end in zip(side.offsets[:-1], side.offsets[1:], strict=True)
    ]


def leftovers(folder: Path = FOLDER) -> Iterator[Path]:
    """What is half done."""
    for path in folder.rglob("*"):
        if path.name == "work" or path.name.endswith((".partial", ".old")):
            yield path
