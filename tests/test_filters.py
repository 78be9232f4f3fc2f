"""Laws of cleaning: what each rule keeps and drops, and which of equal pairs is the first."""

# ruff: noqa: RUF001 (letters that look alike are what some of this is about)

import os
import subprocess
import sys
import tracemalloc
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from seq2seq.config.rules import RULES, Filter
from seq2seq.data import filters
from seq2seq.data.filters import FILTERS, description, fingerprints, first_of_each
from seq2seq.data.inspection import count_letters, figures
from seq2seq.errors import UserError

ENGLISH = "The weather was so beautiful that we went for a long walk in the woods."
GERMAN = "Das Wetter war so schön, dass wir einen langen Spaziergang im Wald machten."
FRENCH = "Il faisait si beau que nous avons fait une longue promenade dans la forêt."

# What Unicode has assigned stays as it is; what it has not may differ from one library to another.
TEXT = st.text(st.characters(exclude_categories=["Cn"]))
PRINTED = st.text(st.sampled_from("aB 1,.<>&;()[]{}（）\"'’“”„«»—…`ß\u00a0\u0301\u200bЖ好٣"))


def keeper(rule: str, **options: object) -> Callable[[str, str], bool]:
    section = TypeAdapter(Filter).validate_python({"rule": rule, **options})
    return FILTERS[rule](section, ("en", "de"))


KEPT = [
    ("empty", {}, "a", "."),
    ("empty", {}, " 1 ", "\u200bא"),
    ("length", {"max": 3}, "one two three", " eins\u00a0zwei  drei "),
    ("length", {"min": 2, "max": 3}, "one two", "eins zwei drei"),
    ("length", {"max": 3, "unit": "characters"}, " 你好吗 ", "abc"),
    ("ratio", {"max": 2.0}, "abcdef", " abc "),
    ("ratio", {"max": 1.5, "unit": "words"}, "a b c", "encyclopedia entries"),
    ("ratio", {}, "", " "),
    ("identical", {}, "Taxi", "Taxis"),
    ("identical", {}, "a b", "ab"),
    ("letters", {}, "a1", "b2"),
    ("letters", {}, "a b c 123", "ä ö ü 123"),
    ("letters", {"min": 1.0}, "हिन्दी में", "ภาษา\u00a0ไทย"),
    ("letters", {}, "", " "),
    ("script", {}, "naïve", "Straße µ ʹ"),
    ("script", {"min": 0.75}, "abcЖ", "123 !?"),
    ("script", {"source": ["han", "Hiragana", "Katakana"]}, "カレーを食べる", "I eat curry"),
    ("script", {"source": ["Devanagari"], "min": 1.0}, "हिन्दी में 3", "in Hindi"),
    ("script", {"source": ["Latin", "Cyrillic"], "min": 1.0}, "Привет Tom", "Hi Tom"),
    ("script", {"source": ["Cyrillic"], "min": 1.0}, "молоко\u0301", "milk"),
    ("numbers", {}, "no figures", "keine Ziffern"),
    ("numbers", {}, "It costs 1,000.5 euros", "Es kostet 1.000,5 Euro"),
    ("numbers", {}, "12,345,678 people", "12 345 678 Menschen"),
    ("numbers", {}, "12,34,567 people", "1 234 567 Menschen"),
    ("numbers", {}, "10,000 francs", "10'000 Franken"),
    ("numbers", {}, "10,000 francs", "10000 Franken"),
    ("numbers", {}, "the 3rd of 5", "Teil 5, der 3."),
    ("numbers", {}, "On 01/05/2024 at 10:00", "Am 5.1.2024 um 10 Uhr"),
    ("numbers", {}, "٣٫٥ and １２", "3.5 und 12"),
    ("numbers", {}, "In 2010 300 came", "2010 kamen 300"),
    ("brackets", {}, "a (b) [c]", "[c] (b) a"),
    ("brackets", {}, "你（好）", "a (b)"),
    ("brackets", {}, "a )b(", "a (b)"),
    ("markup", {}, "a < b and c > d", "a <b and c> d"),
    ("markup", {}, "I <3 you", "R&D; AT&T; Q & A; Tom&Mary;"),
    ("markup", {}, "<me@example.org>", "<https://example.org/?a=1&b=2>"),
    ("markup", {}, "-> <- <= <> <1>", "&"),
    ("control", {}, "a\tb\u00a0c", "می\u200cخواهم soft\u00adhyphen\u200d\u200f\u2028"),
    ("language", {}, ENGLISH, GERMAN),
    ("language", {}, "Taxi!", "Ja, das stimmt."),
    ("language", {"languages": ["fr", "de"]}, FRENCH, GERMAN),
    ("language", {"languages": ["fra_Latn", "German"]}, FRENCH, GERMAN),
    ("language", {"min": 0.0}, FRENCH, FRENCH),
]
DROPPED = [
    ("empty", {}, "", "a"),
    ("empty", {}, "a", " \u00a0\u3000\t\u200b\ufeff"),
    ("length", {"max": 2}, "one two three", "eins"),
    ("length", {}, "one", " "),
    ("length", {"min": 2}, "one two", "eins"),
    ("length", {"max": 3, "unit": "characters"}, "abc", "你好吗你"),
    ("ratio", {"max": 2.0}, "abcdefg", "abc"),
    ("ratio", {"max": 1.5, "unit": "words"}, "a b c d", "encyclopedia entries"),
    ("ratio", {}, "a", " "),
    ("identical", {}, "Tom  is\there", " tom is\u00a0HERE "),
    ("identical", {}, "STRASSE", "Straße"),
    ("identical", {}, "", ""),
    ("letters", {}, "a 12", "Haus"),
    ("letters", {}, "a12", "Haus"),
    ("letters", {}, "Haus", "你\u30001234"),
    ("letters", {"min": 0.01}, "a", "..."),
    ("script", {}, "house", "дом"),
    ("script", {"min": 0.8}, "abcЖ", "abc"),
    ("script", {"source": ["Devanagari"]}, "in Hindi", "in Hindi"),
    ("numbers", {}, "in 2024", "im Jahr 2023"),
    ("numbers", {}, "1 and 1", "1"),
    ("numbers", {}, "12", "21"),
    ("numbers", {}, "1,000", "1,00"),
    ("numbers", {}, "two", "2"),
    ("brackets", {}, "a (b)", "a b"),
    ("brackets", {}, "a (b)", "a [b]"),
    ("brackets", {}, "a) b", "(a) b"),
    ("markup", {}, "a <b>bold</b> word", "ein Wort"),
    ("markup", {}, "word", 'see <a class="x" href = y>'),
    ("markup", {}, "line<br/>break", "Zeile"),
    ("markup", {}, "word", "end</p >"),
    ("markup", {}, "<!-- note -->", "x"),
    ("markup", {}, "<?xml version", "<!DOCTYPE html>"),
    ("markup", {}, "Tom &amp; Mary", "Tom & Maria"),
    ("markup", {}, "it&#39;s", "es"),
    ("markup", {}, "it", "&#x27; &nbsp;"),
    ("markup", {}, "Tom & amp ; Mary", "Tom"),
    ("control", {}, "bell\a", "a"),
    ("control", {}, "a", "caf\ufffd"),
    ("control", {}, "\u0085", "a"),
    ("control", {}, "a", "\ue000"),
    ("control", {}, "a", "\ufffe"),
    ("control", {}, "\ud800", "a"),
    ("language", {}, ENGLISH, FRENCH),
    ("language", {}, GERMAN, ENGLISH),
    ("language", {"languages": ["eng_Latn", "ger"]}, GERMAN, ENGLISH),
    ("language", {"min_characters": 1}, ENGLISH, "12345"),
]


def test_every_rule_that_has_no_memory_stands_in_filters() -> None:
    assert FILTERS.keys() == RULES.keys() - {"duplicates"}
    assert {rule for rule, *_ in KEPT} == {rule for rule, *_ in DROPPED} == FILTERS.keys()


@pytest.mark.parametrize(("rule", "options", "source", "target"), KEPT)
def test_good_pairs_are_kept(rule: str, options: dict, source: str, target: str) -> None:
    assert keeper(rule, **options)(source, target) is True


@pytest.mark.parametrize(("rule", "options", "source", "target"), DROPPED)
def test_bad_pairs_are_dropped(rule: str, options: dict, source: str, target: str) -> None:
    assert keeper(rule, **options)(source, target) is False


@settings(deadline=None)
@given(TEXT | PRINTED, TEXT | PRINTED)
def test_rules_treat_both_sides_alike(source: str, target: str) -> None:
    for rule in FILTERS.keys() - {"language"}:
        keeps = keeper(rule)
        assert keeps(source, target) == keeps(target, source)


@settings(deadline=None)
@given(TEXT | PRINTED)
def test_a_copy_differs_in_nothing(text: str) -> None:
    for rule in ("ratio", "numbers", "brackets"):
        assert keeper(rule)(text, text)
    assert not keeper("identical")(text, f" {text.casefold()}\u00a0")


@settings(deadline=None)
@given(TEXT | PRINTED)
@example("a\ud800é")
def test_letters_are_those_of_the_unicode_categories(text: str) -> None:
    assert count_letters(text) == sum(unicodedata.category(sign)[0] in "LM" for sign in text)


@settings(deadline=None)
@given(TEXT)
def test_control_characters_are_those_of_the_unicode_categories(text: str) -> None:
    bad = [
        sign == "\ufffd" or (unicodedata.category(sign) in ("Cc", "Co", "Cs") and sign != "\t")
        for sign in text
    ]
    assert keeper("control")(text, "a") is not any(bad)


@settings(deadline=None)
@given(
    st.integers(1, 10**12),
    st.sampled_from([",", ".", " ", "'", "’", "\u00a0", "\u202f"]),
    st.sampled_from("٠०０"),
)
def test_separators_and_kinds_of_digits_do_not_change_a_number(
    number: int, separator: str, zero: str
) -> None:
    grouped = f"{number:,}".replace(",", separator)
    digits = str.maketrans({str(digit): chr(ord(zero) + digit) for digit in range(10)})
    assert figures(f"a {grouped}.") == figures(f"{number:013d}") == [str(number)]
    assert figures(grouped.translate(digits)) == [str(number)]


def test_a_share_that_is_just_the_least_is_enough() -> None:
    for hundredths in range(101):
        text = "a" * hundredths + "1" * (100 - hundredths)
        assert keeper("letters", min=hundredths / 100)(text, text)
        mixed = "a" * hundredths + "Ж" * (100 - hundredths)
        assert keeper("script", min=hundredths / 100)(mixed, mixed)
    for tenths in range(10, 100):
        assert keeper("ratio", max=tenths / 10)("a" * tenths, "a" * 10)


def test_a_long_line_is_judged_in_time_that_grows_with_its_length() -> None:
    hostile = ["<a ", "<a b=", "&a", "& # ", "1,", "1,11", "1 111", "(", "Ж1", "\u0301", "< a"]
    for rule in FILTERS.keys() - {"language"}:
        for some in hostile:
            keeper(rule)(some * 50_000, some * 50_000)  # squares of this take minutes


@pytest.mark.parametrize("name", ["Klingon", "Latin}|.", "Japanese", r"\p{L}", "é"])
def test_a_script_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(UserError, match="is no script of Unicode; Japanese is in Han") as raised:
        keeper("script", target=["Latin", name])
    assert f"the rule script: {name} is" in str(raised.value)


def test_a_language_that_is_not_known_is_named_beside_those_that_are() -> None:
    with pytest.raises(UserError, match=r"does not know Englisch; .* codes: .*\bde\b.*\ben\b"):
        keeper("language", languages=["Englisch", "de"])


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    filters._identifier.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'seq2seq\[language\]'"):
        keeper("language")


def test_descriptions_tell_every_parameter() -> None:
    rules = [
        {"rule": "length", "max": 100},
        {"rule": "length", "min": 2},
        {"rule": "length", "unit": "characters"},
        {"rule": "ratio", "max": 2.5},
        {"rule": "ratio", "unit": "words"},
        {"rule": "duplicates", "of": "source"},
        {"rule": "duplicates", "of": "target"},
        {"rule": "letters", "min": 0.25},
        {"rule": "script", "source": ["Greek"]},
        {"rule": "script", "target": ["Greek"]},
        {"rule": "script", "min": 0.9},
        {"rule": "language", "languages": ["en", "de"]},
        {"rule": "language", "min": 0.9},
        {"rule": "language", "min_characters": 9},
        *({"rule": rule} for rule in RULES),
    ]
    texts = [description(TypeAdapter(Filter).validate_python(rule)) for rule in rules]
    assert len(set(texts)) == len(rules)
    assert all(text.startswith(rule["rule"]) for text, rule in zip(texts, rules, strict=True))
    assert texts[0] == "length (max 100 words)"
    assert texts[5] == "duplicates of source"


@settings(deadline=None)
@given(st.lists(st.integers(0, 9) | st.integers(2**64 - 3, 2**64 - 1)), st.integers(1, 5))
def test_the_first_of_each_is_what_a_set_has_not_seen(numbers: list[int], block: int) -> None:
    seen: set[int] = set()
    expected = [number not in seen and not seen.add(number) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "BLOCK", block)
        assert first_of_each(np.array(numbers, dtype=np.uint64)).tolist() == expected


def test_finding_duplicates_takes_less_than_16_bytes_a_pair() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 3_000_000, dtype=np.uint64)
    block = 24 * filters.BLOCK  # what a block takes, however many pairs there are
    tracemalloc.start()
    first_of_each(hashes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9 * len(hashes) + block  # and 4 to sort, which are not traced


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, TEXT)
@example("\ud800", "a", "?", "a")
def test_fingerprints_are_alike_where_their_text_is(a: str, b: str, c: str, d: str) -> None:
    pair, source, target = map(fingerprints, ("pair", "source", "target"))
    assert (pair(a, b) == pair(c, d)) is ((a, b) == (c, d))
    assert (source(a, b) == source(c, d)) is (a == c)
    assert (target(a, b) == target(c, d)) is (b == d)
    assert pair(f"{a}x", b) != pair(a, f"x{b}")
    assert 0 <= pair(a, b) < 2**64


def test_fingerprints_are_the_same_in_every_process() -> None:
    code = "from seq2seq.data.filters import fingerprints; print(fingerprints('pair')('é', 'b'))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert int(other) == fingerprints("pair")("é", "b")
