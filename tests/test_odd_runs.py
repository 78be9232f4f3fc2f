"""The laws of odd runs: each is shown as broken, with why, or for what it tells; all others are."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.overview import overview
from seq2seq.report.compare import compare_page
from seq2seq.report.reading import read
from seq2seq.report.run import run_page

RUN = Path("runs/toy")
DEEP = b"[" * 50_000
PLACES = 8  # of a file, that are tried
MARKS = ["", "x", [], {}, [[]], True, None, -1, 10**400, 1e999, "\x1b[31m"]  # in place of values


@pytest.fixture
def whole(own) -> dict[str, Any]:
    """What is known of a run that stays whole beside the odd one."""
    shutil.copytree(RUN, "runs/whole")
    return overview(Path("runs/whole"))._asdict()


def edited(path: Path, change: Callable[[Any], None]) -> Callable[[], None]:
    def edit() -> None:
        *rest, last = (RUN / path).read_bytes().strip().split(b"\n")
        text = b"\n".join([*rest, last])
        many = path.suffix == ".jsonl"
        content = json.loads(last if many else text)
        change(content)
        new = json.dumps(content).encode() + b"\n"
        (RUN / path).write_bytes(b"\n".join([*rest, new]) if many else new)

    return edit


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[], None]:
    def replace() -> None:
        path = RUN / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)

    return replace


def copied_checkpoint() -> None:
    checkpoint = next((RUN / "checkpoints").glob("step-*"))
    shutil.copytree(checkpoint, RUN / "checkpoints/step-bestcopy")


def write_deep(path: Path) -> None:
    path.write_bytes((DEEP[:300] if path.suffix == ".yaml" else DEEP) + b"\n")


FILES = ("config.yaml", "metrics.jsonl", "finished.json", "best/scores.json")
ODD = {
    "a copy of a checkpoint": (copied_checkpoint, "step-bestcopy is no checkpoint: those have 8"),
    "a checkpoint with a sign": (
        lambda: Path(RUN, "checkpoints/step-+0000060").mkdir(),
        "step-+0000060 is no checkpoint",
    ),
    "text for seconds": (
        edited(Path("metrics.jsonl"), lambda one: one.update(seconds="long")),
        "metrics.jsonl has been altered",
    ),
    "text for an update": (
        edited(Path("metrics.jsonl"), lambda one: one.update(update="60")),
        "metrics.jsonl has been altered",
    ),
    "a list for speed": (
        edited(Path("metrics.jsonl"), lambda one: one.update(loss=1, tokens_per_second=[])),
        "metrics.jsonl has been altered",
    ),
    "text for the best score": (
        edited(Path("best/scores.json"), lambda one: one["valid"].update(ppl="12")),
        "scores.json has been altered",
    ),
    "text for averaged updates": (
        edited(Path("best/scores.json"), lambda one: one.update(average=["20", "40"])),
        "scores.json has been altered",
    ),
    "an infinite update": (
        edited(Path("best/scores.json"), lambda one: one.update(update=1e999, average=None)),
        "scores.json has been altered",
    ),
    "an unknown metric": (
        replaced("config.yaml", lambda path: path.write_text("training: {metrics: [blue]}")),
        "config.yaml cannot be used",
    ),
    **{
        f"{kind} for {name}": (replaced(name, make), f"{name} is no regular file")
        for kind, make in (("a pipe", os.mkfifo), ("a folder", Path.mkdir))
        for name in FILES
    },
    "a pipe for weights": (
        replaced("best/model.safetensors", os.mkfifo),
        "model.safetensors is no regular file",
    ),
    **{
        f"deep {name}": (
            replaced(name, write_deep),
            f"{name} {'cannot be used' if name == 'config.yaml' else 'has been altered'}",
        )
        for name in FILES
    },
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_run_is_shown_as_broken_with_why_and_the_others_as_they_are(whole, command, name):
    make_odd, why = ODD[name]
    make_odd()
    result = command("runs", "--json")
    assert (result.code, result.err) == (0, "")
    found = {run["name"]: run for run in json.loads(result.out)}
    assert found["whole"] == json.loads(json.dumps(whole))
    assert found["toy"]["state"] == "broken"
    assert why in found["toy"]["reason"]
    table = command("runs")
    assert (table.code, table.err) == (0, "")
    assert "  broken: " in table.out.decode()
    assert why.split()[0] in run_page(read(RUN))
    assert "runs side by side" in compare_page([read(Path("runs/whole")), read(RUN)])


@pytest.mark.parametrize(
    "name",
    [
        "samples.jsonl",
        "environment.json",
        "data.json",
        "evaluation/first.scores.json",
        "checkpoints/step-00000060/state.json",
    ],
)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, write_deep])
def test_what_is_no_file_of_a_page_is_missing_there(own, name, make):
    (RUN / "evaluation").mkdir()
    replaced(name, make)()
    assert "Finished" in run_page(read(RUN))


def test_a_pipe_for_a_lock_is_not_opened(own):
    Path("runs/.toy.lock").unlink()
    os.mkfifo("runs/.toy.lock")
    assert overview(RUN).state == "finished"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are values in a JSON value."""
    yield path
    entries = value if isinstance(value, dict | list) else ()
    for key, one in entries.items() if isinstance(entries, dict) else enumerate(entries):
        yield from places(one, (*path, key))


def altered(value: Any, path: tuple[Any, ...], mark: Any) -> Any:
    """A JSON value with a mark in one place."""
    if not path:
        return mark
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = altered(value[path[0]], path[1:], mark)
    return copy


@pytest.mark.parametrize(
    "path",
    [
        RUN / "best/scores.json",
        RUN / "finished.json",
        RUN / "environment.json",
        RUN / "evaluation/first.scores.json",
        RUN / "metrics.jsonl",
        RUN / "samples.jsonl",
        Path("prepared/manifest.json"),
    ],
)
def test_no_value_in_a_file_ends_a_page(own, command, path):
    """Another value of any kind that JSON has, in some places of the file by turns."""
    assert command("evaluate", RUN, "--metrics", "exact").code == 0
    rng = random.Random(f"{path}")
    *before, last = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    value = json.loads(last)
    every = [*places(value)]
    for place in rng.sample(every, min(PLACES, len(every))):
        mark = rng.choice(MARKS)
        text = json.dumps(altered(value, place, mark))
        path.write_text("".join(f"{line}\n" for line in (*before, text)))
        try:
            assert "<html" in run_page(read(RUN))
        except Exception as error:
            raise AssertionError(f"{place} is {mark!r}") from error


@pytest.mark.parametrize("content", [b"[]", b"{}", DEEP, b"{"])
@pytest.mark.parametrize("name", ["data.json", "finished.json"])
def test_a_run_with_odd_files_ends_or_goes_on_without_a_traceback(own, command, name, content):
    (RUN / name).write_bytes(content)
    result = command("train", "toy.yaml")
    assert result.code in (0, 1)
    assert result.code == 0 or "error: " in result.err
