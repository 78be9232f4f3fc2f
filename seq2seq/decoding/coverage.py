"""How much of the source a hypothesis has paid attention to, and what the rest costs it.

Shapes: B sentences, N hypotheses (those of one sentence side by side), S source positions.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seq2seq.decoding.engine import Request
from seq2seq.errors import UserError
from seq2seq.models import Encoded, Seq2Seq, State, select

# as `Seq2Seq.step`: of the last tokens (N,), a state, what was encoded and rows of the state (N,)
Step = Callable[[Tensor, State, Encoded, Tensor | None], tuple[Tensor, State]]

COVERED = "covered"  # in a state: what each source position was given so far, (N, S)
PIECES = "pieces"  # in what was encoded: which positions are pieces, not </s> or padding, (B, S)


def covering(
    model: Seq2Seq, step: Step, encoded: Encoded, requests: Sequence[Request]
) -> tuple[Step, Encoded]:
    """A step that adds up attention in the state, and what was encoded with what it needs.

    The attention of a step is the mean over layers and heads. The first step raises a UserError if
    the model has none.
    """
    lengths = torch.tensor([len(one.source) for one in requests])
    device = next(iter(encoded.values())).device
    pieces = torch.arange(int(lengths.max()) + 1)[None] < lengths[:, None]

    def covering_step(
        last: Tensor, state: State, encoded: Encoded, rows: Tensor | None
    ) -> tuple[Tensor, State]:
        covered = state.get(COVERED)
        model.keep_attention()
        logits, after = step(last, state, encoded, rows)
        weights = model.attention  # (N, layers, heads, 1, S)
        model.keep_attention(False)
        if weights is None:
            raise UserError(
                "decoding.coverage_penalty: the model has no attention to cover the source with; "
                "set it to 0"
            )
        seen = weights.mean(dim=(1, 2, 3)).float()
        if covered is not None:
            seen = seen + select({COVERED: covered}, rows)[COVERED]
        return logits, {**after, COVERED: seen}

    return covering_step, {**encoded, PIECES: pieces.to(device)}


def uncovered(state: State, encoded: Encoded) -> Tensor:
    """The sum of log min(attention, 1) over source pieces (N,): what Wu et al. (2016, 14) add."""
    covered = state[COVERED].unflatten(0, (len(encoded[PIECES]), -1))  # (B, K, S)
    logarithms = covered.clamp(torch.finfo(covered.dtype).tiny, 1).log()
    return logarithms.masked_fill(~encoded[PIECES][:, None], 0).sum(dim=2).flatten()
