"""The laws of alignments and of unknown words, by engines and models whose attention is known."""

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from echo import TOKENIZER, Echo, echoing, in_a_fixture, some_text
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build_tiny, config_of

from seq2seq.config import Config, Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.sentencepiece_normalizer import unescape
from seq2seq.data.tokenizer import BOS, EOS, PAD, SPACE_MARK, UNK, Tokenizer, Tokenizers
from seq2seq.data.tokenizer import train_tokenizer as train
from seq2seq.decoding.alignment import FAINT
from seq2seq.decoding.attending import Attention, Wishes
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.surface import read, words, written
from seq2seq.decoding.translator import Line, Translator
from seq2seq.models.folder import save_model, weights_of

TEXT = ["eins zwei drei vier", "zwei haus garten, eins!", "vier haus", "ab ba b a"] * 5
SIZES = {"word": 50, "char": 60, "unigram": 32, "bpe": 32}


def trained_on(kind: str, *tags: str, spelled: bool = False) -> Tokenizer:
    """A small vocabulary, of bytes too if what it does not know is spelled by them."""
    options = TokenizerOptions(
        kind=kind, vocab_size=SIZES[kind] + 256 * spelled, byte_fallback=spelled
    )
    return train(TEXT, options, 1, tags=tags, at_most=True)


UNSURE = {kind: trained_on(kind) for kind in SIZES}
TAGGED = trained_on("word", "<2de>")
SURE = {kind: trained_on(kind, spelled=True) for kind in SIZES}
some_words = st.lists(
    st.sampled_from(["eins", "zwei", "haus", "a", "xyz", "naïve", "\ufb01n", "½", "你好"])
).map(" ".join)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """The engine of every model that is opened."""
    return echoing(monkeypatch)


# Pieces and words


@pytest.mark.parametrize("tokenizer", [*UNSURE.values(), *SURE.values()], ids=range(8))
@given(some_words | some_text)
@settings(deadline=None)
def test_what_pieces_stand_for_is_all_of_the_text(tokenizer, text):
    plain, (ids,) = tokenizer.spell(text), tokenizer.encode([text])
    texts = read(plain, ids, tokenizer)
    assert "".join(texts) == (f" {plain}" if ids else "")
    numbers = words(texts)
    by_word = ["" for _ in plain.split()]
    for number, some in zip(numbers, texts, strict=True):
        for word, part in zip(number, some.split() if len(number) > 1 else [some], strict=False):
            by_word[word] += part
    assert " ".join(by_word).split() == plain.split()
    if all(len(some.split()) < 2 for some in texts):  # no piece is several words
        assert [word.strip() for word in by_word] == plain.split()
    if UNK not in ids:
        text = "".join(written(ids, tokenizer)).lstrip(" ")
        assert unescape(text) == tokenizer.decode([ids])[0]


# Alignments


def quoted(lines: list[str]) -> bytes:
    """Lines as strings of JSON."""
    return "\n".join(map(json.dumps, lines)).encode()


def numbers_of(text: str) -> str:
    """The alignment of a text with itself."""
    return " ".join(f"{number}-{number}:1.00" for number, _ in enumerate(text.split()))


@pytest.mark.parametrize("flags", ["", "--split", "--tag <2de>", "--split --tag <2fr>"])
@given(st.text("ab.,!? \u3002\u0301\U0001f600", max_size=120))
@in_a_fixture
def test_an_echo_is_aligned_word_by_word(echo, command, flags, text):
    line = f"x{text}".encode()
    said = command("translate", *flags.split(), "--alignments", "soft", stdin=line)
    translation, alignment = said.out.decode().removesuffix("\n").split(" ||| ")
    assert alignment == numbers_of(translation)
    if "--split" in flags:
        assert translation.split() == TOKENIZER.normalize(f"x{text}").split()


def test_each_form_has_its_place_for_an_alignment(echo, command):
    def said(*flags: str, line: str = "ab  a") -> str:
        flags = ("translate", "--alignments", *flags)
        return command(*flags, stdin=f"{line}\n\n".encode()).out.decode()

    assert said("hard") == "ab a ||| 0-0 1-1\n ||| \n"
    assert said("soft") == "ab a ||| 0-0:1.00 1-1:1.00\n ||| \n"
    assert said("hard", "--tsv", "--column", "2", line="x\tab a\ty").startswith(
        "x\tab a\ty\tab a\t0-0 1-1\n"
    )
    assert said("hard", "--n-best", "3") == (
        "0 ||| ab a ||| 0.000000 ||| 0-0 1-1\n0 ||| ab  ||| -0.500000 ||| 0-0\n"
        "0 ||| ab ||| -1.000000 ||| 0-0\n1 |||  ||| 0.000000 ||| \n"
    )
    flags = ["--json", "--n-best", "2", "--alignments", "hard"]
    found = json.loads(command("translate", *flags, stdin=b'"ab a"').out)
    assert found["alignment"] == "0-0 1-1"
    assert [one["alignment"] for one in found["translations"]] == ["0-0 1-1", "0-0"]


def test_words_that_are_cut_off_are_aligned_with_nothing():
    tokenizers = Tokenizers(TOKENIZER, TOKENIZER)
    engine = Echo()
    attention = Attention(
        lambda pairs: engine.attend(pairs, 9), tokenizers, Wishes(alignments=True)
    )
    translator = Translator(
        engine, tokenizers, Decoding(), CONFIG["transformer"].data, attention=attention
    )
    ((one,),) = translator.outputs([Line("ab ab ab ab ab")])
    assert one.text == "ab ab ab ab"
    assert one.alignment.tolist() == np.eye(4, 5).tolist()


CONFIG = {
    kind: config_of(kind).model_copy(update={"device": "cpu", "decoding": Decoding(beam=2)})
    for kind in ("transformer", "lstm")
}


def folder_of(path: Path, config: Config, tokenizer: Tokenizer, seed: int = 1) -> Path:
    """A model folder with random weights, of likelihoods that differ."""
    model = build_tiny(config, seed, len(tokenizer)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    save_model(path, config, Tokenizers(tokenizer, tokenizer), weights_of(model), {})
    return path


def stepped(config: Config, size: int, seed: int, source: list[int], target: list[int]):
    """The weights of attention (T + 1, S + 1), by one step after the other."""
    model = build_tiny(config, seed, size).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    model.keep_attention()
    with torch.inference_mode():
        encoded = model.encode(torch.tensor([[*source, EOS]]))
        state, seen = model.start(encoded), []
        for token in [BOS, *target]:
            _, state = model.step(torch.tensor([token]), state, encoded)
            seen.append(model.attention[0].mean(dim=(0, 1, 2)).numpy())
    return np.stack(seen)


@pytest.mark.parametrize("kinds", [["transformer"], ["lstm"], ["lstm", "transformer"]])
@pytest.mark.parametrize("flags", ["", "--replace-unk"])
def test_alignments_are_the_attention_of_each_step(kinds, flags, command, tmp_path):
    tokenizer = UNSURE["word"]
    named = []
    for seed, kind in enumerate(kinds):
        named += ["--model", str(folder_of(tmp_path / kind, CONFIG[kind], tokenizer, seed))]
    lines = ["eins zwei haus", "vier", "haus xyz zwei drei"]
    flags = [*flags.split(), "--json", "--tokens", "--alignments", "soft", "--engine", "pytorch"]
    result = command("translate", *named, *flags, stdin=quoted(lines))
    assert result.code == 0, result.err
    ids = {piece: token for token, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}
    for line, row in zip(lines, result.out.splitlines(), strict=True):
        found = json.loads(row)
        (source,), target = tokenizer.encode([line]), [ids[piece] for piece in found["tokens"]]
        seen = [
            stepped(CONFIG[kind], len(tokenizer), seed, source, target)
            for seed, kind in enumerate(kinds)
        ]
        # all of these pieces are words
        expected = np.mean(seen, axis=0)[: len(target), : len(source)]
        told = weights_in(found["alignment"], expected.shape)
        errors = np.where(told, abs(told - expected), expected - FAINT)
        assert errors.max(initial=0) < 0.0051


def weights_in(alignment: str, shape: tuple[int, int]) -> np.ndarray:
    """The weights that a soft alignment tells."""
    weights = np.zeros(shape)
    for link in alignment.split():
        words, _, weight = link.partition(":")
        source, target = map(int, words.split("-"))
        weights[target, source] = float(weight)
    return weights


def test_a_model_without_attention_is_refused_at_once(command, tmp_path):
    config = config_of("lstm", model={"attention": "none"})
    folder = folder_of(tmp_path / "blind", config, UNSURE["word"])
    (tmp_path / "out").write_text("old")
    for flag in (["--alignments", "hard"], ["--replace-unk"]):
        result = command("translate", "--model", folder, "--output", tmp_path / "out", *flag)
        assert result == (1, b"", (
            "error: alignments, and what unknown words stand for, are told by attention, and "
            f"{folder} was trained without (model.attention: none); leave out --alignments and "
            "--replace-unk, or name another model\n"
        ))  # fmt: skip
    assert (tmp_path / "out").read_text() == "old"


# Unknown words


class Mirror:
    """An engine that writes its source from its end to its beginning, with attention to match."""

    def __init__(self, front: int, space: int | None) -> None:
        self.front = front  # pieces that are a tag
        self.space = space  # the piece that is one

    def search(self, requests, options, done):
        return [[Hypothesis(one.source[self.front :][::-1], 0.0, 0.0)] for one in requests]

    def attend(self, pairs):
        found = []
        for source, target in pairs:
            weights = np.zeros((len(target) + 1, len(source) + 1))
            weights[:-1, self.front : -1] = np.eye(len(target))[::-1]
            weights[:, [*range(self.front), -1]] = 2.0  # a tag and </s> are no words
            spaces = [place for place, token in enumerate(source) if token == self.space]
            weights[:, spaces] += 2.0  # nor is a space
            found.append(weights)
        return found


def mirrored(tokenizer: Tokenizer, line: Line) -> str:
    """The words of a line from its end to its beginning, though some are unknown."""
    tokenizers = Tokenizers(tokenizer, tokenizer)
    pieces = tokenizer.pieces(range(len(tokenizer)))
    space = pieces.index(SPACE_MARK) if SPACE_MARK in pieces else None
    mirror = Mirror(bool(line.tag), space)
    attention = Attention(mirror.attend, tokenizers, Wishes(replace_unknown=True))
    data = CONFIG["lstm"].data.model_copy(update={"max_length": 999})
    translator = Translator(mirror, tokenizers, Decoding(), data, attention=attention)
    ((one,),) = translator.outputs([line])
    return one.text


@given(some_words)
@settings(deadline=None)
def test_unknown_words_become_those_that_they_attend_to_as_they_were_given(text):
    runs: list[str] = []  # of unknown words side by side, which are one piece
    for known, run in groupby(text.split(), {"eins", "zwei", "haus", "a"}.__contains__):
        words_of_run = list(run)
        runs += words_of_run if known else [" ".join(words_of_run)]
    expected = " ".join(runs[::-1])
    assert mirrored(UNSURE["word"], Line(text)) == expected
    assert mirrored(TAGGED, Line(text, "<2de>")) == expected


@pytest.mark.parametrize("kind", ["char", "unigram", "bpe"])
@given(some_words)
@settings(deadline=None)
def test_unknown_pieces_of_words_become_the_text_of_those_that_they_attend_to(kind, text):
    text = UNSURE[kind].normalize(text)
    (ids,) = UNSURE[kind].encode([text])
    texts = read(text, ids, UNSURE[kind])
    assert mirrored(UNSURE[kind], Line(text)) == "".join(texts[::-1]).lstrip(" ")


@pytest.mark.parametrize("kind", CONFIG)
def test_search_writes_unknown_pieces_for_those_who_ask(kind):
    model = build_tiny(CONFIG[kind], 3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        model.output_weight[UNK] = 3 * model.output_weight[UNK]
    generator = np.random.default_rng(2)
    asked = [
        Request(generator.integers(4, 20, 5).tolist(), longest=6, number=n, unknown=n % 2 == 0)
        for n in range(12)
    ]
    options = Decoding(beam=1)
    found = PyTorch(model).search(asked, options)
    for request, (one,) in zip(asked, found, strict=True):
        ((alone,),) = PyTorch(model).search([request], options)
        assert one.tokens == alone.tokens
        source, prefix = torch.tensor([[*request.source, EOS]]), torch.tensor([[BOS, *one.tokens]])
        with torch.no_grad():
            logits = model.project(model(source, prefix))[0]
        logits[:, [PAD, BOS] if request.unknown else [PAD, BOS, UNK]] = float("-inf")
        best = logits.argmax(dim=1).tolist()
        assert one.tokens == best[: len(one.tokens)]
    assert any(UNK in one.tokens for (one,) in found)


def test_unknown_words_are_written_and_replaced_only_if_asked(command, tmp_path):
    tokenizer = UNSURE["word"]
    config = CONFIG["transformer"].model_copy(update={"decoding": Decoding(beam=1)})
    model = build_tiny(config, 1, len(tokenizer)).eval()
    with torch.no_grad():
        model.output_weight[UNK] = 9 * model.output_weight[UNK]
    folder = tmp_path / "model"
    save_model(folder, config, Tokenizers(tokenizer, tokenizer), weights_of(model), {})
    lines = ["xyz", "abc qqq", "naïve 你好 zwei eins haus drei", "haus q vier"]
    flags = ["--model", folder, "--json", "--tokens"]
    plain = command("translate", *flags, "--engine", "pytorch", stdin=quoted(lines))
    assert b"<unk>" not in plain.out
    result = command("translate", *flags, "--replace-unk", stdin=quoted(lines))
    assert result.err == (
        "our own search does it, in place of CTranslate2: it is not to write unknown pieces\n"
    )
    assert b"<unk>" in result.out
    for line, row in zip(lines, result.out.splitlines(), strict=True):
        found = json.loads(row)
        assert "\u2047" not in found["translation"]
        known = {piece.lstrip(SPACE_MARK) for piece in found["tokens"]}
        assert {*found["translation"].split()} <= known | {*line.split()}


def test_where_nothing_is_unknown_nothing_is_replaced(echo, command):
    result = command("translate", "--replace-unk", stdin="你好".encode())
    assert result == (
        0,
        "你好\n".encode(),
        "warning: --replace-unk has nothing to do: this model spells unknown words as bytes\n",
    )
    assert not echo.asked[0].unknown
