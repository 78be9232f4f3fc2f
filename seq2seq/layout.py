"""What the files and folders of runs and models are called.

runs/<name>/
    config.yaml               the options, defaults written out
    metrics.jsonl             one JSON object a line: training and validation
    samples.jsonl             one JSON object a line: a validation sentence, as it was translated
    environment.json          what it was last trained with: versions, machine, threads
    checkpoints/step-<update>/
    best/                     a model folder
<model folder>/
    config.yaml, tokenizer.model (or one a side), model.safetensors, scores.json, manifest.json,
    and base.json, if the weights are adapters for another model's
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
SCORES = "scores.json"
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
