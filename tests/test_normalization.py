"""Laws of normalization: each line by itself, in the order of the names, and no line feed."""

# ruff: noqa: RUF001 (signs that look alike are what some of this is about)

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacremoses import MosesPunctNormalizer

from seq2seq.data.normalization import NORMALIZERS, normalizer
from seq2seq.errors import UserError

SIGNS = " \t\r\u00a0\u200b\ufeff\u3000aB1%.,:;!?\"'`´‘’“”„«»–—…()<ßÀ\u0301ﬁ好"
TEXT = st.text() | st.text(st.sampled_from(SIGNS))


@settings(deadline=None)
@given(TEXT)
def test_normalizing_again_changes_nothing(text: str) -> None:
    for name in NORMALIZERS.keys() - {"punctuation"}:
        normalize = normalizer([name], "de")
        assert normalize(normalize(text)) == normalize(text)


@settings(deadline=None)
@given(TEXT, st.permutations(list(NORMALIZERS)), st.integers(0, 4))
def test_normalizers_follow_each_other_in_their_order(
    text: str, names: list[str], count: int
) -> None:
    expected = text
    for name in names[:count]:
        expected = normalizer([name], "en")(expected)
    assert normalizer(names[:count], "en")(text) == expected


@settings(deadline=None)
@given(st.lists(TEXT), st.sampled_from(["en", "de", "cs", "source"]))
def test_company_changes_nothing(texts: list[str], language: str) -> None:
    for name in NORMALIZERS:
        normalize = normalizer([name], language)
        assert [*map(normalize, texts)] == [normalizer([name], language)(text) for text in texts]


@settings(deadline=None)
@given(TEXT, st.sampled_from(["en", "de", "cs", "source"]))
def test_no_line_feed_is_made(text: str, language: str) -> None:
    line = text.replace("\n", "")
    assert not any("\n" in normalizer([name], language)(line) for name in NORMALIZERS)


@settings(deadline=None)
@given(TEXT)
def test_white_space_is_one_space_between_words(text: str) -> None:
    normal = normalizer(["whitespace"], "en")(text)
    assert normal == normal.strip()
    assert "  " not in normal
    assert not any(sign.isspace() and sign != " " for sign in normal)
    assert not {"\u200b", "\ufeff"} & {*normal}
    inked = "".join(text.replace("\u200b", "").replace("\ufeff", "").replace("\u2060", "").split())
    assert normal.replace(" ", "") == inked


@pytest.mark.parametrize(
    ("names", "language", "text", "expected"),
    [
        ([], "en", " a\u00a0\r ", " a\u00a0\r "),
        (["nfc"], "en", "e\u0301 ﬁ", "é ﬁ"),
        (["nfkc"], "en", "e\u0301 ﬁ ２", "é fi 2"),
        (["whitespace"], "en", "\ufeffa \u200b\u00a0\u3000b\u2009", "a b"),
        (["whitespace"], "fa", "می\u200cخواهم", "می\u200cخواهم"),
        (["punctuation"], "en", "“Yes”, he said — it’s…", '"Yes," he said - it\'s...'),
        (["punctuation"], "de-AT", "„Ja“, sagte er – «nein»", '"Ja", sagte er - "nein"'),
        (["punctuation"], "de", '"Ja," sagte er', '"Ja", sagte er'),
        (["punctuation"], "en", "10\u00a0000", "10\u00a0000"),
        (["nfkc", "punctuation"], "zh", "你好！", "你好!"),
    ],
)
def test_normalizers_do_what_their_names_say(
    names: list[str], language: str, text: str, expected: str
) -> None:
    assert normalizer(names, language)(text) == expected


@settings(deadline=None)
@given(st.text(st.sampled_from(SIGNS)), st.sampled_from(["en", "de", "es", "fr", "cs", "pl"]))
def test_punctuation_is_that_of_moses(text: str, language: str) -> None:
    moses = MosesPunctNormalizer(language).normalize
    assert normalizer(["punctuation"], f"{language}_XX")(text.replace("1", "")) == moses(
        text.replace("1", "")
    )


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(UserError, match=r"pip install 'seq2seq\[moses\]'"):
        normalizer(["punctuation"], "en")
