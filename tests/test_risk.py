"""The laws of minimum Bayes risk."""

import numpy as np
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.config import Decoding
from seq2seq.decoding.risk import UTILITIES, least_risk

UTILITY = np.random.default_rng(1).random((5, 5))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_the_first_is_that_of_the_highest_mean_utility(drawn):
    texts = [str(one) for one in drawn]
    order = least_risk(texts, lambda text, other: UTILITY[int(text), int(other)])
    means = UTILITY[:, drawn].mean(axis=1)
    assert sorted(texts[place] for place in order) == sorted({*texts})  # each once
    assert [means[drawn[place]] for place in order] == sorted(means[[*{*drawn}]], reverse=True)
    assert all(texts.index(texts[place]) == place for place in order)


def test_what_is_there_more_often_counts_more():
    def equal(text: str, other: str) -> float:
        return float(text == other)

    assert least_risk(["a", "b", "c", "b"], equal) == [1, 0, 2]
    assert least_risk(["a"], equal) == [0]
    assert least_risk([], equal) == []


def test_utilities_are_those_of_sacrebleu():
    one, other = "the green house is old", "the old house is green now"
    assert UTILITIES["chrf"](one, other) == sacrebleu.sentence_chrf(one, [other]).score
    assert UTILITIES["bleu"](one, other) == sacrebleu.sentence_bleu(one, [other]).score
    for name in Decoding.model_fields["risk"].annotation.__args__:
        assert name == "none" or UTILITIES[name]("", "a") == 0


def test_bleu_counts_the_words_of_the_language():
    one, other = "今天天气很好", "今天天气不好"
    assert (
        UTILITIES["bleu"](one, other, "zh-TW")
        == sacrebleu.sentence_bleu(one, [other], tokenize="zh").score
    )
    assert UTILITIES["bleu"](one, other, "zh") > UTILITIES["bleu"](one, other, "de") == 0
    assert UTILITIES["bleu"]("ສະບາຍດີ", "ສະບາຍ", "lo") > 0


def test_the_one_in_the_middle_has_the_least_risk():
    texts = ["a cat sits here", "a cat sits on the mat", "the cat sits on the mat", "dogs bark"]
    for utility in UTILITIES.values():
        order = least_risk(texts, utility)
        assert texts[order[0]] == "a cat sits on the mat"
        assert texts[order[-1]] == "dogs bark"
