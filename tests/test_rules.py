"""The laws of what search can be asked for, on toys that can be counted and on real models."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search import (
    Follow,
    every_kind,
    log_probability,
    model_follow,
    model_of,
    same,
    toy,
    toy_follow,
)

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import EOS, UNK
from seq2seq.decoding.engine import Hypothesis, Phrase, Request
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.search import search

VOCAB = 7  # three words
WORDS = (4, 5, 6)
many_cases = settings(max_examples=60, deadline=None)


def search_toys(
    requests: list[Request], options: Decoding, vocab: int = VOCAB
) -> list[list[Hypothesis]]:
    """What search finds of toys that differ by the requests' numbers."""
    numbers = torch.tensor([one.number for one in requests], dtype=torch.long)
    state = {"count": torch.zeros_like(numbers), "row": torch.zeros_like(numbers)[:, None]}
    return search(toy(vocab), state, {"number": numbers}, requests, options)


def follow_of(request: Request) -> Follow:
    """The toy of a request."""
    return toy_follow(VOCAB, request.number)


# The rules, of a whole translation and of its next token, as plain programs


def words_of(request: Request) -> list[int]:
    """The tokens of which a translation may consist."""
    return [UNK, *WORDS] if request.unknown else [*WORDS]


def repeats(tokens: list[int], size: int) -> bool:
    """Whether the last so many tokens stand in it twice."""
    return any(tokens[at : at + size] == tokens[-size:] for at in range(len(tokens) - size))


def ends_with(tokens: list[int], phrase: Phrase) -> bool:
    return tuple(tokens[-len(phrase) :]) == phrase


def keeps(tokens: list[int], request: Request, options: Decoding) -> bool:
    """Whether a translation keeps to all that is asked for."""
    begin = list(request.prefix[: request.longest])
    beginnings = [tokens[:end] for end in range(len(begin) + 1, len(tokens) + 1)]
    size = options.no_repeat_ngram
    return (
        len(tokens) >= min(request.shortest, request.longest)
        and len(tokens) <= request.longest
        and tokens[: len(begin)] == begin
        and not any(size and len(some) >= size and repeats(some, size) for some in beginnings)
        and not any(ends_with(some, phrase) for some in beginnings for phrase in request.absent)
    )


def may_follow(prefix: list[int], request: Request, options: Decoding) -> list[int]:
    """What may follow."""
    if len(prefix) == request.longest:
        return [EOS]
    if len(prefix) < len(request.prefix):
        return [request.prefix[len(prefix)]]
    open_end = request._replace(shortest=0)
    words = [word for word in words_of(request) if keeps([*prefix, word], open_end, options)]
    return [*words, EOS] if len(prefix) >= request.shortest else words


def divided(total: float, length: int, options: Decoding) -> float:
    """A score, by the number of tokens and the end."""
    if options.length_normalization == "average":
        return total / length**options.length_penalty
    return total / ((5 + length) / 6) ** options.length_penalty


class Group:
    """A part of a beam."""

    def __init__(self) -> None:
        self.going: list[tuple[float, float, list[int]]] = [(0.0, 0.0, [])]
        self.ended: list[Hypothesis] = []

    def advance(
        self, follow: Follow, request: Request, options: Decoding, taken: Counter[int]
    ) -> None:
        """A token more; nothing if it is done."""
        width = options.beam // options.diversity_groups
        if len(self.ended) >= options.endings:
            return
        candidates = []
        for score, own, prefix in self.going:
            logarithms = follow(prefix)
            for token in may_follow(prefix, request, options):
                cost = logarithms[token] - options.diversity_penalty * taken[token]
                if token in prefix and len(prefix) >= len(request.prefix):
                    cost += (options.repetition_penalty - 1) * logarithms[token]
                candidates.append((score + cost, own + logarithms[token], [*prefix, token]))
        candidates = sorted(candidates, reverse=True)[: 2 * width]
        for score, own, (*tokens, last) in candidates[:width]:
            if last == EOS:
                ranked_by = divided(score, len(tokens) + 1, options)
                self.ended.append(Hypothesis(tokens, ranked_by, own))
        self.going = [one for one in candidates if one[2][-1] != EOS][:width]
        taken.update(tokens[-1] for _, _, tokens in self.going)


def plain_search(request: Request, options: Decoding) -> list[Hypothesis]:
    """Beam search with lists, by groups."""
    groups = [Group() for _ in range(options.diversity_groups)]
    for _ in range(request.longest + 1):
        taken: Counter[int] = Counter()
        for group in groups:
            group.advance(follow_of(request), request, options, taken)
    found: dict[tuple[int, ...], Hypothesis] = {}
    for one in sorted(itertools.chain(*(group.ended for group in groups)), key=lambda one: -one[1]):
        found.setdefault(tuple(one.tokens), one)
    return list(found.values())


def enumeration(request: Request, options: Decoding) -> list[Hypothesis]:
    """All that keeps to what is asked for, the best first."""
    found = []
    for length in range(request.longest + 1):
        for words in itertools.product(words_of(request), repeat=length):
            if keeps(tokens := list(words), request, options):
                own = log_probability(follow_of(request), tokens)
                found.append(Hypothesis(tokens, divided(own, length + 1, options), own))
    return sorted(found, key=lambda one: -one.score)


phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)
some_requests = st.builds(
    Request,
    st.just([]),
    longest=st.integers(0, 5),
    shortest=st.integers(0, 6),
    number=st.integers(0, 10**6),
    prefix=st.lists(st.sampled_from(WORDS), max_size=3).map(tuple),
    present=st.just(()),
    absent=st.lists(phrases, max_size=2).map(tuple),
    unknown=st.booleans(),
)


@st.composite
def some_options(draw: st.DrawFn, **fixed: Any) -> Decoding:
    groups = draw(st.integers(1, 3))
    asked = {
        "diversity_groups": groups,
        "beam": groups * draw(st.integers(1, 3)),
        "diversity_penalty": draw(st.sampled_from([0.0, 0.5, 3.0])),
        "length_penalty": draw(st.sampled_from([0.0, 1.0, 2.5])),
        "length_normalization": draw(st.sampled_from(["gnmt", "average"])),
        "no_repeat_ngram": draw(st.integers(0, 3)),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.5])),
    }
    return Decoding(**{**asked, **fixed})


@given(st.lists(some_requests, min_size=1, max_size=4), some_options())
@settings(max_examples=150, deadline=None)
def test_search_is_that_of_a_plain_program_whatever_is_asked_for(requests, options):
    for request, found in zip(requests, search_toys(requests, options), strict=True):
        same(found, plain_search(request, options))


@pytest.mark.parametrize(("groups", "beam"), [(2, 4), (3, 3)])
def test_a_group_that_is_done_waits_for_the_others(groups, beam):
    options = Decoding(beam=beam, diversity_groups=groups)
    requests = [Request([], 6, number=number) for number in range(60)]
    for request, found in zip(requests, search_toys(requests, options), strict=True):
        same(found, plain_search(request, options))


TREE = sum(len(WORDS) ** length for length in range(6))


@given(some_requests, st.integers(0, 3), st.sampled_from(["gnmt", "average"]))
@many_cases
def test_a_beam_as_wide_as_the_tree_finds_all_that_keeps_the_rules(request_, size, normalization):
    if request_.longest == 5:
        request_ = request_._replace(unknown=False)  # a tree of four words would be wider
    options = Decoding(beam=TREE, no_repeat_ngram=size, length_normalization=normalization)
    (found,) = search_toys([request_], options)
    same(found, enumeration(request_, options))


@given(st.lists(some_requests, min_size=1, max_size=4), some_options())
@many_cases
def test_company_changes_nothing_whatever_is_asked_for(requests, options):
    for request, found in zip(requests, search_toys(requests, options), strict=True):
        same(found, search_toys([request], options)[0])


@given(some_requests, some_options())
@many_cases
def test_log_probabilities_are_those_of_forced_decoding(request_, options):
    (found,) = search_toys([request_], options)
    for one in found:
        own = log_probability(follow_of(request_), one.tokens)
        assert one.log_probability == pytest.approx(own)
        if options.diversity_groups == 1 and options.repetition_penalty == 1:
            assert one.score == pytest.approx(divided(own, len(one.tokens) + 1, options))


@given(some_requests, some_options(diversity_groups=1, repetition_penalty=1.0))
@many_cases
def test_a_rule_for_what_cannot_be_anyway_changes_nothing(request_, options):
    too_long = (4,) * (request_.longest + 1)
    (plain,) = search_toys([request_._replace(absent=())], options)
    (one,) = search_toys([request_._replace(absent=(too_long,))], options)
    same(one, plain)


@given(st.integers(0, 10**6), st.integers(0, 4))
@many_cases
def test_the_n_best_are_different_and_as_many_as_there_are(number, longest):
    request = Request([], longest, number=number)
    there = len(enumeration(request, Decoding()))
    for beam in (1, 3, there, there + 5):
        (found,) = search_toys([request], Decoding(beam=beam))
        assert len({tuple(one.tokens) for one in found}) == len(found)
        assert len(found) >= min(beam, there)


def test_a_prefix_may_hold_what_is_never_written_otherwise():
    request = Request([], 5, number=8, prefix=(4, UNK, 4), absent=((4,),))
    (found,) = search_toys([request], Decoding(beam=3, no_repeat_ngram=1))
    assert found
    for one in found:
        assert one.tokens[:3] == [4, UNK, 4]
        assert not {UNK, 4} & set(one.tokens[3:])


def test_groups_that_pay_find_more_different_translations():
    requests = [Request([], 5, number=number) for number in range(40)]

    def firsts(fee: float) -> float:
        """Mean number of first words."""
        options = Decoding(beam=6, diversity_groups=3, diversity_penalty=fee)
        found = search_toys(requests, options)
        return float(np.mean([len({tuple(one.tokens[:1]) for one in some}) for some in found]))

    assert firsts(3.0) > firsts(0.5) > firsts(0.0)


# Real models


ASKED = {"no_repeat_ngram": 2, "repetition_penalty": 1.3, "diversity_groups": 2}


@every_kind
@pytest.mark.parametrize("asked", [{}, ASKED, {"sampling": True}])
def test_what_a_model_finds_is_what_forced_decoding_gives_in_any_company(kind, asked):
    model = model_of(kind, vocab=13)
    requests = [
        Request([5, 9, 4], 8, shortest=3, number=1, absent=((5,), (7, 8))),
        Request([7], 6, number=2, prefix=(9, 9)),
        Request([11, 6, 6, 8], 9, number=3, present=((4, 12), (7,))),
        Request([6, 8], 9, number=4),
    ]
    options = Decoding(beam=4, n_best=3, **asked)
    engine = PyTorch(model)
    together = engine.search(requests, options)
    for request, found in zip(requests, together, strict=True):
        same(engine.search([request], options)[0], found, rounding=1e-5)
        follow = model_follow(model, torch.tensor([[*request.source, EOS]]))
        assert found
        for one in found:
            assert one.log_probability == pytest.approx(log_probability(follow, one.tokens))
    assert len({tuple(one.tokens) for one in itertools.chain(*together)}) > 3
    assert all(one.tokens[:2] == [9, 9] for one in together[1])
    assert all({4, 12, 7} <= set(one.tokens) for one in together[2])
    assert all(math.isfinite(one.score) for one in itertools.chain(*together))
