"""Laws of signals that whoever starts a command ignores: Ctrl-C is meant for another program."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seq2seq.training.stopping import stop_signals

NUMBERS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_command_handles_no_signal_that_is_ignored(command, monkeypatch, number):
    monkeypatch.setattr("seq2seq.cli.app", lambda **_: signal.raise_signal(number))
    assert command("runs").code == 128 + number
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert command("runs") == (0, b"", "")
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_training_handles_no_signal_that_is_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_signals(None) as stop:  # which says nothing
            signal.raise_signal(number)
            assert not stop()
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_training_in_the_background_of_a_script_goes_on(own):
    options = [
        "--set",
        "name=deaf",
        "--set",
        "training.max_updates=8",
        "--set",
        "training.log_every=1",
    ]
    words = [sys.executable, "-m", "seq2seq", "train", "toy.yaml", *options]
    script = 'trap "" INT; exec "$@"'
    with (
        open("said", "wb") as said,
        subprocess.Popen(["sh", "-c", script, "sh", *words], stderr=said) as process,
    ):
        while process.poll() is None:
            if Path("said").stat().st_size:  # so that the shell is no longer there
                process.send_signal(signal.SIGINT)
            time.sleep(0.02)
    assert process.returncode == 0
    assert "stopping" not in Path("said").read_text("utf-8")
