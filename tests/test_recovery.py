"""Laws of a preparation that is broken off: nothing half-written counts, nothing done is lost.

Killed, stopped, out of space or begun on several machines, it ends in what it would have been.
"""

import builtins
import contextlib
import errno
import io
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from toy import (
    FOLDER,
    content,
    corpus,  # noqa: F401 (a fixture)
    from_scratch,
    leftovers,
    pair,
    toy_config,
    write_lines,
    write_text,
)

import seq2seq.prepare as preparation
from seq2seq.prepare import prepare

pytestmark = [
    pytest.mark.usefixtures("corpus"),
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes as Linux does"),
]

# `seq2seq` with shards of a few rows, and workers for what is to be trained on
COMMAND = """
import seq2seq.prepare
seq2seq.prepare.ROWS = {rows}
seq2seq.prepare.SMALL = 1000

if __name__ == "__main__":
    from seq2seq.cli import main
    main()
"""


def _config(**changes: Any) -> Any:
    """Two corpora whose rules need all that was read, and a tokenizer that needs a sample."""
    train = [pair("train"), pair("more", tag="<x>")]
    rules = [{"rule": "length", "max": 4}, "duplicates"]
    options = {"data__train": train, "data__filters": rules, "tokenizer__training_sentences": 100}
    return toy_config(**{**options, **changes})


@pytest.fixture
def whole(monkeypatch):
    """A larger corpus, its config, and what an undisturbed preparation makes of it."""
    write_text({"train": 90, "more": 60})
    config = _config()
    Path("toy.yaml").write_text(config.model_dump_json())
    Path("command.py").write_text(COMMAND.format(rows=20))
    made = from_scratch(config)
    shutil.rmtree(FOLDER)
    monkeypatch.setattr(preparation, "ROWS", 20)  # so that this process goes on with such shards
    return made


def _start(*arguments: str, **more: Any) -> subprocess.Popen:
    """The command in a process group of its own."""
    words = [sys.executable, "command.py", "prepare", "toy.yaml", *arguments]
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, start_new_session=True, **{**streams, **more})


def _members(group: int) -> list[int]:
    """The processes of a group that run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = entry.read_text().rpartition(") ")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(int(entry.parent.name))
    return found


def _assert_gone(group: int) -> None:
    """Nothing of a group is left after a moment."""
    end = time.monotonic() + 20
    while left := _members(group):
        assert time.monotonic() < end, left
        time.sleep(0.02)


# Broken off


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Makes the n-th moment at which a file or a folder takes its place the last one."""
    moments = count()
    for name in ("replace", "rename"):
        real = getattr(os, name)

        def last(*paths, real=real):
            if next(moments) == call:
                raise KeyboardInterrupt
            return real(*paths)

        monkeypatch.setattr(os, name, last)


def test_a_preparation_that_was_broken_off_anywhere_ends_the_same(whole, monkeypatch):
    monkeypatch.setattr(preparation, "ROWS", 40)
    for call in count():
        shutil.rmtree(FOLDER, ignore_errors=True)
        with monkeypatch.context() as patched:
            _interrupt_at(patched, call)
            try:
                prepare(_config())
                break
            except KeyboardInterrupt:
                pass
        prepare(_config())
        assert content() == whole
    assert call > 25  # 5 + 1 shards twice, plans of them, the tokenizer, two stores, the manifest


def test_a_change_that_was_broken_off_and_undone_leaves_what_was(monkeypatch):
    """Sizes cannot tell here: the changed sets have as many pieces as before."""
    whole = from_scratch(toy_config())
    original = {path: path.read_bytes() for path in Path().glob("*.*")}
    for call in count():
        for path, data in original.items():
            path.write_bytes(b"".join(data.splitlines(keepends=True)[::-1]))
        with monkeypatch.context() as patched:
            _interrupt_at(patched, call)
            try:
                prepare(toy_config())
                break
            except KeyboardInterrupt:
                pass
        for path, data in original.items():
            path.write_bytes(data)
        prepare(toy_config())
        assert content() == whole
    assert call > 7


def _kill_at_moments(moments: int, whole: dict[str, bytes], finish: Any) -> None:
    """Kills a command with two workers at random moments, and lets each be finished."""
    begun = time.monotonic()
    with _start("--workers", "2") as process:
        assert process.wait() == 0, process.stderr.read()
    duration = time.monotonic() - begun
    assert content() == whole
    draw, halfway = random.Random(1), 0
    for moment in range(moments):
        shutil.rmtree(FOLDER)
        with _start("--workers", "2", stderr=subprocess.DEVNULL) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.2, 1) * duration)
            if process.poll() is None:
                (os.kill if moment % 2 else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            _assert_gone(process.pid)
        halfway += (FOLDER / "work").exists()
        finish()
        assert content() == whole
        assert not list(leftovers())
    # Of many, some must have been killed halfway; of a few, a busy machine may leave none.
    assert moments < 10 or halfway > moments // 4


def test_a_preparation_that_is_killed_ends_the_same(whole):
    _kill_at_moments(3, whole, lambda: prepare(_config()))


@pytest.mark.slow
def test_a_preparation_that_is_killed_at_thirty_moments_ends_the_same(whole):
    def finish() -> None:
        with _start("--workers", "2") as process:
            assert process.wait() == 0, process.stderr.read()

    _kill_at_moments(30, whole, finish)


@pytest.mark.parametrize("group", [True, False])
def test_a_signal_stops_all_processes_with_a_word(whole, group):
    with _start("--workers", "2") as process:
        while not list(FOLDER.glob("work/*/*")):
            assert process.poll() is None
            time.sleep(0.01)
        (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 143
        assert process.stderr.read() == "stopped; run the same command again\n"
        _assert_gone(process.pid)
    prepare(_config())
    assert content() == whole


def test_a_signal_stops_the_search_for_pieces_too(whole):
    """SentencePiece heeds no signal; it is not waited for."""
    draw = random.Random(2)
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = [" ".join("".join(draw.choices(letters, k=6)) for _ in range(12)) for _ in range(9000)]
    for end in ("en", "de"):
        write_lines(f"train.{end}", lines)
    config = toy_config(tokenizer__kind="unigram")
    Path("toy.yaml").write_text(config.model_dump_json())
    Path("command.py").write_text(COMMAND.format(rows=5000))
    with _start("--workers", "1") as process:
        assert process.stderr.readline().startswith("finding 45 pieces")
        time.sleep(0.5)
        process.terminate()
        assert process.wait(timeout=60) == 143
        assert process.stderr.read() == "stopped; run the same command again\n"
    assert not (FOLDER / "tokenizer.model").exists()


# A full disk


class _Full(io.FileIO):
    """A file on a disk that has so many bytes left."""

    left = 0

    def write(self, content: Any) -> int:
        room = min(len(content), type(self).left)
        if not room and len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        type(self).left -= room
        return super().write(bytes(content)[:room])


@contextlib.contextmanager
def _room(size: int) -> Iterator[None]:
    """Files that are written have so many bytes together."""
    real = builtins.open

    def limited(path: Any, mode: str = "r", *others: Any, **more: Any) -> Any:
        if mode == "wb" and "prepared" in str(path):
            return io.BufferedWriter(_Full(path, "wb"))
        return real(path, mode, *others, **more)

    _Full.left = size
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(builtins, "open", limited)
        yield


FULL = "No space left on device; free some space and run the same command again; "
FULL += "what was saved is intact\n"


def test_a_full_disk_is_one_message_and_the_same_command_goes_on(whole, command, monkeypatch):
    monkeypatch.setattr(preparation, "ROWS", 40)
    for failures in count():
        with _room(1000 + 5000 * failures):
            result = command("prepare", "toy.yaml", "--workers", "1")
        if result.code == 0:
            break
        assert (result.code, result.out) == (1, b"")
        last = result.err.splitlines(keepends=True)[-1]
        assert last.startswith("error: ")
        assert last.endswith(FULL)
        assert "Traceback" not in result.err
        assert not [path for path in leftovers() if path.name != "work"]
        if failures % 2:  # each goes on with what the last has left, or from the start
            shutil.rmtree(FOLDER)
    assert failures > 3
    assert content() == whole


def test_a_worker_that_cannot_write_is_one_message(whole, command, monkeypatch):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))

    with _start("--workers", "2", preexec_fn=limit) as process:
        assert process.wait(timeout=60) == 1
        (said,) = process.stderr.readlines()
        assert said.startswith("error: File too large")
        _assert_gone(process.pid)
    prepare(_config())
    assert content() == whole


# Several processes


def _together(*arguments: str) -> list[subprocess.CompletedProcess]:
    """The command in two processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    processes = [
        _start(
            *arguments,
            env={**os.environ, **shared, "MASTER_PORT": str(port), "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
            stack.callback(process.kill)
        said = [process.communicate(timeout=120)[1] for process in processes]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, None, err)
        for process, err in zip(processes, said, strict=True)
    ]


def test_two_processes_make_what_one_makes(whole):
    first, second = _together("--workers", "1")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert content() == whole
    assert second.stderr == ""
    parts = json.loads((FOLDER / "manifest.json").read_text())["parts"]
    said = first.stderr.splitlines()
    assert f"train: {parts['train']['pairs']} pairs, " in "\n".join(said)
    assert not list(leftovers())


@pytest.mark.slow  # as test_distributed has the law alone
@pytest.mark.parametrize("fault", ["misaligned", "missing"])
def test_bad_input_ends_all_processes(whole, fault):
    if fault == "misaligned":
        write_lines("more.en", ["a"] * 61)
    else:
        Path("valid.de").unlink()
    first, second = _together("--workers", "1")
    assert (first.returncode, second.returncode) == (1, 1)
    expected = {
        "misaligned": "error: more.en has 61 lines but more.de 60;",
        "missing": "error: valid.de is missing;",
    }
    assert first.stderr.startswith(expected[fault])
    assert second.stderr.startswith("error: ")
    assert "Traceback" not in first.stderr + second.stderr


@pytest.mark.slow
def test_torchrun_makes_what_one_process_makes(whole):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [sys.executable, *torchrun, "command.py", "prepare", "toy.yaml", "--workers", "2"]
    subprocess.run(words, check=True, timeout=300)
    assert content() == whole
    shutil.rmtree(FOLDER)
    write_lines("more.en", ["a"] * 61)
    ended = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert "error: more.en has 61 lines but more.de 60;" in ended.stderr
