"""How a decoder remembers what it has written: by attention to all of it, or in a vector.

The hypotheses of a sentence write into one memory, each into a place of its own at each step. One
that goes on in several ways is not copied for them: what of all that was written is whose is told
by their lineage.

Shapes: B sentences that share nothing, W hypotheses of each, N = B * W of them all (those of a
sentence side by side), T steps, K places for what is written at a step, G heads of keys and values,
D width (of the model, or of a head in memory).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seq2seq.config import Transformer as Options
from seq2seq.models.attention import Memory, MultiHeadAttention
from seq2seq.models.interface import Moves, State, hiding, select
from seq2seq.models.layers import Linear
from seq2seq.models.positions import Relations

ROOM = 16  # steps that memory has room for at first


class Descent(NamedTuple):
    """From what hypotheses descend, with the step that they are about to write."""

    lineage: Tensor  # (B, W, T, K) 0 for what a hypothesis or its ancestors wrote, else -inf
    rows: Tensor | None  # (N,) those before that these go on from: all in their order, if None
    moves: Moves | None  # of sentences, if some have left or changed their places

    @classmethod
    def of(cls, before: Tensor, rows: Tensor | None, sentences: int) -> "Descent":
        """That of hypotheses of so many sentences, which go on from rows of a lineage before."""
        moves = None
        if rows is not None:
            moves = Moves.to(rows.view(sentences, -1)[:, 0] // before.shape[1])
            if sentences == before.shape[0] and not len(moves.into):
                moves = None
            before = before.flatten(0, 1).index_select(0, rows).unflatten(0, (sentences, -1))
        width = before.shape[1]
        if (more := width - before.shape[3]) > 0:
            before = functional.pad(before, (0, more), value=float("-inf"))
        others = torch.eye(width, before.shape[3], device=before.device) == 0
        own = hiding(others, before.dtype)[:, None].expand(before.shape[0], -1, -1, -1)
        return cls(torch.cat([before, own], dim=2), rows, moves)

    @property
    def mask(self) -> Tensor | None:
        """What each hypothesis sees of all that was written (B, W, T * K): all of it, if None."""
        return None if self.lineage.shape[3] == 1 else self.lineage.flatten(2)


class Past(NamedTuple):
    """What a layer remembers, and how hypotheses descend from it."""

    state: State
    descent: Descent


class SelfAttention(MultiHeadAttention):
    """Attention of a decoder to what it has written."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.dim, options.heads, options.attention_dropout, options.kv_heads)

    def start(self, sentences: int, like: Tensor) -> State:
        """What is remembered before the first token: nothing."""
        nothing = like.new_empty(sentences, self.kv_heads, 0, 1, self.width)
        return {"keys": nothing, "values": nothing}

    def follow(self, x: Tensor, past: Past | None, relations: Relations) -> tuple[Tensor, State]:
        """What is found, and what is to be remembered; see `DecoderLayer.forward`."""
        memory = self.project_memory(x, relations.turn)
        if past is None:
            return self(x, memory, causal=True, relations=relations), {}
        state, steps = {}, past.descent.lineage.shape[2]
        for name, written in memory._asdict().items():
            state[name] = extended(past.state[name], written, past.descent)
        memory = Memory(*(part[:, :, :steps].flatten(2, 3) for part in state.values()))
        return self(x, memory, mask=past.descent.mask, relations=relations), state


def extended(before: Tensor, written: Tensor, descent: Descent) -> Tensor:
    """Memory (B, G, T or more, K, D) with what hypotheses have just written (N, G, 1, D).

    In inference mode `before` is used up: what is written goes into the room that it has, and it is
    copied only when that is full.
    """
    sentences, width, steps, places = descent.lineage.shape
    written = written[:, :, 0].unflatten(0, (sentences, width)).transpose(1, 2)  # (B, G, W, D)
    past, moves = before[:, :, : steps - 1], descent.moves
    if not torch.is_inference_mode_enabled():  # of which gradients or a graph are made
        if moves:
            past = past.index_select(0, moves.rows)
        past = functional.pad(past, (0, 0, 0, places - past.shape[3]))
        written = functional.pad(written, (0, 0, 0, places - width))
        return torch.cat([past, written[:, :, None]], dim=2)
    if moves:
        past, before = moves.of({"": past})[""], before[:sentences]
    room, there = before.shape[2:4]
    if room < steps or there < places:
        if room < steps:
            room = max(ROOM, 2 * room)
        before = before.new_empty(sentences, before.shape[1], room, places, before.shape[4])
        before[:, :, : steps - 1, :there] = past
        before[:, :, : steps - 1, there:] = 0  # hidden, but it must be numbers
    before[:, :, steps - 1, :width] = written
    before[:, :, steps - 1, width:] = 0
    return before


class SSRU(nn.Module):
    """The simpler simple recurrent unit in place of self-attention (Kim et al. 2019, section 3.1).

    What is remembered is a vector, however much has been written: c' = f * c + (1 - f) * Wx with
    f = sigmoid(Ux + b); the output is what of c' is positive.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.value = Linear(options.dim, options.dim, bias=False)
        self.forget = Linear(options.dim, options.dim)
        for linear in (self.value, self.forget):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.forget.bias)

    def start(self, sentences: int, like: Tensor) -> State:
        """What is remembered before the first token: a vector of zeros."""
        return {"cell": like.new_zeros(sentences, self.value.out_features)}

    def follow(self, x: Tensor, past: Past | None, relations: Relations) -> tuple[Tensor, State]:
        """What is found, and what is to be remembered; see `DecoderLayer.forward`."""
        forget = self.forget(x).sigmoid()
        fresh = (1 - forget) * self.value(x)
        state = select(past.state, past.descent.rows) if past else self.start(x.shape[0], x)
        cell, cells = state["cell"], []
        for kept, added in zip(forget.unbind(dim=1), fresh.unbind(dim=1), strict=True):
            cell = torch.addcmul(added, kept, cell)
            cells.append(cell)
        return torch.stack(cells, dim=1).relu(), {"cell": cell}


AUTOREGRESSIONS: dict[str, Callable[[Options], SelfAttention | SSRU]] = {
    "self_attention": SelfAttention,
    "ssru": SSRU,
}
