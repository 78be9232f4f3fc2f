"""The laws of our own engine in bfloat16; its others are those of search and of the translator."""

import pytest
import torch
from tiny import build_tiny, config_of

from seq2seq.config import Decoding
from seq2seq.data.store import Side, Store
from seq2seq.decoding.engine import Request
from seq2seq.decoding.forced import judge
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.models import MODELS

every_kind = pytest.mark.parametrize("kind", MODELS)
REQUESTS = [Request([5 + n % 7] * (1 + n % 5), longest=9) for n in range(12)]


@every_kind
def test_in_bfloat16_a_copy_of_the_model_searches(kind):
    model = build_tiny(config_of(kind)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    engine = PyTorch(model, "bf16")
    found = engine.search(REQUESTS, Decoding(beam=3, n_best=3))
    assert {parameter.dtype for parameter in engine.model.parameters()} == {torch.bfloat16}
    assert model.precision is None
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    assert {len(hypotheses) for hypotheses in found} == {3}


@every_kind
def test_bfloat16_changes_log_probabilities_a_little(kind):
    model = build_tiny(config_of(kind)).eval()
    found = PyTorch(model, "bf16").search(REQUESTS, Decoding(beam=2, n_best=2))
    differences = []
    for request, hypotheses in zip(REQUESTS, found, strict=True):
        for one in hypotheses:
            pair = Store(Side.of([request.source]), Side.of([one.tokens]))
            (true,) = judge(model, pair, 4096)
            differences.append(abs(one.log_probability - true.log_probability))
            # sums of bfloat16 numbers would be multiples of 2**-7 or more
            assert one.log_probability * 2**7 != round(one.log_probability * 2**7)
    assert 0 < max(differences) < 0.3
