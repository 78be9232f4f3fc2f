"""The models: an encoder and a decoder behind one interface."""

import os
from typing import Any

# oneDNN and PyTorch keep what they have compiled for a shape of products in bfloat16, a thousand
# shapes each. Every batch and every step of a search brings new ones: more than a gigabyte in all,
# where enough is what comes again soon. They look here when the first product is made.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "8")

import torch
from torch.overrides import TorchFunctionMode

from seq2seq.config import Config
from seq2seq.models.interface import Encoded, Moves, Seq2Seq, State, sayable, select
from seq2seq.models.recurrent import Recurrent
from seq2seq.models.transformer import Transformer

MODELS = {"transformer": Transformer, "lstm": Recurrent}


def build(config: Config, source_vocab: int, target_vocab: int) -> Seq2Seq:
    """A new model, with random weights, of the kind and shape that the config names."""
    kind: type = MODELS[config.model.kind]
    return kind(config.model, source_vocab, target_vocab, config.data.max_length)


class NothingDrawn(TorchFunctionMode):
    """Leaves tensors as they are where random numbers would be drawn into them."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = options or {}
        if getattr(function, "__name__", "") in ("normal_", "uniform_"):
            return arguments[0] if arguments else options["tensor"]
        return function(*arguments, **options)


def build_shapes(config: Config, source_vocab: int, target_vocab: int) -> Seq2Seq:
    """Return a model as `build` does, on the device `meta`: it has shapes, and no memory."""
    # to draw numbers there, torch imports its compiler first, which takes a second
    with torch.device("meta"), NothingDrawn():
        return build(config, source_vocab, target_vocab)


__all__ = [
    "MODELS",
    "Encoded",
    "Moves",
    "Seq2Seq",
    "State",
    "build",
    "build_shapes",
    "sayable",
    "select",
]
