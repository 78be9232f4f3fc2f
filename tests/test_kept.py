"""What was attacked in vain, and must stay so.

Others of these laws stand where their matter is:
    links and `../` in archives, gzip and zip bombs     test_archive.py
    entities that name files                            test_formats.py
    YAML: aliases of aliases, tags, depth               test_config.py
    `<script>` in embedded data                         test_report.py
    damaged models of SentencePiece and weights         test_trust.py
    damaged conversions for CTranslate2                 test_conversion.py
"""

import io
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
from server import Answer, Server

from seq2seq.errors import UserError
from seq2seq.text.download import fetch
from seq2seq.text.formats import PAIRS
from seq2seq.text.rows import Pair, Reading, Unreadable

CERTIFICATE = Path(__file__).parent / "self-signed.pem"  # with its key, for localhost


def read(form: str, content: str, fields: list[str | int] | None = None) -> list[Pair | Unreadable]:
    return list(PAIRS[form](io.BytesIO(content.encode()), Reading("f", fields, ("en", "de"))))


# Documents

BILLION = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
ENTITIES = f'<!DOCTYPE tmx [<!ENTITY e0 "{"lol" * 10}">{BILLION}]>'
QUADRATIC = f'<!DOCTYPE tmx [<!ENTITY e9 "{"a" * 100_000}">]>'
MEMORY = (
    '<tmx version="1.4"><body><tu><tuv xml:lang="en"><seg>{}</seg></tuv>'
    '<tuv xml:lang="de"><seg>b</seg></tuv></tu></body></tmx>'
)
XLIFF = (
    '<xliff version="1.2"><file source-language="en" target-language="de"><body><trans-unit>'
    "<source>{}</source><target>b</target></trans-unit></body></file></xliff>"
)


@pytest.mark.parametrize(("form", "document"), [("tmx", MEMORY), ("xliff", XLIFF)])
@pytest.mark.parametrize("head", [ENTITIES, QUADRATIC])
def test_entities_do_not_grow(form, document, head):
    with suppress(UserError):  # by a newer libxml2, which sees what would become of it
        (row,) = read(form, head + document.format("&e9;" * 1_000))
        assert isinstance(row, Unreadable)


@pytest.mark.parametrize(("form", "document"), [("tmx", MEMORY), ("xliff", XLIFF)])
def test_a_document_that_nests_deeply_is_an_error(form, document):
    with pytest.raises(UserError):
        read(form, document.format("<g>" * 100_000 + "</g>" * 100_000))


@pytest.mark.parametrize("row", ["[" * 100_000, '{"a":' * 100_000, '{"en": ' + "[" * 100_000])
def test_json_that_nests_deeply_is_a_row_without_text(row):
    rows = ['{"en": "a", "de": "b"}', row, '{"en": "c", "de": "d"}']
    found = read("jsonl", "\n".join(rows), ["en", "de"])
    assert [found[0], found[2]] == [("a", "b"), ("c", "d")]
    assert isinstance(found[1], Unreadable)


# Names


@pytest.mark.parametrize("name", ["../out", "/out", "a/b", ".hidden", "a\\b", "", "con:", "a\nb"])
def test_a_name_leads_nowhere(name, own, command):
    quoted = json.dumps(name)
    before = {*Path("..").rglob("*")}
    for option in (f"name={quoted}", f"data.test={{{quoted}: {{source: a, target: b}}}}"):
        for flags in (["prepare"], ["train", "--dry-run"]):
            result = command(*flags, "toy.yaml", f"--set={option}")
            assert (result.code, result.out) == (2, b"")
    assert {*Path("..").rglob("*")} == before


# Pages


def test_a_page_has_no_script_of_others(own, command):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    with open("runs/toy/samples.jsonl", "a", encoding="utf-8") as file:
        row = {"update": 60, "source": attack, "reference": attack, "ours": attack}
        file.write(json.dumps(row) + "\n")
    result = command("report", "runs/toy", "--output", "page.html")
    assert result.code == 0, result.err
    page = Path("page.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


# Servers


class Greeting(BaseHTTPRequestHandler):
    """Answers with the same bytes to whatever is asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *arguments: object) -> None:
        """Is silent."""


@pytest.fixture
def self_signed() -> Iterator[str]:
    """The URL of a server whose certificate nobody vouches for."""
    with HTTPServer(("127.0.0.1", 0), Greeting) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://localhost:{server.server_port}/text"
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_certificate_that_nobody_vouches_for_is_refused(self_signed, tmp_path, monkeypatch):
    monkeypatch.setattr("seq2seq.text.download.WAITS", ())
    with pytest.raises(UserError, match=r"(?i)certificate"):
        fetch(tmp_path / "text", [self_signed], None)
    assert not (tmp_path / "text").exists()


def test_the_server_of_the_test_before_is_otherwise_right(self_signed, tmp_path):
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    with urlopen(self_signed, context=trusting) as answer:
        assert answer.read() == b"hello"


@pytest.mark.parametrize("scheme", ["file://{}", "ftp://localhost{}", "data:,secret"])
def test_a_redirection_leads_to_no_file_of_ours(scheme, tmp_path, monkeypatch):
    monkeypatch.setattr("seq2seq.text.download.WAITS", ())
    monkeypatch.setenv("SEQ2SEQ_DATA_ROOT", str(tmp_path))
    (tmp_path / "secret").write_text("secret")
    with Server(tmp_path) as server:
        server.answers["/moved"] = Answer(status=302, location=scheme.format(tmp_path / "secret"))
        with pytest.raises(UserError, match="could not be fetched"):
            fetch(tmp_path / "text", [f"{server.url}/moved"], None)
    assert not (tmp_path / "text").exists()


# Lines


@pytest.mark.parametrize("line", ["1 " * 150_000, "1" * 300_000, "\u0301" * 300_000])
def test_a_line_of_any_length_is_one_line(line, trained, command):
    result = command("translate", stdin=f"1 2\n{line}\n3\n".encode())
    assert result.code == 0, result.err
    assert result.out.count(b"\n") == 3
