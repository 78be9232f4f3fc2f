"""Several processes as one, started by `torchrun`; right when alone, where nobody waits.

torch is loaded only where there are several. Between processes go tensors and nothing else.
"""

import atexit
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from seq2seq.errors import SharedError, UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import Store

# While data is prepared one may fetch or train a tokenizer for hours; torchrun ends those that wait
# for a process that died. While training, nobody has a reason to be silent for long.
PATIENCE = timedelta(days=2)
TIMEOUT = "SEQ2SEQ_TIMEOUT"  # seconds
PARTING = 5.0  # seconds
PARENT = os.getppid()


def rank() -> int:
    """The number of this process; the first is 0."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def neighbours() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def place() -> int:
    """The number of this process on this machine; the first is 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def leads() -> bool:
    """Whether this process does what only one must do, and speaks for all."""
    return rank() == 0


def orphaned() -> bool:
    """Whether the `torchrun` that started this process, and would end it, is gone."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.getppid() != PARENT


@contextmanager
def together() -> Iterator[None]:
    """What all processes do before any of them goes on; if one of them could not, none does.

    Raises a SharedError in the others, so that each ends instead of waiting for ever. Of several
    that found what a user can mend, the first says it.
    """
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
    first = least(size() if failure is None else rank())
    if failure is None and first == size():
        return
    if failure is None or (isinstance(failure, UserError) and first < rank()):
        raise SharedError("another of the processes failed; its message says why")
    raise failure


def everywhere(value: bool) -> bool:
    """Whether it is true in all processes, so that they decide alike."""
    return bool(least(int(value)))


def least(value: int) -> int:
    """The least of what the processes have."""
    return int(_reduced([value], "MIN")[0])


def total(*values: float) -> list[float]:
    """The sums of what the processes have."""
    return _reduced(values, "SUM")


def gathered(lines: Sequence[str]) -> list[list[str]]:
    """The lines that each of the processes has, in all of them."""
    if size() == 1:
        return [list(lines)]
    import torch
    from torch.distributed import all_gather

    _connect()
    content = b"".join(line.encode("unicode_escape") + b"\n" for line in lines)
    longest = max(int(length) for length in _each(len(content)))
    mine = torch.zeros(longest, dtype=torch.uint8)
    mine[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    parts = [torch.zeros_like(mine) for _ in range(size())]
    with waiting():
        all_gather(parts, mine)
    kept = (bytes(part.numpy()).rstrip(b"\0").split(b"\n")[:-1] for part in parts)
    return [[line.decode("unicode_escape") for line in some] for some in kept]


@contextmanager
def waiting() -> Iterator[None]:
    """What needs all processes; raises a UserError if one of them is gone or silent."""
    try:
        yield
    except RuntimeError as error:
        if not _of_connections(error):
            raise
        raise UserError(
            f"another of the processes is gone, or has been silent for too long ({TIMEOUT}); "
            f"the same command goes on from the last checkpoint: {str(error).splitlines()[0]}"
        ) from None


def hurry() -> None:
    """From now on a process that is silent for half an hour (SEQ2SEQ_TIMEOUT) ends the others."""
    if size() > 1:
        from torch import distributed
        from torch.distributed.distributed_c10d import _set_pg_timeout

        _connect()
        seconds = timedelta(seconds=float(os.environ.get(TIMEOUT, "1800")))
        _set_pg_timeout(seconds, distributed.group.WORLD)


def whole(tensor: "Tensor") -> "Tensor":
    """All of a tensor, gathered if it is shared out: then every process must call this at once."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def shared_out_like(tensor: "Tensor", like: "Tensor") -> "Tensor":
    """This process's share of a whole tensor that every process has, cut as `like` is cut."""
    mesh, placements = getattr(like, "device_mesh", None), getattr(like, "placements", None)
    if mesh is None:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # src_data_rank: None, because all have the same and nothing needs to be sent
    return distribute_tensor(tensor.to(like.device), mesh, placements, src_data_rank=None)


def _each(value: int) -> list[float]:
    """What each of the processes has, in all of them."""
    return total(*(value if number == rank() else 0 for number in range(size())))


def _reduced(values: Sequence[float], how: str) -> list[float]:
    if size() == 1:
        return list(values)
    import torch
    from torch.distributed import ReduceOp, all_reduce

    _connect()
    found = torch.tensor(values, dtype=torch.float64)
    with waiting():
        all_reduce(found, getattr(ReduceOp, how))
    return found.tolist()


def _of_connections(error: RuntimeError) -> bool:
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo" in str(error)  # which has no class of its own


def _attempt() -> str:
    """What tells the addresses of these processes from those that `torchrun` started before.

    It keeps them all in one place (pytorch issue 135712). If it runs on several machines, each
    counts its own restarts, so that they may not agree.
    """
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        return restarts
    if restarts != "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UserError(
            "torchrun cannot restart on several machines unless TORCH_DISABLE_SHARE_RDZV_TCP_STORE "
            "is 1 in its environment on each of them; the same command goes on from the last "
            "checkpoint"
        )
    return "0"


def _connect() -> None:
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store, number, count = next(distributed.rendezvous("env://", timeout=PATIENCE))
        store = distributed.PrefixStore(_attempt(), store)
        distributed.init_process_group(
            backend,
            store=store,
            rank=number,
            world_size=count,
            timeout=PATIENCE,
        )
        atexit.register(_leave, [store])  # in a list, to be let go of in time


def _leave(held: "list[Store]") -> None:
    """Ends the connections when nobody needs them: else who is a little behind finds them cut.

    If one of the processes has failed, others may never come here; they are not waited for long.
    """
    from torch import distributed

    store, end = held.pop(), time.monotonic() + PARTING

    def wait_for(sign: str, count: int) -> None:
        while store.add(sign, 0) < count and time.monotonic() < end:
            time.sleep(0.01)

    with suppress(distributed.DistError):  # raised if who keeps the store is gone
        store.add("leaving", 1)
        wait_for("leaving", size())
        if leads():
            wait_for("left", size() - 1)  # the store may be kept here
        else:
            store.add("left", 1)
    distributed.destroy_process_group()  # else its threads abort the process
