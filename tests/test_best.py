"""Laws of the best model: it is chosen by progress, found again, and named for what it is."""

import json
import shutil
from pathlib import Path

import pytest

from seq2seq.config import load
from seq2seq.prepare import prepare
from seq2seq.scoring.metrics import score
from seq2seq.validation import CHANCE_LINES, Validation, chosen

RUN = Path("runs/toy")
BEST = RUN / "best"
MORE = ("--set", "training.max_updates=80")


def average_in_best(command) -> None:
    """Puts a mean that `seq2seq average` made where the best model was."""
    assert command("average", RUN, "--output", "mean", "--last", "2").code == 0
    shutil.rmtree(BEST)
    Path("mean").rename(BEST)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# Noise


def test_a_training_whose_translations_are_noise_goes_on_and_keeps_what_learned_most(own, command):
    noise = ("training.metrics=[bleu,ppl]", "training.patience=2", "training.average=0")
    slow = ("training.learning_rate=0.0005", "training.validate_every=5", "name=slow")
    options = [part for one in (*noise, *slow) for part in ("--set", one)]
    result = command("train", "toy.yaml", *options)
    assert result.code == 0, result.err
    records = [
        json.loads(line) for line in Path("runs/slow/metrics.jsonl").read_text().split("\n")[:-1]
    ]
    judged = [one for one in records if "valid" in one]
    perplexities = [one["valid"]["ppl"] for one in judged]
    assert perplexities == sorted(perplexities, reverse=True)
    assert max(one["valid"]["bleu"] - one["chance"] for one in judged) < 3
    assert json.loads(Path("runs/slow/best/scores.json").read_text())["update"] == 60
    assert "(bleu is not above chance yet: ppl decides)" in result.err


def test_chance_is_the_score_beside_the_references_of_others(own):
    config = load("toy.yaml", ["training.metrics=[chrf]"])
    judged = Validation(config, prepare(config)).valid
    references = [pair.target for pair in judged.text]
    assert len(references) == 6 < CHANCE_LINES
    expected = score(["chrf"], references, [references[3:] + references[:3]])["chrf"].score
    assert judged.chance(references) == pytest.approx(expected)
    assert judged.chance([]) is None  # nothing was translated
    assert judged.chance(["the same"] * 6) == pytest.approx(
        score(["chrf"], ["the same"] * 6, [references])["chrf"].score
    )


def test_no_chance_is_needed_for_perplexity(trained):
    config = load("toy.yaml")
    assert Validation(config, prepare(config)).valid.chance(["eins"] * 6) is None


def test_samples_are_drawn_from_the_whole_set_and_stay_the_same():
    drawn = [chosen(1000, 3, seed) for seed in range(20)]
    assert drawn == [chosen(1000, 3, seed) for seed in range(20)]
    assert all(one == sorted({*one}) and len(one) == 3 for one in drawn)
    assert max(one[-1] for one in drawn) > 900
    assert len({*map(tuple, drawn)}) == 20
    assert chosen(2, 5, seed=1) == [0, 1]
    assert chosen(0, 2, seed=1) == []


# Removed, or replaced by someone


def test_a_best_model_that_was_removed_is_made_again_from_its_checkpoint(own, command):
    assert command("train", "toy.yaml", "--fresh", "--set", "training.average=0").code == 0
    before, scores = files_in(BEST), json.loads((BEST / "scores.json").read_text())
    shutil.rmtree(BEST)
    assert "best/ is missing: run its" in " ".join(command("runs").out.decode().split())
    refused = command("evaluate", RUN)
    assert (refused.code, "has checkpoints but no best model" in refused.err) == (1, True)
    result = command("train", "toy.yaml", "--set", "training.average=0")
    assert result.code == 0, result.err
    assert f"was made again from the checkpoint of update {scores['update']}" in result.err
    after = files_in(BEST)
    assert after["model.safetensors"] == before["model.safetensors"]
    found = json.loads(after["scores.json"])
    assert found["update"] == scores["update"]
    assert found["valid"]["ppl"] == scores["valid"]["ppl"]
    assert command("translate", stdin=b"1 2\n").code == 0


def test_of_a_removed_model_without_its_checkpoint_the_best_that_is_left_serves(own, command):
    state = json.loads(max(RUN.glob("checkpoints/step-*/state.json")).read_text(encoding="utf-8"))[
        "progress"
    ]
    ranked = sorted(state["scores"], key=state["scores"].__getitem__)
    there = sorted(RUN.glob("checkpoints/step-*"))
    best = RUN / f"checkpoints/step-{int(ranked[0]):08d}"
    shutil.rmtree(BEST)
    if best != there[-1]:
        shutil.rmtree(best)
    result = command("train", "toy.yaml")
    assert result.code == 0, result.err
    assert json.loads((BEST / "scores.json").read_text())["update"] in {int(one) for one in ranked}


def test_a_mean_that_someone_put_there_stays_and_is_named_everywhere(own, command):
    average_in_best(command)
    mine = files_in(BEST)
    known = "holds the mean of updates"
    for arguments in (("train", "toy.yaml"), ("train", "toy.yaml", *MORE), ("evaluate", RUN)):
        result = command(*arguments)
        assert result.code == 0, result.err
        assert known in result.err, arguments
        assert "move it away and run the `seq2seq train` command again" in result.err
    assert files_in(BEST) == mine
    listed = " ".join(command("runs").out.decode().split())
    assert "best: the mean of updates" in listed
    assert "whose score is not known" in listed
    BEST.rename("mine")
    result = command("train", "toy.yaml", *MORE)
    assert "was made again from the checkpoint" in result.err
    assert "the best model is in runs/toy/best" in result.err


@pytest.mark.parametrize("damage", [None, "{}", "[]", '{"valid": {"ppl": "low"}, "update": 1}'])
def test_damaged_scores_are_said_when_training_goes_on(own, command, damage):
    file = BEST / "scores.json"
    file.unlink() if damage is None else file.write_text(damage)
    result = command("train", "toy.yaml", *MORE)
    assert result.code == 1
    assert f"{file} {'is missing' if damage is None else 'has been altered'}" in result.err
