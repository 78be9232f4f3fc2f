"""What the files and folders of runs and models are called.

runs/<name>/
    config.yaml               the options, defaults written out
    metrics.jsonl             one JSON object a line: training and validation
    samples.jsonl             one JSON object a line: a validation sentence, as it was translated
    origins.json              the SHA-256 of the weights that it started from, if from any
    environment.json          what it was last trained with: versions, machine, threads
    checkpoints/step-<update>/
    best/                     a model folder
<model folder>/               nothing but MODEL_FILES and the manifest is ever read or copied
    config.yaml, tokenizer.source.model, tokenizer.target.model, model.safetensors, scores.json,
    manifest.json, and base.json, if the weights are adapters for another model's; older folders
    have one tokenizer.model for both sides
"""

from pathlib import Path

RUNS = Path("runs")
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
ENVIRONMENT = "environment.json"
CHECKPOINTS = "checkpoints"
BEST = "best"
WEIGHTS = "model.safetensors"
BASE = "base.json"
ORIGINS = "origins.json"
SCORES = "scores.json"
TOKENIZERS = ("tokenizer.model", "tokenizer.source.model", "tokenizer.target.model")
MODEL_FILES = (CONFIG, *TOKENIZERS, WEIGHTS, BASE, SCORES)

REPLACE = "copy the folder again from where it came, or train again"  # a damaged model
