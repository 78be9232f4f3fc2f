"""Several processes as one, started by `torchrun`; right when alone, where nobody waits.

torch is loaded only where there are several. Between processes go tensors and nothing else.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from seq2seq.errors import UserError


def rank() -> int:
    """The number of this process; the first is 0."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def neighbours() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process does what only one must do, and speaks for all."""
    return rank() == 0


@contextmanager
def together() -> Iterator[None]:
    """What all processes do before any of them goes on; if one of them could not, none does.

    Raises a UserError in the others, so that each ends instead of waiting for ever.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        if not everywhere(not failed) and not failed:
            raise UserError("another of the processes failed; its message says why")


def everywhere(value: bool) -> bool:
    """Whether it is true in all processes, so that they decide alike."""
    return bool(least(int(value)))


def least(value: int) -> int:
    """The least of what the processes have."""
    if size() == 1:
        return value
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        # One may fetch or train a tokenizer for hours; if it dies, torchrun ends those that wait.
        distributed.init_process_group("gloo", timeout=timedelta(days=2))
        atexit.register(distributed.destroy_process_group)  # else its threads abort the process
    found = torch.tensor([value])
    distributed.all_reduce(found, distributed.ReduceOp.MIN)
    return int(found.item())
