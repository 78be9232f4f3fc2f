# ruff: noqa: RUF001 (text in many scripts)
"""The laws of long lines: cut into parts that are translated apart, and put together again."""

import json
import time

import pytest
from echo import (
    Echo,
    echoing,
    some_text,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.decoding.splitting import Part, sentences, split


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """The engine of every model that is opened."""
    return echoing(monkeypatch)


# Long lines


@given(some_text, st.integers(1, 20))
@settings(deadline=None)
def test_parts_are_the_text_and_fit(text, room):
    parts = split(text, lambda texts: [len(one) <= room for one in texts])
    assert "".join(part.text + part.gap for part in parts) == text
    assert all(len(part.text) <= room for part in parts)
    assert all(part.gap.isspace() or not part.gap for part in parts)
    assert parts[-1].gap == ""
    if len(text) <= room:
        assert parts == [Part(text, "")]


def test_what_fits_nowhere_is_cut_into_characters():
    parts = split("ab. c", lambda texts: [False] * len(texts))
    assert [part.text for part in parts if part.text] == ["a", "b", ".", "c"]


SENTENCES = [
    ["It rained. ", "We stayed in."],
    ["Cats, dogs etc. and the like! ", "He said “Stop!” and left."],
    ["Really?! ", "“Indeed.” ", "He left (again.) ", "They laughed…  ", "All of them."],
    ["Das Schiff sinkt. ", "Am 3. Oktober kam Dr. Meier, z. B. mit Prof. Ada B. Kuhn."],
    ["Im Jahr 1989. ", "„Wirklich?“ ", "Ja, etwa 3.5 Prozent."],
    ["他来了。", "“真的吗？”", "是的！", "我们走。"],
    ["वह आया। ", "क्या सच में? ", "हाँ।"],
    ["هل جاء؟ ", "نعم."],
    ["One line\n", "and another\n\n", "and a third"],
    ["e.g. this and v. 2 of that"],
]


@pytest.mark.parametrize("expected", SENTENCES)
def test_sentences_are_told_in_many_scripts(expected):
    found = sentences("".join(expected))
    assert [part.text + part.gap for part in found] == expected
    assert [part.text for part in found] == [sentence.strip() for sentence in expected]


def test_a_long_sentence_is_cut_where_it_does_least_harm():
    def cut(text: str) -> list[str]:
        return [part.text for part in split(text, lambda texts: [len(one) <= 20 for one in texts])]

    assert cut("when it rains a bit, we stay in bed") == ["when it rains a bit,", "we stay in bed"]
    assert cut("it rains all day and night long") == ["it rains all", "day and night long"]
    assert cut("下雨的时候我们都不出门因为外面很冷，我们在家里看书") == [
        "下雨的时候我们都不出门因为外面很冷，",
        "我们在家里看书",
    ]
    assert cut("a" * 30) == ["a" * 15] * 2
    assert cut("e\u0301" * 15) == ["e\u0301" * 7, "e\u0301" * 8]


@pytest.mark.parametrize(
    "unit", [".", ". ", " ", '"', '."', "\n", "a", "。", "\u0301", "a.\t", "🏳️‍🌈"]
)
def test_a_hostile_line_is_split_in_no_time(unit):
    text = "a" + unit * (100_000 // len(unit)) + "a"
    start = time.process_time()
    parts = split(text, lambda texts: [len(one) <= 200 for one in texts])
    assert time.process_time() - start < 5
    assert "".join(part.text + part.gap for part in parts) == text


def test_a_long_line_is_cut_or_split(echo, command):
    text = "abc xyz, " * 9 + "end.  " + "Eins zwei. Drei vier fünf sechs: sieben.\tAcht"
    cut = command("translate", stdin=b"a\n" + text.encode())
    warning = "warning: line 2 has 132 pieces; only the first 24 are translated (data.max_length)\n"
    assert cut == (0, f"a\n{text[:23]}\n".encode(), warning)
    echo.asked.clear()
    whole = command("translate", "--split", stdin=b"a\n" + text.encode())
    assert whole == (0, f"a\n{text}\n".encode(), "")
    numbers = [one.number for one in echo.asked]
    assert [number % (1 << 32) for number in numbers] == [1] + [2] * (len(numbers) - 1)
    assert len({*numbers}) == len(numbers)  # so that samples differ
    several = command("translate", "--split", "--n-best", "2", stdin=b"ab").out
    assert several == b"0 ||| ab ||| 0.000000\n0 ||| a ||| -0.500000\n"
    tagged = command("translate", "--split", "--tag", "<2de>", stdin=text.encode())
    assert tagged == (0, f"{text}\n".encode(), "")


def test_parts_of_a_line_add_up(echo, command):
    line = json.dumps(
        {"text": "Eins zwei drei.\n\nVier fünf sechs.", "prefix": "x", "absent": ["y"]}
    )
    found = json.loads(
        command("translate", "--json", "--split", "--tokens", "--scores", stdin=line.encode()).out
    )
    assert found["translation"] == "Eins zwei drei.\n\nVier fünf sechs."
    assert (
        "".join(found["tokens"])
        == "\u2581Eins\u2581zwei\u2581drei.\u2581Vier\u2581fünf\u2581sechs."
    )
    first, second = echo.asked
    assert (bool(first.prefix), bool(second.prefix)) == (True, False)
    assert first.absent == second.absent != ()
    held = json.dumps({"text": "Eins zwei drei. Vier fünf sechs.", "present": ["x"]})
    result = command("translate", "--json", "--split", stdin=held.encode())
    assert "only the first 24 are translated" in result.err
