"""The Transformer: encoder and decoder of attention and feed-forward layers (Vaswani et al. 2017).

Shapes: B sentences, N hypotheses, S source positions, T target positions, D width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seq2seq.config import Transformer as Options
from seq2seq.data.tokenizer import PAD
from seq2seq.models.attention import Memory, MultiHeadAttention
from seq2seq.models.autoregression import AUTOREGRESSIONS, Descent, Past
from seq2seq.models.interface import Embeddings, Encoded, Seq2Seq, State, hiding
from seq2seq.models.layers import NORMS, Dropout, Gate, Linear, Rectifier
from seq2seq.models.positions import BY_DISTANCE, POSITIONS, Positions, Relations


class Residual(nn.Module):
    """x plus what a sub-layer makes of it, with a norm before the sub-layer or after it all."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.norm = NORMS[options.normalization](options.dim)
        self.dropout = Dropout(options.dropout)
        self.pre = options.norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre:
            return self.dropout.add(x, sublayer(self.norm(x)))
        return self.norm(self.dropout.add(x, sublayer(x)))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": Rectifier,
    "gelu": nn.GELU,
    "geglu": lambda: Gate(nn.GELU()),
    "swiglu": lambda: Gate(nn.SiLU()),
}


class FeedForward(nn.Sequential):
    """Two linear maps with an activation between, the same at every position."""

    def __init__(self, options: Options) -> None:
        activation = ACTIVATIONS[options.activation]()
        dim, inner = options.dim, options.ffn_dim
        into = Linear(dim, 2 * inner if isinstance(activation, Gate) else inner)
        super().__init__(into, activation, Dropout(options.activation_dropout), Linear(inner, dim))
        for name, parameter in self.named_parameters():
            (nn.init.zeros_ if name.endswith("bias") else nn.init.xavier_uniform_)(parameter)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(
            options.dim, options.heads, options.attention_dropout, options.kv_heads
        )
        self.feed_forward = FeedForward(options)
        self.attention_residual = Residual(options)
        self.feed_forward_residual = Residual(options)

    def forward(self, x: Tensor, mask: Tensor, relations: Relations) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            memory = self.attention.project_memory(x, relations.turn)
            return self.attention(x, memory, mask=mask, relations=relations)

        return self.feed_forward_residual(self.attention_residual(x, attend), self.feed_forward)


class DecoderLayer(nn.Module):
    """Self-attention over what has been written, attention to the source, and feed-forward."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.self_attention = AUTOREGRESSIONS[options.autoregression](options)
        self.cross_attention = MultiHeadAttention(
            options.dim, options.heads, options.attention_dropout, options.kv_heads
        )
        self.feed_forward = FeedForward(options)
        self.self_residual = Residual(options)
        self.cross_residual = Residual(options)
        self.feed_forward_residual = Residual(options)

    def forward(
        self, x: Tensor, source: Memory, mask: Tensor, past: Past | None, relations: Relations
    ) -> tuple[Tensor, State]:
        """The layer's output, and what it remembers of the target so far.

        With a `past`, x (N, 1, D) is the position that follows it; without, x (B, T, D) is a whole
        target.
        """
        present: State = {}

        def attend_to_target(x: Tensor) -> Tensor:
            nonlocal present
            found, present = self.self_attention.follow(x, past, relations)
            return found

        def attend_to_source(x: Tensor) -> Tensor:
            return self.cross_attention(x, source, mask=mask)

        x = self.self_residual(x, attend_to_target)
        x = self.cross_residual(x, attend_to_source)
        return self.feed_forward_residual(x, self.feed_forward), present


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
        self._kept: list[Tensor] = []  # weights of cross-attention, a tensor a layer, if any
        positions = POSITIONS[options.positions]
        # one more than the longest segment: </s> ends the source, <s> begins the target
        length = max_length + 1
        self.source_positions = positions(dim, options.heads, length, backwards=False)
        if options.autoregression == "ssru" and issubclass(positions, BY_DISTANCE):
            positions = Positions  # what reads from left to right knows where it is
        self.target_positions = positions(dim, options.heads, length, backwards=True)
        self.dropout = Dropout(options.dropout)
        shares = options.share_layers
        self.encoder_layers, self.decoder_layers = options.encoder_layers, options.decoder_layers
        alone = 1 if shares in ("encoder", "all") else self.encoder_layers
        encoder = [EncoderLayer(options) for _ in range(alone)]
        alone = 1 if shares in ("decoder", "all") else self.decoder_layers
        decoder = [DecoderLayer(options) for _ in range(alone)]
        self.encoder = nn.ModuleList(encoder)  # type: ignore[assignment]
        self.decoder = nn.ModuleList(decoder)  # type: ignore[assignment]
        last_norm = NORMS[options.normalization] if options.norm == "pre" else nn.Identity
        self.encoder_norm = last_norm(dim)
        self.decoder_norm = last_norm(dim)

    @property
    def blocks(self) -> list[nn.Module]:
        memories = [layer.cross_attention.memory for layer in self.decoder]  # used by `encode`
        return [*self.encoder, *memories, *self.decoder]

    def read(self, source: Tensor) -> Encoded:
        x = self._embed(source, self.embeddings.source, self.source_positions, start=0)
        mask = hiding(source == PAD, x.dtype)
        relations = self.source_positions.relations(0, source.shape[1])
        for number in range(self.encoder_layers):
            if not self._left_out():
                x = self.encoder[number % len(self.encoder)](x, mask, relations)
        return {"states": self.encoder_norm(x), "mask": mask}

    def remember(self, read: Encoded) -> Encoded:
        encoded = {"mask": read["mask"]}
        for number, decoder_layer in enumerate(self.decoder):
            keys, values = decoder_layer.cross_attention.project_memory(read["states"])
            if not torch.is_grad_enabled():  # each step of a search would copy what is strided
                keys, values = keys.contiguous(), values.contiguous()
            encoded |= {f"{number}.keys": keys, f"{number}.values": values}
        return encoded

    def decode(self, target_in: Tensor, encoded: Encoded) -> Tensor:
        x = self._embed(target_in, self.embeddings.target, self.target_positions, start=0)
        relations = self.target_positions.relations(0, target_in.shape[1])
        self._kept = []
        for number in range(self.decoder_layers):
            if not self._left_out():
                x, _ = self._decoded(number, x, encoded, None, relations)
        return self.decoder_norm(x)

    def _decoded(
        self, number: int, x: Tensor, encoded: Encoded, past: Past | None, relations: Relations
    ) -> tuple[Tensor, State]:
        """What the decoder layer of that number makes of x, and what it remembers."""
        own = number % len(self.decoder)
        layer, source = self.decoder[own], Memory(encoded[f"{own}.keys"], encoded[f"{own}.values"])
        found = layer(x, source, encoded["mask"], past, relations)
        if layer.cross_attention.weights is not None:
            self._kept.append(layer.cross_attention.weights)
        return found

    @property
    def output_weight(self) -> Tensor:
        return self.embeddings.output.weight

    @property
    def source_weight(self) -> Tensor:
        return self.embeddings.source.weight

    def start(self, encoded: Encoded) -> State:
        like = encoded["0.keys"]
        sentences = like.shape[0]
        state: State = {"lineage": like.new_empty(sentences, 1, 0, 1)}
        for number in range(self.decoder_layers):
            nothing = self.decoder[number % len(self.decoder)].self_attention.start(sentences, like)
            state |= named(nothing, number)
        return state

    def step(
        self, last_tokens: Tensor, state: State, encoded: Encoded, rows: Tensor | None = None
    ) -> tuple[Tensor, State]:
        position = state["lineage"].shape[2]
        descent = Descent.of(state["lineage"], rows, sentences=encoded["mask"].shape[0])
        sentences, width, _, places = descent.lineage.shape
        assert last_tokens.shape[0] == sentences * width
        x = self._embed(
            last_tokens[:, None], self.embeddings.target, self.target_positions, start=position
        )
        relations = self.target_positions.relations(position, 1).spread(places)
        self._kept = []
        after: State = {"lineage": descent.lineage}
        for number in range(self.decoder_layers):
            past = Past(remembered(state, number), descent)
            x, present = self._decoded(number, x, encoded, past, relations)
            after |= named(present, number)
        return self.project(self.decoder_norm(x[:, 0])), after

    def keep_attention(self, keep: bool = True) -> None:
        for layer in self.decoder:
            layer.cross_attention.keep_weights = keep
            layer.cross_attention.weights = None
        self._kept = []

    @property
    def attention(self) -> Tensor | None:
        return torch.stack(self._kept, dim=1) if self._kept else None

    def _left_out(self) -> bool:
        """Whether to leave out a layer this time (Fan et al. 2020)."""
        if not self.training or self.layer_dropout == 0:
            return False
        return torch.rand(()).item() < self.layer_dropout

    def _embed(
        self, tokens: Tensor, table: nn.Embedding, positions: Positions, start: int
    ) -> Tensor:
        x = self.embeddings.of(tokens, table) + positions(start, tokens.shape[1])
        return self.dropout(x.to(self.precision or x.dtype))


def named(tensors: State, layer: int) -> State:
    """What a layer remembers, under names that tell layers apart."""
    return {f"{layer}.{name}": tensor for name, tensor in tensors.items()}


def remembered(state: State, layer: int) -> State:
    """What a layer remembers, among what all do."""
    start = f"{layer}."
    return {
        name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)
    }
