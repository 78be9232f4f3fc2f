"""The Python interface: a trained model as an object, by the same path as `seq2seq translate`.

import seq2seq

model = seq2seq.load("runs/mine", beam=8)
model.translate("a green house").text
[one.text for one in model.translate(["one line", "another"], length_penalty=0.5)]
"""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, overload

from seq2seq.config.changing import changed
from seq2seq.decoding.choice import open_engine
from seq2seq.decoding.engine import Engine
from seq2seq.decoding.translator import Line, Output, Translator
from seq2seq.runs import Opened, open_model


class Translation(NamedTuple):
    """A translation of a line."""

    text: str
    score: float  # what translations were ranked by: log_probability over a length penalty
    log_probability: float  # by the model, in nats, of all pieces and the end
    tokens: list[str]  # its pieces, without the end


def load(path: str | Path | None = None, *, device: str | None = None, **options: Any) -> "Model":
    """The model of a folder (a model's or a run's), or of the newest run here.

    `device` is auto, cpu, cuda or mps; `options` are those of decoding, such as beam, that take the
    place of the model's own. Raises a UserError that says what is wrong with the folder, and a
    ConfigError that names every option that cannot be.
    """
    opened = open_model(None if path is None else Path(path), device=device)
    return Model(opened._replace(config=changed(opened.config, "decoding", options)))


class Model:
    """A trained model that takes text and gives text. Loaded when it is first asked."""

    def __init__(self, opened: Opened) -> None:
        self.config = opened.config
        self._opened = opened
        self._engines: dict[tuple[str, str], Engine] = {}

    @overload
    def translate(
        self, lines: str | Line, *, n_best: None = None, split: bool = False, **options: Any
    ) -> Translation: ...
    @overload
    def translate(
        self,
        lines: Iterable[str | Line],
        *,
        n_best: None = None,
        split: bool = False,
        **options: Any,
    ) -> list[Translation]: ...
    @overload
    def translate(
        self, lines: str | Line, *, n_best: int, split: bool = False, **options: Any
    ) -> list[Translation]: ...
    @overload
    def translate(
        self, lines: Iterable[str | Line], *, n_best: int, split: bool = False, **options: Any
    ) -> list[list[Translation]]: ...
    def translate(
        self,
        lines: str | Line | Iterable[str | Line],
        *,
        n_best: int | None = None,
        split: bool = False,
        **options: Any,
    ) -> Translation | list[Translation] | list[list[Translation]]:
        """The translation of a line, or of each of several, in order.

        With `n_best` it is a list of so many at most, the best first, in place of each. A `Line` in
        place of a text can also say by which tag, and with which words. `options` are those of
        decoding, for this call alone. A line that is too long is translated in parts if `split`,
        else it is cut, with a warning.

        Raises a ConfigError that names every option that cannot be.
        """
        if n_best is not None:
            options["n_best"] = n_best
        if alone := isinstance(lines, str | Line):
            lines = [lines]
        asked = [Line(one) if isinstance(one, str) else one for one in lines]
        translator = self._translator(options, split)
        found = [
            [self._translation(one) for one in outputs] for outputs in translator.outputs(asked)
        ]
        chosen = [some[0] for some in found] if n_best is None else found
        return chosen[0] if alone else chosen

    def _translator(self, options: dict[str, Any], split: bool) -> Translator:
        config = changed(self.config, "decoding", options)
        kind = config.decoding.engine, config.decoding.precision
        if kind not in self._engines:
            self._engines[kind] = open_engine(self._opened.folder, config, self._opened.tokenizers)
        return Translator(
            self._engines[kind],
            self._opened.tokenizers,
            config.decoding,
            config.data,
            splitting=split,
            warn=lambda message: warnings.warn(message, stacklevel=2),
        )

    def _translation(self, output: Output) -> Translation:
        tokens, score, log_probability = output.hypothesis
        pieces = self._opened.tokenizers.target.pieces(tokens)
        return Translation(output.text, score, log_probability, pieces)
