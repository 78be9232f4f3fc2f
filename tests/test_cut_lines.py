"""Laws of lines that are longer than a model reads: a few are named, and all are counted."""

from pathlib import Path

import pytest

from seq2seq.decoding.translator import CUT, SHOWN, Warnings

LONG = "1 2 3 4 5 6 7 8 9 0 " * 6  # more than the 48 pieces of the toy


@pytest.mark.parametrize("count", [0, 1, SHOWN, SHOWN + 1, 60])
def test_few_of_many_are_named_and_all_are_counted(count):
    said: list[str] = []
    warnings = Warnings(said.append)
    for number in range(count):
        warnings(f"line {number} {CUT}")
        warnings("another")
    warnings.close()
    assert said.count("another") == count
    expected = [f"line {number} {CUT}" for number in range(min(count, SHOWN))]
    if count > SHOWN:
        expected.append(f"{count} lines in all are longer than the model reads {CUT}")
    assert [one for one in said if one != "another"] == expected


def cut_in(said: str) -> list[str]:
    """The warnings of what was cut."""
    return [line for line in said.splitlines() if line.endswith(CUT)]


def test_translate_says_once_how_many_lines_are_cut(trained, command):
    lines = f"{LONG}\n" * 30 + "1 2\n"
    result = command("translate", "--beam", "1", "--buffer", "7", stdin=lines.encode())
    assert (result.code, result.out.count(b"\n")) == (0, 31)
    *named, last = cut_in(result.err)
    assert len(named) == SHOWN
    assert last == f"warning: 30 lines in all are longer than the model reads {CUT}"


def test_score_says_once_how_many_pairs_are_cut(trained, command):
    result = command("score", stdin=f"{LONG}\teins\n".encode() * 9)
    assert (result.code, result.out.count(b"\n")) == (0, 9)
    *named, last = cut_in(result.err)
    assert len(named) == SHOWN
    assert last == f"warning: 9 pairs in all are longer than the model reads {CUT}"


def test_evaluate_says_once_how_many_lines_are_cut(own, command):
    Path("first.digits").write_text(f"{LONG}\n" * 8)
    result = command("evaluate", "--metrics", "bleu")
    assert result.code == 0, result.err
    *named, last = cut_in(result.err)
    assert len(named) == SHOWN
    assert last == f"warning: first: 8 lines in all are longer than the model reads {CUT}"
