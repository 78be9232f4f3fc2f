"""The laws of what people see: no foreign text commands a terminal, and scripts stay readable."""

import io
import json
import re
import signal
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.cli import main
from seq2seq.console import bar, for_terminal, interject, lines_for_terminal, print_line, say

ODD = "\x1b[2J \x9b31m \x00 \r \x7f \u202e \u2066 \u2028 \x85"
READABLE = [
    "می\u200cخواهم",  # noqa: RUF001 (Persian, with a non-joiner)
    "क्\u200dष",  # Devanagari, with a joiner
    "עברית \u200f(1)\u200e",
    "e\u0301 \u1e9b\u0323",
    "👩\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e007f",
    "10\u00a0000 \u202f %",
    "soft\u00adhyphen",
]


@given(st.text())
def test_what_is_printable_is_one_line_without_commands(text):
    shown = for_terminal(text)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(one) in ("Cc", "Zl", "Zp", "Cs") for one in shown)
    assert not {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))} & {*shown}
    assert for_terminal(shown) == shown
    shown.encode()


@pytest.mark.parametrize("text", READABLE)
def test_what_scripts_need_stays(text):
    assert for_terminal(text) == text


def test_our_line_ends_stay_in_messages():
    assert lines_for_terminal("a\n\x1b\r\nb") == "a\n\\x1b\\r\nb"


@pytest.mark.parametrize("show", [say, interject, print_line])
def test_all_that_shows_text_makes_it_printable(show, capsys):
    show(ODD)
    out, err = capsys.readouterr()
    assert (out + err).rstrip("\n") == for_terminal(ODD)


def test_a_bar_has_a_printable_description(monkeypatch):
    made = []
    monkeypatch.setattr("tqdm.tqdm", lambda **options: made.append(options))
    bar(ODD, 1, "lines")
    assert made[0]["desc"] == for_terminal(ODD)


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "no\x1b[31m.yaml"],
        ["translate", "--no\x1b[31m"],
        ["no\x1b[31m"],
        ["translate", "--engine", "\x1b[31m"],
        ["evaluate", "\x1b[31m"],
        ["evaluate", "--metrics", "\x1b[31m", "--hypothesis", "a", "--reference", "b"],
        ["report", "\x1b[31m"],
    ],
)
def test_wrong_command_lines_command_no_terminal(tmp_path, monkeypatch, command, arguments):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert result.code in (1, 2)
    assert r"\x1b[31m" in result.err
    assert "\x1b" not in result.err
    assert result.out == b""


def test_usage_is_shown_as_typer_shows_it(command):
    result = command("translate", "--beem")
    assert (result.code, result.out) == (2, b"")
    assert re.match(r"Usage: .* translate \[OPTIONS\]\n", result.err)
    assert "\nError: No such option: --beem" in result.err
    assert command("--version").code == 0


def test_tables_on_standard_output_are_printable(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("a\x1b[31m").write_text("one \x1b[2J line\nsame\n")
    Path("b").write_text("one plain line\nsame\n")
    files = ("--hypothesis", "a\x1b[31m", "--reference", "b", "--compare", "b")
    result = command("evaluate", *files, "--metrics", "chrf", "--details")
    assert result.code == 0
    assert rb"one \x1b[2J line" in result.out
    assert b"\x1b" not in result.out
    assert "\x1b" not in result.err


def test_samples_of_a_training_are_printable(own, command):
    lines = Path("valid.de").read_text().splitlines()
    Path("valid.de").write_text("".join(f"\x1b[2J{line}\n" for line in lines))
    result = command("train", "toy.yaml", "--set", "training.max_updates=20", "--fresh")
    assert result.code == 0
    assert r": \x1b[2J" in result.err
    assert "\x1b" not in result.err


@pytest.mark.parametrize("flag", ["--json", "--details"])
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_results_are_utf_8_whatever_the_locale(tmp_path, monkeypatch, flag, encoding):
    monkeypatch.chdir(tmp_path)
    Path("好").write_text("你好\nא\n", encoding="utf-8")
    Path("b").write_text("你们\nא\n", encoding="utf-8")
    files = ["--hypothesis", "好", "--reference", "b", "--compare", "b", "--metrics", "chrf"]
    out = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["seq2seq", "evaluate", *files, flag])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding, write_through=True))
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        with pytest.raises(SystemExit) as end:
            main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert not end.value.code
    assert "你" in out.getvalue().decode("utf-8")
    if flag == "--json":
        assert [*json.loads(out.getvalue())["sets"]] == ["好"]
