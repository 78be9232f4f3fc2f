"""Lines to lines with one model: in this process, in several, or in those of `torchrun`.

Who translates a line changes nothing but the time: what comes back is in order.
"""

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from seq2seq import distributed
from seq2seq.data.workers import default_workers
from seq2seq.decoding.attending import Attention, Wishes
from seq2seq.decoding.choice import attend_with, open_engine
from seq2seq.decoding.forms import Form
from seq2seq.decoding.members import load_together
from seq2seq.decoding.trace import Recorder
from seq2seq.decoding.translator import Translator
from seq2seq.errors import UserError, is_out_of_memory
from seq2seq.runs import Opened

AHEAD = 2  # buffers that a worker process has, so that it never waits
KILLED = (
    "a worker process was killed, perhaps for want of memory; run the same command again, with "
    "fewer --processes or a smaller --buffer"
)


class Job(NamedTuple):
    """What is to be done with lines, as each process is told it."""

    opened: Opened  # the model, or the first of several; its config holds for all
    form: Form
    splitting: bool = False  # whether long lines are translated in parts
    others: tuple[Opened, ...] = ()  # models that translate together with the first
    wishes: Wishes = Wishes()
    recorder: Recorder | None = None  # who watches; only in one process, and our own search


class Answer(NamedTuple):
    """What becomes of some lines."""

    content: bytes
    lines: int  # of input
    warnings: list[str]


NOTHING = Answer(b"", 0, [])

# of buffers, the number of their first line, and what is told how many lines are done
Answers = Callable[[Iterable[list[bytes]], int, Callable[[int], object]], Iterator[Answer]]


class Filter:
    """Takes lines of a form and gives lines of that form."""

    def __init__(self, job: Job) -> None:
        """Loads the model or the models."""
        folder, config, tokenizers = job.opened.folder, job.opened.config, job.opened.tokenizers
        load = partial(load_together, [job.opened, *job.others]) if job.others else None
        engine = open_engine(folder, config, tokenizers, load)
        attention = None
        if any(job.wishes):
            attend = attend_with(engine, config.decoding.batch_tokens)
            attention = Attention(attend, tokenizers, job.wishes)
        if job.recorder:
            job.recorder.watch(engine, config.decoding.batch_tokens)
        self.form = job.form
        self.warnings: list[str] = []
        self.translator = Translator(
            engine,
            tokenizers,
            config.decoding,
            config.data,
            attention=attention,
            splitting=job.splitting,
            recorder=job.recorder,
            warn=self.warnings.append,
        )

    def answer(
        self,
        lines: Sequence[bytes],
        first: int,
        done: Callable[[int], object] = lambda count: None,
    ) -> Answer:
        """What becomes of some lines, of which `first` is the number of the first, from 1."""
        self.warnings.clear()
        asked = [self.form.read(line) for line in lines]
        for number, one in enumerate(asked, first):
            if one.problem:
                self.warnings.append(f"line {number:,} {one.problem}")
        outputs = self.translator.outputs([one.line for one in asked], first, done)
        content = b"".join(
            self.form.write(number, one, some)
            for number, (one, some) in enumerate(zip(asked, outputs, strict=True), first)
        )
        return Answer(content, len(lines), list(self.warnings))


def alone(
    one: Filter, some: Iterable[list[bytes]], first: int, done: Callable[[int], object]
) -> Iterator[Answer]:
    """What becomes of each buffer; of several processes of `torchrun`, each does its share."""
    rank, size = distributed.rank(), distributed.size()
    for buffer in some:
        start, end = (len(buffer) * place // size for place in (rank, rank + 1))
        with distributed.together():
            answer = one.answer(buffer[start:end], first + start, done)
        if size == 1:
            yield answer
        else:
            done(len(buffer) - (end - start))
            yield _gathered(answer)
        first += len(buffer)


def _gathered(answer: Answer) -> Answer:
    """What all processes have, in order; lines are bytes, and may be no text."""
    mine = [answer.content.decode(errors="surrogateescape"), str(answer.lines), *answer.warnings]
    every = distributed.gathered(mine)
    return Answer(
        b"".join(content.encode(errors="surrogateescape") for content, *_ in every),
        sum(int(count) for _, count, *_ in every),
        [warning for _, _, *warnings in every for warning in warnings],
    )


@contextmanager
def ready(job: Job, processes: int = 1) -> Iterator[Answers]:
    """What answers buffers, once all its models are loaded; in so many worker processes if several.

    It takes buffers, the number of their first line, and what is told how many lines are done. The
    workers end when this does. Raises what a worker raised, or a UserError if one was killed.
    """
    if processes == 1:
        yield partial(alone, Filter(job))
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
    threads = max(1, default_workers() // processes)
    workers: list[tuple[Any, Connection]] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, job, threads), daemon=True)
            try:
                process.start()
            except BrokenPipeError:  # it was killed before it had been told its task
                raise UserError(KILLED) from None
            theirs.close()
            workers.append((process, ours))
        pipes = [pipe for _, pipe in workers]
        for pipe in pipes:
            _received(pipe)
        yield partial(_shared_out, pipes)
    finally:
        for process, _ in workers:
            process.kill()
        for process, _ in workers:
            process.join()


def _shared_out(
    pipes: Sequence[Connection],
    some: Iterable[list[bytes]],
    first: int,
    done: Callable[[int], object],
) -> Iterator[Answer]:
    for answer in _in_turn(pipes, some, first):
        done(answer.lines)
        yield answer


def _in_turn(
    pipes: Sequence[Connection], some: Iterable[list[bytes]], first: int
) -> Iterator[Answer]:
    waiting: deque[Connection] = deque()  # who owes an answer, the first first
    for turn, buffer in enumerate(some):
        if len(waiting) == AHEAD * len(pipes):
            yield _received(waiting.popleft())
        pipe = pipes[turn % len(pipes)]
        _send(pipe, (buffer, first))
        waiting.append(pipe)
        first += len(buffer)
    while waiting:
        yield _received(waiting.popleft())


def _send(pipe: Connection, task: tuple[list[bytes], int]) -> None:
    """Gives a worker a task; if it is gone, why shows when it owes an answer."""
    with _surviving(), suppress(OSError):
        pipe.send(task)


@contextmanager
def _surviving() -> Iterator[None]:
    """A reader that went away is an error to whoever writes, even if `| head` ends us quietly."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


def _received(pipe: Connection) -> Answer:
    try:
        answer = pipe.recv()
    except (EOFError, OSError):
        raise UserError(KILLED) from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _work(pipe: Connection, job: Job, threads: int) -> None:
    """What a worker process does until its parent ends it, or is gone.

    Its first answer, to nothing, says that its models are loaded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends us
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is loaded
    tasks: queue.SimpleQueue[tuple[list[bytes], int]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks), daemon=True).start()
    try:
        one = Filter(job)
        pipe.send(NOTHING)
        while True:
            pipe.send(one.answer(*tasks.get()))
    except UserError as error:
        pipe.send(error)
    except Exception as error:
        if is_out_of_memory(error):
            pipe.send(UserError(KILLED))
        elif isinstance(error, OSError):
            pipe.send(error)
        else:
            traceback.print_exc()
            pipe.send(RuntimeError("a worker process failed, as it says above"))


def _receive(pipe: Connection, tasks: "queue.SimpleQueue[tuple[list[bytes], int]]") -> None:
    """Takes what comes even while the worker is busy, so that the parent never waits to send."""
    try:
        while True:
            tasks.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(1)  # the parent is gone
