"""A file behind a URL: its bytes from any place on, and in a phrase what is wrong if they stay out.

fsspec serves the URLs. Only those of HTTP are asked here, in fsspec's own event loop and through
the library that it uses itself, because to go on where a download broke off takes what fsspec does
not hand out: the headers of the answer that the bytes come in.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

CONNECT_SECONDS = 30
READ_SECONDS = 60  # without a byte
BLOCK = 1 << 20
PAGES = (".html", ".htm")

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
    web = urlsplit(url).scheme.lower() in ("http", "https")
    with _web_file(url, start) if web else _other_file(url, start) as remote:
        yield remote


@contextmanager
def _web_file(url: str, start: int) -> Iterator[Remote]:
    from fsspec.asyn import get_loop, sync

    loop = get_loop()
    session = sync(loop, _session)
    try:
        with _phrased():
            response = sync(loop, _ask, session, url, start)

        def read() -> bytes:
            with _phrased():
                return sync(loop, response.content.read, BLOCK)

        yield _answer(url, start, response, read)
    finally:
        sync(loop, session.close)  # and with it what is still under way


async def _session() -> "ClientSession":
    from aiohttp import ClientSession, ClientTimeout

    return ClientSession(
        trust_env=True,  # proxies
        auto_decompress=False,  # some servers call an archive that they have an encoding
        timeout=ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
        read_bufsize=BLOCK,
    )


async def _ask(session: "ClientSession", url: str, start: int) -> "ClientResponse":
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    return await session.get(url, headers=headers)


def _answer(url: str, start: int, response: "ClientResponse", read: Callable[[], bytes]) -> Remote:
    """What the head of an answer tells; raises RemoteError if it is not about the file."""
    headers, status = response.headers, response.status
    if status == 416 and start:
        return Remote(-1, None, None, read)
    if status not in (200, 206):
        fallback = "it has a fault; try again later" if status >= 500 else response.reason
        raise RemoteError(f"answered {status}: {STATUSES.get(status, fallback)}")
    if response.content_type == "text/html" and not has_page_name(url):
        raise RemoteError("answered with a web page")
    tag = headers.get("ETag", "W/")
    version = headers.get("Last-Modified") if tag.startswith("W/") else tag
    if status == 200:
        return Remote(0, response.content_length, version, read)
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if not part:
        return Remote(-1, None, None, read)
    size = None if part[2] == "*" else int(part[2])
    return Remote(int(part[1]), size, version, read)


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
def _phrased(begun: bool = False) -> Iterator[None]:
    """Turns whatever a library raises into a phrase."""
    try:
        yield
    except Exception as error:
        kind, phrase = _phrase(error)
        raise (BrokenOffError if begun else kind)(phrase) from error


def _phrase(error: Exception) -> tuple[type[RemoteError], str]:
    import aiohttp

    reason: Any = error.__cause__ if isinstance(error, asyncio.TimeoutError) else error
    system = getattr(reason, "os_error", reason)
    words = getattr(system, "strerror", None) or str(system) or type(system).__name__
    words = words.split("\n")[0]
    phrases: list[tuple[Any, type[RemoteError], str]] = [
        (
            aiohttp.ConnectionTimeoutError,
            RemoteError,
            f"no connection in {CONNECT_SECONDS} seconds",
        ),
        (asyncio.TimeoutError, BrokenOffError, f"sent nothing for {READ_SECONDS} seconds"),
        (aiohttp.InvalidURL, RemoteError, "is not a URL"),
        (aiohttp.TooManyRedirects, RemoteError, "is redirected again and again"),
        (aiohttp.ClientProxyConnectionError, RemoteError, f"the proxy cannot be reached ({words})"),
        (aiohttp.ClientHttpProxyError, RemoteError, f"the proxy refuses ({words})"),
        (aiohttp.ClientConnectorDNSError, RemoteError, "the host is not known, or you are offline"),
        (aiohttp.ClientSSLError, RemoteError, f"no secure connection (TLS): {words}"),
        (aiohttp.ClientConnectorError, RemoteError, f"no connection: {words}"),
        (aiohttp.ClientPayloadError, BrokenOffError, "broke off"),
        (aiohttp.ServerDisconnectedError, BrokenOffError, "broke off"),
        (aiohttp.ClientOSError, BrokenOffError, f"broke off ({words})"),
        (FileNotFoundError, RemoteError, "there is no such file"),
        (PermissionError, RemoteError, "access is refused"),
        (ImportError, RemoteError, f"needs a library that is missing: {words}"),
    ]
    for kinds, outcome, phrase in phrases:
        if isinstance(reason, kinds):
            return outcome, phrase
    return RemoteError, words
