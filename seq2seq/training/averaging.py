"""Means of weights: of those that an optimizer passes through, and of those of checkpoints."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seq2seq.distributed import shared_out_like, whole
from seq2seq.models.adapters import own_parameters

UPDATES = "updates"  # the entry beside the means in what `RunningMean.state` gives


class RunningMean:
    """An exponential moving average of a model's parameters, or of its adapters, in float32.

    Each update it moves by 1 - decay towards the weights. At first the decay is less, (1 + n) /
    (10 + n) in the n-th update: else the mean would remember for long what was there before any
    learning. (As tf.train.ExponentialMovingAverage does it.)
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.parameters = own_parameters(model)
        self.means = {
            name: parameter.detach().to(torch.float32, copy=True)
            for name, parameter in self.parameters.items()
        }
        self.lent = False  # whether the means are in the model, and its weights here

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after one more update."""
        assert not self.lent
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = [parameter.float() for parameter in self.parameters.values()]
        torch._foreach_lerp_([*self.means.values()], weights, 1 - decay)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """The model has the means for weights; after it, the weights again, to the bit.

        They change places, so that it takes no memory. The weights must be float32.
        """
        self._swap()
        self.lent = True
        try:
            yield
        finally:
            self._swap()
            self.lent = False

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            mean, weight = self.means[name], parameter.clone()
            assert weight.dtype == mean.dtype
            parameter.copy_(mean)
            mean.copy_(weight)

    def state(self) -> dict[str, Tensor]:
        """All that must be kept when a run stops; no copies, so to be written before an update.

        Where parameters are shared out to processes, all must call this.
        """
        assert not self.lent
        means = {name: whole(mean).cpu() for name, mean in self.means.items()}
        return {**means, UPDATES: torch.tensor(self.updates)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave, for as many processes as there are now."""
        assert not self.lent
        self.updates = int(state[UPDATES])
        for name, mean in self.means.items():
            mean.copy_(shared_out_like(state[name].to(mean.device), mean))


def mean(sets: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several sets of weights of a model, of which one at a time is in memory.

    Sums are of float64, so that the order of the sets is lost in rounding to float32, or nearly.
    """
    total: dict[str, Tensor] = {}
    count = 0
    for weights in sets:
        assert not total or total.keys() == weights.keys()
        for name, weight in weights.items():
            total[name] = weight.double() if name not in total else total[name].add_(weight)
        count += 1
    return {name: total.pop(name).div_(count).float() for name in [*total]}
