"""Low-rank adapters: little to learn and to keep, in place of all the weights of a model.

To a linear layer's weight (O, I) the product of two small matrices is added, `up` (O, R) times
`down` (R, I). They learn, and the weight stays as it is. In the beginning `up` is zero, so that
nothing has changed; in the end the product can be added up with the weight, so that nothing is
slower (LoRA: Hu et al. 2021, section 4.1, https://arxiv.org/abs/2106.09685).

What the model computes by one product has one adapter: keys and values share theirs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from seq2seq.config import Lora
from seq2seq.errors import ConfigError
from seq2seq.models.layers import Dropout, Linear
from seq2seq.models.parts import named_by
from seq2seq.models.products import linear

DOWN, UP = "down", "up"
SHOWN = 3  # names of layers in an error


class Adapted(Linear):
    """A linear map with an adapter; it takes the place, and has the weights, of one without."""

    def __init__(self, linear: Linear, options: Lora) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None)
        self.weight, self.bias = linear.weight, linear.bias
        self.down = nn.Parameter(linear.weight.new_empty(options.rank, self.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(self.out_features, options.rank))
        self.scale = scale_of(options)
        self.dropout = Dropout(options.dropout)
        nn.init.normal_(self.down, std=self.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        inner = linear(self.dropout(x), self.down.to(x.dtype))
        return super().forward(x) + self.scale * linear(inner, self.up.to(x.dtype))


def scale_of(options: Lora) -> float:
    """What the product of the two matrices is multiplied by."""
    return options.alpha / options.rank


def adapt(model: nn.Module, options: Lora) -> None:
    """Gives adapters to the layers that the options name; nothing else of the model will learn.

    Raises a ConfigError for a pattern that names no linear layer.
    """
    linear = {name: one for name, one in model.named_modules() if isinstance(one, Linear)}
    chosen = set()
    for pattern in options.layers:
        found = {name for name in linear if named_by(pattern, name)}
        if not found:
            raise ConfigError(
                f"training.lora.layers: {pattern} names no linear layer of the model, which has "
                f"{len(linear):,}: {', '.join([*linear][:SHOWN])} and so on"
            )
        chosen |= found
    model.requires_grad_(False)
    for name, layer in linear.items():
        if name in chosen:
            above, _, own = name.rpartition(".")
            setattr(model.get_submodule(above), own, Adapted(layer, options))


def own_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is kept of a model, by name: its adapters if it has any, else all; shared ones once."""
    adapters = {
        f"{place}.{name}": module.get_parameter(name)
        for place, module in model.named_modules()
        if isinstance(module, Adapted)
        for name in (DOWN, UP)
    }
    return adapters or dict(model.named_parameters())


def merged(
    weights: Mapping[str, Tensor], adapters: Mapping[str, Tensor], scale: float
) -> dict[str, Tensor]:
    """Weights with adapters added to those that they are for, by the names of the weights.

    Raises a ValueError for an adapter of another shape: the product of two small ones can be huge.
    """
    found = dict(weights)
    for place in sorted({name.rpartition(".")[0] for name in adapters}):
        up, down = adapters.get(f"{place}.{UP}"), adapters.get(f"{place}.{DOWN}")
        weight = weights.get(f"{place}.weight")
        if up is None or down is None or weight is None:
            raise ValueError(f"{place} has no {UP}, {DOWN} or weight")
        rank = up.shape[-1:].numel()
        if (up.shape, down.shape) != ((len(weight), rank), (rank, *weight.shape[1:])):
            shapes = ", ".join(str(list(one.shape)) for one in (up, down, weight))
            raise ValueError(f"{UP}, {DOWN} and weight of {place} have the shapes {shapes}")
        change = up.double() @ down.double()
        found[f"{place}.weight"] = torch.add(weight, scale * change).to(weight.dtype)
    if odd := sorted(name for name in adapters if name.rpartition(".")[2] not in (UP, DOWN)):
        raise ValueError(f"{odd[0]} is not an adapter")
    return found
