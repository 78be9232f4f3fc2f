"""What training multiplies in: float32, bfloat16 or float16. Weights are float32 always."""

import functools
import platform
import timeit
from collections.abc import Mapping

import torch
from torch import Tensor

from seq2seq import distributed
from seq2seq.errors import UserError
from seq2seq.models.products import linear

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NAMES = {dtype: name for name, dtype in PRECISIONS.items()}


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that an option names; auto is bfloat16 where that is faster, else float32.

    Under torchrun all must call this; they get the same. Raises a UserError for what the device
    has not.
    """
    if name == "auto":
        faster = distributed.everywhere(bfloat16_is_faster(device))
        return torch.bfloat16 if faster else torch.float32
    if name == "fp16" and device.type == "cpu":
        raise UserError(
            "training.precision: fp16 is for GPUs; set it to auto, which is bf16 on a processor "
            "that is faster in it"
        )
    return PRECISIONS[name]


def bfloat16_is_faster(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 in hardware, faster than of float32.

    To have instructions for it is not enough: AMD's processors are two to four times as fast with
    AVX512-BF16, and some of Intel's half as fast unless they have AMX, which virtual machines may
    hide (benchmarks/README.md). Those are so far apart that what is measured is the same each time.
    """
    if not multiplies_bfloat16(device):
        return False
    return device.type == "cuda" or seconds_of(torch.bfloat16) < seconds_of(torch.float32)


@functools.cache
def seconds_of(precision: torch.dtype) -> float:
    """How long one thread takes for a product of the size that training has many of.

    Where other programs want the processors, several threads wait for each other many times as long
    as they multiply, and what is the faster would be left to chance.
    """
    x, weight = torch.ones(2048, 256, dtype=precision), torch.ones(256, 256, dtype=precision)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return min(timeit.repeat(lambda: linear(x, weight), number=1, repeat=10))
    finally:
        torch.set_num_threads(threads)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of matrices of bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False  # not measured, so what is certain to be right
    # older versions of PyTorch cannot tell
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


class LossScale:
    """What the loss is multiplied by, so that no gradient of float16 is too small to hold.

    It is halved when gradients overflow, and doubled after 2,000 updates in which none did
    (Micikevicius et al. 2018, section 3.2). In other types it is 1.
    """

    LONG = 2000

    def __init__(self, precision: torch.dtype) -> None:
        self.moves = precision == torch.float16
        self.value = 2.0**16 if self.moves else 1.0
        self.since = 0  # updates since it changed

    def after(self, finite: bool) -> None:
        """Takes in whether an update's gradients were finite."""
        if not finite:
            self.value, self.since = max(1.0, self.value / 2), 0
        elif self.since + 1 == self.LONG:
            self.value, self.since = self.value * 2, 0
        else:
            self.since += 1

    def state(self) -> dict[str, Tensor]:
        """All that must be kept when a run stops."""
        return {"value": torch.tensor(self.value), "since": torch.tensor(self.since)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave."""
        self.value, self.since = state["value"].item(), int(state["since"])
