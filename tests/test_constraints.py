"""The laws of phrases that must be present, on toys of which all that can be written is counted."""

import itertools
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rules import TREE, WORDS, follow_of, phrases, search_toys
from test_rules import enumeration as all_that_keeps
from test_search import log_probability, model_of, same

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import EOS, UNK
from seq2seq.decoding import constraints, search
from seq2seq.decoding.constraints import Wanted, contains, possible
from seq2seq.decoding.engine import Hypothesis, Phrase, Request
from seq2seq.decoding.pytorch import PyTorch

many_cases = settings(max_examples=60, deadline=None)


def begins_at(tokens: list[int], phrase: Phrase) -> int:
    """At how many places a phrase begins."""
    return sum(tuple(tokens[at : at + len(phrase)]) == phrase for at in range(len(tokens)))


def has_all(tokens: list[int], some: tuple[Phrase, ...]) -> bool:
    return all(begins_at(tokens, phrase) >= some.count(phrase) for phrase in some)


def enumeration(request: Request, options: Decoding) -> list[Hypothesis]:
    """All that has its phrases, if they fit; the last are left out until they do."""
    found, present = all_that_keeps(request._replace(present=()), options), request.present
    fits = all_that_keeps(request._replace(absent=()), options)
    while not any(has_all(one.tokens, present) for one in fits):
        present = present[:-1]
    return [one for one in found if has_all(one.tokens, present)]


some_requests = st.builds(
    Request,
    st.just([]),
    longest=st.integers(0, 5),
    shortest=st.just(0),
    number=st.integers(0, 10**6),
    prefix=st.lists(st.sampled_from(WORDS), max_size=2).map(tuple),
    present=st.lists(phrases, max_size=3).map(tuple),
    absent=st.just(()),
    unknown=st.just(False),
)


@given(some_requests)
@settings(max_examples=100, deadline=None)
def test_a_beam_as_wide_as_the_tree_finds_all_that_has_its_phrases(request_):
    options = Decoding(beam=TREE)
    (found,) = search_toys([request_], options)
    same(found, enumeration(request_, options))


@given(st.lists(some_requests, min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 2))
@many_cases
def test_every_hypothesis_has_each_phrase_that_fits_in_any_company(requests, beam, groups):
    options = Decoding(beam=beam * groups, diversity_groups=groups)
    for request, found in zip(requests, search_toys(requests, options), strict=True):
        assert found
        same(found, search_toys([request], options)[0])
        for one in found:
            assert has_all(one.tokens, possible(request))
            assert len(one.tokens) <= request.longest
            assert tuple(one.tokens[: len(request.prefix)]) == request.prefix[: request.longest]
            own = log_probability(follow_of(request), one.tokens)
            assert one.log_probability == pytest.approx(own)


@given(some_requests, st.integers(1, 5))
@many_cases
def test_beside_a_request_with_phrases_others_are_searched_as_ever(request_, beam):
    plain, options = request_._replace(present=()), Decoding(beam=beam)
    constrained = request_._replace(present=((4,),), longest=request_.longest + 3)
    together = search_toys([constrained, plain], options)
    same(together[1], search_toys([plain], options)[0])


def fewest(wanted: Wanted, tokens: tuple[int, ...]) -> int:
    """How many tokens more it takes, by trying all of them."""
    asked = tuple(wanted.phrases)
    times = dict(zip(wanted.phrases, wanted.start.missing, strict=True))
    repeated = tuple(phrase for phrase in asked for _ in range(times[phrase]))
    waiting = deque([tokens])
    while not has_all(list(waiting[0]), repeated):
        one = waiting.popleft()
        waiting += [(*one, word) for word in wanted.alphabet]
    return len(waiting[0]) - len(tokens)


@given(st.lists(phrases, max_size=3), st.lists(st.sampled_from(WORDS), max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_still_needed_is_the_fewest_tokens(some, tokens, twice):
    if sum(map(len, some)) > 7:
        some = some[:2]
    wanted = Wanted([*some, *some[:1]] if twice else some)
    assert wanted.need(wanted.of(tokens)) == fewest(wanted, tuple(tokens))


@given(
    st.lists(phrases, min_size=1, max_size=9),
    st.lists(st.sampled_from(WORDS), max_size=6),
    st.integers(0, 6),
)
@many_cases
def test_there_is_always_a_token_that_helps(some, tokens, exact):
    wanted = Wanted(some)
    kept, constraints.EXACT = constraints.EXACT, exact
    try:
        progress = wanted.of(tokens)
        from_nothing = wanted.need(progress._replace(begun=()))
        while need := wanted.need(progress):
            assert need <= from_nothing
            helpful = wanted.helpful(progress, need - 1)
            assert helpful
            progress = wanted.after(progress, helpful[-1])
            tokens = [*tokens, helpful[-1]]
    finally:
        constraints.EXACT = kept
    assert has_all(tokens, tuple(some))


def test_phrases_that_cannot_be_are_left_out():
    request = Request([], 4, present=((4,), (5, UNK), (6, 5), (4, 6)), absent=((6,),))
    assert possible(request) == ((4,),)
    assert possible(request._replace(absent=(), longest=2)) == ((4,),)
    assert possible(request._replace(absent=(), longest=3)) == ((4,), (6, 5), (4, 6))
    assert possible(Request([], 3, present=((4, 5), (5, 6)))) == ((4, 5), (5, 6))  # they overlap
    assert possible(Request([], 3, present=((4, 5),) * 2)) == ((4, 5),)
    assert possible(Request([], 3, prefix=(6, 4), present=((4, 5),))) == ((4, 5),)
    assert possible(Request([], 3, prefix=(6, 6), present=((4, 5),))) == ()
    assert contains([4, 5, 6], (5, 6))
    assert not contains([4, 5, 6], (6, 5))


def test_rules_that_contradict_each_other_cost_the_phrases_not_the_translation():
    engine, plain = PyTorch(model_of("lstm", vocab=11)), Request([5, 6], 2)
    torn = plain._replace(present=((7, 7), (8,))), plain._replace(present=((7, 7),))
    options = Decoding(beam=3, n_best=3, no_repeat_ngram=1)
    (expected,) = engine.search([plain], options)
    for found in engine.search(torn, options):
        same(found, expected)


def test_a_beam_that_is_dealt_out_finds_better_places_for_phrases(monkeypatch):
    requests = [Request([], 9, number=number, present=((4, 5, 4), (6, 6))) for number in range(40)]

    def mean_score() -> float:
        found = search_toys(requests, Decoding(beam=4), vocab=12)
        return float(np.mean([one.score for one, *_ in found]))

    dealt_out = mean_score()
    monkeypatch.setattr(
        constraints.Constraints, "choose", lambda self, *arguments: search.likeliest(*arguments)
    )
    assert dealt_out > mean_score() + 0.3


def test_a_phrase_may_be_as_long_as_the_translation():
    for words in itertools.product(WORDS, repeat=3):
        (found,) = search_toys([Request([], 3, present=(words,))], Decoding(beam=2))
        assert [one.tokens for one in found] == [list(words)]


def test_special_tokens_are_no_help():
    assert possible(Request([], 5, present=((EOS,), (4, EOS)))) == ()
    assert torch.tensor(Wanted(()).helpful(Wanted(()).start, -1)).numel() == 0
