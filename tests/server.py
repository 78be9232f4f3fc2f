"""A small HTTP server on this machine for tests: serves a folder as well, or as badly, as told.

with Server(folder) as server:
    server.answers["/text.gz"] = Answer(break_after=1000, times=1)
    fetch(path, [f"{server.url}/text.gz"], None)
    assert [request.start for request in server.requests] == [0, 1000]
"""

import hashlib
import os
import socket
import threading
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

PAGE = b"<!DOCTYPE html><html><body>Please log in.</body></html>"


@dataclass
class Answer:
    """How a path is answered; as it should be, unless told."""

    times: int | None = None  # how often, before all is well again; for ever unless given
    status: int | None = None
    body: bytes | None = None  # other bytes than those of the file
    content_type: str = "application/octet-stream"
    break_after: int | None = None  # bytes, in each answer
    stall_after: int | None = None  # bytes; nothing more comes, but the connection stays
    claim: int = 0  # bytes that Content-Length has too many
    length: bool = True  # whether there is a Content-Length at all
    ranges: bool = True  # whether a Range is heeded
    shift: int = 0  # bytes that a range begins too late
    tag: str | None = ""  # the ETag: a hash unless given, none if None
    date: float | None = None  # Last-Modified, in seconds
    location: str | None = None  # where a redirection leads
    encoding: str | None = None  # a Content-Encoding, which says what is not so


PAGE_ANSWER = Answer(body=PAGE, content_type="text/html; charset=utf-8")


class Request(NamedTuple):
    """What was asked for."""

    path: str
    start: int  # of the range, or 0
    headers: dict[str, str]


class Server:
    """Serves the files of a folder on 127.0.0.1 while it is entered; no thread outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Server":
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        for name in ("no_proxy", "NO_PROXY"):
            others = f",{os.environ[name]}" if os.environ.get(name) else ""
            self._patch.setenv(name, f"127.0.0.1{others}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._patch.undo()
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()  # joins the threads of all requests
        self._thread.join()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def starts(self, path: str | None = None) -> list[int]:
        """Where the ranges asked for began."""
        return [request.start for request in self.requests if path in (None, request.path)]

    def answer(self, path: str) -> Answer:
        """How a path is to be answered this time."""
        answer = self.answers.get(path, Answer())
        if answer.times is not None:
            answer.times -= 1
            if answer.times == 0:
                del self.answers[path]
        return answer


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that they are joined
    request_queue_size = 32
    owner: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        owner, path = self.server.owner, unquote(urlsplit(self.path).path)
        wanted = self.headers.get("Range", "bytes=0-")
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        owner.requests.append(Request(path, start, dict(self.headers)))
        answer = owner.answer(path)
        file = owner.folder / path.lstrip("/")
        if answer.status:
            self._head(answer.status, answer, b"no\n", 0, 3)
            self.wfile.write(b"no\n")
        elif answer.body is None and not file.is_file():
            self._head(404, answer, b"", 0, 0)
        else:
            self._send(answer, file.read_bytes() if answer.body is None else answer.body, start)

    def _send(self, answer: Answer, content: bytes, start: int) -> None:
        if not answer.ranges:
            start = 0
        if start and start >= len(content):
            self._head(416, answer, content, 0, 0)
            return
        start += answer.shift if start else 0
        body = content[start:]
        self._head(206 if start else 200, answer, content, start, len(body) + answer.claim)
        cut = [size for size in (answer.break_after, answer.stall_after) if size is not None]
        self.wfile.write(body[: min(cut, default=len(body))])
        self.wfile.flush()
        if answer.stall_after is not None:
            self.server.owner.closing.wait(self.timeout)
        self.connection.shutdown(socket.SHUT_WR)

    def _head(self, status: int, answer: Answer, content: bytes, start: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        self.send_header("Content-Type", answer.content_type)
        if answer.length:
            self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(content)}")
        if answer.tag is not None:
            self.send_header("ETag", answer.tag or f'"{hashlib.sha256(content).hexdigest()[:16]}"')
        if answer.date is not None:
            self.send_header("Last-Modified", formatdate(answer.date, usegmt=True))
        if answer.location:
            self.send_header("Location", answer.location)
        if answer.encoding:
            self.send_header("Content-Encoding", answer.encoding)
        self.end_headers()
