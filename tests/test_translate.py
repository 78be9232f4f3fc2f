"""The laws of `seq2seq translate`: lines, text, JSON, TSV, options, Python and the examples."""

import gzip
import io
import itertools
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from echo import (
    CONFIG,
    MAX_LENGTH,
    OPENED,
    TOKENIZER,
    Echo,
    echoed,
    echoing,
    in_a_fixture,
    rows_of,
    some_bytes,
    some_text,
    translator_of,
)
from hypothesis import given
from hypothesis import strategies as st

import seq2seq
from seq2seq import cli, python
from seq2seq.config import Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.config.changing import changed
from seq2seq.data.tokenizer import train_tokenizer
from seq2seq.decoding.engine import Hypothesis
from seq2seq.decoding.forms import Json, Text, Tsv
from seq2seq.decoding.phrases import begun, contained, forbidden
from seq2seq.decoding.risk import UTILITIES
from seq2seq.decoding.translator import Line
from seq2seq.errors import ConfigError, UserError
from seq2seq.filtering import Filter, Job, alone
from seq2seq.text.inflate import zstd
from seq2seq.text.streams import buffers, count_lines, lines

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "translating.md").read_text(encoding="utf-8")


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """The engine of every model that is opened."""
    return echoing(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
    answers = alone(Filter(Job(OPENED, Text())), buffers(rows, size), 1, lambda count: None)
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
    one = Filter(Job(OPENED, FORMS[flags]))
    for line, answer in zip(some, found, strict=True):
        line = line.removesuffix(b"\r")
        assert one.answer([line], 1).content == answer + b"\n" or line.startswith(b"\xef\xbb\xbf")


@given(some_text)
@in_a_fixture
def test_text_becomes_its_translation(echo, command, text):
    line = text.replace("\n", " ").rstrip("\r").lstrip("\ufeff")
    expected = echoed(line).replace("\r", " ")  # which many programs take for the end of a line
    found = command("translate", stdin=line.encode()).out.decode()
    assert found == (f"{expected}\n" if line else "")


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


def test_the_language_of_the_target_says_what_bleu_counts(echo, command, monkeypatch):
    texts = ["今天很热", "今天天气很好", "今天天气不好"]

    def search(requests, options, done):
        return [[Hypothesis(one, 0.0, 0.0) for one in TOKENIZER.encode(texts)]] * len(requests)

    monkeypatch.setattr(echo, "search", search)
    for language, expected in {"zh": texts[1], "de": texts[0]}.items():
        data = CONFIG.data.model_copy(update={"target": language})
        opened = OPENED._replace(config=CONFIG.model_copy(update={"data": data}))
        monkeypatch.setattr("seq2seq.translate.open_model", lambda *_, o=opened, **__: o)
        assert command("translate", "--risk", "bleu", stdin=b"a").out.decode() == f"{expected}\n"


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
            command("translate", "--json", "--n-best", "3", "--tokens", "--alignments", "hard",
                    stdin="\n".join(map(json.dumps, texts[:3])).encode()).out
        )
    ]  # fmt: skip
    lists = model.translate(texts[:3], n_best=3, alignments="hard")
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
    assert model.translate("ab", n_best=3, alignments="hard") == lists[0]
    assert lists[2][0].alignment == "0-0 1-1"
    assert model.translate("ab") == lists[0][0]._replace(alignment="") == model.translate(["ab"])[0]
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

    def open_engine(folder, config, tokenizers, load):
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


# Words


def flags_of_translate() -> set[str]:
    group = typer.main.get_command(cli.app)
    options = group.commands["translate"].params  # type: ignore[attr-defined]
    return {name for option in options for name in option.opts} - {"--help"}


def test_every_flag_has_its_example():
    pages = PAGE + (DOCS / "attention.md").read_text(encoding="utf-8")
    examples = " ".join(re.findall(r"^    (.*)$", pages, re.MULTILINE))
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
    assert out[-1] == "0-0 1-1 2-2"
    assert len(out) == 6
