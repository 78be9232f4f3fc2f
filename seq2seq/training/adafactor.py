"""Adafactor: Adam with the memory of a row and a column in place of a matrix."""

from typing import Any

import torch
from torch import Tensor

from seq2seq.distributed import shared_out_like, whole

TINY = 1e-30  # what is added to squares, so that nothing is divided by nothing


class Adafactor(torch.optim.Optimizer):
    """Adafactor (Shazeer and Stern 2018), algorithms 4 and 5, without momentum.

    As there, the mean square of a matrix is what its rows' and columns' means make of it, the
    decay of these means is 1 - t ** -0.8, and an update's root mean square is clipped to one. But
    steps are not relative to the size of weights (section 8): the learning rate is the schedule's
    alone, on the scale of AdamW's, and the decay of weights does not depend on gradients.

    torch.optim.Adafactor is not used, because it has relative steps only, lowers the learning rate
    to 1 / sqrt(t) by itself, and waits for the GPU twice a parameter.
    """

    def __init__(self, groups: list[dict[str, Any]], *, learning_rate: float) -> None:
        super().__init__(groups, {"lr": learning_rate, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = self._normalised(parameter.grad, self.state[parameter])
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"])

    def _normalised(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        """A gradient over the root of the mean square that it usually has."""
        squares = gradient.square().add_(TINY)
        if gradient.dim() > 1:
            count_rows, count_columns = gradient.shape
            rows = whole(squares.sum(dim=1)) / count_columns
            means = {"rows": rows, "columns": whole(squares.sum(dim=0)) / count_rows}
        else:
            means = {"squares": squares}
        if not state:
            state["step"] = torch.zeros((), device=gradient.device)
            state |= {name: torch.zeros_like(mean) for name, mean in means.items()}
        state["step"] += 1
        for name, mean in means.items():
            state[name].lerp_(mean, state["step"] ** -0.8)  # the first takes all of the mean
        if gradient.dim() > 1:
            usual = torch.outer(state["rows"] / state["rows"].mean(), state["columns"])
            usual = shared_out_like(usual, gradient)
        else:
            usual = state["squares"]
        update = gradient * usual.rsqrt()
        length = (update.square().sum() / update.numel()).sqrt()  # root mean square
        return update / length.clamp(min=1.0)
