"""A model folder: all that translating needs, in files with fixed names (see `layout`).

Nothing in it can run code: weights are safetensors, the rest YAML, JSON and SentencePiece. Sizes
and hashes are checked before a parser sees a byte.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seq2seq.config import Config, dump
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.distributed import shared_out_like
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import check_manifest, new_folder, strict, write_json, write_manifest
from seq2seq.layout import CONFIG, REPLACE, SCORES, WEIGHTS
from seq2seq.models import Seq2Seq, build


def save_model(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    weights: dict[str, Tensor],
    scores: dict[str, Any],
) -> None:
    """Writes a model folder in place of the one that was there."""
    from safetensors.torch import save

    with new_folder(folder) as partial:
        (partial / CONFIG).write_text(dump(config), encoding="utf-8")
        for name, content in tokenizers.files.items():
            (partial / name).write_bytes(content)
        (partial / WEIGHTS).write_bytes(save(weights))
        write_json(partial / SCORES, strict(scores))
        write_manifest(partial)


def load_model(
    folder: Path, config: Config, tokenizers: Tokenizers, device: torch.device
) -> Seq2Seq:
    """A model that is ready to translate; raises a UserError that says what is wrong with it."""
    from safetensors.torch import load

    check_manifest(folder, REPLACE)
    model = build(config, len(tokenizers.source), len(tokenizers.target))
    set_weights(model, load((folder / WEIGHTS).read_bytes()), folder / WEIGHTS)
    return model.to(device).eval()


def weights_of(model: Seq2Seq) -> dict[str, Tensor]:
    """The parameters of a model by name; those that are shared, once."""
    return {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}


@torch.no_grad()
def set_weights(model: Seq2Seq, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Copies weights into a model; raises a UserError if they are not the model's."""
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    if (found := {name: tuple(weight.shape) for name, weight in weights.items()}) != shapes:
        odd = sorted(name for name, _ in shapes.items() ^ found.items())
        raise UserError(f"{origin} does not fit the config beside it: {odd[0]} differs")
    for name, parameter in parameters.items():
        parameter.copy_(shared_out_like(weights[name], parameter))


def choose_device(name: str) -> torch.device:
    """The device that an option names; auto is a GPU if there is one."""
    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_here in here.items() if is_here)
    if name not in here:
        raise ConfigError(f"device: must be auto, {', '.join(here)}, not {name}")
    if not here[name]:
        raise UserError(f"there is no {name} device here; set device to auto or cpu")
    return torch.device(name)
