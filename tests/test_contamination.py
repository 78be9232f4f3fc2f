"""Laws of contamination: what of a set stands in the training text is told when it is prepared."""

import json
from pathlib import Path

from seq2seq.scoring.contamination import Contamination


def lines(name: str) -> list[str]:
    return Path(name).read_text("utf-8").splitlines()


def extend(name: str, some: list[str]) -> None:
    Path(name).write_text("".join(f"{line}\n" for line in [*lines(name), *some]), "utf-8")


def expected(name: str) -> dict[str, int]:
    """The counts of a set, taken from the lines as they are."""
    learned = [*zip(lines("train.digits"), lines("train.de"), strict=True)]
    asked = [*zip(lines(f"{name}.digits"), lines(f"{name}.de"), strict=True)]
    long = [(len(source.split()) >= 3, len(target.split()) >= 3) for source, target in asked]
    sources, targets = ({*side} for side in zip(*learned, strict=True))
    return {
        "lines": len(asked),
        "pairs": sum(pair in learned for pair in asked),
        "sources": sum(one[0] in sources and ok[0] for one, ok in zip(asked, long, strict=True)),
        "targets": sum(one[1] in targets and ok[1] for one, ok in zip(asked, long, strict=True)),
    }


def test_each_set_is_compared_once_and_told_everywhere(own, command, monkeypatch):
    monkeypatch.setattr("seq2seq.scoring.contamination.FEW", 3)
    both = [lines(f"train.{side}") for side in ("digits", "de")]
    long = [number for number, line in enumerate(both[0]) if len(line.split()) >= 3]
    for name in ("valid", "second"):
        extend(f"{name}.digits", [both[0][long[0]], both[0][long[1]], "1 2 3 4 5 6"])
        extend(f"{name}.de", [both[1][long[0]], "eins zwei drei", both[1][long[2]]])
    result = command("prepare", "toy.yaml")
    assert result.code == 0, result.err
    found = json.loads(Path("prepared/manifest.json").read_text())["parts"]["contamination"]["sets"]
    assert found.keys() == {"valid", "test/first", "test/second"}
    for name, counts in found.items():
        assert counts == expected(name.removeprefix("test/"))
    for name in ("valid", "test/second"):
        counts = Contamination(**found[name])
        assert counts.pairs >= 1
        assert counts.sources >= 2
        assert counts.targets >= 2
        assert result.err.count(f"warning: {name}: {counts}; its scores will be too good") == 1
    assert "warning" not in command("prepare", "toy.yaml").err  # nothing is done twice
    scores = json.loads(command("evaluate", "runs/toy", "--json").out)
    assert scores["counts"]["second"]["learned"] == found["test/second"]["targets"]
    assert command("report", "runs/toy", "--output", "page.html").code == 0
    assert str(Contamination(**found["valid"])) in Path("page.html").read_text("utf-8")


def test_a_test_set_that_comes_later_is_compared_too(own, command):
    third = (
        Path("toy.yaml")
        .read_text()
        .replace("second:", "third: {source: train.digits, target: train.de}\n    second:")
    )
    Path("toy.yaml").write_text(third)
    result = command("train", "toy.yaml")
    assert "warning: test/third: of 60 lines, 60 stand in the training text as pairs" in result.err


def test_tags_before_sources_do_not_hide_them(own, command):
    tagged = (
        Path("toy.yaml").read_text().replace("target: train.de}", "target: train.de, tag: <x>}")
    )
    tagged = tagged.replace(
        "  valid:", "  watch: {again: {source: train.digits, target: train.de}}\n  valid:"
    )
    Path("toy.yaml").write_text(tagged)
    result = command("prepare", "toy.yaml", "--set", "data.prepared=tagged")
    assert result.code == 0, result.err
    assert "warning: watch/again: of 60 lines, 60 stand in" in result.err


def test_sets_of_their_own_are_not_warned_of(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for name, words in {"train": "a b c d e f", "valid": "g h i j k l"}.items():
        text = "".join(f"{one} {other}\n" for one in words.split() for other in words.split())
        Path(f"{name}.en").write_text(text)
        Path(f"{name}.de").write_text(text.upper())
    Path("own.yaml").write_text(
        "data: {train: [{source: train.en, target: train.de}],"
        " valid: {source: valid.en, target: valid.de}}\n"
        "tokenizer: {kind: char, vocab_size: 300}\n"
    )
    result = command("prepare", "own.yaml")
    assert (result.code, "warning" in result.err) == (0, False), result.err
