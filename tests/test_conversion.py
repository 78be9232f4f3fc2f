"""The laws of CTranslate2 as an engine: what it finds is what our own search finds.

The toy is a tiny Transformer over twenty-three pieces that has learned a little of random pairs, so
that many translations of a line are nearly as good as the best.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from errno import EROFS
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tiny import batch_of, build_tiny, config_of, learn, learner_of, pairs

from seq2seq.config import Config, Decoding, why_not_ctranslate2
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.config.changing import changed
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers, train_tokenizer
from seq2seq.decoding import choice, conversions
from seq2seq.decoding.agreement import may_end
from seq2seq.decoding.choice import open_engine
from seq2seq.decoding.ctranslate2 import CTranslate2, processors
from seq2seq.decoding.engine import Engine, Hypothesis, Request
from seq2seq.decoding.forced import judge
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.errors import UserError
from seq2seq.files import write_json, write_manifest
from seq2seq.layout import MODEL_FILES
from seq2seq.models import Seq2Seq, build
from seq2seq.models.conversion import convert
from seq2seq.models.folder import save_model, weights_of

ctranslate2 = pytest.importorskip("ctranslate2")

MAX_LENGTH = 12
LETTERS = "abcdefghijklmnopqr"


def tokenizer_of(letters: str) -> Tokenizer:
    """A tokenizer of the four special pieces, the mark of spaces, and letters."""
    options = TokenizerOptions(kind="char", vocab_size=99, byte_fallback=False)
    return train_tokenizer([letters, letters], options, 1)


TOKENIZERS = Tokenizers(*[tokenizer_of(LETTERS)] * 2)


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    """The toy, which has learned that `<unk>` is not written."""
    learner = learner_of(label_smoothing=0.0, model={"positions": "sinusoidal"})
    store = pairs(64)
    for _ in range(80):
        learn(learner, batch_of(store), rate=0.01)
    return learner.model.eval()


class Counting:
    """Our own search, which remembers what it was asked for."""

    def __init__(self, model: Seq2Seq) -> None:
        self.engine = PyTorch(model)
        self.asked: list[Request] = []

    def search(
        self,
        requests: list[Request],
        options: Decoding,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Hypothesis]]:
        self.asked += requests
        return self.engine.search(requests, options, done)


class Both(NamedTuple):
    """An engine, and the own search that it falls back to."""

    engine: CTranslate2
    own: Counting


def both(model: Seq2Seq, folder: Path, precision: str = "fp32") -> Both:
    own = Counting(model)
    convert(model, TOKENIZERS, MAX_LENGTH, folder)
    return Both(CTranslate2(folder, TOKENIZERS, precision, lambda: own), own)


def requests_of(count: int, longest: int = MAX_LENGTH, seed: int = 2) -> list[Request]:
    return [
        Request(source.tolist(), longest, number=number)
        for number, source in enumerate(segments(pairs(count, seed)), start=1)
    ]


def segments(store: Store) -> list[np.ndarray]:
    return np.split(store.source.ids, store.source.offsets[1:-1])


def without_own(engines: Both, requests: list[Request], options: Decoding) -> list[Request]:
    """Those of requests that CTranslate2 serves alone."""
    engines.own.asked.clear()
    engines.engine.search(requests, options)
    return [one for one in requests if one not in engines.own.asked]


def agree(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    """At least 99.5 % of lines have the same hypotheses, and all have the best one's score."""
    assert len(found) == len(expected)
    same = 0
    for some, others in zip(found, expected, strict=True):
        assert some[0].score == pytest.approx(others[0].score, abs=1e-3)
        same += [one.tokens for one in some] == [one.tokens for one in others]
    assert same >= 0.995 * len(found)


# The conversion


def test_a_conversion_says_nothing_that_is_only_read(model, tmp_path):
    """Else it could be among the likeliest, where CTranslate2 would take it for an end."""
    convert(model, TOKENIZERS, MAX_LENGTH, tmp_path)
    names = TOKENIZERS.target.pieces
    translator = ctranslate2.Translator(str(tmp_path))
    (judged,) = translator.score_batch([names([5, 9])], [names([BOS, UNK, PAD])])
    start, unknown, padding, _ = judged.log_probs
    assert max(start, padding) < -9_000 < unknown


NORMS_AND_TABLES = [
    {"norm": norm, "positions": positions, "share_embeddings": share}
    for norm in ("pre", "post")
    for positions in ("sinusoidal", "learned", "relative", "rotary", "none")
    for share in ("all", "target", "none")
]
OTHERS = [
    {"activation": "gelu", "share_layers": "encoder"},
    {"activation": "geglu", "normalization": "rms"},
    {"activation": "swiglu", "normalization": "rms", "norm": "post", "share_layers": "all"},
    {"positions": "relative", "share_layers": "all"},
    {"heads": 4, "kv_heads": 1},
    {"heads": 4, "kv_heads": 2, "positions": "rotary"},
    {"heads": 4, "kv_heads": 2, "positions": "relative", "norm": "post"},
]


@pytest.mark.parametrize(
    "options", NORMS_AND_TABLES + OTHERS, ids=lambda one: "-".join(map(str, one.values()))
)
def test_the_conversion_judges_as_the_model_does(options, tmp_path):
    config = config_of(model={**options, "decoder_layers": 2, "encoder_layers": 3})
    assert why_not_ctranslate2(config.model) is None
    model = build_tiny(config, vocab=len(TOKENIZERS.target)).eval()
    torch.nn.init.normal_(model.encoder[0].attention.memory.bias)  # new ones are zero
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias") or "positions" in name:
            torch.nn.init.normal_(parameter, mean=float("norm.weight" in name), std=0.3)
    convert(model, TOKENIZERS, MAX_LENGTH, tmp_path)

    longest = [4 + n % 19 for n in range(MAX_LENGTH)]
    sources = [*map(list, segments(pairs(20))), longest]
    targets = [*map(list, segments(pairs(20, seed=3))), longest]
    translator = ctranslate2.Translator(str(tmp_path))
    names = TOKENIZERS.target.pieces
    found = translator.score_batch([names(one) for one in sources], [names(one) for one in targets])
    for one, ours in zip(found, judge(model, Store.of(sources, targets), 999), strict=True):
        np.testing.assert_allclose(one.log_probs, ours.log_probabilities, atol=1e-4)


@pytest.mark.parametrize("positions", ["sinusoidal", "relative", "rotary"])
def test_positions_far_apart_are_judged_alike(positions, tmp_path):
    """Further than the buckets of distances go."""
    model = build_tiny(config_of(model={"positions": positions, "decoder_layers": 2})).eval()
    for name, parameter in model.named_parameters():
        if "positions" in name:
            torch.nn.init.normal_(parameter, std=2.0)
    convert(model, TOKENIZERS, 400, tmp_path)
    sources, targets = ([[4 + n % m for n in range(size)] for size in (400, 90)] for m in (19, 7))
    names = TOKENIZERS.target.pieces
    (found, _) = ctranslate2.Translator(str(tmp_path)).score_batch(
        [names(one) for one in sources], [names(one) for one in targets]
    )
    (ours, _) = judge(model, Store.of(sources, targets), 10**6)
    np.testing.assert_allclose(found.log_probs, ours.log_probabilities, atol=1e-4)


def test_each_side_keeps_its_own_vocabulary(tmp_path):
    config = config_of(model={"share_embeddings": "target"})
    tokenizers = Tokenizers(tokenizer_of("abcdefg"), tokenizer_of("tuvwxyz0123"))
    torch.manual_seed(1)
    model = build(config, *map(len, tokenizers)).eval()
    convert(model, tokenizers, MAX_LENGTH, tmp_path)
    sources, targets = [[5, 11, 6], [4]], [[14, 4, 15], [13]]
    found = ctranslate2.Translator(str(tmp_path)).score_batch(
        [tokenizers.source.pieces(one) for one in sources],
        [tokenizers.target.pieces(one) for one in targets],
    )
    for one, ours in zip(found, judge(model, Store.of(sources, targets), 999), strict=True):
        np.testing.assert_allclose(one.log_probs, ours.log_probabilities, atol=1e-4)


# The search


@pytest.mark.parametrize("beam", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_translations_are_those_of_our_own_search(beam, alpha, model, tmp_path):
    engine, own = both(model, tmp_path)
    requests = requests_of(120)
    for n_best in sorted({1, beam}):
        options = Decoding(beam=beam, length_penalty=alpha, n_best=n_best, batch_tokens=300)
        agree(engine.search(requests, options), own.engine.search(requests, options))
    assert len(own.asked) < 40  # or there would be nothing to compare


@pytest.mark.parametrize("beam", [1, 4])
def test_a_hypothesis_at_its_longest_length_ends(beam, model, tmp_path):
    engine, own = both(model, tmp_path)
    requests = [one._replace(longest=one.number % 5) for one in requests_of(150)]
    options = Decoding(beam=beam, n_best=beam)
    found = engine.search(requests, options)
    agree(found, own.engine.search(requests, options))
    at_longest = [
        one.longest
        for one, some in zip(requests, found, strict=True)
        if len(some[0].tokens) == one.longest
    ]
    assert len(at_longest) > 40
    assert len([one for one in own.asked if one.longest]) < 75
    if beam == 1:
        assert {one.longest for one in own.asked} == {0}  # which CTranslate2 does not know


def test_what_wants_to_end_at_its_longest_length_is_not_all_that_must():
    request = Request([5], longest=3, shortest=2)
    ends = [Hypothesis([7] * written + [EOS], -1.0, -1.0) for written in range(5)]
    assert [may_end(one, request) for one in ends] == [False, False, True, False, False]
    at_longest = [may_end(one, request, at_longest=True) for one in ends]
    assert at_longest == [False, False, True, True, False]


@pytest.mark.parametrize("normalization", ["gnmt", "average"])
def test_scores_are_log_probabilities_by_forced_decoding_normalized(normalization, model, tmp_path):
    engine, own = both(model, tmp_path)
    options = Decoding(beam=3, n_best=3, length_penalty=0.7, length_normalization=normalization)
    requests = without_own(Both(engine, own), requests_of(40), options)
    assert len(requests) > 30
    for request, hypotheses in zip(requests, engine.search(requests, options), strict=True):
        assert hypotheses == sorted(hypotheses, key=lambda one: -one.score)
        assert len(hypotheses) == 3
        for tokens, score, log_probability in hypotheses:
            (judged,) = judge(model, Store.of([request.source], [tokens]), 999)
            assert log_probability == pytest.approx(judged.log_probability, abs=1e-4)
            length = len(tokens) + 1
            divisor = (5 + length) / 6 if normalization == "gnmt" else length
            assert score == pytest.approx(log_probability / divisor**0.7)


def test_the_best_by_the_average_is_the_best_of_all_that_ended(model, tmp_path):
    engine, own = both(model, tmp_path)
    requests = without_own(Both(engine, own), requests_of(100), Decoding(beam=4))
    plain = engine.search(requests, Decoding(beam=4, n_best=4, length_penalty=0.0))
    options = Decoding(beam=4, length_penalty=1.0, length_normalization="average")
    other = 0
    for (best,), some in zip(engine.search(requests, options), plain, strict=True):
        rates = [one.log_probability / (len(one.tokens) + 1) for one in some]
        assert best.score >= max(rates) - 1e-4
        other += best.tokens != some[0].tokens
    assert other > 10


def test_company_and_batches_change_nothing(model, tmp_path, monkeypatch):
    engine, _ = both(model, tmp_path)
    requests = requests_of(30)
    together = engine.search(requests, Decoding(beam=3, n_best=2))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert processors() == 2
    other, _ = both(model, tmp_path)
    counts: list[int] = []
    agree(
        other.search(requests, Decoding(beam=3, n_best=2, batch_tokens=40), counts.append), together
    )
    assert sum(counts) == 30
    assert len(counts) > 5
    alone = [engine.search([one], Decoding(beam=3, n_best=2))[0] for one in requests]
    agree(alone, together)


def test_batches_have_no_more_positions_than_are_fast(model, tmp_path, monkeypatch):
    engine, _ = both(model, tmp_path)
    requests = requests_of(30)
    for most, asked, fits in ((40, 8192, 40), (8192, 60, 60)):
        monkeypatch.setattr("seq2seq.decoding.ctranslate2.BATCH_POSITIONS", most)
        batches = list(engine._batches(requests, range(30), Decoding(beam=2, batch_tokens=asked)))
        sizes = [
            len(one) * 2 * max(len(requests[number].source) + 1 for number in one)
            for one in batches
        ]
        assert max(sizes) <= fits
        assert len(sizes) > 1 < max(map(len, batches))


def test_no_special_token_is_ever_written(tmp_path):
    model = build_tiny(config_of(), vocab=len(TOKENIZERS.target)).eval()  # which knows no better
    engine, own = both(model, tmp_path)
    found = engine.search(requests_of(60), Decoding(beam=2, n_best=2))
    assert not {PAD, UNK, BOS, EOS} & {
        token for some in found for one in some for token in one.tokens
    }
    assert own.asked


def test_what_ctranslate2_does_not_serve_is_our_own_searchs(model, tmp_path):
    engine, own = both(model, tmp_path)
    options = Decoding(beam=2)
    plain = without_own(Both(engine, own), requests_of(20), options)
    asked = [
        plain[0],
        plain[1]._replace(prefix=(7,)),
        plain[2],
        plain[3]._replace(present=((8,),)),
        plain[4]._replace(absent=((8, 9),)),
        plain[5]._replace(shortest=11),
    ]
    own.asked.clear()
    found = engine.search(asked, options)
    assert own.asked == [asked[1], asked[3], asked[4], asked[5]]
    agree([found[0], found[2]], engine.search([plain[0], plain[2]], options))


@pytest.mark.parametrize(
    "option",
    [
        {"sampling": True},
        {"coverage_penalty": 0.1},
        {"diversity_groups": 2},
        {"risk": "chrf"},
        {"no_repeat_ngram": 3},
        {"repetition_penalty": 1.1},
        {"precision": "bf16"},
        {"beam": 12},  # too wide for so small a vocabulary
    ],
)
def test_options_that_ctranslate2_does_not_serve_are_our_own_searchs(option, model, tmp_path):
    engine, own = both(model, tmp_path)
    engine.search(requests_of(3), Decoding(**{"beam": 4, **option}))
    assert own.asked == requests_of(3)


def test_our_own_search_is_asked_for_once_and_said_so(model, tmp_path, capsys):
    loads = []

    def load() -> Engine:
        loads.append(1)
        return PyTorch(model)

    convert(model, TOKENIZERS, MAX_LENGTH, tmp_path)
    engine = CTranslate2(tmp_path, TOKENIZERS, "fp32", load)
    engine.search(requests_of(20), Decoding(beam=1))
    assert not loads
    for _ in range(3):
        engine.search([Request([5], 9, prefix=(6,))], Decoding())
    assert loads == [1]
    said = "CTranslate2 does not serve all that is asked for; our own search does the rest\n"
    assert capsys.readouterr().err == said


def test_a_model_that_has_diverged_is_named(tmp_path):
    model = build_tiny(config_of(), vocab=len(TOKENIZERS.target)).eval()
    with torch.no_grad():
        model.encoder_norm.weight.fill_(math.nan)
    engine, _ = both(model, tmp_path)
    for beam in (1, 3):
        with pytest.raises(UserError, match="scores are not numbers"):
            engine.search(requests_of(3), Decoding(beam=beam))


def test_int8_rounds_and_no_more(model, tmp_path):
    exact, _ = both(model, tmp_path)
    rounded, _ = both(model, tmp_path, "int8")
    requests = requests_of(60)
    differences = [
        abs(one.log_probability - other.log_probability)
        for (one,), (other,) in zip(
            *(engine.search(requests, Decoding(beam=1)) for engine in (exact, rounded)), strict=True
        )
        if one.tokens == other.tokens
    ]
    assert len(differences) > 40
    assert 1e-4 < max(differences) < 1.0


# The choice


def folder_of(path: Path, model: Seq2Seq, config: Config) -> Path:
    save_model(path, config, TOKENIZERS, weights_of(model), {})
    return path


def with_decoding(config: Config, **options: Any) -> Config:
    return config.model_copy(update={"device": "cpu", "decoding": Decoding(**options)})


@pytest.fixture
def saved(model: Seq2Seq, tmp_path: Path) -> Path:
    """A model folder."""
    return folder_of(tmp_path / "model", model, CONFIG)


CONFIG = with_decoding(config_of(model={"positions": "sinusoidal"}), beam=2)
SAID = "converting {} for CTranslate2 (once)\n"


def kept_in(cache: Path) -> Path:
    """The only conversion of a cache."""
    (found,) = (path for path in (cache / "conversions").iterdir() if path.is_dir())
    return found


def test_a_model_is_converted_once(saved, cache, capsys):
    open_engine(saved, CONFIG, TOKENIZERS)
    assert capsys.readouterr().err == SAID.format(saved)
    before = {path: path.stat().st_mtime_ns for path in kept_in(cache).iterdir()}
    found = open_engine(saved, CONFIG, TOKENIZERS).search(requests_of(3), CONFIG.decoding)
    assert len(found) == 3
    assert capsys.readouterr().err == ""
    assert {path: path.stat().st_mtime_ns for path in kept_in(cache).iterdir()} == before
    assert {path.name for path in saved.iterdir()} <= {*MODEL_FILES, "manifest.json"}


def test_copies_of_a_model_share_a_conversion(saved, cache, tmp_path, capsys):
    open_engine(saved, CONFIG, TOKENIZERS)
    shutil.copytree(saved, tmp_path / "copy")
    capsys.readouterr()
    open_engine(tmp_path / "copy", CONFIG, TOKENIZERS)
    assert capsys.readouterr().err == ""
    kept_in(cache)


def test_a_conversion_beside_a_model_is_not_used(saved, model, tmp_path, capsys):
    """As a stranger may have put it there, or a version of before."""
    other = build_tiny(CONFIG, seed=5).eval()
    folder = saved / "ctranslate2"
    folder.mkdir()
    convert(other, TOKENIZERS, CONFIG.data.max_length, folder)
    made_of = conversions.origin(saved, CONFIG, TOKENIZERS)
    write_json(folder / "origin.json", made_of)
    write_manifest(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    engine = open_engine(saved, CONFIG, TOKENIZERS)
    assert capsys.readouterr().err == SAID.format(saved)
    requests, options = requests_of(20), Decoding(beam=1)
    agree(engine.search(requests, options), PyTorch(model).search(requests, options))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"heads": 4}},  # the same weights by name and shape
        {"model": {"activation": "gelu"}},
        {"model": {"norm": "pre", "positions": "none"}},
        {"data": {"max_length": 9}},
    ],
)
def test_the_same_weights_of_another_model_are_converted_anew(change, saved, capsys):
    """Else a stranger's config could put a conversion in the place of that of a known model."""
    open_engine(saved, CONFIG, TOKENIZERS)
    capsys.readouterr()
    other = CONFIG
    for section, options in change.items():
        other = changed(other, section, options)
    open_engine(saved, other, TOKENIZERS)
    assert capsys.readouterr().err == SAID.format(saved)


def test_other_weights_are_converted_anew(saved, tmp_path, capsys):
    open_engine(saved, CONFIG, TOKENIZERS)
    other = folder_of(tmp_path / "other", build_tiny(CONFIG, seed=5).eval(), CONFIG)
    capsys.readouterr()
    engine = open_engine(other, CONFIG, TOKENIZERS)
    assert capsys.readouterr().err == SAID.format(other)
    requests = requests_of(20)
    options = Decoding(beam=1)
    agree(
        engine.search(requests, options),
        PyTorch(build_tiny(CONFIG, seed=5)).search(requests, options),
    )


@pytest.mark.parametrize("name", ["model.bin", "config.json", "origin.json", "manifest.json"])
def test_a_damaged_conversion_is_made_anew(name, saved, cache, capsys):
    open_engine(saved, CONFIG, TOKENIZERS)
    file = kept_in(cache) / name
    content = file.read_bytes()
    file.write_bytes(content[:-9] + b"\0" * 9)
    capsys.readouterr()
    open_engine(saved, CONFIG, TOKENIZERS)
    assert capsys.readouterr().err == SAID.format(saved)
    assert file.read_bytes() == content


def test_where_nothing_can_be_written_a_conversion_serves_once(saved, cache, monkeypatch, capsys):
    def refuse(path: Path) -> None:
        raise OSError(EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(conversions, "new_folder", refuse)
    engine = open_engine(saved, CONFIG, TOKENIZERS)
    assert isinstance(engine, CTranslate2)
    assert engine.search(requests_of(3), CONFIG.decoding)
    assert capsys.readouterr().err == SAID.format(saved) + (
        "no conversion can be kept (Read-only file system): it is made for this time only; set "
        "SEQ2SEQ_CACHE to a folder of yours\n"
    )
    assert {path.name for path in (cache / "conversions").iterdir()} <= {".lock"}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are those of POSIX")
@pytest.mark.parametrize("kind", ["writable", "link"])
def test_a_cache_that_others_can_write_to_is_not_used(kind, saved, cache, tmp_path, capsys):
    cache.mkdir(parents=True)
    if kind == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        (cache / "conversions").symlink_to(tmp_path / "theirs")
    else:
        (cache / "conversions").mkdir()
        (cache / "conversions").chmod(0o777)
    assert isinstance(open_engine(saved, CONFIG, TOKENIZERS), CTranslate2)
    assert "conversions is not a folder of this user alone)" in capsys.readouterr().err
    assert not list((cache / "conversions").iterdir())


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("SEQ2SEQ_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
    assert conversions.cache_folder() == tmp_path / "home" / ".cache" / "seq2seq"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert conversions.cache_folder() == tmp_path / "xdg" / "seq2seq"
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "own"))
    assert conversions.cache_folder() == tmp_path / "own"


def test_a_cache_that_is_full_loses_what_was_not_used_for_longest(tmp_path, monkeypatch):
    monkeypatch.setattr(conversions, "KEPT", 25)
    ages = {"a": 1, "b": 2 * 86_400, "c": 3 * 86_400, "d": 4 * 86_400}
    folders = {name: tmp_path / (name * 64) for name in ages}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "model.bin").write_bytes(b"0123456789")
        os.utime(folder, (time.time() - ages[name],) * 2)
    (tmp_path / "mine").mkdir()
    conversions.clean(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a" * 64, "b" * 64, "mine"}
    monkeypatch.setattr(conversions, "KEPT", 0)
    conversions.clean(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a" * 64, "mine"}  # it is in use


def test_more_positions_than_a_table_should_have_are_for_our_own_search(saved):
    long = changed(CONFIG, "data", {"max_length": 10**9})
    assert isinstance(open_engine(saved, long, TOKENIZERS), PyTorch)


def test_the_engine_that_can_serves(saved, tmp_path, monkeypatch):
    def chosen(config: Config = CONFIG, folder: Path = saved, **options: Any) -> type[Engine]:
        return type(open_engine(folder, with_decoding(config, **options), TOKENIZERS))

    assert chosen() is chosen(beam=1) is chosen(n_best=3) is chosen(precision="int8") is CTranslate2
    assert chosen(min_length=3) is chosen(length_normalization="average") is CTranslate2
    assert chosen(engine="pytorch") is chosen(precision="bf16") is PyTorch
    assert chosen(sampling=True) is chosen(coverage_penalty=0.2) is PyTorch
    lstm = config_of("lstm")
    other = folder_of(tmp_path / "lstm", build_tiny(lstm), lstm)
    assert chosen(lstm, other) is PyTorch
    monkeypatch.setattr(choice, "why_not_here", lambda: "it is not installed")
    assert chosen() is PyTorch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "ctranslate2", "sampling": True}, "decoding.sampling is for our own search"),
        ({"engine": "ctranslate2", "precision": "bf16"}, "bf16 is for our own search"),
        ({"precision": "int8", "risk": "bleu"}, "int8 needs CTranslate2: decoding.risk"),
        (
            {"precision": "int8", "engine": "pytorch"},
            "int8 is for CTranslate2; set decoding.engine",
        ),
    ],
)
def test_what_cannot_be_says_why(options, message, saved):
    with pytest.raises(UserError, match=message):
        open_engine(saved, with_decoding(CONFIG, **options), TOKENIZERS)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"positions": "alibi"}, "positions that are alibi"),
        ({"autoregression": "ssru"}, "a decoder with ssru"),
    ],
)
def test_a_transformer_that_is_not_converted_says_why(options, what):
    reason = why_not_ctranslate2(config_of(model=options).model)
    assert reason == f"{what} are for our own search".replace("ssru are", "ssru is")


def test_an_lstm_says_why(tmp_path):
    lstm = with_decoding(config_of("lstm"), engine="ctranslate2")
    with pytest.raises(UserError, match="it has no model of kind lstm; set"):
        open_engine(tmp_path, lstm, TOKENIZERS)


def test_a_converted_model_translates_without_what_takes_long_to_import(saved, model, tmp_path):
    requests = without_own(both(model, tmp_path), requests_of(9), CONFIG.decoding)
    expected = open_engine(saved, CONFIG, TOKENIZERS).search(requests, CONFIG.decoding)
    code = (
        "import json, sys, seq2seq.translate\n"
        "from pathlib import Path\n"
        "from seq2seq.config import load\n"
        "from seq2seq.data.tokenizer import Tokenizers\n"
        "from seq2seq.decoding.choice import open_engine\n"
        "from seq2seq.decoding.engine import Request\n"
        "folder, sources = Path(sys.argv[1]), json.loads(sys.argv[2])\n"
        "config = load(folder / 'config.yaml')\n"
        "engine = open_engine(folder, config, Tokenizers.read(folder))\n"
        "found = engine.search([Request(one, 12) for one in sources], config.decoding)\n"
        "print(json.dumps([[one.tokens for one in some] for some in found]))\n"
        "slow = ('torch', 'tqdm', 'regex', 'seq2seq.decoding.splitting')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )
    sources = json.dumps([one.source for one in requests])
    process = subprocess.run(
        [sys.executable, "-c", code, saved, sources], capture_output=True, check=True, text=True
    )
    found, loaded = process.stdout.splitlines()
    assert json.loads(found) == [[one.tokens for one in some] for some in expected]
    assert loaded == "[]"
