"""What is begun before what was begun earlier has been waited for. No torch in here."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

PAUSE = 0.002  # seconds between looks at whether something is done


def ahead(
    begun: Iterable[tuple[Task, Callable[[], Result]]], workers: int
) -> Iterator[tuple[Task, Result]]:
    """Tasks and what comes of them, in order; one more is begun than there are workers.

    No more, because a worker that is to end does all that it was given first.
    """
    waiting: deque[tuple[Task, Callable[[], Result]]] = deque()
    for task, result in begun:
        waiting.append((task, result))
        if len(waiting) > workers:
            first, result = waiting.popleft()
            yield first, result()
    for task, result in waiting:
        yield task, result()


def result_of(future: Any) -> Any:
    """What a future of CTranslate2 gives; while it is waited for, signals are heeded."""
    while not future.done():
        time.sleep(PAUSE)
    return future.result()
