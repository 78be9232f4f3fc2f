"""A model as two ONNX graphs, for programs that have no PyTorch.

    encoder.onnx    source (B, S) -> encoded.*, state.*
    decoder.onnx    last_tokens (N,), state.*, encoded.* -> log_probabilities (N, V), after.*

The dictionaries that travel between a model and its callers (see `interface`) travel between the
graphs as tensors, which are named as their entries are. The encoder also gives the state of one
hypothesis a sentence before its first token; `after.x` is the `state.x` of the next step.

Shapes: B sentences, N hypotheses (a multiple of B, those of one sentence side by side), S source
positions, V target vocabulary. All but V are free, and so is how much has been written.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from seq2seq.data.tokenizer import BOS, EOS, PAD
from seq2seq.models.interface import Encoded, Seq2Seq, State, select

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
Known = dict[str, np.ndarray]  # what the decoder is told beside the last tokens

PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # the extra `onnx`


class Encoding(nn.Module):
    """The encoder of a model, and what its decoder starts from, as one function of tensors."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        """What is encoded of source (B, S), and then the first state."""
        encoded = self.model.encode(source)
        # an output of a graph has one name, and a state may be what was encoded
        state = [tensor.clone() for tensor in self.model.start(encoded).values()]
        return *encoded.values(), *state


class Step(nn.Module):
    """A step of a model's decoder as one function of tensors."""

    def __init__(self, model: Seq2Seq, state: Sequence[str], encoded: Sequence[str]) -> None:
        """`state` and `encoded` are the names of the tensors, in the order in which they come."""
        super().__init__()
        self.model = model
        self.state, self.encoded = state, encoded

    def forward(self, last_tokens: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Log-probabilities (N, V) of what follows `last_tokens` (N,), and the state after them."""
        state = dict(zip(self.state, tensors, strict=False))
        encoded = dict(zip(self.encoded, tensors[len(state) :], strict=True))
        logits, after = self.model.step(last_tokens, state, encoded)
        return logits.log_softmax(dim=-1), *(after[name] for name in self.state)


class Example(NamedTuple):
    """Tensors as they are in the middle of a translation."""

    source: Tensor
    last_tokens: Tensor
    state: State
    encoded: Encoded

    @classmethod
    def of(cls, model: Seq2Seq, sentences: int, beam: int, length: int, written: int) -> "Example":
        """What a model makes of sentences of so many pieces, when so many have been written.

        One sentence is shorter. Each has as many hypotheses as the beam is wide.
        """
        source = torch.full((sentences, length), EOS)
        source[0, 2:] = PAD
        encoded = model.encode(source)
        rows = torch.arange(sentences).repeat_interleave(beam)
        last_tokens, state = torch.full_like(rows, BOS), select(model.start(encoded), rows)
        for _ in range(written):
            _, state = model.step(last_tokens, state, encoded)
        return cls(source, last_tokens, state, encoded)

    @property
    def tensors(self) -> list[Tensor]:
        """Those of the state and of what is encoded."""
        return [one.contiguous() for one in (*self.state.values(), *self.encoded.values())]


class Graphs:
    """Both graphs, opened by ONNX Runtime."""

    def __init__(self, folder: Path) -> None:
        """`folder` is what `write_graphs` wrote into."""
        from onnxruntime import InferenceSession

        self.encoder, self.decoder = (
            InferenceSession(folder / name, providers=["CPUExecutionProvider"])
            for name in (ENCODER, DECODER)
        )

    def encode(self, source: np.ndarray) -> Known:
        """All that the decoder asks for beside the last tokens, of source ids (B, S)."""
        names = [one.name for one in self.encoder.get_outputs()]
        return dict(zip(names, self.encoder.run(None, {"source": source}), strict=True))

    def step(self, last_tokens: np.ndarray, known: Known) -> tuple[np.ndarray, Known]:
        """Log-probabilities (N, V) of what follows, and what is known after `last_tokens` (N,)."""
        found, *state = self.decoder.run(None, {"last_tokens": last_tokens, **known})
        names = [one.name.replace("after.", "state.") for one in self.decoder.get_outputs()]
        return found, {**known, **dict(zip(names[1:], state, strict=True))}

    def judge(self, source: Sequence[int], target: Sequence[int]) -> list[float]:
        """The log-probabilities of a target's pieces and of its end, given a source's pieces."""
        known, found = self.encode(np.array([[*source, EOS]])), []
        for last, following in pairwise([BOS, *target, EOS]):
            log_probabilities, known = self.step(np.array([last]), known)
            found.append(float(log_probabilities[0, following]))
        return found


def why_not_here() -> str | None:
    """Why graphs cannot be written here, in words; None if they can. Nothing is loaded for that."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"it needs {' and '.join(missing)}; pip install 'seq2seq[onnx]'"


@torch.no_grad()
def write_graphs(model: Seq2Seq, folder: Path) -> None:
    """Writes both graphs of a model that is ready to translate, in float32, into a folder.

    Needs the extra `onnx`.
    """
    example = Example.of(model, sentences=3, beam=2, length=5, written=3)
    other = Example.of(model, sentences=4, beam=3, length=6, written=4)
    state, encoded = list(example.state), list(example.encoded)
    past, known = ([f"state.{name}" for name in state], [f"encoded.{name}" for name in encoded])
    write_graph(
        folder / ENCODER,
        Encoding(model),
        inputs={"source": example.source},
        free=[free_axes(example.source, other.source)],
        outputs=[*known, *past],
    )
    free = [free_axes(*pair) for pair in zip(example.tensors, other.tensors, strict=True)]
    write_graph(
        folder / DECODER,
        Step(model, state, encoded),
        inputs={
            "last_tokens": example.last_tokens,
            **dict(zip([*past, *known], example.tensors, strict=True)),
        },
        free=[free_axes(example.last_tokens, other.last_tokens), tuple(free)],
        outputs=["log_probabilities", *(f"after.{name}" for name in state)],
    )


def free_axes(tensor: Tensor, other: Tensor) -> dict[int, Any]:
    """The axes of a tensor whose size is free: those that differ in another example."""
    sizes = enumerate(zip(tensor.shape, other.shape, strict=True))
    return {axis: Dim.DYNAMIC for axis, (one, another) in sizes if one != another}


def write_graph(
    path: Path,
    module: nn.Module,
    *,
    inputs: dict[str, Tensor],
    free: Sequence[Any],
    outputs: Sequence[str],
) -> None:
    """Writes what a module makes of example inputs, by name, as a graph whose outputs have names.

    `free` are the free axes of the module's arguments, in a tuple where an argument is several.
    """
    with quietly():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(free),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # where in which file of this machine it was computed
        program.save(path)


@contextmanager
def quietly() -> Iterator[None]:
    """Without what the exporter says of packages that nobody asked for, and of itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
