"""Laws of what a stranger's config may fetch: nothing unasked, and never what a program reads."""

import re
from pathlib import Path

import pytest
from server import Server

from seq2seq.config import Data, File, load
from seq2seq.errors import UserError
from seq2seq.evaluation.sets import read_set
from seq2seq.files import write_manifest
from seq2seq.text import download
from seq2seq.text.destination import check_destination
from seq2seq.text.download import FetchPermission
from seq2seq.text.sources import find, locate

EVIL = b"touch stolen\n"
PATHS_OF_CODE = """
    data/x/HEAD data/x/config meson.build package.json a/SConstruct x.ko x.url
    ~/.bash_aliases ~/data ${HOME}/.bashrc ../x.gz data/../../x.gz a/../b.gz /tmp/x.gz .envrc
    .git/hooks/x data/.x yaml.py YAML.PY yaml/__init__.py a.pth a.so libm.so.6 a.pyc a.pyd a.dll
    conftest.py sitecustomize.py a.sh pyproject.toml setup.cfg pytest.ini Makefile Dockerfile
    a.egg/x out/x.gz deep/out/x.gz x.py. C:x.gz a\\b.gz -rf a.desktop configs/quickstart.yaml
"""
PATHS_OF_DATA = """
    x.gz train.pl train.de train.zh_Hans data/deep/x.tar.gz x a/b.c/x.tsv x.v7.de-en.en x.2016
    sh a[1].tsv in/x.gz ein.größe file.tsv
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WAITS", ())
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "evil").write_bytes(EVIL)
    with Server(folder) as entered:
        yield entered


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The working folder; in it `in` leads to a folder of its own, and `out` leads out."""
    folder, home = tmp_path / "work", tmp_path / "home"
    for one in (folder / "own", home / "deep", folder / "deep"):
        one.mkdir(parents=True)
    (folder / "in").symlink_to("own")
    (folder / "out").symlink_to(home)
    (folder / "deep/out").symlink_to(home / "deep")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    return folder


def _fetched(path: str, url: str) -> Path:
    """Where a config's file lies, fetched because the user named the config."""
    data = Data.model_validate({"train": [{"path": path, "urls": [url]}], "valid": "b.tsv"})
    allowed = FetchPermission(limit=10**6)
    ((file,),) = (text.files for text in find(data.train[0], data, allowed))
    return locate(file, allowed)


@pytest.mark.parametrize("path", PATHS_OF_CODE.split())
def test_no_file_is_fetched_to_where_programs_look(server, work, path):
    before = sorted(work.parent.rglob("*"))
    with pytest.raises(UserError, match=r" is not fetched: .*SEQ2SEQ_DATA_ROOT"):
        _fetched(path, f"{server.url}/evil")
    assert sorted(work.parent.rglob("*")) == before
    assert not server.requests


def test_a_bad_place_is_named_before_anything_is_fetched(server, work, command):
    files = [
        f"{{source: {{path: {path}, urls: ['{server.url}/evil']}}, target: b}}"
        for path in ("a.txt", ".profile", "b.py")
    ]
    Path("a.yaml").write_text(f"data: {{train: [{', '.join(files)}], valid: b.tsv}}\n")
    done = command("prepare", "a.yaml")
    assert done.code == 1
    assert ".profile is not fetched: " in done.err
    assert "b.py is not fetched: " in done.err
    assert not server.requests


@pytest.mark.parametrize("path", PATHS_OF_DATA.split())
def test_data_is_fetched_below_the_working_folder(server, work, path):
    assert _fetched(path, f"{server.url}/evil").read_bytes() == EVIL
    assert Path(path).stat().st_mode & 0o111 == 0


def test_a_root_that_the_environment_names_takes_the_place_of_the_working_folder(
    server, work, monkeypatch
):
    root = work.parent / "big"
    monkeypatch.setenv("SEQ2SEQ_DATA_ROOT", str(root))
    with pytest.raises(UserError, match=r"SEQ2SEQ_DATA_ROOT names .*big, which is no folder"):
        _fetched("data/x.gz", f"{server.url}/evil")
    root.mkdir()
    assert _fetched("data/x.gz", f"{server.url}/evil") == root / "data/x.gz"
    assert _fetched(f"{root}/y.gz", f"{server.url}/evil") == root / "y.gz"
    Path("here.gz").write_bytes(b"")
    assert _fetched("here.gz", f"{server.url}/evil") == Path("here.gz")  # is there already
    for path in ("../x.gz", f"{work}/x.gz", "~/x.gz", "data/.x", "data/x.py"):
        with pytest.raises(UserError, match="is not fetched"):
            _fetched(path, f"{server.url}/evil")
    (root / "corpora").symlink_to(work)
    with pytest.raises(UserError, match="not below the folder that SEQ2SEQ_DATA_ROOT names"):
        _fetched("corpora/x.gz", f"{server.url}/evil")


def test_a_working_folder_may_be_a_link_and_hidden_itself(tmp_path, monkeypatch):
    (tmp_path / ".cache/real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(".cache/real")
    monkeypatch.chdir(tmp_path / "link")
    check_destination(Path("data/x.gz"))
    monkeypatch.setenv("SEQ2SEQ_DATA_ROOT", str(tmp_path / "link"))
    check_destination(tmp_path / "link/x.gz")


def test_a_file_that_lies_elsewhere_is_used_where_it_is(work):
    there = work.parent / "x.gz"
    there.write_bytes(b"mine")
    assert locate(File(path=str(there), urls=["https://one.org"])) == there


# A stranger's model


def _evil(server: Server, file: str = "evil.txt") -> None:
    """Makes the toy's model a stranger's, whose test set is to be fetched."""
    config = Path("runs/toy/best/config.yaml")
    text = config.read_text().replace(
        "source: first.digits",
        f"source: {{path: {file}, urls: ['{server.url}/evil?key=hunter2']}}",
    )
    config.write_text(text)
    write_manifest(config.parent)
    config.parent.rename("theirs")


def test_evaluate_says_what_a_model_would_fetch_and_fetches_only_when_told(own, server, command):
    _evil(server)
    (server.folder / "evil").write_bytes(Path("first.digits").read_bytes())
    for asked in (
        ("evaluate", "theirs"),
        ("evaluate", "theirs", "--set", "decoding.beam=1"),
        ("evaluate", "runs/toy/..", "--compare", "theirs"),
        ("evaluate", "theirs", "--compare", "theirs"),
    ):
        done = command(*asked)
        assert done.code != 0
        assert not server.requests
    assert done.out == b""
    assert (
        f"error: evil.txt is missing; the config names {server.url}/evil?key=***, and a config of "
        "a model or run fetches nothing by itself: if you trust it, seq2seq evaluate --fetch gets "
        "the file\n"
    ) in done.err
    done = command("evaluate", "theirs", "--fetch")
    assert done.code == 0, done.err
    assert b"first" in done.out
    assert [one.path for one in server.requests] == ["/evil"]
    assert command("evaluate", "theirs").code == 0  # what is there is used


@pytest.mark.parametrize("file", ["~/.bash_aliases", "yaml.py", "../x", "${HOME}/x"])
def test_even_then_a_model_puts_nothing_where_programs_look(own, server, command, file):
    _evil(server, f"'{file}'")
    done = command("evaluate", "theirs", "--fetch")
    assert done.code == 1
    assert "is not fetched" in done.err
    assert not server.requests


def test_sets_by_name_are_not_fetched_for_a_model_either(own, command, monkeypatch, tmp_path):
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path / "sacrebleu"))
    monkeypatch.setattr("sacrebleu.dataset.base.Dataset.maybe_download", pytest.fail)
    one = "data.test={one: {path: 'sacrebleu:wmt14/full', languages: [en, de]}}"
    other = "data.test={two: 'huggingface:a/b'}"
    for options, place in ((one, "statmt.org"), (other, "huggingface:a/b")):
        done = command("evaluate", "runs/toy", "--set", options)
        assert (done.code, done.out) == (1, b"")
        assert re.search(f"is missing; the config names .*{place}.*--fetch", done.err)
        config = load("runs/toy/config.yaml", [options])
        for name, corpus in config.data.test.items():
            with pytest.raises(UserError, match="is missing; the config names"):
                read_set(name, corpus, config.data)  # as reports read them


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("translate", "--model", "theirs"), b"1 2\n"),
        (("score", "--model", "theirs"), b"1\teins\n"),
        (("export", "--to", "safetensors", "--output", "made", "theirs"), b""),
        (("report", "theirs"), b""),
        (("report", "runs/toy", "theirs"), b""),
        (
            (
                "train",
                "toy.yaml",
                "--set",
                "name=other",
                "--set",
                "training.init_from=theirs",
                "--set",
                "training.max_updates=1",
            ),
            b"",
        ),
        (("train", "toy.yaml", "--dry-run", "--set", "training.init_from=theirs"), b""),
        (("evaluate", "theirs", "--source", "first.digits", "--reference", "first.de"), b""),
        (("runs",), b""),
    ],
)
def test_no_other_command_fetches_what_a_model_names(own, server, command, arguments, stdin):
    _evil(server)
    command(*arguments, stdin=stdin)
    assert not server.requests
    assert not Path("evil.txt").exists()


def test_what_prepare_fetches_lets_evaluate_run_without_a_network(own, server, command):
    """Test sets, and their further references, too."""
    for name in ("first.digits", "first.de"):
        (server.folder / name).write_bytes(Path(name).read_bytes())
        Path(name).unlink()
    text = Path("toy.yaml").read_text()
    source, target, other = (
        f"{{path: fetched/{name}, urls: ['{server.url}/{place}']}}"
        for name, place in (("a", "first.digits"), ("b", "first.de"), ("c", "first.de"))
    )
    given = f"{{source: {source}, target: {target}, references: [{other}]}}"
    Path("toy.yaml").write_text(text.replace("{source: first.digits, target: first.de}", given))
    done = command("train", "toy.yaml")
    assert done.code == 0, done.err
    assert sorted(one.path for one in server.requests) == [
        "/first.de",
        "/first.de",
        "/first.digits",
    ]
    done = command("evaluate", "runs/toy")
    assert done.code == 0, done.err
    assert len(server.requests) == 3
