"""Which engine serves a model: CTranslate2 where it can, else our own search, by torch."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.config import Config, why_not_ctranslate2
from seq2seq.console import say
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.attending import Attend
from seq2seq.decoding.conversions import converted
from seq2seq.decoding.ctranslate2 import CTranslate2, why_not_here, why_not_options
from seq2seq.decoding.engine import Engine
from seq2seq.errors import ConfigError, UserError

if TYPE_CHECKING:
    from seq2seq.models import Seq2Seq
    from seq2seq.models.transformer import Transformer

LONGEST = 1 << 16  # pieces of a line


def open_engine(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    load: Callable[[], "Seq2Seq"] | None = None,
) -> Engine:
    """An engine with the weights of a model folder; `load` gives the model if it is here already.

    Raises a UserError that says what is wrong with the folder, or why the engine or precision that
    `config.decoding` asks for cannot be.
    """
    options = config.decoding
    own = cache(partial(open_own, folder, config, tokenizers, load))
    if options.engine == "pytorch":
        if options.precision == "int8":
            raise ConfigError(
                "decoding.precision: int8 is for CTranslate2; set decoding.engine to auto"
            )
        return own()
    if reason := why_not(config):
        refuse(config, reason)
        return own()
    model = partial(load_on_processor, folder, config, tokenizers, load)
    found = converted(folder, config, tokenizers, model)
    return CTranslate2(found, tokenizers, options.precision, own)


def settled(
    config: Config, *, models: int = 1, unknown: bool = False, watched: bool = False
) -> Config:
    """The config with our own search where more than the config keeps CTranslate2 from serving.

    It serves one model, writes no unknown pieces, and cannot be watched. What would have been
    searched by it otherwise is told of. Raises a UserError if it must be CTranslate2.
    """
    if models > 1:
        reason = "it serves one model at a time"
    elif unknown:
        reason = "it is not to write unknown pieces"
    elif watched:
        reason = "it does not tell what its search drops"
    else:
        return config
    if config.decoding.engine != "pytorch":
        refuse(config, reason)
        if not why_not(config):
            say(f"our own search does it, in place of CTranslate2: {reason}")
    decoding = config.decoding.model_copy(update={"engine": "pytorch"})
    return config.model_copy(update={"decoding": decoding})


def refuse(config: Config, reason: str) -> None:
    """Raises a UserError, with the reason why it cannot be, if CTranslate2 is asked for by name."""
    if config.decoding.engine == "ctranslate2":
        raise UserError(f"CTranslate2 cannot do it: {reason}; set decoding.engine to auto")
    if config.decoding.precision == "int8":
        raise UserError(f"decoding.precision: int8 needs CTranslate2: {reason}")


def attend_with(engine: Engine, batch_tokens: int) -> Attend:
    """What tells the attention of translations that an engine has found: our own model.

    With CTranslate2 it is loaded now, beside that.
    """
    own: Any = engine.own if isinstance(engine, CTranslate2) else engine
    return partial(own.attend, batch_tokens=batch_tokens)


def why_not(config: Config) -> str | None:
    """Why CTranslate2 cannot serve a model as its config says, in words; None if it can."""
    if reason := why_not_here() or why_not_ctranslate2(config.model) or why_not_length(config):
        return reason
    if not on_processor(config.device):
        return "it serves on the processor only (device: cpu)"
    return why_not_options(config.decoding)


def why_not_length(config: Config) -> str | None:
    """Why a conversion cannot have as many positions as the config says; None if it can."""
    if config.data.max_length > LONGEST:  # a table of all of them is written
        return f"its positions go to {LONGEST:,} (data.max_length: {config.data.max_length:,})"
    return None


def on_processor(device: str) -> bool:
    """Whether a model is to be computed on the processor: `auto` means where there is no CUDA."""
    if device != "auto":
        return device == "cpu"
    import ctranslate2

    return ctranslate2.get_cuda_device_count() == 0


def open_own(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    load: Callable[[], "Seq2Seq"] | None = None,
) -> Engine:
    """Our own search with the model of a folder, or with the one that `load` gives."""
    from seq2seq.decoding.pytorch import PyTorch
    from seq2seq.models.folder import choose_device, load_model

    if load is None:
        model = load_model(folder, config, tokenizers, choose_device(config.device))
    else:
        model = load()
    return PyTorch(model, "bf16" if config.decoding.precision == "bf16" else "fp32")


def load_on_processor(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    load: Callable[[], "Seq2Seq"] | None = None,
) -> "Transformer":
    """The model to convert."""
    import torch

    from seq2seq.models.folder import load_model
    from seq2seq.models.transformer import Transformer

    model = load() if load else load_model(folder, config, tokenizers, torch.device("cpu"))
    assert isinstance(model, Transformer)
    return model
