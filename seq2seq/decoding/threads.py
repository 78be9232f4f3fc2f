"""Tasks done side by side, by threads that have processors of their own.

One search with two processors shares out its products, but much lies between these: what is small,
what moves memory, and what Python does. Two searches side by side keep both busy
(benchmarks/README.md).
"""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


class Halted(Exception):  # noqa: N818 (nothing is wrong)
    """Nobody waits for what a thread computes any more."""


class Halt:
    """Tells threads to leave their tasks."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """From now on `check` raises."""
        self._asked.set()

    def check(self) -> None:
        """Raises Halted if it was asked for."""
        if self._asked.is_set():
            raise Halted


def side_by_side(
    work: Callable[[Task, Halt], Result], tasks: Sequence[Task], threads: int
) -> Generator[Result, None, None]:
    """What becomes of each task, as soon as it is done; the first tasks are begun first.

    The threads share the processors that PyTorch may use; if it is one thread, that is the
    caller's. `work` must check its halt now and then: it is asked for when a task fails, or when
    this is closed.

    How many processors PyTorch uses is a matter of the whole process (of its product library, at
    least), so that nothing else should compute meanwhile.
    """
    halt = Halt()
    if threads == 1:
        for task in tasks:
            yield work(task, halt)
        return
    processors = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        threads, initializer=torch.set_num_threads, initargs=(max(1, processors // threads),)
    )
    try:
        for done in as_completed([pool.submit(work, task, halt) for task in tasks]):
            yield done.result()
    finally:
        halt.ask()
        try:
            pool.shutdown(cancel_futures=True)
        finally:
            torch.set_num_threads(processors)
