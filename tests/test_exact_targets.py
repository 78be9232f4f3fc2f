"""Targets are learned, written and scored to the letter, through the commands, by default."""

# ruff: noqa: RUF001 (signs that look alike are what this is about)

import json
from pathlib import Path

import pytest

from seq2seq.runs import open_model

PAIRS = {
    "hello": "你好，世界！",
    "well": "嗯…",
    "power": "10⁵",
    "i want": "می\u200cخواهم",
    "block": "\u2581 ½",
    "decomposed": "e\u0301",
}
CONFIG = """
data:
  source: English
  target: zh
  train: [{source: text.en, target: text.zh}]
  valid: {source: text.en, target: text.zh}
  test: {same: {source: text.en, target: text.zh}}
tokenizer: {vocab_size: 400, kind: char}
model:
  {kind: transformer, dim: 32, ffn_dim: 64, heads: 2, encoder_layers: 1, decoder_layers: 1,
   dropout: 0.0}
training:
  {max_updates: 60, precision: fp32, learning_rate: 1.0e-2, schedule: constant, warmup: 10,
   validate_every: 60, metrics: [ppl], average: 0, label_smoothing: 0.0}
decoding: {beam: 1}
"""


@pytest.mark.parametrize("shared", ["true", "false"])
def test_what_was_learned_by_heart_comes_back_to_the_letter(shared, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    Path("text.en").write_text("".join(f"{one}\n" for one in PAIRS), encoding="utf-8")
    Path("text.zh").write_text("".join(f"{one}\n" for one in PAIRS.values()), encoding="utf-8")
    Path("exact.yaml").write_text(CONFIG, encoding="utf-8")
    result = command("train", "exact.yaml", "--set", f"tokenizer.shared={shared}")
    assert result.code == 0, result.err
    assert "normalization changes" not in result.err
    found = json.loads(command("evaluate", "--metrics", "bleu,exact", "--json").out)
    scores = {name: one["score"] for name, one in found["sets"]["same"].items()}
    assert scores == {"bleu": pytest.approx(100), "exact": 100}
    files = sorted(path.name for path in Path("runs/exact/best").glob("tokenizer*"))
    assert files == ["tokenizer.source.model", "tokenizer.target.model"]
    model = open_model(Path("runs/exact"))
    assert model.config.model.share_embeddings == ("all" if shared == "true" else "target")
    assert model.tokenizers.source.normalize("…") == "..."  # sources may be written in any way
