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

import re
from pathlib import Path

from seq2seq.errors import UserError

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
FINISHED = "finished.json"

REPLACE = "copy the folder again from where it came, or train again"  # a damaged model


def update_of(checkpoint: Path) -> int:
    """Return the update after which a checkpoint was saved; a UserError if its folder is none."""
    found = re.fullmatch("step-([0-9]{8})", checkpoint.name)
    if found is None:
        raise UserError(
            f"{checkpoint} is no checkpoint: those have 8 digits after step-; move it elsewhere"
        )
    return int(found[1])
