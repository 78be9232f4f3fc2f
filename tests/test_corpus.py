"""Laws of text where it lies: sources become files, files become pairs, side by side."""

import gzip
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.config import Corpus, Data, File
from seq2seq.errors import UserError
from seq2seq.text import sources
from seq2seq.text.corpus import Text, parting, read_lines, read_pairs, read_rows
from seq2seq.text.download import FetchPermission
from seq2seq.text.rows import Pair, Unreadable
from seq2seq.text.sources import STDIN_KEPT, Places, expanded, find, locate, permit_config, verify


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _data(**options: Any) -> Data:
    given = {"source": "en", "target": "de", "train": ["a"], "valid": "b", **options}
    return Data.model_validate(given)


def _find(corpus: Any, **options: Any) -> list[Text]:
    data = _data(train=[corpus], **options)
    return find(data.train[0], data, permit_config(data), Places(Path("home")))


def _paths(corpus: Any, **options: Any) -> list[list[str]]:
    return [[file.path for file in text.files] for text in _find(corpus, **options)]


def _formats(corpus: Any) -> list[list[str]]:
    return [text.formats for text in _find(corpus)]


def _pairs(corpus: Any, **options: Any) -> list[Pair]:
    return list(read_pairs(_find(corpus, **options)))


def _write(path: str, content: str | bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def _find_complaint(corpus: Any) -> str:
    with pytest.raises(UserError) as raised:
        _find(corpus)
    return str(raised.value)


def _complaint(corpus: Any) -> str:
    with pytest.raises(UserError) as raised:
        _pairs(corpus)
    return str(raised.value)


# Sources become files


def test_a_pattern_names_a_file_a_side():
    assert _paths("data/{lang}/train.{lang}.gz") == [["data/en/train.en.gz", "data/de/train.de.gz"]]
    (text,) = _find(
        {
            "path": "{lang}.tgz",
            "member": "a/{lang}.txt",
            "urls": ["https://one.org/{lang}", "https://two.org"],
            "sha256": ["a" * 64, "b" * 64],
            "languages": ["eng", "deu"],
        }
    )
    assert text.files == [
        File(
            path=f"{language}.tgz",
            member=f"a/{language}.txt",
            urls=[f"https://one.org/{language}", "https://two.org"],
            sha256=hash_,
        )
        for language, hash_ in {"eng": "a" * 64, "deu": "b" * 64}.items()
    ]
    assert text.languages == ("eng", "deu")


@pytest.mark.parametrize("sha256", [[], ["a" * 64]])
def test_a_pattern_of_members_names_two_files_of_one_archive(sha256):
    (text,) = _find({"path": "all.tgz", "member": "train.{lang}", "sha256": sha256})
    assert text.files == [
        File(path="all.tgz", member=f"train.{language}", sha256=next(iter(sha256), None))
        for language in ("en", "de")
    ]


@pytest.mark.parametrize(
    ("corpus", "formats"),
    [
        ("a.tsv", ["tsv"]),
        ("a", ["tsv"]),
        ("a.jsonl.gz", ["jsonl"]),
        ("a.tmx", ["tmx"]),
        ({"path": "a.tsv", "format": "jsonl"}, ["jsonl"]),
        ({"path": "a.zip", "member": "b.xlf"}, ["xliff"]),
        ("a.{lang}", ["text", "text"]),
        ("a.{lang}.sgm", ["sgm", "sgm"]),
        ({"source": "a.sgm", "target": "b.txt"}, ["sgm", "text"]),
        ({"source": "a.sgm", "target": "b", "format": "text"}, ["text", "text"]),
        ({"path": "a.{lang}", "format": "sgm"}, ["sgm", "sgm"]),
    ],
)
def test_a_format_is_the_one_given_or_that_of_the_name(corpus, formats):
    assert _formats(corpus) == [formats]


def test_fields_of_digits_are_numbers():
    (text,) = _find({"path": "a.tsv", "fields": [2, "text"]})
    assert text.fields == [2, "text"]
    assert _find("a.tsv")[0].fields is None


def test_shards_come_in_the_order_of_their_names():
    for number in ("10", "2", "1", "b", "a"):
        for language in ("de", "en"):
            _write(f"shards/{number}.{language}", f"{number}\n")
    pairs = [[f"shards/{number}.{one}" for one in ("en", "de")] for number in ("1", "10", "2")]
    pairs += [["shards/a.en", "shards/a.de"], ["shards/b.en", "shards/b.de"]]
    assert _paths("shards/*.{lang}") == pairs
    assert _paths({"source": "shards/*.en", "target": "shards/*.de"}) == pairs
    assert _paths("**/[12]*.en") == [[en] for en, _ in pairs[:3]]
    assert _pairs("shards/?.{lang}") == [Pair(name, name) for name in "12ab"]


def test_shards_need_their_other_sides():
    for name in ("1.en", "2.en", "1.de"):
        _write(f"shards/{name}", "a\n")
    assert _find_complaint("shards/*.{lang}") == (
        "shards/*.en matches 2 files but shards/*.de 1; each shard needs its other side"
    )
    assert _find_complaint("shards/*.fr") == (
        "shards/*.fr matches no file; put the files there, or name others in the config"
    )


@pytest.mark.parametrize("name", ["a[1].tsv", "what?.tsv", "a*b.tsv"])
def test_a_file_may_be_called_like_a_pattern(name):
    _write("a1.tsv", "")
    _write(name, "")
    assert _paths(name) == [[name]]


def test_what_is_to_be_fetched_is_no_pattern():
    assert _paths({"path": "data/a[1].tsv", "urls": ["https://one.org"]}) == [["data/a[1].tsv"]]


def test_home_and_variables_are_put_into_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/her")
    monkeypatch.setenv("CORPORA", "/big/disk")
    monkeypatch.setenv("EMPTY", "")
    for path, expected in {
        "~/a": "/home/her/a",
        "${CORPORA}/a${EMPTY}": "/big/disk/a",
        "a/~": "a/~",
        "$CORPORA": "$CORPORA",
        "${CORPORA": "${CORPORA",
        "{CORPORA}": "{CORPORA}",
    }.items():
        assert expanded(path) == expected
    assert _paths("~/{lang}") == [["/home/her/en", "/home/her/de"]]
    assert _paths({"source": "${CORPORA}/a", "target": "b"}) == [["/big/disk/a", "b"]]


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("CORPORA", raising=False)
    assert _find_complaint("${CORPORA}/a") == (
        "${CORPORA}/a: the environment variable CORPORA is not set"
    )


def test_sets_of_sacrebleu_and_of_the_hub_are_asked_for_there(monkeypatch):
    asked = []

    def sacrebleu(name: str, languages: tuple[str, str], allowed: FetchPermission) -> list[Path]:
        asked.append((name, languages))
        return [Path("kept.src"), Path("kept.ref")]

    def huggingface(name: str, home: Path, allowed: FetchPermission) -> Path:
        asked.append((name, home))
        return Path("kept.jsonl")

    monkeypatch.setattr(sources, "sacrebleu_files", sacrebleu)
    monkeypatch.setattr(sources, "huggingface_file", huggingface)
    assert _paths("sacrebleu:wmt14/full") == [["kept.src", "kept.ref"]]
    assert _paths("huggingface:a/b:c") == [["kept.jsonl"]]
    assert _formats("sacrebleu:wmt14/full") == [["text", "text"]]
    assert _formats("huggingface:a/b") == [["jsonl"]]
    assert asked[:2] == [("wmt14/full", ("en", "de")), ("a/b:c", Path("data/huggingface"))]


def test_the_parts_of_a_corpus_are_read_one_after_the_other():
    _write("one.tsv", "a\tA\nb\tB\n")
    _write("two.en", "c\n")
    _write("two.de", "C\n")
    parts = ["one.tsv", "two.{lang}", "one.tsv"]
    expected = [pair for part in parts for pair in _pairs(part)]
    assert _pairs({"parts": parts}) == expected
    assert [pair.source for pair in expected] == ["a", "b", "c", "a", "b"]


# Standard input


class Terminal(io.BytesIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def _stdin(monkeypatch: pytest.MonkeyPatch, content: bytes, kind: type[io.BytesIO] = io.BytesIO):
    stream = io.TextIOWrapper(io.BufferedReader(kind(content)))
    monkeypatch.setattr(sys, "stdin", stream)


def test_standard_input_is_kept_and_used_again_when_nothing_comes(monkeypatch, capsys):
    content = b"a\tA\n\xc3\xbc\t\xc3\x9c\r\n"
    _stdin(monkeypatch, content)
    expected = [Pair("a", "A"), Pair("ü", "Ü")]
    assert _pairs("-") == expected
    kept = Path("home") / STDIN_KEPT
    assert kept.read_bytes() == content
    assert [path.name for path in kept.parent.iterdir()] == [STDIN_KEPT]
    said = capsys.readouterr().err
    assert said == f"reading standard input\nkeeping standard input in {kept}\n"
    assert _pairs("-") == expected  # the same command looks twice
    for kind, nothing in ((io.BytesIO, b""), (Terminal, b"typed")):
        _stdin(monkeypatch, nothing, kind)
        assert _pairs("-") == expected
    monkeypatch.setattr(sys, "stdin", None)  # closed by whoever started the command
    assert _pairs("-") == expected
    _stdin(monkeypatch, b"new\tneu\n")
    assert _pairs("-") == [Pair("new", "neu")]


def test_standard_input_may_have_another_format(monkeypatch):
    _stdin(monkeypatch, b'{"en": "a", "de": "A"}\n')
    assert _pairs({"path": "-", "format": "jsonl"}) == [Pair("a", "A")]


@pytest.mark.parametrize("kind", [io.BytesIO, Terminal])
def test_standard_input_that_never_brought_anything_is_missed(monkeypatch, kind):
    _stdin(monkeypatch, b"typed" if kind is Terminal else b"", kind)
    assert _find_complaint("-") == (
        "data.train is to come from standard input (-), which brings nothing"
    )


class Broken(io.BytesIO):
    """Standard input that breaks off."""

    def readinto(self, buffer: Any) -> int:
        if self.tell():
            raise OSError("broken")
        return super().readinto(memoryview(buffer)[:4])


def test_standard_input_that_breaks_off_leaves_what_was_kept(monkeypatch):
    _stdin(monkeypatch, b"a\tA\n")
    assert _pairs("-") == [Pair("a", "A")]
    _stdin(monkeypatch, b"b\tB\nc\tC\n", Broken)
    with pytest.raises(OSError, match="broken"):
        _find("-")
    _stdin(monkeypatch, b"")
    assert _pairs("-") == [Pair("a", "A")]


# Files become rows

# One pair, a row that cannot be read, and another pair.
BAD: dict[str, tuple[str, bytes]] = {
    "tsv": ("bad.tsv:2 has 1 column", b"a\tA\nb B\nc\tC\n"),
    "jsonl": (
        "bad.jsonl:2: column 1 is not JSON",
        b'{"en": "a", "de": "A"}\nb\n{"en": "c", "de": "C"}\n',
    ),
    "text": ("bad.text.de:2 is not UTF-8", b"A\n\xff\nC\n"),
    "sgm": (
        "bad.sgm.de:2 is not UTF-8",
        b'<seg id="1">A</seg>\n<seg id="2">\xff</seg>\n<seg id="3">C</seg>\n',
    ),
}


def _bad(form: str, on_error: str) -> Any:
    """A corpus of one format with a bad row."""
    _, content = BAD[form]
    if form in ("text", "sgm"):
        good = content.replace(b"\xff", b"b").lower()
        _write(f"bad.{form}.en", good)
        _write(f"bad.{form}.de", content)
        return {"path": f"bad.{form}.{{lang}}", "format": form, "on_error": on_error}
    _write(f"bad.{form}", content)
    return {"path": f"bad.{form}", "on_error": on_error}


@pytest.mark.parametrize("form", sorted(BAD))
def test_a_bad_row_stops_everything_or_is_left_out(form):
    message, _ = BAD[form]
    assert _complaint(_bad(form, "stop")).startswith(message)
    skipping = _bad(form, "skip")
    rows = list(read_rows(_find(skipping)[0]))
    assert [type(row) for row in rows].count(Unreadable) == 1
    (bad,) = (row for row in rows if isinstance(row, Unreadable))
    assert bad.message == _complaint(_bad(form, "stop"))
    assert _pairs(skipping) == [Pair("a", "A"), Pair("c", "C")]


@pytest.mark.parametrize("bad_side", ["en", "de"])
def test_a_bad_line_of_either_side_takes_the_other_with_it(bad_side):
    for language, lines in {"en": [b"a", b"b", b"c"], "de": [b"A", b"B", b"C"]}.items():
        lines[1] = b"\xff" if language == bad_side else lines[1]
        _write(f"x.{language}", b"\n".join(lines))
    assert _pairs({"path": "x.{lang}", "on_error": "skip"}) == [Pair("a", "A"), Pair("c", "C")]


def test_files_that_do_not_match_stop_everything_whatever_is_to_be_skipped():
    _write("x.en", b"a\n\xff\nc\n")
    _write("x.de", b"A\nB\n")
    message = "x.en has 3 lines but x.de 2; they seem to part at line "
    assert _complaint({"path": "x.{lang}", "on_error": "skip"}).startswith(message)


@pytest.mark.parametrize("compared", [2, 3])
def test_where_very_long_files_part_is_not_looked_for(monkeypatch, compared):
    """Lengths of all lines are in memory for that."""
    monkeypatch.setattr("seq2seq.text.corpus.COMPARED", compared)
    _write("x.en", "a\nb\nc\n")
    _write("x.de", "a\nb\n")
    parts = "; they seem to part at line " if compared == 3 else ""
    found = _complaint({"source": "x.en", "target": "x.de"})
    assert found.rstrip("123") == f"x.en has 3 lines but x.de 2{parts}".rstrip("123")


def test_what_is_packed_may_become_only_so_large():
    _write("x.tsv.gz", gzip.compress(b"a\tA\n" * 1000))
    assert len(_pairs("x.tsv.gz", max_unpacked=0.000004)) == 1000
    with pytest.raises(UserError, match=re.escape("x.tsv.gz")):
        _pairs("x.tsv.gz", max_unpacked=0.0000039)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"))] * 2).map(
            lambda pair: Pair(f"x{pair[0]}", f"y{pair[1]}")
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_corpus_has_the_same_pairs_in_any_form(tmp_path_factory, pairs):
    home = tmp_path_factory.getbasetemp()
    for place, language in enumerate(("en", "de")):
        content = "".join(f"{pair[place]}\n" for pair in pairs).encode()
        (home / f"x.{language}.gz").write_bytes(gzip.compress(content))
        (home / f"x.{language}").write_bytes(content)
    (home / "x.tsv").write_bytes("".join(f"-\t{b}\t{a}\n" for a, b in pairs).encode())
    values = [json.dumps({"t": {"en": a, "de": b}}) for a, b in pairs]
    (home / "x.jsonl").write_text("\n".join(values))
    for corpus in (
        f"{home}/x.{{lang}}",
        {"source": f"{home}/x.en.gz", "target": f"{home}/x.de"},
        {"path": f"{home}/x.tsv", "fields": [3, 2]},
        {"path": f"{home}/x.jsonl", "fields": ["t.en", "t.de"]},
    ):
        assert _pairs(corpus) == pairs


def test_a_file_that_is_not_there_is_fetched_if_it_is_known_where(monkeypatch):
    fetched = []

    def fetch(path: Path, urls: list[str], sha256: str | None, allowed: FetchPermission) -> None:
        fetched.append((path, urls, sha256, allowed))
        _write(str(path), "a")

    monkeypatch.setattr(sources, "fetch", fetch)
    file = File(path="data/a", urls=["https://one.org", "https://two.org"], sha256="a" * 64)
    with pytest.raises(UserError) as raised:
        locate(file)
    assert str(raised.value) == (
        "data/a is missing; the config names https://one.org or https://two.org, and a config of a "
        "model or run fetches nothing by itself: if you trust it, seq2seq evaluate --fetch gets "
        "the file"
    )
    allowed = FetchPermission(limit=10)
    for _ in range(2):  # what is there is not fetched again
        assert locate(file, allowed) == Path("data/a")
        assert fetched == [(Path("data/a"), file.urls, file.sha256, allowed)]
    with pytest.raises(UserError) as raised:
        locate(File(path="data/b"))
    assert str(raised.value) == (
        "data/b is missing; put it there, or name another file in the config"
    )


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError) as raised:
        locate(File(path=str(tmp_path)))
    assert str(raised.value) == f"{tmp_path} is a folder; name a file of text in the config"


def test_a_file_must_be_the_one_the_config_means():
    file = File(path="text", sha256="a" * 64)
    verify(file, "a" * 64)
    verify(File(path="text"), "b" * 64)
    message = (
        f"text is not the file that the config means: its sha256 is {'b' * 64}, not {'a' * 64}; "
        "move it away and fetch it again"
    )
    for urls, remedy in {(): "", ("https://one.org",): " from https://one.org"}.items():
        with pytest.raises(UserError) as raised:
            verify(file.model_copy(update={"urls": list(urls)}), "b" * 64)
        assert str(raised.value) == message + remedy


def _corpus(source: list[str], target: list[str]) -> Corpus:
    for name, lines in {"source": source, "target": target}.items():
        _write(name, "".join(f"{line}\n" for line in lines))
    return Corpus(source="source", target="target")


def test_pairs_are_the_lines_of_both_files_side_by_side():
    source, target = ["a", "", "c\x85c"], ["A", "B", ""]
    assert _pairs(_corpus(source, target)) == list(zip(source, target, strict=True))


def test_two_empty_files_are_refused():
    corpus = _corpus([], [])
    assert _complaint(corpus) == f"{corpus.source.path} and {corpus.target.path} are empty"


@pytest.mark.parametrize("source_is_longer", [True, False])
def test_files_of_different_length_are_refused_with_the_place_where_they_part(source_is_longer):
    long = [f"{'x' * (7 * number % 50)}" for number in range(1, 1501)]
    short = [*long]
    del short[700:702]
    short[40] = " \t"
    empty = long[:]
    empty[1200] = ""
    sides = [(empty, "source"), (short, "target")]
    (source, _), (target, _) = sides if source_is_longer else sides[::-1]
    corpus = _corpus(source, target)
    long_path, short_path = corpus.source.path, corpus.target.path
    if not source_is_longer:
        long_path, short_path = short_path, long_path
    assert _complaint(corpus) == (
        f"{long_path} has 1,500 lines but {short_path} 1,498; "
        f"they seem to part at line 701; the first empty line is {short_path}:41"
    )


def test_one_empty_file_is_named():
    corpus = _corpus(["a", "b"], [])
    assert _complaint(corpus) == (
        f"{corpus.source.path} has 2 lines but {corpus.target.path} 0: it is empty"
    )


@given(
    short=st.lists(st.integers(0, 200), min_size=1, max_size=60),
    surplus=st.lists(st.integers(0, 200), min_size=1, max_size=8),
    place=st.integers(0, 60),
)
@settings(max_examples=200, deadline=None)
def test_where_lines_were_put_in_between_equal_ones_is_found(short, surplus, place):
    place = min(place, len(short))
    long = short[:place] + surplus + short[place:]
    found = parting(np.array(long), np.array(short))
    assert long[:found] + long[found + len(surplus) :] == short
    assert found <= place  # where equal lines allow several, the first


def test_where_lines_were_put_in_between_similar_ones_is_found_nearly_always():
    found = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        source = random.integers(5, 200, 500)
        target = (source * random.normal(1.1, 0.1, 500)).astype(int).clip(1)
        place, count = random.integers(0, 500), random.integers(1, 5)
        long = np.insert(source, place, random.integers(5, 200, count))
        found += abs(parting(long, target) - place) <= 3
    assert found >= 95


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no path leads to a pipe here")
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_like_a_file(pack):
    reader, writer = os.pipe()
    try:
        os.write(writer, pack(b"ein Baum\nein Haus\n"))
        os.close(writer)
        assert [*read_lines(File(path=f"/dev/fd/{reader}"))] == ["ein Baum", "ein Haus"]
    finally:
        os.close(reader)


@pytest.mark.parametrize("lacking", [{"t.a.de", "t.b.en"}, {"t.c.en", "t.b.de"}])
def test_shards_are_paired_by_what_their_patterns_leave_open(lacking):
    for name in {"t.a.en", "t.b.en", "t.c.en", "t.a.de", "t.b.de", "t.c.de"} - lacking:
        Path(name).write_text("a\n")
    with pytest.raises(UserError, match="each shard needs its other side"):
        _find({"path": "t.*.{lang}"})


def test_shards_in_other_folders_stand_beside_each_other():
    for side in ("en", "de"):
        Path(side, "deep").mkdir(parents=True)
        for name in ("1", "2"):
            Path(side, "deep", f"part-{name}.txt").write_text(f"{side}{name}\n")
    texts = _find({"source": "en/*/part-?.txt", "target": "de/*/part-[0-9].txt"})
    assert list(read_pairs(texts)) == [Pair("en1", "de1"), Pair("en2", "de2")]
