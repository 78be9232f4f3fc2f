"""Laws of downloads from servers that mean harm: a message, no traceback, nothing without end."""

import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections import namedtuple
from itertools import repeat
from pathlib import Path
from types import ModuleType

import pytest
from server import Answer, Server

from seq2seq.errors import UserError
from seq2seq.text import download, hub
from seq2seq.text.download import FetchPermission, fetch

CONTENT = b"text" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OK = b"HTTP/1.1 200 OK\r\n"
MOVED = b"HTTP/1.1 302 Found\r\n"
DIGITS = b"9" * 5000


class Raw:
    """A server that sends bytes as they are given: the first to who asks first, and so on."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.endless = b""
        self.closing = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def says(self, *answers: bytes, endless: bytes = b"") -> None:
        """Sets the answers; the last one is given again, with `endless` behind it."""
        self.answers = [*answers]
        self.endless = endless

    def close(self) -> None:
        """Stops it."""
        self.closing = True
        with socket.create_connection(self.listener.getsockname()):
            pass
        self.thread.join()
        self.listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                if self.closing:
                    return
                connection.settimeout(20)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            while b"\r\n\r\n" not in connection.recv(1 << 16):
                pass
            several = len(self.answers) > 1
            connection.sendall(self.answers.pop(0) if several else self.answers[0])
            while self.endless and not several and not self.closing:
                connection.sendall(self.endless)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # whoever asked has gone away


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "WAITS", (0.0,))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def raw():
    server = Raw()
    yield server
    server.close()


def _complaint(url: str, sha256: str | None = None, **allowed: int) -> str:
    with pytest.raises(UserError) as raised:
        fetch(Path("x.gz"), [url], sha256, FetchPermission(**allowed))
    assert not Path("x.gz").exists()
    message = str(raised.value)
    assert message.replace("\n", "").isprintable()
    return message


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "broke off"),
        (b"garbage\r\n\r\n", "broke off"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "broke off"),
        (b"HTTP/1.1 " + DIGITS + b" OK\r\n\r\n", "broke off"),
        (b"HTTP/9.9 200 OK\r\n\r\n", "broke off"),
        (b"HTTP/1.1 404 \x1b[31mred\x07\r\n\r\n", "it has no such file"),
        (b"HTTP/1.1 418 \x1b[31mred\x07\xff\r\n\r\n", r"answered 418: \\x1b\[31mred"),
        (OK + b"A: b\r\n" * 101 + b"\r\n", "broke off"),
        (OK + b"A: " + b"b" * 70_000 + b"\r\n\r\n", "broke off"),
        (b"HTTP/1.1 200 " + b"O" * 70_000 + b"\r\n\r\n", "broke off"),
        (OK + b"Content-Length: 9\r\n\r\nabc", "broke off"),
        (OK + b"Content-Length: 9" + b"0" * 15 + b"\r\n\r\nabc", "free some space"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nab", "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab", "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nab", "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\nab", "broke off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 70_000, "broke off"),
        (MOVED + b"Location: ftp://h/x\r\n\r\n", "is redirected to ftp, not to http or https"),
        (MOVED + b"Location: file:///etc/passwd\r\n\r\n", "is redirected to file, not"),
        (MOVED + b"Location: data:text/plain,a\r\n\r\n", "is redirected to data, not"),
        (MOVED + b"URI: gopher://h/x\r\n\r\n", "is redirected to gopher, not"),
        (MOVED + b"Location: http://[::1\r\n\r\n", "IPv6"),
        (MOVED + b"Location: http://a:b/\r\n\r\n", "is not a URL"),
        (MOVED + b"\r\n", "answered 302: redirected nowhere"),
        (MOVED + b"Location:\r\n\r\n", "is redirected without end"),
        (MOVED + b"Location: /x\r\n\r\n", "is redirected without end"),
        (MOVED + b"Location: /\xff\xfe\x1b[31m\r\n\r\n", "is redirected without end"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answered 304: redirected nowhere"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204: No Content"),
        (b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 9-\r\n\r\n", "another part of the file"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_whatever_a_server_says_becomes_a_message(raw, answer, problem):
    raw.says(answer)
    assert re.search(problem, _complaint(f"{raw.url}/x"))


@pytest.mark.parametrize("length", [b"x", b"-5", b"1e3", DIGITS, b"", b"\xff", b"4000, 4000"])
def test_a_length_that_is_none_is_not_heeded(raw, length):
    raw.says(OK + b"Content-Length: " + length + b"\r\n\r\n" + CONTENT)
    fetch(Path("x.gz"), [f"{raw.url}/x"], None)
    assert Path("x.gz").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "said",
    [
        b"bytes " + DIGITS + b"-" + DIGITS + b"/" + DIGITS,
        b"bytes 3-3999/" + DIGITS,
        b"bytes \xd9\xa3-3999/4000",
        b"bytes -3-3999/4000",
        b"bytes 3-3999/-1",
        b"lines 3-3999/4000",
        b"",
    ],
)
def test_a_range_that_is_none_starts_over(raw, said):
    head = OK + b'ETag: "a"\r\nContent-Length: 4000\r\n\r\n'
    part = b'HTTP/1.1 206 OK\r\nETag: "a"\r\nContent-Range: ' + said + b"\r\n\r\n" + CONTENT[3:]
    raw.says(head + CONTENT[:3], part, head + CONTENT)
    fetch(Path("x.gz"), [f"{raw.url}/x"], None)
    assert Path("x.gz").read_bytes() == CONTENT


# Without end


@pytest.mark.parametrize(
    "head",
    [OK + b"\r\n", OK + b"Content-Length: 99999999999\r\n\r\n", OK + b"Content-Length: -1\r\n\r\n"],
)
def test_an_answer_without_end_is_bounded_by_what_the_config_allows(raw, head):
    raw.says(head, endless=b"x" * 65536)
    problem = _complaint(f"{raw.url}/x", limit=1_000_000)
    assert "sends more than the 1.00MB that data.max_unpacked allows" in problem
    assert not Path("x.gz.part").exists()


def test_an_answer_in_chunks_without_end_is_bounded_too(raw):
    raw.says(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", endless=b"1000\r\n" + b"x" * 4096 + b"\r\n"
    )
    assert "sends more than the 1.00MB" in _complaint(f"{raw.url}/x", limit=1_000_000)


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 9999999\r\n\r\n"])
def test_an_answer_without_end_leaves_some_of_the_disk_free(raw, head, monkeypatch):
    def usage(folder: Path) -> tuple[int, ...]:
        taken = sum(path.stat().st_size for path in Path(folder).iterdir())
        return namedtuple("Usage", "total used free")(10**12, 0, download.SPARE + 1_000_000 - taken)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    raw.says(head, endless=b"x" * 65536)
    problem = _complaint(f"{raw.url}/x")
    assert "there is no room for x.gz" in problem
    assert "1.07GB are left free; free some space" in problem
    assert Path("x.gz.part").stat().st_size <= 1_000_000


def test_the_text_of_a_redirection_is_not_read(raw):
    raw.says(MOVED + b"Location: /x\r\n\r\n", endless=b"x" * 65536)
    assert "is redirected without end" in _complaint(f"{raw.url}/x")


def test_a_set_of_the_hub_without_end_is_bounded(monkeypatch):
    rows = ModuleType("datasets")
    rows.load_dataset = lambda *_, **__: repeat({"a": "b" * 1000})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", rows)
    with pytest.raises(UserError, match=r"its set sends more than the 1\.00MB that data\.max"):
        hub.huggingface_file("a/b", Path("hub"), FetchPermission(limit=1_000_000))
    assert not [path for path in Path("hub").iterdir() if "lock" not in path.name]


# Links in the way


@pytest.mark.parametrize("name", ["x.gz.part", "x.gz.part.json"])
@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe"])
def test_nothing_is_written_through_a_link(tmp_path, name, kind):
    served = tmp_path / "served"
    served.mkdir()
    (served / "x.gz").write_bytes(CONTENT)
    precious = tmp_path / "precious"
    if kind != "dangling":
        precious.write_bytes(b"mine")
    way = tmp_path / name
    if kind == "pipe":
        os.mkfifo(way)
    elif kind == "hard link":
        os.link(precious, way)
    else:
        way.symlink_to(precious)
    with Server(served) as server:
        problem = _complaint(f"{server.url}/x.gz")
    assert f"{name} is a " in problem
    assert "nothing is written through it; move it away" in problem
    assert precious.exists() == (kind != "dangling")
    assert kind == "dangling" or precious.read_bytes() == b"mine"


# Encryption


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """A server with TLS, whose certificate is trusted, in front of the files in `served`."""
    if not shutil.which("openssl"):
        pytest.skip("makes no certificate without openssl")
    key, certificate, served = (tmp_path / name for name in ("key", "certificate", "served"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=a", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    served.mkdir()
    (served / "x.gz").write_bytes(CONTENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(served) as server:
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        yield server


def test_out_of_encryption_goes_only_what_a_hash_checks(secure, tmp_path, capfd):
    https = secure.url.replace("http:", "https:")
    fetch(tmp_path / "y.gz", [f"{https}/x.gz"], None)
    with Server(secure.folder) as plain:
        secure.answers["/moved"] = Answer(status=302, location=f"{plain.url}/x.gz")
        secure.answers["/far"] = Answer(status=307, location="/moved")
        for path in ("moved", "far"):
            problem = _complaint(f"{https}/{path}")
            assert "is redirected from https to http" in problem
            assert "give its sha256 in the config" in problem
        assert not plain.requests
        fetch(Path("x.gz"), [f"{https}/far"], SHA256)
    assert Path("x.gz").read_bytes() == CONTENT
    told = "127.0.0.1:\\d+ redirects from https to http; the sha256 is to be relied on\n"
    assert re.search(told, capfd.readouterr().err)


def test_into_encryption_goes_everything(secure):
    with Server(secure.folder) as plain:
        https = secure.url.replace("http:", "https:")
        plain.answers["/moved"] = Answer(status=301, location=f"{https}/x.gz")
        fetch(Path("x.gz"), [f"{plain.url}/moved"], None)
    assert Path("x.gz").read_bytes() == CONTENT
