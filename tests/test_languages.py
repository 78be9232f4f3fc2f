"""A model of several kinds of text, through the commands: tags, weights, normalized text."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from conftest import TOY, write_toy

SAMPLED = ["tokenizer.kind=unigram", "training.subword_sampling=both", "name=whole"]


def _options(*options: str) -> list[str]:
    return [word for option in options for word in ("--set", option)]


@pytest.fixture(scope="module")
def tagged_once(command, tmp_path_factory):
    """A run that learns to spell digits and to read them, half of it in full-width letters."""
    folder = tmp_path_factory.mktemp("tagged")
    write_toy(folder)
    there = "{source: %s.digits, target: %s.de, tag: <2de>%s}"
    back = "{source: %s.de, target: %s.digits, tag: <2digits>%s}"
    corpora = [there % ("train", "train", ", weight: 1"), back % ("train", "train", ", weight: 2")]
    config = TOY.replace("[{source: train.digits, target: train.de}]", f"[{', '.join(corpora)}]")
    for name, form in {"valid": there, "first": there, "second": back}.items():
        alone = f"{{source: {name}.digits, target: {name}.de}}"
        assert alone in config
        config = config.replace(alone, form % (name, name, ""))
    config = config.replace(
        "  max_length: 48\n", "  max_length: 48\n  normalize: [nfkc, whitespace]\n"
    )
    alone = "kind: char, "  # SentencePiece has a normalization of its own
    config = config.replace(alone, f"{alone} normalization: identity, ")
    (folder / "toy.yaml").write_text(config, encoding="utf-8")
    for file in folder.glob("*.d*"):
        lines = file.read_text("utf-8").split("\n")
        file.write_text("\n".join(map(_wide, lines[::2])) + "\n" + "\n".join(lines[1::2]), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        more = _options("training.max_updates=200")  # until it says different things
        result = command("train", "toy.yaml", *more)
        assert result.code == 0, result.err
    return folder


@pytest.fixture
def tagged(tagged_once, monkeypatch):
    """The run, in the working folder; not to be altered."""
    monkeypatch.chdir(tagged_once)
    return tagged_once


def _wide(line: str) -> str:
    """The line in the full-width forms of ASCII, with another space twice."""
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
    return line.translate({**wide, 0x20: "\u3000\u3000"})


def _plain(text: str) -> str:
    lines = unicodedata.normalize("NFKC", text).split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def test_the_tag_says_what_becomes_of_a_line(tagged, command):
    spelt = command("translate", "--tag", "<2de>", stdin=b"1 2\n")
    read = command("translate", "--tag", "<2digits>", stdin=b"1 2\n")
    bare = command("translate", stdin=b"1 2\n")
    assert spelt.code == read.code == bare.code == 0
    assert len({spelt.out, read.out}) == 2


def test_a_test_set_is_translated_and_scored_with_its_tag(tagged, command, tmp_path):
    result = command("evaluate", "--json", "--output", tmp_path)
    sets = json.loads(result.out)["sets"]
    for name, tag, ends in (("first", "<2de>", "digits de"), ("second", "<2digits>", "de digits")):
        source, reference = (f"{name}.{end}" for end in ends.split())
        kept = (tmp_path / f"{name}.hypotheses.txt").read_bytes()
        text = Path(source).read_bytes()
        assert command("translate", "--tag", tag, stdin=text).out == kept
        files = ("--source", source, "--reference", reference, "--tag", tag)
        alone = command("evaluate", *files, "--json", "--output", tmp_path / "alone")
        assert [*json.loads(alone.out)["sets"].values()] == [sets[name]]


def test_a_tag_that_the_model_does_not_know_is_said(tagged, trained, command, monkeypatch):
    monkeypatch.chdir(tagged)
    for arguments in (
        ["translate", "--tag", "<2fr>"],
        ["evaluate", "--source", "first.de", "--reference", "first.de", "--tag", "<2fr>"],
    ):
        result = command(*arguments, stdin=b"1\n")
        assert (result.code, result.out) == (1, b"")
        assert result.err.splitlines()[-1] == (
            "error: <2fr> is no tag of this model; it knows <2de>, <2digits>"
        )
    monkeypatch.chdir(trained.folder)
    result = command("translate", "--tag", "<2de>", stdin=b"1\n")
    assert (result.code, result.out) == (1, b"")
    assert result.err.splitlines()[-1] == "error: <2de> is no tag of this model; it knows none"


def test_input_is_normalized_like_what_was_learned_from(tagged, command):
    text = Path("first.digits").read_text("utf-8")
    assert text != _plain(text)
    wide, plain = (
        command("translate", "--tag", "<2de>", stdin=some.encode()) for some in (text, _plain(text))
    )
    assert wide.out == plain.out


def test_references_are_scored_as_they_are(tagged, command, tmp_path):
    text = Path("first.de").read_text("utf-8")
    (tmp_path / "plain.de").write_text(_plain(text), "utf-8")
    references = ["first.de", tmp_path / "plain.de"]
    given = ("evaluate", "--json", "--source", "first.digits", "--tag", "<2de>")
    raw, plain = (
        next(
            iter(
                json.loads(command(*given, "--output", tmp_path, "--reference", path).out)[
                    "sets"
                ].values()
            )
        )
        for path in references
    )
    assert raw["ppl"] == plain["ppl"]  # of pieces, which are those of normalized text
    assert raw["chrf"] != plain["chrf"]
    for scores, path in zip((raw, plain), references, strict=True):
        kept = tmp_path / "first.digits.hypotheses.txt"
        alone = command("evaluate", "--hypothesis", kept, "--reference", path, "--json")
        (found,) = json.loads(alone.out)["sets"].values()
        assert found == {name: score for name, score in scores.items() if name != "ppl"}


def test_sampled_pieces_are_the_same_after_a_stop(trained, command, tmp_path, monkeypatch):
    for path in trained.folder.glob("*.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    fixed = ["training.batch_tokens=200", "training.validate_every=100"]
    for name, stops in {"whole": [9], "stopped": [4, 7, 9]}.items():
        for stop in stops:
            more = [f"name={name}", f"training.max_updates={stop}"]
            result = command("train", "toy.yaml", *_options(*SAMPLED, *fixed, *more))
            assert result.code == 0, result.err
    other = ["name=other", "training.max_updates=9", "training.subword_sampling=none"]
    command("train", "toy.yaml", *_options(*SAMPLED, *fixed, *other))
    for file in ("model", "optimizer"):
        found = [
            Path(f"runs/{name}/checkpoints/step-00000009/{file}.safetensors").read_bytes()
            for name in ("whole", "stopped", "other")
        ]
        assert found[0] == found[1]
        assert found[0] != found[2]
