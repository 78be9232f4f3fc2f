"""Laws of `seq2seq average`: a mean is a mean, of the checkpoints that were meant."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from seq2seq.files import check_manifest, write_manifest

RUN = Path("runs/toy")
UPDATES = [20, 40, 60]


def weights_of(update: int) -> dict[str, np.ndarray]:
    return load_file(checkpoint(update) / "model.safetensors")


def checkpoint(update: int) -> Path:
    return RUN / "checkpoints" / f"step-{update:08d}"


def assert_mean(folder: str, updates: list[int]) -> None:
    """The folder's weights are the mean of those of the checkpoints, and it says of which."""
    sets = [weights_of(update) for update in updates]
    found = load_file(Path(folder, "model.safetensors"))
    assert found.keys() == sets[0].keys()
    for name, weight in found.items():
        mean = np.mean([one[name].astype(np.float64) for one in sets], axis=0)
        np.testing.assert_allclose(weight, mean, rtol=1e-6, atol=1e-8)
    assert json.loads(Path(folder, "scores.json").read_text())["average"] == sorted(updates)


def scores() -> dict[int, float]:
    """The perplexity of each checkpoint, as metrics.jsonl has it."""
    lines = map(json.loads, (RUN / "metrics.jsonl").read_text().splitlines())
    return {one["update"]: one["valid"]["ppl"] for one in lines if "valid" in one}


def test_each_way_of_choosing_gives_the_mean_of_what_was_meant(own, command):
    best = sorted(scores(), key=lambda update: scores()[update])
    ways = {
        "last": (["--last", "2"], UPDATES[-2:]),
        "best": (["--best", "2"], best[:2]),
        "named": (["--checkpoints", "60,20"], [20, 60]),
        "usual": ([], best[:2]),  # training.average: 2, of the best
    }
    for name, (options, updates) in ways.items():
        result = command("average", *options, "--output", name)
        assert (result.code, result.out) == (0, b"")
        assert_mean(name, updates)
        listed = ",".join(map(str, sorted(updates)))
        assert result.err == (
            f"{name} is the mean of 2 checkpoints of runs/toy: {listed}\n"
            f"how good it is nobody knows yet: seq2seq evaluate {name}\n"
        )


def test_the_best_are_those_with_the_best_scores_and_not_the_last(own, command):
    """Scores are turned round: then the best are the first."""
    state = checkpoint(60) / "state.json"
    content = json.loads(state.read_text())
    content["progress"]["scores"] = {str(update): update / 10 for update in UPDATES}
    state.write_text(json.dumps(content))
    write_manifest(state.parent)
    command("average", "--best", "2", "--output", "best")
    assert_mean("best", [20, 40])
    command("average", "--last", "2", "--output", "last")
    assert_mean("last", [40, 60])


def test_the_mean_of_a_model_and_itself_is_that_model(own, command):
    shutil.rmtree(checkpoint(40))
    shutil.copytree(checkpoint(60), checkpoint(40))
    command("average", "--checkpoints", "40,60", "--output", "same")
    for name, weight in load_file("same/model.safetensors").items():
        np.testing.assert_array_equal(weight, weights_of(60)[name])


def test_what_comes_out_is_a_model_that_translates_and_is_evaluated(own, command):
    assert command("average", RUN, "--last", "3", "--output", "some/where").code == 0
    check_manifest(Path("some/where"), "")
    assert command("translate", "--model", "some/where", stdin=b"1 2\n3\n").out.count(b"\n") == 2
    result = command("evaluate", "some/where", "--json")
    assert [*json.loads(result.out)["sets"]] == ["first", "second"]


def test_the_run_is_left_as_it_was(own, command):
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    assert command("average", RUN, "--last", "2", "--output", "mean").code == 0
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--last", "2", "--best", "2"],
            2,
            "--last, --best and --checkpoints are three ways to choose; give one",
        ),
        (
            ["--best", "9"],
            1,
            "runs/toy/checkpoints has 3 validated checkpoints, not 9: 20,40,60; take fewer (two "
            "at least), or train on with a higher training.keep_best",
        ),
        (
            ["--last", "4"],
            1,
            "runs/toy/checkpoints has 3 validated checkpoints, not 4: 20,40,60; take fewer (two "
            "at least), or train on with a higher training.keep_last",
        ),
        (
            ["--checkpoints", "20,30"],
            1,
            "runs/toy/checkpoints has no checkpoint after update 30; there are 20,40,60",
        ),
        (["--checkpoints", "20"], 2, "--checkpoints 20: name two or more, each once"),
        (["--checkpoints", "20,20"], 2, "--checkpoints 20,20: name two or more, each once"),
        (
            ["--checkpoints", "20;40"],
            2,
            "--checkpoints 20;40: give updates with commas between, as in 500,1000",
        ),
        (["runs/other", "--last", "2"], 1, "runs/other is no folder; name a run, such as"),
        (["mine", "--last", "2"], 1, "mine has no checkpoints; name a run, such as"),
    ],
)
def test_what_cannot_be_averaged_is_refused(own, command, arguments, code, said):
    shutil.copytree(RUN / "best", "mine")
    result = command("average", *arguments, "--output", "mean")
    assert (result.code, result.out) == (code, b"")
    assert result.err.startswith(f"error: {said}")
    assert result.err.count("\n") == 1
    assert not Path("mean").exists()


def test_an_output_that_exists_is_not_touched(own, command):
    Path("mean").mkdir()
    Path("mean/mine.txt").write_text("mine")
    result = command("average", "--last", "2", "--output", "mean")
    said = "error: mean exists; give --output a name that is still free\n"
    assert result == (1, b"", said)
    assert [path.name for path in Path("mean").iterdir()] == ["mine.txt"]


def test_a_config_that_averages_nothing_needs_to_be_told(own, command):
    config = RUN / "config.yaml"
    config.write_text(config.read_text().replace("average: 2", "average: 0"))
    result = command("average", "--output", "mean")
    assert result.code == 2
    assert "has training.average: 0; say which checkpoints to take with --last" in result.err


def test_a_damaged_checkpoint_is_named(own, command):
    file = checkpoint(40) / "model.safetensors"
    file.write_bytes(bytes([*file.read_bytes()[:-1], file.read_bytes()[-1] ^ 1]))
    result = command("average", "--last", "3", "--output", "mean")
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith(f"error: {checkpoint(40)} cannot be used: model.safetensors has")
    assert not Path("mean").exists()


def test_a_checkpoint_of_another_model_is_named(own, command):
    weights = weights_of(40)
    name = "encoder_norm.weight"
    save_file({**weights, name: weights[name][:-1].copy()}, checkpoint(40) / "model.safetensors")
    write_manifest(checkpoint(40))
    result = command("average", "--last", "3", "--output", "mean")
    assert (result.code, result.out) == (1, b"")
    assert result.err.startswith(f"error: {checkpoint(40)} does not fit")
    assert name in result.err
    assert not Path("mean").exists()


def test_a_manifest_must_name_what_is_read_of_a_checkpoint(own, command):
    checkpoint = Path("runs/toy/checkpoints/step-00000060")
    (checkpoint / "manifest.json").write_text("{}")
    weights = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(weights[:100])
    result = command("average", "--checkpoints", "40,60", "--output", "mean")
    assert (result.code, result.out) == (1, b"")
    assert "manifest.json does not name" in result.err
    assert not Path("mean").exists()
