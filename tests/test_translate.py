# ruff: noqa: RUF001 (text in many scripts)
"""The laws of the filter, most of them with an engine that gives back what it is given.

So a translation is the text itself as its tokenizer writes it, and any line that is lost, moved,
cut or changed on its way shows.
"""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from together import PATIENCE, processes
from tqdm import tqdm

import seq2seq
from seq2seq import cli, python
from seq2seq.config import Config, Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.config.changing import changed
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.forms import Json, Text, Tsv
from seq2seq.decoding.phrases import begun, contained, forbidden
from seq2seq.decoding.risk import UTILITIES
from seq2seq.decoding.splitting import Part, sentences, split
from seq2seq.decoding.translator import Line, Translator
from seq2seq.errors import ConfigError, UserError
from seq2seq.filtering import Filter, alone
from seq2seq.runs import Opened
from seq2seq.text.inflate import zstd
from seq2seq.text.streams import Files, buffers, count_lines, lines, reading
from seq2seq.translate import Pace, translate, write

PAGE = (Path(__file__).parent.parent / "docs" / "translating.md").read_text(encoding="utf-8")

MAX_LENGTH = 24
TEXT = ["Eins, zwei und drei.", "Vier (fünf) sechs!", "Sieben? Acht; neun: null.", "abc xyz - 0"]
TAGS = ["<2de>", "<2fr>"]


class Echo:
    """An engine that gives back its source without tags, and worse ones that lack its end."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.options: list[Decoding] = []

    def search(
        self,
        requests: Sequence[Request],
        options: Decoding,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Hypothesis]]:
        self.asked += requests
        self.options.append(options)
        done(len(requests))
        tags = {TOKENIZER.tag(tag) for tag in TAGS}
        found = []
        for request in requests:
            assert request.source
            assert len(request.source) <= MAX_LENGTH
            tokens = [token for token in request.source if token not in tags]
            found.append(
                [
                    Hypothesis(tokens[: len(tokens) - worse], -worse / 2, -float(worse))
                    for worse in range(min(options.n_best, len(tokens)))
                ]
            )
        return found


OPTIONS = TokenizerOptions(kind="char", vocab_size=330)
TOKENIZER = train_tokenizer(TEXT * 3, OPTIONS, 1, tags=TAGS)
CONFIG = Config.model_validate(
    {
        "name": "echo",
        "data": {"train": ["a"], "valid": "b", "max_length": MAX_LENGTH},
        "decoding": {"beam": 5, "batch_tokens": 1000},
    }
)
OPENED = Opened(CONFIG, Tokenizers(TOKENIZER, TOKENIZER), Path("echo"), Path("echo"))

some_bytes = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))
some_text = st.text(max_size=40) | st.text("ab.,!? \u3002\n\u0301\U0001f600", max_size=120)
in_a_fixture = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)


def echoed(text: str) -> str:
    """The translation of a text that is not too long."""
    (ids,) = TOKENIZER.encode([text])
    return TOKENIZER.decode([ids[:MAX_LENGTH]])[0]


def translator_of(engine: Echo, **more: Any) -> Translator:
    return Translator(engine, OPENED.tokenizers, CONFIG.decoding, CONFIG.data, **more)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """The engine of every model that is opened."""
    engine = Echo()
    monkeypatch.setattr("seq2seq.filtering.open_engine", lambda *_: engine)
    monkeypatch.setattr("seq2seq.python.open_engine", lambda *_: engine)
    for module in ("translate", "python"):
        monkeypatch.setattr(f"seq2seq.{module}.open_model", lambda *_, **__: OPENED)
    return engine


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(content: bytes) -> list[bytes]:
    """The lines of an output, of which each has its end."""
    assert not content or content.endswith(b"\n")
    return content.split(b"\n")[:-1]


# Lines


def test_lines_end_at_line_feeds_alone():
    content = b"\xef\xbb\xbf1\r\n\r\n2\r3 \x0b\x0c\x85\n\n\xe2\x80\xa84"
    expected = [b"1", b"", b"2\r3 \x0b\x0c\x85", b"", b"\xe2\x80\xa84"]
    assert [*lines(io.BytesIO(content))] == expected
    assert count_lines(io.BytesIO(content)) == 5
    assert count_lines(io.BytesIO(content + b"\n")) == 5
    assert count_lines(io.BytesIO()) == 0


@given(st.lists(some_bytes, max_size=30), st.integers(1, 9))
def test_buffers_are_the_lines_so_many_at_once(some, size):
    found = list(buffers(some, size))
    assert [*itertools.chain(*found)] == some
    assert all(len(buffer) == size for buffer in found[:-1])


def test_what_has_no_line_ends_is_no_text(monkeypatch):
    monkeypatch.setattr("seq2seq.text.streams.LONGEST_LINE", 1 << 20)
    longest = b"a" * ((1 << 20) - 2)
    assert [*lines(io.BytesIO(b"b\n" + longest + b"\nc"))] == [b"b", longest, b"c"]
    with pytest.raises(UserError, match=r"^line 2 is longer than 1 MiB; is the input text\?$"):
        list(lines(io.BytesIO(b"b\n" + longest + b"aa\nc")))


def test_few_long_lines_fill_a_buffer():
    found = list(buffers([b"a" * 5_000_000] * 9, 1024))
    assert [len(buffer) for buffer in found] == [4, 4, 1]


@pytest.mark.parametrize("size", [1, 3])
def test_no_more_is_read_than_is_answered(size, echo):
    rows = iter([b"%d" % number for number in range(10)])
    answers = alone(Filter(OPENED, Text(), False), buffers(rows, size), 1, lambda count: None)
    first = next(answers)
    assert first.content == b"".join(b"%d\n" % number for number in range(size))
    assert len(list(rows)) == 10 - size


FORMS = {"": Text(), "--tsv --column 2": Tsv(column=2), "--json": Json(check=TOKENIZER.tag)}


@pytest.mark.parametrize("flags", FORMS)
@given(some=st.lists(some_bytes | some_text.map(str.encode), max_size=9), size=st.integers(1, 4))
@in_a_fixture
def test_a_line_comes_out_for_each_that_goes_in(flags, some, size, echo, command):
    some = [line.replace(b"\n", b" ") for line in some] + [b"end"]
    result = command("translate", *flags.split(), "--buffer", str(size), stdin=b"\n".join(some))
    assert result.code == 0
    found = rows_of(result.out)
    assert len(found) == len(some)
    one = Filter(OPENED, FORMS[flags], False)
    for line, answer in zip(some, found, strict=True):
        line = line.removesuffix(b"\r")
        assert one.answer([line], 1).content == answer + b"\n" or line.startswith(b"\xef\xbb\xbf")


@given(some_text)
@in_a_fixture
def test_text_becomes_its_translation(echo, command, text):
    line = text.replace("\n", " ").rstrip("\r").lstrip("\ufeff")
    assert command("translate", stdin=line.encode()).out.decode() == f"{echoed(line)}\n" * bool(
        line
    )


# JSON

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)  # fmt: skip
FIELDS = {"tag", "prefix", "present", "absent", "text", "source"}
free_names = st.text(max_size=6).filter(lambda name: name not in FIELDS)


@given(
    st.dictionaries(free_names, values, max_size=4), st.sampled_from(["text", "source"]), some_text
)
@in_a_fixture
def test_fields_that_are_not_ours_pass_through(echo, command, fields, name, text):
    asked = {**fields, name: text}
    result = command("translate", "--json", stdin=json.dumps(asked).encode())
    expected = {**asked, "translation": echoed(text)}
    for ours in {"translations", "score", "log_probability", "tokens", "error"} & {*fields}:
        del expected[ours]
    assert json.loads(result.out) == expected


def test_fields_of_an_earlier_answer_are_replaced(echo, command):
    earlier = {"translation": "x", "translations": [], "score": 1, "error": "y", "tokens": 2}
    line = json.dumps({"text": "ab", "id": 3, **earlier}).encode()
    found = json.loads(command("translate", "--json", stdin=line).out)
    assert found == {"text": "ab", "id": 3, "translation": "ab"}
    wrong = json.loads(command("translate", "--json", "--tag", "<2de>", stdin=line[:-1]).out)
    assert [*wrong] == ["error"]


def test_a_string_is_an_object_with_a_text(echo, command):
    found = command("translate", "--json", stdin=b'"eins"\n').out
    assert json.loads(found) == {"text": "eins", "translation": "eins"}


def test_text_goes_before_source(echo, command):
    found = command("translate", "--json", stdin=b'{"source": "zwei", "text": "eins"}').out
    assert json.loads(found)["translation"] == "eins"


def test_scores_and_pieces_come_on_request(echo, command):
    flags = ["--json", "--n-best", "2"]
    (plain,) = rows_of(command("translate", *flags, stdin=b'"ab"').out)
    first = {"translation": "ab", "score": 0.0, "log_probability": 0.0}
    second = {"translation": "a", "score": -0.5, "log_probability": -1.0}
    whole = {"text": "ab", "translation": "ab", "translations": [first, second]}
    assert json.loads(plain) == whole
    found = json.loads(command("translate", *flags, "--scores", "--tokens", stdin=b'"ab"').out)
    pieces = ["\u2581", "a", "b"]
    assert found.pop("translations") == [
        {**first, "tokens": pieces},
        {**second, "tokens": pieces[:2]},
    ]
    assert found == {"text": "ab", **first, "tokens": pieces}
    single = json.loads(command("translate", "--json", "--scores", stdin=b'"ab"').out)
    assert single == {"text": "ab", **first}


WRONG = {
    b"": "is not JSON: Expecting value at column 1",
    b'{"text": 1}': "has a text that is no string",
    b"[1]": "is neither an object nor a string",
    b"{}": "has neither text nor source",
    b'{"text": "a", "tag": "<2es>"}': "<2es> is no tag of this model; it knows <2de>, <2fr>",
    b'{"text": "a", "prefix": []}': "has a prefix that is no string",
    b'{"text": "a", "present": "b"}': "has present that is no list of strings",
    b'{"text": "a", "absent": [1]}': "has absent that is no list of strings",
    b'{"text": NaN}': "is not JSON: NaN is no number",
    b"1e999": "is not JSON: 1e999 is too large a number",
    b"[" * 100_000: "is JSON that is nested too deeply",
    b"9" * 5000: "is not JSON: Exceeds the limit",
}


@pytest.mark.parametrize("line", WRONG, ids=range(len(WRONG)))
def test_a_line_that_cannot_be_understood_says_so_in_its_place(echo, command, line):
    result = command("translate", "--json", stdin=b'"a"\n' + line + b'\n"b"\n')
    assert result.code == 0
    first, wrong, last = map(json.loads, rows_of(result.out))
    assert (first["translation"], last["translation"]) == ("a", "b")
    assert wrong["error"].startswith(WRONG[line])
    assert "translation" not in wrong
    assert result.err.startswith(f"warning: line 2 {WRONG[line]}")
    assert result.err.count("\n") == 1


def test_what_is_wanted_of_a_translation_reaches_the_engine(echo, command):
    asked = {"text": "ab", "tag": "<2fr>", "prefix": "Ei", "present": ["c", ""], "absent": ["xy"]}
    command("translate", "--json", "--tag", "<2de>", stdin=json.dumps(asked).encode() + b'\n"c"')
    one, other = echo.asked
    front, mark, a, b = one.source
    assert [front, *other.source[:1]] == [TOKENIZER.tag("<2fr>"), TOKENIZER.tag("<2de>")]
    assert TOKENIZER.pieces([mark, a, b]) == ["\u2581", "a", "b"]
    assert TOKENIZER.pieces(one.prefix) == ["\u2581", "E", "i"]
    assert [TOKENIZER.pieces(phrase) for phrase in one.present] == [["\u2581", "c"]]
    assert [TOKENIZER.pieces(phrase) for phrase in one.absent] == [["\u2581", "x", "y"], ["x", "y"]]
    assert (other.prefix, other.present, other.absent) == ((), (), ())


def test_json_stays_json_whatever_is_in_it(echo, command):
    line = b'{"text": "a\\ud800\\u0000\\u2028b", "\\udfff": "\xff\xed\xa0\x80"}'
    (found,) = rows_of(command("translate", "--json", stdin=line).out)
    value = json.loads(found.decode())
    assert value["\udfff"] == "\ufffd" * 4
    assert value["text"] == "a\ud800\0\u2028b"


# TSV and n-best lists


@given(st.lists(st.binary(max_size=6), min_size=3, max_size=3))
@in_a_fixture
def test_columns_pass_through_byte_for_byte(echo, command, cells):
    cells = [re.sub(rb"[\t\n\r]|\xef\xbb\xbf", b"", cell) for cell in cells]
    row = b"\t".join(cells)
    (found,) = rows_of(command("translate", "--tsv", "--column", "2", stdin=row + b"\n").out)
    assert found == row + b"\t" + echoed(cells[1].decode(errors="replace")).encode()


def test_a_row_that_lacks_the_column_stays_and_is_told_of(echo, command):
    result = command("translate", "--tsv", "--column", "2", "--buffer", "1", stdin=b"a\tb\n\nc\n")
    assert result == (
        0,
        b"a\tb\tb\n\t\nc\t\n",
        "warning: line 2 has 1 column, so there is no column 2\n"
        "warning: line 3 has 1 column, so there is no column 2\n",
    )


def test_a_tab_in_a_translation_makes_no_column():
    outputs = translator_of(Echo()).outputs([Line("a")])
    outputs[0][0] = outputs[0][0]._replace(text="a\tb\nc\rd")
    asked = Tsv().read(b"x")
    assert Tsv().write(1, asked, outputs[0]) == b"x\ta b c d\n"
    assert Text().write(1, asked, outputs[0]) == b"a\tb c d\n"


@pytest.mark.parametrize("size", ["1", "2", "100"])
def test_an_n_best_list_numbers_lines_from_zero(echo, command, size):
    flags = ["--n-best", "3", "--buffer", size]
    assert command("translate", *flags, stdin=b"ab\n\na\n").out.decode() == (
        "0 ||| ab ||| 0.000000\n0 ||| a ||| -0.500000\n0 |||  ||| -1.000000\n"
        "1 |||  ||| 0.000000\n"
        "2 ||| a ||| 0.000000\n2 |||  ||| -0.500000\n"
    )


# Files

PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".XZ": lzma.compress,
        ".zst": zstd.compress}  # fmt: skip
UNPACK = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".XZ": lzma.decompress,
          ".zst": zstd.decompress}  # fmt: skip
SOME = b"".join(b"%d eins\n" % number for number in range(30))


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_is_like_its_content(echo, command, here, suffix):
    Path(f"in{suffix}").write_bytes(PACK[suffix](SOME))
    flags = ["--input", f"in{suffix}", "--buffer", "7"]
    assert command("translate", *flags) == (0, SOME, "")
    assert command("translate", *flags, "--output", f"out{suffix}") == (0, b"", "")
    assert UNPACK[suffix](Path(f"out{suffix}").read_bytes()) == SOME
    assert command("translate", "--input", "-", "--output", "-", stdin=SOME) == (0, SOME, "")


def test_an_output_takes_the_place_of_what_was_there(echo, command, here):
    Path("out").write_bytes(b"old\n" * 99)
    command("translate", "--output", "out", stdin=b"a\n")
    assert Path("out").read_bytes() == b"a\n"


def test_the_output_cannot_be_the_input(echo, command, here, monkeypatch):
    Path("in").write_bytes(SOME)
    Path("soft").symlink_to("in")
    os.link("in", "hard")
    for name in ("in", "./in", "soft", "hard"):
        said = f"error: {Path(name)} is the input, too; write the output to another file\n"
        assert command("translate", "--input", "in", "--output", name) == (1, b"", said)
        with open("in", encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            with (
                pytest.raises(UserError, match="is the input, too"),
                reading(Files(None, Path(name))),
            ):
                pass
    assert Path("in").read_bytes() == SOME


WRONG_FLAGS: dict[str, tuple[int, str]] = {
    "--input absent": (1, "absent: No such file or directory"),
    "--output folder": (1, "folder is a folder; name a file in it"),
    "--output no/where": (1, "no is no folder; make it, or name another output"),
    "--output a.zip": (2, "a.zip: nothing is packed as zip; name it .gz, .bz2, .xz, .zst"),
    "--tsv --json": (2, "input is TSV or JSON, not both; leave out --tsv or --json"),
    "--column 2": (2, "--column names a column of TSV; give --tsv, too"),
    "--scores": (2, "--scores and --tokens become fields of an object; give --json, too"),
    "--tokens": (2, "--scores and --tokens become fields of an object; give --json, too"),
    "--tsv --n-best 2": (2, "TSV has room for one translation; for n-best lists, leave out --tsv"),
    "--stream --buffer 2": (2, "--stream answers each line by itself; leave out --buffer"),
    "--stream --processes 2": (2, "--stream has one line at a time to do; leave out --processes"),
    "--resume": (
        2, "--resume needs --input and --output, and an output that is not packed"),
    "--resume --input in --output o.GZ": (
        2, "--resume needs --input and --output, and an output that is not packed"),
    "--resume --output out": (
        2, "--resume needs --input and --output, and an output that is not packed"),
    "--resume --input in --output out --n-best 2": (
        2, "--resume cannot tell lines of n-best lists apart; give --json, too"),
    "--resume --input in --output long": (
        1, "long has 99 lines, but in only 1; name the input that it was made of, or another "
        "output"),
    "--tag <2es>": (1, "<2es> is no tag of this model; it knows <2de>, <2fr>"),
    "--n-best 6": (2, "what was asked cannot be done:\n  decoding.n_best: a beam of 5 has no 6 "
                   "best; widen decoding.beam"),
    "--top-p 1.5 --temperature 0": (
        2, "what was asked cannot be done:\n  decoding.temperature: must be more than 0, not 0.0\n"
        "  decoding.top_p: must be 1 or less, not 1.5"),
}  # fmt: skip


@pytest.mark.parametrize("flags", WRONG_FLAGS)
def test_what_cannot_be_is_said_before_anything_is_written(echo, command, here, flags):
    Path("folder").mkdir()
    Path("in").write_bytes(b"a\n")
    Path("long").write_bytes(b"old\n" * 99)
    code, said = WRONG_FLAGS[flags]
    assert command("translate", *flags.split(), stdin=b"a\n") == (code, b"", f"error: {said}\n")
    assert {path.name for path in here.iterdir()} == {"folder", "in", "long"}
    assert Path("long").read_bytes() == b"old\n" * 99
    assert not echo.asked


# What a person sees


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What from now on is shown on a terminal, while standard output is a file."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)  # else a thread outlives the test
    return terminal


def steps(seen: Terminal) -> list[str]:
    return re.findall(r"translating: .*? (\d+/\d+) \[", seen.getvalue())


@pytest.mark.parametrize("packer", [bytes, gzip.compress])
def test_a_bar_shows_how_much_of_a_file_is_done(echo, here, monkeypatch, packer):
    monkeypatch.setattr("seq2seq.console.tqdm", partial(tqdm, mininterval=0, miniters=1))
    seen = watched(monkeypatch)
    Path("in").write_bytes(packer(b"a\n" * 9 + b"a"))
    files = Files(Path("in"), Path("out"))
    translate(None, [], {}, files=files, pace=Pace(buffer=4))
    assert dict.fromkeys(steps(seen)) == dict.fromkeys(["0/10", "4/10", "8/10", "10/10"])
    assert re.search(r"\[\d\d:\d\d<\d\d:\d\d, +[\d.]+ lines/s\]", seen.getvalue())
    Path("out").write_bytes(b"a\n" * 6)
    seen.truncate(0)
    translate(None, [], {}, files=files, pace=Pace(buffer=4, resume=True))
    assert dict.fromkeys(steps(seen)[1:]) == dict.fromkeys(["6/10", "10/10"])  # first, there is 0
    assert Path("out").read_bytes() == b"a\n" * 10


def test_a_file_on_standard_input_has_a_bar_and_loses_nothing(echo, here, monkeypatch):
    seen = watched(monkeypatch)
    Path("in").write_bytes(b"skipped\n" + b"a\n" * 5)
    with open("in", encoding="utf-8") as stdin:
        stdin.buffer.readline()
        monkeypatch.setattr(sys, "stdin", stdin)
        translate(None, [], {})
    assert sys.stdout.buffer.getvalue() == b"a\n" * 5
    assert steps(seen)[0] == "0/5"


@pytest.mark.parametrize("why", ["nobody looks", "translations are looked at", "input is a pipe"])
def test_else_there_is_no_bar(echo, here, monkeypatch, why):
    seen = watched(monkeypatch)
    Path("in").write_bytes(b"a\n" * 5)
    os.mkfifo("pipe")
    if why == "nobody looks":
        seen.isatty = lambda: False
    if why == "translations are looked at":
        monkeypatch.setattr(sys.stdout.buffer, "isatty", lambda: True)
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"a\n" * 5))
    if why == "input is a pipe":
        writer.start()
    translate(None, [], {}, files=Files(Path("pipe" if writer.is_alive() else "in"), None))
    assert sys.stdout.buffer.getvalue() == b"a\n" * 5
    assert steps(seen) == []


# What is interrupted


def test_an_interrupted_output_is_continued_wherever_it_ended(echo, command, here):
    rows = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, b"ab" * n) for n in range(5))
    Path("in").write_bytes(rows)
    flags = ["--json", "--input", "in", "--output", "out", "--buffer", "2"]
    assert command("translate", *flags, "--resume") == (0, b"", "")  # nothing there yet
    whole = Path("out").read_bytes()
    assert whole.count(b"\n") == 5
    for end in range(len(whole) + 1):
        Path("out").write_bytes(whole[:end])
        echo.asked.clear()
        count = whole[:end].count(b"\n")
        said = f"out has {count} lines; going on from there\n" if count else ""
        assert command("translate", *flags, "--resume") == (0, b"", said)
        assert Path("out").read_bytes() == whole
        assert [one.number for one in echo.asked] == list(range(max(count + 1, 2), 6))


class Signals(io.RawIOBase):
    """An input during which a signal comes, before its last lines."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = [b"a\n", b"b\n", b"c\n", b"d\n"]

    def __iter__(self) -> Iterator[bytes]:
        for place, row in enumerate(self.rows):
            if place == 3:
                os.kill(os.getpid(), self.number)
            yield row


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_what_is_done_and_says_how_to_go_on(
    number, code, echo, command, here, monkeypatch
):
    monkeypatch.setattr("seq2seq.translate.lines", lambda stream: iter(Signals(number)))
    Path("in").write_bytes(b"a\nb\nc\nd\n")
    said = "stopped after 2 lines; the same command with --resume goes on\n"
    flags = ["--input", "in", "--output", "out", "--buffer", "2"]
    assert command("translate", *flags) == (code, b"", said)
    assert Path("out").read_bytes() == b"a\nb\n"
    said = "stopped after 2 lines\n"
    assert command("translate", "--buffer", "2") == (code, b"a\nb\n", said)
    assert command("translate", *flags, "--n-best", "2") == (code, b"", said)
    assert command("translate", *flags[2:]) == (code, b"", said)


def start(*arguments: str, **streams: Any) -> subprocess.Popen:
    """`seq2seq translate` with our own search, in a process of its own."""
    words = [sys.executable, "-m", "seq2seq", "translate", "--engine", "pytorch", *arguments]
    return subprocess.Popen(words, **streams)


def many(count: int) -> bytes:
    """Lines of digits."""
    numbers = random.Random(3)
    return b"".join(
        b"%s\n" % b" ".join(b"%d" % numbers.randrange(10) for _ in range(numbers.randrange(6)))
        for _ in range(count)
    )


def test_a_killed_process_leaves_whole_lines_that_are_gone_on_with(own, command):
    Path("in").write_bytes(many(3000))
    flags = ["--beam", "1", "--input", "in", "--output"]
    assert command("translate", "--engine", "pytorch", *flags, "whole").code == 0
    size = Path("whole").stat().st_size
    end = random.Random().randrange(size // 2)
    with start(*flags, "out", "--buffer", "20", stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE
        while not Path("out").exists() or Path("out").stat().st_size <= end:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    partial = Path("out").read_bytes()
    assert len(partial) < size
    result = command("translate", "--engine", "pytorch", *flags, "out", "--resume")
    assert f"out has {partial.count(chr(10).encode()):,} lines; going on" in result.err
    assert Path("out").read_bytes() == Path("whole").read_bytes()


def test_with_stream_a_line_is_answered_while_the_next_is_still_unwritten(trained):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with start("--stream", "--json", **pipes) as process:
        for line in (b'"1 2"\n', b"no JSON\n", b'"3"\n'):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"}\n")
        process.stdin.close()
        assert process.wait(timeout=PATIENCE) == 0
        assert process.stdout.read() == b""


# Memory


class Counting(io.RawIOBase):
    """A file of numbered lines that is nowhere."""

    def __init__(self, count: int) -> None:
        self.rows = (b"line %09d\n" % number for number in range(count))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = b"".join(itertools.islice(self.rows, 500))
        buffer[: len(block)] = block
        return len(block)


def peak(count: int) -> int:
    """The most memory, in bytes, that the filtering of so many lines takes."""
    stream = io.BufferedReader(Counting(count), 1 << 15)
    engine = Echo()
    engine.asked = engine.options = Nothing()
    one = Filter(OPENED, Text(), False)
    one.translator.engine = engine
    some = buffers(lines(stream), 500)
    tracemalloc.start()
    try:
        write(alone(one, some, 1, lambda count: None), Files(None, Path(os.devnull)), 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Nothing(list):
    """A list that keeps nothing."""

    def __iadd__(self, other: Any) -> "Nothing":
        return self

    def append(self, other: Any) -> None:
        pass


def test_memory_does_not_grow_with_the_lines(echo):
    peak(1000)
    few, lots = peak(2000), peak(12_000)
    assert lots < few + 10_000  # one byte a line


@pytest.mark.slow
def test_memory_is_flat_over_a_million_lines(echo):
    assert peak(1_000_000) < peak(2000) + 100_000


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


# Options


def test_each_flag_is_an_option(echo, command, monkeypatch):
    flags = {
        "--beam 3": "beam=3",
        "--length-penalty 0.5": "length_penalty=0.5",
        "--max-length 7": "max_length=7",
        "--no-repeat-ngram 3": "no_repeat_ngram=3",
        "--n-best 2": "n_best=2",
        "--sample": "sampling=true",
        "--temperature 0.7": "temperature=0.7",
        "--top-k 5": "top_k=5",
        "--top-p 0.9": "top_p=0.9",
        "--min-p 0.1": "min_p=0.1",
        "--seed 9": "seed=9",
        "--engine pytorch": "engine=pytorch",
        "--precision bf16": "precision=bf16",
    }
    default = CONFIG.decoding
    for flag, option in flags.items():
        name, _, value = option.partition("=")
        command("translate", *flag.split(), stdin=b"a\n")
        expected = default.model_copy(update={name: cast_like(value)})
        assert echo.options.pop() == expected != default
    command("translate", *" ".join(flags).split(), stdin=b"a\n")
    update = {
        name: cast_like(value) for name, _, value in (one.partition("=") for one in flags.values())
    }
    everything = default.model_copy(update=update)
    assert echo.options.pop() == everything
    opened = OPENED._replace(config=CONFIG.model_copy(update={"decoding": everything}))
    monkeypatch.setattr("seq2seq.translate.open_model", lambda *_, **__: opened)
    command("translate", stdin=b"a\n")
    assert echo.options.pop() == everything  # what is not asked for stays as it is


def cast_like(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("--risk bleu", {"n_best": 5}),
        ("--risk chrf --beam 3", {"n_best": 3, "beam": 3}),
        ("--risk chrf --set decoding.candidates=2", {"n_best": 2}),
        ("--risk chrf --sample --n-best 2", {"n_best": 16, "sampling": True}),
    ],
)
def test_of_least_risk_is_chosen_from_all_candidates(echo, command, monkeypatch, flags, options):
    texts = ["far away from it", "one two three", "one two three four", "one two four"]
    scores = [-0.5, -1.0, -1.5, -2.0]

    def search(requests, options, done):
        echo.options.append(options)
        ids = TOKENIZER.encode(texts)
        return [[Hypothesis(*one) for one in zip(ids, scores, scores, strict=True)]] * len(requests)

    monkeypatch.setattr(echo, "search", search)
    if "--set" in flags:  # which is for whoever opens the model
        opened = OPENED._replace(config=changed(CONFIG, "decoding", {"candidates": 2}))
        monkeypatch.setattr("seq2seq.translate.open_model", lambda *_, **__: opened)
    count = 2 if "--n-best 2" in flags else 1
    result = command("translate", "--json", *flags.split(), stdin=b'"a"')
    utility = UTILITIES[flags.split()[1]]
    best = max(texts, key=lambda text: sum(utility(text, other) for other in texts))
    assert best != texts[0]
    assert json.loads(result.out)["translation"] == best
    assert len(json.loads(result.out).get("translations", [0])) == count
    asked = echo.options[0].model_dump()
    assert {name: asked[name] for name in options} == options


@pytest.mark.parametrize(
    ("options", "pieces", "expected"),
    [
        ({}, 4, (0, 18)),
        ({"max_length_ratio": 1.0}, 4, (0, 14)),
        ({"max_length_ratio": 9.0}, 4, (0, MAX_LENGTH)),
        ({"max_length": 5}, 4, (0, 5)),
        ({"max_length": 500}, 20, (0, MAX_LENGTH)),
        ({"min_length": 3}, 4, (3, 18)),
        ({"min_length": 3, "min_length_ratio": 1.5}, 4, (6, 18)),
        ({"min_length": 99}, 4, (18, 18)),
        ({"min_length_ratio": 9.0, "max_length": 7}, 4, (7, 7)),
    ],
)
def test_lengths_are_those_that_the_options_say(options, pieces, expected):
    translator = translator_of(Echo())
    translator.options = Decoding(**options)
    (request,) = translator.requests([Line("a" * (pieces - 1))])
    assert len(request.source) == pieces
    assert (request.shortest, request.longest) == expected


def test_a_forced_beginning_has_room():
    translator = translator_of(Echo())
    translator.options = Decoding(max_length_ratio=0.1)
    (request,) = translator.requests([Line("a", prefix="b" * 12)])
    assert (len(request.prefix), request.longest) == (13, 23)
    (request,) = translator.requests([Line("a", prefix="b" * 99)])
    assert len(request.prefix) == request.longest == MAX_LENGTH


def test_phrases_are_what_running_text_has():
    text = " ".join(["der Hund", "Hündin", "(Hund)", "Schäferhund"] * 30)
    tokenizer = train_tokenizer([text] * 9, TokenizerOptions(kind="bpe", vocab_size=310), 1)
    (first,) = contained(["Hund"], tokenizer, str)
    for line in ("der Hund", "Hund und"):
        assert_within(first, tokenizer.encode([line])[0])
    after_space, inside = forbidden(["Hund"], tokenizer, str)
    assert after_space == first
    assert_within(inside, tokenizer.encode(["(Hund"])[0])
    assert tokenizer.decode([inside, after_space]) == ["Hund", "Hund"]
    assert begun("der H", tokenizer, str) == tuple(tokenizer.encode(["der H"])[0])
    assert contained(["", " "], tokenizer, str) == forbidden([""], tokenizer, str) == ()


def assert_within(phrase: Sequence[int], ids: Sequence[int]) -> None:
    length = len(phrase)
    assert tuple(phrase) in [tuple(ids[at : at + length]) for at in range(len(ids))]


# Python


def test_python_gives_what_the_command_gives(echo, command):
    texts = ["ab", "", "Eins, zwei", "x" * 40]
    model = seq2seq.load("anywhere")
    with pytest.warns(UserWarning, match=r"^line 4 has 41 pieces; only the first 24 are"):
        found = model.translate(texts)
    assert (
        "".join(f"{one.text}\n" for one in found).encode()
        == command("translate", stdin="\n".join(texts).encode()).out
    )
    rows = [
        json.loads(row)
        for row in rows_of(
            command("translate", "--json", "--n-best", "3", "--tokens",
                    stdin="\n".join(map(json.dumps, texts[:3])).encode()).out
        )
    ]  # fmt: skip
    lists = model.translate(texts[:3], n_best=3)
    assert [[one._asdict() for one in some] for some in lists] == [
        [
            {
                "text": one["translation"],
                **{name: one[name] for name in one if name != "translation"},
            }
            for one in row["translations"]
        ]
        for row in rows
    ]
    assert model.translate("ab", n_best=3) == lists[0]
    assert model.translate("ab") == lists[0][0] == model.translate(["ab"])[0]
    assert model.translate([]) == []
    assert model.translate("Eins zwei drei. Vier fünf.", split=True).text.endswith("Vier fünf.")


def test_python_takes_a_line_with_what_is_wanted_of_it(echo):
    model = python.load("anywhere", beam=2)
    model.translate(Line("ab", tag="<2de>", prefix="x"), temperature=0.5)
    assert echo.asked[0].source[0] == TOKENIZER.tag("<2de>")
    assert (echo.options[0].beam, echo.options[0].temperature) == (2, 0.5)
    model.translate("ab")
    assert echo.options[1] == CONFIG.decoding.model_copy(update={"beam": 2})


def test_python_opens_the_engine_that_is_asked_for_once(echo, monkeypatch):
    opened: list[str] = []

    def open_engine(folder, config, tokenizers):
        opened.append(config.decoding.engine)
        return echo

    monkeypatch.setattr("seq2seq.python.open_engine", open_engine)
    model = python.load("anywhere", n_best=3)
    assert model.translate("ab").text == "ab"
    for engine in ("pytorch", "pytorch", "auto"):
        model.translate("ab", engine=engine, beam=4)
    assert opened == ["auto", "pytorch"]


def test_python_names_every_option_that_cannot_be(echo):
    with pytest.raises(ConfigError) as raised:
        python.load("anywhere", baem=3, top_p=2.0)
    assert str(raised.value) == (
        "what was asked cannot be done:\n"
        "  decoding.top_p: must be 1 or less, not 2.0\n"
        "  decoding.baem: is not an option; did you mean decoding.beam?"
    )
    with pytest.raises(ConfigError, match=r"n_best: a beam of 5 has no 6 best"):
        python.load("anywhere").translate("a", n_best=6)


def test_importing_the_house_is_light_and_loading_a_model_is_what_its_docstring_says(trained):
    model = seq2seq.load("runs/toy", engine="pytorch", beam=1)
    found = model.translate(["1 2", "3"])
    assert all(one.log_probability < 0 and one.tokens for one in found)
    assert found[0].text == model.translate("1 2", split=True).text


# Several processes


def test_processes_share_the_lines_and_keep_their_order(trained, command, tmp_path):
    (tmp_path / "in").write_bytes(many(300) + b"1 " * 60 + b"\n5\n")
    flags = ["--engine", "pytorch", "--input", str(tmp_path / "in"), "--buffer", "16"]
    expected = command("translate", *flags)
    assert "line 301 has" in expected.err
    assert command("translate", *flags, "--processes", "2") == expected
    result = command("translate", *flags, "--processes", "2", "--precision", "int8")
    assert (result.code, result.out) == (2, b"")
    assert "int8" in result.err


def test_a_worker_that_is_killed_is_an_error(trained, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start("--processes", "2", "--buffer", "1", **pipes) as process:
        process.stdin.write(b"1\n" * 5)  # more than are ahead, so that one is answered
        process.stdin.flush()
        assert process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(child) for child in children if b"spawn_main" in cmdline(child)]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        said = process.communicate(b"1\n" * 5, timeout=PATIENCE)[1].decode()
        assert process.returncode == 1
        assert "error: a worker process was killed, perhaps for want of memory" in said
        assert not Path(f"/proc/{workers[1]}").exists()


def cmdline(process: str) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def test_processes_of_torchrun_share_the_lines_and_the_first_writes(own, command):
    Path("in").write_bytes(many(100) + b"1 " * 60 + b"\n\xff")
    flags = ["--engine", "pytorch", "--input", "in", "--buffer", "16"]
    expected = command("translate", *flags)
    first, second = processes("-m", "seq2seq", "translate", *flags)
    assert (first.code, first.out.encode(), first.err) == expected
    assert (second.code, second.out, second.err) == (0, "", "")
    partial = b"".join(expected.out.splitlines(keepends=True)[:30])
    Path("out").write_bytes(partial + b"half")
    first, second = processes("-m", "seq2seq", "translate", *flags, "--output", "out", "--resume")
    assert (first.code, second.code) == (0, 0)
    assert Path("out").read_bytes() == expected.out


def test_processes_of_torchrun_cannot_share_standard_input(echo, command, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = "error: processes of torchrun cannot share standard input; give --input\n"
    assert command("translate", stdin=b"a\n") == (2, b"", said)


# Hostile lines


def hostile(count: int) -> bytes:
    """Lines of all that can go wrong."""
    numbers = random.Random(7)
    units = [b"\xed\xa0\x80", b"\0", b" ", b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b\x0c\x1c",
             b"\t", b"1", b"9 ", "🏳️‍🌈".encode(), "א".encode(), "\u202eabc".encode(), b"\x1b[31m",
             "e\u0301\u0302".encode(), b"</s>", "\u2581".encode(), b"\xff", b'{"', b"\xef\xbb\xbf",
             "ﷺ".encode(), "。".encode()]  # fmt: skip
    rows = []
    for number in range(count):
        kind = number % 4
        size = 100_000 if number % 5000 == 99 else numbers.randrange(12)
        if kind == 0:
            row = numbers.randbytes(size)
        elif kind == 1:
            row = numbers.choice(units) * size
        else:
            row = b"".join(numbers.choice(units) for _ in range(size))
        rows.append(row.replace(b"\n", b""))
    return b"\n".join(rows) + b"\n"


@pytest.mark.parametrize("flags", ["", "--split", "--tsv", "--json"])
@pytest.mark.parametrize("count", [700, pytest.param(100_000, marks=pytest.mark.slow)])
def test_as_many_lines_come_out_as_go_in_whatever_they_are(trained, command, flags, count):
    text = hostile(count)
    arguments = [*flags.split(), "--beam", "1", "--max-length", "5", "--engine", "pytorch"]
    result = command("translate", *arguments, stdin=text)
    assert result.code == 0
    rows = rows_of(result.out)
    assert len(rows) == count == text.count(b"\n")
    if flags == "--json":
        assert all(isinstance(json.loads(row), dict) for row in rows)
    if flags == "--tsv":
        cut = [line.removesuffix(b"\r") for line in text.split(b"\n")]
        assert all(row.startswith(line) for row, line in zip(rows[1:], cut[1:], strict=False))


# Words


def flags_of_translate() -> set[str]:
    group = typer.main.get_command(cli.app)
    options = group.commands["translate"].params  # type: ignore[attr-defined]
    return {name for option in options for name in option.opts} - {"--help"}


def test_every_flag_has_its_example():
    examples = " ".join(re.findall(r"^    (.*)$", PAGE, re.MULTILINE))
    assert {flag for flag in flags_of_translate() if not re.search(rf"{flag}\b", examples)} == set()


def test_the_examples_work_as_written(echo, command, here):
    Path("input.txt").write_text("eins\n\nzwei\n", encoding="utf-8")
    Path("input.txt.gz").write_bytes(gzip.compress(b"eins\n\nzwei\n"))
    Path("input.tsv").write_text("a\teins\nb\tzwei\n", encoding="utf-8")
    Path("input.jsonl").write_text('{"text": "eins", "id": 1}\n"zwei"\n', encoding="utf-8")
    examples = re.findall(r"^    seq2seq (translate.*)$", PAGE, re.MULTILINE)
    assert len(examples) > 15
    for line in examples:
        words, _, streams = line.partition(" < ")
        stdin = Path(streams.split()[0]).read_bytes() if streams else b""
        if "--processes" not in words:  # which would not know this engine
            result = command(*shlex.split(words), stdin=stdin)
            assert result.code == 0, line
            assert bool(result.out) == bool(streams), line
    assert zstd.decompress(Path("output.txt.zst").read_bytes()) == b"eins\n\nzwei\n"
    assert Path("output.txt").read_bytes() == b"eins\n\nzwei\n"


def test_the_example_in_python_works_as_written(echo, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "example", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "a green house"
    assert len(out) == 5
