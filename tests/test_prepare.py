"""Laws of `seq2seq prepare`: it makes what the text and the options say, once, whatever happens."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq2seq.prepare as preparation
from seq2seq.config import Config
from seq2seq.data.store import Store
from seq2seq.errors import UserError
from seq2seq.files import lock
from seq2seq.prepare import prepare

FOLDER = Path("data", "prepared", "toy")
SETS = ["train", "valid", "test.one"]
ALL = {"tokenizer", *SETS}

# Eight words a side, so that every sentence of a few words is unlike its neighbours.
ENGLISH = ["sea", "tree", "stone", "rain", "bird", "house", "road", "night"]
GERMAN = ["meer", "baum", "stein", "regen", "vogel", "haus", "weg", "nacht"]


def _sentences(words: list[str], count: int, shift: int = 0) -> list[str]:
    return [
        " ".join(words[(number * step + shift) % 8] for step in range(1, 2 + number % 5))
        for number in range(count)
    ]


def _write(path: str, lines: list[str]) -> None:
    Path(path).write_bytes("".join(f"{line}\n" for line in lines).encode())


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    """Forty training pairs, six to validate on and five to test on, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and the matter of test_files
    for name, size in {"train": 40, "valid": 6, "test": 5}.items():
        _write(f"{name}.en", _sentences(ENGLISH, size, len(name)))
        _write(f"{name}.de", _sentences(GERMAN, size, len(name)))


def _pair(name: str) -> dict[str, str]:
    return {"source": f"{name}.en", "target": f"{name}.de"}


def _config(**changes: Any) -> Config:
    """The toy config; a change such as data__max_length=5 sets an option of a section."""
    options: dict[str, Any] = {
        "name": "toy",
        "data": {
            "train": [_pair("train")],
            "valid": _pair("valid"),
            "test": {"one": _pair("test")},
        },
        "tokenizer": {"kind": "bpe", "vocab_size": 45, "byte_fallback": False},
        "model": {"kind": "transformer", "share_embeddings": "none"},
    }
    for name, value in changes.items():
        section, _, option = name.rpartition("__")
        (options.setdefault(section, {}) if section else options)[option] = value
    return Config.model_validate(options)


def _manifest() -> dict[str, Any]:
    return json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def _content(folder: Path = FOLDER) -> dict[str, bytes]:
    """All that was prepared, without the times of the inputs that a manifest remembers."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    content = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    parts = json.loads(content["manifest.json"])["parts"]
    return {**content, "manifest.json": json.dumps(parts, sort_keys=True).encode()}


def _marks() -> dict[str, set[tuple[str, int, int]]]:
    """Of each part that is there, its files with what changes when they are written again."""
    parts = {name: (FOLDER / name).iterdir() for name in SETS if (FOLDER / name).is_dir()}
    parts["tokenizer"] = FOLDER.glob("tokenizer*.model")
    return {
        name: {(file.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in files}
        for name, files in parts.items()
    }


def _from_scratch(config: Config) -> dict[str, bytes]:
    """What a first preparation makes."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    prepare(config)
    return _content()


def _segments(side: Any) -> list[list[int]]:
    return [
        side.ids[start:end].tolist()
        for start, end in zip(side.offsets[:-1], side.offsets[1:], strict=True)
    ]


def _complaint(config: Config) -> str:
    with pytest.raises(UserError) as raised:
        prepare(config)
    return str(raised.value)


# What is made


@pytest.mark.parametrize("shared", [True, False])
def test_a_store_holds_the_ids_of_the_text(shared):
    config = _config(tokenizer__shared=shared, tokenizer__vocab_size=35)
    prepared = prepare(config)
    for name, stem in {"train": "train", "valid": "valid", "test.one": "test"}.items():
        store = Store.open(FOLDER / name)
        for side, tokenizer, ending in zip(store, prepared.tokenizers, ("en", "de"), strict=True):
            lines = Path(f"{stem}.{ending}").read_text().split("\n")[:-1]
            assert _segments(side) == tokenizer.encode(lines)
            assert tokenizer.decode(_segments(side)) == lines
    assert [_segments(side) for side in prepared.train] == [
        _segments(side) for side in Store.open(FOLDER / "train")
    ]
    assert len(prepared.valid) == 6


def test_several_corpora_are_one_training_set():
    _write("more.en", ["one bird", "two birds"])
    _write("more.de", ["ein vogel", "zwei vögel"])
    together = prepare(_config(data__train=[_pair("train"), _pair("more")]))
    decoded = together.tokenizers.source.decode(_segments(together.train.source))
    assert decoded == [*_sentences(ENGLISH, 40, 5), "one bird", "two birds"]


def test_sides_with_a_vocabulary_each_do_not_know_the_others_text():
    config = _config(tokenizer__shared=False, tokenizer__kind="word")
    tokenizers = prepare(config).tokenizers
    for tokenizer, words in zip(tokenizers, (ENGLISH, GERMAN), strict=True):
        pieces = tokenizer.pieces(range(4, len(tokenizer)))
        assert sorted(pieces) == sorted(f"\u2581{word}" for word in words)
    assert _manifest()["parts"]["tokenizer"]["pieces"] == {"source": 12, "target": 12}


def test_changing_between_one_vocabulary_and_two_leaves_no_old_tokenizer():
    two = _config(tokenizer__shared=False, tokenizer__vocab_size=35)
    one = _config(tokenizer__vocab_size=35)
    names = []
    for config in (one, two, one):
        prepare(config)
        names.append(sorted(path.name for path in FOLDER.glob("tokenizer*")))
    assert names == [
        ["tokenizer.model"],
        ["tokenizer.source.model", "tokenizer.target.model"],
        ["tokenizer.model"],
    ]


def test_the_manifest_says_what_there_is():
    config = _config()
    tokenizers = prepare(config).tokenizers
    manifest = _manifest()
    assert manifest["parts"].keys() == ALL
    assert manifest["parts"]["tokenizer"]["pieces"] == {"source": 45, "target": 45}
    for name, size in {"train": 40, "valid": 6, "test": 5}.items():
        part = manifest["parts"]["test.one" if name == "test" else name]
        assert part["pairs"] == size
        for side, ending in (("source", "en"), ("target", "de")):
            lines = Path(f"{name}.{ending}").read_text().split("\n")[:-1]
            ids = tokenizers.source.encode(lines)
            assert part[f"{side}_pieces"] == sum(map(len, ids))
    for path, entry in manifest["files"].items():
        content = Path(path).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["files"].keys() == {
        f"{s}.{e}" for s in ("train", "valid", "test") for e in ("en", "de")
    }


def test_training_pairs_that_teach_nothing_are_dropped_and_counted(capsys):
    english, german = _sentences(ENGLISH, 40), _sentences(GERMAN, 40)
    long = " ".join(ENGLISH * 3)
    english[3] = ""  # an empty source
    german[5] = " \t "  # an empty target, once it is normalized
    english[7] = german[7] = ""  # both
    english[11] = long  # an over-long source
    german[13] = long  # an over-long target
    english[17], german[17] = "", long  # empty counts first
    _write("train.en", english)
    _write("train.de", german)
    prepared = prepare(_config(tokenizer__kind="word", data__max_length=20))
    kept = [number for number in range(40) if number not in (3, 5, 7, 11, 13, 17)]
    decoded = [
        tokenizer.decode(_segments(side))
        for side, tokenizer in zip(prepared.train, prepared.tokenizers, strict=True)
    ]
    assert decoded == [[text[number] for number in kept] for text in (english, german)]
    part = _manifest()["parts"]["train"]
    facts = {"pairs": 34, "dropped_empty": 4, "dropped_long": 2, "cut": 0}
    assert {name: part[name] for name in facts} == facts
    words = [sum(len(text[number].split()) for number in kept) for text in (english, german)]
    assert capsys.readouterr().err.splitlines()[1] == (
        f"train: 34 pairs, {words[0]} and {words[1]} pieces, 4 with an empty side dropped, "
        "2 longer than 20 pieces dropped"
    )


def test_pairs_to_validate_or_test_on_stay_whole_in_number():
    lines = ["", "sea", " ".join(ENGLISH), "tree"]
    for name in ("valid", "test"):
        _write(f"{name}.en", lines)
        _write(f"{name}.de", ["meer", "", "baum", " ".join(GERMAN)])
    prepared = prepare(_config(tokenizer__kind="word", data__max_length=5))
    for name in ("valid", "test.one"):
        store = Store.open(FOLDER / name)
        assert store.source.lengths.tolist() == [0, 1, 5, 1]
        assert store.target.lengths.tolist() == [1, 0, 1, 5]
        part = _manifest()["parts"][name]
        assert (part["pairs"], part["cut"], part["dropped_empty"]) == (4, 2, 0)
    cut = prepared.tokenizers.source.decode(_segments(prepared.valid.source))
    assert cut == ["", "sea", " ".join(ENGLISH[:5]), "tree"]


def test_any_block_size_makes_the_same(monkeypatch):
    whole = _from_scratch(_config())
    monkeypatch.setattr(preparation, "BLOCK", 3)
    assert _from_scratch(_config()) == whole


def test_gzip_and_windows_line_ends_change_nothing():
    plain = {name: data for name, data in _from_scratch(_config()).items() if "npy" in name}
    for path in Path().glob("*.en"):
        path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")))
    other = _from_scratch(_config())
    assert {name: data for name, data in other.items() if "npy" in name} == plain


def test_the_folder_is_where_the_config_says():
    prepare(_config())
    prepare(_config(data__prepared="elsewhere/deep"))
    assert _content(Path("elsewhere/deep")) == _content()


def test_the_key_tells_what_is_learned_and_judged_by_from_other_data_and_nothing_else():
    keys = [prepare(_config()).key]
    assert prepare(_config(name="other", training__max_updates=3)).key == keys[0]
    _write("test.en", _sentences(ENGLISH, 5, 7))
    assert prepare(_config()).key == keys[0]
    for name, size in (("valid.en", 6), ("train.en", 40)):
        _write(name, _sentences(ENGLISH, size, 1))
        keys.append(prepare(_config()).key)
    keys.append(prepare(_config(data__max_length=7)).key)
    assert len(set(keys)) == len(keys)


# What is made again


def test_a_second_call_does_nothing(capsys):
    first = prepare(_config())
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.name != ".lock"]
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
    assert len(files) == 2 + 3 * 4
    capsys.readouterr()
    second = prepare(_config())
    assert capsys.readouterr() == ("", "")
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files} == before
    assert second.key == first.key


def _rewrite(name: str, size: int, words: list[str]) -> Any:
    return lambda: _write(name, _sentences(words, size, 7))


CHANGES = {
    "train source": (_rewrite("train.en", 40, ENGLISH), {}, ALL),
    "train target": (_rewrite("train.de", 40, GERMAN), {}, ALL),
    "valid": (_rewrite("valid.de", 6, GERMAN), {}, {"valid"}),
    "test": (_rewrite("test.en", 5, ENGLISH), {}, {"test.one"}),
    "max_length": (None, {"data__max_length": 7}, {*SETS}),
    "vocab_size": (None, {"tokenizer__vocab_size": 46}, ALL),
    "kind": (None, {"tokenizer__kind": "char"}, ALL),
    "seed of a sample": (None, {"seed": 2, "tokenizer__training_sentences": 30}, ALL),
    "seed": (None, {"seed": 2}, {"tokenizer"}),
    "time": (lambda: [os.utime(path) for path in Path().glob("*.*")], {}, set()),
    "model": (None, {"model__dim": 64, "training__batch_tokens": 99, "data__target": "X"}, set()),
    "more to train on": (None, {"data__train": [_pair("train"), _pair("test")]}, ALL),
    "other valid": (None, {"data__valid": _pair("test")}, {"valid"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_again_exactly_what_depends_on_it(change):
    edit, options, expected = CHANGES[change]
    prepare(_config())
    before = _marks()
    if edit:
        edit()
    prepare(_config(**options))
    after = _marks()
    assert {name for name in ALL if before[name] != after[name]} == expected
    assert _content() == _from_scratch(_config(**options))


def test_a_new_test_set_is_added_to_what_there_is():
    prepare(_config())
    before = _marks()
    config = _config(data__test={"one": _pair("test"), "two": _pair("valid")})
    prepare(config)
    assert _marks() == before
    assert len(Store.open(FOLDER / "test.two")) == 6
    assert _content() == _from_scratch(config)


@pytest.mark.parametrize(
    "victim", ["tokenizer.model", "train/source.ids.npy", "valid", "manifest.json"]
)
def test_what_was_removed_or_cut_off_is_made_again(victim):
    whole = _from_scratch(_config())
    path = FOLDER / victim
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:-1] if path.suffix == ".npy" else b"")
    prepare(_config())
    assert _content() == whole


def test_a_manifest_of_another_format_counts_for_nothing(monkeypatch):
    prepare(_config())
    before = _marks()
    monkeypatch.setattr(preparation, "FORMAT", preparation.FORMAT + 1)
    prepare(_config())
    after = _marks()
    assert all(before[name] != after[name] for name in ALL)


# Interruptions


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Makes the n-th moment at which a file or a folder takes its place the last one."""
    moments = count()
    for name in ("replace", "rename"):
        real = getattr(os, name)

        def last(*paths, real=real):
            if next(moments) == call:
                raise KeyboardInterrupt
            return real(*paths)

        monkeypatch.setattr(os, name, last)


def test_a_preparation_that_was_broken_off_anywhere_ends_the_same(monkeypatch):
    whole = _from_scratch(_config())
    for call in count():
        shutil.rmtree(FOLDER)
        with monkeypatch.context() as patched:
            _interrupt_at(patched, call)
            try:
                prepare(_config())
                break
            except KeyboardInterrupt:
                pass
        prepare(_config())
        assert _content() == whole
    assert call > 7  # a tokenizer, three stores, and the manifest after each


def test_a_change_that_was_broken_off_and_undone_leaves_what_was(monkeypatch):
    """Sizes cannot tell here: the changed sets have as many pieces as before."""
    whole = _from_scratch(_config())
    original = {path: path.read_bytes() for path in Path().glob("*.*")}
    for call in count():
        for path, content in original.items():
            lines = content.splitlines(keepends=True)
            path.write_bytes(b"".join(lines[::-1]))
        with monkeypatch.context() as patched:
            _interrupt_at(patched, call)
            try:
                prepare(_config())
                break
            except KeyboardInterrupt:
                pass
        for path, content in original.items():
            path.write_bytes(content)
        prepare(_config())
        assert _content() == whole
    assert call > 7


KILLED = """
import os, signal, sys
import seq2seq.prepare as preparation
from seq2seq.config import load

moments = int(sys.argv[1])
real = os.rename

def last(*paths):
    global moments
    moments -= 1
    if moments < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*paths)

os.rename = last
preparation.prepare(load("config.yaml"))
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with a POSIX signal")
@pytest.mark.parametrize("renames", [0, 3])
def test_a_killed_preparation_ends_the_same_on_the_next_call(renames):
    config = _config(data__max_length=9)
    whole = _from_scratch(config)
    _from_scratch(_config())  # so that folders are replaced: two renames each
    Path("config.yaml").write_text(config.model_dump_json())
    killed = subprocess.run([sys.executable, "-c", KILLED, str(renames)])
    assert killed.returncode == -signal.SIGKILL
    prepare(config)
    assert _content() == whole


def test_a_folder_that_is_being_prepared_is_left_alone():
    with lock(FOLDER / ".lock", "busy"):
        assert _complaint(_config()) == (
            f"{FOLDER} is being prepared by another process; wait until it is done"
        )


# Bad input


def _cut_gzip(path: str) -> None:
    Path(path).write_bytes(gzip.compress(Path(path).read_bytes())[:-9])


WRONG_HASH = {"source": {"path": "test.en", "sha256": "0" * 64}, "target": "test.de"}
FAULTS = {
    "missing": (lambda: Path("test.de").unlink(), {}, "test.de is missing; put it there"),
    "other file": (None, {"data__test": {"one": WRONG_HASH}}, "test.en is not the file that"),
    "misaligned": (
        lambda: _write("test.en", ["a"] * 6),
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
        lambda: [_write(f"test.{end}", []) for end in ("en", "de")],
        {},
        "test.en and test.de are empty",
    ),
    "misaligned training": (
        lambda: _write("train.en", ["a"] * 41),
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

    monkeypatch.setattr(preparation, "train_tokenizer", never)
    assert _complaint(_config(**options)).startswith(message)
    assert capsys.readouterr() == ("", "")


def test_all_that_is_missing_is_named_at_once_and_each_file_once():
    for path in ("train.en", "test.de"):
        Path(path).unlink()
    config = _config(data__valid={"source": "valid.en", "target": "test.de"})
    remedy = "is missing; put it there, or name another file in the config"
    assert _complaint(config) == (
        f"the data cannot be used:\n  train.en {remedy}\n  test.de {remedy}"
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_loses_nothing_that_was_there(fault):
    whole = _from_scratch(_config())
    before = _marks()
    original = {path: path.read_bytes() for path in Path().glob("*.*")}
    edit, options, _ = FAULTS[fault]
    if edit:
        edit()
    _complaint(_config(**options))
    assert _content() == whole
    for path, content in original.items():
        path.write_bytes(content)
    prepare(_config())
    assert _marks() == before


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
        (
            {"data__max_length": 1, "tokenizer__kind": "char"},
            "train has no pair left: 0 pairs, 0 and 0 pieces, 40 longer than 1 pieces dropped; "
            "raise data.max_length, or name other files",
        ),
    ],
)
def test_options_that_the_text_does_not_allow_are_named(options, message):
    assert _complaint(_config(**options)).startswith(message)


def test_a_vocabulary_that_cannot_be_loses_nothing_that_was_there():
    whole = _from_scratch(_config())
    before = _marks()
    _complaint(_config(tokenizer__vocab_size=9000))
    assert _content() == whole
    prepare(_config())
    assert _marks() == before


def test_a_training_set_with_nothing_left_does_not_replace_the_old_one():
    prepare(_config(tokenizer__kind="char"))
    before = _marks()
    _complaint(_config(tokenizer__kind="char", data__max_length=1))
    assert _marks() == before


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_bars_are_for_terminals_only(monkeypatch, capsys):
    prepare(_config())
    lines = capsys.readouterr().err
    assert "\r" not in lines
    assert [line.split()[0] for line in lines.splitlines()] == [
        "finding",
        "train:",
        "valid:",
        "test.one:",
    ]
    shutil.rmtree(FOLDER)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    prepare(_config())
    shown = terminal.getvalue()
    assert all(f"{name}:" in shown for name in ("checking", "reading", *SETS))
    assert "\r" in shown


def test_nothing_is_written_to_standard_output(capsys):
    prepare(_config())
    assert capsys.readouterr().out == ""


def test_ids_of_a_large_vocabulary_are_stored_whole(monkeypatch):
    """As with a vocabulary of more than 65,536 pieces, the ids of which need four bytes."""
    config = _config()
    small = prepare(config)
    expected = [_segments(side) for side in small.train]
    assert small.train.source.ids.dtype == np.uint16
    shutil.rmtree(FOLDER)
    monkeypatch.setattr("seq2seq.data.tokenizer.Tokenizer.__len__", lambda self: 1 << 17)
    large = prepare(config)
    assert large.train.source.ids.dtype == np.uint32
    assert [_segments(side) for side in large.train] == expected
