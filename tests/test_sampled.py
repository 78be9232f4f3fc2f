"""The laws of translations drawn at random."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rules import VOCAB, follow_of, keeps, phrases, some_requests
from test_search import every_kind, log_probability, model_of, same, toy

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import BOS, EOS
from seq2seq.decoding.constraints import contains, possible
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.sampling import draw, narrowed, random_numbers, sample


def sample_toys(
    requests: list[Request], count: int = 1, **options: object
) -> list[list[Hypothesis]]:
    """Samples of toys that differ by the requests' sources, of one number each."""
    numbers = torch.tensor([one.source[0] for one in requests])
    state = {"count": torch.zeros_like(numbers), "row": torch.zeros_like(numbers)[:, None]}
    asked = Decoding(sampling=True, n_best=count, **options)
    return sample(toy(VOCAB), state, {"number": numbers}, requests, asked)


def of_toys(count: int, longest: int = 4) -> list[Request]:
    """Lines of one and the same toy."""
    return [Request([5], longest, number=number) for number in range(count)]


def texts(found: list[list[Hypothesis]]) -> list[tuple[int, ...]]:
    return [tuple(one.tokens) for some in found for one in some]


def counted(probability: float, count: int, seen: int) -> float:
    """The part of chi-square of what is expected and of what has been seen."""
    return (seen - count * probability) ** 2 / (count * probability)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_draws_have_the_frequencies_of_the_model(temperature):
    """Of the first two tokens; chi-square with a fixed seed, at one in a thousand."""
    count = 4000
    found = texts(sample_toys(of_toys(count), temperature=temperature))
    follow, parts = follow_of(Request([], 4, number=5)), {}
    for first in (EOS, 4, 5, 6):
        for second in (EOS, 4, 5, 6) if first != EOS else (None,):
            parts[first, second] = math.prod(
                math.exp(follow(prefix)[token] / temperature)
                / sum(math.exp(follow(prefix)[one] / temperature) for one in (EOS, 4, 5, 6))
                for prefix, token in (([], first), ([first], second))
                if token is not None
            )
    assert sum(parts.values()) == pytest.approx(1)
    pairs = [(*tokens, EOS)[:2] if tokens else (EOS, None) for tokens in found]
    seen = Counter(pairs)
    assert set(seen) <= set(parts)
    statistic = sum(counted(share, count, seen[part]) for part, share in parts.items())
    assert statistic < 32.9  # of 12 degrees of freedom


@given(
    st.lists(some_requests, min_size=2, max_size=5),
    st.integers(1, 3),
    st.sampled_from([{}, {"top_k": 2}, {"top_p": 0.7}, {"min_p": 0.2}, {"temperature": 0.5}]),
)
@settings(max_examples=40, deadline=None)
def test_samples_are_the_same_in_any_company(requests, count, options):
    requests = [one._replace(source=[one.number % 1000], shortest=0) for one in requests]
    together = sample_toys(requests, count, **options)
    for request, found in zip(requests, together, strict=True):
        same(found, sample_toys([request], count, **options)[0])
        more = Counter(texts(sample_toys([request], count + 2, **options)))
        assert Counter(texts([found])) <= more
        for one in found:
            own = log_probability(follow_of(request._replace(number=request.source[0])), one.tokens)
            assert one.log_probability == pytest.approx(own)
            assert one.score == one.log_probability


def test_samples_differ_by_seed_line_and_number():
    one = texts(sample_toys(of_toys(300, 6), seed=1))
    assert one == texts(sample_toys(of_toys(300, 6), seed=1))
    other = texts(sample_toys(of_toys(300, 6), seed=2))
    ((*several,),) = sample_toys(of_toys(1, 6), count=300)
    assert len({*one}) > 30  # lines
    assert len({tuple(some.tokens) for some in several}) > 30  # numbers
    assert sum(map(tuple.__eq__, one, other)) < 150  # seeds


def test_random_numbers_are_even_and_independent():
    numbers = random_numbers(of_toys(50, 19), seed=3, count=20)
    assert numbers.shape == (50, 20, 20)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    flat = numbers.reshape(-1)
    assert len(np.unique(flat)) > 0.99 * flat.size
    shares = np.histogram(flat, bins=10, range=(0, 1))[0] / flat.size
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.01)
    for axis in range(3):
        one, other = np.take(numbers, [0, 1], axis=axis).swapaxes(0, axis)
        assert abs(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]) < 0.15


@given(some_requests, st.lists(phrases, max_size=2), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_samples_keep_the_rules(request_, present, size):
    request = request_._replace(source=[5], shortest=0, present=tuple(present))
    options = {"no_repeat_ngram": size, "repetition_penalty": 1.2}
    (found,) = sample_toys([request], 5, **options)
    for one in found:
        assert keeps(one.tokens, request, Decoding(no_repeat_ngram=size))
        assert all(contains(one.tokens, phrase) for phrase in possible(request))
        own = log_probability(follow_of(request._replace(number=5)), one.tokens)
        assert one.log_probability == pytest.approx(own)
    if not (size or request.absent):
        assert len(found) == 5


def plainly_narrowed(probabilities: list[float], options: Decoding) -> list[float]:
    """By sorting."""
    order = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    kept = order[: options.top_k or None]
    total, share, nucleus = sum(probabilities[token] for token in kept), 0.0, []
    for token in kept:
        if share < options.top_p * total:
            nucleus.append(token)
        share += probabilities[token]
    least = options.min_p * max(probabilities)
    return [
        share if token in nucleus and share >= least else 0.0
        for token, share in enumerate(probabilities)
    ]


@given(
    st.integers(0, 10**6),
    st.integers(0, 9),
    st.sampled_from([1.0, 0.9, 0.5, 0.01]),
    st.sampled_from([0.0, 0.05, 0.5]),
)
@settings(max_examples=100, deadline=None)
def test_draws_are_from_what_is_likely_enough(seed, top_k, top_p, min_p):
    random = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(2, 3, 7, generator=random, dtype=torch.double).softmax(dim=2)
    options = Decoding(top_k=top_k, top_p=top_p, min_p=min_p)
    found = narrowed(probabilities, options).flatten(0, 1).tolist()
    for one, share in zip(found, probabilities.flatten(0, 1).tolist(), strict=True):
        assert one == plainly_narrowed(share, options)


def test_a_draw_takes_each_token_by_its_share_of_the_numbers():
    shares = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0], dtype=torch.double)
    numbers = torch.tensor([[0.0, 0.2, 0.25, 0.6, 0.7, 0.75, 0.999, 1 - 2**-24]])
    logarithms = shares.log().expand(1, 8, 6)
    assert draw(logarithms, numbers, Decoding()).tolist() == [[1, 1, 3, 3, 3, 4, 4, 4]]
    assert draw(logarithms + 3, numbers, Decoding(top_k=1)).tolist() == [[3] * 8]


@every_kind
def test_an_engine_gives_samples_whatever_the_batch_size(kind):
    engine = PyTorch(model_of(kind, vocab=13))
    for parameter in engine.model.parameters():
        parameter.data.mul_(0.4)
    requests = [Request([5 + number % 7, 9], 7, number=number) for number in range(12)]
    options = Decoding(sampling=True, n_best=3)
    expected = engine.search(requests, options)
    assert len({*texts(expected)}) > 20
    for batch_tokens in (1, 50):
        found = engine.search(requests, options.model_copy(update={"batch_tokens": batch_tokens}))
        for one, other in zip(found, expected, strict=True):
            same(one, other, rounding=1e-5)
    assert all(len(found) == 3 for found in expected)
    assert BOS not in {token for text in texts(expected) for token in text}
