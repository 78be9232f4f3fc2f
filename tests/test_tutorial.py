"""The tutorial as a reader follows it: every command works, in order, and does what is said."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
QUICK = {  # what makes the walk short, and nothing else
    "vocab_size: 1000": "vocab_size: 500",
    "max_updates: 600": "max_updates: 12",
    "validate_every: 200": "validate_every: 6",
    "warmup: 100": "warmup: 4",
    "dim: 128, ffn_dim: 512": "dim: 16, ffn_dim: 32, encoder_layers: 1, decoder_layers: 1",
    "dim: 128, embedding_dim: 128": "dim: 16, embedding_dim: 16",
}
LINES = 120  # of each file of the phrasebook


def test_the_tutorial_works_as_written(tmp_path):
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL))
    for given, quick in QUICK.items():
        assert given in script
        script = script.replace(given, quick)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        script = script.replace("8017", str(free.getsockname()[1]))
    phrases = tmp_path / "data" / "phrasebook"
    phrases.mkdir(parents=True)
    for path in (ROOT / "data" / "phrasebook").glob("*.??"):
        text = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (phrases / path.name).write_text("".join(text[:LINES]), encoding="utf-8")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    shim = f'#!/bin/sh\nexec "{sys.executable}" -m seq2seq "$@"\n'
    for name, text in (("seq2seq", shim), ("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    run = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "Traceback" not in run.stderr
    made = tmp_path / "tutorial"
    for path in (
        "runs/phrases/best/model.safetensors",
        "runs/phrases/report.html",
        "runs/recurrent/best/model.safetensors",
        "runs/phrases/comparison.html",
        "attention.html",
        "served",
    ):
        assert (made / path).exists(), path
    translated = (made / "test.translated.de").read_text(encoding="utf-8").splitlines()
    assert len(translated) == LINES
    assert run.stdout.splitlines()[-2:] == translated[:2]


def test_pages_lead_to_pages_and_name_options_that_there_are():
    from seq2seq.config.documentation import OPTIONS

    sections = {name.split(".")[0] for name in OPTIONS if "." in name}
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        assert [link for link in links if not (page.parent / link).exists()] == [], page
        named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.0-9]+)", text)
        known = {re.sub(r"^data\.(train|test)\b(\.\w+)?", "data.valid", one) for one in named}
        wrong = {
            one for one in known if one.removesuffix(".") not in {*OPTIONS, *sections, "data.valid"}
        }
        assert not wrong, f"{page}: {wrong}"
