"""A file behind a URL: its bytes from any place on, and in a phrase what is wrong if they stay out.

HTTP is asked through the standard library: to go on where a download broke off takes the headers of
the very answer that the bytes come in, and every byte that came before the end. fsspec hands out no
headers, and aiohttp, which it asks, throws away what has arrived when a connection breaks. The
other schemes (s3, gs, ftp, ...) are fsspec's: those of `SCHEMES` and no others, since fsspec also
opens local files, memory, archives and the shells of other machines.
"""

import base64
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from pathlib import PurePosixPath
from socket import gaierror
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from seq2seq.config.urls import masked_text
from seq2seq.console import printable, say

SECONDS = 60.0  # to connect, and between one byte and the next
BLOCK = 1 << 18
PAGES = (".html", ".htm")
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
RESERVED = "!#$%&'()*+,/:;=?@[]~"  # what a URL may have in it as it is

WEB = ("http", "https")
SCHEMES = {
    **dict.fromkeys(WEB, "the web"),
    "s3": "Amazon S3",
    "s3a": "Amazon S3",
    "gs": "Google Cloud Storage",
    "gcs": "Google Cloud Storage",
    "abfs": "Azure",
    "abfss": "Azure",
    "az": "Azure",
    "hdfs": "Hadoop",
    "hf": "the Hugging Face hub",
    "ftp": "FTP",
}  # all but the web are fsspec's

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
def opened(url: str, start: int, *, hashed: bool) -> Iterator[Remote]:
    """A file from a place on; the server may begin elsewhere, as `Remote.start` tells.

    Where the file is `hashed` afterwards, it may come by a way that others can write on. Raises
    RemoteError or, where trying again may help, BrokenOffError; so does reading.
    """
    if "::" in url:
        raise RemoteError("is a chain of URLs; give a single one")
    scheme, there, path = url.partition("://")
    scheme = scheme.strip().lower()
    if not there or scheme not in SCHEMES:
        raise RemoteError(f"is not fetched: its scheme must be one of {', '.join(SCHEMES)}")
    url = f"{scheme}://{path}"
    web = scheme in WEB
    with _web_file(url, start, hashed=hashed) if web else _other_file(url, start) as remote:
        yield remote


@contextmanager
def _web_file(url: str, start: int, *, hashed: bool) -> Iterator[Remote]:
    with _phrased():
        response = _ask(url, start, hashed=hashed)
    if response is None:
        yield Remote(-1, None, None, bytes)
        return

    def read() -> bytes:
        with _phrased():
            return response.read1(BLOCK)

    with response:
        yield _answer(url, response, read)


class _Redirects(HTTPRedirectHandler):
    """Redirections within the web, and out of encryption only for what a hash will check."""

    def __init__(self, *, hashed: bool) -> None:
        self.hashed = hashed

    def http_error_302(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        location = headers.get("location") or headers.get("uri") or ""
        before, after = (
            urlsplit(url).scheme.lower() for url in (req.full_url, urljoin(req.full_url, location))
        )
        if after not in WEB:
            raise RemoteError(f"is redirected to {printable(after)}, not to {' or '.join(WEB)}")
        if (before, after) == ("https", "http"):
            if not self.hashed:
                raise RemoteError(
                    "is redirected from https to http, where anybody on the way can change the "
                    "file; give its sha256 in the config"
                )
            say(
                f"{printable(req.host)} redirects from https to http; the sha256 is to be relied on"
            )
        fp.close()  # its text, which may have no end, would be read otherwise
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener(*, hashed: bool) -> OpenerDirector:
    """What asks the web, and nothing else: urllib's own opens FTP, files and data, too."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
        _Redirects(hashed=hashed),
    ):
        opener.add_handler(handler)
    return opener


def _ask(url: str, start: int, *, hashed: bool) -> HTTPResponse | None:
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
        response: HTTPResponse = _opener(hashed=hashed).open(request, timeout=SECONDS)
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
    part = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if not part:
        return Remote(-1, None, None, read)
    start, size = int(part[1]), None if part[2] == "*" else int(part[2])
    if size is None and response.length is not None:
        size = start + response.length
    return Remote(start, size, version, read)


def _status(code: int, reason: str) -> str:
    if 300 <= code < 400:
        endless = reason.startswith(HTTPRedirectHandler.inf_msg)
        return "is redirected without end" if endless else f"answered {code}: redirected nowhere"
    fault = "it has a fault; try again later" if code >= 500 else reason
    return f"answered {code}: {printable(STATUSES.get(code, fault))}"


@contextmanager
def _other_file(url: str, start: int) -> Iterator[Remote]:
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
    except RemoteError:
        raise
    except Exception as error:
        kind, phrase = _phrase(error)
        raise (BrokenOffError if begun else kind)(phrase) from error


def _phrase(error: Exception) -> tuple[type[RemoteError], str]:
    if isinstance(error, HTTPError):
        return RemoteError, _status(error.code, error.reason)
    connecting = isinstance(error, URLError)
    cause = error.reason if isinstance(error, URLError) else error
    words = str(getattr(cause, "strerror", None) or cause or type(cause).__name__).split("\n")[0]
    words = printable(masked_text(words))
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
