"""Optimizers, and how the learning rate changes over updates."""

import math
from collections.abc import Callable

import torch
from torch import nn

from seq2seq.config import Training
from seq2seq.models.positions import Learned

Schedule = Callable[[int, Training], float]


def build_optimizer(model: nn.Module, config: Training) -> torch.optim.Optimizer:
    """The optimizer that the config names. Weight matrices decay; the rest never does."""
    embeddings = (
        module for module in model.modules() if isinstance(module, nn.Embedding | Learned)
    )
    tables = {id(parameter) for module in embeddings for parameter in module.parameters()}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        groups[parameter.dim() > 1 and id(parameter) not in tables].append(parameter)
    decays = {True: config.weight_decay, False: 0.0}
    return OPTIMIZERS[config.optimizer](
        [{"params": group, "weight_decay": decays[decaying]} for decaying, group in groups.items()],
        config,
    )


def adamw(groups: list[dict], config: Training) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), in one fused kernel."""
    beta1, beta2 = config.betas
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(beta1, beta2), fused=True)


def learning_rate(update: int, config: Training) -> float:
    """The learning rate of an update (the first is 1): a linear warm-up, then the schedule."""
    if update < config.warmup:
        return config.learning_rate * update / config.warmup
    return config.learning_rate * SCHEDULES[config.schedule](update, config)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Makes the next update use this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def inverse_sqrt(update: int, config: Training) -> float:
    """Falls with the root of updates, from one at the end of the warm-up (Vaswani et al. 2017)."""
    return math.sqrt(max(config.warmup, 1) / update)


def cosine(update: int, config: Training) -> float:
    """Falls to nothing at max_updates along half a cosine (Loshchilov and Hutter 2017)."""
    done = (update - config.warmup) / (config.max_updates - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def constant(update: int, config: Training) -> float:
    """Stays as it is."""
    return 1.0


OPTIMIZERS = {"adamw": adamw}
SCHEDULES: dict[str, Schedule] = {
    "inverse_sqrt": inverse_sqrt,
    "cosine": cosine,
    "constant": constant,
}
