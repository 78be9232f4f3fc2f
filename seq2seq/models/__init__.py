"""The models: an encoder and a decoder behind one interface."""

import os

# oneDNN and PyTorch keep what they have compiled for a shape of products in bfloat16, a thousand
# shapes each. Every batch and every step of a search brings new ones: more than a gigabyte in all,
# where enough is what comes again soon. They look here when the first product is made.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "8")

from seq2seq.config import Config
from seq2seq.models.interface import Encoded, Moves, Seq2Seq, State, sayable, select
from seq2seq.models.recurrent import Recurrent
from seq2seq.models.transformer import Transformer

MODELS = {"transformer": Transformer, "lstm": Recurrent}


def build(config: Config, source_vocab: int, target_vocab: int) -> Seq2Seq:
    """A new model, with random weights, of the kind and shape that the config names."""
    kind: type = MODELS[config.model.kind]
    return kind(config.model, source_vocab, target_vocab, config.data.max_length)


__all__ = ["MODELS", "Encoded", "Moves", "Seq2Seq", "State", "build", "sayable", "select"]
