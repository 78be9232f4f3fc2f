"""The four commands as a user meets them: what they do, what they say, and how they end."""

import contextlib
import errno
import functools
import gzip
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from seq2seq import train
from seq2seq.config import load
from seq2seq.errors import Stopped
from seq2seq.files import MARK, check_manifest
from seq2seq.runs import Best, newest_run
from seq2seq.training.checkpoint import Checkpoints
from seq2seq.training.progress import Scores
from seq2seq.translate import translate
from seq2seq.validation import chosen

USED = "using the best model of the newest run, runs/toy\n"
LAST_LINE = "use it: seq2seq translate --model runs/toy/best < input.txt"
METRICS = ["ppl", "bleu", "chrf", "ter", "rouge1", "rouge2", "rougeL"]
QUICKSTART = "configs/quickstart.yaml"
CHECKPOINTS = Checkpoints(Path("runs/toy/checkpoints"))
FURTHER = ("--set", "training.max_updates=80")


def contents(folder: Path | str) -> dict[str, bytes]:
    """Every file below a folder, with its bytes."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def metrics_of(run: str) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    lines = Path("runs", run, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def start(*arguments: str, **streams: Any) -> subprocess.Popen:
    """`seq2seq` in a process of its own."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "seq2seq", *arguments], **{**given, **streams})


# The whole walk


def test_prepare_does_nothing_twice(trained, command):
    assert trained.prepare.code == 0
    assert trained.prepare.out == b""
    assert re.search(r"^train: 60 pairs, [\d,]+ and [\d,]+ pieces$", trained.prepare.err, re.M)
    before = contents("prepared")
    assert command("prepare", "toy.yaml") == (0, b"", "")
    assert contents("prepared") == before


def test_training_leaves_a_model_and_says_how_to_use_it(trained):
    code, out, err = trained.train
    assert (code, out) == (0, b"")
    assert err.splitlines()[-1] == LAST_LINE
    assert "training is over: 60 updates done (training.max_updates)" in err.splitlines()
    assert load("runs/toy/config.yaml") == load("toy.yaml")
    lines = metrics_of("toy")
    assert [one["update"] for one in lines if "loss" in one] == list(range(10, 70, 10))
    assert [one["update"] for one in lines if "valid" in one] == [20, 40, 60]
    loss = [one["loss"] for one in lines if "loss" in one]
    assert loss[-1] < loss[0] / 2
    for path in (CHECKPOINTS.path(60), Path("runs/toy/best")):
        check_manifest(path, "")


def test_validation_shows_sentences(trained):
    blocks = re.findall(r" source: (.*)\n +reference: (.*)\n +ours: ", trained.train.err)
    sides = [Path(name).read_text("utf-8").splitlines() for name in ("valid.digits", "valid.de")]
    number = chosen(len(sides[0]), 1, load("toy.yaml").seed)[0]
    assert blocks
    assert {*blocks} == {tuple(side[number] for side in sides)}


def test_the_best_model_is_the_best_of_all_that_was_judged(trained):
    ended = json.loads(Path("runs/toy/finished.json").read_text())
    best = json.loads(Path("runs/toy/best/scores.json").read_text())
    judged = [one["valid"]["ppl"] for one in metrics_of("toy") if "valid" in one]
    assert len(ended["average"]) == 2
    assert best["valid"]["ppl"] == min([*judged, ended["valid"]["ppl"]])
    assert f"validation: ppl {best['valid']['ppl']:.2f}, accuracy" in trained.train.err


def test_evaluate_perplexity_is_that_of_validation(trained, command):
    best = json.loads(Path("runs/toy/best/scores.json").read_text())["valid"]["ppl"]
    files = ("--source", "valid.digits", "--reference", "valid.de")
    result = command("evaluate", *files, "--json", "--output", "elsewhere")
    (scores,) = json.loads(result.out)["sets"].values()
    assert scores["ppl"]["score"] == pytest.approx(best, rel=1e-5)
    assert {*os.listdir("elsewhere")} == {"valid.digits.hypotheses.txt", "valid.digits.scores.json"}


def test_the_mean_of_checkpoints_becomes_the_best_model_if_it_is_better(own, command):
    """With ever smaller steps around a minimum, a mean is worse; here it is judged either way."""
    for factor in ("1.0e-5", "5.0e-2"):
        rate = f"training.learning_rate={factor}"
        command("train", "toy.yaml", "--set", f"name=at-{factor}", "--set", rate)
        folder = Path(f"runs/at-{factor}")
        judged = {
            f'"update": {one["update"]}': one["valid"]["ppl"]
            for one in metrics_of(folder.name)
            if "valid" in one
        }
        ended = json.loads((folder / "finished.json").read_text())
        judged['"average": '] = ended["valid"]["ppl"]
        best = min(judged, key=judged.__getitem__)
        assert best in (folder / "best/scores.json").read_text()


# Going on


def test_training_again_says_it_is_over_and_changes_nothing(own, command):
    before = contents("runs")
    code, out, err = command("train", "toy.yaml")
    assert (code, out) == (0, b"")
    assert "going on after update 60" in err
    assert "training is over: 60 updates done (training.max_updates)" in err
    assert err.splitlines()[-1] == LAST_LINE
    assert contents("runs") == before


def test_a_raised_limit_goes_on_as_if_it_had_always_been_there(own, command):
    whole = command("train", "toy.yaml", "--set", "name=whole", *FURTHER)
    assert whole.code == 0
    result = command("train", "toy.yaml", *FURTHER)
    assert result.code == 0
    assert "going on after update 60" in result.err
    for name in ("model", "optimizer"):
        file = f"checkpoints/step-00000080/{name}.safetensors"
        assert Path("runs/toy", file).read_bytes() == Path("runs/whole", file).read_bytes()
    scores = [
        [(one["update"], one["valid"]) for one in metrics_of(name) if "valid" in one]
        for name in ("toy", "whole")
    ]
    assert scores[0] == scores[1]


def test_other_options_are_listed_and_nothing_is_touched(own, command):
    before = contents(".")
    other = ["seed=2", "model.dim=64", "training.max_updates=70", "decoding.beam=1"]
    result = command("train", "toy.yaml", *(word for one in other for word in ("--set", one)))
    assert result == (
        1,
        b"",
        "error: runs/toy was begun with other options:\n"
        "  seed: 1 before, 2 now\n"
        "  model.dim: 32 before, 64 now\n"
        "restore them, choose another name, or start over with --fresh "
        "(the old run is moved aside)\n",
    )
    assert contents(".") == before


def test_other_text_is_another_run(own, command):
    before = contents("runs")
    Path("train.de").write_text(Path("train.de").read_text("utf-8").replace("eins", "ein"), "utf-8")
    result = command("train", "toy.yaml")
    assert result.code == 1
    *_, said = result.err.splitlines()
    assert re.fullmatch(
        r"error: runs/toy was begun with other data \(\w{12}\) than there is now \(\w{12}\); "
        "restore the files, choose another name, or start over with --fresh",
        said,
    )
    assert contents("runs") == before


def test_fresh_moves_aside_and_deletes_nothing(own, command):
    before = contents("runs/toy")
    for aside in ("toy.1", "toy.2"):
        result = command("train", "toy.yaml", "--fresh", "--set", "training.max_updates=2")
        assert result.code == 0
        assert f"the old run is now runs/{aside}" in result.err
        assert {one["update"] for one in metrics_of("toy")} == {2}
        assert contents("runs/toy.1") == before


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(own, command):
    more = (*FURTHER, "--set", "name=other")
    command("train", "toy.yaml", *more)
    run = Path("runs/other")
    end = contents(run / "checkpoints/step-00000080")
    damaged = run / "checkpoints/step-00000080/optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert command("train", "toy.yaml", *more) == (
        1,
        b"",
        f"error: {damaged.parent} cannot be used: optimizer.safetensors has been altered; "
        "move it away, and the checkpoint before it will be used\n",
    )
    damaged.parent.rename("damaged")
    result = command("train", "toy.yaml", *more)
    assert result.code == 0
    assert "going on after update 60" in result.err
    again = contents(run / "checkpoints/step-00000080")
    assert {name for name in end if again[name] != end[name]} == {"state.json", "manifest.json"}


def test_checkpoints_that_someone_removed_are_not_missed(own, command):
    finished = Path("runs/toy/finished.json")
    assert json.loads(finished.read_text())["average"] == [40, 60]
    shutil.rmtree(CHECKPOINTS.path(40))
    finished.unlink()
    result = command("train", "toy.yaml")
    assert result.code == 0, result.err
    assert json.loads(finished.read_text())["average"] == [20, 60]


# Stopping


def wait_for(file: Path, text: str, process: subprocess.Popen) -> None:
    """Returns when a process has written a text into a file."""
    while text not in (said := file.read_text("utf-8")):
        assert process.poll() is None, said
        time.sleep(0.02)


def test_signals_stop_after_saving_and_the_same_command_goes_on(own, command):
    def words(name: str, updates: int) -> list[str]:
        options = [f"name={name}", f"training.max_updates={updates}", "training.log_every=1"]
        options += ["training.patience=null", f"data.prepared={name}"]
        return ["train", "toy.yaml", *(word for one in options for word in ("--set", one))]

    signals = {"SIGINT": 130, "SIGTERM": 143}
    for name in signals:
        shutil.copytree("prepared", name)
    with contextlib.ExitStack() as stack:
        processes = {}
        for name in signals:
            err = stack.enter_context(open(f"{name}.err", "wb"))
            processes[name] = stack.enter_context(start(*words(name, 10**6), stderr=err))
            stack.callback(processes[name].kill)
        for name, process in processes.items():
            wait_for(Path(f"{name}.err"), "update 3,", process)
            refused = command(*words(name, 10**6))
            assert refused.code == 1
            assert refused.err == f"error: runs/{name} is being trained by another process\n"
            process.send_signal(getattr(signal, name))
        ended = {name: process.communicate(timeout=300)[0] for name, process in processes.items()}
    assert {name: process.returncode for name, process in processes.items()} == signals
    assert {*ended.values()} == {b""}
    for name in signals:
        said = Path(f"{name}.err").read_text("utf-8").splitlines()
        assert "stopping after this step; press Ctrl-C again to stop at once" in said
        found = re.fullmatch(
            r"stopped after update ([\d,]+), and saved; the same command goes on from there",
            said[-1],
        )
        update = int(found[1].replace(",", ""))
        checkpoints = Checkpoints(Path("runs", name, "checkpoints"))
        assert checkpoints.updates()[-1] == update
        check_manifest(checkpoints.path(update), "")

        result = command(*words(name, update + 2))
        assert result.code == 0
        assert f"going on after update {update:,}\n" in result.err
        logged = [one["update"] for one in metrics_of(name) if "loss" in one]
        assert logged == list(range(1, update + 3))


class Said(list):
    """A log that only keeps what is said."""

    say = list.append


def test_a_second_interrupt_stops_at_once():
    said = Said()

    def at_once(number: int, frame: object) -> None:
        raise Stopped(number, "at once")

    before = signal.signal(signal.SIGINT, at_once)
    try:
        with train.stop_signals(said) as stop:
            assert not stop()
            signal.raise_signal(signal.SIGINT)
            assert stop()
            with pytest.raises(Stopped, match="at once"):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is at_once
    finally:
        signal.signal(signal.SIGINT, before)
    assert said == ["stopping after this step; press Ctrl-C again to stop at once"]


def test_a_signal_before_there_is_anything_to_save_ends_with_a_word(own, command, monkeypatch):
    def interrupted(config: object, *, workers: int | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(train, "prepare", interrupted)
    said = "stopped; run the same command again\n"
    assert command("train", "toy.yaml") == (143, b"", said)


# Evaluating


def test_the_table_and_the_json_say_the_same(trained, command):
    table, as_json = command("evaluate"), command("evaluate", "--json")
    assert table.code == as_json.code == 0
    assert table.err == as_json.err
    result = json.loads(as_json.out)
    assert result.keys() == {
        *("model", "sets", "lines", "counts", "distinct", "warnings", "slices")
    }
    assert result["model"] == "runs/toy/best"
    assert [*result["sets"]] == ["first", "second"]
    shown: dict[str, list[tuple[float, str]]] = {}
    for line in table.out.decode().splitlines():
        if line.startswith("  of "):
            assert line.startswith(f"  of {result['lines'][name]:,} lines: ")  # noqa: F821
        elif line.startswith("  "):
            _, score, low, high, signature = line.split()
            assert float(low.strip("[,")) <= float(score) <= float(high.strip("]"))
            shown[name].append((float(score), signature))  # noqa: F821 (a name comes first)
        else:
            name = line
            shown[name] = []
    for name, scores in result["sets"].items():
        assert [*scores] == METRICS
        assert all(one.keys() == {"score", "interval", "signature"} for one in scores.values())
        rounded = [(round(one["score"], 2), one["signature"]) for one in scores.values()]
        assert shown[name] == rounded
    kept = [json.loads(path.read_text()) for path in Path("runs/toy/evaluation").glob("*.json")]
    assert {name: one for each in kept for name, one in each["sets"].items()} == result["sets"]
    assert {each["model"] for each in kept} == {result["model"]}


def test_a_run_its_model_and_the_newest_run_are_scored_alike(own, command, monkeypatch):
    newest = command("evaluate", "--json")
    place = "translations and scores are kept in runs/toy/evaluation\n"
    assert newest.err.startswith(f"{USED}warning: first: of 8 lines, ")
    kept = newest.err.removeprefix(USED)
    assert kept.endswith(place)
    by_run, by_model = (
        command("evaluate", path, "--json") for path in ("runs/toy", "runs/toy/best")
    )
    assert by_run == by_model == (0, newest.out, kept)
    monkeypatch.setenv("SEQ2SEQ_MODEL", "runs/toy")
    assert command("evaluate", "--json") == by_run

    shutil.copytree("runs/toy/best", "elsewhere/mine")
    copy = command("evaluate", "elsewhere/mine", "--json")
    assert json.loads(copy.out)["sets"] == json.loads(newest.out)["sets"]
    assert copy.err == kept.replace("runs/toy/evaluation", "evaluation/mine")


def test_the_newest_run_is_the_one_written_to_last(own):
    shutil.copytree("runs/toy", "runs/other")
    for number, name in enumerate(["other", "toy", "other"]):
        os.utime(f"runs/{name}/metrics.jsonl", (10**10 + number, 10**10 + number))
        assert newest_run() == Path("runs", name)


def test_what_evaluate_keeps_is_what_translate_prints_and_scores_alike(trained, command):
    result = json.loads(command("evaluate", "--json").out)
    for name, scores in result["sets"].items():
        kept = Path(f"runs/toy/evaluation/{name}.hypotheses.txt")
        source = Path(f"{name}.digits").read_bytes()
        assert command("translate", stdin=source).out == kept.read_bytes()
        alone = command("evaluate", "--hypothesis", kept, "--reference", f"{name}.de", "--json")
        assert alone.code == 0
        del scores["ppl"]  # which needs a model
        found = json.loads(alone.out)
        assert (found["model"], found["sets"]) == (None, {kept.name: scores})


def test_files_can_be_scored_whatever_model_is_chosen(trained, command, monkeypatch):
    files = ("--hypothesis", "first.de", "--reference", "first.de", "--json")
    result = command("evaluate", *files)
    scores = json.loads(result.out)["sets"]["first.de"]
    assert scores["bleu"]["score"] == pytest.approx(100)
    assert scores["ter"]["score"] == 0
    monkeypatch.setenv("SEQ2SEQ_MODEL", "runs/toy")
    assert command("evaluate", *files) == result


def test_compressed_files_score_like_plain_ones(trained, command, tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(Path("second.de").read_bytes()))
    found = [
        json.loads(
            command("evaluate", "--hypothesis", "second.de", "--reference", path, "--json").out
        )
        for path in ("second.de", tmp_path / "packed")
    ]
    assert found[0] == found[1]


TOGETHER = "error: --hypothesis goes with --reference, and with no model, --source or --set\n"
BOTH = "error: --source and --reference go together\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--hypothesis", "first.de", "--reference", "second.de"],
            1,
            "error: hypotheses and references differ in number, 8 and 5: line n of one must "
            "belong to line n of the other\n",
        ),
        (
            ["runs/toy", "--source", "first.digits", "--reference", "second.de"],
            1,
            r"error: first.digits has 8 lines but second.de 5; they seem to part at line \d" "\n",
        ),
        (["--hypothesis", "first.de"], 2, TOGETHER),
        (["runs/toy", "--hypothesis", "first.de", "--reference", "first.de"], 2, TOGETHER),
        (
            ["--hypothesis", "first.de", "--reference", "first.de", "--set", "decoding.beam=1"],
            2,
            TOGETHER,
        ),
        (["--source", "first.digits"], 2, BOTH),
        (["--reference", "first.de"], 2, BOTH),
        (
            ["--hypothesis", "absent", "--reference", "first.de"],
            1,
            "error: absent is missing; name another file\n",
        ),
        (
            ["absent"],
            1,
            "error: absent is no folder; name a run, such as runs/quickstart, or a model\n",
        ),
        (["--device", "tpu"], 2, USED + "error: device: must be auto, cuda, mps, cpu, not tpu\n"),
    ],
)
def test_what_cannot_be_scored_is_said(trained, command, arguments, code, said):
    result = command("evaluate", *arguments)
    assert (result.code, result.out) == (code, b"")
    assert re.fullmatch(said, result.err)


@pytest.mark.parametrize("name", ["evaluate", "translate"])
def test_where_there_is_no_model_it_is_said_how_to_train_one(tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    assert command(name, stdin=b"1\n") == (
        1,
        b"",
        "error: there is no trained model in runs/; train one: "
        "seq2seq train configs/quickstart.yaml\n",
    )
    Path("runs/begun/checkpoints").mkdir(parents=True)
    assert command(
        *{"evaluate": ["evaluate"], "translate": ["translate", "--model"]}[name], "runs/begun"
    ) == (
        1,
        b"",
        "error: runs/begun has no model yet; let it train until its first validation\n",
    )


# Translating

RANDOM = bytes((n * 7919 + n * n * 31) % 251 for n in range(3000))  # newlines among them

HOSTILE = {
    "nothing": b"",
    "one line": b"1 2\n",
    "no last newline": b"1 2\n3",
    "empty lines": b"\n\n1 2\n\n",
    "only spaces": b"1\n   \n\t\n \xc2\xa0\n2\n",
    "carriage returns": b"1 2\r\n3\r\n\r\n4\r5\n",
    "NUL": b"1\x002\n\x00\n",
    "not UTF-8": b"\xff\xfe\n1 \xc3\n\xed\xa0\x80\n\xf4\x90\x80\x80\n",
    "other line ends": "1\u20282\n3\u00854\x0b5\x0c6\x1c7\n\u2029\n".encode(),
    "byte order mark": b"\xef\xbb\xbf1\n\xef\xbb\xbf2\n",
    "special pieces": b"</s>\n<s> <pad> <unk> <0x0A>\n\xe2\x96\x81\n",
    "a long line": b"1\n" + b"2 " * 10_000 + b"\n3\n",
    "random bytes": RANDOM,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_comes_out_for_each_that_goes_in(trained, command, name):
    text = HOSTILE[name]
    result = command("translate", stdin=text)
    assert result.code == 0
    lines = text.split(b"\n")
    count = len(lines) - (lines[-1] == b"")
    assert result.out.count(b"\n") == count
    out = result.out.decode().split("\n")
    assert len(out) == count + 1
    assert out[-1] == ""
    for line, translation in zip(lines, out, strict=False):
        if not line.removesuffix(b"\r"):
            assert translation == ""
    assert result.err.startswith(USED)
    for line in result.err.splitlines()[1:]:
        if re.fullmatch(r"warning: \d+ lines in all are longer than .*", line):
            continue
        assert re.fullmatch(r"warning: line [\d,]+ has [\d,]+ pieces; only the first 48 .*", line)
    if name == "a long line":
        assert result.err == (
            f"{USED}warning: line 2 has 20,000 pieces; only the first 48 are translated "
            "(data.max_length)\n"
        )


def test_each_line_is_translated_as_if_it_were_alone(trained, command):
    lines = [b"1", b"", b"9 8 7 6 5 4", b"  ", b"\xff 3", b"2 2", b"</s>", b"5 \x00", b"1"] * 2
    together = command("translate", stdin=b"\n".join(lines)).out.splitlines()
    alone = {line: command("translate", stdin=line + b"\n").out.rstrip(b"\n") for line in {*lines}}
    assert together == [alone[line] for line in lines]
    assert len({*together}) > 3


def test_lines_that_come_in_blocks_stay_in_order(trained, command):
    text = Path("train.digits").read_bytes()
    whole = command("translate", "--beam", "1", stdin=text)
    assert command("translate", "--beam", "1", "--buffer", "7", stdin=text) == whole
    assert command("translate", "--beam", "1", "--stream", stdin=text) == whole
    long = text + b"1 " * 30 + b"\n"
    assert "warning: line 61 has " in command("translate", stdin=long).err


def test_line_ends_of_another_system_change_nothing(trained, command):
    text = Path("first.digits").read_bytes()
    expected = command("translate", stdin=text)
    assert command("translate", stdin=text.replace(b"\n", b"\r\n")) == expected
    assert command("translate", stdin=text.removesuffix(b"\n")) == expected


def test_a_model_can_be_named_in_two_ways(own, command, monkeypatch):
    text = Path("first.digits").read_bytes()
    newest = command("translate", stdin=text)
    assert newest.err == USED
    for path in ("runs/toy", "runs/toy/best"):
        assert command("translate", "--model", path, stdin=text) == (0, newest.out, "")
    shutil.copytree("runs/toy/best", "mine")
    shutil.rmtree("runs")
    monkeypatch.setenv("SEQ2SEQ_MODEL", "mine")
    assert command("translate", stdin=text) == (0, newest.out, "")
    monkeypatch.setenv("SEQ2SEQ_MODEL", "absent")
    assert command("translate", stdin=text).code == 1
    assert command("translate", "--model", "mine", stdin=text) == (0, newest.out, "")


def test_a_beam_of_one_is_the_greedy_search_of_validation(trained, command):
    text = Path("valid.digits").read_bytes()
    *_, shown = re.findall(r" ours: (.*)\n(?=update)", trained.train.err)
    best = json.loads(Path("runs/toy/best/scores.json").read_text())
    assert best["update"] == 60  # the last one judged, not the mean
    out = command("translate", "--beam", "1", stdin=text).out.decode()
    assert out.split("\n")[chosen(6, 1, load("toy.yaml").seed)[0]] == shown


def test_a_reader_who_goes_away_is_no_error(trained, tmp_path):
    (tmp_path / "many").write_bytes(b"1\n" * 20_000)
    with open(tmp_path / "many", "rb") as many, start("translate", "--beam", "1", stdin=many) as it:
        assert it.stdout.readline()
        it.stdout.close()
        assert it.wait(timeout=300) == -signal.SIGPIPE
        assert it.stderr.read().decode() == USED


def test_a_person_is_asked(trained, command, monkeypatch):
    text = b"1 2\n3\n"
    expected = command("translate", stdin=text)
    person, terminal = pty.openpty()
    os.write(person, text + b"\x04")  # Ctrl-D
    out, err = io.BytesIO(), io.StringIO()
    with open(terminal, encoding="utf-8") as stdin, contextlib.closing(os.fdopen(person, "rb")):
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
        monkeypatch.setattr(sys, "stderr", err)
        translate(None, [], {})
    assert out.getvalue() == expected.out
    assert err.getvalue() == f"{USED}type digits, get German; end with Ctrl-D\n> > > \n"


# Faults


def test_a_wrong_option_is_named_with_code_2(trained, command):
    code, out, err = command("train", "toy.yaml", "--frsh")
    assert (code, out) == (2, b"")
    assert "No such option: --frsh" in err
    assert "--fresh" in err
    assert command("trane").code == 2
    assert "Missing argument 'CONFIG'" in command("train").err


def test_help_and_version_are_results(command):
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    assert all(word in out for word in (b"prepare", b"train", b"evaluate", b"translate"))
    code, out, err = command("--version")
    assert (code, err) == (0, "")
    assert re.fullmatch(rb"seq2seq \d+\.\d+\.\d+\n", out)


BAD = [
    (
        2,
        ["absent.yaml"],
        "absent.yaml is missing",
    ),
    (
        2,
        ["toy.yaml", "--set", "training.learning_rat=1", "--set", "model.heads=7"],
        "toy.yaml cannot be used:\n"
        "  --set training.learning_rat: is not an option; did you mean training.learning_rate?\n"
        "  --set model.heads: 7 heads cannot share a width of 32 evenly",
    ),
    (
        1,
        ["toy.yaml", "--set", "data.valid.source=absent.txt"],
        "absent.txt is missing; put it there, or name another file in the config",
    ),
    (
        1,
        ["toy.yaml", "--set", "data.valid.source=runs"],
        "runs is a folder; name a file of text in the config",
    ),
]


@pytest.mark.parametrize("name", ["prepare", "train"])
@pytest.mark.parametrize(("code", "arguments", "said"), BAD)
def test_bad_input_is_said_exactly_and_costs_nothing(own, command, name, code, arguments, said):
    before = contents(".")
    other = ("--set", "name=new", "--set", "data.prepared=new")
    assert command(name, *arguments, *other) == (code, b"", f"error: {said}\n")
    after = contents(".")
    after.pop("new/.lock", None)
    after.pop("runs/.new.lock", None)
    assert after == before


@pytest.mark.parametrize(
    "file", ["config.yaml", "tokenizer.target.model", "model.safetensors", "scores.json"]
)
@pytest.mark.parametrize("damage", ["is missing", "has been altered"])
@pytest.mark.parametrize("name", ["evaluate", "translate"])
def test_a_damaged_model_folder_is_named_with_its_file(own, command, name, file, damage):
    path = Path("runs/toy/best", file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage == "has been altered":
        path.write_bytes(content)
    assert command(name, stdin=b"1\n") == (
        1,
        b"",
        f"{USED}error: runs/toy/best cannot be used: {file} {damage}; "
        "copy the folder again from where it came, or train again\n",
    )


def test_a_model_whose_replacement_was_cut_short_is_found(own, command):
    expected = command("translate", stdin=b"1 2\n")
    partial = Path("runs/toy/.best.0123456789abcdef.partial")
    Path("runs/toy/best").rename(partial.with_suffix(".old"))
    assert command("translate", "--model", "runs/toy", stdin=b"1 2\n").code == 1  # not marked
    partial.mkdir()
    (partial / MARK).touch()
    assert command("translate", "--model", "runs/toy", stdin=b"1 2\n") == (0, expected.out, "")


def failing(original: Any, number: int, after: str) -> Any:
    """A function that fails like the operating system once a path has this in it."""

    @functools.wraps(original)
    def fail(path: Any, *others: Any, **more: Any) -> Any:
        place = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else str(path)
        if after in place:
            raise OSError(number, os.strerror(number), *([] if isinstance(path, int) else [place]))
        return original(path, *others, **more)

    return fail


FULL = "No space left on device; free some space and run the same command again; "
FULL += "what was saved is intact"
READ_ONLY = "Read-only file system; work in a folder that can be written to"
STEP, PARTIAL = "runs/toy/checkpoints/step-00000080", "runs/toy/checkpoints/.step-00000080."


@pytest.fixture(scope="module")
def further(trained_once, command, tmp_path_factory):
    """What the toy run is after twenty more updates: last and best weights, and its log."""
    folder = tmp_path_factory.mktemp("further") / "own"
    shutil.copytree(trained_once.untouched, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert command("train", "toy.yaml", *FURTHER).code == 0
        best = Path("runs/toy/best/model.safetensors").read_bytes()
        return CHECKPOINTS.weights(80), best, [one["update"] for one in metrics_of("toy")]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs to know a file by its number")
@pytest.mark.parametrize(
    ("owner", "function", "number", "place", "said"),
    [
        (Path, "mkdir", errno.EROFS, PARTIAL, f"{STEP}: {READ_ONLY}"),
        (Path, "write_bytes", errno.ENOSPC, "80/model", f"{STEP}/model.safetensors: {FULL}"),
        (Path, "write_bytes", errno.ENOSPC, "80/opt", f"{STEP}/optimizer.safetensors: {FULL}"),
        (os, "fsync", errno.ENOSPC, "step-00000080/.state.json", FULL),
        (os, "fsync", errno.ENOSPC, "step-00000080/.manifest.json", FULL),
        (os, "fsync", errno.ENOSPC, "step-00000080/optimizer", FULL),
        (os, "rename", errno.EROFS, PARTIAL, f"{STEP}: {READ_ONLY}"),
        (Path, "mkdir", errno.ENOSPC, "runs/toy/.best.", f"runs/toy/best: {FULL}"),
    ],
)
def test_a_full_or_read_only_disk_loses_nothing(
    own, command, monkeypatch, further, owner, function, number, place, said
):
    before = contents("runs/toy/checkpoints")
    with monkeypatch.context() as broken:
        broken.setattr(owner, function, failing(getattr(owner, function), number, place))
        result = command("train", "toy.yaml", *FURTHER)
    assert result.code == 1
    assert result.err.splitlines()[-1] == f"error: {said}"
    assert CHECKPOINTS.updates() == [20, 40, 60]
    assert before.items() <= contents("runs/toy/checkpoints").items()
    assert not list(Path("runs/toy").rglob("*.partial*"))
    check_manifest(Path("runs/toy/best"), "")

    result = command("train", "toy.yaml", *FURTHER)
    assert result.code == 0
    assert not list(Path("runs/toy").rglob("*.partial*"))
    weights, best, logged = further
    found = CHECKPOINTS.weights(80)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert Path("runs/toy/best/model.safetensors").read_bytes() == best
    assert [one["update"] for one in metrics_of("toy")] == logged


# Options of a trained model


def test_a_test_set_that_came_later_is_evaluated(own, command):
    config = Path("toy.yaml").read_text()
    third = "third: {source: valid.digits, target: valid.de}"
    Path("toy.yaml").write_text(config.replace("second:", f"{third}\n    second:"))
    assert command("train", "toy.yaml").code == 0
    result = json.loads(command("evaluate", "--json").out)
    assert set(result["sets"]) == {"first", "second", "third"}


def test_what_is_set_for_a_trained_model_counts(own, command):
    chosen = ("--set", "evaluation.metrics=[bleu]")
    result = json.loads(command("evaluate", "--json", *chosen).out)
    assert {metric for scores in result["sets"].values() for metric in scores} == {"bleu"}
    greedy = command("translate", "--beam", "1", stdin=b"1 2 3 4\n")
    assert command("translate", "--set", "decoding.beam=1", stdin=b"1 2 3 4\n").out == greedy.out


def test_a_trained_model_cannot_be_made_another(trained, command):
    result = command("evaluate", "--set", "model.dim=64")
    said = "a trained model has only decoding, evaluation, data.test and device to set"
    assert (result.code, said in result.err) == (2, True)


def test_a_stray_folder_among_the_runs_is_no_run(own, command):
    Path("runs/copied/best").mkdir(parents=True)
    assert command("translate", stdin=b"1\n").code == 0


@pytest.mark.parametrize(("origin", "replaces"), [("average", False), ("update", True)])
def test_a_mean_of_checkpoints_must_be_better_to_be_best(origin, replaces, monkeypatch):
    run = object.__new__(train.Run)
    run.config, run.base = load(Path(__file__).parents[1] / QUICKSTART), None
    run.tokenizers = run.best = None
    run.scores = Scores({run.config.training.metrics[0]: 0.0}, {})
    saved = []
    run.folder = Path()
    monkeypatch.setattr(train, "read_best", lambda run_folder: Best(1, None, run.scores.valid))
    monkeypatch.setattr(train, "save_model", lambda *arguments: saved.append(arguments))
    run._offer({}, {origin: 1})
    assert bool(saved) == replaces


def test_files_of_hypotheses_are_read_in_their_format(own, command):
    Path("some.txt").write_text("eins zwei drei vier\nfünf sechs sieben acht\n", encoding="utf-8")
    Path("some.sgm").write_text(
        "<doc>\n<seg id='1'>eins zwei drei vier</seg>\n<seg id='2'>fünf sechs sieben acht</seg>\n",
        encoding="utf-8",
    )
    result = command("evaluate", "--hypothesis", "some.txt", "--reference", "some.sgm", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["sets"]["some.txt"]["bleu"]["score"] == pytest.approx(100)
