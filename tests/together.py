"""Several processes that know of each other, as `torchrun` starts them, for tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PATIENCE = 120  # seconds until processes that wait for each other are ended

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def processes(*words: str | Path, count: int = 2) -> list[Ended]:
    """What `python WORDS` does in so many processes, without an agent; none hangs for ever."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)},
            stdin=subprocess.DEVNULL,
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


class Job:
    """A running `torchrun`, what it says going to a file."""

    def __init__(self, agent: subprocess.Popen[bytes], said: Path) -> None:
        self.agent = agent
        self._said = said

    @property
    def said(self) -> str:
        """All that it and its workers have said."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[int]:
        """The workers, the first of the processes first."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent = entry.read_text().rpartition(") ")[2].split()[:2]
                if int(parent) == self.agent.pid and state not in "ZX":
                    entries = (entry.parent / "environ").read_bytes().split(b"\0")
                    ranks = [one for one in entries if one.startswith(b"RANK=")]
                    if ranks:
                        found[int(ranks[0][5:])] = int(entry.parent.name)
        return [found[number] for number in sorted(found)]

    def wait_for(self, sign: Callable[[], bool]) -> None:
        """Waits until there is a sign, while the job runs."""
        end = time.monotonic() + PATIENCE
        while not sign():
            assert self.agent.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.02)

    def end(self, patience: float = PATIENCE) -> int:
        """The exit code, in bounded time."""
        try:
            return self.agent.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {patience} seconds:\n{self.said}") from None


@contextlib.contextmanager
def torchrun(
    words: Sequence[str], said: Path, *, count: int = 2, options: Sequence[str] = (), **more: str
) -> Iterator[Job]:
    """`torchrun WORDS` with so many workers, in a session of its own; `more` is environment."""
    command = [*TORCHRUN, str(count), *options, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    with open(said, "wb") as file:
        agent = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    job = Job(agent, said)
    try:
        yield job
    finally:
        for process in [*job.workers(), agent.pid]:  # each worker is in a session of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        agent.wait()
