"""The laws of the coverage penalty, on real models."""

from typing import Any

import numpy as np
import pytest
import torch
from test_rules import divided
from test_search import every_kind, same
from tiny import build_tiny, config_of

from seq2seq.config import Decoding
from seq2seq.data.store import Side, Store
from seq2seq.decoding.engine import Request
from seq2seq.decoding.forced import judge
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.errors import UserError


def attention_of(model: Any, source: list[int], target: list[int]) -> np.ndarray:
    """(T + 1, S + 1), by forced decoding."""
    store = Store(Side.of([source]), Side.of([target]))
    (found,) = judge(model, store, 4096, attention=True)
    assert found.attention is not None
    return found.attention


SOURCES = [[5, 9, 4, 11, 12, 7], [7], [11, 6, 6, 8, 12, 5, 4, 20, 10]]


@every_kind
def test_the_coverage_penalty_is_that_of_the_paper(kind):
    model = build_tiny(config_of(kind)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    requests = [Request(source, 4) for source in SOURCES]
    options = Decoding(beam=4, n_best=4, coverage_penalty=0.7)
    engine = PyTorch(model)
    for request, found in zip(requests, engine.search(requests, options), strict=True):
        assert found == sorted(found, key=lambda one: -one.score)
        for one in found:
            given_to = attention_of(model, request.source, one.tokens)[:, :-1].sum(axis=0)
            cover = 0.7 * np.log(np.minimum(given_to, 1)).sum()
            divided_by = divided(one.log_probability, len(one.tokens) + 1, options)
            assert cover < -0.01 or len(request.source) == 1
            assert one.score == pytest.approx(divided_by + cover, abs=1e-4)
        same(engine.search([request], options)[0], found, rounding=1e-5)
    assert model.attention is None


def test_a_model_without_attention_covers_nothing():
    model = build_tiny(config_of("lstm", model={"attention": "none", "input_feeding": False}))
    with pytest.raises(UserError, match=r"^decoding.coverage_penalty: the model has no attention"):
        PyTorch(model).search([Request([5], 4)], Decoding(coverage_penalty=0.1))
