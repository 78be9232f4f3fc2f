"""What CTranslate2 needs of a Transformer of ours: its weights by other names, in one folder.

CTranslate2 is told of the same model, not of a similar one. Queries, keys and values are one matrix
there, and what is added to embeddings at a position a table, whichever way ours tells it. The
numbers are float32 always; they are rounded, to int8 for instance, when CTranslate2 reads them.

    model.bin                 the weights, under CTranslate2's names
    config.json               the special tokens, and what layer norms add to variances
    shared_vocabulary.json    the pieces in the order of their ids (or a file a side)
"""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq.data.tokenizer import BOS, EOS, UNK, Tokenizer, Tokenizers
from seq2seq.models.attention import MultiHeadAttention
from seq2seq.models.autoregression import SelfAttention
from seq2seq.models.interface import sayable
from seq2seq.models.layers import Gate, LayerNorm, Rectifier, RMSNorm
from seq2seq.models.positions import FURTHEST, Positions, Relative, Rotary
from seq2seq.models.transformer import FeedForward, Residual, Transformer


def convert(model: Transformer, tokenizers: Tokenizers, longest: int, folder: Path) -> None:
    """Writes the files of a model into a folder that is there.

    `longest` is the number of pieces that a segment may have (data.max_length).
    """
    spec = specification(model, longest + 1)
    source, target = (pieces(tokenizer) for tokenizer in tokenizers)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = (
        target[token] for token in (UNK, BOS, EOS)
    )
    spec.config.decoder_start_token = target[BOS]
    spec.config.add_source_eos = True
    spec.validate()
    spec.optimize()  # what is shared is written once
    spec.save(str(folder))


def pieces(tokenizer: Tokenizer) -> list[str]:
    """The names of all ids, by which CTranslate2 is spoken to; no two are the same."""
    return tokenizer.pieces(range(len(tokenizer)))


def specification(model: Transformer, length: int) -> Any:
    """The weights as CTranslate2 names them, for so many positions, without vocabularies."""
    from ctranslate2 import specs

    first = model.encoder[0]
    norm, (_, activation, *_) = first.attention_residual.norm, first.feed_forward
    shape = {
        "num_heads": first.attention.heads,
        "num_heads_kv": first.attention.kv_heads,
        "pre_norm": first.attention_residual.pre,
        "activation": activation_of(activation),
        "ffn_glu": isinstance(activation, Gate),
        "rms_norm": isinstance(norm, RMSNorm),
        "rotary_dim": 0 if isinstance(model.source_positions, Rotary) else None,  # 0: all of them
        "rotary_interleave": False,
        "relative_attention_bias": isinstance(model.source_positions, Relative),
    }
    spec = specs.TransformerSpec(
        specs.TransformerEncoderSpec(model.encoder_layers, **shape),
        specs.TransformerDecoderSpec(model.decoder_layers, **shape),
    )
    spec.config.layer_norm_epsilon = norm.eps
    embeddings = model.embeddings
    for half, positions in (
        (spec.encoder, model.source_positions),
        (spec.decoder, model.target_positions),
    ):
        set_positions(half, positions, length, embeddings.source.embedding_dim)
    spec.encoder.embeddings[0].weight = array(embeddings.source.weight)
    spec.decoder.embeddings.weight = array(embeddings.target.weight)
    spec.decoder.projection.weight = array(model.output_weight)
    spec.decoder.projection.bias = array(sayable(torch.zeros(len(model.output_weight))))
    for half, norm in ((spec.encoder, model.encoder_norm), (spec.decoder, model.decoder_norm)):
        if not isinstance(norm, nn.Identity):
            set_norm(half.layer_norm, norm)

    # a layer that is shared has the place of each of those that it stands for
    for told, encoder_layer in zip(spec.encoder.layer, cycle(model.encoder), strict=False):
        attention, residual = encoder_layer.attention, encoder_layer.attention_residual
        set_self_attention(told.self_attention, attention, residual)
        set_feed_forward(told.ffn, encoder_layer.feed_forward, encoder_layer.feed_forward_residual)
    for told, layer in zip(spec.decoder.layer, cycle(model.decoder), strict=False):
        assert isinstance(layer.self_attention, SelfAttention)
        set_self_attention(told.self_attention, layer.self_attention, layer.self_residual)
        set_cross_attention(told.attention, layer.cross_attention, layer.cross_residual)
        set_feed_forward(told.ffn, layer.feed_forward, layer.feed_forward_residual)
    return spec


def set_positions(told: Any, positions: Positions, length: int, dim: int) -> None:
    """What tells so many positions apart, in an encoder or a decoder of some width.

    It is a bias of all layers' scores, or a turn, of which there is nothing to tell but that it is
    there, or what is added to embeddings, (length, dim): waves, learned vectors and none at all are
    alike then, and no wave is computed in another way.
    """
    if isinstance(positions, Relative):
        for layer in told.layer:
            layer.self_attention.relative_attention_bias = array(positions.biases)
            layer.self_attention.relative_attention_max_distance = np.int32(FURTHEST)
    elif hasattr(told, "position_encodings"):  # what turns has none in the decoder
        found = positions(0, length)
        table = found if isinstance(found, Tensor) else torch.zeros(length, dim)
        told.position_encodings.encodings = array(table)


def set_self_attention(told: Any, attention: MultiHeadAttention, residual: Residual) -> None:
    """Queries, keys and values are one product."""
    set_norm(told.layer_norm, residual.norm)
    for part in ("weight", "bias"):
        parts = [getattr(linear, part) for linear in (attention.query, attention.memory)]
        setattr(told.linear[0], part, array(torch.cat(parts)))
    set_linear(told.linear[1], attention.output)


def set_cross_attention(told: Any, attention: MultiHeadAttention, residual: Residual) -> None:
    """Queries are a product of the target, keys and values one of the source."""
    set_norm(told.layer_norm, residual.norm)
    for part, linear in zip(
        told.linear, (attention.query, attention.memory, attention.output), strict=True
    ):
        set_linear(part, linear)


def set_feed_forward(told: Any, feed_forward: FeedForward, residual: Residual) -> None:
    """The two maps around the activation; with a gate, the first is two."""
    set_norm(told.layer_norm, residual.norm)
    into, activation, _, out_of = feed_forward
    if isinstance(activation, Gate):
        for part in ("weight", "bias"):
            gate, value = getattr(into, part).chunk(2)
            setattr(told.linear_0, part, array(gate))
            setattr(told.linear_0_noact, part, array(value))
    else:
        set_linear(told.linear_0, into)
    set_linear(told.linear_1, out_of)


def activation_of(module: nn.Module) -> Any:
    """What CTranslate2 calls an activation."""
    from ctranslate2.specs.common_spec import Activation

    inner = module.activation if isinstance(module, Gate) else module
    return {Rectifier: Activation.RELU, nn.GELU: Activation.GELU, nn.SiLU: Activation.SWISH}[
        type(inner)
    ]


def set_linear(told: Any, linear: nn.Module) -> None:
    """A linear map with its bias."""
    told.weight, told.bias = array(linear.weight), array(linear.bias)


def set_norm(told: Any, norm: nn.Module) -> None:
    """A layer norm, or an RMSNorm, which has no bias."""
    told.gamma = array(norm.weight)
    if isinstance(norm, LayerNorm):
        told.beta = array(norm.bias)


def array(tensor: Any) -> np.ndarray:
    """The numbers of a tensor, in float32."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
