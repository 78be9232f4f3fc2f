"""The laws of forced decoding, and of what attention between pieces says of words."""

import math

import numpy as np
import pytest
import torch
from tiny import VOCAB, build_tiny, config_of

from seq2seq.config import Config, Decoding
from seq2seq.data.store import Side, Store
from seq2seq.data.tokenizer import BOS, EOS
from seq2seq.decoding import forced
from seq2seq.decoding.alignment import align, hard, soft
from seq2seq.decoding.engine import Request
from seq2seq.decoding.forced import judge
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.surface import words
from seq2seq.models import MODELS, Seq2Seq

every_kind = pytest.mark.parametrize("kind", MODELS)
RANDOM = np.random.default_rng(1)
SOURCES = [RANDOM.integers(4, VOCAB, size).tolist() for size in (3, 1, 9, 4, 0, 11)]
TARGETS = [RANDOM.integers(4, VOCAB, size).tolist() for size in (5, 2, 7, 0, 3, 10)]


def store(sources: list[list[int]], targets: list[list[int]]) -> Store:
    return Store(Side.of(sources), Side.of(targets))


def model_of(kind: str) -> Seq2Seq:
    """Random weights, with likelihoods that differ."""
    config: Config = config_of(kind)
    model = build_tiny(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def stepped(model: Seq2Seq, source: list[int], target: list[int]) -> tuple[list[float], np.ndarray]:
    """The same, one token after the other, one sentence alone."""
    model.keep_attention()
    with torch.inference_mode():
        encoded = model.encode(torch.tensor([[*source, EOS]]))
        state, found, seen = model.start(encoded), [], []
        for last, token in zip([BOS, *target], [*target, EOS], strict=True):
            logits, state = model.step(torch.tensor([last]), state, encoded)
            found.append(logits.log_softmax(dim=1)[0, token].item())
            assert model.attention is not None
            seen.append(model.attention[0, :, :, 0].mean(dim=(0, 1)).numpy())
    model.keep_attention(False)
    return found, np.stack(seen)


@every_kind
@pytest.mark.parametrize("batch_tokens", [1, 20, 4096])
@pytest.mark.parametrize("logits", [1, 50, 1 << 22])
def test_forced_decoding_gives_what_steps_give(kind, batch_tokens, logits, monkeypatch):
    monkeypatch.setattr(forced, "LOGITS", logits)
    model = model_of(kind)
    found = judge(model, store(SOURCES, TARGETS), batch_tokens, attention=True)
    assert len(found) == len(SOURCES)
    for source, target, one in zip(SOURCES, TARGETS, found, strict=True):
        expected, seen = stepped(model, source, target)
        assert one.log_probabilities.tolist() == pytest.approx(expected, abs=1e-4)
        assert one.log_probability == pytest.approx(math.fsum(expected), abs=1e-4)
        assert one.attention == pytest.approx(seen, abs=1e-5)
        assert one.attention.sum(axis=1) == pytest.approx(np.ones(len(target) + 1), abs=1e-5)


@every_kind
def test_attention_is_kept_only_when_asked_for_and_the_mode_stays(kind):
    model = model_of(kind).train()
    (plain,) = judge(model, store(SOURCES[:1], TARGETS[:1]), 4096)
    assert plain.attention is None
    assert model.training
    judge(model, store(SOURCES[:1], TARGETS[:1]), 4096, attention=True)
    model.forward(torch.tensor([[5, EOS]]), torch.tensor([[BOS]]))
    assert model.attention is None
    assert judge(model, store([], []), 4096) == []


def test_a_model_without_attention_has_none_to_show():
    model = build_tiny(config_of("lstm", model={"attention": "none"}))
    (found,) = judge(model, store(SOURCES[:1], TARGETS[:1]), 4096, attention=True)
    assert found.attention is None


@every_kind
@pytest.mark.parametrize("beam", [1, 3])
def test_search_reports_what_forced_decoding_gives(kind, beam):
    model = model_of(kind)
    sources = [source for source in SOURCES if source]
    requests = [Request(source, longest=8) for source in sources]
    found = PyTorch(model).search(requests, Decoding(beam=beam, n_best=beam))
    for source, hypotheses in zip(sources, found, strict=True):
        pairs = store([source] * len(hypotheses), [one.tokens for one in hypotheses])
        judged = judge(model, pairs, 99)
        for one, known in zip(hypotheses, judged, strict=True):
            assert one.log_probability == pytest.approx(known.log_probability, abs=1e-3)


def test_pieces_belong_to_the_words_that_white_space_separates():
    def listed(*texts: str) -> list[list[int]]:
        return [[*some] for some in words(texts)]

    assert listed(" a", "b", " c", " ", "d") == [[0], [0], [1], [2], [2]]
    assert listed("a", " ", " ", "b", "", "c", " ") == [[0], [1], [1], [1], [1], [1], []]
    assert listed(" a b", "c d ", " ") == [[0, 1], [1, 2], []]
    assert listed() == []


def test_words_align_by_what_their_pieces_give_together():
    # two target words (two pieces, one), two source words (one piece, two), a tag in front
    source, target = [range(0), *words([" x", " y", "z"])], words([" a", "b", " c"])
    attention = np.array(
        [
            [0.1, 0.5, 0.1, 0.1, 0.2],
            [0.0, 0.3, 0.3, 0.3, 0.1],
            [0.0, 0.02, 0.5, 0.4, 0.08],
            [0.0, 0.0, 0.0, 0.0, 1.0],  # of </s>, which no word is
        ]
    )
    weights = align(attention, source, target)
    assert weights == pytest.approx(np.array([[0.4, 0.4], [0.02, 0.9]]))
    weights[0, 1] += 0.01
    assert hard(weights) == "1-0 1-1"
    assert soft(weights) == "0-0:0.40 1-0:0.41 1-1:0.90"


def test_words_of_one_piece_share_its_weight():
    attention = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0, 0, 1]])
    weights = align(attention, words([" a b c", " d"]), words([" x y", "z"]))
    assert weights == pytest.approx(
        np.array([[0.2, 0.2, 0.2, 0.3], [0.4 / 3, 0.4 / 3, 0.4 / 3, 0.5]])
    )


def test_nothing_aligns_with_nothing():
    nothing = align(np.ones((1, 1)), [], [])
    assert (hard(nothing), soft(nothing)) == ("", "")
