"""A model folder: all that translating needs, in files with fixed names (see `layout`).

Nothing in it can run code: weights are safetensors, the rest YAML, JSON and SentencePiece. Sizes
and hashes are checked before a parser sees a byte.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seq2seq.config import Config, dump
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.distributed import shared_out_like
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import (
    MANIFEST,
    check_manifest,
    new_folder,
    standing,
    write_json,
    write_manifest,
)
from seq2seq.layout import BASE, CONFIG, REPLACE, SCORES, WEIGHTS
from seq2seq.models import Seq2Seq, build
from seq2seq.models.adapters import merged, own_parameters


def save_model(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    weights: dict[str, Tensor],
    scores: dict[str, Any],
    base: dict[str, Any] | None = None,
) -> None:
    """Writes a model folder in place of the one that was there.

    With a `base`, as `base_of` gives it, the weights are adapters for that model.
    """
    from safetensors.torch import save

    with new_folder(folder) as partial:
        (partial / CONFIG).write_text(dump(config), encoding="utf-8")
        for name, content in tokenizers.files.items():
            (partial / name).write_bytes(content)
        (partial / WEIGHTS).write_bytes(save(weights))
        if base is not None:
            write_json(partial / BASE, base)
        write_json(partial / SCORES, scores)
        write_manifest(partial)


def load_model(
    folder: Path, config: Config, tokenizers: Tokenizers, device: torch.device
) -> Seq2Seq:
    """A model that is ready to translate; raises a UserError that says what is wrong with it."""
    weights = read_weights(folder)
    model = build(config, len(tokenizers.source), len(tokenizers.target))
    set_weights(model, weights, folder / WEIGHTS)
    return model.to(device).eval()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a model folder, on the processor; adapters are added to those of their base.

    Raises a UserError that says what is damaged, or which base is missing or another.
    """
    from safetensors.torch import load

    check_manifest(folder, REPLACE)
    weights = load((folder / WEIGHTS).read_bytes())
    base = base_beside(folder)
    if base is None:
        return weights
    there = standing(Path(base["path"]))
    if not there.is_dir():
        raise UserError(
            f"{folder} holds adapters for {there}, which is not here; put that model there again, "
            "or run this where it was trained"
        )
    check_manifest(there, REPLACE, unread=[WEIGHTS])
    if hash_of(there) != base["sha256"]:
        raise UserError(
            f"{folder} holds adapters for {there}, which has other weights now; put back those "
            f"whose SHA-256 is {base['sha256'][:12]}..., or train the adapters again"
        )
    return merged(read_weights(there), weights, base["scale"])


def base_of(folder: Path, scale: float) -> dict[str, Any]:
    """What a model folder of adapters says of the model that they are for, which is in `folder`.

    `scale` is what their products are multiplied by.
    """
    return {"path": folder.as_posix(), "sha256": hash_of(folder), "scale": scale}


def base_beside(folder: Path) -> dict[str, Any] | None:
    """What `base_of` gave when adapters were saved in this folder; None if it has all weights."""
    file = folder / BASE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def hash_of(folder: Path) -> str:
    """The SHA-256 of a model folder's weights, as its manifest has it, which has been checked."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return str(manifest[WEIGHTS]["sha256"])


def weights_of(model: Seq2Seq) -> dict[str, Tensor]:
    """The parameters of a model by name; those that are shared, once."""
    return {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}


@torch.no_grad()
def set_weights(model: Seq2Seq, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Copies weights into a model, or adapters if it has some: all of `own_parameters`.

    Raises a UserError if they are not the model's.
    """
    parameters = own_parameters(model)
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
