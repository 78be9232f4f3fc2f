"""The laws of several models as one."""

import itertools
import math

import pytest
import torch
from test_search import (
    LIMITS,
    SOURCE,
    enumeration,
    every_kind,
    model_follow,
    model_of,
    plain_search,
    same,
    search_model,
)

from seq2seq.config import Decoding
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import BOS, EOS, PAD
from seq2seq.decoding.engine import Request
from seq2seq.decoding.forced import judge
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.models import MODELS, Seq2Seq
from seq2seq.models.ensemble import Ensemble
from seq2seq.models.interface import UNSAID

VOCAB = 11
MIXTURES = [*itertools.combinations_with_replacement(MODELS, 2), (*MODELS, *MODELS)]
every_mixture = pytest.mark.parametrize("kinds", MIXTURES)


def models_of(kinds: tuple[str, ...]) -> list[Seq2Seq]:
    return [model_of(kind, VOCAB, seed=seed) for seed, kind in enumerate(kinds)]


def mean_follow(models: list[Seq2Seq], source: torch.Tensor):
    """What follows a prefix, by the mean of what each model says, as a plain function."""
    follows = [model_follow(model, source) for model in models]

    def follow(prefix: list[int]) -> list[float]:
        said = zip(*(follow(prefix) for follow in follows), strict=True)
        means = [sum(map(math.exp, token)) / len(models) for token in said]
        return [math.log(mean) if mean else -math.inf for mean in means]

    return follow


@every_kind
@pytest.mark.parametrize("times", [1, 3])
def test_an_ensemble_of_a_model_with_itself_is_that_model(kind, times):
    model = model_of(kind, VOCAB)
    expected = search_model(model, SOURCE, LIMITS, 4)
    for one, other in zip(
        search_model(Ensemble([model] * times), SOURCE, LIMITS, 4), expected, strict=True
    ):
        same(one, other)


@every_mixture
def test_an_ensemble_says_the_mean_of_what_its_models_say(kinds):
    models = models_of(kinds)
    target = torch.tensor([[BOS, 5, 6, 7]])
    for source in SOURCE:
        one = source[None, source != PAD]
        with torch.no_grad():
            found = Ensemble(models)(one, target)[0, -1]
        assert not found.exp()[[*UNSAID]].any()
        found[[*UNSAID]] = -math.inf
        expected = mean_follow(models, one)(target[0, 1:].tolist())
        assert found.tolist() == pytest.approx(expected)


@every_mixture
def test_search_of_an_ensemble_is_that_of_a_plain_program(kinds):
    models = models_of(kinds)
    found = search_model(Ensemble(models), SOURCE, LIMITS, 3)
    for hypotheses, source, limit in zip(found, SOURCE, LIMITS, strict=True):
        follow = mean_follow(models, source[None, source != PAD])
        same(hypotheses, plain_search(follow, limit, 3, 1.0).found)


@every_mixture
def test_a_beam_as_wide_as_the_tree_of_an_ensemble_finds_everything(kinds):
    models = models_of(kinds)
    expected = enumeration(mean_follow(models, SOURCE[2:]), VOCAB, 2, 1.0)
    (found,) = search_model(Ensemble(models), SOURCE[2:], [2], len(expected))
    same(found, expected)


@every_mixture
def test_what_an_ensemble_reports_is_what_forced_decoding_gives(kinds):
    ensemble = Ensemble([model.float() for model in models_of(kinds)])
    options = Decoding(beam=3, n_best=3, coverage_penalty=0.2)
    source = [5, 9, 4]
    (found,) = PyTorch(ensemble).search([Request(source, 6)], options)
    pairs = Store(Side.of([source] * 3), Side.of([one.tokens for one in found]))
    judged = judge(ensemble, pairs, 4096, attention=True)
    for one, other in zip(found, judged, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-3)
        assert other.attention.sum(axis=1) == pytest.approx(1, abs=1e-4)
    weights = [judge(model, pairs, 4096, attention=True)[0].attention for model in ensemble.models]
    assert judged[0].attention == pytest.approx(sum(weights) / len(weights), abs=1e-4)


@every_mixture
def test_an_ensemble_computes_in_the_precision_that_is_asked_for(kinds):
    ensemble = Ensemble([model.float() for model in models_of(kinds)])
    (expected,) = PyTorch(ensemble).search([Request([5, 9], 5)], Decoding())
    (found,) = PyTorch(ensemble, "bf16").search([Request([5, 9], 5)], Decoding())
    assert found[0].log_probability == pytest.approx(expected[0].log_probability, rel=0.2, abs=1)
    assert found[0].log_probability != expected[0].log_probability
    ensemble.precision = torch.bfloat16
    encoded = ensemble.encode(torch.tensor([[5, 9, EOS]]))
    assert {tensor.dtype for tensor in encoded.values()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in ensemble.parameters()} == {torch.float32}
