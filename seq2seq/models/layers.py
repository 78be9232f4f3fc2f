"""Layers that compute in the precision of what flows through them.

Parameters are float32 always. A model turns its embeddings into its precision, and from there on
each layer rounds its weights to the precision of its input. So products are fast, and gradients
come back to the weights, and are added up, in float32 (Micikevicius et al. 2018, section 3.1).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from seq2seq.models.products import linear


class Linear(nn.Linear):
    """A linear map."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return linear(x, self.weight.to(x.dtype), bias)


class LayerNorm(nn.LayerNorm):
    """Layer norm (Ba et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class RMSNorm(nn.RMSNorm):
    """Layer norm without mean and bias (Zhang and Sennrich 2019)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


NORMS = {"layer": LayerNorm, "rms": RMSNorm}


class Rectifier(nn.Module):
    """What is positive; where nothing learns, x itself is changed, which takes no new memory."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x, inplace=not torch.is_grad_enabled())


class Gate(nn.Module):
    """The first half of the width, activated, times the second (Shazeer 2020)."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        gate, value = x.chunk(2, dim=-1)
        return self.activation(gate) * value


class Dropout(nn.Dropout):
    """While training, sets elements to zero at random and scales up the others."""

    def forward(self, x: Tensor) -> Tensor:
        return x * noise(x, self.p) if self._draws_noise(x) else super().forward(x)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x plus what is left of y."""
        if self._draws_noise(x):
            return torch.addcmul(x, y, noise(y, self.p))
        return x + super().forward(y)

    def _draws_noise(self, x: Tensor) -> bool:
        """Whether PyTorch's own way is slow here, which it is not on a GPU or compiled."""
        drops = self.training and self.p > 0
        return drops and x.device.type == "cpu" and not torch.compiler.is_compiling()


def noise(x: Tensor, p: float) -> Tensor:
    """Of the shape and precision of x, on a processor: 0 with probability p, else 1 / (1 - p).

    Four elements share a random number of 64 bits. PyTorch would draw one for each, in a single
    thread and seven times as slowly: half of an update's time in bfloat16.
    """
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    dropped = min(round(p * 2**16), 2**16 - 1)  # of the numbers that 16 bits hold
    kept = draws.view(torch.int16)[: x.numel()].ge_(dropped - 2**15).view(x.shape)
    return kept.to(x.dtype).mul_(2**16 / (2**16 - dropped))


CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
}


def recur(
    cell: nn.RNNBase, x: Tensor | PackedSequence, state: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """What a recurrent network makes of x, batch first or packed, and its last states.

    `state` has a tensor (layers * directions, B, D) for each part of the network's state, and so
    has what comes behind the outputs: (outputs, hidden) or, of an LSTM, (outputs, hidden, cell).
    Outputs of packed input are packed alike: their data alone.
    """
    data = x.data if isinstance(x, PackedSequence) else x
    weights = [getattr(cell, name).to(data.dtype) for names in cell._all_weights for name in names]
    shared = (
        state if len(state) == 2 else state[0],
        weights,
        cell.bias,
        cell.num_layers,
        cell.dropout,
        cell.training,
        cell.bidirectional,
    )
    if isinstance(x, PackedSequence):
        return KERNELS[cell.mode](data, x.batch_sizes, *shared)
    return KERNELS[cell.mode](data, *shared, cell.batch_first)


# of ONNX: name, attributes, and the gates in its order, by their places in PyTorch's
OPERATORS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "LSTM": ("LSTM", {}, (0, 3, 1, 2)),
    "GRU": ("GRU", {"linear_before_reset": 1}, (1, 0, 2)),
    "RNN_TANH": ("RNN", {}, (0,)),
}


def recur_as_operators(cell: nn.RNNBase, x: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """What `recur` makes of packed input, padded again, as operators for an ONNX graph.

    x (B, S, E) is padded on the right to the same S; what is known of each row is its length (B,).
    What comes back is for the recording of a graph alone. Its operators, LSTM, GRU and RNN of the
    ONNX specification (https://onnx.ai/onnx/operators), begin and end where a sentence does, in
    both directions, as packed input does here.
    """
    operator, attributes, gates = OPERATORS[cell.mode]
    directions = 2 if cell.bidirectional else 1
    if cell.bidirectional:
        attributes = {**attributes, "direction": "bidirectional"}
    attributes = {**attributes, "hidden_size": cell.hidden_size}

    def reordered(name: str) -> Tensor:
        parts = getattr(cell, name).chunk(len(gates))
        return torch.cat([parts[gate] for gate in gates])

    outputs, last = x.transpose(0, 1), []
    for layer in range(cell.num_layers):
        names = cell._all_weights[layer * directions : (layer + 1) * directions]
        into, back, *biases = (
            [reordered(name) for name in alike] for alike in zip(*names, strict=True)
        )
        both = [torch.cat(pair) for pair in zip(*biases, strict=True)]
        state = (directions, x.shape[0], cell.hidden_size)
        outputs, *ends = torch.onnx.ops.symbolic_multi_out(
            operator,
            (outputs, torch.stack(into), torch.stack(back), torch.stack(both), lengths.int()),
            attributes,
            dtypes=[x.dtype] * (3 if operator == "LSTM" else 2),
            shapes=[(x.shape[1], *state), *[state] * (2 if operator == "LSTM" else 1)],
        )
        outputs = outputs.transpose(1, 2).flatten(2)  # (S, B, directions * D)
        last.append(ends)
    return outputs.transpose(0, 1), *(torch.cat(states) for states in zip(*last, strict=True))
