"""Laws of several processes as one: they decide alike, fail together, and alone nobody waits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from together import PATIENCE, processes

from seq2seq import distributed
from seq2seq.distributed import leads, neighbours, orphaned, rank, size, together, waiting
from seq2seq.errors import UserError

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
    ended = processes("-c", FAILING.replace("{failing}", str(failing)))
    assert [one.code for one in ended] == [0, 0], ended
    for number, one in enumerate(ended):
        said = (
            "the disk is full"
            if number == failing
            else ("another of the processes failed; its message says why")
        )
        assert one.out == f"first {number}\n{said}\nstill together\n"


ALIKE = """
from seq2seq.distributed import rank, together
from seq2seq.errors import UserError

for _ in range(2):
    try:
        with together():
            raise UserError(f"found by {rank()}")
    except UserError as error:
        print(type(error).__name__, error)
"""


def test_what_all_find_is_raised_in_the_first_alone():
    first, second = processes("-c", ALIKE)
    assert first.out == 2 * "UserError found by 0\n"
    assert second.out == 2 * "SharedError another of the processes failed; its message says why\n"


SPEAKING = """
from seq2seq.console import bar, say
from seq2seq.distributed import rank

say(f"said by {rank()}")
with bar("counting", 3, "pairs") as shown:
    shown.update(3)
"""


def test_the_first_speaks_for_all(monkeypatch):
    first, second = processes("-c", SPEAKING)
    assert "said by 0" in first.err
    assert second.err == ""
    assert first.out == second.out == ""


def test_only_tensors_go_between_processes():
    """The collectives for objects unpickle what comes."""
    source = Path(distributed.__file__).read_text(encoding="utf-8")
    assert "_object" not in source
    assert "pickle" not in source


def test_a_lost_connection_is_a_message_and_a_defect_stays_one():
    gloo = RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection reset by peer\nand more")
    with pytest.raises(UserError, match=r"is gone.*by peer$"), waiting():
        raise gloo
    defect = RuntimeError("shapes cannot be multiplied")
    with pytest.raises(RuntimeError) as raised, waiting():
        raise defect
    assert raised.value is defect


def test_only_who_was_started_by_torchrun_is_an_orphan_without_its_parent(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not orphaned()
    parent = os.getppid()
    monkeypatch.setattr(os, "getppid", lambda: parent + 1)
    assert not orphaned()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    assert orphaned()
    monkeypatch.setattr(os, "getppid", lambda: parent)
    assert not orphaned()


def test_a_restart_over_machines_that_would_find_old_addresses_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    for restarts in ("0", "1"):  # each restart on one machine has addresses of its own
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
        assert distributed._attempt() == restarts
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE"):
        distributed._attempt()
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "False")  # a new store each time
    assert distributed._attempt() == "0"
