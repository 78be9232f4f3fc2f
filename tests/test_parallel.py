"""Laws of a training in several processes: it is the training of one, and ends as one."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from conftest import run_here, write_toy
from safetensors.torch import load_file
from together import Job, processes, torchrun

from seq2seq.config import load
from seq2seq.train import train
from seq2seq.training.optimizer import moments_of, set_moments

UPDATES = 8

# Batches of a pair or two, so that some processes have nothing to do in some updates; no dropout,
# which is random in each process.
CONFIG = f"""
data:
  source: digits
  target: German
  train: [{{source: train.digits, target: train.de}}]
  valid: {{source: valid.digits, target: valid.de}}
  prepared: prepared
tokenizer: {{kind: char, vocab_size: 300}}
training:
  max_updates: {UPDATES}
  precision: fp32
  batch_tokens: 40
  learning_rate: 1.0e-2
  warmup: 0
  validate_every: 4
  metrics: [ppl, chrf]
  average: 2
  log_every: 2
"""
TRANSFORMER = (
    "model={kind: transformer, dim: 16, ffn_dim: 32, heads: 2, encoder_layers: 2, "
    "decoder_layers: 2, dropout: 0}"
)
GAPS = "{source: train.de, target: train.de, objective: masked_language_modelling}"
LSTM = "model={kind: lstm, dim: 16, embedding_dim: 8, dropout: 0}"
VARIANTS = {
    "adamw": [TRANSFORMER],
    "mean": [TRANSFORMER, "training.ema=0.9", "training.accumulate=3"],
    "muon": [TRANSFORMER, "training.optimizer=muon", "training.accumulate=3"],
    "adafactor": [TRANSFORMER, "training.optimizer=adafactor"],
    "lstm": [LSTM, "training.accumulate=2"],
    "masked": [
        TRANSFORMER,
        f"data.train.1={GAPS}",
        f"data.watch={{gaps: {GAPS}}}",
        "data.prepared=masked",
        "training.accumulate=2",
    ],
}
WAYS = ["ddp", "fsdp"]

# A running mean is float32; in float64 nothing but a defect makes a difference that can be seen.
PRECISE = sorted(set(VARIANTS) - {"mean"})

JOBS = """
import json
from pathlib import Path

import torch

from seq2seq.config import load
from seq2seq.train import train

for name, precise, overrides in json.loads(Path("jobs.json").read_text()):
    torch.set_default_dtype(torch.float64 if precise else torch.float32)
    train(load(Path("config.yaml"), [f"name={name}", *overrides]))
"""


class Training(NamedTuple):
    """A training: the name of its run, whether in float64, and its options."""

    name: str
    precise: bool
    overrides: list[str]


def train_together(jobs: list[Training], count: int = 2) -> None:
    """Trains one run after another, all in the same processes."""
    Path("jobs.json").write_text(json.dumps(jobs))
    ended = processes("-c", JOBS, count=count)
    assert [one.code for one in ended] == [0] * count, ended
    assert [one.out + one.err for one in ended[1:]] == [""] * (count - 1)
    assert "Warning" not in ended[0].err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each variant trained by one process, and by two in each way."""
    folder = tmp_path_factory.mktemp("parallel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_toy(folder)
        Path("config.yaml").write_text(CONFIG)
        for name, overrides in VARIANTS.items():
            torch.set_default_dtype(torch.float64 if name in PRECISE else torch.float32)
            try:
                train(load(Path("config.yaml"), [f"name=one-{name}", *overrides]))
            finally:
                torch.set_default_dtype(torch.float32)
        train_together(
            [
                Training(f"{way}-{name}", name in PRECISE, [*overrides, f"training.parallel={way}"])
                for way in WAYS
                for name, overrides in VARIANTS.items()
            ]
        )
    return folder / "runs"


def tensors(run: Path, update: int = UPDATES) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, but those for which keys' biases account.

    Attention does not see them, since they add the same to all scores of a query: their gradients
    are rounding alone, and optimizers make large steps of it.
    """
    checkpoint = run / "checkpoints" / f"step-{update:08d}"
    found = {
        f"{file.stem}/{name}": tensor
        for file in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }
    return {
        name: tensor[len(tensor) // 2 :] if name.endswith("memory.bias") else tensor
        for name, tensor in found.items()
        if "memory.bias:" not in name
    }


def state(run: Path, update: int = UPDATES) -> dict[str, Any]:
    """The progress of a checkpoint, without its seconds."""
    file = run / "checkpoints" / f"step-{update:08d}" / "state.json"
    progress = json.loads(file.read_text())["progress"]
    return {name: value for name, value in progress.items() if name != "seconds"}


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without what depends on the machine, or on rectangles."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    measured = {"seconds", "tokens_per_second", "memory_mb", "padding"}
    return [{k: v for k, v in json.loads(line).items() if k not in measured} for line in lines]


def close(found: Any, expected: Any, tolerance: float) -> None:
    """Asserts that two values of the same shape differ by rounding at most."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert [*found] == [*expected]
        for name, value in expected.items():
            close(found[name], value, tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other, tolerance)
    else:
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


# Equality


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_learn_what_one_learns(trained, way, name):
    one, two = trained / f"one-{name}", trained / f"{way}-{name}"
    tolerance = 1e-9 if name in PRECISE else 1e-4
    torch.testing.assert_close(tensors(two), tensors(one), rtol=tolerance, atol=tolerance)
    if name in PRECISE:
        assert {one.dtype for one in tensors(two).values()} <= {torch.float64, torch.float32}
    close(state(two), state(one), tolerance)
    close(metrics(two), metrics(one), tolerance if name == "mean" else 1e-6)
    best = (two / "best" / "scores.json", one / "best" / "scores.json")
    close(*(json.loads(file.read_text()) for file in best), tolerance)


def test_moments_are_gathered_in_one_order_however_they_were_read():
    """What is read from a file is in another order in each process; gathering pairs them up."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    moments = moments_of(model, optimizer)
    for order in (1, -1):
        other = torch.optim.AdamW(model.parameters())
        set_moments(model, other, dict([*moments.items()][::order]))
        assert [*moments_of(model, other)] == [*moments]


# Faults

LONG = [
    "name=long",
    TRANSFORMER,
    "training.max_updates=1000000",
    "training.patience=null",
    "training.metrics=[ppl]",
    "training.validate_every=50",
    "training.average=1",
]
RUN = Path("runs", "long")
RESTART = ["--max-restarts", "1"]
GOES_ON = "; the same command goes on from "


def words(overrides: list[str]) -> list[str]:
    """What `python` trains with."""
    sets = [word for override in overrides for word in ("--set", override)]
    return ["-m", "seq2seq", "train", "config.yaml", *sets]


def saved(run: Path = RUN) -> int:
    """The last update that is saved; 0 if none is."""
    names = [path.name for path in run.glob("checkpoints/step-????????")]
    return max((int(name[5:]) for name in names), default=0)


def of_ours(job: Job) -> list[str]:
    """What the workers said of how they ended."""
    return [line for line in job.said.splitlines() if line.startswith(("error: ", "stopped "))]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy text and config in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path)
    Path("config.yaml").write_text(CONFIG)


@pytest.mark.slow
def test_who_is_killed_ends_the_job_and_a_restart_goes_on_to_the_same_end(toy):
    """One of the first two is killed after a checkpoint; the two that torchrun starts finish."""
    overrides = [*LONG[1:], "training.max_updates=150", "name=undisturbed"]
    with torchrun(words(overrides), Path("said")) as job:
        assert job.end() == 0, job.said
    with torchrun(words([*overrides[:-1], LONG[0]]), Path("said"), options=RESTART) as job:
        job.wait_for(lambda: saved() > 0)
        os.kill(job.workers()[1], signal.SIGKILL)
        assert job.end() == 0, job.said
    assert "another of the processes is gone" in job.said
    assert "going on after update" in job.said
    undisturbed, disturbed = Path("runs", "undisturbed"), RUN
    same = tensors(undisturbed, 150)
    assert all(torch.equal(tensor, same[name]) for name, tensor in tensors(disturbed, 150).items())
    assert metrics(disturbed) == metrics(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("victim", [0, 1])
def test_who_is_killed_ends_the_job_with_a_message(toy, way, victim):
    with torchrun(words([*LONG, f"training.parallel={way}"]), Path("said")) as job:
        job.wait_for(lambda: saved() > 0)
        os.kill(job.workers()[victim], signal.SIGKILL)
        assert job.end(20) == 1
    (message,) = of_ours(job)
    assert message.startswith("error: another of the processes is gone, or has been silent")
    assert "Traceback" not in job.said[: job.said.index(message)]


@pytest.mark.slow
def test_who_hangs_ends_the_job_with_a_message(toy):
    """torchrun gives it a while to end by itself, usually half a minute, before it is killed."""
    waits = {"SEQ2SEQ_TIMEOUT": "3", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "3"}
    with torchrun(words(LONG), Path("said"), **waits) as job:
        job.wait_for(lambda: saved() > 0)
        hung = job.workers()[1]
        os.kill(hung, signal.SIGSTOP)
        assert job.end(60) == 1
        assert not Path("/proc", str(hung)).exists()
    (message,) = of_ours(job)
    assert message.startswith("error: another of the processes is gone, or has been silent")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to"),
    [
        (signal.SIGTERM, "agent"),
        (signal.SIGINT, "agent"),
        (signal.SIGKILL, "agent"),
        (signal.SIGTERM, "first"),
        (signal.SIGTERM, "second"),
        (signal.SIGINT, "second"),
    ],
)
def test_a_signal_to_any_of_them_saves_and_ends_all(toy, number, to):
    with torchrun(words(LONG), Path("said")) as job:
        job.wait_for(lambda: saved() > 0)
        workers = job.workers()
        os.kill({"agent": job.agent.pid, "first": workers[0], "second": workers[1]}[to], number)
        assert job.end() != 0
        end = time.monotonic() + 20
        while any(Path("/proc", str(worker)).exists() for worker in workers):
            assert time.monotonic() < end
            time.sleep(0.02)
    update = saved()
    assert of_ours(job) == [f"stopped after update {update:,}, and saved{GOES_ON}there"]
    result = run_here(*words([*LONG, f"training.max_updates={update + 1}"])[2:])
    assert result.code == 0, result.err
    assert f"going on after update {update:,}" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_any_number_goes_on_with_what_any_number_saved(toy, way):
    """One, two and three processes after each other come to where one comes to."""
    overrides = [TRANSFORMER, "training.ema=0.9", f"training.parallel={way}"]
    updates = f"training.max_updates={UPDATES}"
    assert run_here(*words(["name=one", *overrides, updates])[2:]).code == 0
    counts = [2, 3, 1, 2]
    for number, count in enumerate(counts, 1):
        until = f"training.max_updates={UPDATES * number // len(counts)}"
        train_together([Training("several", False, [*overrides, until])], count)
    one, several = Path("runs", "one"), Path("runs", "several")
    torch.testing.assert_close(tensors(several), tensors(one), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_what_all_find_is_said_once_and_a_second_job_is_refused(toy):
    with torchrun(words([*LONG, "training.max_updates=0"]), Path("said")) as job:
        assert job.end() == 1
        assert job.said.count("training.max_updates") == 1
    with torchrun(words(LONG), Path("said")) as job:
        job.wait_for(lambda: saved() > 0)
        with torchrun(words(LONG), Path("said2")) as second:
            assert second.end() == 1
        assert second.said.count("is being trained by another process") == 1
        os.kill(job.agent.pid, signal.SIGTERM)
        assert job.end() == 1
    with torchrun(words([*LONG, "training.learning_rate=1"]), Path("said")) as job:
        assert job.end() == 1
        assert job.said.count("was begun with other options") == 1
    Path("train.de").write_text("eins\n")
    with torchrun(words(LONG), Path("said")) as job:
        assert job.end() == 1
        assert job.said.count("train.de") == 1
