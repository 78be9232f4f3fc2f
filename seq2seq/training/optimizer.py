"""Optimizers: what turns gradients into updates, and what they remember in between.

One learning rate, on AdamW's scale, suits all of them but sgd.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seq2seq.config import Training
from seq2seq.distributed import shared_out_like, whole
from seq2seq.models.attention import MultiHeadAttention
from seq2seq.models.layers import Gate
from seq2seq.models.positions import Positions
from seq2seq.models.transformer import FeedForward
from seq2seq.training.adafactor import Adafactor
from seq2seq.training.muon import Muon
from seq2seq.training.rates import factors_of

Groups = list[dict[str, Any]]


def build_optimizer(
    model: nn.Module, config: Training, *, products: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """The optimizer that the config names, for a model where it will be trained.

    `products` is the type that the optimizer multiplies matrices in, if it does: what the
    processor is fast in. Weights and what is remembered of them keep their type.
    """
    if config.optimizer == "muon":
        return muon(model, config, products)
    return OPTIMIZERS[config.optimizer](grouped([*model.parameters()], model, config), config)


def grouped(parameters: list[nn.Parameter], model: nn.Module, config: Training) -> Groups:
    """Some parameters of a model, those apart that decay or whose learning rate is another."""
    decaying, factors = decaying_of(model), factors_of(model, config)
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((parameter not in decaying, factors[parameter]), []).append(parameter)
    return [
        {
            "params": group,
            "weight_decay": 0.0 if spared else config.weight_decay,
            "factor": factor,
        }
        for (spared, factor), group in sorted(groups.items(), key=lambda item: item[0])
    ]


def decaying_of(model: nn.Module) -> set[nn.Parameter]:
    """The parameters that decay: weight matrices, but no tables of embeddings or positions.

    What is looked up is touched only when it occurs: decay would make rare words vanish.
    """
    tables = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding | Positions)
        for parameter in module.parameters()
    }
    return {parameter for parameter in model.parameters() if parameter.dim() > 1} - tables


def matrices_of(model: nn.Module) -> dict[nn.Parameter, int]:
    """The weights that are matrices to Muon, each with how many it holds on top of each other.

    Queries, keys and values are maps of their own, whether one product computes them or three; so
    are the gates of a recurrent cell. A matrix of one row or column is a vector.
    """
    holds: dict[Tensor, int] = {}
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            holds[module.memory.weight] = 2
        elif isinstance(module, FeedForward) and isinstance(module[1], Gate):
            holds[module.get_parameter("0.weight")] = 2
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            for weight in module.parameters():
                holds[weight] = weight.shape[0] // int(module.hidden_size)
    decaying = decaying_of(model)
    found = {
        parameter: holds.get(parameter, 1)
        for parameter in model.parameters()
        if parameter in decaying
    }
    return {
        weight: matrices
        for weight, matrices in found.items()
        if min(weight.shape[0] // matrices, weight.shape[1]) > 1
    }


def adamw(groups: Groups, config: Training) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019), in one fused kernel."""
    beta1, beta2 = config.betas
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(beta1, beta2), fused=True)


def adam(groups: Groups, config: Training) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015); weight decay is an L2 penalty, a part of the gradient."""
    beta1, beta2 = config.betas
    return torch.optim.Adam(groups, lr=config.learning_rate, betas=(beta1, beta2), fused=True)


def sgd(groups: Groups, config: Training) -> torch.optim.Optimizer:
    """Gradient descent with Nesterov's momentum, as Sutskever et al. (2013) write it."""
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
    )


def adafactor(groups: Groups, config: Training) -> torch.optim.Optimizer:
    """Adafactor (Shazeer and Stern 2018), with the learning rate of the schedule."""
    return Adafactor(groups, learning_rate=config.learning_rate)


def muon(model: nn.Module, config: Training, products: torch.dtype) -> torch.optim.Optimizer:
    """Muon (Jordan et al. 2024) for the matrices inside layers, AdamW for the rest."""
    matrices, factors = matrices_of(model), factors_of(model, config)
    rest = [parameter for parameter in model.parameters() if parameter not in matrices]
    return Muon(
        matrices,
        {weight: factors[weight] for weight in matrices},
        adamw(grouped(rest, model, config), config),
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        products=products,
    )


OPTIMIZERS: dict[str, Callable[[Groups, Training], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "adam": adam,
    "sgd": sgd,
    "adafactor": adafactor,
}


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Makes the next update use this learning rate, times the factor of each group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def moments_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers of each parameter, by the parameter's name.

    Where parameters are shared out to processes, all must call this: what they have is gathered,
    in an order that does not depend on how they came by it.
    """
    return {
        f"{name}:{key}": whole(value).cpu()
        for name, parameter in model.named_parameters()
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
        if value is not None
    }


def set_moments(
    model: nn.Module, optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]
) -> None:
    """Restores what `moments_of` gave, for as many processes as there are now."""
    parameters = dict(model.named_parameters())
    for full_name, value in moments.items():
        name, _, key = full_name.rpartition(":")
        parameter = parameters[name]
        here = value.to(parameter.device)
        if value.shape == parameter.shape:
            here = shared_out_like(here, parameter)
        optimizer.state[parameter][key] = here
