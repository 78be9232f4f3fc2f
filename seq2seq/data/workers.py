"""A task spread over processes, each of which takes its share.

A task is called as task(share, shares, done): of its parts it does those whose numbers, divided by
`shares`, leave the rest `share`, and tells `done` how many more rows are done.
"""

import gc
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar, cast

from seq2seq import distributed
from seq2seq.errors import UserError, is_out_of_memory

Result = TypeVar("Result", covariant=True)
Done = Callable[[int], object]
KILLED = (
    "a worker process was killed, perhaps for want of memory; what was done is kept: run the same "
    "command again, with fewer --workers"
)
EVERY = 0.2  # seconds between looks at how far the workers are


class Task(Protocol, Generic[Result]):
    """Something that can be sent to another process and done there in part."""

    def __call__(self, share: int, shares: int, done: Done) -> Result:
        """Does one share of the parts."""
        ...


def default_workers() -> int:
    """The processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, processors // distributed.neighbours())


def spread(task: Task[Result], workers: int, done: Done) -> list[Result]:
    """What each local share comes to; all processes of `torchrun` take part.

    With one worker it is done here. Raises what a worker raised, or a UserError if one was killed.
    """
    shares, first = workers * distributed.size(), workers * distributed.rank()
    if workers == 1:
        with without_collector():
            return [task(first, shares, done)]
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
    counter = context.Value("q", 0)
    pipes, processes = {}, []
    try:
        for share in range(first, first + workers):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(task, share, shares, counter, sender))
            try:
                process.start()
            except BrokenPipeError:  # it was killed before it had been told its task
                raise UserError(KILLED) from None
            sender.close()
            processes.append(process)
            pipes[receiver] = share
        return _collected(pipes, counter, done)
    finally:
        for process in processes:
            process.kill()  # if all is well it is over
        for process in processes:
            process.join()


def _collected(pipes: dict[Connection, int], counter: Any, done: Done) -> list[Any]:
    results: dict[int, Any] = {}
    seen = 0
    while len(results) < len(pipes):
        waiting = [pipe for pipe, share in pipes.items() if share not in results]
        for pipe in cast(list[Connection], wait(waiting, timeout=EVERY)):
            try:
                outcome = pipe.recv()
            except (EOFError, OSError):
                raise UserError(KILLED) from None
            if isinstance(outcome, BaseException):
                raise outcome
            results[pipes[pipe]] = outcome
        now = counter.get_obj().value  # without its lock, which one that was killed may still hold
        done(now - seen)
        seen = now
    return [results[share] for share in pipes.values()]


def _work(task: Task[Any], share: int, shares: int, counter: Any, sender: Connection) -> None:
    """What a worker process does: its share, and the result or what went wrong into the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends us
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def done(count: int) -> None:
        with counter.get_lock():
            counter.value += count

    try:
        with without_collector():
            sender.send(task(share, shares, done))
    except UserError as error:
        sender.send(error)
    except Exception as error:
        if is_out_of_memory(error):
            sender.send(UserError(KILLED))
        elif isinstance(error, OSError):
            sender.send(error)
        else:
            traceback.print_exc()
            sender.send(RuntimeError("a worker process failed, as it says above"))


@contextmanager
def without_collector() -> Iterator[None]:
    """Keeps Python's garbage collector away from millions of lists that have no cycles.

    It would go through them again and again, which takes a third of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
