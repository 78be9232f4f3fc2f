"""Laws of `seq2seq prepare`: it makes what the text and the options say, once.

That it does so whatever happens stands in test_recovery.py.
"""

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import (
    ENGLISH,
    FOLDER,
    GERMAN,
    SETS,
    content,
    corpus,  # noqa: F401 (a fixture)
    from_scratch,
    manifest,
    pair,
    segments,
    sentences,
    stores,
    toy_config,
    write_lines,
)

import seq2seq.prepare as preparation
from seq2seq.data import prepared as on_record
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.errors import UserError
from seq2seq.locks import lock
from seq2seq.prepare import prepare

ALL = {"tokenizer", *SETS}

pytestmark = pytest.mark.usefixtures("corpus")


def _marks() -> dict[str, set[tuple[str, int, int]]]:
    """Of each part that is there, its files with what changes when they are written again."""
    parts = {name: (FOLDER / name).iterdir() for name in SETS if (FOLDER / name).is_dir()}
    parts["tokenizer"] = FOLDER.glob("tokenizer*.model")
    return {
        name: {(file.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in files}
        for name, files in parts.items()
    }


def _complaint(config: Any) -> str:
    with pytest.raises(UserError) as raised:
        prepare(config)
    return str(raised.value)


def _decoded(prepared: preparation.Prepared, store: Store) -> list[list[str]]:
    """The text of both sides of a store."""
    return [
        tokenizer.decode(segments(side))
        for side, tokenizer in zip(store, prepared.tokenizers, strict=True)
    ]


# What is made


@pytest.mark.parametrize("shared", [True, False])
def test_a_store_holds_the_ids_of_the_text(shared):
    prepared = prepare(toy_config(tokenizer__shared=shared, tokenizer__vocab_size=35))
    for name in SETS:
        store = Store.open(FOLDER / name)
        text = [Path(f"{name}.{end}").read_text().split("\n")[:-1] for end in ("en", "de")]
        assert _decoded(prepared, store) == text
        for side, tokenizer, lines in zip(store, prepared.tokenizers, text, strict=True):
            assert segments(side) == tokenizer.encode(lines)
    for name, store in zip(SETS, (prepared.train, prepared.valid), strict=True):
        opened = Store.open(FOLDER / name)
        assert [*map(segments, store)] == [*map(segments, opened)]


def test_several_corpora_are_one_training_set_in_order():
    write_lines("more.en", ["one bird", "two birds"])
    write_lines("more.de", ["ein vogel", "zwei vögel"])
    parts = {"parts": [pair("more"), pair("train")]}
    together = prepare(toy_config(data__train=[pair("train"), pair("more"), parts]))
    decoded, _ = _decoded(together, together.train)
    train, more = sentences(ENGLISH, 40, 5), ["one bird", "two birds"]
    assert decoded == [*train, *more, *more, *train]
    assert together.corpora == [40, 2, 42]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_any_number_of_workers_and_any_size_of_shards_make_the_same(kind, monkeypatch):
    """A sample of the text is taken for the tokenizer, so that its order counts."""
    write_lines("more.en", [*sentences(ENGLISH, 30, 2), "", *ENGLISH])
    write_lines("more.de", [*sentences(GERMAN, 30, 2), "x", *GERMAN])
    duplicates = [{"rule": "length", "max": 4}, "duplicates", "empty"]
    config = toy_config(
        tokenizer__kind=kind,
        tokenizer__vocab_size=40,
        tokenizer__training_sentences=50,
        data__train=[pair("train"), pair("more", tag="<x>"), pair("more", filters=["empty"])],
        data__filters=duplicates,
    )
    whole = from_scratch(config)
    monkeypatch.setattr(preparation, "SMALL", 1000)  # the validation set needs no workers
    for workers, rows in ((1, 7), (1, 1), *([(2, 9)] if kind == "unigram" else [])):
        monkeypatch.setattr(preparation, "ROWS", rows)
        assert from_scratch(config, workers=workers) == whole


def test_the_manifest_says_what_there_is():
    tokenizers = prepare(toy_config()).tokenizers
    saved = manifest()
    assert saved["parts"].keys() == {*ALL, "contamination"}
    assert saved["parts"]["tokenizer"]["pieces"] == {"source": 45, "target": 45}
    for name, size in {"train": 40, "valid": 6}.items():
        part = saved["parts"][name]
        assert part["pairs"] == size
        for side, ending in (("source", "en"), ("target", "de")):
            lines = Path(f"{name}.{ending}").read_text().split("\n")[:-1]
            ids = tokenizers.source.encode(lines)
            assert part[f"{side}_pieces"] == sum(map(len, ids))
        text = [f"{name}.en and {name}.de"]
        assert part["corpora"] == [{"text": text, "rows": size, "pairs": size, "dropped": []}]
    for path, entry in saved["files"].items():
        data = Path(path).read_bytes()
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert saved["files"].keys() == {
        f"{s}.{e}" for s in ("train", "valid", "test") for e in ("en", "de")
    }


def test_what_is_dropped_is_counted_and_shown(capsys):
    english, german = sentences(ENGLISH, 40), sentences(GERMAN, 40)
    long = " ".join(ENGLISH * 3)
    english[3] = ""
    german[5] = " \t "  # empty, once it is normalized
    english[7] = german[7] = ""
    english[9] = "\x1b[2J"
    english[11] = german[13] = long
    write_lines("train.en", english)
    write_lines("train.de", german)
    config = toy_config(tokenizer__kind="word", data__max_length=20, data__filters=["control"])
    prepared = prepare(config)
    kept = [number for number in range(40) if number not in (3, 5, 7, 9, 11, 13)]
    text = [[side[number] for number in kept] for side in (english, german)]
    assert _decoded(prepared, prepared.train) == text
    (facts,) = manifest()["parts"]["train"]["corpora"]
    assert facts["rows"] == 40 == facts["pairs"] + sum(one["pairs"] for one in facts["dropped"])
    dropped = [
        ("control", [(r"\x1b[2J", german[9])]),
        ("having no pieces", [("", german[3]), (english[5], r" \t "), ("", "")]),
        ("max_length (20 pieces)", [(long, german[11]), (english[13], long)]),
    ]
    words = [sum(len(line.split()) for line in side) for side in text]
    lines = [f"train: 34 pairs, {words[0]} and {words[1]} pieces"]
    lines.append("  train.en and train.de: 34 of 40 pairs left")
    for rule, pairs in dropped:
        lines.append(f"    {len(pairs)} dropped by {rule}, such as")
        lines += [f"      {source} ||| {target}" for source, target in pairs]
    assert capsys.readouterr().err.split("\n")[1 : 1 + len(lines)] == lines
    assert [(one["rule"], one["pairs"], one["examples"]) for one in facts["dropped"]] == [
        (rule, len(pairs), [" ||| ".join(pair) for pair in pairs]) for rule, pairs in dropped
    ]


def test_what_normalization_changes_is_counted_and_shown(capsys):
    english, german = sentences(ENGLISH, 40), sentences(GERMAN, 40)
    english[7] = "sea  tree"
    english[11] = "\x1b１０⁵ sea"  # noqa: RUF001 (full-width digits)
    german[3], german[5] = "meer…", "baum  stein"
    write_lines("train.en", english)
    write_lines("train.de", german)
    prepare(toy_config(tokenizer__kind="char"))
    err = capsys.readouterr().err
    assert "  tokenizer.normalization changes 2 of 40 source lines (5.0%), such as" in err
    assert r" such as \x1b１０⁵ sea to 105 sea" in err  # noqa: RUF001
    assert (
        "  tokenizer.normalization changes 1 of 40 target lines (2.5%), such as "
        "baum  stein to baum stein\n"
    ) in err
    assert manifest()["parts"]["train"]["normalized"]["target"]["lines"] == 1
    prepare(toy_config(tokenizer__kind="char", tokenizer__normalization="nmt_nfkc"))
    assert "2 of 40 target lines (5.0%), such as meer… to meer...\n" in capsys.readouterr().err
    assert "normalized" not in err


def test_a_corpus_has_the_rules_it_names_and_else_those_of_all():
    long = {"rule": "length", "max": 2}
    corpora = [pair("train"), pair("train", filters=[]), pair("train", filters=["identical"])]
    prepared = prepare(toy_config(data__train=corpora, data__filters=[long]))
    short = sum(len(line.split()) <= 2 for line in sentences(ENGLISH, 40, 5))
    assert prepared.corpora == [short, 40, 40]


def test_pairs_to_validate_on_stay_whole_in_number():
    lines = ["", "sea", " ".join(ENGLISH), "tree"]
    write_lines("valid.en", lines)
    write_lines("valid.de", ["meer", "", "baum", " ".join(GERMAN)])
    config = toy_config(tokenizer__kind="word", data__max_length=5, data__filters=["empty"])
    prepared = prepare(config)
    assert prepared.valid.source.lengths.tolist() == [0, 1, 5, 1]
    assert prepared.valid.target.lengths.tolist() == [1, 0, 1, 5]
    part = manifest()["parts"]["valid"]
    assert (part["pairs"], part["cut"], part["corpora"][0]["dropped"]) == (4, 2, [])
    cut = prepared.tokenizers.source.decode(segments(prepared.valid.source))
    assert cut == ["", "sea", " ".join(ENGLISH[:5]), "tree"]


def test_what_is_learned_from_may_be_judged_by_too():
    """Over-long pairs are not learned from, but judged by all the same."""
    prepared = prepare(toy_config(data__valid=pair("train"), data__max_length=9))
    assert len(prepared.train) < len(prepared.valid) == 40


def test_text_is_normalized_before_rules_judge_and_pieces_are_found():
    spaced = [line.replace(" ", " \u200b \u00a0") + "\t" for line in sentences(ENGLISH, 40, 5)]
    plain = from_scratch(toy_config(data__normalize=["whitespace"], data__filters=["control"]))
    write_lines("train.en", spaced)
    assert stores() == {name: data for name, data in plain.items() if name != "manifest.json"}
    again = from_scratch(toy_config(data__normalize=["whitespace"], data__filters=["control"]))
    same = {name for name in plain if plain[name] == again[name]}
    assert {*plain} - same == {"manifest.json"}


def test_however_text_is_packed_the_same_is_made():
    from_scratch(toy_config())
    plain = stores()
    ways = {"train": gzip.compress, "valid": lzma.compress, "test": lambda data: data}
    for path in Path().glob("*.en"):
        lines = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
        path.write_bytes(ways[path.stem](lines))
    from_scratch(toy_config())
    assert stores() == plain


def test_however_text_is_written_the_same_is_made():
    from_scratch(toy_config())
    plain = stores()
    english, german = sentences(ENGLISH, 40, 5), sentences(GERMAN, 40, 5)
    rows = [*zip(english, german, strict=True)]
    write_lines("train.tsv", ["x\tde\ten", *(f"0\t{target}\t{source}" for source, target in rows)])
    objects = [{"a": {"b": [source]}, "c": target} for source, target in rows]
    write_lines("train.jsonl", [json.dumps(one) for one in objects])
    for number in range(4):
        some = slice(number * 10, number * 10 + 10)
        write_lines(f"part-{number}.en", english[some])
        write_lines(f"part-{number}.de", german[some])
    for source in (
        {"path": "train.tsv", "fields": ["en", "de"]},
        {"path": "train.jsonl", "fields": ["a.b.0", "c"]},
        {"path": "train.{lang}", "languages": ["en", "de"]},
        {"path": "part-*.{lang}", "languages": ["en", "de"]},
        {"source": "part-*.en", "target": "part-*.de"},
        {"parts": [pair(f"part-{number}") for number in range(4)]},
    ):
        from_scratch(toy_config(data__train=[source]))
        assert stores() == plain


def test_sides_with_a_vocabulary_each_do_not_know_the_others_text():
    config = toy_config(tokenizer__shared=False, tokenizer__kind="word")
    tokenizers = prepare(config).tokenizers
    for tokenizer, words in zip(tokenizers, (ENGLISH, GERMAN), strict=True):
        pieces = tokenizer.pieces(range(4, len(tokenizer)))
        assert sorted(pieces) == sorted(f"\u2581{word}" for word in words)
    assert manifest()["parts"]["tokenizer"]["pieces"] == {"source": 12, "target": 12}


def test_changing_between_one_vocabulary_and_two_leaves_no_old_tokenizer():
    two = toy_config(tokenizer__shared=False, tokenizer__vocab_size=35)
    one = toy_config(tokenizer__vocab_size=35)
    names = []
    for config in (one, two, one):
        prepare(config)
        names.append(sorted(path.name for path in FOLDER.glob("tokenizer*")))
    assert names == [["tokenizer.source.model", "tokenizer.target.model"]] * 3
    tokenizers = Tokenizers.read(FOLDER)
    every = range(len(tokenizers.source))
    assert tokenizers.source.pieces(every) == tokenizers.target.pieces(every)
    for name in names[0]:
        (FOLDER / name).unlink()
    (FOLDER / "tokenizer.model").write_bytes(b"of before")
    found = manifest()
    found["parts"]["tokenizer"]["files"] = {"tokenizer.model": 9}
    (FOLDER / "manifest.json").write_text(json.dumps(found))
    prepare(two)
    assert not (FOLDER / "tokenizer.model").exists()


def test_the_folder_is_where_the_config_says():
    prepare(toy_config())
    prepare(toy_config(data__prepared="elsewhere/deep"))
    assert content(Path("elsewhere/deep")) == content()


def test_the_key_tells_what_is_learned_and_judged_by_from_other_data_and_nothing_else():
    keys = [prepare(toy_config()).key]
    assert prepare(toy_config(name="other", training__max_updates=3)).key == keys[0]
    write_lines("test.en", sentences(ENGLISH, 5, 7))
    assert prepare(toy_config()).key == keys[0]
    for name, size in (("valid.en", 6), ("train.en", 40)):
        write_lines(name, sentences(ENGLISH, size, 1))
        keys.append(prepare(toy_config()).key)
    keys.append(prepare(toy_config(data__max_length=7)).key)
    assert len(set(keys)) == len(keys)


# What is made again


def test_a_second_call_does_nothing(capsys):
    first = prepare(toy_config())
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.name != ".lock"]
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
    assert len(files) == 3 + 3 * 4
    capsys.readouterr()
    second = prepare(toy_config())
    assert capsys.readouterr() == ("", "")
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files} == before
    assert second.key == first.key


def _rewrite(name: str, size: int, words: list[str]) -> Any:
    return lambda: write_lines(name, sentences(words, size, 7))


CHANGES = {
    "train source": (_rewrite("train.en", 40, ENGLISH), {}, ALL),
    "train target": (_rewrite("train.de", 40, GERMAN), {}, ALL),
    "valid": (_rewrite("valid.de", 6, GERMAN), {}, {"valid"}),
    "test": (_rewrite("test.en", 5, ENGLISH), {}, set()),
    "max_length": (None, {"data__max_length": 7}, {*SETS}),
    "vocab_size": (None, {"tokenizer__vocab_size": 46}, ALL),
    "kind": (None, {"tokenizer__kind": "char"}, ALL),
    "seed of a sample": (None, {"seed": 2, "tokenizer__training_sentences": 30}, ALL),
    "seed": (None, {"seed": 2}, {"tokenizer"}),
    "time": (lambda: [os.utime(path) for path in Path().glob("*.*")], {}, set()),
    "model": (None, {"model__dim": 64, "training__batch_tokens": 99}, set()),
    "language, a label": (None, {"data__target": "de"}, set()),
    "normalization": (None, {"data__normalize": ["nfc"]}, ALL),
    "normalization by the tokenizer": (None, {"tokenizer__normalization": "nfkc"}, ALL),
    "rules": (None, {"data__filters": ["empty"]}, {"tokenizer", "train"}),
    "rules of a corpus": (
        None,
        {"data__train": [pair("train", filters=["control"])]},
        {"tokenizer", "train"},
    ),
    "a tag": (None, {"data__train": [pair("train", tag="<x>")]}, ALL),
    "a weight": (None, {"data__train": [pair("train", weight=2)]}, set()),
    "temperature": (None, {"data__temperature": 5.0}, set()),
    "more to train on": (None, {"data__train": [pair("train"), pair("test")]}, ALL),
    "other valid": (None, {"data__valid": pair("test")}, {"valid"}),
}


def test_a_language_matters_where_something_goes_by_it():
    prepare(toy_config(data__normalize=["punctuation"]))
    before = _marks()
    prepare(toy_config(data__normalize=["punctuation"], data__target="de"))
    after = _marks()
    assert {name for name in ALL if before[name] != after[name]} == ALL


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_again_exactly_what_depends_on_it(change):
    edit, options, expected = CHANGES[change]
    prepare(toy_config())
    before = _marks()
    if edit:
        edit()
    prepare(toy_config(**options))
    after = _marks()
    assert {name for name in ALL if before[name] != after[name]} == expected
    assert content() == from_scratch(toy_config(**options))


@pytest.mark.parametrize(
    "victim", ["tokenizer.target.model", "train/source.ids.npy", "valid", "manifest.json"]
)
def test_what_was_removed_or_cut_off_is_made_again(victim):
    whole = from_scratch(toy_config())
    path = FOLDER / victim
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:-1] if path.suffix == ".npy" else b"")
    prepare(toy_config())
    assert content() == whole


# Bad input


def _cut_gzip(path: str) -> None:
    Path(path).write_bytes(gzip.compress(Path(path).read_bytes())[:-9])


WRONG_HASH = {"source": {"path": "test.en", "sha256": "0" * 64}, "target": "test.de"}
FAULTS = {
    "missing": (lambda: Path("test.de").unlink(), {}, "test.de is missing; put it there"),
    "other file": (None, {"data__test": {"one": WRONG_HASH}}, "test.en is not the file that"),
    "misaligned": (
        lambda: write_lines("test.en", ["a"] * 6),
        {},
        "test.en has 6 lines but test.de 5; they seem to part at line",
    ),
    "not UTF-8": (
        lambda: Path("test.de").write_bytes(b"a\n\xff\n"),
        {},
        "test.de:2 is not UTF-8 (byte 1 of the line is 0xff)",
    ),
    "damaged": (lambda: _cut_gzip("test.en"), {}, "test.en is cut off or damaged"),
    "empty": (
        lambda: [write_lines(f"test.{end}", []) for end in ("en", "de")],
        {},
        "test.en and test.de are empty",
    ),
    "valid": (
        lambda: write_lines("valid.de", ["a"] * 7),
        {},
        "valid.de has 7 lines but valid.en 6; they seem to part at line",
    ),
    "misaligned training": (
        lambda: write_lines("train.en", ["a"] * 41),
        {},
        "train.en has 41 lines but train.de 40; they seem to part at line",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_input_errors_come_before_any_long_work(fault, monkeypatch, capsys):
    edit, options, message = FAULTS[fault]
    if edit:
        edit()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("began to train a tokenizer")

    monkeypatch.setattr(preparation, "train_tokenizers", never)
    assert _complaint(toy_config(**options)).startswith(message)
    assert capsys.readouterr() == ("", "")


def test_all_that_is_missing_is_named_at_once_and_each_file_once():
    for path in ("train.en", "test.de"):
        Path(path).unlink()
    config = toy_config(data__valid={"source": "valid.en", "target": "test.de"})
    remedy = "is missing; put it there, or name another file in the config"
    assert _complaint(config) == (
        f"the data cannot be used:\n  train.en {remedy}\n  test.de {remedy}"
    )


def test_all_that_cannot_be_read_is_named_at_once():
    write_lines("valid.en", ["a"] * 7)
    Path("test.de").write_bytes(b"a\n\xff\n")
    write_lines("more.en", [])
    write_lines("more.de", [])
    tests = {"one": pair("test"), "two": pair("more")}
    first, *said = _complaint(toy_config(data__test=tests)).split("\n  ")
    assert first == "the data cannot be used:"
    for line, start in zip(
        said, ("valid.en has 7 lines", "test.de:2 is", "more.en and"), strict=True
    ):
        assert line.startswith(start)


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_loses_nothing_that_was_there(fault):
    prepare(toy_config())
    before, parts = _marks(), manifest()["parts"]
    original = {path: path.read_bytes() for path in Path().glob("*.*")}
    edit, options, _ = FAULTS[fault]
    if edit:
        edit()
    _complaint(toy_config(**options))
    assert (_marks(), manifest()["parts"]) == (before, parts)
    for path, data in original.items():
        path.write_bytes(data)
    prepare(toy_config())
    assert _marks() == before


def test_a_vocabulary_that_cannot_be_loses_nothing_that_was_there():
    whole = from_scratch(toy_config())
    before = _marks()
    _complaint(toy_config(tokenizer__vocab_size=9000))
    assert whole.items() <= content().items()  # beside it lies clean text, to go on with
    prepare(toy_config())
    assert (_marks(), content()) == (before, whole)


def test_a_training_set_with_nothing_left_does_not_replace_the_old_one():
    prepare(toy_config(tokenizer__kind="char"))
    before = _marks()
    _complaint(toy_config(tokenizer__kind="char", data__max_length=1))
    assert _marks() == before


EMPTIED = """train has no pair left:
  train.en and train.de: 0 of 40 pairs left
    {rows} dropped by {rule}, such as
      {examples}
change data.filters or data.max_length, or name other files"""


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (
            {"data__filters": [{"rule": "script", "source": ["Greek"]}]},
            "script (Greek, Latin, min 0.5)",
        ),
        ({"data__max_length": 1, "tokenizer__kind": "char"}, "max_length (1 pieces)"),
    ],
)
def test_a_rule_that_leaves_nothing_is_named_with_examples(options, rule):
    text = [*zip(sentences(ENGLISH, 40, 5), sentences(GERMAN, 40, 5), strict=True)]
    examples = "\n      ".join(" ||| ".join(one) for one in text[:3])
    expected = EMPTIED.format(rows=40, rule=rule, examples=examples)
    assert _complaint(toy_config(**options)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tokenizer__vocab_size": 9000},
            "tokenizer.vocab_size: 9,000 pieces are more than the text has; it allows at most ",
        ),
        (
            {"tokenizer__vocab_size": 9000, "tokenizer__shared": False},
            "tokenizer.vocab_size: 9,000 pieces are more than the source text has; it allows",
        ),
    ],
)
def test_options_that_the_text_does_not_allow_are_named(options, message):
    assert _complaint(toy_config(**options)).startswith(message)


def test_rows_that_cannot_be_read_are_counted_if_so_wished():
    rows = [f"{a}\t{b}" for a, b in zip(sentences(ENGLISH, 40), sentences(GERMAN, 40), strict=True)]
    for number in (3, 8, 9, 30):
        rows[number] = "no tab"
    write_lines("train.tsv", rows)
    message = _complaint(toy_config(data__train=["train.tsv"]))
    assert message.startswith("train.tsv:4 has 1 column")
    assert prepare(toy_config(data__train=[{"path": "train.tsv", "on_error": "skip"}])).corpora == [
        36
    ]
    (facts,) = manifest()["parts"]["train"]["corpora"]
    (lost,) = facts["dropped"]
    assert (facts["rows"], lost["rule"], lost["pairs"]) == (40, "on_error: skip", 4)
    places = [example.split(" ")[0] for example in lost["examples"]]
    assert places == ["train.tsv:4", "train.tsv:9", "train.tsv:10"]
    write_lines("test.tsv", ["no tab"] * 3)
    nothing = {"path": "test.tsv", "on_error": "skip"}
    for options in ({"data__valid": nothing}, {"data__test": {"one": nothing}}):
        assert _complaint(toy_config(**options)) == "test.tsv: no row can be read"


# Standard input and other processes


def _given(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text))))


def test_what_standard_input_brought_serves_until_it_brings_more(monkeypatch, capsys):
    rows = [
        f"{a}\t{b}"
        for a, b in zip(sentences(ENGLISH, 40, 5), sentences(GERMAN, 40, 5), strict=True)
    ]
    write_lines("train.tsv", rows)
    from_scratch(toy_config(data__train=["train.tsv"]))
    expected, text = stores(), Path("train.tsv").read_bytes()
    shutil.rmtree(FOLDER)
    config = toy_config(data__train=["-"])
    _given(monkeypatch, b"")
    assert (
        _complaint(config) == "data.train is to come from standard input (-), which brings nothing"
    )
    _given(monkeypatch, text)
    prepare(config)
    before, expected = _marks(), {**expected, "stdin.tsv": text}
    assert stores() == expected
    for nothing in (io.TextIOWrapper(io.BufferedReader(io.BytesIO())), None):
        monkeypatch.setattr(sys, "stdin", nothing)
        prepare(config)
        assert _marks() == before
    _given(monkeypatch, text)  # the same once more
    prepare(config)
    assert _marks() == before
    _given(monkeypatch, text + text)
    assert len(prepare(config).train) == 80


def test_a_folder_that_another_process_prepares_is_waited_for(capsys):
    done = []
    other = threading.Thread(target=lambda: done.append(prepare(toy_config())))
    with lock(FOLDER / ".lock", "busy"):
        other.start()
        other.join(0.3)
        assert (done, other.is_alive()) == ([], True)
    other.join()
    assert len(done[0].train) == 40
    first = capsys.readouterr().err.split("\n")[0]
    assert first == f"waiting for another process, which prepares {FOLDER}"


@pytest.mark.parametrize("damage", ["another format", "no JSON", "no object"])
def test_a_manifest_that_cannot_be_used_counts_for_nothing(damage, monkeypatch):
    whole = from_scratch(toy_config())
    before = _marks()
    if damage == "another format":  # such as that of folders with other stores in them
        with monkeypatch.context() as patched:
            patched.setattr(on_record, "FORMAT", 1)
            prepare(toy_config())
    else:
        (FOLDER / "manifest.json").write_text("[]" if damage == "no object" else "{")
    prepare(toy_config())
    after = _marks()
    assert all(before[name] != after[name] for name in ALL)
    assert content() == whole


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_bars_are_for_terminals_only(monkeypatch, capsys):
    prepare(toy_config())
    lines = capsys.readouterr().err
    assert "\r" not in lines
    assert [line.split()[0] for line in lines.splitlines()] == [
        *("finding", "train:", "valid:"),
        *("warning:", "warning:"),  # the toy's sets stand in its training text
    ]
    shutil.rmtree(FOLDER)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    prepare(toy_config())
    shown = terminal.getvalue()
    assert all(f"{name}:" in shown for name in ("checking", "reading train", "sampling", *SETS))
    assert "\r" in shown


def test_nothing_is_written_to_standard_output(capsys):
    prepare(toy_config())
    assert capsys.readouterr().out == ""


def test_ids_of_a_large_vocabulary_are_stored_whole(monkeypatch):
    """As with a vocabulary of more than 65,536 pieces, the ids of which need four bytes."""
    config = toy_config()
    small = prepare(config)
    expected = [segments(side) for side in small.train]
    assert small.train.source.ids.dtype == np.uint16
    shutil.rmtree(FOLDER)
    monkeypatch.setattr("seq2seq.data.tokenizer.Tokenizer.__len__", lambda self: 1 << 17)
    large = prepare(config)
    assert large.train.source.ids.dtype == np.uint32
    assert [segments(side) for side in large.train] == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX's")
def test_a_pipe_is_refused_before_it_is_waited_for():
    os.mkfifo("pipe.en")
    train = [{"source": "pipe.en", "target": "train.de"}]
    assert "pipe.en is a pipe or device" in _complaint(toy_config(data__train=train))
