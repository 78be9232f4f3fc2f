"""A Transformer as two ONNX graphs, which programs without PyTorch can run.

encoder.onnx makes of source ids (N, S), padded on the right, what decoding needs to know of them.
decoder.onnx makes of that, of the last tokens (N,) and of the past the log-probabilities (N, V) of
what follows, and the present, which is the past of the next step. N sentences have a hypothesis
each; all sizes are free.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from seq2seq.data.tokenizer import BOS, PAD
from seq2seq.models.interface import Seq2Seq

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
SENTENCES = torch.export.Dim("sentences", min=1, max=2**16)


class Encoder(nn.Module):
    """What a model makes of sources, in the order of its names."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        """All that decoding needs to know of source ids (N, S)."""
        return tuple(self.model.encode(source).values())


class Step(nn.Module):
    """A step of a model's decoder, with all that it remembers in the order of the names."""

    def __init__(self, model: Seq2Seq, past: list[str], encoded: list[str]) -> None:
        super().__init__()
        self.model = model
        self.past, self.encoded = past, encoded

    def forward(self, last: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Log-probabilities (N, V), and the present; `tensors` are the past and what is encoded."""
        past = dict(zip(self.past, tensors, strict=False))
        encoded = dict(zip(self.encoded, tensors[len(past) :], strict=True))
        logits, present = self.model.step(last, past, encoded)
        return logits.log_softmax(-1), *(present[name] for name in self.past)


def why_not_here() -> str | None:
    """Why graphs cannot be made here, in words; None if they can."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"{missing[0]} is not installed (pip install 'seq2seq[onnx]')" if missing else None


@torch.no_grad()
def write_graphs(model: Seq2Seq, folder: Path) -> None:
    """Writes encoder.onnx and decoder.onnx of a model on a processor, in float32."""
    source = torch.full((3, 5), BOS)
    source[1, 3:] = PAD
    last = source[:, 0]
    encoded = model.encode(source)
    begun = model.start(encoded)
    past = begun
    for _ in range(2):
        _, past = model.step(last, past, encoded)
    _, longer = model.step(last, past, encoded)
    wider = model.encode(source[:, :4])
    free = [*_free(past, longer), *_free(encoded, wider)]
    with _quietly():
        torch.onnx.export(
            Encoder(model),
            (source,),
            folder / ENCODER,
            input_names=["source"],
            output_names=list(encoded),
            dynamic_shapes=({0: SENTENCES, 1: torch.export.Dim.AUTO},),
            dynamo=True,
            verbose=False,
        )
        torch.onnx.export(
            Step(model, list(past), list(encoded)),
            (last, *(tensor.contiguous() for tensor in (*past.values(), *encoded.values()))),
            folder / DECODER,
            input_names=["last", *(f"past.{name}" for name in past), *encoded],
            output_names=["log_probabilities", *(f"present.{name}" for name in past)],
            dynamic_shapes=({0: SENTENCES}, tuple(free)),
            dynamo=True,
            verbose=False,
        )


def _free(
    tensors: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> Iterator[dict[int, object]]:
    """Of each tensor the axes whose size is free: sentences, and what is longer in the others."""
    for name, tensor in tensors.items():
        sizes = enumerate(zip(tensor.shape, others[name].shape, strict=True))
        grows = {axis: torch.export.Dim.AUTO for axis, (size, other) in sizes if size != other}
        yield {**grows, 0: SENTENCES}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's words on packages that nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
