"""The Python interface: a trained model as an object, by the same path as `seq2seq translate`.

import seq2seq

model = seq2seq.load("runs/mine", beam=8)
model.translate("a green house").text
[one.text for one in model.translate(["one line", "another"], length_penalty=0.5)]
seq2seq.load(["runs/mine", "runs/yours"]).translate("by both together").text
"""

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

from seq2seq.config import Config
from seq2seq.config.changing import changed
from seq2seq.decoding.alignment import aligned_as
from seq2seq.decoding.attending import Attention, Wishes, possible
from seq2seq.decoding.choice import attend_with, open_engine, settled
from seq2seq.decoding.engine import Engine
from seq2seq.decoding.members import agreed, load_together
from seq2seq.decoding.translator import Line, Output, Translator
from seq2seq.runs import Opened, open_model


class Translation(NamedTuple):
    """A translation of a line."""

    text: str
    score: float  # what translations were ranked by: log_probability over a length penalty
    log_probability: float  # by the model, in nats, of all pieces and the end
    tokens: list[str]  # its pieces, without the end
    alignment: str = ""  # which word was written from which, if that was asked for: 0-0 2-1


def load(
    path: str | Path | Sequence[str | Path] | None = None,
    *,
    device: str | None = None,
    **options: Any,
) -> "Model":
    """The model of a folder (a model's or a run's), or of the newest run here; of several, as one.

    `device` is auto, cpu, cuda or mps; `options` are those of decoding, such as beam, that take the
    place of the model's own. Raises a UserError that says what is wrong with the folder, and a
    ConfigError that names every option that cannot be.
    """
    paths = [path] if isinstance(path, str | Path) else path
    named = list(map(Path, paths)) if paths else [None]
    opened = [open_model(one, device=device) for one in named]
    config = settled(changed(agreed(opened), "decoding", options), models=len(opened))
    return Model([opened[0]._replace(config=config), *opened[1:]])


class Model:
    """A trained model that takes text and gives text. Loaded when it is first asked."""

    def __init__(self, opened: Sequence[Opened]) -> None:
        """`opened` are one or more that translate together; the config of the first counts."""
        self.config = opened[0].config
        self._opened = opened
        self._tokenizers = opened[0].tokenizers
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
        alignments: Literal["hard", "soft"] | None = None,
        replace_unk: bool = False,
        **options: Any,
    ) -> Translation | list[Translation] | list[list[Translation]]:
        """The translation of a line, or of each of several, in order.

        With `n_best` it is a list of so many at most, the best first, in place of each. A `Line` in
        place of a text can also say by which tag, and with which words. `options` are those of
        decoding, for this call alone. A line that is too long is translated in parts if `split`,
        else it is cut, with a warning. `alignments` and `replace_unk` are the flags of the command.

        Raises a ConfigError that names every option that cannot be, and a UserError for what the
        model cannot do.
        """
        if n_best is not None:
            options["n_best"] = n_best
        if alone := isinstance(lines, str | Line):
            lines = [lines]
        asked = [Line(one) if isinstance(one, str) else one for one in lines]
        wishes = Wishes(alignments is not None, replace_unk)
        translator = self._translator(options, split, wishes)
        found = [
            [self._translation(one, alignments) for one in outputs]
            for outputs in translator.outputs(asked)
        ]
        chosen = [some[0] for some in found] if n_best is None else found
        return chosen[0] if alone else chosen

    def _translator(self, options: dict[str, Any], split: bool, wishes: Wishes) -> Translator:
        wishes = possible(wishes, self._opened)
        config = settled(
            changed(self.config, "decoding", options),
            models=len(self._opened),
            unknown=wishes.replace_unknown,
        )
        engine, attention = self._engine(config), None
        if any(wishes):
            attend = attend_with(engine, config.decoding.batch_tokens)
            attention = Attention(attend, self._tokenizers, wishes)
        return Translator(
            engine,
            self._tokenizers,
            config.decoding,
            config.data,
            attention=attention,
            splitting=split,
            warn=lambda message: warnings.warn(message, stacklevel=2),
        )

    def _engine(self, config: Config) -> Engine:
        kind = config.decoding.engine, config.decoding.precision
        if kind not in self._engines:
            load = partial(load_together, self._opened) if len(self._opened) > 1 else None
            folder = self._opened[0].folder
            self._engines[kind] = open_engine(folder, config, self._tokenizers, load)
        return self._engines[kind]

    def _translation(self, output: Output, alignments: str | None) -> Translation:
        tokens, score, log_probability = output.hypothesis
        pieces = self._tokenizers.target.pieces(tokens)
        aligned = aligned_as(alignments, output.alignment)
        return Translation(output.text, score, log_probability, pieces, aligned)
