"""The Transformer: encoder and decoder of attention and feed-forward layers (Vaswani et al. 2017).

Shapes: B sentences, N hypotheses, S source positions, T target positions, D width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seq2seq.config import Transformer as Options
from seq2seq.data.tokenizer import PAD
from seq2seq.models.attention import Memory, MultiHeadAttention
from seq2seq.models.interface import Embeddings, Encoded, Seq2Seq, State, hiding
from seq2seq.models.layers import Dropout, LayerNorm, Linear
from seq2seq.models.positions import POSITIONS


class Residual(nn.Module):
    """x plus what a sub-layer makes of it, with layer norm before the sub-layer or after it all."""

    def __init__(self, dim: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.pre = norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre:
            return self.dropout.add(x, sublayer(self.norm(x)))
        return self.norm(self.dropout.add(x, sublayer(x)))


class FeedForward(nn.Sequential):
    """Two linear maps with a rectifier between, the same at every position."""

    def __init__(self, dim: int, inner: int, dropout: float) -> None:
        super().__init__(Linear(dim, inner), nn.ReLU(), Dropout(dropout), Linear(inner, dim))
        for name, parameter in self.named_parameters():
            (nn.init.zeros_ if name.endswith("bias") else nn.init.xavier_uniform_)(parameter)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        dim, norm = options.dim, options.norm
        self.attention = MultiHeadAttention(dim, options.heads, options.attention_dropout)
        self.feed_forward = FeedForward(dim, options.ffn_dim, options.activation_dropout)
        self.attention_residual = Residual(dim, options.dropout, norm)
        self.feed_forward_residual = Residual(dim, options.dropout, norm)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.attention(x, self.attention.project_memory(x), mask=mask)

        return self.feed_forward_residual(self.attention_residual(x, attend), self.feed_forward)


class DecoderLayer(nn.Module):
    """Self-attention over what has been written, attention to the source, and feed-forward."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        dim, norm = options.dim, options.norm
        self.self_attention = MultiHeadAttention(dim, options.heads, options.attention_dropout)
        self.cross_attention = MultiHeadAttention(dim, options.heads, options.attention_dropout)
        self.feed_forward = FeedForward(dim, options.ffn_dim, options.activation_dropout)
        self.self_residual = Residual(dim, options.dropout, norm)
        self.cross_residual = Residual(dim, options.dropout, norm)
        self.feed_forward_residual = Residual(dim, options.dropout, norm)

    def forward(
        self, x: Tensor, source: Memory, mask: Tensor, past: Memory | None
    ) -> tuple[Tensor, Memory]:
        """The layer's output, and its memory of the target so far.

        With a `past`, x (N, 1, D) is the position that follows it; without, x (B, T, D) is a whole
        target.
        """
        present = None

        def attend_to_target(x: Tensor) -> Tensor:
            nonlocal present
            own = self.self_attention.project_memory(x)
            present = own if past is None else past.followed_by(own)
            return self.self_attention(x, present, causal=past is None)

        def attend_to_source(x: Tensor) -> Tensor:
            return self.cross_attention(x, source, mask=mask)

        x = self.self_residual(x, attend_to_target)
        x = self.cross_residual(x, attend_to_source)
        x = self.feed_forward_residual(x, self.feed_forward)
        assert present is not None
        return x, present


class Transformer(Seq2Seq):
    """A Transformer of the options of a config."""

    encoder: Sequence[EncoderLayer]
    decoder: Sequence[DecoderLayer]

    def __init__(
        self, options: Options, source_vocab: int, target_vocab: int, max_length: int
    ) -> None:
        super().__init__()
        dim = options.dim
        self.embeddings = Embeddings(
            source_vocab, target_vocab, dim, options.share_embeddings, options.word_dropout
        )
        self.layer_dropout = options.layer_dropout
        positions = POSITIONS[options.positions]
        # one more than the longest segment: </s> ends the source, <s> begins the target
        self.source_positions = positions(dim, max_length + 1)
        self.target_positions = positions(dim, max_length + 1)
        self.dropout = Dropout(options.dropout)
        encoder = [EncoderLayer(options) for _ in range(options.encoder_layers)]
        decoder = [DecoderLayer(options) for _ in range(options.decoder_layers)]
        self.encoder = nn.ModuleList(encoder)  # type: ignore[assignment]
        self.decoder = nn.ModuleList(decoder)  # type: ignore[assignment]
        last_norm = LayerNorm if options.norm == "pre" else nn.Identity
        self.encoder_norm = last_norm(dim)
        self.decoder_norm = last_norm(dim)

    @property
    def blocks(self) -> list[nn.Module]:
        memories = [layer.cross_attention.memory for layer in self.decoder]  # used by `encode`
        return [*self.encoder, *memories, *self.decoder]

    def encode(self, source: Tensor) -> Encoded:
        x = self._embed(source, self.embeddings.source, self.source_positions, start=0)
        mask = hiding(source == PAD, x.dtype)
        for encoder_layer in self.encoder:
            if not self._left_out():
                x = encoder_layer(x, mask)
        x = self.encoder_norm(x)
        encoded = {"mask": mask}
        for number, decoder_layer in enumerate(self.decoder):
            keys, values = decoder_layer.cross_attention.project_memory(x)
            encoded |= {f"{number}.keys": keys, f"{number}.values": values}
        return encoded

    def decode(self, target_in: Tensor, encoded: Encoded) -> Tensor:
        x = self._embed(target_in, self.embeddings.target, self.target_positions, start=0)
        for number, layer in enumerate(self.decoder):
            if not self._left_out():
                x, _ = layer(x, memory_of(encoded, number), encoded["mask"], past=None)
        return self.decoder_norm(x)

    @property
    def output_weight(self) -> Tensor:
        return self.embeddings.output.weight

    def start(self, encoded: Encoded) -> State:
        nothing = encoded["0.keys"][:, :, :0]  # (B, H, 0, D)
        return {
            f"{number}.{part}": nothing
            for number in range(len(self.decoder))
            for part in ("keys", "values")
        }

    def step(self, last_tokens: Tensor, state: State, encoded: Encoded) -> tuple[Tensor, State]:
        position = state["0.keys"].shape[2]
        x = self._embed(
            last_tokens[:, None], self.embeddings.target, self.target_positions, start=position
        )
        after: State = {}
        for number, layer in enumerate(self.decoder):
            x, present = layer(
                x, memory_of(encoded, number), encoded["mask"], past=memory_of(state, number)
            )
            after |= {f"{number}.keys": present.keys, f"{number}.values": present.values}
        return self.project(self.decoder_norm(x[:, 0])), after

    def keep_attention(self, keep: bool = True) -> None:
        for layer in self.decoder:
            layer.cross_attention.keep_weights = keep
            layer.cross_attention.weights = None

    @property
    def attention(self) -> Tensor | None:
        kept = [layer.cross_attention.weights for layer in self.decoder]
        there = [weights for weights in kept if weights is not None]
        return torch.stack(there, dim=1) if there else None

    def _left_out(self) -> bool:
        """Whether to leave out a layer this time (Fan et al. 2020)."""
        if not self.training or self.layer_dropout == 0:
            return False
        return torch.rand(()).item() < self.layer_dropout

    def _embed(
        self, tokens: Tensor, table: nn.Embedding, positions: nn.Module, start: int
    ) -> Tensor:
        x = self.embeddings.of(tokens, table) + positions(start, tokens.shape[1])
        return self.dropout(x.to(self.precision or x.dtype))


def memory_of(tensors: dict[str, Tensor], layer: int) -> Memory:
    """The keys and values of a layer among the tensors of all."""
    return Memory(tensors[f"{layer}.keys"], tensors[f"{layer}.values"])
