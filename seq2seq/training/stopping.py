"""Signals that ask a training to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from seq2seq.distributed import orphaned
from seq2seq.training.progress import Log


class StopSignal:
    """Which signal asked to stop, if one did; an orphan of `torchrun` is to stop, too."""

    number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None or orphaned()


@contextmanager
def stop_signals(log: Log) -> Iterator[StopSignal]:
    """SIGINT and SIGTERM ask for a stop after the running step; a second SIGINT stops at once.

    Those that are ignored, as in the background of a script, stay so.
    """
    stop = StopSignal()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.number = number
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        with suppress(RuntimeError):  # raised if the signal came while a line was being written
            log.say("stopping after this step; press Ctrl-C again to stop at once")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # which whoever started us wants
            signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
