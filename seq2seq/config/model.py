"""Options of the model: a Transformer, or a recurrent one."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import model_validator

from seq2seq.config.section import Layers, Section, Share, Width

SHARED_EMBEDDINGS = Literal["all", "target", "none"]


class Transformer(Section):
    """Encoder and decoder with attention alone (Vaswani et al. 2017)."""

    kind: Literal["transformer"] = "transformer"
    """The model: transformer, or lstm."""
    dim: Width = 256
    """Width of the model."""
    ffn_dim: Width = 1024
    """Inner width of the feed-forward layers."""
    heads: Width = 4
    """Attention heads; they share the width evenly."""
    encoder_layers: Layers = 3
    """Number of encoder layers."""
    decoder_layers: Layers = 3
    """Number of decoder layers."""
    norm: Literal["pre", "post"] = "pre"
    """Norm before each sub-layer (steadier), or after it, as first published."""
    normalization: Literal["layer", "rms"] = "layer"
    """Layer norm, or RMSNorm (Zhang and Sennrich 2019)."""
    positions: Literal["relative", "rotary", "alibi", "sinusoidal", "learned", "none"] = "relative"
    """How positions are told apart: by distances (the first three), or by what embeddings get."""
    activation: Literal["relu", "gelu", "geglu", "swiglu"] = "relu"
    """Inside the feed-forward layers; geglu and swiglu are gated, with a third matrix."""
    kv_heads: Width | None = None
    """Heads of keys and values, each for a group of heads (Ainslie et al. 2023); null: as many."""
    autoregression: Literal["self_attention", "ssru"] = "self_attention"
    """What the decoder knows its own words by: attention, or a light and faster recurrence."""
    share_layers: Literal["none", "encoder", "decoder", "all"] = "none"
    """Whether all layers of a side are one and the same (Dehghani et al. 2019)."""
    share_embeddings: SHARED_EMBEDDINGS = "all"
    """Same weights for source, target and output (all), target and output (target), or none."""
    dropout: Share = 0.1
    """Dropout of embeddings and of what each sub-layer adds."""
    attention_dropout: Share = 0.0
    """Dropout of the attention weights."""
    activation_dropout: Share = 0.0
    """Dropout inside the feed-forward layers."""
    word_dropout: Share = 0.0
    """Share of tokens whose embeddings become nothing (Sennrich et al. 2016)."""
    layer_dropout: Share = 0.0
    """Share of layers that are left out of an update (Fan et al. 2020)."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.dim % self.heads:
            yield "heads", f"{self.heads} heads cannot share a width of {self.dim} evenly"
        if self.positions == "sinusoidal" and self.dim % 2:
            yield "dim", f"sinusoidal positions need an even width, not {self.dim}"
        if self.positions == "rotary" and self.dim // self.heads % 2:
            yield (
                "heads",
                f"rotary positions need heads of even width, not {self.dim // self.heads}",
            )
        if self.kv_heads and self.heads % self.kv_heads:
            yield "kv_heads", f"{self.heads} heads cannot share {self.kv_heads} evenly"


class Recurrent(Section):
    """A recurrent encoder and decoder, with attention or without."""

    kind: Literal["lstm"]
    """The model: transformer, or lstm."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """The recurrent cell."""
    dim: Width = 512
    """Width of the decoder's state; a bidirectional encoder has half of it a side."""
    embedding_dim: Width = 256
    """Width of the embeddings, and of what the output layer sees."""
    encoder_layers: Layers = 1
    """Number of encoder layers."""
    decoder_layers: Layers = 1
    """Number of decoder layers."""
    bidirectional: bool = True
    """Whether the encoder reads from both ends."""
    attention: Literal["additive", "dot", "general", "scaled_dot", "none"] = "additive"
    """Additive (Bahdanau et al. 2015), dot or general (Luong et al. 2015), scaled_dot, or none."""
    input_feeding: bool = True
    """Whether the decoder reads its last attentional vector (Luong et al. 2015)."""
    share_embeddings: SHARED_EMBEDDINGS = "all"
    """Same weights for source, target and output (all), target and output (target), or none."""
    dropout: Share = 0.2
    """Dropout of embeddings, between layers, and before the output layer."""
    word_dropout: Share = 0.0
    """Share of tokens whose embeddings become nothing (Sennrich et al. 2016)."""

    @model_validator(mode="before")
    @classmethod
    def _without_attention_nothing_to_feed(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("attention") == "none":
            return {"input_feeding": False, **values}
        return values

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.bidirectional and self.dim % 2:
            yield "dim", f"a bidirectional encoder has half of dim a side; {self.dim} is odd"
        if self.attention == "none" and self.input_feeding:
            yield "input_feeding", "there is nothing to feed without attention; set it to false"


def why_not_ctranslate2(model: Transformer | Recurrent) -> str | None:
    """Why CTranslate2 cannot serve a model of such options, in words; None if it can."""
    if model.kind != "transformer":
        return f"it has no model of kind {model.kind}"
    if model.positions == "alibi":  # it has them in decoders, and none that look both ways
        return f"positions that are {model.positions} are for our own search"
    if model.autoregression != "self_attention":
        return f"a decoder with {model.autoregression} is for our own search"
    return None
