"""The configs here reach what they promise: from files laid out as their publishers have them.

A server on this machine serves stand-ins; real text is used where SEQ2SEQ_DATA names a folder with
it. That every config loads stands in test_config.py.
"""

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from server import Answer, Server

from seq2seq.config import load
from seq2seq.data.store import Store
from seq2seq.text import download, sources

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
SIZES = {"train": 60, "valid": 8, "test": 5}

Files = dict[str, bytes]  # by the path of a URL, or by the name in an archive


def _phrases(part: str, language: str, start: int = 0) -> list[str]:
    """Lines of the phrasebook, which has two languages."""
    side = "en" if language == "en" else "de"
    with open(ROOT / f"data/phrasebook/{part}.{side}", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in islice(file, start, start + SIZES[part])]


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _tar(files: Files, mode: str = "w:gz") -> bytes:
    """An archive with a folder entry before the files, as tar makes them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for folder in {name.partition("/")[0] for name in files if "/" in name}:
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


# What the publishers serve


def _multi30k() -> Files:
    names = {"train": "train", "val": "valid", "test_2016_flickr": "test"}
    return {
        f"/multi30k/dataset/master/data/task1/raw/{name}.{language}.gz": gzip.compress(
            _text(_phrases(part, language))
        )
        for name, part in names.items()
        for language in ("en", "de", "fr", "cs")
    }


def _parallel(stem: str, start: int, others: str = "cs") -> Files:
    """Both sides of two pairs of languages and another, of which one is wanted."""
    pairs = [("de", "en"), ("fr", "en"), (others, "en")]
    return {
        f"{stem}.{'-'.join(pair)}.{language}": _text(_phrases("train", language, start))
        for pair in pairs
        for language in pair
    }


def _wmt14() -> Files:
    europarl = _parallel("training/europarl-v7", 0)
    for name in europarl:
        lines = _text(
            ["", "\x07 " + "bell " * 5, "a"] if name.endswith("en") else ["x", "y", "abcde"]
        )
        europarl[name] += lines  # one for each of the rules empty, control and ratio
    crawl = _parallel("commoncrawl", 60, "ru")
    annotations = {f"{name[:-3]}.annotation": b"http://x\n" for name in crawl}
    dev = {
        f"dev/newstest2013.{code}": _text(_phrases("valid", code)) for code in ("de", "en", "fr")
    }
    giga = {
        f"giga-fren.release2.fixed.{code}.gz": gzip.compress(_text(_phrases("train", code, 240)))
        for code in ("en", "fr")
    }
    sgm = {"dev/newstest2013-src.en.sgm": b'<srcset setid="newstest2013"></srcset>\n'}
    return {
        "/wmt13/training-parallel-europarl-v7.tgz": _tar(europarl),
        "/wmt13/training-parallel-commoncrawl.tgz": _tar({**crawl, **annotations}),
        "/wmt14/training-parallel-nc-v9.tgz": _tar(
            _parallel("training/news-commentary-v9", 120, "ru")
        ),
        "/wmt13/training-parallel-un.tgz": _tar(_parallel("un/undoc.2000", 180, "es")),
        "/wmt10/training-giga-fren.tar": _tar(giga, "w:"),
        "/wmt19/translation-task/dev.tgz": _tar({**sgm, **dev}),
    }


TALK = """<url>http://www.ted.com/talks/lang/{language}/one.html</url>
<keywords>talks, culture</keywords>
<speaker>Wade Davis</speaker>
<talkid>69</talkid>
<title>Wade Davis</title>
<description>Pictures and stories</description>
"""
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<mteval>
<{kind}set setid="dev" {kind}lang="{language}">
<doc docid="69" genre="lectures">
<url>http://www.ted.com/one</url>
<title>Wade Davis</title>
"""


def _talks(language: str, start: int) -> bytes:
    lines = _phrases("train", language, start)
    talk = TALK.format(language=language).encode()
    return talk + _text([f" {line} " for line in lines[:30]]) + talk + _text(lines[30:])


def _mteval(part: str, language: str) -> bytes:
    kind = "ref" if language == "en" else "src"
    segments = [
        f'<seg id="{number}"> {line} </seg>'
        for number, line in enumerate(_phrases(part, language), start=1)
    ]
    end = f"</doc>\n</{kind}set>\n</mteval>\n".encode()
    return HEAD.format(kind=kind, language=language).encode() + _text(segments) + end


def _ted(pair: str, start: int, sets: dict[str, str]) -> bytes:
    files: Files = {f"{pair}/README": b"WIT3\n"}
    for language in pair.split("-"):
        files[f"{pair}/train.tags.{pair}.{language}"] = _talks(language, start)
        for name, part in sets.items():
            files[f"{pair}/{name}.{pair}.{language}.xml"] = _mteval(part, language)
    return _tar(files)


def _iwslt() -> Files:
    tests = ["TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"]
    of_2014 = {f"IWSLT14.{name}": "test" for name in tests}
    of_2017 = {"IWSLT17.TED.dev2010": "valid", "IWSLT17.TED.tst2014": "valid"}
    return {
        "/fairseq/data/iwslt14/de-en.tgz": _ted("de-en", 0, of_2014),
        **{
            f"/hlt-mt/WIT3/master/archive/2017-01-trnted/texts/{code}/en/{code}-en.tgz": _ted(
                f"{code}-en", start, of_2017
            )
            for code, start in (("de", 0), ("fr", 60))
        },
    }


def _persona_chat() -> Files:
    files = {}
    for part in SIZES:
        rows = zip(_phrases(part, "en"), _phrases(part, "de"), strict=True)
        lines = [
            f'{n % 8 + 1} {source} "\t{target}\t\tx|y' for n, (source, target) in enumerate(rows)
        ]
        files[f"personachat/{part}_none_original.txt"] = _text(lines)
        files[f"personachat/{part}_self_original.txt"] = b"1 your persona: x\n"
    return {"/downloads/personachat/personachat.tgz": _tar(files)}


def _by_hand(name: str) -> Files:
    """What a user or the Hugging Face hub puts into the working folder."""
    if name == "tatoeba":
        return {
            f"data/tatoeba/{part}.tsv": _text(
                list(map("\t".join, zip(_phrases(part, "en"), _phrases(part, "de"), strict=True)))
            )
            for part in SIZES
        }
    if name == "aeslc":
        parts = {"train": "train", "validation": "valid", "test": "test"}
        return {
            f"data/huggingface/Yale-LILY--aeslc.default.{split}.jsonl": _text(
                [
                    json.dumps({"email_body": f"{source}\n\n{source}", "subject_line": target})
                    for source, target in zip(
                        _phrases(part, "en"), _phrases(part, "de"), strict=True
                    )
                ]
            )
            for split, part in parts.items()
        }
    return {}


TRAINING = {"wmt14": 183, "wmt14-en-fr": 303, "iwslt17": 144, "iwslt14-de-en": 72}  # 60 otherwise
DROPPED = {
    "wmt14": {"empty": 1, "control": 1, "ratio (max 3 in characters)": 1},
    "wmt14-en-fr": {"empty": 1, "control": 1, "ratio (max 3 in characters)": 1},
    "iwslt14-de-en": {"markup": 12, "ratio (max 1.5 in words)": 1},
    "iwslt17": {"markup": 24},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All stand-ins, as their publishers have them but for the host."""
    folder = tmp_path_factory.mktemp("served")
    for path, content in {**_multi30k(), **_wmt14(), **_iwslt(), **_persona_chat()}.items():
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with Server(folder) as server:
        yield server


@pytest.fixture
def server(served, tmp_path, monkeypatch):
    """The server, with nothing asked yet; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(download, "WAITS", (0.0,) * 3)
    served.requests.clear()
    served.answers.clear()
    return served


def _of_sacrebleu(name: str, languages: tuple[str, str], allowed: Any) -> tuple[Path, Path]:
    """A set that sacreBLEU has fetched; that it has these is a matter of the real ones."""
    from sacrebleu import DATASETS

    assert "-".join(languages) in DATASETS[name].langpairs
    paths = tuple(
        Path(f"{name.replace('/', '-')}.{'-'.join(languages)}.{code}") for code in languages
    )
    for path, code in zip(paths, languages, strict=True):
        path.write_bytes(_text(_phrases("test", code)))
    return paths


def _here(node: Any, server: Server) -> Any:
    """A part of a config with this server in all URLs, and the hashes of what it serves."""
    if isinstance(node, list):
        return [_here(one, server) for one in node]
    if not isinstance(node, dict):
        return node
    node = {key: _here(value, server) for key, value in node.items()}
    if "urls" in node:
        paths = [urlsplit(url).path for url in node["urls"]]
        node["urls"] = [f"{server.url}{path}" for path in paths]
    if "sha256" in node:
        several = isinstance(node["sha256"], list)
        files = [paths[0].replace("{lang}", code) for code in (["en", "de"] if several else [""])]
        hashes = [
            hashlib.sha256((server.folder / file.lstrip("/")).read_bytes()).hexdigest()
            for file in files
        ]
        node["sha256"] = hashes if several else hashes[0]
    return node


def _rewritten(name: str, server: Server) -> None:
    """Writes a published config into the working folder, for this server and little text."""
    options = _here(yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text("utf-8")), server)
    options["tokenizer"]["vocab_size"] = 340
    Path(f"{name}.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
    for path, content in _by_hand(name).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)


@pytest.mark.parametrize("name", [name for name in CONFIGS if not name.startswith("quickstart")])
def test_a_published_config_leads_from_download_to_stores(name, server, monkeypatch, command):
    monkeypatch.setattr(sources, "sacrebleu_files", _of_sacrebleu)
    _rewritten(name, server)
    result = command("prepare", f"{name}.yaml")
    assert (result.code, result.out) == (0, b""), result.err
    asked = [request.path for request in server.requests]
    assert sorted({*asked}) == sorted(asked)  # each once
    given = load(f"{name}.yaml", []).data
    urls = re.findall(r"http://\S+", Path(f"{name}.yaml").read_text())
    assert bool(asked) == bool(urls)

    folder = Path("data/prepared", name)
    parts = json.loads((folder / "manifest.json").read_text("utf-8"))["parts"]
    facts = parts["train"]["corpora"]
    rows = TRAINING.get(name, 60)
    dropped: Counter[str] = Counter()
    for one in (one for each in facts for one in each["dropped"]):
        dropped[one["rule"]] += one["pairs"]
    assert dropped == DROPPED.get(name, {})
    assert sum(each["rows"] for each in facts) == rows
    assert len(facts) == len(given.train)
    assert len(Store.open(folder / "train")) == rows - dropped.total()
    valid = 8 * len(given.valid.sources)
    assert len(Store.open(folder / "valid")) == parts["valid"]["pairs"] == valid

    server.requests.clear()
    assert command("prepare", f"{name}.yaml") == (0, b"", "")
    assert not server.requests


def test_a_server_that_breaks_off_is_gone_on_with(server, monkeypatch, command):
    monkeypatch.setattr(sources, "sacrebleu_files", _of_sacrebleu)
    _rewritten("wmt14", server)
    path = "/wmt13/training-parallel-commoncrawl.tgz"
    server.answers[path] = Answer(break_after=1000, times=2)
    result = command("prepare", "wmt14.yaml")
    assert result.code == 0, result.err
    assert server.starts(path) == [0, 1000, 2000]
    assert "broke off, at 1.00kB; going on" in result.err
    mine = Path("data/wmt14/training-parallel-commoncrawl.tgz")
    assert mine.read_bytes() == (server.folder / path.lstrip("/")).read_bytes()
    assert not list(Path("data").rglob("*.part*"))


def test_a_server_that_lies_about_a_checksum_is_not_believed(server, monkeypatch, command):
    monkeypatch.setattr(sources, "sacrebleu_files", _of_sacrebleu)
    _rewritten("wmt14", server)
    path = "/wmt14/training-parallel-nc-v9.tgz"
    other = server.folder / "wmt13/training-parallel-un.tgz"
    server.answers[path] = Answer(body=other.read_bytes())
    result = command("prepare", "wmt14.yaml")
    found, meant = (
        hashlib.sha256(file.read_bytes()).hexdigest() for file in (other, server.folder / path[1:])
    )
    mine = Path("data/wmt14/training-parallel-nc-v9.tgz")
    problem = f"  {server.url}{path}: gave a file whose sha256 is {found}, not {meant}"
    assert (result.code, result.out) == (1, b"")
    assert f"error: {mine} could not be fetched:\n{problem}\n{problem}\n" in result.err
    assert not mine.exists()
    assert not Path("data/prepared/wmt14/train").exists()
    server.answers.clear()
    assert command("prepare", "wmt14.yaml").code == 0


def test_files_that_no_server_gives_are_named_with_their_addresses(server, command):
    _rewritten("multi30k", server)
    for path in _multi30k():
        server.answers[path] = Answer(status=404)
    result = command("prepare", "multi30k.yaml")
    assert result.code == 1
    for name in ("train", "val", "test_2016_flickr"):
        for code in ("en", "de"):
            mine, theirs = f"data/multi30k/{name}.{code}.gz", f"data/task1/raw/{name}.{code}.gz"
            said = rf"{mine} could not be fetched:\n +{server.url}\S*{theirs}: .*404"
            assert re.search(said, result.err), result.err
            assert f"put it at {mine}\n" in result.err


@pytest.mark.skipif("SEQ2SEQ_DATA" not in os.environ, reason="SEQ2SEQ_DATA names no real text")
def test_multi30k_is_prepared_from_the_files_as_published(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/multi30k").symlink_to(Path(os.environ["SEQ2SEQ_DATA"], "multi30k").resolve())
    result = command("prepare", ROOT / "configs/multi30k.yaml", "--set", "tokenizer.kind=word")
    assert (result.code, result.out) == (0, b"")
    parts = json.loads(Path("data/prepared/multi30k/manifest.json").read_text())["parts"]
    pairs = {name: part["pairs"] for name, part in parts.items() if "pairs" in part}
    assert pairs == {"train": 29_000, "valid": 1_014}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "quickstart-lstm"])
def test_the_quick_start_translates_its_phrasebook(name, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/phrasebook").symlink_to(ROOT / "data/phrasebook")
    assert command("train", ROOT / f"configs/{name}.yaml").code == 0
    scores = json.loads(command("evaluate", "--json").out)["sets"]["phrasebook"]
    assert scores["bleu"]["score"] > 90
