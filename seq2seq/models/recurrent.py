"""Recurrent encoder and decoder: LSTM, GRU or plain RNN, with attention or without.

The decoder follows Luong et al. (2015): its state attends to the source, and state and context
together make an attentional vector, which the output layer sees and, with input feeding, the next
step too. The additive score is that of Bahdanau et al. (2015). With `attention: none` the decoder
gets only the encoder's last states (Sutskever et al. 2014).

Shapes: B sentences, N hypotheses, S source positions, T target positions, L decoder layers,
D width of a state, E width of embeddings and of attentional vectors.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from seq2seq.config import Recurrent as Options
from seq2seq.data.tokenizer import PAD
from seq2seq.models.interface import Embeddings, Encoded, Seq2Seq, State, hiding, select
from seq2seq.models.layers import CELLS, Dropout, Linear, recur, recur_as_operators


class Recurrent(Seq2Seq):
    """A recurrent model of the options of a config."""

    def __init__(
        self, options: Options, source_vocab: int, target_vocab: int, max_length: int
    ) -> None:
        super().__init__()
        dim, width = options.dim, options.embedding_dim
        cell = CELLS[options.cell]
        self.input_feeding = options.input_feeding
        self.layers = options.decoder_layers
        self.parts = ("hidden", "cell") if options.cell == "lstm" else ("hidden",)
        self.embeddings = Embeddings(
            source_vocab, target_vocab, width, options.share_embeddings, options.word_dropout
        )
        self.dropout = Dropout(options.dropout)
        self.encoder = cell(
            width,
            dim // 2 if options.bidirectional else dim,
            options.encoder_layers,
            bidirectional=options.bidirectional,
            dropout=options.dropout if options.encoder_layers > 1 else 0.0,
            batch_first=True,
        )
        # the encoder's last state, as every layer of the decoder wants it
        self.bridge = nn.ModuleDict({part: Linear(dim, dim * self.layers) for part in self.parts})
        self.decoder = cell(
            2 * width if options.input_feeding else width,
            dim,
            options.decoder_layers,
            dropout=options.dropout if options.decoder_layers > 1 else 0.0,
            batch_first=True,
        )
        self.attend = None if options.attention == "none" else ATTENTIONS[options.attention](dim)
        self.readout = Linear(dim if self.attend is None else 2 * dim, width)
        self.apply(initialise)

    @property
    def blocks(self) -> list[nn.Module]:
        return []  # its networks are called by their weights, so that they stay together

    def read(self, source: Tensor) -> Encoded:
        padding = source == PAD
        states, *last = self._read(self._embed(source, self.embeddings.source), padding)
        directions = 2 if self.encoder.bidirectional else 1
        ends = {
            part: torch.cat(list(state[-directions:]), 1)  # (B, D)
            for part, state in zip(self.parts, last, strict=True)
        }
        return {"states": states, "mask": hiding(padding, states.dtype), **ends}

    def remember(self, read: Encoded) -> Encoded:
        encoded = {"mask": read["mask"]}
        for part in self.parts:
            first = self.bridge[part](read[part]).view(-1, self.layers, self.decoder.hidden_size)
            encoded[part] = first.tanh() if part == "hidden" else first  # (B, L, D)
        if self.attend is not None:
            values = self.dropout(read["states"])
            encoded |= {"keys": self.attend.project_keys(values), "values": values}
        return encoded

    def decode(self, target_in: Tensor, encoded: Encoded) -> Tensor:
        x = self._embed(target_in, self.embeddings.target)
        state = self.start(encoded)
        if not self.input_feeding:
            return self.dropout(self._advance(x, state, encoded)[0])
        steps, weights = [], []
        for one in x.split(1, dim=1):
            hidden, state = self._advance(one, state, encoded)
            steps.append(hidden)
            if self.attend is not None and self.attend.weights is not None:
                weights.append(self.attend.weights)
        if self.attend is not None and weights:
            self.attend.weights = torch.cat(weights, dim=1)  # the call is the whole, not its end
        return self.dropout(torch.cat(steps, dim=1))

    @property
    def output_weight(self) -> Tensor:
        return self.embeddings.output.weight

    @property
    def source_weight(self) -> Tensor:
        return self.embeddings.source.weight

    def start(self, encoded: Encoded) -> State:
        state = {part: encoded[part] for part in self.parts}
        if self.input_feeding:
            state["fed"] = encoded["hidden"].new_zeros(
                encoded["mask"].shape[0], self.readout.out_features
            )
        return state

    def step(
        self, last_tokens: Tensor, state: State, encoded: Encoded, rows: Tensor | None = None
    ) -> tuple[Tensor, State]:
        x = self._embed(last_tokens[:, None], self.embeddings.target)
        hidden, state = self._advance(x, select(state, rows), encoded)
        return self.project(self.dropout(hidden[:, 0])), state

    def keep_attention(self, keep: bool = True) -> None:
        if self.attend is not None:
            self.attend.keep_weights = keep
            self.attend.weights = None

    @property
    def attention(self) -> Tensor | None:
        if self.attend is None or self.attend.weights is None:
            return None
        return self.attend.weights[:, None, None]  # one layer, one head

    def _read(self, x: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """What the encoder says at each position of x (B, S, E), and its last states."""
        lengths = (~padding).sum(dim=1)
        if torch.onnx.is_in_onnx_export():  # a graph cannot hold how many sentences are how long
            return recur_as_operators(self.encoder, x, lengths)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        directions = 2 if self.encoder.bidirectional else 1
        nothing = x.new_zeros(
            directions * self.encoder.num_layers, len(x), self.encoder.hidden_size
        )
        outputs, *last = recur(self.encoder, packed, (nothing,) * len(self.parts))
        values, _ = pad_packed_sequence(
            PackedSequence(outputs, *packed[1:]), batch_first=True, total_length=x.shape[1]
        )
        return values, *(state[:, packed.unsorted_indices] for state in last)

    def _advance(self, x: Tensor, state: State, encoded: Encoded) -> tuple[Tensor, State]:
        """Attentional vectors (N, T, E) of embedded tokens x (N, T, E), and the state after them.

        With input feeding, T must be 1: each position needs the vector of the one before.
        """
        if self.input_feeding:
            x = torch.cat([x, state["fed"][:, None]], dim=2)
        before = tuple(state[part].transpose(0, 1).contiguous() for part in self.parts)
        hidden, *last = recur(self.decoder, x, before)
        after = {part: t.transpose(0, 1) for part, t in zip(self.parts, last, strict=True)}
        seen = hidden
        if self.attend is not None:
            context = self.attend(hidden, encoded["keys"], encoded["values"], encoded["mask"])
            seen = torch.cat([hidden, context], dim=2)
        vector = self.readout(seen).tanh()
        if self.input_feeding:
            after["fed"] = vector[:, -1]
        return vector, after

    def _embed(self, tokens: Tensor, table: nn.Embedding) -> Tensor:
        x = self.embeddings.of(tokens, table)
        return self.dropout(x.to(self.precision or x.dtype))


class Attention(nn.Module):
    """One head of attention whose score a subclass defines. Keys (B, S, D) come once a sentence."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = 1.0
        self.keep_weights = False
        self.weights: Tensor | None = None  # (rows of the queries, T, S) of the last call, if kept

    def project_keys(self, values: Tensor) -> Tensor:
        """What the score compares queries with, of encoder outputs (B, S, D)."""
        return values

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """How well each query (B, T, D) fits each key (B, S, D): (B, T, S)."""
        return queries @ keys.transpose(1, 2) * self.scale

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """The context of each state (N, T, D); hypotheses of one sentence are its queries."""
        queries = hidden.reshape(keys.shape[0], -1, hidden.shape[2])
        weights = (self.score(queries, keys) + mask[:, None]).softmax(dim=2)
        if self.keep_weights:
            self.weights = weights.detach().view(*hidden.shape[:2], -1)
        return (weights @ values).view(hidden.shape)


class Dot(Attention):
    """Dot product of query and key (Luong et al. 2015)."""


class ScaledDot(Attention):
    """Dot product over the root of the width (Vaswani et al. 2017)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.scale = dim**-0.5


class General(Attention):
    """Dot product of query and a linear map of the key (Luong et al. 2015)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.key = Linear(dim, dim, bias=False)

    def project_keys(self, values: Tensor) -> Tensor:
        return self.key(values)


class Additive(Attention):
    """A small network over query and key (Bahdanau et al. 2015)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.key = Linear(dim, dim, bias=False)
        self.query = Linear(dim, dim)
        self.energy = Linear(dim, 1, bias=False)

    def project_keys(self, values: Tensor) -> Tensor:
        return self.key(values)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        together = self.query(queries)[:, :, None] + keys[:, None]  # (B, T, S, D)
        return self.energy(together.tanh()).squeeze(3)


ATTENTIONS = {"additive": Additive, "dot": Dot, "general": General, "scaled_dot": ScaledDot}


def initialise(module: nn.Module) -> None:
    """Matrices that keep variance (Xavier) or length (orthogonal, recurrent); LSTMs remember."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.RNNBase):
        gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
        for name, parameter in module.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
                if gates == 4 and "bias_ih" in name:  # the forget gate starts open
                    nn.init.ones_(parameter.data.chunk(gates)[1])
                continue
            for gate in parameter.data.chunk(gates):
                (nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_)(gate)
