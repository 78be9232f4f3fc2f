"""Attention, written once for every place that needs it.

Shapes: B sentences, T queries, S keys, H heads, G heads of keys and values, D width of a head; the
model's width is H * D.

What attention looks at (`Memory`) is computed apart from the attending: once per source sentence
for cross-attention, once per new token for self-attention. So cached and uncached decoding are one
path.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.models.layers import Dropout, Linear
from seq2seq.models.positions import Relations, Turn, turned


class Memory(NamedTuple):
    """What queries look at: keys and values, each (B, G, S, D)."""

    keys: Tensor
    values: Tensor


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2).

    Groups of heads may share keys and values (Ainslie et al. 2023).
    """

    def __init__(
        self, dim: int, heads: int, dropout: float = 0.0, kv_heads: int | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.kv_heads = kv_heads or heads
        self.width = dim // heads
        self.weights_dropout = Dropout(dropout)
        self.query = Linear(dim, dim)
        self.memory = Linear(dim, 2 * self.kv_heads * self.width)  # keys and values in one product
        self.output = Linear(dim, dim)
        self.keep_weights = False
        self.weights: Tensor | None = None  # (rows of x, H, T, S) of the last call, if kept
        for part in (self.query.weight, *self.memory.weight.chunk(2), self.output.weight):
            nn.init.xavier_uniform_(part)
        for linear in (self.query, self.memory, self.output):
            nn.init.zeros_(linear.bias)

    def project_memory(self, x: Tensor, turn: Turn | None = None) -> Memory:
        """Keys and values of positions (B, S, H * D); `turn` tells keys where they are."""
        keys, values = (self._split(part) for part in self.memory(x).chunk(2, dim=-1))
        return Memory(keys if turn is None else turned(keys, turn), values)

    def forward(
        self,
        x: Tensor,
        memory: Memory,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        relations: Relations = Relations(),  # noqa: B008 (it cannot change)
    ) -> Tensor:
        """What each query of x (B, T, H * D) finds in the memory of its sentence.

        The first axis of x may be a multiple of B (hypotheses of one sentence side by side, one
        query each): they become queries of one sentence, so its memory is never copied.
        `mask` (B, S), or (B, Q, S) for each of a sentence's queries, is 0 where there is something
        to see, else minus infinity; `causal` hides later positions; `relations` tell where queries
        are, in self-attention.
        """
        sentences = memory.keys.shape[0]
        queries = self._split(self.query(x).view(sentences, -1, x.shape[-1]))  # (B, H, T, D)
        if relations.turn is not None:
            queries = turned(queries, relations.turn)
        seen = None
        if mask is not None:  # the same for all heads
            seen = mask[:, None] if mask.dim() == 3 else mask[:, None, None]
        if relations.bias is not None:
            bias = relations.bias.to(queries.dtype)
            if causal:
                bias, causal = bias + later(bias), False
            seen = bias if seen is None else seen + bias
        dropout = self.weights_dropout.p if self.training else 0.0
        if self.keep_weights or fused_is_slow(queries):
            found, weights = self._attend_openly(queries, memory, seen, causal)
            if self.keep_weights:
                # one row for each row of x again: (B, H, K * T, S) to (B * K, H, T, S)
                by_row = weights.transpose(1, 2).reshape(*x.shape[:2], self.heads, -1)
                self.weights = by_row.transpose(1, 2).detach()
        else:
            found = functional.scaled_dot_product_attention(
                queries,
                *memory,
                attn_mask=seen,
                dropout_p=dropout,
                is_causal=causal,
                enable_gqa=self.kv_heads < self.heads,
            )
        return self.output(found.transpose(1, 2).reshape(x.shape))

    def _attend_openly(
        self, queries: Tensor, memory: Memory, seen: Tensor | None, causal: bool
    ) -> tuple[Tensor, Tensor]:
        grouped = self._grouped(queries)  # (B, G, H / G * T, D)
        scores = grouped @ memory.keys.transpose(2, 3) * self.width**-0.5
        scores = scores.view(*queries.shape[:3], -1)  # (B, H, T, S)
        if seen is not None:
            scores = scores + seen
        if causal:
            scores = scores + later(scores)
        weights = scores.softmax(dim=-1)
        found = self._grouped(self.weights_dropout(weights)) @ memory.values
        return found.view(queries.shape), weights

    def _grouped(self, x: Tensor) -> Tensor:
        """What heads (B, H, T, ...) have, those that share keys and values one after the other."""
        return x.reshape(x.shape[0], self.kv_heads, -1, x.shape[-1])

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, heads * D) to (B, heads, T, D)."""
        return x.view(*x.shape[:2], -1, self.width).transpose(1, 2)


def later(scores: Tensor) -> Tensor:
    """What hides the future of scores (..., T, S): minus infinity behind the diagonal, (T, S)."""
    return scores.new_full(scores.shape[-2:], float("-inf")).triu(1)


FEW = 16  # queries of a sentence


def fused_is_slow(queries: Tensor) -> bool:
    """Whether attention in single steps is faster than PyTorch's fused one.

    On a processor it is in bfloat16, six times for gradients, and for the few queries of a step of
    search: see benchmarks/README.md.
    """
    if queries.device.type != "cpu":
        return False
    few = queries.shape[2] < FEW and not torch.is_grad_enabled()
    return few or queries.dtype != torch.float32
