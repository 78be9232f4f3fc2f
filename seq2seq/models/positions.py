"""How a model tells one position from another.

Shapes: T positions, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def sinusoids(length: int, dim: int) -> Tensor:
    """Sines in the first half of the width, cosines in the second (Vaswani et al. 2017, 3.5)."""
    rates = 10_000.0 ** (-torch.arange(0, dim, 2) / dim)
    angles = torch.arange(length)[:, None] * rates  # (T, D / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Sinusoidal(nn.Module):
    """Fixed waves; any length."""

    table: Tensor

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("table", sinusoids(max_length, dim), persistent=False)

    def forward(self, start: int, length: int) -> Tensor:
        """(T, D) of the `length` positions from `start` on."""
        if start + length > self.table.shape[0]:
            longer = sinusoids(2 * (start + length), self.dim)
            self.table = longer.to(self.table.device, self.table.dtype)
        return self.table[start : start + length]


class Learned(nn.Module):
    """A learned vector for each position, up to max_length of them."""

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, dim) * dim**-0.5)

    def forward(self, start: int, length: int) -> Tensor:
        """(T, D) of the `length` positions from `start` on; nothing behind the last of them.

        Only padding may be there, by which lengths are rounded up for a GPU.
        """
        found = self.table[start : start + length]
        return functional.pad(found, (0, 0, 0, length - len(found)))


class Absent(nn.Module):
    """No positions: what the order of words is must come from elsewhere."""

    def __init__(self, dim: int, max_length: int) -> None:
        super().__init__()

    def forward(self, start: int, length: int) -> float:
        """Nothing, for any position."""
        return 0.0


POSITIONS = {"sinusoidal": Sinusoidal, "learned": Learned, "none": Absent}
