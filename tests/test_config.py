"""Reading, writing and comparing configs; the exact text of what is said about wrong ones."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from seq2seq.config import Config, differences, documentation, dump, load
from seq2seq.config.page import page
from seq2seq.config.rules import RULES
from seq2seq.config.section import meanings
from seq2seq.config.showing import show
from seq2seq.config.training import Schedule
from seq2seq.config.urls import without_secrets
from seq2seq.errors import ConfigError
from seq2seq.training.schedule import learning_rate

ROOT = Path(__file__).parents[1]
PAIR: dict[str, Any] = {"source": "a", "target": "b"}
SMALL: dict[str, Any] = {"name": "small", "data": {"train": [PAIR], "valid": PAIR}}
DATA = "data: {train: [{source: a, target: b}], valid: {source: a, target: b}}\n"

NAME = (
    "must be letters A-Z and a-z, digits, dots, hyphens and underscores, "
    "with a letter or a digit first"
)
FORM = "must have the form section.option=value, such as training.max_updates=100"
OVERGROWN = "nests or repeats too much; does an alias contain itself?"
MERGE_BOMB = "\n".join(
    ["x-0: &a0 {seed: 1}", *(f"x-{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))]
)
BOMB = "a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str | bytes, *overrides: str) -> Config:
    content = text if isinstance(text, bytes) else text.encode()
    Path("configs/mine.yaml").write_bytes(content)
    return load("configs/mine.yaml", overrides)


def complaint(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(text, *overrides)
    title, *lines = str(error.value).splitlines()
    assert title == "configs/mine.yaml cannot be used:"
    assert all(line.startswith("  ") for line in lines)
    return [line.removeprefix("  ") for line in lines]


# What is wrong with the values of options; each text follows a first line with the data.
VALUES: dict[str, str | list[str]] = {
    "seed: 4.5": "line 2: seed: must be a whole number, not 4.5",
    "seed: '4'": 'line 2: seed: must be a whole number, not "4"',
    "seed: -1": "line 2: seed: must be 0 or more, not -1",
    "seed: yes": 'line 2: seed: must be a whole number, not "yes"',
    "seed: true": "line 2: seed: must be a whole number, not true",
    "seed:": "line 2: seed: must be a whole number, not empty",
    "seed: 1e3": "line 2: seed: must be a whole number, not 1000.0",
    "name: 3": "line 2: name: must be text, not 3; put it in quotes",
    "name: [a]": 'line 2: name: must be text, not ["a"]',
    "name: a b": f'line 2: name: {NAME}, not "a b"',
    'name: "\\ud800"': 'line 2: name: must be text, not "\\ud800"',
    "device: cdua": 'line 2: device: must be auto, cpu, cuda or mps, not "cdua"; '
    "did you mean cuda?",
    "device: gpu": 'line 2: device: must be auto, cpu, cuda or mps, not "gpu"',
    "sed: 1": "line 2: sed: is not an option; did you mean seed?",
    "zork: 1": "line 2: zork: is not an option",
    "'[key]': 1": "line 2: [key]: is not an option",
    "dropout: 0.1": "line 2: dropout: is not an option; did you mean model.dropout or "
    "training.lora.dropout?",
    "batch_token: 1": "line 2: batch_token: is not an option; "
    "did you mean training.batch_tokens or decoding.batch_tokens?",
    "training.warmup: 1": "line 2: training.warmup: is not an option; "
    "put warmup in a line of its own below training:",
    "training:": "line 2: training: must be options {max_updates, max_epochs, max_minutes, ...}, "
    "not empty",
    "training: {dropout: 0.1}": "line 2: training.dropout: is not an option; "
    "did you mean model.dropout?",
    "training:\n  seed: 1\n  learning_rat: 1": [
        "line 3: training.seed: is not an option; did you mean seed or decoding.seed?",
        "line 4: training.learning_rat: is not an option; did you mean training.learning_rate?",
    ],
    "training: {batch_token: 1}": "line 2: training.batch_token: is not an option; "
    "did you mean training.batch_tokens?",
    "training: {patience: 0}": "line 2: training.patience: must be 1 or more, not 0",
    "training: {learning_rate: 0}": "line 2: training.learning_rate: must be more than 0, not 0",
    "training: {learning_rate: fast}": "line 2: training.learning_rate: must be a number, "
    'not "fast"',
    "training: {learning_rate: .inf}": "line 2: training.learning_rate: must be a finite number, "
    "not Infinity",
    "training: {label_smoothing: 1}": "line 2: training.label_smoothing: must be less than 1, "
    "not 1",
    "training: {optimizer: adam_w}": "line 2: training.optimizer: must be adamw, adam, sgd, "
    'adafactor or muon, not "adam_w"; did you mean adamw?',
    "training: {schedule: noam}": "line 2: training.schedule: must be inverse_sqrt, cosine, "
    'linear, constant, warmup_stable_decay or reduce_on_plateau, not "noam"',
    "training: {precision: fp61}": "line 2: training.precision: must be auto, fp32, bf16 or fp16, "
    'not "fp61"; did you mean fp16?',
    "training: {parallel: dpp}": 'line 2: training.parallel: must be ddp or fsdp, not "dpp"',
    "training: {compile: 2}": "line 2: training.compile: must be true or false, not 2",
    "training: {batch_tokens: 0}": "line 2: training.batch_tokens: must be 1 or more, or auto, "
    "not 0",
    "training: {batch_tokens: 4.5}": "line 2: training.batch_tokens: "
    "must be a whole number or auto, not 4.5",
    "training: {batch_tokens: true}": "line 2: training.batch_tokens: "
    "must be a whole number or auto, not true",
    "training: {batch_tokens: ~}": "line 2: training.batch_tokens: "
    "must be a whole number or auto, not empty",
    "training: {batch_tokens: atuo}": "line 2: training.batch_tokens: "
    'must be a whole number or auto, not "atuo"; did you mean auto?',
    "decoding: {batch_tokens: auto}": "line 2: decoding.batch_tokens: must be a whole number, "
    'not "auto"',
    "training: {momentum: 1}": "line 2: training.momentum: must be less than 1, not 1",
    "training: {ema: 1}": "line 2: training.ema: must be less than 1, not 1",
    "training: {ema: -0.1}": "line 2: training.ema: must be 0 or more, not -0.1",
    "training: {r_drop: .nan}": "line 2: training.r_drop: must be a finite number, not NaN",
    "training: {decay: 0}": "line 2: training.decay: must be more than 0, not 0",
    "training: {plateau_factor: 0}": "line 2: training.plateau_factor: must be more than 0, not 0",
    "training: {plateau_factor: 1}": "line 2: training.plateau_factor: must be less than 1, not 1",
    "training: {plateau_patience: 0}": "line 2: training.plateau_patience: must be 1 or more, "
    "not 0",
    "training: {parallel: fsdp}\nmodel: {kind: transformer, layer_dropout: 0.1}": "line 2: "
    "training.parallel: processes that have shares of a layer cannot leave it out one by one; "
    "set it to ddp, or model.layer_dropout to 0",
    "training: {parallel: fsdp}\nmodel: {kind: transformer, share_layers: all}": "line 2: "
    "training.parallel: a layer that is used again cannot be cut into shares; set it to ddp, or "
    "model.share_layers to none",
    "model: {kind: transformer, dim: 12, heads: 4, positions: rotary}": "line 2: model.heads: "
    "rotary positions need heads of even width, not 3",
    "model: {kind: transformer, heads: 4, kv_heads: 3}": "line 2: model.kv_heads: "
    "4 heads cannot share 3 evenly",
    "model: {kind: lstm, layer_dropout: 0.1}": "line 2: model.layer_dropout: "
    "is an option of kind: transformer, not lstm",
    "model: {kind: lstm, word_dropout: 1}": "line 2: model.word_dropout: must be less than 1, "
    "not 1",
    "training:\n  schedule: warmup_stable_decay\n  warmup: 9\n  max_updates: 10\n  decay: 0.2": (
        "line 6: training.decay: would begin after 8 updates, before the warm-up ends (9)"
    ),
    "training:\n  schedule: warmup_stable_decay\n  warmup: 9\n  max_updates: 9": "line 4: "
    "training.warmup: must end before max_updates (9)",
    "training:\n  schedule: linear\n  warmup: 9\n  max_updates: 9": "line 4: training.warmup: "
    "must end before max_updates (9)",
    "training: {metrics: bleu}": "line 2: training.metrics: must be a list such as [a, b], "
    'not "bleu"',
    "training: {metrics: []}": "line 2: training.metrics: must be a list of 1 or more, not of 0",
    "training:\n  metrics:\n  - ppl\n  - belu": "line 5: training.metrics.1: must be ppl, "
    "accuracy, bleu, "
    'chrf, chrf++, ter, rouge1, rouge2, rougeL, rougeLsum or exact, not "belu"; did you mean bleu?',
    "training: {metrics: [ppl, ppl]}": "line 2: training.metrics: names a metric twice",
    "training: {betas: [0.9]}": "line 2: training.betas: must be a list of 2 or more, not of 1",
    "training: {betas: [0, 0, 0]}": "line 2: training.betas: must be a list of 2 or fewer, "
    "not of 3",
    "tokenizer: {character_coverage: 1.5}": "line 2: tokenizer.character_coverage: "
    "must be 1 or less, not 1.5",
    "tokenizer: {shared: 3}": "line 2: tokenizer.shared: must be true or false, not 3",
    "tokenizer: {shared: maybe}": 'line 2: tokenizer.shared: must be true or false, not "maybe"',
    "tokenizer: {shared: [no]}": 'line 2: tokenizer.shared: must be true or false, not ["no"]',
    "model: lstm": 'line 2: model: must be options such as {kind: transformer}, not "lstm"',
    "model: {dim: 512}": "line 2: model.kind: is required: add kind: transformer or kind: lstm",
    "model: {kind: lstn}": 'line 2: model.kind: must be transformer or lstm, not "lstn"; '
    "did you mean lstm?",
    "model: {kind: true}": "line 2: model.kind: must be transformer or lstm, not true",
    "model: {kind: transformer, input_feeding: true}": "line 2: model.input_feeding: "
    "is an option of kind: lstm, not transformer",
    "model: {kind: lstm, heads: 4}": "line 2: model.heads: "
    "is an option of kind: transformer, not lstm",
    "model: {kind: lstm, drop_out: 0}": "line 2: model.drop_out: is not an option; "
    "did you mean model.dropout?",
    "tokenizer: {kind: char}\ntraining: {subword_sampling: both}": "line 3: "
    "training.subword_sampling: there is one way to cut text into chars; "
    "set it to none, or tokenizer.kind to unigram or bpe",
    "training: {subword_alpha: 0}": "line 2: training.subword_alpha: must be more than 0, not 0",
    "model:\n  kind: transformer\n  positions: sinusoidal\n  dim: 511\n  heads: 7\n": "line 5: "
    "model.dim: "
    "sinusoidal positions need an even width, not 511",
    "model:\n  kind: transformer\n  dim: 512\n  heads: 7\n": "line 5: model.heads: "
    "7 heads cannot share a width of 512 evenly",
    "training:\n  schedule: cosine\n  warmup: 9\n  max_updates: 9\n  average: 9": [
        "line 4: training.warmup: must end before max_updates (9)",
        "line 6: training.average: cannot average 9 checkpoints of keep_best: 5",
    ],
    "model: {kind: lstm, share_embeddings: all}\ntokenizer:\n  kind: bpe\n  shared: no": "line 2: "
    "model.share_embeddings: "
    "all embeddings cannot be shared by two vocabularies; "
    "set it to target, or tokenizer.shared to true",
}

# What is wrong with whole files.
FILES: dict[str, str | list[str]] = {
    "": [
        "data.train: is required: the corpora to learn from",
        "data.valid: is required: the pairs that every choice is made on: early stopping, "
        "the best checkpoint",
    ],
    "\ndata: {train: [{source: a}], valid: {source: a, target: b}}": "line 2: data.train.0.target: "
    "is required beside source",
    "data: 3": "line 1: data: must be options {source, target, train, ...}, not 3",
    "- data": 'line 1: must be options such as `seed: 1`, not ["data"]',
    "data:x": 'line 1: must be options such as `seed: 1`, not "data:x"',
    """\
data:
  source: 3
  target: true
  train:
  - 1
  - source: {path: 3, url: b}
    target: [b]
  valid: {source: {path: a, sha256: ABC}, target: ''}
  test:
    a b: {source: a, target: b}
    source: {target: b, trget: c, '[key]': d}
""": [
        "line 2: data.source: must be text, not 3; put it in quotes",
        "line 3: data.target: must be text, not true; put it in quotes",
        "line 5: data.train.0: must be a path, or options {source, target, path, ...}, not 1",
        "line 6: data.train.1.source.path: must be text, not 3; put it in quotes",
        "line 6: data.train.1.source.url: is not an option; did you mean data.train.1.source.urls?",
        "line 7: data.train.1.target: must be a path, or options {path, urls, sha256, member}, "
        'not ["b"]',
        'line 8: data.valid.source.sha256: must be 64 hexadecimal digits in lower case, not "ABC"',
        "line 8: data.valid.target.path: must not be empty",
        f'line 10: data.test.a b: {NAME}, not "a b"',
        "line 11: data.test.source.[key]: is not an option",
        "line 11: data.test.source.trget: is not an option; did you mean data.test.source.target?",
    ],
    "data: {train: [{source: a, target: b}], valid: {source: a, target: b}, test: [a]}": "line 1: "
    'data.test: must be entries by name such as {name: ...}, not ["a"]',
}

HASH = "a" * 64
RULE_NAMES = (
    "empty, length, ratio, identical, duplicates, letters, script, numbers, brackets, markup, "
    "control or language"
)
ONE_SIDE = "has one side in a file; put {lang} into path"
BOTH_SIDES = "has both sides in one file; "
HASHES = "sha256: needs a hash for each file: two if path has {lang}, else one"

# What is wrong with a corpus: what it says, and what is said of it.
CORPORA: dict[str, str | list[str]] = {
    "{}": "source: is required, with target beside it, or path instead of both",
    "{target: a}": "source: is required beside target",
    "{source: a}": "target: is required beside source",
    "{source: a, path: b}": "path: is one file for both sides; "
    "it cannot stand beside source and target",
    "{source: a, target: b, path: c}": "path: is one file for both sides; "
    "it cannot stand beside source and target",
    f"{{source: a, target: b, urls: [c], member: d, sha256: {HASH}}}": [
        "member: belongs to path; write source: {path, member}, target too",
        "sha256: belongs to path; write source: {path, sha256}, target too",
        "urls: belongs to path; write source: {path, urls}, target too",
    ],
    "{path: a, format: text}": f"format: text {ONE_SIDE}",
    "{path: a, format: sgm}": f"format: sgm {ONE_SIDE}",
    "{path: 'a.{lang}', format: tsv}": f"format: tsv {BOTH_SIDES}leave {{lang}} out",
    "{path: a, member: 'b.{lang}', format: tmx}": f"format: tmx {BOTH_SIDES}leave {{lang}} out",
    "{source: a, target: b, format: jsonl}": f"format: jsonl {BOTH_SIDES}name it by path",
    "{path: a, format: jsnl}": "format: must be text, sgm, tsv, jsonl, tmx, xliff or po, "
    'not "jsnl"; did you mean jsonl?',
    f"{{path: 'a.{{lang}}', sha256: {HASH}}}": HASHES,
    f"{{path: a, sha256: [{HASH}, {HASH}]}}": HASHES,
    f"{{path: a, member: 'b.{{lang}}', sha256: [{HASH}, {HASH}]}}": HASHES,
    f"{{path: a, sha256: [{HASH}, {HASH}, {HASH}]}}": "sha256: "
    "must be a list of 2 or fewer, not of 3",
    "{path: a, sha256: [ABC]}": 'sha256.0: must be 64 hexadecimal digits in lower case, not "ABC"',
    "{path: a, fields: [1]}": "fields: must be a list of 2 or more, not of 1",
    "{path: a, fields: [1, 2, 3]}": "fields: must be a list of 2 or fewer, not of 3",
    "{path: a, fields: [1, true]}": "fields.1: must be text, not true; put it in quotes",
    "{path: a, format: po, fields: [1, 2]}": "fields: "
    "is for tsv and jsonl, which have both sides in one file",
    "{source: a, target: b, fields: [1, 2]}": "fields: "
    "is for tsv and jsonl, which have both sides in one file",
    "{path: a, languages: [de]}": "languages: must be a list of 2 or more, not of 1",
    "{path: a, on_error: ignore}": 'on_error: must be stop or skip, not "ignore"',
    "{path: a, tag: bt}": 'tag: must be a word in angle brackets such as <bt>, not "bt"',
    "{path: a, tag: <b t>}": 'tag: must be a word in angle brackets such as <bt>, not "<b t>"',
    "{path: a, tag: </s>}": "tag: </s> is a piece that has another meaning; take another word",
    "{path: a, tag: <0x0A>}": "tag: <0x0A> is a piece that has another meaning; take another word",
    "{path: a, tag: <mask>}": "tag: <mask> is a piece that has another meaning; take another word",
    "{path: a, objective: infiling}": "objective.task: must be translation, infilling, masking, "
    "deletion, permutation, spans, language_modelling or masked_language_modelling, "
    'not "infiling"; did you mean infilling?',
    "{path: a, objective: {task: masking, poisson_lambda: 1}}": "objective.poisson_lambda: "
    "is an option of task: infilling, not masking",
    "{path: a, objective: {task: spans, noise_density: 1.5}}": "objective.noise_density: "
    "must be less than 1, not 1.5",
    "{path: a, weight: -1}": "weight: must be 0 or more, not -1",
    "{path: a, parts: [b]}": "parts: stand instead of source, target and path, not beside them",
    "{parts: []}": "parts: must be a list of 1 or more, not of 0",
    "{parts: [a, {source: b}]}": "parts.1.target: is required beside source",
    "{parts: [a], on_error: skip, fields: [1, 2]}": [
        "fields: belongs into each of parts, not beside them",
        "on_error: belongs into each of parts, not beside them",
    ],
    "{parts: [{path: a, tag: <bt>}]}": "parts.0.tag: is not an option; "
    "did you mean data.train.0.parts.0.target?",
    "{path: a, filters: empty}": 'filters: must be a list such as [a, b], not "empty"',
    "{path: a, filters: [ratoi]}": f'filters.0.rule: must be {RULE_NAMES}, not "ratoi"; '
    "did you mean ratio?",
}

# What is wrong with a rule among data.filters.
WRONG_RULES: dict[str, str] = {
    "ratoi": f'0.rule: must be {RULE_NAMES}, not "ratoi"; did you mean ratio?',
    "{rule: }": f"0.rule: must be {RULE_NAMES}, not empty",
    "{max: 3}": "0.rule: is required: add "
    + "rule: "
    + RULE_NAMES.replace(", ", ", rule: ").replace(" or ", " or rule: "),
    "3": "0: must be options such as {rule: empty}, not 3",
    "{rule: length, mx: 3}": "0.mx: is not an option; did you mean data.filters.0.max?",
    "{rule: length, min: 9, max: 3}": "0.min: 9 is more than max: 3",
    "{rule: length, min: 0}": "0.min: must be 1 or more, not 0",
    "{rule: length, unit: pieces}": '0.unit: must be words or characters, not "pieces"',
    "{rule: ratio, min: 3}": "0.min: is an option of rule: length, not ratio",
    "{rule: ratio, max: 0.5}": "0.max: must be 1 or more, not 0.5",
    "{rule: ratio, max: .inf}": "0.max: must be a finite number, not Infinity",
    "{rule: identical, of: pair}": "0.of: is an option of rule: duplicates, not identical",
    "{rule: duplicates, of: both}": '0.of: must be pair, source or target, not "both"',
    "{rule: letters, min: 2}": "0.min: must be 1 or less, not 2",
    "{rule: script, source: []}": "0.source: must be a list of 1 or more, not of 0",
    "{rule: script, target: Latin}": '0.target: must be a list such as [a, b], not "Latin"',
    "{rule: language, languages: [de]}": "0.languages: must be a list of 2 or more, not of 1",
    "{rule: language, min_characters: 0}": "0.min_characters: must be 1 or more, not 0",
}

# What is wrong with the corpora together: the lines below data:, and what is said of them.
ALL_WEIGHTS = "some corpora have a weight and some none; give all of them one, or none"
UNKNOWN_TAG = "tag: is the tag of no corpus in data.train, so no model knows it"
STDIN_AGAIN = "is read again and again; standard input (-) is for data.train"
TOGETHER: dict[str, str | list[str]] = {
    "train: [{path: a, weight: 1}, b]\nvalid: b": f"line 2: data.train: {ALL_WEIGHTS}",
    "train: [a]\nvalid: {path: b, objective: infilling}": "line 1: training.metrics: "
    "an objective such as that of data.valid has perplexity and accuracy alone; set it to [ppl]",
    "train: [a]\nvalid: b\ntest: {t: {path: b, objective: masking}}": "line 4: "
    "data.test.t.objective: is for what is learned or validated; tests are translated",
    "train: [a]\nvalid: b\nwatch: {w: {path: '-', tag: <x>, weight: 1}}": [
        f"line 4: data.watch.w.{UNKNOWN_TAG}",
        "line 4: data.watch.w.weight: is for data.train; other sets stay whole",
        f"line 4: data.watch.w: {STDIN_AGAIN}",
    ],
    "train: [{path: a, weight: 0}]\nvalid: b": "line 2: data.train: "
    "all weights are 0; give a corpus to learn from more",
    "train: [{path: a, weight: 1}]\nvalid: b\ntemperature: 5": "line 4: data.temperature: "
    "weights say how corpora share training; leave one of them out",
    "train: [a]\nvalid: b\ntemperature: 0.5": "line 4: data.temperature: "
    "must be 1 or more, not 0.5",
    "train: ['-', {parts: [a, '-']}]\nvalid: b": "line 2: data.train: "
    "standard input (-) can be read only once",
    "train: [a]\nvalid: '-'\ntest: {one: {parts: [b, '-']}}": [
        f"line 3: data.valid: {STDIN_AGAIN}",
        f"line 4: data.test.one: {STDIN_AGAIN}",
    ],
    "train: [a, {path: b, tag: <bt>}]\nvalid: {path: b, tag: <2de>}\n"
    "test: {one: {path: b, tag: <bt>}, two: {path: b, tag: <2fr>}, three: b}": [
        f"line 3: data.valid.{UNKNOWN_TAG}",
        f"line 4: data.test.two.{UNKNOWN_TAG}",
    ],
    "train: a\nvalid: b": 'line 2: data.train: must be a list such as [a, b], not "a"',
    "train: [a]\nvalid: b\nnormalize: [nfd]": "line 4: data.normalize.0: "
    'must be nfc, nfkc, whitespace or punctuation, not "nfd"',
    "train: [a]\nvalid: b\nmax_unpacked: 0": "line 4: data.max_unpacked: "
    "must be more than 0, not 0",
}

# What keeps a text from being YAML, or from being plain data.
TEXTS: dict[str | bytes, str | list[str]] = {
    "data:\n\ttrain: a": "line 2: is not valid YAML: a tab stands where YAML wants spaces",
    "seed: a: b": "line 1: is not valid YAML: "
    'check the indentation, and put text with ": " in quotes',
    "seed: 1\n  name: b": "line 2: is not valid YAML: "
    'check the indentation, and put text with ": " in quotes',
    "seed: 1\nname\ndevice: cpu": "line 2: is not valid YAML: "
    'a name and its value need ": " between them',
    "data:\n  source: 1\n target: c": "line 3: is not valid YAML: "
    "this line does not go on from the lines above",
    "seed: 1\nname: 'x\ndevice: cpu\n": "line 2: is not valid YAML: "
    "a quotation mark opens here and never closes",
    "data: {train: [\nseed: 1\n": "line 1: is not valid YAML: "
    "a bracket opens here and does not close, or lacks a comma",
    "name: *x": "line 1: is not valid YAML: text that starts with * must be in quotes",
    "name: @x": "line 1: is not valid YAML: text that starts with @ must be in quotes",
    "metrics: - ppl": 'line 1: is not valid YAML: put each "- " in a line of its own',
    "seed: 1\n---\nseed: 2": "line 2: is not valid YAML: "
    "--- starts a second document, but a config is one",
    "name: }": "line 1: is not valid YAML: a value is missing, or a bracket out of place",
    "seed: 1\nname: a\x07": "line 2: has a control character, '\\x07'; remove it",
    'name: "\\UFFFFFFFF"': "line 1: is not valid YAML: a \\U escape names no character",
    b"seed: 1\nname: \xe9": "line 2: is not UTF-8; save the file in that encoding",
    "seed: 1".encode("utf-16"): "line 1: is not UTF-8; save the file in that encoding",
    f"{DATA}seed: 1\nseed: 2": "line 3: seed: is given twice, first in line 2",
    f"{DATA}training:\n  warmup: 1\n\n  warmup: x": "line 5: training.warmup: is given twice, "
    "first in line 3",
    f"{DATA}2016: a": "line 2: a name must be text; put 2016 in quotes",
    f"{DATA}training: {{true: 1}}": "line 2: training: a name must be text; put true in quotes",
    f"{DATA}? [a]\n: b": "line 2: a name must be text; put [] in quotes",
    f"{DATA}name: !!python/object/apply:os.getcwd []": [
        "line 2: name: cannot have a tag (!!python/object/apply:os.getcwd); "
        "put text that starts with ! in quotes",
        "line 2: name: must be text, not []",
    ],
    f"{DATA}name: !important a": "line 2: name: cannot have a tag (!important); "
    "put text that starts with ! in quotes",
    f"{DATA}training: &again\n  warmup: *again": f"line 2: {OVERGROWN}",
    BOMB: f"line 1: {OVERGROWN}",
    f"{DATA}training: &again\n  <<: *again": f"line 2: {OVERGROWN}",
    MERGE_BOMB: f"line 1: {OVERGROWN}",
    f"{DATA}x-a: &a {{warmup: x}}\ntraining:\n  <<: *a\n": "line 2: training.warmup: must be a "
    'whole number, not "x"',
    f"{DATA}x-a: &a {{seed: 1}}\n<<: *a\n<<: *a": "line 4: <<: is given twice, first in line 3",
    f"{DATA}x-a: {{seed: 1, seed: 2}}": "line 2: x-a.seed: is given twice, first in line 2",
    f"{DATA}training:\n  <<: {{warmup: 1, warmup: 2}}": "line 3: training.warmup: is given twice, "
    "first in line 3",
    f"{DATA}training:\n  <<: [{{}}, 3]": "line 3: training: << merges options, such as an alias of "
    "some, not other values",
    f"{DATA}'<<': {{seed: 1}}": "line 2: <<: is not an option",
    f"{DATA}training: {{x-a: 1}}": "line 2: training.x-a: is not an option",
    "[" * 2000: f"line 1: {OVERGROWN}",
}

OVERRIDES: dict[str, str | list[str]] = {
    "training.max_updates": f"--set training.max_updates: {FORM}",
    "=1": f"--set =1: {FORM}",
    "training..warmup=1": f"--set training..warmup: {FORM}",
    "training.warmup=": "--set training.warmup: must be a whole number, not empty",
    "training.warmup=soon": '--set training.warmup: must be a whole number, not "soon"',
    "training.metrics=[": "--set training.metrics: is not valid YAML: "
    "a value is missing, or a bracket out of place",
    "training.warm_up=1": "--set training.warm_up: is not an option; did you mean training.warmup?",
    "seed={a: 1, a: 1}": [
        "--set seed.a: is given twice",
        '--set seed: must be a whole number, not {"a": 1}',
    ],
    "model.heads=8": "--set model.kind: is required: add kind: transformer or kind: lstm",
    "data.train.1.source=c": "--set data.train.1.target: is required beside source",
    "data.train.2.source=c": "--set data.train.2.source: cannot be set, "
    'because [{"source": "a", "target": "b"}] has no 2',
    "data.valid.source.member=c": "--set data.valid.source.member: cannot be set, "
    'because "a" has no member',
}


OPTIONS = """
    data data.filters data.max_length data.max_unpacked data.normalize data.prepared data.source
    data.target data.temperature data.test data.train data.valid data.valid.fields
    data.valid.filters data.valid.format data.valid.languages data.valid.member data.valid.objective
    data.valid.on_error data.valid.parts data.valid.path data.valid.references data.valid.sha256
    data.valid.source data.valid.source.member data.valid.source.path data.valid.source.sha256
    data.valid.source.urls data.valid.tag data.valid.target data.valid.target.member
    data.valid.target.path data.valid.target.sha256 data.valid.target.urls data.valid.urls
    data.valid.weight data.watch decoding decoding.batch_tokens decoding.beam decoding.candidates
    decoding.coverage_penalty decoding.diversity_groups decoding.diversity_penalty decoding.engine
    decoding.length_normalization decoding.length_penalty decoding.max_length
    decoding.max_length_ratio decoding.min_length decoding.min_length_ratio decoding.min_p
    decoding.n_best decoding.no_repeat_ngram decoding.patience decoding.precision
    decoding.repetition_penalty
    decoding.risk decoding.sampling decoding.seed decoding.temperature decoding.top_k decoding.top_p
    device evaluation evaluation.metrics model model.activation model.activation_dropout
    model.attention model.attention_dropout model.autoregression model.bidirectional model.cell
    model.decoder_layers model.dim model.dropout model.embedding_dim model.encoder_layers
    model.ffn_dim model.heads model.input_feeding model.kind model.kv_heads model.layer_dropout
    model.norm model.normalization model.positions model.share_embeddings model.share_layers
    model.word_dropout name seed tokenizer tokenizer.byte_fallback tokenizer.character_coverage
    tokenizer.kind tokenizer.normalization tokenizer.normalization.source
    tokenizer.normalization.target tokenizer.shared tokenizer.training_sentences
    tokenizer.vocab_size training training.accumulate training.average training.average_of
    training.batch_tokens training.betas training.clip_norm training.compile training.decay
    training.decode_every training.ema training.export training.extend_vocab training.freeze
    training.init_from training.init_from.decoder training.init_from.encoder training.keep_best
    training.keep_last training.label_smoothing training.layer_decay training.learning_rate
    training.log_every training.lora training.lora.alpha training.lora.dropout training.lora.layers
    training.lora.rank training.max_epochs training.max_minutes training.max_updates
    training.metrics training.momentum training.optimizer training.parallel training.patience
    training.plateau_factor training.plateau_patience training.precision training.r_drop
    training.rates training.samples training.schedule training.subword_alpha
    training.subword_sampling training.tensorboard training.unfreeze_every training.validate_every
    training.warmup training.weight_decay
"""


def lines(expected: str | list[str]) -> list[str]:
    return [expected] if isinstance(expected, str) else expected


@pytest.mark.parametrize(("text", "expected"), VALUES.items())
def test_wrong_options_are_explained_exactly(text, expected):
    assert complaint(DATA + text) == lines(expected)


def train_on(corpus: str) -> str:
    """A config with one training corpus, which stands in line 3."""
    return f"data:\n  train:\n  - {corpus}\n  valid: b\n"


def filtered_by(rules: str) -> str:
    """A config with some filters, in line 2."""
    return f"data:\n  filters: [{rules}]\n  train: [a]\n  valid: b\n"


@pytest.mark.parametrize(("corpus", "expected"), CORPORA.items())
def test_wrong_corpora_are_explained_exactly(corpus, expected):
    place = "line 3: data.train.0."
    assert complaint(train_on(corpus)) == [f"{place}{line}" for line in lines(expected)]


@pytest.mark.parametrize(("rule", "expected"), WRONG_RULES.items())
def test_wrong_rules_are_explained_exactly(rule, expected):
    assert complaint(filtered_by(rule)) == [f"line 2: data.filters.{expected}"]


@pytest.mark.parametrize(("text", "expected"), TOGETHER.items())
def test_corpora_that_do_not_fit_each_other_are_explained_exactly(text, expected):
    below = "\n".join(f"  {line}" for line in text.split("\n"))
    assert complaint(f"data:\n{below}\n") == lines(expected)


def test_objectives_that_the_model_cannot_learn_are_explained():
    text = (
        "data:\n"
        "  train: [{path: a, objective: masked_language_modelling}]\n"
        "  valid: b\n"
        "  watch:\n"
        "    w: {path: b, objective: spans}\n"
        "model: {kind: lstm, share_embeddings: none}\n"
        "tokenizer: {shared: false}\n"
    )
    assert complaint(text) == [
        "line 2: data.train.0.objective: compares the encoder's states with embeddings, which must "
        "be as wide; set it to another, or model.embedding_dim to 512, which model.dim is",
        "line 5: data.watch.w.objective: sources and targets of spans have pieces in common; set "
        "it to another, or tokenizer.shared to true",
    ]


@pytest.mark.parametrize(("text", "expected"), FILES.items())
def test_wrong_files_are_explained_exactly(text, expected):
    assert complaint(text) == lines(expected)


@pytest.mark.parametrize(("text", "expected"), TEXTS.items(), ids=range(len(TEXTS)))
def test_what_is_no_yaml_is_explained_exactly(text, expected):
    assert complaint(text) == lines(expected)


@pytest.mark.parametrize(("override", "expected"), OVERRIDES.items())
def test_wrong_overrides_are_explained_exactly(override, expected):
    assert complaint(DATA, override) == lines(expected)


def test_all_problems_are_named_at_once_in_the_order_of_their_places():
    text = "seed: a\nsede: 1\nmodel:\n  kind: transformer\n  heads: 7\ndata: {train: []}\nseed: 2"
    assert complaint(text, "zork=1", "name=3", "decoding.beam") == [
        'line 1: seed: must be a whole number, not "a"',
        "line 2: sede: is not an option; did you mean seed?",
        "line 5: model.heads: 7 heads cannot share a width of 256 evenly",
        "line 6: data.train: must be a list of 1 or more, not of 0",
        "line 6: data.valid: is required: the pairs that every choice is made on: early stopping, "
        "the best checkpoint",
        "line 7: seed: is given twice, first in line 1",
        "--set zork: is not an option",
        "--set name: must be text, not 3; put it in quotes",
        f"--set decoding.beam: {FORM}",
    ]


def test_a_missing_file_is_named_beside_one_with_a_similar_name(folder):
    read(DATA)
    (folder / "runs").mkdir()
    for path, expected in {
        "configs/mime.yaml": "configs/mime.yaml is missing; did you mean configs/mine.yaml?",
        "mine": "mine is missing; did you mean configs/mine.yaml?",
        "configs/other.yaml": "configs/other.yaml is missing",
        "nowhere/other.yaml": "nowhere/other.yaml is missing",
        "runs": "runs is a folder; name a file in it",
        "configs/mine.yaml/x": "configs/mine.yaml/x cannot be read: Not a directory",
    }.items():
        with pytest.raises(ConfigError) as error:
            load(path)
        assert str(error.value) == expected


def test_the_option_decides_what_plain_text_means():
    config = read(
        "data: {source: no, target: 12:30, train: [{source: off, target: 2016-01-01}], "
        "valid: {source: a, target: 1_000}}\n"
        "model: {kind: lstm, share_embeddings: target}\n"
        "tokenizer: {shared: no, byte_fallback: on}\n"
        "seed: 010\n"
        "training: {learning_rate: 1e-4, clip_norm: 0, weight_decay: .5, patience: ~}\n"
        "decoding: {beam: 0x10, batch_tokens: 0o10}\n"
    )
    assert (config.data.source, config.data.target) == ("no", "12:30")
    corpus = config.data.train[0]
    assert (corpus.source.path, corpus.target.path) == ("off", "2016-01-01")
    assert config.data.valid.target.path == "1_000"
    assert config.tokenizer.shared is False
    assert config.tokenizer.byte_fallback is True
    assert config.seed == 10
    assert config.training.learning_rate == 1e-4
    assert (config.training.clip_norm, config.training.weight_decay) == (0.0, 0.5)
    assert config.training.patience is None
    assert (config.decoding.beam, config.decoding.batch_tokens) == (16, 8)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_the_same_by_its_name_alone_and_with_its_defaults(rule):
    defaults = {name: option for name, option in RULES[rule](rule=rule) if option is not None}
    forms = [rule, f"{{rule: {rule}}}", f"rule: {rule}", json.dumps(defaults)]
    alone, *others = (read(filtered_by(form)).data.filters for form in forms)
    assert [one.rule for one in alone] == [rule]
    assert others == [alone] * 3
    assert read(filtered_by(f"empty, {rule}")).data.filters[1:] == alone
    corpus = read(train_on(f"{{path: a, filters: [{rule}]}}")).data.train[0]
    assert corpus.filters == alone


@pytest.mark.parametrize(
    ("short", "long"),
    {
        "a": "{path: a}",
        "{source: a, target: b}": "{source: {path: a}, target: {path: b}}",
        f"{{path: a, sha256: {HASH}}}": f"{{path: a, sha256: [{HASH}]}}",
        "{path: a, fields: [1, 2]}": "{path: a, fields: ['1', '2']}",
        "{parts: [a, b]}": "{parts: [{path: a}, {path: b}]}",
        "{path: a}": "{path: a, on_error: stop, urls: [], format: null, filters: null}",
    }.items(),
)
def test_a_short_form_is_the_same_as_the_long_one(short, long):
    one, other = read(train_on(short)), read(train_on(long))
    assert one == other
    assert dump(one) == dump(other)
    assert differences(one, other) == []


def test_a_corpus_without_filters_of_its_own_is_not_one_with_none():
    config = read(train_on("{path: a, filters: []}"))
    assert config.data.train[0].filters == []
    assert read(dump(config)) == config != read(train_on("a"))


@pytest.mark.parametrize("tag", ["<bt>", "<2de>", "<a,b>", "<ü>", "<S>", "<pads>", "<0xAAA>"])
def test_any_other_word_in_angle_brackets_is_a_tag(tag):
    assert read(train_on(f"{{path: a, tag: {json.dumps(tag)}}}")).data.train[0].tag == tag


def test_an_alias_stands_for_what_it_names():
    text = "data: {valid: &pair {source: a, target: b}, train: [*pair], test: {again: *pair}}"
    config = read(text, "data.test.again.source=c")
    assert config.data.train == [config.data.valid]
    assert config.data.test["again"].source.path == "c"


def test_merged_options_are_those_that_are_not_given():
    config = read(f"""
x-small: &small {{dim: 64, heads: 2, ffn_dim: 128}}
x-deep:
  model: &deep
    <<: *small
    heads: 4
    encoder_layers: 8
{DATA}
model:
  dropout: 0.3
  <<: [*deep, {{decoder_layers: 1, encoder_layers: 2}}]
  dim: 96
  kind: transformer
training: &training {{warmup: 7}}
""")
    assert config == read(f"""
{DATA}
model:
  {{kind: transformer, dim: 96, heads: 4, ffn_dim: 128, dropout: 0.3, encoder_layers: 8,
    decoder_layers: 1}}
training: {{warmup: 7}}
""")


def test_merged_options_are_overridden_where_they_stand():
    text = f"x-a: &a {{warmup: 1, log_every: 5}}\n{DATA}training: {{<<: *a}}"
    assert read(text, "training.warmup=3") == read(f"{DATA}training: {{warmup: 3, log_every: 5}}")


def test_a_byte_order_mark_changes_nothing():
    assert read(b"\xef\xbb\xbf" + DATA.encode()) == read(DATA)


@pytest.mark.parametrize(
    ("override", "line"),
    {
        "training.max_updates=100": "training: {max_updates: 100}",
        "training.metrics=[ppl]": "training: {metrics: [ppl]}",
        "training.max_minutes=1e-1": "training: {max_minutes: 0.1}",
        "training.patience=": "training: {patience: null}",
        "model={kind: lstm}": "model: {kind: lstm}",
        "name=of-override": "name: of-override",
    }.items(),
)
def test_an_override_is_the_same_as_a_line_of_the_file(override, line):
    assert read(DATA, override) == read(DATA + line)


def test_an_override_reaches_into_entries():
    config = read(
        DATA,
        "data.train.0.source=c",
        "data.train.1={source: {path: e}, target: f}",
        "data.train.1.source.urls=[g]",
        "data.test.2016.source=h=i",
        "data.test.2016.target=j",
    )
    first, second = config.data.train
    assert (first.source.path, first.target.path) == ("c", "b")
    assert (second.source.path, second.source.urls) == ("e", ["g"])
    assert config.data.test["2016"].source.path == "h=i"


def test_the_last_override_counts():
    assert read(f"{DATA}seed: 1", "seed=2", "seed=3").seed == 3
    assert complaint(f"{DATA}seed: 1", "seed=a", "seed=b", "name=_") == [
        '--set seed: must be a whole number, not "b"',
        f'--set name: {NAME}, not "_"',
    ]


def test_a_run_is_called_as_its_file_unless_it_is_named(folder):
    for file, name in {
        "wmt14.yaml": "wmt14",
        "_my run.v2.yml": "my-run.v2",
        "日本.yaml": "run",
    }.items():
        (folder / file).write_text(DATA, encoding="utf-8")
        assert load(folder / file).name == name
    assert read(f"{DATA}name: other").name == "other"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("**/*.y*ml")), ids=lambda p: p.name)
def test_every_config_of_the_project_loads(path):
    assert load(path).name


# Values that fit each other more often than chance would have it.
LIKELY = {
    "dim": st.integers(1, 99).map(lambda number: 4 * number),
    "heads": st.sampled_from([1, 2, 4]),
    "average": st.just(1),
    "warmup": st.just(0),
    "vocab_size": st.integers(300, 10**20),
    "metrics": st.lists(st.sampled_from(["ppl", "bleu"]), min_size=1, unique=True),
    "subword_sampling": st.just("none"),
}

TEXTS_OF_FILES = st.text(min_size=1) | st.sampled_from(["a", "b.gz", "c/*.de", "no", "1e3", "~"])
URLS = TEXTS_OF_FILES.filter(lambda url: without_secrets(url) == url)
HASHES_OF_FILES = st.from_regex("[0-9a-f]{64}", fullmatch=True)
TWO_TEXTS = st.tuples(TEXTS_OF_FILES, TEXTS_OF_FILES).map(list)
FILE = TEXTS_OF_FILES | st.fixed_dictionaries(
    {"path": TEXTS_OF_FILES},
    optional={
        "urls": st.lists(URLS, max_size=2),
        "sha256": st.none() | HASHES_OF_FILES,
        "member": st.none() | TEXTS_OF_FILES,
    },
)
NO_PATTERN = TEXTS_OF_FILES.filter(lambda path: "{lang}" not in path and path != "-")
PATTERN = st.tuples(st.text(), st.text()).map("{lang}".join)
EVERY_SOURCE = {"languages": st.none() | TWO_TEXTS, "on_error": st.sampled_from(["stop", "skip"])}
FETCHED = {**EVERY_SOURCE, "urls": st.lists(URLS, max_size=2)}
SOURCES = [
    NO_PATTERN,
    st.fixed_dictionaries(
        {"source": FILE, "target": FILE},
        optional={**EVERY_SOURCE, "format": st.sampled_from([None, "text", "sgm"])},
    ),
    st.fixed_dictionaries(
        {"path": NO_PATTERN},
        optional={
            **FETCHED,
            "member": st.none() | NO_PATTERN,
            "sha256": HASHES_OF_FILES | st.lists(HASHES_OF_FILES, max_size=1),
            "format": st.sampled_from([None, "tsv", "jsonl"]),
            "fields": st.none() | st.tuples(st.integers(1) | TEXTS_OF_FILES, TEXTS_OF_FILES),
        },
    ),
    st.fixed_dictionaries(
        {"path": PATTERN},
        optional={
            **FETCHED,
            "member": st.none() | PATTERN,
            "sha256": st.just([]) | st.lists(HASHES_OF_FILES, min_size=2, max_size=2),
            "format": st.sampled_from([None, "text", "sgm"]),
        },
    ),
    st.fixed_dictionaries({"path": st.sampled_from(["sacrebleu:wmt14/full", "huggingface:a/b"])}),
]
SOURCE = st.one_of(SOURCES)
MORE = {
    "weight": st.floats(0.1, 9),
    "tag": st.none() | st.sampled_from(["<bt>", "<2de>", "<ü>"]),
    "filters": st.none() | st.lists(st.sampled_from(sorted(RULES)), max_size=3),
}


@st.composite
def corpora(draw: st.DrawFn, *more: str) -> Any:
    """A corpus of any kind, with some more options."""
    parts = st.lists(SOURCE, min_size=1, max_size=3)
    corpus = draw(SOURCE | st.fixed_dictionaries({"parts": parts}))
    if isinstance(corpus, str) and (draw(st.booleans()) or more):
        corpus = {"path": corpus}
    return {**corpus, **{name: draw(MORE[name]) for name in more}} if more else corpus


@st.composite
def data_sections(draw: st.DrawFn, options: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Any data whose corpora fit each other."""
    data = draw(options)
    weights = draw(st.booleans())
    more = [*["weight"] * weights, *draw(st.sampled_from([[], ["tag"], ["tag", "filters"]]))]
    data["train"] = draw(st.lists(corpora(*more), min_size=1, max_size=3))
    tags = [corpus.get("tag") for corpus in data["train"] if isinstance(corpus, dict)]
    data["valid"] = draw(corpora())
    if isinstance(data["valid"], dict) and tags:
        data["valid"]["tag"] = draw(st.sampled_from(tags))
    if "test" in data:
        data["test"] = {name: draw(corpora()) for name in data["test"]}
    if weights:
        data.pop("temperature", None)
    return data


NAMES = "^[A-Za-z0-9][A-Za-z0-9._-]*$"


def values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Whatever a JSON schema allows."""
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return st.one_of([values(choice, definitions) for choice in choices])
    if "$ref" in schema:
        return values(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    match schema["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(
                schema.get("minimum", schema.get("exclusiveMinimum")),
                schema.get("maximum", schema.get("exclusiveMaximum")),
                exclude_min="exclusiveMinimum" in schema,
                exclude_max="exclusiveMaximum" in schema,
                allow_infinity=False,
            )
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"].replace("$", r"\Z"))
        case "string":
            return st.text(min_size=1)
        case "array":
            entry = values(schema["items"], definitions)
            least = schema.get("minItems", 0)
            return st.lists(entry, min_size=least, max_size=schema.get("maxItems", least + 2))
    if "patternProperties" in schema:
        ((name, entry),) = schema["patternProperties"].items()
        names = values({"type": "string", "pattern": name}, definitions)
        return st.dictionaries(names, values(entry, definitions), max_size=2)
    if "additionalProperties" in schema and "properties" not in schema:
        entry = values(schema["additionalProperties"], definitions)
        return st.dictionaries(st.text(min_size=1), entry, max_size=2)
    options = {
        name: LIKELY[name] if name in LIKELY else values(option, definitions)
        for name, option in schema["properties"].items()
    }
    if schema["title"] == "Data":
        names = values({"type": "string", "pattern": NAMES}, definitions)
        options |= {"test": st.lists(names, max_size=2, unique=True)}
        del options["train"], options["valid"]
        return data_sections(st.fixed_dictionaries({}, optional=options))
    required = {name: options.pop(name) for name in schema.get("required", [])}
    if "kind" in options:
        required["kind"] = options.pop("kind")
    return st.fixed_dictionaries(required, optional=options)


SCHEMA = Config.model_json_schema()


@given(values(SCHEMA, SCHEMA["$defs"]))
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_written_reads_as_it_was(data):
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        if {problem["type"] for problem in error.errors()} == {"conflict"}:
            reject()
        raise
    text = dump(config)
    assert read(text) == config
    assert dump(read(text)) == text
    assert read(show(config)) == config
    assert differences(config, read(text)) == []


YAML_LIKE = st.text(
    st.sampled_from([*"\n\n  -:,'\"[]{}#&*!|>%@?~ab01.x\t\\U<=\x00\ud800é"]), max_size=40
)


@given(st.binary() | YAML_LIKE.map(lambda text: text.encode(errors="replace")), YAML_LIKE)
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_written_the_answer_is_a_config_or_a_complaint(content, override):
    with pytest.raises(ConfigError):
        read(content, f"data.{override}", f"seed={override}", "zork=1")


def test_no_line_break_is_lost():
    for text in ["\x85", "a\u2028b", "\r", " \n ", "\ufeff"]:
        data = {**SMALL["data"], "target": text}
        assert read(dump(Config.model_validate({**SMALL, "data": data}))).data.target == text


def test_every_option_is_written_out():
    written = dump(read(DATA))
    for line in ["seed: 1", "  learning_rate: 0.001", "  betas: [0.9, 0.98]", "  test: {}"]:
        assert f"\n{line}\n" in written
    assert "  - source: a\n    target: b\n" in written
    assert "  target: 'no'\n" in dump(read(DATA, "data.target=no"))
    assert "  target: česky\n" in dump(read(DATA, "data.target=česky"))


LSTM = ["model={kind: lstm, dim: 8}"]
COSINE = ["training.schedule=cosine", "training.max_updates=2000"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([], [], []),
        ([], ["training.batch_tokens=1024"], ["training.batch_tokens: 4096 before, 1024 now"]),
        ([], ["data.max_length=300"], ["data.max_length: 256 before, 300 now"]),
        (["training.max_epochs=3"], ["training.patience=null"], []),
        (["model={kind: lstm}"], LSTM, ["model.dim: 512 before, 8 now"]),
        ([], LSTM, ['model.kind: "transformer" before, "lstm" now']),
        ([], ["data.train.0={source: c, target: d}"], []),  # known by its content
        (
            [],
            ["data.train.1={source: c, target: d, weight: 2}", "data.train.0.weight=1"],
            [
                "data.train.0.weight: empty before, 1.0 now",
                "data.train.1.weight: empty before, 2.0 now",
            ],
        ),
        ([], ["name=other", "decoding.beam=1", "training.max_updates=3", "device=cpu"], []),
        (
            COSINE,
            [*COSINE, "training.max_updates=3000", "seed=2"],
            ["seed: 1 before, 2 now", "training.max_updates: 2000 before, 3000 now"],
        ),
        (
            [],
            ["training.batch_tokens=auto"],
            ['training.batch_tokens: 4096 before, "auto" now'],
        ),
        ([], ["training.parallel=fsdp", "training.tensorboard=true"], []),
        ([], ["training.ema=0.9"], ["training.ema: 0.0 before, 0.9 now"]),
    ],
)
def test_differences_are_those_that_change_results(old, new, expected):
    assert differences(read(DATA, *old), read(DATA, *new)) == expected


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_only_a_schedule_that_ends_with_max_updates_holds_on_to_it(schedule):
    old, new = (
        read(DATA, f"training.schedule={schedule}", f"training.max_updates={last}")
        for last in (2000, 3000)
    )
    rates = [learning_rate(1900, config.training, {}) for config in (old, new)]
    assert bool(differences(old, new)) == (rates[0] != rates[1])


def test_the_options_grow_by_decision_only():
    assert sorted(documentation.OPTIONS) == sorted(OPTIONS.split())


def test_every_option_is_described():
    text = page()
    assert all(f"| `{option}`" in text for option in OPTIONS.split() if ".target." not in option)
    assert all(f"\n| `{rule}` |" in text for rule in RULES)
    assert "|  |\n" not in text


def test_without_its_source_the_program_still_says_what_is_required(monkeypatch):
    def no_source(section: type) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", no_source)
    meanings.cache_clear()
    try:
        (message,) = complaint("data: {valid: {source: a, target: b}}")
        assert message.startswith("line 1: data.train: is required")
        assert "vocab_size: 8000" in show(read(DATA))
    finally:
        meanings.cache_clear()


def test_the_page_of_options_is_what_the_options_say():
    written = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m seq2seq.config > docs/options.md"


def test_a_config_is_read_without_torch():
    code = "import sys, seq2seq.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("corpus", "option", "message"),
    [
        (
            "{source: http://a/b.gz, target: b}",
            "source.path",
            "http://a/b.gz is an address; write path: FILE, and the address in urls: [...]",
        ),
        (
            "{path: https://a/b.tsv}",
            "path",
            "https://a/b.tsv is an address; write path: FILE, and the address in urls: [...]",
        ),
        (
            "{path: 'huggingface:a/b', member: c}",
            "member",
            "is for files, but huggingface:a/b is none",
        ),
        ("{path: '-', urls: [c]}", "urls", "is for files, but - is none"),
    ],
)
def test_what_is_no_file_is_not_taken_for_one(corpus, option, message):
    text = f"data: {{train: [{corpus}], valid: {{source: a, target: b}}}}\n"
    assert complaint(text) == [f"line 1: data.train.0.{option}: {message}"]
