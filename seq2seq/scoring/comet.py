"""COMET (Rei et al. 2020, https://aclanthology.org/2020.emnlp-main.213), by its own program.

`comet-score` of unbabel-comet wants other versions of libraries than we do, so it lives in an
environment of its own, and is only called.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.console import say
from seq2seq.errors import UserError
from seq2seq.files import write_file
from seq2seq.scoring.metrics import Score

PROGRAM = "comet-score"
MODEL = "Unbabel/wmt22-comet-da"
SIZE = "2.3 GB"


def check_comet() -> None:
    """Raises a UserError that says what to do if the program is not here."""
    if shutil.which(PROGRAM) is None:
        raise UserError(
            f"comet needs the program {PROGRAM}, which is best kept in an environment of its own: "
            "pipx install unbabel-comet"
        )


def comet(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """The mean of COMET's scores of each line, times 100, against one reference each.

    The program fetches its model the first time, which is said. Raises a UserError with the end of
    what it says if it fails.
    """
    check_comet()
    say(f"{PROGRAM} uses {MODEL}; the first time it is fetched from Hugging Face: {SIZE}")
    with tempfile.TemporaryDirectory() as temporary:
        files = {name: Path(temporary, name) for name in ("source", "hypothesis", "reference")}
        for path, lines in zip(files.values(), (sources, hypotheses, references), strict=True):
            write_file(path, "".join(f"{line}\n" for line in lines))
        found = Path(temporary, "scores.json")
        flags = ["-s", "-t", "-r"]
        given = [
            part for pair in zip(flags, map(str, files.values()), strict=True) for part in pair
        ]
        options = ["--model", MODEL, "--gpus", "0", "--quiet", "--to_json", str(found)]
        run = subprocess.run(
            [PROGRAM, *given, *options], capture_output=True, text=True, check=False
        )
        if run.returncode or not found.exists():
            last = (run.stderr.strip() or run.stdout.strip() or "nothing").splitlines()[-1]
            raise UserError(f"{PROGRAM} failed, and said: {last}")
        (rows,) = json.loads(found.read_text(encoding="utf-8")).values()
    scores = np.array([float(row["COMET"]) for row in rows])
    if len(scores) != len(hypotheses):
        raise UserError(f"{PROGRAM} scored {len(scores):,} of {len(hypotheses):,} lines")
    return Score(
        "COMET",
        f"refs:first|scale:100|model:{MODEL}",
        np.stack([100 * scores, np.ones(len(scores))], axis=1),
        lambda sums: float(sums[0] / sums[1]),
    )
