"""An engine that gives back what it is given, for tests of what is around engines.

So a translation is the text itself as its tokenizer writes it, and any line that is lost, moved,
cut or changed on its way shows. So does its alignment: each word is aligned with itself.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from seq2seq.config import Config, Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.translator import Translator
from seq2seq.runs import Opened

MAX_LENGTH = 24
TEXT = ["Eins, zwei und drei.", "Vier (fünf) sechs!", "Sieben? Acht; neun: null.", "abc xyz - 0"]
TAGS = ["<2de>", "<2fr>"]


class Echo:
    """An engine that gives back its source without tags, and worse ones that lack its end."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.options: list[Decoding] = []

    def search(
        self,
        requests: Sequence[Request],
        options: Decoding,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Hypothesis]]:
        self.asked += requests
        self.options.append(options)
        done(len(requests))
        found = []
        for request in requests:
            assert request.source
            assert len(request.source) <= MAX_LENGTH
            tokens = without_tags(request.source)
            found.append(
                [
                    Hypothesis(tokens[: len(tokens) - worse], -worse / 2, -float(worse))
                    for worse in range(min(options.n_best, len(tokens)))
                ]
            )
        return found

    def attend(
        self, pairs: Sequence[tuple[list[int], list[int]]], batch_tokens: int
    ) -> list[np.ndarray]:
        """Each piece looks at the one that it is an echo of."""
        weights = []
        for source, target in pairs:
            front = len(source) - len(without_tags(source))
            weights.append(np.eye(len(target) + 1, len(source) + 1, front))
        return weights


OPTIONS = TokenizerOptions(kind="char", vocab_size=330)
TOKENIZER = train_tokenizer(TEXT * 3, OPTIONS, 1, tags=TAGS)
CONFIG = Config.model_validate(
    {
        "name": "echo",
        "data": {"train": ["a"], "valid": "b", "max_length": MAX_LENGTH},
        "decoding": {"beam": 5, "batch_tokens": 1000},
    }
)
OPENED = Opened(CONFIG, Tokenizers(TOKENIZER, TOKENIZER), Path("echo"), Path("echo"))

some_bytes = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))
some_text = st.text(max_size=40) | st.text("ab.,!? \u3002\n\u0301\U0001f600", max_size=120)
in_a_fixture = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)


def without_tags(source: Sequence[int]) -> list[int]:
    tags = {TOKENIZER.tag(tag) for tag in TAGS}
    return [token for token in source if token not in tags]


def echoed(text: str) -> str:
    """The translation of a text that is not too long."""
    (ids,) = TOKENIZER.encode([text if text.strip(" \t") else ""])
    return TOKENIZER.decode([ids[:MAX_LENGTH]])[0]


def translator_of(engine: Echo, **more: Any) -> Translator:
    return Translator(engine, OPENED.tokenizers, CONFIG.decoding, CONFIG.data, **more)


def rows_of(content: bytes) -> list[bytes]:
    """The lines of an output, of which each has its end."""
    assert not content or content.endswith(b"\n")
    return content.split(b"\n")[:-1]


def echoing(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """Makes an echo the engine of every model that is opened from now on."""
    engine = Echo()
    monkeypatch.setattr("seq2seq.filtering.open_engine", lambda *_: engine)
    monkeypatch.setattr("seq2seq.python.open_engine", lambda *_: engine)
    for module in ("translate", "python"):
        monkeypatch.setattr(f"seq2seq.{module}.open_model", lambda *_, **__: OPENED)
    return engine
