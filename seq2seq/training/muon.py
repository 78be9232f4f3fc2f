"""Muon: momentum whose matrices are made orthogonal before they become an update.

Shapes: M matrices of R rows and C columns, R <= C.

The method is that of Jordan et al. (2024, kellerjordan.github.io/posts/muon), with the scale of Liu
et al. (2025, arXiv:2502.16982), so that one learning rate suits its matrices and AdamW's vectors.

torch.optim.Muon is not used, because it takes a weight for one matrix. Here a weight may be several
on top of each other: keys and values, the gates of an LSTM. What maps to each is a matrix of its
own, and to make the stack orthogonal would bind what has nothing to do with each other. And all
matrices of a shape go through one product, which a GPU does in a fraction of the time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.distributed import shared_out_like, whole

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: the steepest at nothing
STEPS = 5  # after which a length of 0.01 to 1 has become one of 0.68 to 1.14
RMS_OF_ADAMW = 0.2  # Liu et al. 2025, section 2.2: what an update of AdamW usually has

# Numbers in a stack: so many that a GPU is busy, so few that they stay in a processor's cache.
STACKED = {"cpu": 1 << 20}
STACKED_ELSEWHERE = 1 << 24


class Part(NamedTuple):
    """What of a stack of matrices belongs to a weight."""

    weight: nn.Parameter
    matrices: int


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest, as one optimizer.

    `matrices` says of each weight how many matrices lie in it, on top of each other, `factors` what
    its learning rate is to be multiplied by. `products` is the type that matrices are multiplied
    in; bfloat16 is enough (Jordan et al. 2024).
    """

    def __init__(
        self,
        matrices: Mapping[nn.Parameter, int],
        factors: Mapping[nn.Parameter, float],
        rest: torch.optim.AdamW,
        *,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        products: torch.dtype,
    ) -> None:
        defaults = {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay}
        alike: dict[float, list[nn.Parameter]] = {factor: [] for factor in factors.values()}
        for weight in matrices:
            alike[factors[weight]].append(weight)
        groups = [{"params": alike[factor], "factor": factor} for factor in sorted(alike)]
        super().__init__(groups, defaults)
        self.matrices = matrices
        self.products = products
        self.rest = rest
        # Same groups and same state, so that from outside the two are one.
        self.own_groups = [*self.param_groups]
        self.param_groups += rest.param_groups
        rest.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient."""
        for group in self.own_groups:
            self._step(group)
        self.rest.step()

    def _step(self, group: dict[str, Any]) -> None:
        """Updates the matrices of a group that have a gradient."""
        weights = [weight for weight in group["params"] if weight.grad is not None]
        directions = self._directions(weights, group["momentum"])
        if weights:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        for stack in self._stacks(weights):
            stacked = torch.cat([self._wide(part, directions.pop(part.weight)) for part in stack])
            rows, columns = stacked.shape[1:]
            rate = group["lr"] * RMS_OF_ADAMW * max(rows, columns) ** 0.5
            done = orthogonal(stacked).split([part.matrices for part in stack])
            for part, matrices in zip(stack, done, strict=True):
                tall = part.weight.shape[0] // part.matrices > part.weight.shape[1]
                update = (matrices.mT if tall else matrices).reshape(part.weight.shape)
                part.weight.add_(shared_out_like(update, part.weight), alpha=-rate)

    def _directions(
        self, weights: Sequence[nn.Parameter], momentum: float
    ) -> dict[nn.Parameter, Tensor]:
        """The mean of gradients so far, with Nesterov's look ahead."""
        if not weights:
            return {}
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        means = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, means, momentum)
        return dict(zip(weights, ahead, strict=True))

    def _stacks(self, weights: Sequence[nn.Parameter]) -> Iterator[list[Part]]:
        """The weights whose matrices have the same shape, some at a time."""
        alike: dict[tuple[object, ...], list[Part]] = {}
        for weight in weights:
            matrices = self.matrices[weight]
            shape = sorted((weight.shape[0] // matrices, weight.shape[1]))
            alike.setdefault((*shape, weight.device), []).append(Part(weight, matrices))
        for parts in alike.values():
            weight = parts[0].weight
            limit = STACKED.get(weight.device.type, STACKED_ELSEWHERE)
            stack: list[Part] = []
            for part in parts:
                if stack and sum(one.weight.numel() for one in [*stack, part]) > limit:
                    yield stack
                    stack = []
                stack.append(part)
            yield stack

    def _wide(self, part: Part, direction: Tensor) -> Tensor:
        """The matrices of a weight (M, R, C), lying down if they stood."""
        matrices = whole(direction).to(self.products).unflatten(0, (part.matrices, -1))
        return matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices


def orthogonal(matrices: Tensor) -> Tensor:
    """The orthogonal matrices (M, R, C) next to some, about: all singular values near one.

    Newton and Schulz's iteration with a polynomial of the fifth degree (Jordan et al. 2024), which
    is matrix products alone, instead of a decomposition.
    """
    a, b, c = QUINTIC
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        squares = x @ x.mT  # (M, R, R)
        x = torch.baddbmm(x, torch.baddbmm(squares, squares, squares, beta=b, alpha=c), x, beta=a)
    return x
