"""The laws of `seq2seq evaluate --compare`, and of several references, through the command line."""

import json
from pathlib import Path

import pytest

from seq2seq.scoring.metrics import score
from seq2seq.scoring.significance import compare, interval

GOOD = "a man walks his dog\nit rains\ntwo girls sing a song\nthe end of it\n"
OTHER = "a man walks a dog\nit rained\ntwo girls sing\nthat is the end of it\n"
POOR = "a dog\nrain it does\nsongs\nit\n"


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"good": GOOD, "other": OTHER, "poor": POOR, "reference": GOOD}.items():
        Path(name).write_text(text)


def test_files_are_compared_by_each_metric(texts, command):
    files = ("--hypothesis", "other", "--reference", "reference", "--compare", "poor")
    result = json.loads(command("evaluate", *files, "--json").out)
    names = list(result["sets"]["other"])
    lines = {name: Path(name).read_text().splitlines() for name in ("other", "poor", "reference")}
    one, two = (score(names, lines[name], [lines["reference"]]) for name in ("other", "poor"))
    for name in names:
        assert result["sets"]["other"][name] == {
            "score": one[name].score,
            "interval": list(interval(one[name])),
            "signature": one[name].signature,
        }
        assert result["compared"]["poor"]["other"][name] == {
            "score": two[name].score,
            **compare(two[name], one[name])._asdict(),
        }
    table = command("evaluate", *files).out.decode().splitlines()
    assert table[len(names) + 1] == "  poor, against other:"
    assert len(table) == 2 * len(names) + 2
    for line, name in zip(table[len(names) + 2 :], names, strict=True):
        found = result["compared"]["poor"]["other"][name]
        assert line.split()[1:3] == [f"{found['score']:.2f}", f"{found['difference']:+.2f}"]


def test_any_of_several_references_will_do(texts, command):
    files = ("--hypothesis", "other", "--reference", "reference")
    one = json.loads(command("evaluate", *files, "--json").out)["sets"]["other"]
    two = json.loads(command("evaluate", *files, "--reference", "other", "--json").out)["sets"]
    assert one["bleu"]["score"] < two["other"]["bleu"]["score"] == pytest.approx(100)
    assert "nrefs:2" in two["other"]["bleu"]["signature"]


def test_a_model_does_not_differ_from_itself(trained, command):
    result = json.loads(command("evaluate", "runs/toy", "--compare", "runs/toy/best", "--json").out)
    for name, scores in result["compared"]["runs/toy/best"].items():
        assert scores.keys() == result["sets"][name].keys()
        for metric, found in scores.items():
            assert found["difference"] == 0
            assert found["score"] == result["sets"][name][metric]["score"]


def test_one_place_for_several_results_is_refused(trained, command):
    result = command("evaluate", "runs/toy", "--compare", "runs/toy/best", "--output", "here")
    assert (result.code, result.out, result.err) == (
        2,
        b"",
        "error: --output is for one model; with --compare, each has its own folder\n",
    )
