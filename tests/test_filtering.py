"""The laws of long runs: files, what a person sees, interruptions, memory, several processes."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from echo import (
    OPENED,
    Echo,
    echoing,
    rows_of,
)
from together import PATIENCE, processes
from tqdm import tqdm

from seq2seq.decoding.forms import Text
from seq2seq.errors import UserError
from seq2seq.filtering import Filter, Job, alone
from seq2seq.text.inflate import zstd
from seq2seq.text.streams import Files, buffers, lines, reading
from seq2seq.translate import Pace, translate, write


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """The engine of every model that is opened."""
    return echoing(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Files

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".XZ": lzma.compress,
        ".zst": zstd.compress}  # fmt: skip
UNPACK = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".XZ": lzma.decompress,
          ".zst": zstd.decompress}  # fmt: skip
SOME = b"".join(b"%d eins\n" % number for number in range(30))


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_is_like_its_content(echo, command, here, suffix):
    Path(f"in{suffix}").write_bytes(PACK[suffix](SOME))
    flags = ["--input", f"in{suffix}", "--buffer", "7"]
    assert command("translate", *flags) == (0, SOME, "")
    assert command("translate", *flags, "--output", f"out{suffix}") == (0, b"", "")
    assert UNPACK[suffix](Path(f"out{suffix}").read_bytes()) == SOME
    assert command("translate", "--input", "-", "--output", "-", stdin=SOME) == (0, SOME, "")


def test_an_output_takes_the_place_of_what_was_there(echo, command, here):
    Path("out").write_bytes(b"old\n" * 99)
    command("translate", "--output", "out", stdin=b"a\n")
    assert Path("out").read_bytes() == b"a\n"


def test_the_output_cannot_be_the_input(echo, command, here, monkeypatch):
    Path("in").write_bytes(SOME)
    Path("soft").symlink_to("in")
    os.link("in", "hard")
    for name in ("in", "./in", "soft", "hard"):
        said = f"error: {Path(name)} is the input, too; write the output to another file\n"
        assert command("translate", "--input", "in", "--output", name) == (1, b"", said)
        with open("in", encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            with (
                pytest.raises(UserError, match="is the input, too"),
                reading(Files(None, Path(name))),
            ):
                pass
    assert Path("in").read_bytes() == SOME


WRONG_FLAGS: dict[str, tuple[int, str]] = {
    "--input absent": (1, "absent: No such file or directory"),
    "--output folder": (1, "folder is a folder; name a file in it"),
    "--output no/where": (1, "no is no folder; make it, or name another output"),
    "--output a.zip": (2, "a.zip: nothing is packed as zip; name it .gz, .bz2, .xz, .zst"),
    "--tsv --json": (2, "input is TSV or JSON, not both; leave out --tsv or --json"),
    "--column 2": (2, "--column names a column of TSV; give --tsv, too"),
    "--scores": (2, "--scores and --tokens become fields of an object; give --json, too"),
    "--tokens": (2, "--scores and --tokens become fields of an object; give --json, too"),
    "--tsv --n-best 2": (2, "TSV has room for one translation; for n-best lists, leave out --tsv"),
    "--stream --buffer 2": (2, "--stream answers each line by itself; leave out --buffer"),
    "--stream --processes 2": (2, "--stream has one line at a time to do; leave out --processes"),
    "--resume": (
        2, "--resume needs --input and --output, and an output that is not packed"),
    "--resume --input in --output o.GZ": (
        2, "--resume needs --input and --output, and an output that is not packed"),
    "--resume --output out": (
        2, "--resume needs --input and --output, and an output that is not packed"),
    "--resume --input in --output out --n-best 2": (
        2, "--resume cannot tell lines of n-best lists apart; give --json, too"),
    "--resume --input in --output long": (
        1, "long has 99 lines, but in only 1; name the input that it was made of, or another "
        "output"),
    "--tag <2es>": (1, "<2es> is no tag of this model; it knows <2de>, <2fr>"),
    "--n-best 6": (2, "what was asked cannot be done:\n  decoding.n_best: a beam of 5 has no 6 "
                   "best; widen decoding.beam"),
    "--top-p 1.5 --temperature 0": (
        2, "what was asked cannot be done:\n  decoding.temperature: must be more than 0, not 0.0\n"
        "  decoding.top_p: must be 1 or less, not 1.5"),
}  # fmt: skip


@pytest.mark.parametrize("flags", WRONG_FLAGS)
def test_what_cannot_be_is_said_before_anything_is_written(echo, command, here, flags):
    Path("folder").mkdir()
    Path("in").write_bytes(b"a\n")
    Path("long").write_bytes(b"old\n" * 99)
    code, said = WRONG_FLAGS[flags]
    assert command("translate", *flags.split(), stdin=b"a\n") == (code, b"", f"error: {said}\n")
    assert {path.name for path in here.iterdir()} == {"folder", "in", "long"}
    assert Path("long").read_bytes() == b"old\n" * 99
    assert not echo.asked


# What a person sees


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What from now on is shown on a terminal, while standard output is a file."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)  # else a thread outlives the test
    return terminal


def steps(seen: Terminal) -> list[str]:
    return re.findall(r"translating: .*? (\d+/\d+) \[", seen.getvalue())


@pytest.mark.parametrize("packer", [bytes, gzip.compress])
def test_a_bar_shows_how_much_of_a_file_is_done(echo, here, monkeypatch, packer):
    monkeypatch.setattr("tqdm.tqdm", partial(tqdm, mininterval=0, miniters=1))
    seen = watched(monkeypatch)
    Path("in").write_bytes(packer(b"a\n" * 9 + b"a"))
    files = Files(Path("in"), Path("out"))
    translate(None, [], {}, files=files, pace=Pace(buffer=4))
    assert dict.fromkeys(steps(seen)) == dict.fromkeys(["0/10", "4/10", "8/10", "10/10"])
    assert re.search(r"\[\d\d:\d\d<\d\d:\d\d, +[\d.]+ lines/s\]", seen.getvalue())
    Path("out").write_bytes(b"a\n" * 6)
    seen.truncate(0)
    translate(None, [], {}, files=files, pace=Pace(buffer=4, resume=True))
    assert dict.fromkeys(steps(seen)[1:]) == dict.fromkeys(["6/10", "10/10"])  # first, there is 0
    assert Path("out").read_bytes() == b"a\n" * 10


def test_processes_share_the_lines_that_are_translated_at_once():
    assert [Pace(processes=count).lines for count in (1, 2, 9999)] == [4096, 2048, 1]
    assert Pace(buffer=7, processes=2).lines == 7


def test_a_file_on_standard_input_has_a_bar_and_loses_nothing(echo, here, monkeypatch):
    seen = watched(monkeypatch)
    Path("in").write_bytes(b"skipped\n" + b"a\n" * 5)
    with open("in", encoding="utf-8") as stdin:
        stdin.buffer.readline()
        monkeypatch.setattr(sys, "stdin", stdin)
        translate(None, [], {})
    assert sys.stdout.buffer.getvalue() == b"a\n" * 5
    assert steps(seen)[0] == "0/5"


@pytest.mark.parametrize("why", ["nobody looks", "translations are looked at", "input is a pipe"])
def test_else_there_is_no_bar(echo, here, monkeypatch, why):
    seen = watched(monkeypatch)
    Path("in").write_bytes(b"a\n" * 5)
    os.mkfifo("pipe")
    if why == "nobody looks":
        seen.isatty = lambda: False
    if why == "translations are looked at":
        monkeypatch.setattr(sys.stdout.buffer, "isatty", lambda: True)
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"a\n" * 5))
    if why == "input is a pipe":
        writer.start()
    translate(None, [], {}, files=Files(Path("pipe" if writer.is_alive() else "in"), None))
    assert sys.stdout.buffer.getvalue() == b"a\n" * 5
    assert steps(seen) == []


# What is interrupted


def test_an_interrupted_output_is_continued_wherever_it_ended(echo, command, here):
    rows = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, b"ab" * n) for n in range(5))
    Path("in").write_bytes(rows)
    flags = ["--json", "--input", "in", "--output", "out", "--buffer", "2"]
    assert command("translate", *flags, "--resume") == (0, b"", "")  # nothing there yet
    whole = Path("out").read_bytes()
    assert whole.count(b"\n") == 5
    for end in range(len(whole) + 1):
        Path("out").write_bytes(whole[:end])
        echo.asked.clear()
        count = whole[:end].count(b"\n")
        said = f"out has {count} lines; going on from there\n" if count else ""
        assert command("translate", *flags, "--resume") == (0, b"", said)
        assert Path("out").read_bytes() == whole
        assert [one.number for one in echo.asked] == list(range(max(count + 1, 2), 6))


class Signals(io.RawIOBase):
    """An input during which a signal comes, before its last lines."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = [b"a\n", b"b\n", b"c\n", b"d\n"]

    def __iter__(self) -> Iterator[bytes]:
        for place, row in enumerate(self.rows):
            if place == 3:
                os.kill(os.getpid(), self.number)
            yield row


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_what_is_done_and_says_how_to_go_on(
    number, code, echo, command, here, monkeypatch
):
    monkeypatch.setattr("seq2seq.translate.lines", lambda stream: iter(Signals(number)))
    Path("in").write_bytes(b"a\nb\nc\nd\n")
    said = "stopped after 2 lines; the same command with --resume goes on\n"
    flags = ["--input", "in", "--output", "out", "--buffer", "2"]
    assert command("translate", *flags) == (code, b"", said)
    assert Path("out").read_bytes() == b"a\nb\n"
    said = "stopped after 2 lines\n"
    assert command("translate", "--buffer", "2") == (code, b"a\nb\n", said)
    assert command("translate", *flags, "--n-best", "2") == (code, b"", said)
    assert command("translate", *flags[2:]) == (code, b"", said)


def start(*arguments: str, **streams: Any) -> subprocess.Popen:
    """`seq2seq translate` with our own search, in a process of its own."""
    words = [sys.executable, "-m", "seq2seq", "translate", "--engine", "pytorch", *arguments]
    return subprocess.Popen(words, **streams)


def many(count: int) -> bytes:
    """Lines of digits."""
    numbers = random.Random(3)
    return b"".join(
        b"%s\n" % b" ".join(b"%d" % numbers.randrange(10) for _ in range(numbers.randrange(6)))
        for _ in range(count)
    )


# An engine whose answers do not depend by rounding on the lines beside them, and that takes a while
SLOW_ECHO = """
import sys
import time

import pytest
from echo import Echo, echoing
from seq2seq.cli import main

search = Echo.search


def slow_search(*given, **more):
    time.sleep(0.005)
    return search(*given, **more)


Echo.search = slow_search
with pytest.MonkeyPatch.context() as patch:
    echoing(patch)
    main()
"""


def test_a_killed_process_leaves_whole_lines_that_are_gone_on_with(echo, command, here):
    Path("in").write_bytes(many(3000))
    flags = ["--input", "in", "--output"]
    assert command("translate", *flags, "whole").code == 0
    size = Path("whole").stat().st_size
    end = random.Random(5).randrange(size // 2)
    words = [sys.executable, "-c", SLOW_ECHO, "translate", *flags, "out", "--buffer", "20"]
    found = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, env=found) as process:
        deadline = time.monotonic() + PATIENCE
        while not Path("out").exists() or Path("out").stat().st_size <= end:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    partial = Path("out").read_bytes()
    assert len(partial) < size
    result = command("translate", *flags, "out", "--resume")
    assert f"out has {partial.count(chr(10).encode()):,} lines; going on" in result.err
    assert Path("out").read_bytes() == Path("whole").read_bytes()


def test_with_stream_a_line_is_answered_while_the_next_is_still_unwritten(trained):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with start("--stream", "--json", **pipes) as process:
        for line in (b'"1 2"\n', b"no JSON\n", b'"3"\n'):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"}\n")
        process.stdin.close()
        assert process.wait(timeout=PATIENCE) == 0
        assert process.stdout.read() == b""


# Memory


class Counting(io.RawIOBase):
    """A file of numbered lines that is nowhere."""

    def __init__(self, count: int) -> None:
        self.rows = (b"line %09d\n" % number for number in range(count))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = b"".join(itertools.islice(self.rows, 500))
        buffer[: len(block)] = block
        return len(block)


def peak(count: int) -> int:
    """The most memory, in bytes, that the filtering of so many lines takes."""
    stream = io.BufferedReader(Counting(count), 1 << 15)
    engine = Echo()
    engine.asked = engine.options = Nothing()
    one = Filter(Job(OPENED, Text()))
    one.translator.engine = engine
    some = buffers(lines(stream), 500)
    tracemalloc.start()
    try:
        write(alone(one, some, 1, lambda count: None), Files(None, Path(os.devnull)), 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Nothing(list):
    """A list that keeps nothing."""

    def __iadd__(self, other: Any) -> "Nothing":
        return self

    def append(self, other: Any) -> None:
        pass


def test_memory_does_not_grow_with_the_lines(echo):
    peak(1000)
    few, lots = peak(2000), peak(12_000)
    assert lots < few + 10_000  # one byte a line


@pytest.mark.slow
def test_memory_is_flat_over_a_million_lines(echo):
    assert peak(1_000_000) < peak(2000) + 100_000


# Several processes


def test_processes_share_the_lines_and_keep_their_order(trained, command, tmp_path):
    (tmp_path / "in").write_bytes(many(300) + b"1 " * 60 + b"\n5\n")
    flags = ["--engine", "pytorch", "--input", str(tmp_path / "in"), "--buffer", "16"]
    expected = command("translate", *flags)
    assert "line 301 has" in expected.err
    assert command("translate", *flags, "--processes", "2") == expected
    result = command("translate", *flags, "--processes", "2", "--precision", "int8")
    assert (result.code, result.out) == (2, b"")
    assert "int8" in result.err


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_was_there_stays_where_a_model_cannot_be_loaded(own, command, processes):
    weights = Path("runs/toy/best/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    Path("out").write_bytes(b"old\n")
    result = command("translate", "--output", "out", "--processes", processes, stdin=b"1\n")
    assert (result.code, result.out) == (1, b"")
    assert "model.safetensors" in result.err
    assert Path("out").read_bytes() == b"old\n"


def test_a_worker_that_is_killed_is_an_error(trained, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start("--processes", "2", "--buffer", "1", **pipes) as process:
        process.stdin.write(b"1\n" * 5)  # more than are ahead, so that one is answered
        process.stdin.flush()
        assert process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(child) for child in children if b"spawn_main" in cmdline(child)]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        said = process.communicate(b"1\n" * 5, timeout=PATIENCE)[1].decode()
        assert process.returncode == 1
        assert "error: a worker process was killed, perhaps for want of memory" in said
        assert not Path(f"/proc/{workers[1]}").exists()


def cmdline(process: str) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def test_processes_of_torchrun_share_the_lines_and_the_first_writes(own, command):
    Path("in").write_bytes(many(100) + b"1 " * 60 + b"\n\xff")
    flags = ["--engine", "pytorch", "--input", "in", "--buffer", "16"]
    expected = command("translate", *flags)
    first, second = processes("-m", "seq2seq", "translate", *flags)
    assert (first.code, first.out.encode(), first.err) == expected
    assert (second.code, second.out, second.err) == (0, "", "")
    partial = b"".join(expected.out.splitlines(keepends=True)[:30])
    Path("out").write_bytes(partial + b"half")
    first, second = processes("-m", "seq2seq", "translate", *flags, "--output", "out", "--resume")
    assert (first.code, second.code) == (0, 0)
    assert Path("out").read_bytes() == expected.out


def test_processes_of_torchrun_cannot_share_standard_input(echo, command, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = "error: processes of torchrun cannot share standard input; give --input\n"
    assert command("translate", stdin=b"a\n") == (2, b"", said)


# Hostile lines


def hostile(count: int) -> bytes:
    """Lines of all that can go wrong."""
    numbers = random.Random(7)
    units = [b"\xed\xa0\x80", b"\0", b" ", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b\x0c\x1c",
             b"\t", b"1", b"9 ", "🏳️‍🌈".encode(), "א".encode(), "\u202eabc".encode(), b"\x1b[31m",
             "e\u0301\u0302".encode(), b"</s>", "\u2581".encode(), b"\xff", b'{"', b"\xef\xbb\xbf",
             "ﷺ".encode(), "。".encode()]  # fmt: skip
    rows = []
    for number in range(count):
        kind = number % 4
        size = 100_000 if number % 5000 == 99 else numbers.randrange(12)
        if kind == 0:
            row = numbers.randbytes(size)
        elif kind == 1:
            row = numbers.choice(units) * size
        else:
            row = b"".join(numbers.choice(units) for _ in range(size))
        rows.append(row.replace(b"\n", b""))
    return b"\n".join(rows) + b"\n"


@pytest.mark.parametrize("flags", ["", "--split", "--tsv", "--json"])
@pytest.mark.parametrize("count", [700, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("engine", ["pytorch", "ctranslate2"])
def test_as_many_lines_come_out_as_go_in_whatever_they_are(trained, command, flags, count, engine):
    text = hostile(count)
    arguments = [*flags.split(), "--beam", "1", "--max-length", "5", "--engine", engine]
    result = command("translate", *arguments, stdin=text)
    assert result.code == 0
    rows = rows_of(result.out)
    assert len(rows) == count == text.count(b"\n")
    if flags == "--json":
        assert all(isinstance(json.loads(row), dict) for row in rows)
    if flags == "--tsv":
        cut = [line.removesuffix(b"\r") for line in text.split(b"\n")]
        assert all(row.startswith(line) for row, line in zip(rows[1:], cut[1:], strict=False))
