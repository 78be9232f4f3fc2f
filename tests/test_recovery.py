"""Laws of what is broken off: nothing half-written counts, nothing done is lost.

Killed, stopped, out of space or begun on several machines, preparations and trainings end in what
they would have been.
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
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from together import Ended, processes
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
from seq2seq.files import check_manifest
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
    assert not (FOLDER / "tokenizer.source.model").exists()


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
        if mode in ("wb", "xb") and "prepared" in str(path):
            return io.BufferedWriter(_Full(path, mode))
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


def _together(*arguments: str) -> list[Ended]:
    """The command in two processes, as torchrun starts them."""
    return processes("command.py", "prepare", "toy.yaml", *arguments)


def test_two_processes_make_what_one_makes(whole):
    first, second = _together("--workers", "1")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert content() == whole
    assert second.err == ""
    parts = json.loads((FOLDER / "manifest.json").read_text())["parts"]
    said = first.err.splitlines()
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
    assert (first.code, second.code) == (1, 1)
    expected = {
        "misaligned": "error: more.en has 61 lines but more.de 60;",
        "missing": "error: valid.de is missing;",
    }
    assert first.err.startswith(expected[fault])
    assert second.err == ""  # what all find is said once
    assert "Traceback" not in first.err + second.err


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


# Training

RUN = Path("runs", "toy")

# Whoever is killed has just been forked, so that nobody waits for torch to be loaded. A training is
# killed at random moments until it ends; then, unless there were enough kills, the next one begins.
CAMPAIGN = """
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from seq2seq.config import load
from seq2seq.train import train

KILLS, LONGEST = int(sys.argv[1]), float(sys.argv[2])  # life, as a share of the undisturbed one
draw = random.Random(1)


def begin():
    child = os.fork()
    if not child:
        sys.stderr = open("said", "a")
        try:
            train(load(Path("toy.yaml"), [f"name={name}"]), workers=1)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return child


name, begun = "undisturbed", time.monotonic()
assert os.waitpid(begin(), 0)[1] == 0, Path("said").read_text()
duration = time.monotonic() - begun

kills = saving = rounds = 0
while kills < KILLS:
    rounds += 1
    name, ended, made, stretch = f"killed-{rounds}", False, [], 1.0
    while not ended:
        child = begin()
        end = time.monotonic() + draw.uniform(0, stretch * LONGEST * duration)
        while not ended and time.monotonic() < end:
            number, status = os.waitpid(child, os.WNOHANG)
            ended = number == child
            time.sleep(0.0005)
        if ended:
            assert status == 0, Path("said").read_text()
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            saving += any(Path("runs", name).rglob("*.partial"))
            # who dies before anything was saved, time and again, must be allowed to live longer
            before, made = made, sorted(Path("runs", name, "checkpoints").glob("step-*"))
            stretch = 1.0 if made != before else 1.5 * stretch
print(json.dumps({"kills": kills, "saving": saving, "rounds": rounds}))
"""


def _training(updates: int) -> None:
    """Writes the config of a training with all that a checkpoint holds, saved every few updates."""
    model = {"dim": 16, "ffn_dim": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    training = {
        "batch_tokens": 40,
        "precision": "fp32",
        "warmup": 10,
        "ema": 0.9,
        "metrics": ["ppl"],
        "patience": None,
        "validate_every": 3,
        "log_every": 2,
        "keep_best": 3,
        "average": 3,
        "subword_sampling": "both",
    }
    kind = {"kind": "transformer", "share_embeddings": "none"}
    config = toy_config(
        model={**kind, **model},
        training={**training, "max_updates": updates},
        data__prepared="prepared",
    )
    Path("toy.yaml").write_text(config.model_dump_json())


def _made(run: Path) -> dict[str, Any]:
    """All that a training has made, without its name, its times and what is measured."""
    found = {
        str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.safetensors"))
    }
    assert found
    for path in sorted(run.glob("checkpoints/*/state.json")):
        progress = json.loads(path.read_text())["progress"]
        found[str(path.relative_to(run))] = {**progress, "seconds": None}
    measured = {"seconds", "tokens_per_second", "memory_mb"}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        name = f"{record['update']} {'valid' in record}"
        assert name not in found  # nothing is logged twice
        found[name] = {k: v for k, v in record.items() if k not in measured}
    found["finished.json"] = (run / "finished.json").read_bytes()
    return found


def _campaign(kills: int, updates: int, longest: float) -> dict[str, int]:
    """Kills trainings so often, and asserts that each ends as if it had not been killed."""
    _training(updates)
    command = [sys.executable, "-c", CAMPAIGN, str(kills), str(longest)]
    counts = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    expected = _made(Path("runs", "undisturbed"))
    for number in range(1, counts["rounds"] + 1):
        assert _made(Path("runs", f"killed-{number}")) == expected
        assert not [*Path("runs", f"killed-{number}").rglob("*.partial")]
    return counts


def test_a_training_that_is_killed_ends_in_the_same_bits():
    assert _campaign(3, 45, 0.6)["kills"] >= 3


@pytest.mark.slow
def test_trainings_that_are_killed_a_hundred_times_end_in_the_same_bits():
    counts = _campaign(100, 200, 0.2)
    print(counts)
    assert counts["kills"] >= 100
    assert counts["saving"] >= 10  # of the kills came during a save


def test_a_full_disk_during_a_save_leaves_the_checkpoint_before_it(command, monkeypatch):
    _training(12)
    assert command("train", "toy.yaml", "--set", "name=whole").code == 0
    calls = count()

    def full(descriptor: int) -> None:
        if next(calls) == room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for failures in count():
        room, calls = 7 + 5 * failures, count()
        result = command("train", "toy.yaml")
        if result.code == 0:
            break
        assert (result.code, result.out) == (1, b"")
        assert result.err.endswith(FULL)
        assert "Traceback" not in result.err
        assert not list(RUN.rglob("*.partial"))
        for checkpoint in RUN.glob("checkpoints/*"):
            check_manifest(checkpoint, "")
    assert failures > 3
    assert _made(RUN) == _made(Path("runs", "whole"))
