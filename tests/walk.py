"""The commands of a page of documentation, as a reader runs them: in order, in one shell."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands_of(page: str, quick: Mapping[str, str]) -> str:
    """The shell commands of a page, with what makes them short; all of that must be there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return shortened(script, quick)


def shortened(text: str, quick: Mapping[str, str]) -> str:
    """A text with other words for some, each of which must be in it."""
    for given, other in quick.items():
        assert given in text, given
        text = text.replace(given, other)
    return text


def walk(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs commands in a folder, with `seq2seq` and `python` those of the tests."""
    programs = folder / "programs"
    programs.mkdir()
    for name, given in (("seq2seq", " -m seq2seq"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{given} "$@"\n')
        program.chmod(0o755)
    run = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
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
    return run
