"""Locks: files that one process at a time holds."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from seq2seq.errors import UserError
from seq2seq.regular import check_own, status_of

PATIENCE = 30.0  # seconds of waiting before it is said who may be waited for


@contextmanager
def lock(
    path: Path,
    busy: str = "",
    *,
    wait: Callable[[], object] | None = None,
    tell: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """Holds a lock file for this process alone.

    If another process has it, calls `wait` and waits; without one, raises UserError(busy). After a
    while, `tell` is told who may have it.

    The file may be opened by whoever may write to its folder, else any user could hold it for ever.
    Raises a UserError if it is a link or no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_own(path, status_of(path))
    shared = os.name == "posix" and path.parent.stat().st_mode & stat.S_IWGRP
    file_lock = FileLock(path, mode=0o660 if shared else 0o600)
    try:
        file_lock.acquire(blocking=False)
    except Timeout:
        if wait is None:
            raise UserError(busy) from None
        wait()
        try:
            file_lock.acquire(timeout=PATIENCE)
        except Timeout:
            if tell is not None:
                tell(f"still waiting: {path} may be held by {holder(path)}")
            file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()


def holder(path: Path) -> str:
    """Who may hold a lock file, in words."""
    with suppress(OSError):  # as Linux tells it; see proc_locks(5)
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        inode = f":{path.stat().st_ino}"
        held = [entry[4] for entry in locks if entry[1] == "FLOCK" and entry[5].endswith(inode)]
        if held:
            return f"process {held[0]}"
    with suppress(OSError, KeyError, RuntimeError):  # the last: a system without owners
        return f"a process of {path.owner()}, or of who may write there"
    return "another process"
