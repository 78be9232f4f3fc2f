"""Laws of `seq2seq prepare --dry-run N`: it shows what `prepare` then does, and does nothing."""

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from toy import (
    ENGLISH,
    FOLDER,
    GERMAN,
    corpus,  # noqa: F401 (a fixture)
    pair,
    segments,
    sentences,
    toy_config,
    write_lines,
)

from seq2seq.prepare import prepare

pytestmark = pytest.mark.usefixtures("corpus")


class Shown(NamedTuple):
    """What a preview shows of a pair."""

    fate: str
    raw: list[str]
    became: list[str]  # like `raw` where nothing is said
    pieces: list[list[str]]


NOT_LOOKED_AT = "validation and test sets have not been looked at\n"


def _read(out: bytes) -> dict[str, list[Shown]]:
    """What a preview shows, by the text of each corpus."""
    corpora: dict[str, list[Shown]] = {}
    for line in out.decode().splitlines():
        if not line.startswith(" "):
            some = corpora.setdefault(line, [])
        elif found := re.fullmatch(r" *(\d+) (.*)", line):
            assert int(found[1]) == len(some) + 1
            some.append(Shown(found[2], [], [], []))
        else:
            key, _, text = line.strip(" ").partition("  ")
            if key == "became":
                some[-1].became[-1] = text
            elif key == "pieces":
                some[-1].pieces.append(text.split(" ") if text else [])
            else:
                assert key == ["source", "target"][len(some[-1].raw)]
                some[-1].raw.append(text)
                some[-1].became.append(text)
    return corpora


def _write(config: object) -> None:
    Path("toy.yaml").write_text(config.model_dump_json())


def _two_corpora() -> dict[str, object]:
    """The toy's options with two corpora of which each rule drops something."""
    english, german = sentences(ENGLISH, 40, 5), sentences(GERMAN, 40, 5)
    english[2], german[4], english[7] = "", "\t", "sea \u00a0 tree\u200b"
    english[6], german[6] = english[1], german[1]
    german[9], german[8] = "\x07baum", english[8]
    write_lines("train.en", english)
    write_lines("train.de", german)
    return {
        "data__train": [pair("train"), pair("test", tag="<x>", filters=["empty"])],
        "data__filters": [
            "control",
            "identical",
            {"rule": "duplicates", "of": "source"},
        ],
        "data__normalize": ["whitespace"],
        "data__max_length": 15,
    }


def test_what_is_shown_is_what_is_done(command):
    config = toy_config(**_two_corpora())
    _write(config)
    prepared = prepare(config)
    result = command("prepare", "toy.yaml", "--dry-run", "100")
    assert (result.code, result.err) == (
        0,
        f"pieces are those of the tokenizer in {FOLDER}\n{NOT_LOOKED_AT}",
    )
    shown = _read(result.out)
    assert [*shown] == ["train.en and train.de", "test.en and test.de"]
    assert [len(some) for some in shown.values()] == [40, 5]

    kept = [one for some in shown.values() for one in some if one.fate == "kept"]
    for place, (side, tokenizer) in enumerate(
        zip(prepared.train, prepared.tokenizers, strict=True)
    ):
        ids = segments(side)
        assert [one.pieces[place] for one in kept] == list(map(tokenizer.pieces, ids))
        text = [[token for token in some if not tokenizer.is_tag(token)] for some in ids]
        assert [one.became[place] for one in kept] == tokenizer.decode(text)
    assert sum(one.pieces[0][0] == "<x>" for one in kept) == prepared.corpora[1] > 0

    parts = json.loads((FOLDER / "manifest.json").read_text())["parts"]
    for some, facts in zip(shown.values(), parts["train"]["corpora"], strict=True):
        fates = [one.fate for one in some]
        counted = {f"dropped by {one['rule']}": one["pairs"] for one in facts["dropped"]}
        assert {fate: fates.count(fate) for fate in fates if fate != "kept"} == counted
        assert fates.count("kept") == facts["pairs"]
    assert len({one.fate for one in shown["train.en and train.de"]}) == 6

    eighth = shown["train.en and train.de"][7]
    assert eighth.raw[0] == r"sea \xa0 tree\u200b"
    assert eighth.became[0] == "sea tree"
    first = command("prepare", "toy.yaml", "--dry-run", "3")
    assert _read(first.out) == {name: some[:3] for name, some in shown.items()}


def test_nothing_is_written_and_no_tokenizer_is_needed(command):
    _write(toy_config(**_two_corpora(), tokenizer__vocab_size=9000, tokenizer__kind="unigram"))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = command("prepare", "toy.yaml", "--dry-run", "4")
    assert result.code == 0, result.err
    assert result.err == (
        "pieces are found in the first 20,000 pairs of each corpus, for this preview alone\n"
        + NOT_LOOKED_AT
    )
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    assert not FOLDER.exists()
    shown = _read(result.out)
    assert [len(some) for some in shown.values()] == [4, 4]
    assert shown["test.en and test.de"][0].pieces[0][0] == "<x>"


@pytest.mark.parametrize("options", [{"tokenizer__shared": False}, {}], ids=["two", "tag"])
def test_a_tokenizer_that_does_not_fit_the_config_is_not_used(options, command):
    prepare(toy_config(tokenizer__vocab_size=35))
    tagged = [pair("train", tag="<x>")]
    _write(toy_config(**options, tokenizer__vocab_size=35, data__train=tagged))
    result = command("prepare", "toy.yaml", "--dry-run", "1")
    assert (result.code, "for this preview alone" in result.err) == (0, True), result.err


@pytest.mark.parametrize(
    ("shards", "more"), [(2, ""), (3, ""), (4, " and 1 more"), (12, " and 9 more")]
)
def test_of_many_files_three_are_named(command, shards, more):
    for number in range(shards):
        write_lines(f"shard-{number:02}.en", ["a tree"])
        write_lines(f"shard-{number:02}.de", ["ein baum"])
    shards_of = {"source": "shard-*.en", "target": "shard-*.de"}
    _write(toy_config(data__train=[shards_of], data__filters=[]))
    result = command("prepare", "toy.yaml", "--dry-run", "1")
    assert result.code == 0, result.err
    names = [f"shard-{number:02}.en and shard-{number:02}.de" for number in range(min(shards, 3))]
    named = ", ".join(names) + more if more else " and ".join(names)
    assert result.out.decode().splitlines()[0] == named


def test_a_row_that_cannot_be_read_is_shown_as_such(command):
    write_lines("train.tsv", ["a\tb", "c", "d\te\tf"] + ["g\th"] * 30)
    source = {"path": "train.tsv", "on_error": "skip"}
    _write(toy_config(data__train=[source], tokenizer__kind="char"))
    (shown,) = _read(command("prepare", "toy.yaml", "--dry-run", "3").out).values()
    assert [one.fate for one in shown][::2] == ["kept", "kept"]
    assert shown[1].fate.startswith("dropped: train.tsv:2 has 1 column")
    _write(toy_config(data__train=["train.tsv"], tokenizer__kind="char"))
    result = command("prepare", "toy.yaml", "--dry-run", "3")
    assert (result.code, result.out) == (1, b"")
    assert result.err.splitlines()[-1].startswith("error: train.tsv:2 has 1 column")


def test_all_that_is_missing_is_named(command):
    _write(toy_config(data__train=[pair("absent"), pair("none")]))
    result = command("prepare", "toy.yaml", "--dry-run", "3")
    assert (result.code, result.out) == (1, b"")
    missing = ["absent.en", "absent.de", "none.en", "none.de"]
    said = [line.split()[0] for line in result.err.splitlines()[1:]]
    assert said == missing


def test_standard_input_of_a_preview_does_not_replace_what_was_kept(command):
    rows = [f"{a}\t{b}" for a, b in zip(sentences(ENGLISH, 40), sentences(GERMAN, 40), strict=True)]
    whole = "".join(f"{row}\n" for row in rows).encode()
    _write(toy_config(data__train=["-"]))
    some = b"".join(whole.splitlines(keepends=True)[20:])
    first = command("prepare", "toy.yaml", "--dry-run", "2", stdin=some)
    assert (first.code, FOLDER.exists()) == (0, False)
    assert command("prepare", "toy.yaml", stdin=whole).code == 0
    of_some = command("prepare", "toy.yaml", "--dry-run", "2", stdin=some)
    of_whole = command("prepare", "toy.yaml", "--dry-run", "2")
    for result, start in ((of_some, 20), (of_whole, 0)):
        (shown,) = _read(result.out).values()
        assert ["\t".join(one.raw) for one in shown] == rows[start : start + 2]
    assert (FOLDER / "stdin.tsv").read_bytes() == whole
    said = f"using what it brought before, {FOLDER / 'stdin.tsv'}\n"
    assert command("prepare", "toy.yaml") == (
        0,
        b"",
        f"reading standard input\nstandard input brings nothing; {said}",
    )


def test_text_that_no_terminal_should_see_is_shown_harmlessly(command):
    lines = [json.dumps({"source": f"\x1b[2J {n}", "target": f"\ud800 {n}"}) for n in range(40)]
    write_lines("train.jsonl", lines)
    config = toy_config(
        data__train=["train.jsonl"], data__filters=["control"], tokenizer__kind="char"
    )
    _write(config)
    result = command("prepare", "toy.yaml", "--dry-run", "2")
    assert result.code == 0, result.err
    assert result.out.replace(b"\n", b"").decode().isprintable()
    dropped = command("prepare", "toy.yaml")
    assert dropped.code == 1
    assert r"\x1b[2J 0 ||| \ud800 0" in dropped.err
    shutil.rmtree(FOLDER)
