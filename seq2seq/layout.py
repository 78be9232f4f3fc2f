"""What the files and folders of runs and models are called.

runs/<name>/
    config.yaml               the options, defaults written out
    metrics.jsonl             one JSON object a line: training and validation
    samples.jsonl             one JSON object a line: a validation sentence, as it was translated
    environment.json          what it was last trained with: versions, machine, threads
    checkpoints/step-<update>/
    best/                     a model folder
<model folder>/
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
SCORES = "scores.json"

REPLACE = "copy the folder again from where it came, or train again"  # a damaged model
