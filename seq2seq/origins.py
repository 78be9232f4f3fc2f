"""Where a training starts, if not from nothing: another model's weights and pieces; what it leaves.

`training.init_from` names a model or a run. Its tokenizers come along, and the options of its model
that the config leaves open. What fits of its weights is taken; `training.freeze` names those that
do not learn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seq2seq.config import Config
from seq2seq.config.changing import changed
from seq2seq.config.tuning import Origin
from seq2seq.console import say
from seq2seq.data.extension import before
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.distributed import leads
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import standing
from seq2seq.layout import BEST, CHECKPOINTS, WEIGHTS
from seq2seq.models import Seq2Seq
from seq2seq.models.adapters import adapt, own_parameters, scale_of
from seq2seq.models.folder import (
    base_beside,
    base_of,
    check_fit,
    hash_of,
    read_weights,
    stored_shapes,
)
from seq2seq.models.parts import named_by, parts_named
from seq2seq.runs import Opened, open_model

# options that no shape of a weight tells, and that an encoder and a decoder have in common
COMMON = ("positions", "norm", "normalization", "activation", "heads", "cell")
SHOWN = 4  # names of weights that are listed


class Origins(NamedTuple):
    """The models that a training starts from; one and the same if a config names one."""

    encoder: Opened
    decoder: Opened

    @property
    def are_two(self) -> bool:
        """Whether encoder and decoder come from different models."""
        return self.encoder is not self.decoder

    def __str__(self) -> str:
        if not self.are_two:
            return str(self.decoder.folder)
        return f"{self.encoder.folder} (encoder) and {self.decoder.folder} (decoder)"


def origins_of(config: Config) -> Origins | None:
    """The models that a training starts from, if the config names any.

    Raises a ConfigError if they are two that cannot be put together.
    """
    named = config.training.init_from
    if named is None:
        return None
    try:
        decoder = open_model(Path(named.decoder))
        if named.encoder == named.decoder:
            return Origins(decoder, decoder)
        encoder = open_model(Path(named.encoder))
    except UserError as error:
        raise ConfigError(f"training.init_from: {error}") from None
    both = f"{encoder.folder} and {decoder.folder} (training.init_from)"
    if encoder.tokenizers.fingerprint != decoder.tokenizers.fingerprint:
        raise ConfigError(
            f"{both} have different tokenizers, whose pieces have other numbers; train one of the "
            "two with training.init_from of the other, so that its tokenizer comes along"
        )
    kinds = encoder.config.model.kind, decoder.config.model.kind
    if kinds[0] != kinds[1]:
        raise ConfigError(f"{both} are of different kinds: {kinds[0]} and {kinds[1]}")
    models = [dict(opened.config.model) for opened in (encoder, decoder)]
    for name in COMMON:
        one, other = (model.get(name) for model in models)
        if one != other:
            raise ConfigError(
                f"{both} have different model.{name}, {one} and {other}, of which a model has one"
            )
    return Origins(encoder, decoder)


def gone(config: Config) -> list[str]:
    """Return the folders of the models that training starts from which are not here any more."""
    named = config.training.init_from
    paths = dict.fromkeys([named.encoder, named.decoder]) if named else ()
    return [path for path in paths if not Path(path).is_dir()]


def with_stand_in(config: Config, run: Path) -> Config:
    """Return the config with a run's best model in place of one that it started from and is gone.

    The tokenizers and options of the two are the same, and the checkpoints hold all weights but
    those that adapters are for. The pieces that extend_vocab added are there, too.
    """
    has_all = config.training.lora is None and any((run / CHECKPOINTS).glob("step-*"))
    best = standing(run / BEST)
    if not (has_all and best.is_dir() and gone(config)):
        return config
    own = Origin(encoder=str(best), decoder=str(best))
    return changed(config, "training", {"init_from": own, "extend_vocab": False})


def origin_hashes(config: Config) -> dict[str, str] | None:
    """Return the SHA-256 of the weights of both models that a training starts from, if any."""
    origins = origins_of(config)
    return origins and {side: hash_of(one.folder) for side, one in origins._asdict().items()}


def origin_of(config: Config) -> Opened | None:
    """The model that a training starts from, if the config names one; of two, the decoder's."""
    origins = origins_of(config)
    return origins and origins.decoder


def completed(config: Config) -> Config:
    """The config, with what it leaves open as the model has it that training starts from.

    Raises a ConfigError if it asks for a tokenizer that this model does not have.
    """
    origins = origins_of(config)
    if origins is None:
        return config
    origin = origins.decoder
    if config.training.lora and base_beside(origin.folder) is not None:
        raise ConfigError(
            f"training.lora: {origin.folder} (training.init_from) holds adapters itself; make a "
            "model of all weights of it (seq2seq export --to safetensors), and start from that"
        )
    for one in origins[not origins.are_two :]:  # before a model of their size is built
        check_fit(one.config, one.tokenizers, stored_shapes(one.folder), one.folder / WEIGHTS)
    there = dict(origin.config.tokenizer)
    for name in sorted(config.tokenizer.model_fields_set):
        if (asked := getattr(config.tokenizer, name)) != there[name]:
            raise ConfigError(
                f"tokenizer.{name}: must be {there[name]}, as of {origin.folder}, from which "
                f"training starts (training.init_from), not {asked}: its weights are those of its "
                "pieces; leave tokenizer out (training.extend_vocab adds pieces)"
            )
    config = changed(config, "tokenizer", there)
    if config.model.kind != origin.config.model.kind:
        return config
    own = {name: getattr(config.model, name) for name in config.model.model_fields_set}
    there = dict(origin.config.model)
    if origins.are_two:
        there["encoder_layers"] = origins.encoder.config.model.encoder_layers
        tied = there["share_embeddings"] != "none"
        there["share_embeddings"] = "target" if tied else "none"  # two tables are not one
    return changed(config, "model", {**there, **own})


@torch.no_grad()
def take_weights(model: Seq2Seq, config: Config, tokenizers: Tokenizers) -> None:
    """Copies what fits of the weights that training starts from, and says what did not.

    `tokenizers` are those of the model, and may have more pieces than there were.

    Raises a UserError if nothing fits.
    """
    origins = origins_of(config)
    if origins is None:
        return
    if config.training.lora:  # all weights are there: see `take_base`
        count = sum(adapter.numel() for adapter in own_parameters(model).values())
        if leads():
            say(f"adapters of {count:,} parameters learn, {origins} stays as it is")
        return
    weights = with_rows(weights_of(origins), origins.decoder.tokenizers, tokenizers)
    parameters = dict(model.named_parameters())
    taken = {
        name
        for name, parameter in parameters.items()
        if name in weights and weights[name].shape == parameter.shape
    }
    if not taken:
        raise UserError(
            f"no weight of {origins} (training.init_from) fits the model; leave out the "
            "options of model, so that they are those it has"
        )
    for name in taken:
        parameters[name].copy_(weights[name])
    told = f"{len(taken):,} of {len(parameters):,} weights are those of {origins}"
    if new := [name for name in parameters if name not in taken]:
        told += f"; new: {listed(new)}"
    if left := [name for name in weights if name not in taken]:
        told += f"; left there: {listed(left)}"
    if leads():
        say(told)


def weights_of(origins: Origins) -> dict[str, Tensor]:
    """The weights that training starts from: all of a model, or the two parts of two.

    With the encoder go its positions and source embeddings. Embeddings that source and target share
    in the decoder's model are those of the target then.
    """
    weights = read_weights(origins.decoder.folder)
    if not origins.are_two:
        return weights
    source, target = "embeddings.source.weight", "embeddings.target.weight"
    weights[target] = weights.get(target, weights[source])
    encoder = read_weights(origins.encoder.folder)
    return {
        **{name: weight for name, weight in weights.items() if not of_encoder(name)},
        **{name: weight for name, weight in encoder.items() if of_encoder(name)},
    }


def of_encoder(name: str) -> bool:
    """Whether a weight belongs to the encoder."""
    return name.startswith(("encoder.", "encoder_norm.", "source_positions.", "embeddings.source."))


def with_rows(weights: dict[str, Tensor], old: Tokenizers, new: Tokenizers) -> dict[str, Tensor]:
    """Weights with rows for the pieces that were added to the tokenizers.

    An embedding begins as the mean of those of the pieces that its text was before.
    """
    found = dict(weights)
    for side in ("source", "target", "output"):
        name = f"embeddings.{side}.weight"
        if name in weights:
            one, other = (old.source, new.source) if side == "source" else (old.target, new.target)
            rows = [weights[name][ids].mean(dim=0) for ids in before(one, other)]
            found[name] = torch.cat([weights[name], *(row[None] for row in rows)])
    return found


@torch.no_grad()
def take_base(model: Seq2Seq, config: Config) -> None:
    """If adapters are to learn, gives a model all weights that training starts from, and them.

    Raises a ConfigError if the model is another.
    """
    options = config.training.lora  # first: without adapters, the model may be gone
    origin = origin_of(config) if options else None
    if origin is None or options is None:
        return
    weights, parameters = read_weights(origin.folder), dict(model.named_parameters())
    shapes = [
        {name: tuple(weight.shape) for name, weight in some.items()}
        for some in (weights, parameters)
    ]
    if odd := sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()}):
        raise ConfigError(
            f"training.lora: the model must be that of {origin.folder}, but {odd[0]} differs; "
            "leave out the options of model, so that they are those it has"
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
    adapt(model, options)


def base_named(config: Config) -> dict[str, Any] | None:
    """What adapters are to say of the model that they are for; None without adapters."""
    options = config.training.lora
    origin = origin_of(config) if options else None
    if origin is None or options is None:
        return None
    return base_of(origin.folder, scale_of(options))


def freeze(model: Seq2Seq, patterns: Sequence[str]) -> None:
    """Keeps from learning the parameters that patterns name; the last that fits one decides.

    A pattern is a name, or the beginning of one up to a dot, and may have wildcards; with ! in
    front, what it names learns after all. Raises a ConfigError for one that names nothing, or if
    nothing is left to learn.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        found = [name for name in parameters if named_by(bare, name)]
        if not found:
            raise ConfigError(
                f"training.freeze: {pattern} names no part of the model, which has "
                f"{parts_named(model)}"
            )
        for name in found:
            parameters[name].requires_grad = pattern.startswith("!")
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError("training.freeze: leaves nothing to learn; name less")


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
