"""What training and decoding ask of any model.

Shapes: B sentences, N hypotheses (a multiple of B, those of one sentence side by side), S source
positions, T target positions, D width of what the output layer sees, V target vocabulary.

Two dictionaries of tensors travel between a model and its callers, who need not know what is
inside: `Encoded`, of which they may select sentences, and `State`, of which they tell each step the
hypotheses that go on. What is known of a source is not copied for each of its hypotheses.

The state before the first token has a row for each sentence. Rows of it may be selected, too: the
hypotheses that begin there share nothing, and may be selected again after each step. Other
hypotheses share what their sentence remembers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seq2seq.data.tokenizer import BOS, PAD
from seq2seq.models.layers import Dropout
from seq2seq.models.products import linear

Encoded = dict[str, Tensor]
State = dict[str, Tensor]

UNSAID = (PAD, BOS)  # read, but never said; <unk> is, where a vocabulary cannot spell in bytes
IMPOSSIBLE = -1e4  # a logit whose probability is zero in every precision; a number, unlike -inf


def sayable(logits: Tensor) -> Tensor:
    """Logits (..., V), in place, that leave no probability to what is never said.

    Else label smoothing would give `<pad>` and `<s>` a share, and `<s>`, which has just been read
    at the first position, could be among the likeliest five there.
    """
    for piece in UNSAID:
        logits[..., piece].fill_(IMPOSSIBLE)  # an assignment would wait for a GPU
    return logits


def select(tensors: dict[str, Tensor], rows: Tensor | None) -> dict[str, Tensor]:
    """The given rows (N,) of every tensor, in the given order; all, if None."""
    if rows is None:
        return tensors
    return {name: tensor.index_select(0, rows) for name, tensor in tensors.items()}


class Moves(NamedTuple):
    """What makes some rows of tensors the first, and how little is moved for that."""

    rows: Tensor  # (n,) where those that remain stood before
    into: Tensor  # (m,) the places of those that stood elsewhere
    origins: Tensor  # (m,) where these stood

    @classmethod
    def to(cls, rows: Tensor) -> "Moves":
        """What makes the given rows (n,) the first."""
        into = (rows != torch.arange(rows.shape[0], device=rows.device)).nonzero().flatten()
        return cls(rows, into, rows[into])

    @classmethod
    def without(cls, left: Tensor) -> "Moves":
        """What closes the ranks of rows of which some have `left` (B,): the last take their places.

        To do it twice to one tensor changes nothing more.
        """
        remain = ~left
        count = int(remain.sum())
        rows = torch.arange(count, device=left.device)
        rows[left[:count]] = remain[count:].nonzero().flatten() + count
        return cls.to(rows)

    def each(self, count: int) -> "Moves":
        """The same of so many rows, side by side, in place of each."""
        own = torch.arange(count, device=self.rows.device)
        return Moves(*((rows[:, None] * count + own).flatten() for rows in self))

    def of(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The rows that remain of tensors, which are used up."""
        for tensor in tensors.values():
            tensor[self.into] = tensor[self.origins]
        return {name: tensor[: self.rows.shape[0]] for name, tensor in tensors.items()}


class Seq2Seq(nn.Module, ABC):
    """An encoder and a decoder. `step` repeated equals `decode` on the whole target.

    Weights are float32; `precision` is what is computed in, if not that. `made_of` has the SHA-256
    of the files that the weights were read from, by name, if they come from a model folder.
    """

    precision: torch.dtype | None = None
    made_of: Mapping[str, str] = MappingProxyType({})

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Hidden states (B, T, D) that predict what follows each position of `target_in` (B, T)."""
        return self.decode(target_in, self.encode(source))

    @property
    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The largest parts, in the order of their use: what is put together at a time (FSDP)."""

    def encode(self, source: Tensor) -> Encoded:
        """All that decoding needs to know of source ids (B, S), padded on the right."""
        return self.remember(self.read(source))

    @abstractmethod
    def read(self, source: Tensor) -> Encoded:
        """What the encoder makes of source ids (B, S): `states` (B, S, E) and what goes with them.

        E is the width of the source embeddings, unless a recurrent model has it otherwise.
        """

    @abstractmethod
    def remember(self, read: Encoded) -> Encoded:
        """All that decoding needs to know of what was read."""

    @abstractmethod
    def decode(self, target_in: Tensor, encoded: Encoded) -> Tensor:
        """Hidden states (B, T, D) with the true prefixes `target_in` (B, T): teacher forcing."""

    @property
    @abstractmethod
    def output_weight(self) -> Tensor:
        """The output projection (V, D), apart from the rest: a loss may take it in parts.

        What it gives are logits once they are `sayable`.
        """

    @property
    @abstractmethod
    def source_weight(self) -> Tensor:
        """The source embeddings (U, E), which tell of the encoder's states what pieces are meant.

        U is the source vocabulary. So no layer is for the encoder's own learning alone, as with
        Conneau and Lample (2019).
        """

    def project(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., D)."""
        return sayable(linear(hidden, self.output_weight.to(hidden.dtype)))

    @abstractmethod
    def start(self, encoded: Encoded) -> State:
        """The state of one hypothesis a sentence, before its first token."""

    @abstractmethod
    def step(
        self, last_tokens: Tensor, state: State, encoded: Encoded, rows: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Logits (N, V) of what follows `last_tokens` (N,), and the state after them.

        The tokens go on from the hypotheses of the state in their order, or from the given rows
        (N,) of them: as many for each sentence of `encoded`, side by side, all of them hypotheses
        of one sentence of the state. Sentences may have left or changed their places.

        In inference mode the state may be used up: what is remembered is written into it.
        """

    @abstractmethod
    def keep_attention(self, keep: bool = True) -> None:
        """From now on, keep the weights of each call (or not); costs nothing when off."""

    @property
    @abstractmethod
    def attention(self) -> Tensor | None:
        """Weights of the decoder's last call, (B or N, layers, heads, T, S), if they were kept."""


class Embeddings(nn.Module):
    """Source, target and output embeddings: one table (share: all), two (target) or three (none).

    Sharing all three is due to Vaswani et al. (2017), target and output to Press and Wolf (2017).
    """

    def __init__(
        self, source_vocab: int, target_vocab: int, dim: int, share: str, word_dropout: float
    ) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.word_dropout = Dropout(word_dropout)
        self.source = table(source_vocab, dim)
        self.target = self.source if share == "all" else table(target_vocab, dim)
        self.output = self.target if share in ("all", "target") else table(target_vocab, dim)

    def of(self, tokens: Tensor, table: nn.Embedding) -> Tensor:
        """The embeddings (..., D) of tokens (...); while training, some tokens have none."""
        x = table(tokens) * self.scale
        if self.training and self.word_dropout.p:
            x = x * self.word_dropout(x.new_ones(*tokens.shape, 1))
        return x


def hiding(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of attention: minus infinity where there is padding, else 0."""
    return torch.zeros_like(padding, dtype=dtype).masked_fill_(padding, float("-inf"))


def table(vocab: int, dim: int) -> nn.Embedding:
    """Rows of unit length on average, padding zero."""
    embedding = nn.Embedding(vocab, dim, padding_idx=PAD)
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    with torch.no_grad():
        embedding.weight[PAD].zero_()
    return embedding
