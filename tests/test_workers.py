"""Laws of work that is spread over processes: in order, heard when it fails, never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from seq2seq.data.workers import Done, default_workers, spread
from seq2seq.errors import ConfigError, UserError

TESTS = Path(__file__).parent
PATIENCE = 20  # seconds; machines are busy


class Squares(NamedTuple):
    """The squares of the numbers of a share."""

    numbers: list[int]

    def __call__(self, share: int, shares: int, done: Done) -> list[int]:
        found = []
        for number in self.numbers[share::shares]:
            found.append(number**2)
            done(1)
        return found


class Failing(NamedTuple):
    """Raises in one share, waits in the others."""

    error: Exception
    failing: int

    def __call__(self, share: int, shares: int, done: Done) -> None:
        if share == self.failing:
            raise self.error
        time.sleep(PATIENCE * 3)


class Deadly(NamedTuple):
    """Is killed in one share, waits in the others; in the middle of telling what is done."""

    dying: int
    telling: bool = False

    def __call__(self, share: int, shares: int, done: Done) -> None:
        if share == self.dying:
            if self.telling:
                done.__closure__[0].cell_contents.get_lock().acquire()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PATIENCE * 3)


class Unhurried(NamedTuple):
    """Writes down which process it is in, then waits."""

    folder: Path

    def __call__(self, share: int, shares: int, done: Done) -> None:
        (self.folder / f"{share}.partial").write_text(str(os.getpid()))
        os.rename(self.folder / f"{share}.partial", self.folder / f"{share}.pid")
        time.sleep(PATIENCE * 3)


def untold(count: int) -> None:
    """Nobody listens."""


def whoever(share: int, shares: int, done: Done) -> tuple[int, int, int]:
    """Who does which share."""
    return share, shares, os.getpid()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_all_that_is_done_is_told(workers):
    told: list[int] = []
    numbers = list(range(20))
    found = spread(Squares(numbers), workers, told.append)
    assert found == [[number**2 for number in numbers[share::workers]] for share in range(workers)]
    assert sum(told) == len(numbers)
    assert min(told) >= 0


def test_one_worker_is_this_process_and_several_are_others():
    assert spread(whoever, 1, untold) == [(0, 1, os.getpid())]
    (one, other) = spread(whoever, 2, untold)
    assert (one[:2], other[:2]) == ((0, 2), (1, 2))
    assert len({one[2], other[2], os.getpid()}) == 3


@pytest.mark.parametrize(("rank", "shares"), [("0", [0, 1]), ("2", [4, 5])])
def test_each_process_of_torchrun_has_shares_of_its_own(monkeypatch, rank, shares):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", rank)
    assert [found[:2] for found in spread(whoever, 2, untold)] == [(share, 6) for share in shares]
    assert spread(whoever, 1, untold)[0][:2] == (int(rank), 3)


@pytest.mark.parametrize(
    "error",
    [
        UserError("train.de:7 is not UTF-8"),
        ConfigError("a line"),
        OSError(28, "No space left on device", "shard"),
    ],
)
@pytest.mark.parametrize("failing", [0, 1])
def test_what_a_worker_raises_comes_through_at_once(error, failing):
    start = time.monotonic()
    with pytest.raises(type(error)) as raised:
        spread(Failing(error, failing), 2, untold)
    assert str(raised.value) == str(error)
    assert time.monotonic() - start < PATIENCE


def test_a_defect_is_shown_where_it_is(capfd):
    with pytest.raises(RuntimeError, match="a worker process failed, as it says above"):
        spread(Failing(ZeroDivisionError("defect"), 1), 2, untold)
    assert "ZeroDivisionError: defect" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="kills with a POSIX signal")
@pytest.mark.parametrize("telling", [False, True])
def test_a_worker_that_was_killed_is_missed(telling):
    start = time.monotonic()
    with pytest.raises(UserError) as raised:
        spread(Deadly(1, telling), 2, untold)
    assert str(raised.value) == (
        "a worker process was killed, perhaps for want of memory; what was done is kept: "
        "run the same command again, with fewer --workers"
    )
    assert time.monotonic() - start < PATIENCE


PARENT = """
import sys
from pathlib import Path
from test_workers import Unhurried, untold
from seq2seq.data.workers import spread

if __name__ == "__main__":
    spread(Unhurried(Path(sys.argv[1])), 2, untold)
"""


def _await(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.skipif(os.name != "posix", reason="kills with POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent_however_that_ends(tmp_path, how):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, "parent.py", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    workers: list[int] = []
    try:
        assert _await(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        workers = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
        assert all(map(_lives, workers))
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)  # a terminal sends it to all
        else:
            parent.send_signal(how)
        assert parent.wait(PATIENCE) in (-how, 1, 130)
        assert _await(lambda: not any(map(_lives, workers)))
    finally:
        for process in (parent.pid, *workers):
            if _lives(process):
                os.kill(process, signal.SIGKILL)
        parent.wait()


def test_there_are_as_many_workers_as_processors_for_each_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5, 9}, raising=False)
    for neighbours, workers in {"1": 4, "2": 2, "3": 1, "16": 1}.items():
        monkeypatch.setenv("LOCAL_WORLD_SIZE", neighbours)
        assert default_workers() == workers
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 1
