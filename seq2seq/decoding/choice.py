"""Which engine serves a model: CTranslate2 where it can, else our own search. No torch until then.

A model is converted once, into a folder beside its weights, which remembers what it was made of.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.config import Config, why_not_ctranslate2
from seq2seq.console import say
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.attending import Attend
from seq2seq.decoding.ctranslate2 import CTranslate2, why_not_here, why_not_options
from seq2seq.decoding.engine import Engine
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import MANIFEST, check_manifest, lock, new_folder, write_json, write_manifest
from seq2seq.layout import REPLACE, SCORES, WEIGHTS

if TYPE_CHECKING:
    from seq2seq.models import Seq2Seq
    from seq2seq.models.transformer import Transformer

CONVERTED = "ctranslate2"  # the folder in a model's
ORIGIN = "origin.json"  # what a conversion was made of
LAYOUT = 3  # of a conversion; raised when `models.conversion` writes something else


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
    if reason := why_not_here() or why_not_ctranslate2(config.model):
        return reason
    if not on_processor(config.device):
        return "it serves on the processor only (device: cpu)"
    return why_not_options(config.decoding)


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


def converted(
    folder: Path, config: Config, tokenizers: Tokenizers, model: Callable[[], "Transformer"]
) -> Path:
    """The conversion of a model folder: the one in it, or a new one if that is not of its weights.

    Where the model folder cannot be written to, it is one that goes when the process ends. Raises a
    UserError if the weights have been altered since their hash was recorded.
    """
    path, made_of = folder / CONVERTED, origin(folder)
    if is_current(path, made_of):
        check_time(folder)
        return path
    try:
        with lock(folder / f".{CONVERTED}.lock", wait=lambda: say(f"waiting for {path}"), tell=say):
            if not is_current(path, made_of):
                say(f"converting {folder} for CTranslate2 (once)")
                with new_folder(path) as partial_folder:
                    write_conversion(partial_folder, config, tokenizers, model(), made_of)
                set_time(folder)
        return path
    except OSError as error:
        say(f"{folder} cannot keep a conversion ({error.strerror}); it is made for this time only")
        path = Path(tempfile.mkdtemp(prefix="seq2seq-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        write_conversion(path, config, tokenizers, model(), made_of)
        return path


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


def write_conversion(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    model: "Transformer",
    made_of: dict[str, Any],
) -> None:
    """Fills a folder with a conversion and with what it was made of."""
    from seq2seq.models.conversion import convert

    convert(model, tokenizers, config.data.max_length, folder)
    write_json(folder / ORIGIN, made_of)
    write_manifest(folder)


def origin(folder: Path) -> dict[str, Any]:
    """What a conversion of a model folder is made of: files by their hashes, and with what."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return {
        "files": {name: entry["sha256"] for name, entry in manifest.items() if name != SCORES},
        "layout": LAYOUT,
        "ctranslate2": version("ctranslate2"),
        "seq2seq": version("seq2seq"),
    }


def check_time(folder: Path) -> None:
    """Raises a UserError if the weights of a model folder are not those that its conversion is of.

    What a conversion was made of bears the time of the weights. Only where that differs, as it does
    in a copy, too, all hashes are compared: of large weights, that takes seconds.
    """
    times = [path.stat().st_mtime_ns for path in (folder / WEIGHTS, folder / CONVERTED / ORIGIN)]
    if times[0] != times[1]:
        check_manifest(folder, REPLACE)
        with suppress(OSError):  # where it cannot be written to
            set_time(folder)


def set_time(folder: Path) -> None:
    """Gives what the conversion of a model folder was made of the time of its weights."""
    time = (folder / WEIGHTS).stat().st_mtime_ns
    os.utime(folder / CONVERTED / ORIGIN, ns=(time, time))


def is_current(path: Path, made_of: dict[str, Any]) -> bool:
    """Whether a conversion is there, whole, and of what it should be made of."""
    try:
        check_manifest(path, "")
        return json.loads((path / ORIGIN).read_text(encoding="utf-8")) == made_of
    except (UserError, OSError, ValueError):
        return False
