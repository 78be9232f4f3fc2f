"""Laws of URLs: their secrets are asked with, and stand nowhere else."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import Answer, Server

from seq2seq.config import File, dump, load
from seq2seq.config.showing import show
from seq2seq.config.urls import expanded, masked, masked_text, without_secrets
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import write_manifest
from seq2seq.text import download
from seq2seq.text.download import FetchPermission, fetch
from seq2seq.text.hub import _reason
from seq2seq.text.sources import verify

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "shown", "kept"),
    [
        ("https://h.org/a/x.gz", "https://h.org/a/x.gz", "https://h.org/a/x.gz"),
        ("http://[::1]:80/a@b.gz", "http://[::1]:80/a@b.gz", "http://[::1]:80/a@b.gz"),
        ("https://me:hunter2@h/x", "https://***@h/x", "https://h/x"),
        ("https://hunter2@h:80/x", "https://***@h:80/x", "https://h:80/x"),
        ("https://me:p@hunter2@h/x", "https://***@h/x", "https://h/x"),
        ("https://me:/hunter2@h/x", "https://***@h/x", "https://h/x"),
        ("https://me:?hunter2@h/x", "https://***@h/x", "https://h/x"),
        ("https://me:#hunter2@h/x", "https://***@h/x", "https://h/x"),
        ("https://me:a::hunter2@h/x", "https://***@h/x", "https://h/x"),
        ("HTTPS:/me:hunter2@h/x", "HTTPS:/***@h/x", "HTTPS:/h/x"),
        ("me:hunter2@h/x", "***@h/x", "h/x"),
        ("https://h/x?key=hunter2&b=hunter2", "https://h/x?key=***&b=***", "https://h/x"),
        ("https://h/x?hunter2", "https://h/x?***", "https://h/x"),
        ("https://h/x?a;key=hunter2#hunter2", "https://h/x?***;key=***#***", "https://h/x"),
        ("https://h/x;sid=hunter2/y", "https://h/x;sid=***/y", "https://h/x/y"),
        (
            "simplecache::https://me:hunter2@h/x",
            "simplecache::https://***@h/x",
            "simplecache::https://h/x",
        ),
        ("s3://key:hunter2@bucket/x", "s3://***@bucket/x", "s3://bucket/x"),
    ],
)
def test_secrets_are_masked_and_left_out(url, shown, kept):
    assert (masked(url), without_secrets(url)) == (shown, kept)
    assert masked_text(f"<{url}>") == f"<{shown}>" or "://" not in url


@given(st.text() | st.text("a:/@?#&;=[$]{}", max_size=20).map("https://".__add__))
def test_any_text_can_be_masked_and_masking_ends(text):
    assert masked(masked(text)) == masked(text)
    assert without_secrets(masked(text)) == without_secrets(text)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_variable_may_hold_any_password(password):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.environ", {"PASSWORD": password, "HOST": "h:80", "BASE": "https://h/d"})
        url = expanded("https://me:${PASSWORD}@${HOST}/x?key=${PASSWORD}")
        assert expanded("${BASE}/x@1") == "https://h/d/x@1"
        assert expanded("https://${HOST}/x@1") == "https://h:80/x@1"
    assert without_secrets(url) == "https://h:80/x"
    assert masked(url) == "https://***@h:80/x?key=***"


CONFIG = """
data:
  source: en
  target: de
  train:
    - path: t.{lang}
      urls: ["https://me:hunter2@h/{lang}?key=hunter2", "https://h/public"]
    - parts: [{path: a.tsv, urls: ["https://hunter2@h/a"]}]
  valid:
    source: {path: v.en, urls: ["https://h/v?hunter2"]}
    target: v.de
  test:
    one:
      source: a
      target: b
      references: [{path: c, urls: ["?hunter2", "https://h/c#hunter2"]}]
"""


def test_what_is_written_has_no_secrets_and_what_is_shown_masks_them(tmp_path):
    Path(tmp_path, "a.yaml").write_text(CONFIG)
    config = load(tmp_path / "a.yaml")
    Path(tmp_path, "b.yaml").write_text(dump(config))
    Path(tmp_path, "c.yaml").write_text(show(config))
    kept, shown = load(tmp_path / "b.yaml"), load(tmp_path / "c.yaml")
    assert kept.data.train[0].urls == ["https://h/{lang}", "https://h/public"]
    assert kept.data.test["one"].references[0].urls == ["https://h/c"]
    assert shown.data.train[0].urls == ["https://***@h/{lang}?key=***", "https://h/public"]
    assert SECRET not in dump(config) + show(config)
    assert SECRET in config.data.train[0].urls[0]  # it can be asked with


@pytest.mark.parametrize(
    "line",
    [
        "train: [https://me:hunter2@h/x]",
        "train: [{path: a, urls: 'https://me:hunter2@h/x'}]",
        "train: [{path: a, urls: {'https://me:hunter2@h/x': 1}}]",
        "train: [{path: a, urls: [['https://h/x?key=hunter2']]}]",
        "train: [{path: a, sha256: 'https://me:hunter2@h/x'}]",
        "train: [{path: a, 'https://me:hunter2@h/x': 1}]",
        "'https://me:hunter2@h/x': 1",
    ],
)
def test_what_is_wrong_with_a_config_is_said_without_secrets(tmp_path, line):
    Path(tmp_path, "a.yaml").write_text(f"data:\n  valid: b.tsv\n  {line}\n")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "a.yaml")
    assert SECRET not in str(raised.value)


def test_a_run_goes_on_when_a_password_has_changed(own, command):
    config = Path("toy.yaml").read_text()
    urls = "urls: ['https://me:hunter2@h/{}?key=hunter2']"
    for side in ("digits", "de"):
        file = f"{{path: first.{side}, {urls.format(side)}}}"
        config = config.replace(f"first.{side}", file)
    for password in (SECRET, "hunter22"):
        Path("toy.yaml").write_text(config.replace(SECRET, password))
        trained = command("train", "toy.yaml", "--set", "training.keep_best=2")
        assert trained.code == 0, trained.err
        assert SECRET not in trained.err
    written = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert "https://h/digits" in Path("runs/toy/config.yaml").read_text()
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_exports_of_a_model_of_before_leave_its_secrets_out(own, command):
    """A config in a model folder had them, and what is exported is often published."""
    best = Path("runs/toy/best")
    old = (best / "config.yaml").read_text()
    new = old.replace(
        "source: first.digits", "source: {path: first.digits, urls: ['https://me:hunter2@h/x']}"
    )
    assert new != old
    (best / "config.yaml").write_text(new)
    write_manifest(best)
    for form in ("safetensors", "ctranslate2"):
        done = command("export", "--to", form, "--output", form, "runs/toy")
        assert done.code == 0, done.err
    written = [*Path("safetensors").rglob("*"), *Path("ctranslate2").rglob("*")]
    assert not [one for one in written if one.is_file() and SECRET.encode() in one.read_bytes()]
    assert "https://h/x" in Path("safetensors/config.yaml").read_text()


# Downloads


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "WAITS", (0.0,))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x.gz").write_bytes(b"text" * 1000)
    with Server(folder) as entered:
        yield entered


def test_a_variable_is_expanded_for_the_server_alone(server, monkeypatch, capfd):
    monkeypatch.setenv("TOKEN", SECRET)
    url = f"{server.url}/x.gz".replace("//", "//me:${TOKEN}@") + "?key=${TOKEN}"
    server.answers["/x.gz"] = Answer(break_after=100)
    with pytest.raises(UserError) as raised:
        fetch(Path("x.gz"), [url], None, FetchPermission(variables=True))
    told = str(raised.value) + capfd.readouterr().err
    note = json.loads(Path("x.gz.part.json").read_text())
    assert note["url"] == f"{server.url}/x.gz?key=***".replace("//", "//***@")
    assert f"{note['url']}: broke off" in told
    assert SECRET not in told + Path("x.gz.part.json").read_text()
    token = server.requests[0].headers["Authorization"]
    assert token == "Basic bWU6aHVudGVyMg=="
    monkeypatch.setenv("TOKEN", "hunter22")  # the part goes on all the same
    server.answers.clear()
    fetch(Path("x.gz"), [url], None, FetchPermission(variables=True))
    assert server.starts()[-1] > 0


def test_a_variable_that_is_not_set_or_that_a_stranger_asks_for_is_named(server, monkeypatch):
    monkeypatch.setenv("TOKEN", SECRET)
    urls = [f"{server.url}/x.gz?a=${{NOT_SET}}", f"{server.url}/${{TOKEN}}"]
    with pytest.raises(UserError, match="the environment variable NOT_SET is not set"):
        fetch(Path("x.gz"), urls[:1], None, FetchPermission(variables=True))
    with pytest.raises(UserError, match="asks for the environment variable TOKEN"):
        fetch(Path("x.gz"), urls[1:], None, FetchPermission())
    assert not server.requests


def test_messages_of_libraries_and_of_checks_are_masked():
    assert _reason(OSError("no https://h/x?sig=hunter2\nfor you")) == "no https://h/x?sig=***"
    file = File(path="a", urls=["https://me:hunter2@h/x"], sha256="a" * 64)
    with pytest.raises(UserError, match=r"again from https://\*\*\*@h/x"):
        verify(file, "b" * 64)


def test_runs_are_compared_whether_or_not_their_urls_were_kept(own, command):
    assert command("evaluate", "runs/toy").code == 0
    shutil.copytree("runs/toy", "runs/other")
    config = Path("runs/other/config.yaml")
    source = "source: {path: first.digits, urls: ['https://h/x']}"
    config.write_text(config.read_text().replace("source: first.digits", source))
    done = command("report", "runs/toy", "runs/other", "--output", "page.html")
    assert done.code == 0, done.err
    page = Path("page.html").read_text()
    assert "name the same test set" not in page
    assert "https://h/x" not in page
