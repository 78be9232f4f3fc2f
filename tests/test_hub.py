"""Laws of hub.py: a set that is named becomes files like any others, whole or not at all."""

import hashlib
import io
import json
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sacrebleu
from sacrebleu.dataset.fake_sgml import FakeSGMLDataset

from seq2seq.errors import UserError
from seq2seq.text.formats import SIDES
from seq2seq.text.hub import huggingface_file, sacrebleu_files

SIDES_OF_SET = {
    "toy-src.en.sgm": [" the house\n", "3 < 5", "x\u2028y"],
    "toy-ref.de.sgm": ["das Haus", "3 < 5", ""],
}

# From Python 3.12 on, tarfile warns of how sacreBLEU calls it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


# sacreBLEU


def _sgm(texts: list[str]) -> bytes:
    segments = "\n".join(
        f'<seg id="{number}">{text.strip()}</seg>' for number, text in enumerate(texts, start=1)
    )
    return f'<srcset setid="toy">\n<doc docid="a">\n{segments}\n</doc></srcset>\n'.encode()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address at which a folder is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Toy:
    """A test set of which sacreBLEU knows, and the server that has it."""

    def __init__(self, home: Path, served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.served, self.monkeypatch = home, served, monkeypatch
        served.mkdir()
        with tarfile.open(served / "toy.tgz", "w:gz") as archive:
            for name, texts in SIDES_OF_SET.items():
                entry = tarfile.TarInfo(f"toy/{name}")
                entry.size = len(_sgm(texts))
                archive.addfile(entry, io.BytesIO(_sgm(texts)))
        self.md5 = hashlib.md5((served / "toy.tgz").read_bytes()).hexdigest()
        monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(home))
        monkeypatch.setattr("sacrebleu.dataset.base.SACREBLEU_DIR", str(home))

    def known_at(self, address: str, md5: str | None = None) -> None:
        """Tells sacreBLEU where the set is, and what its checksum is."""
        files = [f"toy/{name}" for name in SIDES_OF_SET]
        dataset = FakeSGMLDataset(
            "toy/full",
            data=[f"{address}/toy.tgz"],
            md5=[md5 or self.md5],
            langpairs={"en-de": files, "de-en": files[::-1]},
        )
        self.monkeypatch.setitem(sacrebleu.DATASETS, "toy/full", dataset)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    return Toy(tmp_path / "home", tmp_path / "served", monkeypatch)


def test_a_set_of_sacrebleu_becomes_the_text_of_its_segments(toy):
    with serving(toy.served) as address:
        toy.known_at(address)
        found = sacrebleu_files("toy/full", ("en", "de"))
    for path, texts in zip(found, SIDES_OF_SET.values(), strict=True):
        with open(path, "rb") as lines:
            segments = SIDES["sgm"](io.BytesIO(_sgm(texts)), "f")
            assert list(SIDES["text"](lines, "f")) == list(segments)
    toy.known_at("http://127.0.0.1:9")  # nobody is there
    assert sacrebleu_files("toy/full", ("en", "de")) == found


def test_the_other_direction_has_the_other_files(toy):
    with serving(toy.served) as address:
        toy.known_at(address)
        there = sacrebleu_files("toy/full", ("en", "de"))
        back = sacrebleu_files("toy/full", ("de", "en"))
    assert [path.read_text() for path in back] == [path.read_text() for path in there[::-1]]


def test_a_cache_that_may_not_be_written_can_be_read(toy, monkeypatch):
    with serving(toy.served) as address:
        toy.known_at(address)
        found = sacrebleu_files("toy/full", ("en", "de"))
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("seq2seq.text.hub.lock", lambda *_, **__: pytest.fail("it needs no lock"))
    assert sacrebleu_files("toy/full", ("en", "de")) == found


def _refusal(name: str = "toy/full", languages: tuple[str, str] = ("en", "de")) -> str:
    with pytest.raises(UserError) as raised:
        sacrebleu_files(name, languages)
    return str(raised.value)


def test_an_unknown_set_of_sacrebleu_is_named(toy):
    assert _refusal("wmt14/ful") == (
        "sacrebleu:wmt14/ful is no test set of sacreBLEU's; did you mean wmt14/full?"
    )
    assert _refusal("?") == (
        "sacrebleu:? is no test set of sacreBLEU's; sacrebleu --list shows all"
    )
    toy.known_at("http://127.0.0.1:9")
    assert _refusal(languages=("source", "target")) == (
        "sacrebleu:toy/full has no source-target; set data.source and data.target, or languages "
        "beside it, to one of: en-de, de-en"
    )


def test_a_set_of_sacrebleu_that_cannot_be_fetched_says_how_to_get_it(toy, capsys):
    folder = toy.home / "toy" / "full"
    remedy = (
        "where there is internet, run sacrebleu -t toy/full -l en-de --echo src ref, then copy "
        f"~/.sacrebleu/toy/full from there to {folder}"
    )
    toy.known_at("http://127.0.0.1:9")
    message = _refusal()
    assert message.startswith(
        "sacrebleu:toy/full cannot be fetched from http://127.0.0.1:9/toy.tgz (<urlopen error"
    )
    assert message.endswith(remedy)
    assert capsys.readouterr().err == f"sacreBLEU fetches toy/full into {folder}\n"
    (toy.served / "toy.tgz").unlink()
    with serving(toy.served) as address:
        toy.known_at(address)
        assert _refusal() == (
            f"sacrebleu:toy/full cannot be fetched from {address}/toy.tgz (HTTP Error 404: File "
            f"not found); {remedy}"
        )


def test_a_set_of_sacrebleu_that_is_damaged_is_never_used(toy):
    folder = toy.home / "toy" / "full"
    with serving(toy.served) as address:
        toy.known_at(address, md5="0" * 32)
        assert _refusal() == (
            f"sacrebleu:toy/full is damaged in {folder} (wrong checksum); move that folder away "
            "and run again"
        )
        again = _refusal()  # sacreBLEU keeps the archive, and takes it for right from now on
        assert again.startswith(f"sacrebleu:toy/full is damaged in {folder} ([Errno 2] No such")
        folder.rename(toy.home / "away")
        toy.known_at(address)
        assert all(path.exists() for path in sacrebleu_files("toy/full", ("en", "de")))


def test_a_full_disk_is_no_damage(toy, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    toy.known_at("http://127.0.0.1:9")
    monkeypatch.setattr(FakeSGMLDataset, "process_to_text", refuse)
    with pytest.raises(OSError, match="No space left"):
        sacrebleu_files("toy/full", ("en", "de"))


# Hugging Face

ROWS = [
    {"id": "0", "translation": {"de": "das Haus", "en": "a\nb\u2028"}, "scores": [1, 2.5]},
    {"id": "1", "translation": {"de": None, "en": "𝄞"}, "scores": []},
]


@pytest.fixture
def stub(monkeypatch):
    """A stand-in for the library: it gives what its `rows` give, and knows how it was asked."""
    library: Any = ModuleType("datasets")
    library.rows = ROWS
    library.asked = []

    def load_dataset(*names: str | None, **options: object) -> Any:
        library.asked.append((names, options))
        return library.rows

    library.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", library)
    return library


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def test_a_set_of_the_hub_becomes_its_rows(tmp_path, monkeypatch):
    """With the library itself, where it is installed: it takes a folder for a set of that name."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "set").mkdir(parents=True)
    for split, rows in [("train", ROWS), ("test", ROWS[:1])]:
        content = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "org" / "set" / f"{split}.jsonl").write_text(content)
    kept = tmp_path / "kept"
    assert _rows(huggingface_file("org/set", kept)) == ROWS
    assert _rows(huggingface_file("org/set::test", kept)) == ROWS[:1]
    with pytest.raises(UserError) as raised:
        huggingface_file("org/set::valid", kept)
    assert str(raised.value).startswith(
        "huggingface:org/set::valid cannot be fetched (Bad split: valid. Available splits: ["
    )
    assert sorted(path.name for path in kept.glob("*.jsonl*") if path.suffix != ".lock") == [
        "org--set.default.test.jsonl",
        "org--set.default.train.jsonl",
    ]


@pytest.mark.parametrize(
    ("name", "file", "asked", "split", "revision"),
    [
        ("set", "set.default.train.jsonl", ("set", None), "train", None),
        ("a/b:de-en:valid", "a--b.de-en.valid.jsonl", ("a/b", "de-en"), "valid", None),
        ("a/b:de-en", "a--b.de-en.train.jsonl", ("a/b", "de-en"), "train", None),
        ("a/b::test", "a--b.default.test.jsonl", ("a/b", None), "test", None),
        ("a/b::", "a--b.default.train.jsonl", ("a/b", None), "train", None),
        ("a/b@v1.0:x", "a--b@v1.0.x.train.jsonl", ("a/b", "x"), "train", "v1.0"),
        ("a/b@refs/pr/1", "a--b@refs--pr--1.default.train.jsonl", ("a/b", None), "train",
         "refs/pr/1"),
    ],
)  # fmt: skip
def test_a_name_tells_set_revision_subset_and_split(
    name, file, asked, split, revision, stub, tmp_path
):
    path = huggingface_file(name, tmp_path)
    assert path == tmp_path / file
    assert stub.asked == [(asked, {"split": split, "revision": revision, "streaming": True})]
    assert _rows(path) == ROWS


@pytest.mark.parametrize("name", ["", "a/b/c", "a/b:../c", "a:b:c:d", "a:b:c/d", "../a/b", "a b"])
def test_a_name_that_cannot_be_one_is_refused(name, stub, tmp_path):
    with pytest.raises(UserError) as raised:
        huggingface_file(name, tmp_path)
    assert str(raised.value) == (
        f"huggingface:{name} names no set; write huggingface:dataset:subset:split, such as "
        "huggingface:Helsinki-NLP/opus_books:de-en:train"
    )
    assert not stub.asked


def test_a_set_of_the_hub_that_is_there_is_used_as_it_is(stub, tmp_path):
    path = huggingface_file("a/b", tmp_path)
    path.write_text("mine")
    assert huggingface_file("a/b", tmp_path) == path
    assert path.read_text() == "mine"
    assert len(stub.asked) == 1


def test_a_set_of_the_hub_streams_to_disk(stub, tmp_path):
    sizes = []

    def rows() -> Iterator[dict[str, str]]:
        for _ in range(1000):
            yield {"text": "x" * 1000}
            (partial_file,) = tmp_path.glob(".a--b.default.train.jsonl.*.partial")
            sizes.append(partial_file.stat().st_size)

    stub.rows = rows()
    path = huggingface_file("a/b", tmp_path)
    assert len(_rows(path)) == 1000
    assert all(number * 1000 - size < 100_000 for number, size in enumerate(sizes))
    assert not list(tmp_path.glob(".*.partial"))


def test_what_json_has_not_becomes_text(stub, tmp_path):
    stub.rows = [{"day": date(2014, 1, 2)}]
    assert _rows(huggingface_file("a/b", tmp_path)) == [{"day": "2014-01-02"}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Couldn't reach 'a/b'\nmore"), "Couldn't reach 'a/b'"),
        (FileNotFoundError("Dataset 'a/b' is a gated dataset on the Hub."),
         "Dataset 'a/b' is a gated dataset on the Hub."),
        (TimeoutError(), "TimeoutError"),
    ],
)  # fmt: skip
def test_a_set_of_the_hub_that_breaks_off_leaves_nothing(error, reason, stub, tmp_path):
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "a"}
        raise error

    stub.rows = rows()
    path = tmp_path / "a--b.default.train.jsonl"
    with pytest.raises(UserError) as raised:
        huggingface_file("a/b", tmp_path)
    assert str(raised.value) == (
        f"huggingface:a/b cannot be fetched ({reason}); https://huggingface.co/datasets/a/b shows "
        "its subsets and splits, and whether one must accept terms there and log in (hf auth "
        f"login); without internet, fetch it elsewhere and put it at {path}"
    )
    assert [file for file in tmp_path.iterdir() if file.suffix != ".lock"] == []
    stub.rows = ROWS
    assert _rows(huggingface_file("a/b", tmp_path)) == ROWS


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError) as raised:
        huggingface_file("a/b", tmp_path)
    assert str(raised.value) == (
        "huggingface:a/b needs datasets; pip install 'seq2seq[huggingface]'"
    )


def test_of_several_at_once_one_fetches(stub, tmp_path):
    entered = threading.Event()

    def rows() -> Iterator[dict[str, object]]:
        entered.set()
        yield from ROWS

    stub.rows = rows()
    threads = [threading.Thread(target=huggingface_file, args=("a/b", tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entered.is_set()
    assert len(stub.asked) == 1
    assert _rows(huggingface_file("a/b", tmp_path)) == ROWS
