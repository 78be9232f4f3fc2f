"""Tasks done side by side, by threads that have a processor each.

One search with two processors shares out its products, but much lies between these: what is small,
what moves memory, and what Python does. Two searches side by side keep both busy
(benchmarks/README.md).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


class Abandoned(Exception):  # noqa: N818 (nothing is wrong)
    """Nobody waits for what a thread computes any more."""


class Stop:
    """Tells threads to abandon their tasks."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """From now on `check` raises."""
        self._asked.set()

    def check(self) -> None:
        """Raises Abandoned if it was asked for."""
        if self._asked.is_set():
            raise Abandoned


def side_by_side(
    work: Callable[[Task, Stop], Result], tasks: Sequence[Task], threads: int
) -> Iterator[Result]:
    """What becomes of each task, as soon as it is done; the first tasks are begun first.

    With one thread, the caller's does it all, with all processors that PyTorch may use. `work` must
    check its stop now and then: it is asked for when the caller is interrupted, or a task fails.
    """
    stop = Stop()
    if threads == 1:
        for task in tasks:
            yield work(task, stop)
        return
    processors = torch.get_num_threads()
    torch.set_num_threads(1)  # of each thread that begins to compute from now on
    pool = ThreadPoolExecutor(threads)
    try:
        for done in as_completed([pool.submit(work, task, stop) for task in tasks]):
            yield done.result()
    finally:
        stop.ask()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(processors)
