"""Laws of downloads: the file is there, whole and right, or absent, and nothing comes twice."""

import email.message
import errno
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import _registry
from server import PAGE, PAGE_ANSWER, Answer, Server

from seq2seq.errors import Stopped, UserError
from seq2seq.text import download, remote
from seq2seq.text.download import fetch

CONTENT = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NEVER = "0" * 64
hash_or_none = pytest.mark.parametrize("sha256", [SHA256, None])


@pytest.fixture(autouse=True)
def at_once_into_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("SEQ2SEQ_DATA_ROOT", str(tmp_path))


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "text.gz").write_bytes(CONTENT)
    (folder / "mirror.gz").write_bytes(CONTENT)
    with Server(folder) as entered:
        yield entered


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "corpus" / "text.gz"


def _complaint(path: Path, urls: list[str], sha256: str | None = None) -> str:
    """What is wrong with the last URL; checks the rest of the message."""
    with pytest.raises(UserError) as raised:
        fetch(path, urls, sha256)
    head, *problems, remedy = str(raised.value).split("\n")
    assert head == f"{path} could not be fetched:"
    there = "one of these" if len(urls) > 1 else "there"
    assert (
        remedy
        == f"run the same command again, or fetch it by hand from {there} and put it at {path}"
    )
    assert len(problems) == len(urls)
    for problem, url in zip(problems, urls, strict=True):
        assert problem.startswith(f"  {url}: ")
    assert not path.exists()
    return problems[-1].removeprefix(f"  {urls[-1]}: ")


def _left(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


@hash_or_none
def test_a_missing_file_is_put_in_its_place_and_nothing_else(server, path, sha256, capfd):
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert _left(path) == {"text.gz"}
    assert len(server.requests) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"fetching text.gz (3.00MB) from {server.url}/text.gz\n")


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_file_may_be_small(server, path, content):
    (server.folder / "small").write_bytes(content)
    fetch(path, [f"{server.url}/small"], None)
    assert path.read_bytes() == content


@hash_or_none
def test_a_file_that_is_there_is_never_touched(server, path, sha256):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == b"mine"
    assert (_left(path), server.requests) == ({"text.gz"}, [])


def test_a_file_that_is_put_there_meanwhile_is_not_touched_either(server, path, monkeypatch):
    monkeypatch.setattr(download, "sha256_of", lambda _: path.write_bytes(b"mine") and SHA256)
    fetch(path, [f"{server.url}/text.gz"], SHA256)
    assert path.read_bytes() == b"mine"
    assert _left(path) == {"text.gz"}


# Going on


@hash_or_none
@pytest.mark.parametrize("sent", [1, 1000, 1_500_000, 2_999_999])
def test_what_broke_off_goes_on_where_it_was(server, path, sha256, sent, capfd):
    server.answers["/text.gz"] = Answer(break_after=sent, times=1)
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert _left(path) == {"text.gz"}
    assert server.starts() == [0, sent]
    assert f"{server.url}/text.gz: broke off, at " in capfd.readouterr().err


def test_what_breaks_off_again_and_again_comes_to_its_end_if_it_gets_on(server, path):
    server.answers["/text.gz"] = Answer(break_after=400_000)
    fetch(path, [f"{server.url}/text.gz"], None)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [*range(0, 3_000_000, 400_000)]


def test_what_does_not_get_on_is_given_up_and_goes_on_with_the_next_command(server, path):
    server.answers["/text.gz"] = Answer(break_after=1000)
    assert _complaint(path, [f"{server.url}/text.gz"]) == "broke off, at 4.00kB"
    assert server.starts() == [0, 1000, 2000, 3000]
    assert path.with_name("text.gz.part").read_bytes() == CONTENT[:4000]
    server.answers.clear()
    fetch(path, [f"{server.url}/text.gz"], None)
    assert path.read_bytes() == CONTENT
    assert server.starts()[4:] == [4000]


def test_nothing_at_all_is_given_up(server, path):
    server.answers["/text.gz"] = Answer(break_after=0)
    assert _complaint(path, [f"{server.url}/text.gz"]) == "broke off, at 0.00B"
    assert len(server.requests) == 4


def _leave_part(server: Server, path: Path, sha256: str | None, url: str = "text.gz") -> None:
    """Fetches the first 4000 bytes."""
    server.answers[f"/{url}"] = Answer(break_after=1000)
    _complaint(path, [f"{server.url}/{url}"], sha256)
    server.answers.clear()
    server.requests.clear()


@hash_or_none
@pytest.mark.parametrize(
    "answer",
    [
        Answer(tag='"new"'),
        Answer(tag=None, date=1e9),
        Answer(tag='W/"weak"', date=1e9),
        Answer(tag=None, length=False),
    ],
)
def test_a_part_does_not_go_on_with_another_version(server, path, sha256, answer):
    _leave_part(server, path, sha256)
    server.answers["/text.gz"] = answer
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [4000, 0]


@pytest.mark.parametrize("content", [OTHER, OTHER[:2_000_000], CONTENT + OTHER, OTHER[:4000], b"x"])
def test_a_part_never_goes_on_with_bytes_of_another_file(server, path, content):
    _leave_part(server, path, None)
    (server.folder / "text.gz").write_bytes(content)
    fetch(path, [f"{server.url}/text.gz"], None)
    assert path.read_bytes() == content


def test_a_part_does_not_go_on_with_a_file_of_another_size(server, path):
    server.answers["/text.gz"] = Answer(tag='"same"', break_after=1000, times=4)
    _complaint(path, [f"{server.url}/text.gz"])
    server.answers["/text.gz"] = Answer(tag='"same"', body=OTHER[1:])
    fetch(path, [f"{server.url}/text.gz"], None)
    assert path.read_bytes() == OTHER[1:]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_version_only_a_hash_lets_a_part_go_on(server, path, tag):
    for sha256, starts in ((SHA256, [0, 1000]), (None, [0, 1000, 0])):
        path.unlink(missing_ok=True)
        server.requests.clear()
        server.answers["/text.gz"] = Answer(tag=tag, break_after=1000, times=1)
        whole = Answer(tag=tag)
        _then(server, whole)
        fetch(path, [f"{server.url}/text.gz"], sha256)
        assert path.read_bytes() == CONTENT
        assert server.starts() == starts


def _then(server: Server, answer: Answer) -> None:
    """How the path is answered when what it was told before is over."""
    first = server.answers["/text.gz"]

    class Both(dict):
        def get(self, path, default):
            return super().get(path, answer)

    server.answers = Both({"/text.gz": first})


@hash_or_none
def test_a_date_is_a_version_where_there_is_no_other(server, path, sha256):
    server.answers["/text.gz"] = Answer(tag=None, date=1e9, break_after=1_100_000)
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [0, 1_100_000, 2_200_000]


@hash_or_none
@pytest.mark.parametrize("answer", [Answer(ranges=False), Answer(shift=7)])
def test_a_server_that_does_not_give_the_range_starts_over(server, path, sha256, answer):
    _leave_part(server, path, sha256)
    server.answers["/text.gz"] = answer
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert server.starts() == ([4000] if not answer.ranges else [4000, 0])


def test_a_server_without_ranges_that_breaks_off_is_not_asked_for_ever(server, path):
    server.answers["/text.gz"] = Answer(ranges=False, break_after=2_000_000)
    assert _complaint(path, [f"{server.url}/text.gz"]) == "broke off, at 2.00MB"
    assert len(server.requests) <= 8


def test_a_mirror_goes_on_with_a_part_of_the_same_hash_only(server, path):
    urls = [f"{server.url}/text.gz", f"{server.url}/mirror.gz"]
    for sha256, starts in ((SHA256, [4000]), (None, [0])):
        path.unlink(missing_ok=True)
        _leave_part(server, path, sha256)
        server.answers["/text.gz"] = Answer(status=404)
        server.answers["/mirror.gz"] = Answer(tag='"its own"')
        fetch(path, urls, sha256)
        assert path.read_bytes() == CONTENT
        assert server.starts("/mirror.gz") == starts


def test_a_part_with_wrong_bytes_in_it_costs_one_more_attempt(server, path):
    _leave_part(server, path, SHA256)
    path.with_name("text.gz.part").write_bytes(OTHER[:4000])
    fetch(path, [f"{server.url}/text.gz"], SHA256)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [4000, 0]


@hash_or_none
def test_a_part_that_is_whole_need_not_be_fetched(server, path, sha256):
    _leave_part(server, path, sha256)
    path.with_name("text.gz.part").write_bytes(CONTENT)  # killed before it took its place
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("note", [None, "", "{}", "[1]", '{"url": 1, "size": "x"}', "\x00"])
@hash_or_none
def test_a_part_of_which_nothing_is_known_starts_over(server, path, sha256, note):
    _leave_part(server, path, sha256)
    place = path.with_name("text.gz.part.json")
    place.unlink() if note is None else place.write_text(note)
    fetch(path, [f"{server.url}/text.gz"], sha256)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [0]


@pytest.mark.parametrize("error", [Stopped(15, "stopped"), KeyboardInterrupt()])
def test_a_signal_comes_through_and_the_part_stays(server, path, error):
    def stop(number: int, frame: FrameType | None) -> None:
        raise error

    server.answers["/text.gz"] = Answer(stall_after=1_000_000)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(type(error)) as raised:
            fetch(path, [f"{server.url}/text.gz"], None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised.value is error
    assert path.with_name("text.gz.part").read_bytes() == CONTENT[:1_000_000]
    server.answers.clear()
    fetch(path, [f"{server.url}/text.gz"], None)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [0, 1_000_000]


def _fetching(path: Path, url: str) -> "subprocess.Popen[bytes]":
    code = "import sys, pathlib; from seq2seq.text.download import fetch; "
    code += f"fetch(pathlib.Path({str(path)!r}), [{url!r}], {SHA256!r})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_was_killed_goes_on_where_it_was(server, path):
    server.answers["/text.gz"] = Answer(stall_after=1_000_000)
    with _fetching(path, f"{server.url}/text.gz") as process:
        part = path.with_name("text.gz.part")
        _wait(lambda: part.exists() and part.stat().st_size == 1_000_000)
        process.kill()
    assert not path.exists()
    server.answers.clear()
    fetch(path, [f"{server.url}/text.gz"], SHA256)
    assert path.read_bytes() == CONTENT
    assert server.starts() == [0, 1_000_000]


def test_two_processes_fetch_a_file_once(server, path):
    server.answers["/text.gz"] = Answer(stall_after=1_000_000, times=1)
    with _fetching(path, f"{server.url}/text.gz") as one:
        _wait(lambda: bool(server.requests))
        with _fetching(path, f"{server.url}/text.gz") as other:
            assert other.stderr
            told = other.stderr.readline().decode()
            assert told == f"waiting for another process that fetches {path}\n"
            server.closing.set()  # the first is broken off, and goes on
            assert other.wait(30) == one.wait(30) == 0
            assert other.stderr.read() == b""
    assert path.read_bytes() == CONTENT
    assert server.starts() == [0, 1_000_000]
    assert _left(path) == {"text.gz"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_full_disk_comes_through_and_is_named(server, path, monkeypatch):
    part = path.with_name("text.gz.part")
    open_own = download.open_own

    def full(file: Path, mode: Any) -> Any:
        return open("/dev/full", "r+b") if mode == "ab" and file.exists() else open_own(file, mode)

    monkeypatch.setattr(download, "open_own", full)
    with pytest.raises(OSError, match="No space left") as raised:
        fetch(path, [f"{server.url}/text.gz"], SHA256)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(part))
    assert not path.exists()


# What is wrong


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(status=401), "answered 401: it wants a password"),
        (Answer(status=403), "answered 403: it refuses access"),
        (Answer(status=404), "answered 404: it has no such file"),
        (Answer(status=418), "answered 418: I'm a Teapot"),
        (Answer(status=429), "answered 429: it wants fewer requests; try again later"),
        (Answer(status=500), "answered 500: it has a fault; try again later"),
        (Answer(status=503), "answered 503: it has a fault; try again later"),
        (Answer(status=302, location="/text.gz"), "is redirected without end"),
        (PAGE_ANSWER, "answered with a web page"),
        (Answer(body=b"\xef\xbb\xbf\n" + PAGE), "answered with a web page"),
        (Answer(body=PAGE.upper()[15:]), "answered with a web page"),
        (Answer(claim=10), "broke off, at 3.00MB"),
    ],
)
@hash_or_none
def test_what_a_server_does_wrong_is_said_in_a_phrase(server, path, answer, problem, sha256):
    server.answers["/text.gz"] = answer
    assert _complaint(path, [f"{server.url}/text.gz"], sha256) == problem


@pytest.mark.parametrize("answer", [Answer(status=404), PAGE_ANSWER])
def test_what_goes_wrong_when_a_part_is_there_leaves_it_there(server, path, answer):
    _leave_part(server, path, None)
    server.answers["/text.gz"] = answer
    _complaint(path, [f"{server.url}/text.gz"])
    assert path.with_name("text.gz.part").read_bytes() == CONTENT[:4000]


def test_a_page_is_what_was_meant_if_its_name_or_hash_says_so(server, path):
    (server.folder / "page.html").write_bytes(PAGE)
    (server.folder / "page").write_bytes(PAGE)
    server.answers["/page.html"] = Answer(content_type="text/html")
    fetch(path, [f"{server.url}/page.html"], None)
    assert path.read_bytes() == PAGE
    path.unlink()
    fetch(path, [f"{server.url}/page"], hashlib.sha256(PAGE).hexdigest())
    assert path.read_bytes() == PAGE


@pytest.mark.parametrize("left", [False, True])
def test_a_file_with_the_wrong_hash_is_removed_and_both_hashes_are_named(server, path, left):
    if left:
        _leave_part(server, path, NEVER)
    url = f"{server.url}/text.gz"
    assert _complaint(path, [url], NEVER) == f"gave a file whose sha256 is {SHA256}, not {NEVER}"
    assert _left(path) <= {"text.gz.part.lock"}
    assert server.starts() == ([4000, 0] if left else [0])


def test_a_connection_that_is_refused_is_named(path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/text.gz"
        assert _complaint(path, [url]).startswith("no connection: ")


def test_a_host_that_is_not_known_is_named(path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    problem = _complaint(path, ["http://nowhere.invalid/text.gz"])
    assert problem == "the host is not known, or you are offline"


def test_a_server_without_encryption_is_no_secure_one(server, path):
    url = f"{server.url}/text.gz".replace("http:", "https:")
    assert _complaint(path, [url]).startswith("no secure connection (TLS): ")


def test_a_server_that_says_nothing_is_given_up(server, path, monkeypatch):
    monkeypatch.setattr(remote, "SECONDS", 0.1)
    server.answers["/text.gz"] = Answer(stall_after=1000)
    problem = _complaint(path, [f"{server.url}/text.gz"])
    assert problem == "said nothing for 0.1 seconds, at 4.00kB"
    assert server.starts() == [0, 1000, 2000, 3000]


def test_a_proxy_is_honoured(server, path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    fetch(path, ["http://corpus.invalid/text.gz"], SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests[0].headers["Host"] == "corpus.invalid"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://", "no connection: no host given"),
        ("http://host:port/text.gz", "is not a URL"),
        *(
            (url, f"is not fetched: its scheme must be one of {', '.join(remote.SCHEMES)}")
            for url in (
                "nonsense://host/text.gz",
                "FILE:///etc/passwd",
                "local:///etc/passwd",
                "memory://a",
                "data:text/plain,a",
                "sftp://host/text.gz",
                "host/text.gz",
                "",
            )
        ),
        *(
            (url, "is a chain of URLs; give a single one")
            for url in ("zip://a::file:///b", "simplecache::https://host/a", "http::file:///b")
        ),
    ],
)
def test_what_is_no_url_is_named(path, url, problem):
    assert _complaint(path, [url]) == problem


def test_a_library_that_is_missing_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    problem = _complaint(path, ["s3://bucket/text.gz"])
    assert problem == "needs a library that is missing: Install s3fs to access S3"


def test_passwords_are_not_shown_and_not_kept(server, path, capfd):
    server.answers["/text.gz"] = Answer(break_after=1000)
    url = f"{server.url}/text.gz".replace("//", "//me:secret@")
    with pytest.raises(UserError) as raised:
        fetch(path, [url], None)
    told = str(raised.value) + capfd.readouterr().err
    assert "127.0.0.1" in told
    assert "secret" not in told + path.with_name("text.gz.part.json").read_text()
    assert server.requests[-1].headers["Authorization"].startswith("Basic ")


def test_passwords_do_not_follow_a_redirection(server, path):
    server.answers["/moved"] = Answer(status=302, location="/text.gz")
    fetch(path, [f"{server.url}/moved".replace("//", "//me:secret@")], SHA256)
    assert ["Authorization" in request.headers for request in server.requests] == [True, False]


# Mirrors and other places


@pytest.mark.parametrize("name", ["a b/é.gz", "a%20b/%C3%A9.gz"])
def test_a_url_may_have_any_characters(server, path, name):
    (server.folder / "a b").mkdir()
    (server.folder / "a b" / "é.gz").write_bytes(CONTENT)
    fetch(path, [f"{server.url}/{name}?query=ü"], SHA256)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer", [Answer(status=500), PAGE_ANSWER, Answer(body=OTHER), Answer(break_after=10_000)]
)
def test_the_first_mirror_that_works_gives_the_file(server, path, answer):
    urls = [f"{server.url}/{name}" for name in ("text.gz", "mirror.gz", "third.gz")]
    server.answers["/text.gz"] = answer
    fetch(path, urls, SHA256)
    assert path.read_bytes() == CONTENT
    assert [server.starts("/mirror.gz") != [], server.starts("/third.gz")] == [True, []]


def test_when_no_mirror_works_each_is_told_with_its_reason(server, path):
    server.answers["/text.gz"] = Answer(status=500)
    server.answers["/mirror.gz"] = Answer(body=OTHER)
    urls = [f"{server.url}/{name}" for name in ("text.gz", "mirror.gz", "third.gz")]
    with pytest.raises(UserError) as raised:
        fetch(path, urls, SHA256)
    other = hashlib.sha256(OTHER).hexdigest()
    assert str(raised.value) == (
        f"{path} could not be fetched:\n"
        f"  {urls[0]}: answered 500: it has a fault; try again later\n"
        f"  {urls[1]}: gave a file whose sha256 is {other}, not {SHA256}\n"
        f"  {urls[2]}: answered 404: it has no such file\n"
        f"run the same command again, or fetch it by hand from one of these and put it at {path}"
    )


def test_a_redirection_is_followed_with_the_range(server, path):
    server.answers["/moved"] = Answer(status=302, location="/text.gz")
    server.answers["/text.gz"] = Answer(break_after=1_000_000, times=1)
    fetch(path, [f"{server.url}/moved"], SHA256)
    assert path.read_bytes() == CONTENT
    assert server.starts("/text.gz") == [0, 1_000_000]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_bytes_are_kept_as_they_come_whatever_a_server_calls_them(server, path, encoding):
    server.answers["/text.gz"] = Answer(encoding=encoding)
    fetch(path, [f"{server.url}/text.gz"], SHA256)
    assert path.read_bytes() == CONTENT


def test_a_server_that_does_not_tell_the_length_is_believed(server, path):
    server.answers["/text.gz"] = Answer(length=False)
    fetch(path, [f"{server.url}/text.gz"], None)
    assert path.read_bytes() == CONTENT


class Bucket(LocalFileSystem):
    """A store in a cloud, which is a folder of this machine."""

    protocol = "s3"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("s3://")


@hash_or_none
def test_other_schemes_work_and_go_on_too(server, path, sha256, monkeypatch):
    monkeypatch.setitem(_registry, "s3", Bucket)
    url = f"s3://{server.folder}/text.gz"
    fetch(path, [url], sha256)
    assert path.read_bytes() == CONTENT
    with remote.opened(url, 0, hashed=True) as found:
        origin = download._Origin(url, found.size, found.version)
    path.unlink()
    path.with_name("text.gz.part").write_bytes(CONTENT[:1000])
    path.with_name("text.gz.part.json").write_text(json.dumps(origin._asdict()))
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        opened = remote.opened
        patch.setattr(
            download, "opened", lambda url, n, **kw: asked.append(n) or opened(url, n, **kw)
        )
        fetch(path, [url], sha256)
    assert path.read_bytes() == CONTENT
    assert asked == [1000]


@pytest.mark.parametrize(("total", "size"), [("4000", 4000), ("*", 600)])
def test_a_size_that_a_server_leaves_open_is_that_of_what_it_announces(total, size):
    headers = email.message.Message()
    headers["Content-Range"] = f"bytes 500-599/{total}"
    headers["Content-Type"] = "application/gzip"
    response = SimpleNamespace(status=206, reason="", headers=headers, length=100)
    found = remote._answer("http://a/b.gz", response, bytes)
    assert (found.start, found.size) == (500, size)
