"""Turns pairs of text into a model, from the command line; `load` opens such a model in Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seq2seq.python import Model


def load(
    path: str | Path | Sequence[str | Path] | None = None,
    *,
    device: str | None = None,
    **options: Any,
) -> "Model":
    """The model of a folder (a model's or a run's), or of the newest run here, to translate with.

    As in `seq2seq.load("runs/mine").translate("a green house").text`; several paths are models that
    translate together, as one. `device` is auto, cpu, cuda or mps, and `options` are those of
    decoding (docs/options.md), such as beam, that take the place of the model's own.

    Raises a UserError that says what is wrong with a folder, or why models cannot translate
    together, and a ConfigError that names every option that cannot be.
    """
    from seq2seq.python import load

    return load(path, device=device, **options)
