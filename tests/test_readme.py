"""The README as a newcomer follows it: its set-up commands, its config and its commands work."""

import gzip
import json
import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = [
    "training.max_updates=2",
    "training.validate_every=2",
    "tokenizer.kind=char",
    "model.dim=16",
    "model.heads=2",
    "model.ffn_dim=16",
]
WORDS = ("red", "rot"), ("green", "grün"), ("house", "Haus"), ("tree", "Baum"), ("and", "und")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the files that the README names, a few words in each."""
    english, german = ("".join(f"{pair[side]}\n" * 4 for pair in WORDS) for side in (0, 1))
    for name in ("train", "dev", "news"):
        (tmp_path / f"{name}.en").write_text(english, encoding="utf-8")
        (tmp_path / f"{name}.de").write_text(german, encoding="utf-8")
    objects = "".join(f"{json.dumps(line)}\n" for line in english.splitlines())
    texts = {"theirs.de": german, "input.txt": english, "input.jsonl": objects}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    config = re.search(r"```yaml\n# mine\.yaml\n(.*?)```", README, re.DOTALL)
    assert config is not None
    (tmp_path / "mine.yaml").write_text(config[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(pattern: str) -> list[str]:
    """The indented command lines of the README that match."""
    lines = re.findall(r"^    (seq2seq .*?)(?: +#.*)?$", README, re.MULTILINE)
    return [line for line in lines if re.search(pattern, line)]


def test_the_walk_with_text_of_ones_own_works_as_written(folder, command):
    small = [part for option in SMALL for part in ("--set", option)]
    walk = commands("mine|--hypothesis")
    assert [line.split()[1] for line in walk] == [
        "prepare",
        "train",
        "train",
        "evaluate",
        "evaluate",
        "evaluate",
        "evaluate",
        "translate",
        "translate",
    ]
    for line in walk:
        words = shlex.split(line)[1:]
        arguments = [*takewhile(lambda word: word not in ("<", "|"), words)]
        stdin = (folder / "input.txt").read_bytes() if "<" in words else b""
        result = command(
            *arguments, *(small if words[0] in ("prepare", "train") else []), stdin=stdin
        )
        assert result.code == 0, f"{line}: {result.err}"
        if words[0] == "translate":
            assert result.out.count(b"\n") == stdin.count(b"\n")
    assert {run.name for run in folder.glob("runs/[a-z]*")} == {"mine", "smaller-batches"}
    objects = gzip.decompress((folder / "output.jsonl.gz").read_bytes()).splitlines()
    assert [len(json.loads(one)["translations"]) for one in objects] == [5] * 4 * len(WORDS)


def test_every_config_that_is_named_is_there():
    named = re.findall(r"configs/[\w.-]+\.yaml", README)
    assert named
    assert all((ROOT / path).is_file() for path in named)


def test_every_file_of_the_house_is_drawn():
    house = README[README.index("    seq2seq/\n") :]
    drawn = set(re.findall(r"(\w+\.py)", house))
    there = {
        path.name
        for path in (ROOT / "seq2seq").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    }
    assert drawn - {"__init__.py"} == there


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *ROOT.glob("[a-z]*/README.md")]:
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]
        assert not missing, f"{page}: {missing}"
