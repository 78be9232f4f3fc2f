"""Which engine serves a model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config import Config
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.engine import Engine

if TYPE_CHECKING:
    from seq2seq.models import Seq2Seq


def open_engine(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    load: Callable[[], "Seq2Seq"] | None = None,
) -> Engine:
    """An engine with the weights of a model folder; `load` gives the model if it is here already.

    Raises a UserError that says what is wrong with the folder.
    """
    from seq2seq.decoding.pytorch import PyTorch
    from seq2seq.models.folder import choose_device, load_model

    if load is None:
        return PyTorch(load_model(folder, config, tokenizers, choose_device(config.device)))
    return PyTorch(load())
