"""The models: an encoder and a decoder behind one interface."""

from seq2seq.config import Config
from seq2seq.models.interface import Encoded, Seq2Seq, State, select
from seq2seq.models.recurrent import Recurrent
from seq2seq.models.transformer import Transformer

MODELS = {"transformer": Transformer, "lstm": Recurrent}


def build(config: Config, source_vocab: int, target_vocab: int) -> Seq2Seq:
    """A new model, with random weights, of the kind and shape that the config names."""
    kind: type = MODELS[config.model.kind]
    return kind(config.model, source_vocab, target_vocab, config.data.max_length)


__all__ = ["MODELS", "Encoded", "Seq2Seq", "State", "build", "select"]
