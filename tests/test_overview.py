"""Laws of `seq2seq runs`: it says of every run what is so, whatever has become of it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seq2seq import overview, runs
from seq2seq.config import load
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.locks import lock
from seq2seq.models import build
from seq2seq.models.folder import save_model, weights_of
from seq2seq.training.checkpoint import Checkpoints

RUN = Path("runs/toy")
MORE = ("--set", "training.max_updates=80")


def listed(command) -> dict[str, dict]:
    """What is said of each run, by its name."""
    result = command("runs", "--json")
    assert (result.code, result.err) == (0, "")
    return {run["name"]: run for run in json.loads(result.out)}


def lines(command) -> list[str]:
    result = command("runs")
    assert (result.code, result.err) == (0, "")
    return result.out.decode().splitlines()


def test_a_run_is_what_its_files_say(trained, command):
    records = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    logged = [one for one in records if "loss" in one][-1]
    scores = json.loads((RUN / "best/scores.json").read_text())
    model = build(load("toy.yaml"), *[len(tokenizer()) for tokenizer in [tokenizer_of] * 2])
    assert listed(command)["toy"] == {
        "name": "toy",
        "state": "finished",
        "reason": json.loads((RUN / "finished.json").read_text())["reason"],
        "kind": "transformer",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "update": 60,
        "checkpoint": Checkpoints(RUN / "checkpoints").updates()[-1],
        "epoch": logged["epoch"],
        "minutes": records[-1]["seconds"] / 60,
        "tokens_per_second": logged["tokens_per_second"],
        "best": {
            "metric": "ppl",
            "score": scores["valid"]["ppl"],
            "update": scores.get("update"),
            "average": scores.get("average"),
        },
    }


def tokenizer_of():
    return Tokenizers.read(RUN / "best").source


def test_the_table_says_what_the_json_says(own, command):
    shutil.copytree(RUN, "runs/toy.1")
    (Path("runs/toy.1") / "finished.json").unlink()
    heading, *rest = lines(command)
    assert heading.split() == [*overview.COLUMNS]
    found = listed(command)
    assert [line.split()[0] for line in rest[::2]] == [*found]
    for line, sentence, run in zip(rest[::2], rest[1::2], found.values(), strict=True):
        _, kind, _, update, epoch, minutes, speed, metric, score = line.split()
        assert (kind, update, metric) == (run["kind"], "60", "ppl")
        assert (epoch, minutes) == (f"{run['epoch']:.1f}", f"{run['minutes']:.1f}")
        assert speed == f"{run['tokens_per_second']:,.0f}"
        assert score == f"{run['best']['score']:.2f}"
        assert sentence.strip().startswith(run["state"])


def test_a_run_is_trained_while_its_lock_is_held_and_the_lock_stays_free(own, command):
    held = Path("runs/.toy.lock")
    with lock(held):
        run = listed(command)["toy"]
        assert run["state"] == "training"
        assert "  training now; best: " in lines(command)[2]
    assert listed(command)["toy"]["state"] == "finished"
    with lock(held, "it was left held"):
        pass


def test_looking_makes_no_lock(own, command):
    Path("runs/.toy.lock").unlink()
    listed(command)
    assert not Path("runs/.toy.lock").exists()


def test_a_run_that_went_on_after_its_end_is_stopped_until_it_ends_again(own, command):
    finished = (RUN / "finished.json").read_bytes()
    assert command("train", "toy.yaml", *MORE).code == 0
    assert listed(command)["toy"]["state"] == "finished"
    (RUN / "finished.json").write_bytes(finished)
    run = listed(command)["toy"]
    assert (run["state"], run["checkpoint"], run["update"]) == ("stopped", 80, 80)
    assert "  stopped; the same command goes on after update 80; best: " in lines(command)[2]


def test_a_killed_run_goes_on_after_its_checkpoint_and_not_after_its_last_line(own, command):
    (RUN / "finished.json").unlink()
    shutil.rmtree(Checkpoints(RUN / "checkpoints").path(60))
    run = listed(command)["toy"]
    assert (run["update"], run["checkpoint"], run["state"]) == (60, 40, "stopped")
    assert f"going on after update {run['checkpoint']}" in command("train", "toy.yaml").err


def test_a_run_moved_aside_is_listed_beside_its_successor(own, command):
    assert command("train", "toy.yaml", "--fresh", "--set", "training.max_updates=20").code == 0
    found = listed(command)
    assert [*found] == ["toy.1", "toy"]  # the newest last
    assert [found[name]["update"] for name in ("toy.1", "toy")] == [60, 20]


def test_a_mean_is_named_by_its_updates(own, command):
    scores = RUN / "best/scores.json"
    content = json.loads(scores.read_text())
    scores.write_text(json.dumps({"average": [1500, 2000], "valid": content["valid"]}))
    assert listed(command)["toy"]["best"]["average"] == [1500, 2000]
    assert "best: the mean of updates 1,500, 2,000" in " ".join(" ".join(lines(command)).split())


def test_a_score_that_is_no_number_is_none(own, command):
    scores = RUN / "best/scores.json"
    scores.write_text('{"update": 20, "valid": {"ppl": Infinity}}')
    assert listed(command)["toy"]["best"]["score"] is None
    assert lines(command)[1].endswith("  ppl -")


def test_a_run_that_has_only_begun_is_no_broken_one(own, command):
    for part in ("best", "checkpoints"):
        shutil.rmtree(RUN / part)
    for file in ("metrics.jsonl", "finished.json"):
        (RUN / file).unlink()
    run = listed(command)["toy"]
    assert run["state"] == "stopped"
    assert {run[key] for key in ("best", "update", "epoch", "minutes", "parameters")} == {None}
    assert lines(command)[1:] == [
        "toy  transformer     -       -      -        -         -  -",
        "  stopped before its first checkpoint",
    ]


def test_what_is_half_written_is_left_out(own, command):
    before = listed(command)
    with open(RUN / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"update": 70, "epo')
    assert listed(command) == before


def test_a_long_log_is_read_from_its_end(own, command):
    before = listed(command)
    log = RUN / "metrics.jsonl"
    log.write_text("no JSON, far from the end\n" + log.read_text() * 100)
    assert log.stat().st_size > 2 * overview.TAIL
    assert listed(command) == before


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.yaml", None, "runs/toy/config.yaml is missing"),
        ("config.yaml", b"model: [", "runs/toy/config.yaml cannot be used:"),
        ("metrics.jsonl", b"nonsense\n", "runs/toy/metrics.jsonl has been altered;"),
        ("metrics.jsonl", b"{}\n", "runs/toy/metrics.jsonl has been altered;"),
        ("finished.json", b"[]", "runs/toy/finished.json has been altered;"),
        ("best/scores.json", None, "runs/toy/best/scores.json is missing"),
        ("best/scores.json", b'{"valid": {}}', "runs/toy/best/scores.json has been altered;"),
        ("best/model.safetensors", None, "runs/toy/best/model.safetensors is missing"),
        ("best/model.safetensors", b"?", "runs/toy/best/model.safetensors has been altered;"),
    ],
)
def test_what_is_broken_is_listed_with_what_is_wrong_beside_what_is_whole(
    own, command, file, content, said
):
    shutil.copytree(RUN, "runs/whole")
    whole = listed(command)["whole"]
    if content is None:
        (RUN / file).unlink()
    else:
        (RUN / file).write_bytes(content)
    found = listed(command)
    assert found["whole"] == whole
    assert found["toy"]["state"] == "broken"
    assert found["toy"]["reason"].startswith(said)
    assert f"broken: {said}" in " ".join(" ".join(lines(command)).split())


def test_a_model_beside_the_runs_is_no_run(own, command):
    before = listed(command)
    assert command("average", "--last", "2", "--output", "runs/mean").code == 0
    Path("runs/notes.txt").write_text("mine")
    assert listed(command) == before


def test_without_runs_there_is_nothing_but_advice(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    said = "there are no runs in runs/; train one: seq2seq train configs/quickstart.yaml\n"
    assert command("runs") == (0, b"", said)
    assert command("runs", "--json") == (0, b"[]\n", "")
    assert not Path("runs").exists()


def test_a_best_model_may_be_replaced_meanwhile(own):
    config, tokenizers = load("toy.yaml"), Tokenizers.read(RUN / "best")
    model = build(config, len(tokenizers.source), len(tokenizers.target))
    scores = json.loads((RUN / "best/scores.json").read_text())
    over = threading.Event()

    def replace_it() -> None:
        while not over.is_set():
            save_model(RUN / "best", config, tokenizers, weights_of(model), scores)

    writer = threading.Thread(target=replace_it)
    writer.start()
    try:
        found = [overview.overview(RUN) for _ in range(40)]
    finally:
        over.set()
        writer.join()
    assert {(run.state, run.reason) for run in found} == {(found[0].state, found[0].reason)}
    assert found[0].state == "finished"


@pytest.mark.parametrize(
    "name", ["alone", "a-name-that-is-by-far-too-long-for-a-column-of-a-table"]
)
def test_it_fits_into_80_columns(name):
    run = overview.Overview(
        name,
        "finished",
        "10 validations without a better rougeL (training.patience)",
        "transformer",
        1_234_567_890,
        999_999,
        999_999,
        12345.6,
        12345.6,
        123_456.7,
        {"metric": "rougeL", "score": 12.345, "update": None, "average": [*range(9**5, 9**5 + 9)]},
    )
    shown = overview.table([run, run._replace(name="b")])
    assert max(map(len, shown)) <= 80
    assert sum(name in line.split() for line in shown) == 1
    for cell in ("1.23B", "999,999", "12,345.6", "123,457"):
        assert sum(cell in line for line in shown) >= 2


def test_names_that_a_terminal_would_obey_are_shown_harmlessly(own, command):
    shutil.copytree(RUN, "runs/a\x1b[31mb")
    assert b"\x1b" not in command("runs").out


@pytest.mark.parametrize(
    ("number", "text"),
    [(999, "999"), (1_000, "1K"), (30_752, "30.8K"), (999_700, "1M"), (7_577_000, "7.58M")],
)
def test_sizes_have_three_digits(number, text):
    assert overview.rounded(number) == text


def test_it_looks_where_the_others_look():
    assert overview.RUNS == runs.RUNS


def test_no_torch_is_loaded(own):
    code = (
        "import sys; from seq2seq.overview import show_runs; show_runs(); "
        "assert not {'torch', 'sentencepiece', 'sacrebleu'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "toy" in done.stdout


def test_a_lock_that_has_two_names_is_nobodys(own, command):
    """As backups by hard links make them."""
    os.link("runs/.toy.lock", "copy")
    with lock(Path("other.lock")):
        assert command("runs").out.count(b"training now") == 0
