"""A model folder: all that translating needs, in files with fixed names (see `layout`).

Nothing in it can run code: weights are safetensors, the rest YAML, JSON and SentencePiece. Sizes
and hashes are checked before a parser sees a byte.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seq2seq.config import Config, dump
from seq2seq.console import printable, say
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.distributed import shared_out_like
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import (
    SMALL,
    check_model,
    new_folder,
    read_manifest,
    recover_folder,
    sha256,
    standing,
    write_json,
    write_manifest,
)
from seq2seq.layout import BASE, CONFIG, MODEL_FILES, REPLACE, SCORES, WEIGHTS
from seq2seq.models import Seq2Seq, build, build_shapes
from seq2seq.models.adapters import merged, own_parameters
from seq2seq.models.parts import place_of
from seq2seq.regular import read_regular

# all that we put into a model folder, now or before; what else is there is somebody's
OWN = (*MODEL_FILES, "ctranslate2", ".ctranslate2.lock")


def recover_model(folder: Path) -> None:
    """Puts the old model folder back if its replacement was killed in the middle."""
    recover_folder(folder, OWN)


def save_model(
    folder: Path,
    config: Config,
    tokenizers: Tokenizers,
    weights: dict[str, Tensor],
    scores: dict[str, Any],
    base: dict[str, Any] | None = None,
    *,
    replace: bool = True,
) -> None:
    """Writes a model folder in place of the one that was there, or else where nothing is.

    With a `base`, as `base_of` gives it, the weights are adapters for that model.
    """
    from safetensors.torch import save

    with new_folder(folder, replace=replace, ours=OWN) as partial:
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
    made_of: dict[str, str] = {}
    weights = read_weights(folder, made_of)
    check_fit(config, tokenizers, shapes_of(weights), folder / WEIGHTS)
    model = build(config, len(tokenizers.source), len(tokenizers.target))
    set_weights(model, weights, folder / WEIGHTS)
    model.made_of = made_of
    return model.to(device).eval()


def read_weights(folder: Path, made_of: dict[str, str] | None = None) -> dict[str, Tensor]:
    """The weights of a model folder, on the processor; adapters are added to those of their base.

    `made_of` gets the SHA-256 of the very bytes that became weights, and that of base.json, so that
    a folder that is replaced meanwhile is not taken for another.

    Raises a UserError that says what is damaged, or which base is missing or another.
    """
    check_model(folder, unread=[WEIGHTS])
    made_of = {} if made_of is None else made_of
    weights, made_of[WEIGHTS] = read_tensors(folder)
    if (folder / BASE).exists():
        made_of[BASE] = sha256(folder / BASE)
    base = base_beside(folder)
    if base is None:
        return weights
    there = find_base(folder, base)
    others, digest = read_tensors(there)
    if digest != base["sha256"]:
        raise UserError(f"{there} was replaced while it was read; run the same command again")
    try:
        return merged(others, weights, base["scale"])
    except ValueError as error:
        raise UserError(
            f"{folder} does not fit {there}, which it holds adapters for: {error}"
        ) from None


def read_tensors(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a model folder, whose manifest has been checked, and their SHA-256.

    The bytes that are parsed are those that were hashed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    recorded = read_manifest(folder)[WEIGHTS]
    content = read_regular(folder / WEIGHTS, recorded["bytes"])
    if hashlib.sha256(content).hexdigest() != recorded["sha256"]:
        raise UserError(f"{folder} cannot be used: {WEIGHTS} has been altered; {REPLACE}")
    try:
        tensors = load(content)
    except (SafetensorError, KeyError) as error:  # a type of numbers that torch does not have
        raise not_weights(folder, f"it is not safetensors ({error})") from None
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise not_weights(folder, f"{name} has the type {tensor.dtype}")
    return tensors, recorded["sha256"]


def not_weights(folder: Path, reason: str) -> UserError:
    """Return the error of a file that has the recorded hash and yet does not hold weights."""
    return UserError(
        f"{folder} cannot be used: {WEIGHTS} does not hold weights: {printable(reason)}; {REPLACE}"
    )


def find_base(folder: Path, base: Mapping[str, Any]) -> Path:
    """Return the folder of the model that adapters are for, but for whose weights it is checked.

    It may lie anywhere, as its user named it so when the adapters were trained. Nothing is read
    there but a model with the recorded hash; whoever gets adapters from others is told from where.
    """
    path = Path(base["path"])
    there = standing(path)
    if not there.is_dir():
        raise UserError(
            f"{folder} holds adapters for {printable(str(there))}, which is not here; put that "
            "model there again, or run this where it was trained"
        )
    check_model(there, unread=[WEIGHTS])
    if base_beside(there) is not None:
        raise UserError(
            f"{folder} holds adapters for {there}, which holds adapters itself; a base must have "
            "all weights: seq2seq export --to safetensors makes such a model"
        )
    if hash_of(there) != base["sha256"]:
        raise UserError(
            f"{folder} holds adapters for {there}, which has other weights now; put back those "
            f"whose SHA-256 is {base['sha256'][:12]}..., or train the adapters again"
        )
    if path.is_absolute() or ".." in path.parts:
        say(f"{folder} holds adapters; the weights they are added to are read from {there}")
    return there


def base_of(folder: Path, scale: float) -> dict[str, Any]:
    """What a model folder of adapters says of the model that they are for, which is in `folder`.

    `scale` is what their products are multiplied by.
    """
    return {"path": folder.as_posix(), "sha256": hash_of(folder), "scale": scale}


def base_beside(folder: Path) -> dict[str, Any] | None:
    """What `base_of` gave when adapters were saved in this folder; None if it has all weights."""
    file = folder / BASE
    return read_base(file) if file.exists() else None


def read_base(file: Path) -> dict[str, Any]:
    """Return what `base_of` gave, from a file; raise a UserError if it holds anything else."""
    try:
        base = json.loads(read_regular(file, SMALL))
        right = (
            base.keys() == {"path", "sha256", "scale"}
            and isinstance(base["path"], str)
            and bool(base["path"])
            and "\0" not in base["path"]
            and re.fullmatch("[0-9a-f]{64}", base["sha256"]) is not None
            and type(base["scale"]) in (int, float)
            and math.isfinite(base["scale"])
        )
    except (ValueError, TypeError, AttributeError, RecursionError, OSError, OverflowError):
        right = False
    if not right:
        raise UserError(
            f"{file} must have path, sha256 and scale of the model that adapters are for, and "
            "nothing else; copy the folder again from where it came"
        )
    return dict(base)


def hash_of(folder: Path) -> str:
    """The SHA-256 of a model folder's weights, as its manifest has it, which has been checked."""
    return str(read_manifest(folder)[WEIGHTS]["sha256"])


def weights_of(model: Seq2Seq) -> dict[str, Tensor]:
    """The parameters of a model by name; those that are shared, once."""
    return {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model folder's weights, or of its base's; no weights are loaded."""
    from safetensors import SafetensorError, safe_open

    check_model(folder)
    if (base := base_beside(folder)) is not None:
        folder = find_base(folder, base)
        check_model(folder)
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise not_weights(folder, f"it is not safetensors ({error})") from None


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of some tensors or parameters, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_fit(
    config: Config, tokenizers: Tokenizers, shapes: Mapping[str, tuple[int, ...]], origin: Path
) -> None:
    """Raise a UserError unless weights of these shapes are those of a config's model.

    Nothing is allocated: a config that anybody may have written can name any size. Layers are
    counted first, because a thousand of them take seconds to build even so.
    """
    layers = [place for place in map(place_of, shapes) if place]
    for side in ("encoder", "decoder"):
        shared = getattr(config.model, "share_layers", "none") in (side, "all")
        wanted = 1 if shared else getattr(config.model, f"{side}_layers")
        found = len({number for stack, number in layers if stack == side})
        if found != wanted:
            raise UserError(
                f"{origin} does not fit the config beside it: {side} layers: {found:,} in the "
                f"file, {wanted:,} in the config (model.{side}_layers, model.share_layers)"
            )
    model = build_shapes(config, len(tokenizers.source), len(tokenizers.target))
    check_shapes(shapes, shapes_of(dict(model.named_parameters())), origin)


def check_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], origin: Path
) -> None:
    """Raise a UserError that names a parameter whose shape is not the expected one."""
    odd = sorted(name for name, _ in found.items() ^ expected.items())
    if not odd:
        return
    name = odd[0]
    if name not in found:
        reason = f"{name} is missing"
    elif name not in expected:
        reason = f"the model has no {printable(name)}"
    else:
        there, wanted = (" x ".join(map(str, some[name])) for some in (found, expected))
        reason = f"{name} is {there}, not {wanted}"
    raise UserError(f"{origin} does not fit the config beside it: {reason}")


@torch.no_grad()
def set_weights(model: Seq2Seq, weights: Mapping[str, Tensor], origin: Path) -> None:
    """Copies weights into a model, or adapters if it has some: all of `own_parameters`.

    Raises a UserError if they are not the model's.
    """
    parameters = own_parameters(model)
    check_shapes(shapes_of(weights), shapes_of(parameters), origin)
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
