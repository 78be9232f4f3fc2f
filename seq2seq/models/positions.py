"""How a model tells one position from another.

Some ways are added to embeddings; others are told to self-attention, layer by layer: how far two
positions are from each other, as a number added to scores (`bias`) or as a turn of queries and keys
(`turn`).

Shapes: T queries, S keys, H heads, D width (of the model, or of a head where that is said).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

BUCKETS = 32  # of distances, as T5 has them
FURTHEST = 128  # distances from here on share a bucket
AT_FIRST = 1 << 24  # numbers, at most, that a table has before more positions are needed


class Turn(NamedTuple):
    """By how much each position is turned: cosines and sines, each (T, D / 2), D of a head."""

    cosines: Tensor
    sines: Tensor


class Relations(NamedTuple):
    """What self-attention is told of positions, the same in all layers."""

    bias: Tensor | None = None  # (H, T, S), added to the scores
    turn: Turn | None = None  # of queries, and of keys as they are written

    def spread(self, places: int) -> "Relations":
        """The same where each position of a key has so many places, side by side."""
        if self.bias is None or places == 1:
            return self
        return self._replace(bias=self.bias.repeat_interleave(places, dim=2))


class Positions(nn.Module):
    """Knows nothing of positions: what the order of words is must come from elsewhere."""

    def __init__(self, dim: int, heads: int, max_length: int, *, backwards: bool) -> None:
        """`backwards`: a position sees earlier ones only, as in a decoder."""
        super().__init__()

    def forward(self, start: int, length: int) -> Tensor | float:
        """What is added to the embeddings (T, D) of the `length` positions from `start` on."""
        return 0.0

    def relations(self, start: int, length: int) -> Relations:
        """How the `length` positions from `start` on see all positions up to the last of them."""
        return Relations()


def sinusoids(length: int, dim: int) -> Tensor:
    """Sines in the first half of the width, cosines in the second (Vaswani et al. 2017, 3.5)."""
    angles = angles_of(length, dim)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def angles_of(length: int, dim: int) -> Tensor:
    """Angles (T, D / 2) that grow with the position, each at a rate of its own.

    They are on the processor even where a model is built for its shapes alone: to compute on `meta`
    torch imports its compiler first.
    """
    rates = 10_000.0 ** (-torch.arange(0, dim, 2, device="cpu") / dim)
    return torch.arange(length, device="cpu")[:, None] * rates


def at_first(max_length: int, dim: int) -> int:
    """Return the positions of a table that is computed ahead: not all if it would be huge."""
    return min(max_length, 1 + AT_FIRST // dim)


class Sinusoidal(Positions):
    """Fixed waves; any length."""

    table: Tensor

    def __init__(self, dim: int, heads: int, max_length: int, *, backwards: bool) -> None:
        super().__init__(dim, heads, max_length, backwards=backwards)
        self.dim = dim
        self.register_buffer("table", sinusoids(at_first(max_length, dim), dim), persistent=False)

    def forward(self, start: int, length: int) -> Tensor:
        table = self.table  # another thread may put another in its place
        if start + length > table.shape[0]:
            longer = sinusoids(2 * (start + length), self.dim)
            self.table = table = longer.to(table.device, table.dtype)
        return table[start : start + length]


class Learned(Positions):
    """A learned vector for each position, up to max_length of them."""

    def __init__(self, dim: int, heads: int, max_length: int, *, backwards: bool) -> None:
        super().__init__(dim, heads, max_length, backwards=backwards)
        self.table = nn.Parameter(torch.empty(max_length, dim))
        nn.init.normal_(self.table, std=dim**-0.5)

    def forward(self, start: int, length: int) -> Tensor:
        # behind the last position only padding may be, by which lengths are rounded up for a GPU
        found = self.table[start : start + length]
        return functional.pad(found, (0, 0, 0, length - found.shape[0]))


class Relative(Positions):
    """A learned number for each head and distance, added to scores (Raffel et al. 2020, 2.1).

    Small distances have a number each, larger ones share numbers, ever more of them, and all from
    `FURTHEST` on share one. Before and behind are told apart where both can be seen.

    The table is multiplied by the root of the model's width, as embeddings are, so that it learns
    as fast as they: scores differ by whole numbers, and a step of Adam is as long as the rate.
    """

    def __init__(self, dim: int, heads: int, max_length: int, *, backwards: bool) -> None:
        super().__init__(dim, heads, max_length, backwards=backwards)
        self.backwards = backwards
        self.scale = dim**0.5
        self.table = nn.Parameter(torch.zeros(BUCKETS, heads))

    @property
    def biases(self) -> Tensor:
        """What is added to scores in each bucket and head (BUCKETS, H)."""
        return self.table * self.scale

    def relations(self, start: int, length: int) -> Relations:
        """A bias that is looked up."""
        buckets = bucket_of(distances(start, length, self.table.device), backwards=self.backwards)
        return Relations(bias=self.biases[buckets].permute(2, 0, 1))


def distances(start: int, length: int, device: torch.device | None = None) -> Tensor:
    """How far each query is behind each key (T, S): negative where the key is behind the query."""
    end = start + length
    queries, keys = (torch.arange(first, end, device=device) for first in (start, 0))
    return queries[:, None] - keys


def bucket_of(distances: Tensor, *, backwards: bool) -> Tensor:
    """The number of the bucket of each distance: half of them exact, half in logarithmic steps."""
    count = BUCKETS
    first = torch.zeros_like(distances)
    if backwards:
        distances = distances.clamp(min=0)
    else:
        count //= 2
        first = (distances < 0).long() * count
        distances = distances.abs()
    exact = count // 2
    share = (distances.clamp(min=1) / exact).log() / math.log(FURTHEST / exact)
    coarse = (exact + (share * (count - exact)).long()).clamp(max=count - 1)
    return first + torch.where(distances < exact, distances, coarse)


class Alibi(Positions):
    """Scores fall with the distance, in each head at a rate of its own (Press et al. 2022).

    In an encoder they fall at other rates, halfway between, towards what comes later: else a
    sentence and its reverse would be the same to it.
    """

    slopes: Tensor

    def __init__(self, dim: int, heads: int, max_length: int, *, backwards: bool) -> None:
        super().__init__(dim, heads, max_length, backwards=backwards)
        head = torch.arange(1, heads + 1, device="cpu")[:, None, None]  # see `angles_of`
        slopes = torch.stack([2.0 ** (-8 * (head - shift) / heads) for shift in (0.0, 0.5)])
        self.register_buffer("slopes", slopes, persistent=False)  # (2, H, 1, 1): before, behind

    def relations(self, start: int, length: int) -> Relations:
        """A bias that is fixed."""
        apart = distances(start, length, self.slopes.device)
        before, behind = self.slopes
        return Relations(bias=torch.where(apart > 0, before, behind) * -apart.abs())


class Rotary(Positions):
    """Queries and keys are turned by their positions: only distances remain (Su et al. 2021)."""

    angles: Tensor

    def __init__(self, dim: int, heads: int, max_length: int, *, backwards: bool) -> None:
        super().__init__(dim, heads, max_length, backwards=backwards)
        self.width = dim // heads
        angles = angles_of(at_first(max_length, self.width), self.width)
        self.register_buffer("angles", angles, persistent=False)

    def relations(self, start: int, length: int) -> Relations:
        """A turn."""
        angles = self.angles  # another thread may put others in their place
        if start + length > len(angles):
            longer = angles_of(2 * (start + length), self.width)
            self.angles = angles = longer.to(angles.device, angles.dtype)
        angles = angles[start : start + length]
        return Relations(turn=Turn(angles.cos(), angles.sin()))


def turned(x: Tensor, turn: Turn) -> Tensor:
    """Vectors (..., T, D), each pair of elements D / 2 apart turned in its plane."""
    one, other = x.chunk(2, dim=-1)
    cosines, sines = (part.to(x.dtype) for part in turn)
    return torch.cat([one * cosines - other * sines, other * cosines + one * sines], dim=-1)


BY_DISTANCE = (Relative, Alibi, Rotary)  # which is told to self-attention, and to nothing else
POSITIONS = {
    "sinusoidal": Sinusoidal,
    "learned": Learned,
    "relative": Relative,
    "rotary": Rotary,
    "alibi": Alibi,
    "none": Positions,
}
