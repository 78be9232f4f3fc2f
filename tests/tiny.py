"""A tiny model, its learner and random pairs, for the tests of training."""

import random
from typing import Any

import numpy as np
import torch

from seq2seq.config import Config
from seq2seq.data.batches import Batch, Batches
from seq2seq.data.store import Store
from seq2seq.models import Seq2Seq, build
from seq2seq.training.learner import Learner, Update
from seq2seq.training.precision import PRECISIONS

VOCAB = 23
TINY: dict[str, dict[str, Any]] = {
    "transformer": {
        "kind": "transformer",
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "positions": "learned",
    },
    "lstm": {"kind": "lstm", "dim": 16, "embedding_dim": 12},
}
PAIR = {"source": "never", "target": "read"}


def config_of(
    kind: str = "transformer",
    dropout: float = 0.0,
    model: dict[str, Any] | None = None,
    **training: Any,
) -> Config:
    """The config of a tiny model, in float32 unless told."""
    options = {
        "warmup": 0,
        "average": 0,
        "metrics": ["ppl"],
        "patience": None,
        "precision": "fp32",
        **training,
    }
    return Config.model_validate(
        {
            "name": "tiny",
            "data": {"train": [PAIR], "valid": PAIR, "max_length": 12},
            "model": {**TINY[kind], "dropout": dropout, **(model or {})},
            "training": options,
        }
    )


def build_tiny(config: Config, seed: int = 1, vocab: int = VOCAB) -> Seq2Seq:
    """A model of a config with random weights, as precise as it says."""
    torch.manual_seed(seed)
    model = build(config, vocab, vocab)
    if config.training.precision != "fp32":
        model.precision = PRECISIONS[config.training.precision]
    return model


def tiny(kind: str, *, dropout: float = 0.0, seed: int = 1) -> Seq2Seq:
    """A tiny model with random weights."""
    return build_tiny(config_of(kind, dropout), seed)


def learner_of(
    kind: str = "transformer",
    *,
    dropout: float = 0.0,
    seed: int = 1,
    double: bool = False,
    **options: Any,
) -> Learner:
    """A tiny model that learns; with `double`, in float64."""
    config = config_of(kind, dropout, **options)
    model = build_tiny(config, seed)
    return Learner(model.double() if double else model, config.training)


def pairs(count: int, seed: int = 1) -> Store:
    """Random pairs of one to nine tokens a side."""
    numbers = random.Random(seed)
    sides = [
        [[numbers.randrange(4, VOCAB) for _ in range(numbers.randint(1, 9))] for _ in range(count)]
        for _ in range(2)
    ]
    return Store.of(*sides)


def batch_of(store: Store, *numbers: int) -> Batch:
    """Some pairs of a store, all of them unless numbers are given."""
    return Batches(store, 10**6).collate(np.array(numbers or range(len(store))))


def nothing_of(store: Store) -> Batch:
    """The batch of no pair."""
    return Batches(store, 10**6).collate(np.array([], dtype=np.int64))


def learn(learner: Learner, *batches: Batch, rate: float = 0.01) -> Update:
    """An update from some batches."""
    return learner.update(batches, sum(batch.target_tokens for batch in batches), rate)


def weights_in(model: torch.nn.Module) -> list[torch.Tensor]:
    """Copies of the parameters."""
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(one: Any, other: Any) -> bool:
    """Whether tensors, in dictionaries or lists if they like, are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other)
