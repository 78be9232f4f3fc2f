"""Laws of sampled pieces: each way to cut a word comes as often as the methods say."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from math import exp
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from seq2seq.config import Tokenizer as Options
from seq2seq.data import sampling
from seq2seq.data.sampling import Pieces, merges, unigrams
from seq2seq.data.tokenizer import UNK, Tokenizer, train_tokenizer

WORDS = ["".join(parts) for parts in product(["ka", "lo", "mi", "ne", "ru", "tä"], repeat=3)]
TEXT = [" ".join(WORDS[start::37]) for start in range(37)] * 3
KINDS = ["unigram", "bpe"]
TRIES = 20_000

LETTERS = st.sampled_from([*"kalominerutä  ", "ж", "日", "\u2581", "\n", "\ud800", "kalo", "<s>"])
LINE = st.lists(LETTERS, max_size=30).map("".join)


@cache
def toy(kind: str, byte_fallback: bool = True) -> Tokenizer:
    options = Options(kind=kind, vocab_size=310, byte_fallback=byte_fallback)
    return train_tokenizer(TEXT, options, 1, tags=["<bt>"], at_most=True)


def test_what_is_drawn_is_not_up_to_sentencepiece(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("its random numbers differ from process to process")

    plain = SentencePieceProcessor.encode
    monkeypatch.setattr(
        SentencePieceProcessor,
        "encode",
        lambda self, lines, **options: (
            refuse() if options.get("enable_sampling") else plain(self, lines, **options)
        ),
    )
    assert toy("bpe").sample(TEXT[:3], 0.5, 1) != toy("bpe").encode(TEXT[:3])


@pytest.mark.parametrize("byte_fallback", [True, False])
@given(line=LINE)
@example(line="日ж ka\u2581\u2581ж日")
@settings(max_examples=50, deadline=None)
def test_without_any_chance_the_pieces_are_those_of_encoding(byte_fallback, line):
    for kind, alpha in {"unigram": 1e6, "bpe": 0.0}.items():
        tokenizer = toy(kind, byte_fallback)
        (ids,) = tokenizer.encode([line])
        (drawn,) = tokenizer.sample([line], alpha, 1)
        if UNK not in ids:  # SentencePiece makes one of several unknown characters in a row
            assert drawn == ids


def _ways(text: str, scores: dict[str, float]) -> Iterator[tuple[str, ...]]:
    if not text:
        yield ()
    for end in range(1, len(text) + 1):
        if text[:end] in scores:
            yield from ((text[:end], *rest) for rest in _ways(text[end:], scores))


SCORES = {"a": -2.0, "b": -2.5, "c": -3.0, "ab": -3.5, "bc": -4.0, "abc": -4.5, "ca": -5.0}


@pytest.mark.parametrize("alpha", [0.01, 0.5, 1.0, 2.0])
def test_a_way_comes_as_often_as_its_probability_to_the_power_of_alpha(alpha):
    names = list(SCORES)
    cut = unigrams(Pieces({name: n for n, name in enumerate(names)}, SCORES, lambda c: []), alpha)
    random = Random(1)
    drawn = Counter(tuple(names[n] for n in cut("abcabc", random)) for _ in range(TRIES))
    weights = {way: exp(alpha * sum(map(SCORES.get, way))) for way in _ways("abcabc", SCORES)}
    assert {*drawn} <= {*weights}
    assert len(weights) > 15
    for way, weight in weights.items():
        expected = TRIES * weight / sum(weights.values())
        assert abs(drawn[way] - expected) < 5 * expected**0.5 + 1


RANKS = {"a": -9.0, "b": -10.0, "c": -11.0, "ab": -0.0, "bc": -1.0, "abc": -2.0, "ca": -3.0}


def _merged(parts: tuple[str, ...], alpha: Fraction) -> dict[tuple[str, ...], Fraction]:
    """The probability of every outcome, from all subsets of merges that may be left out."""
    found: dict[tuple[str, ...], Fraction] = defaultdict(Fraction)
    places = [n for n in range(len(parts) - 1) if parts[n] + parts[n + 1] in RANKS]
    for dropped in product([False, True], repeat=len(places)):
        chance = Fraction(1)
        for out in dropped:
            chance *= alpha if out else 1 - alpha
        left = [place for place, out in zip(places, dropped, strict=True) if not out]
        if not left:
            found[parts] += chance
            continue
        best = max(left, key=lambda n: (RANKS[parts[n] + parts[n + 1]], -n))
        after = (*parts[:best], parts[best] + parts[best + 1], *parts[best + 2 :])
        for way, further in _merged(after, alpha).items():
            found[way] += chance * further
    return found


@pytest.mark.parametrize("alpha", [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(1)])
def test_a_way_comes_as_often_as_merges_are_left_out(alpha):
    names = list(RANKS)
    pieces = Pieces({name: n for n, name in enumerate(names)}, RANKS, lambda c: [])
    cut, random = merges(pieces, float(alpha)), Random(1)
    drawn = Counter(tuple(names[n] for n in cut("abcabc", random)) for _ in range(TRIES))
    chances = _merged(tuple("abcabc"), alpha)
    assert sum(chances.values()) == 1
    assert {*drawn} <= {*chances}
    for way, chance in chances.items():
        expected = float(TRIES * chance)
        assert abs(drawn[way] - expected) < 5 * expected**0.5 + 1


def test_unigrams_are_drawn_as_sentencepiece_draws_them():
    tokenizer = toy("unigram")
    line = "kalomi ж"
    ours = Counter(map(tuple, tokenizer.sample([line] * TRIES, 0.3, 1)))
    theirs = Counter(
        map(
            tuple,
            SentencePieceProcessor(model_proto=tokenizer.model).encode(
                [line] * TRIES, enable_sampling=True, alpha=0.3, nbest_size=-1, num_threads=1
            ),
        )
    )
    assert len(ours) > 5
    for way in {*ours, *theirs}:
        total = ours[way] + theirs[way]
        assert abs(ours[way] - theirs[way]) < 6 * total**0.5 + 6


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_remembered_changes_nothing(kind, monkeypatch):
    expected = toy(kind).sample(TEXT, 0.3, 1)
    monkeypatch.setattr(sampling, "LONGEST_REMEMBERED", 0)
    assert Tokenizer(toy(kind).model).sample(TEXT, 0.3, 1) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_characters_that_are_no_pieces_are_spelled_as_in_encoding(kind):
    line = "日 ж"
    for byte_fallback in (True, False):
        tokenizer = toy(kind, byte_fallback)
        (ids,) = tokenizer.encode([line])
        assert (UNK in ids) == (not byte_fallback)
        (drawn,) = tokenizer.sample([line], 0.1, 1)
        assert Counter(ids) == Counter(drawn)
