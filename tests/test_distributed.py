"""Laws of several processes as one: they decide alike, fail together, and alone nobody waits."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from seq2seq import distributed
from seq2seq.distributed import leads, neighbours, rank, size, together
from seq2seq.errors import UserError

PATIENCE = 60  # seconds until processes that wait for each other are ended

ALONE = """
import sys
from seq2seq.distributed import everywhere, least, leads, together

with together():
    pass
assert leads() and least(7) == 7 and everywhere(True) and not everywhere(False)
sys.exit("torch" in sys.modules)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_alone_nobody_waits_and_torch_is_not_loaded():
    assert (rank(), size(), neighbours()) == (0, 1, 1)
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    command = [sys.executable, "-c", ALONE]
    assert subprocess.run(command, env=environment, timeout=PATIENCE).returncode == 0


@pytest.mark.parametrize("error", [UserError("mine"), KeyError("defect"), KeyboardInterrupt()])
def test_alone_an_error_comes_through_unchanged(error):
    with pytest.raises(type(error)) as raised, together():
        raise error
    assert raised.value is error


def test_the_first_of_several_leads(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        assert (rank(), size(), leads()) == (number, 3, number == 0)


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def _processes(code: str, count: int = 2) -> list[Ended]:
    """What so many processes, which know of each other, do; none can hang for ever."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared, "RANK": str(number), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=PATIENCE) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [Ended(one.returncode, *out) for one, out in zip(running, outputs, strict=True)]


FAILING = """
import sys
from seq2seq.distributed import everywhere, least, rank, together
from seq2seq.errors import UserError

with together():
    print("first", rank(), flush=True)
assert least(5 + rank()) == 5 and least(-rank()) == -1
assert everywhere(True) and not everywhere(rank() == 0) and not everywhere(rank() == 1)
try:
    with together():
        if rank() == {failing}:
            raise UserError("the disk is full")
    print("went on")
except UserError as error:
    print(error)
with together():
    print("still together")
"""


@pytest.mark.parametrize("failing", [0, 1])
def test_if_one_fails_the_others_fail_too_and_say_so(failing):
    ended = _processes(FAILING.replace("{failing}", str(failing)))
    assert [one.code for one in ended] == [0, 0], ended
    for number, one in enumerate(ended):
        said = (
            "the disk is full"
            if number == failing
            else ("another of the processes failed; its message says why")
        )
        assert one.out == f"first {number}\n{said}\nstill together\n"


SPEAKING = """
from seq2seq.console import bar, say
from seq2seq.distributed import rank

say(f"said by {rank()}")
with bar("counting", 3, "pairs") as shown:
    shown.update(3)
"""


def test_the_first_speaks_for_all(monkeypatch):
    first, second = _processes(SPEAKING)
    assert "said by 0" in first.err
    assert second.err == ""
    assert first.out == second.out == ""


def test_only_tensors_go_between_processes():
    """The collectives for objects unpickle what comes."""
    source = Path(distributed.__file__).read_text(encoding="utf-8")
    assert "_object" not in source
    assert "pickle" not in source
