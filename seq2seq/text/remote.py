"""A file behind a URL: its bytes from any place on, and in a phrase what is wrong if they stay out.

HTTP is asked through the standard library: to go on where a download broke off takes the headers of
the very answer that the bytes come in, and every byte that came before the end. fsspec hands out no
headers, and aiohttp, which it asks, throws away what has arrived when a connection breaks. The
other schemes (s3, gs, ftp, ...) are fsspec's.
"""

import base64
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import PurePosixPath
from socket import gaierror
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, build_opener

SECONDS = 60.0  # to connect, and between one byte and the next
BLOCK = 1 << 18
PAGES = (".html", ".htm")
RESERVED = "!#$%&'()*+,/:;=?@[]~"  # what a URL may have in it as it is

STATUSES = {
    401: "it wants a password",
    403: "it refuses access",
    404: "it has no such file",
    407: "the proxy wants a password",
    410: "it has that file no longer",
    429: "it wants fewer requests; try again later",
}


class RemoteError(Exception):
    """A URL does not give its file; the message is a phrase that says why."""


class BrokenOffError(RemoteError):
    """What began well broke off, so that it may go on."""


class Remote(NamedTuple):
    """A file that has been asked for."""

    start: int  # where in the file the bytes begin, or -1 if the server has none from there on
    size: int | None  # of the whole file, if the server tells
    version: str | None  # changes when the file does, if the server tells
    read: Callable[[], bytes]  # the next bytes; none at the end


def has_page_name(url: str) -> bool:
    """Whether a URL is that of a web page."""
    return PurePosixPath(urlsplit(url).path).suffix.lower() in PAGES


@contextmanager
def opened(url: str, start: int) -> Iterator[Remote]:
    """A file from a place on; the server may begin elsewhere, as `Remote.start` tells.

    Raises RemoteError or, where trying again may help, BrokenOffError; so does reading.
    """
    web = url.lower().startswith(("http://", "https://"))
    with _web_file(url, start) if web else _other_file(url, start) as remote:
        yield remote


@contextmanager
def _web_file(url: str, start: int) -> Iterator[Remote]:
    with _phrased():
        response = _ask(url, start)
    if response is None:
        yield Remote(-1, None, None, bytes)
        return

    def read() -> bytes:
        with _phrased():
            return response.read1(BLOCK)

    with response:
        yield _answer(url, response, read)


def _ask(url: str, start: int) -> HTTPResponse | None:
    """The answer to a request; none if the server has nothing from that place on."""
    parts = urlsplit(quote(url, safe=RESERVED))
    user, _, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)))
    request.add_header("User-Agent", "seq2seq")  # some servers refuse that of Python
    if user:
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: HTTPResponse = build_opener().open(request, timeout=SECONDS)
        return response
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise


def _answer(url: str, response: HTTPResponse, read: Callable[[], bytes]) -> Remote:
    """What the head of an answer tells; raises RemoteError if it is not about the file."""
    headers = response.headers
    if response.status not in (200, 206):
        raise RemoteError(_status(response.status, response.reason))
    if headers.get_content_type() == "text/html" and not has_page_name(url):
        raise RemoteError("answered with a web page")
    tag = headers.get("ETag", "W/")
    version = headers.get("Last-Modified") if tag.startswith("W/") else tag
    if response.status == 200:
        return Remote(0, response.length, version, read)
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if not part:
        return Remote(-1, None, None, read)
    start, size = int(part[1]), None if part[2] == "*" else int(part[2])
    if size is None and response.length is not None:
        size = start + response.length
    return Remote(start, size, version, read)


def _status(code: int, reason: str) -> str:
    if 300 <= code < 400:
        return "is redirected without end"
    fault = "it has a fault; try again later" if code >= 500 else reason
    return f"answered {code}: {STATUSES.get(code, fault)}"


@contextmanager
def _other_file(url: str, start: int) -> Iterator[Remote]:
    if "::" in url:
        raise RemoteError("is a chain of URLs; give a single one")
    with _phrased():
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
        size = system.info(path)["size"]
        version = system.ukey(path)
        file = system.open(path, "rb")
        file.seek(start)

    def read() -> bytes:
        with _phrased(begun=True):
            return file.read(BLOCK)

    with file:
        yield Remote(start, size, version, read)


@contextmanager
def _phrased(*, begun: bool = False) -> Iterator[None]:
    """Turns whatever a library raises into a phrase."""
    try:
        yield
    except Exception as error:
        kind, phrase = _phrase(error)
        raise (BrokenOffError if begun else kind)(phrase) from error


def _phrase(error: Exception) -> tuple[type[RemoteError], str]:
    if isinstance(error, HTTPError):
        return RemoteError, _status(error.code, error.reason)
    connecting = isinstance(error, URLError)
    cause = error.reason if isinstance(error, URLError) else error
    words = str(getattr(cause, "strerror", None) or cause or type(cause).__name__).split("\n")[0]
    phrases: list[tuple[type[Exception], str]] = [
        (TimeoutError, f"said nothing for {SECONDS:g} seconds"),
        (gaierror, "the host is not known, or you are offline"),
        (ssl.SSLError, f"no secure connection (TLS): {words}"),
        (InvalidURL, "is not a URL"),
        (FileNotFoundError, "there is no such file"),
        (PermissionError, "access is refused"),
        (ImportError, f"needs a library that is missing: {words}"),
        (HTTPException, "broke off"),
        (ConnectionError, f"no connection: {words}" if connecting else "broke off"),
    ]
    broken = isinstance(cause, TimeoutError | HTTPException | ConnectionError) and not connecting
    kind = BrokenOffError if broken and not isinstance(cause, InvalidURL) else RemoteError
    found = (phrase for raised, phrase in phrases if isinstance(cause, raised))
    return kind, next(found, f"no connection: {words}" if connecting else words)
