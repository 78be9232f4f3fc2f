"""The laws of kept scores: each says what made it, and none replaces those of another origin."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from seq2seq.config import Decoding
from seq2seq.evaluation.keeping import Origin, hypotheses_beside, keep, options_of, read_origin
from seq2seq.models.folder import hash_of
from seq2seq.report import compare
from seq2seq.report.reading import read

RUN, OTHER = Path("runs/toy"), Path("runs/other")
PLAIN = RUN / "evaluation/first.scores.json"
ORIGIN = Origin({"sha256": "m", "update": 20}, options_of(Decoding()), "t", "h")
FOUND = {"model": "m", "sets": {"x": {"bleu": {"score": 1.0}}}, "lines": {"x": 2}}


def contents(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.scores.json"))]


def evaluated(command, *arguments) -> None:
    result = command("evaluate", *arguments)
    assert result.code == 0, result.err


def altered_model(run: Path) -> None:
    """Gives a run's best model other weights by an edit of its manifest, which names their hash."""
    path = run / "best/manifest.json"
    path.write_text(path.read_text().replace(hash_of(run / "best"), "0" * 64))


@pytest.fixture
def pair(own, command) -> tuple[Path, Path]:
    """Two runs with the same config and weights, each scored on `first` and `second`."""
    shutil.copytree(RUN, OTHER)
    for run in (RUN, OTHER):
        evaluated(command, run, "--metrics", "exact,length")
    return RUN, OTHER


# In files


@pytest.mark.parametrize(
    "other",
    [
        ORIGIN._replace(model={"sha256": "n", "update": 40}),
        ORIGIN._replace(decoding=ORIGIN.decoding | {"beam": 1}),
        ORIGIN._replace(decoding=ORIGIN.decoding | {"length_penalty": 0.5}),
        ORIGIN._replace(test="u"),
        ORIGIN._replace(hypotheses="i"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_scores_of_another_origin_are_never_replaced(tmp_path, other, own):
    kept = {"first": ORIGIN, "second": other, "third": ORIGIN, "fourth": other}
    for text, origin in kept.items():
        keep(tmp_path, "x", [text], FOUND, origin, own=own)
    found = {
        hypotheses_beside(path).read_text(): read_origin(json.loads(path.read_text()), "x")
        for path in tmp_path.glob("*.scores.json")
    }
    assert found == {"third\n": ORIGIN, "fourth\n": other}
    assert (tmp_path / "x.scores.json").exists()
    assert len([*tmp_path.iterdir()]) == 4


def test_the_plain_name_is_for_a_runs_own_options_and_its_newest_model(tmp_path):
    plain = tmp_path / "x.scores.json"
    trial = ORIGIN._replace(decoding=ORIGIN.decoding | {"beam": 1})
    newer = ORIGIN._replace(model={"sha256": "n"})
    for origin, own, expected in (
        (trial, False, trial),
        (ORIGIN, True, ORIGIN),
        (trial, False, ORIGIN),
        (newer, False, newer),
        (trial._replace(test="u"), False, newer),
        (ORIGIN._replace(test="u"), True, ORIGIN._replace(test="u")),
    ):
        keep(tmp_path, "x", [], FOUND, origin, own=own)
        assert read_origin(json.loads(plain.read_text()), "x") == expected


def test_scores_of_other_metrics_join_those_of_the_same_origin(tmp_path):
    keep(tmp_path, "x", ["a"], FOUND, ORIGIN, own=True)
    more = {"sets": {"x": {"ter": {"score": 3.0}, "bleu": {"score": 2.0}}}, "counts": {"x": {}}}
    keep(tmp_path, "x", ["a"], more, ORIGIN, own=True)
    (found,) = contents(tmp_path)
    assert found == {
        **FOUND,
        "sets": {"x": {"bleu": {"score": 2.0}, "ter": {"score": 3.0}}},
        "counts": {"x": {}},
        "origin": {"x": json.loads(json.dumps(ORIGIN._asdict()))},
    }


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 100_000, b'{"origin": {"x": 1}}', b'{"origin": {"x": {"model": 1}}}']
)
def test_scores_of_unknown_origin_move_aside(tmp_path, content):
    plain = tmp_path / "x.scores.json"
    plain.write_bytes(content)
    hypotheses_beside(plain).write_text("old")
    keep(tmp_path, "x", ["new"], FOUND, ORIGIN, own=True)
    (aside,) = (path for path in tmp_path.glob("x.*.scores.json"))
    assert (aside.read_bytes(), hypotheses_beside(aside).read_text()) == (content, "old")
    assert hypotheses_beside(plain).read_text() == "new\n"


def test_an_option_of_later_versions_had_the_effect_of_its_default():
    older = {name: value for name, value in ORIGIN.decoding.items() if name != "beam"}
    content = {"origin": {"x": ORIGIN._replace(decoding=older)._asdict()}}
    assert read_origin(content, "x") == ORIGIN


# Through the command


def test_one_metric_more_leaves_the_other_scores(own, command):
    evaluated(command, RUN, "--metrics", "bleu,chrf")
    before = json.loads(PLAIN.read_text())
    evaluated(command, RUN, "--metrics", "exact")
    after = json.loads(PLAIN.read_text())
    assert [*after["sets"]["first"]] == ["bleu", "chrf", "exact"]
    for slices in after["slices"]["first"].values():
        assert all({"lines", "bleu", "chrf", "exact"} == one.keys() for one in slices.values())
    del after["sets"]["first"]["exact"]
    for slices in after["slices"]["first"].values():
        for one in slices.values():
            del one["exact"]
    assert after == before


def test_scores_say_what_made_them(own, command):
    evaluated(command, RUN, "--metrics", "exact", "--set", "decoding.beam=3")
    origin = json.loads(PLAIN.read_text())["origin"]["first"]
    best = json.loads((RUN / "best/scores.json").read_text())
    known = {name: best[name] for name in ("update", "average") if name in best}
    assert origin["model"] == {"sha256": hash_of(RUN / "best"), **known}
    assert origin["decoding"]["beam"] == 3
    Path("first.de").write_text(Path("first.de").read_text().replace("eins", "zwei"))
    evaluated(command, RUN, "--metrics", "exact", "--set", "decoding.beam=3")
    origins = [one["origin"] for one in contents(PLAIN.parent)]
    assert len({one["first"]["test"] for one in origins if "first" in one}) == 2


def test_a_trial_of_other_options_leaves_the_scores_of_the_run(own, command):
    evaluated(command, RUN, "--metrics", "exact")
    before = PLAIN.read_bytes(), hypotheses_beside(PLAIN).read_bytes()
    evaluated(command, RUN, "--metrics", "exact", "--set", "decoding.max_length=3")
    assert (PLAIN.read_bytes(), hypotheses_beside(PLAIN).read_bytes()) == before
    first, trial = (one for one in read(RUN).evaluations if one.name == "first")
    assert (first.path, first.mark) == (PLAIN, "")
    assert "decoding.max_length 3, not None" in trial.mark
    assert command("report", RUN).code == 0
    assert "decoding.max_length 3, not None" in (RUN / "report.html").read_text()


def test_models_and_files_of_one_name_have_scores_of_their_own(own, command):
    for name in ("a/mean", "b/mean"):
        shutil.copytree(RUN / "best", name)
        evaluated(command, name, "--metrics", "exact")
    models = [json.loads(path.read_text())["model"] for path in Path("evaluation").rglob("f*.json")]
    assert sorted(models) == ["a/mean", "b/mean"]
    evaluated(command, "a/mean", "--metrics", "exact")  # finds its own again
    assert len([*Path("evaluation").rglob("first.*scores.json")]) == 2
    for year in ("first", "second"):
        Path(year).mkdir()
        for side in ("digits", "de"):
            shutil.copy(f"{year}.{side}", f"{year}/test.{side}")
        files = ("--source", f"{year}/test.digits", "--reference", f"{year}/test.de")
        evaluated(command, RUN, *files, "--metrics", "exact")
    kept = (RUN / "evaluation").glob("test.digits.*scores.json")
    assert sorted(json.loads(path.read_text())["lines"]["test.digits"] for path in kept) == [5, 8]


def test_models_that_translate_otherwise_are_compared_with_a_warning(pair, command):
    path = OTHER / "config.yaml"
    path.write_text(re.sub("beam: 2", "beam: 1", path.read_text()))
    result = command("evaluate", RUN, "--compare", OTHER, "--metrics", "exact")
    said = (
        "warning: runs/other/best translates otherwise than runs/toy/best: decoding.beam 1, not 2"
    )
    assert said in result.err.splitlines()


# In reports


def test_what_is_alike_is_compared(pair):
    rows, reason = compare.rows_of("first", [*map(read, pair)])
    assert reason == ""
    assert {row.cells[1].difference for row in rows} == {"+0.00"}
    assert compare.marks_of("first", [*map(read, pair)]) == []


def test_several_references_are_tested(pair, command):
    Path("other.de").write_text(hypotheses_beside(PLAIN).read_text())
    for run in pair:
        path = run / "config.yaml"
        text = path.read_text()
        assert text.count("target: first.de") == 1
        indent = re.search("^( *)target: first.de", text, re.M)[1]
        path.write_text(
            text.replace("target: first.de", f"target: first.de\n{indent}references: [other.de]")
        )
        evaluated(command, run, "--metrics", "exact")
    rows, reason = compare.rows_of("first", [*map(read, pair)])
    assert reason == ""
    assert dict(compare.marks_of("first", [*map(read, pair)])) == {}
    (row,) = rows
    assert (row.cells[0].score, row.cells[1].difference) == ("100.00", "+0.00")


def older_version(run: Path) -> None:
    path = run / "evaluation/first.scores.json"
    content = json.loads(path.read_text())
    del content["origin"]
    path.write_text(json.dumps(content))


def other_options(run: Path) -> None:
    path = run / "evaluation/first.scores.json"
    content = json.loads(path.read_text())
    content["origin"]["first"]["decoding"]["beam"] = 7
    path.write_text(json.dumps(content))


def other_test(run: Path) -> None:
    path = run / "evaluation/first.scores.json"
    content = json.loads(path.read_text())
    content["origin"]["first"]["test"] = "0" * 64
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "mark", "why"),
    [
        (older_version, "It is not known", "it is not known what made the scores of runs/other"),
        (altered_model, "Out of date:", "runs/other are not those of its best model now"),
        (other_options, "decoding.beam 7, not 2", "decoding.beam 7, not 2"),
        (other_test, "", "runs/other was scored on another test set of that name"),
    ],
)
def test_what_is_not_alike_is_marked_and_not_compared(pair, command, change, mark, why):
    change(OTHER)
    runs = [read(RUN), read(OTHER)]
    rows, reason = compare.rows_of("first", runs)
    assert why in reason
    assert {row.cells[1].difference for row in rows} == {""}
    assert all(row.cells[1].score for row in rows)
    marks = dict(compare.marks_of("first", runs))
    assert mark in marks.get("other", "")
    assert bool(marks) == bool(mark)
    assert command("report", OTHER).code == 0
    assert mark in (OTHER / "report.html").read_text()


def test_trials_of_the_same_options_are_compared(pair, command):
    for run in pair:
        shutil.rmtree(run / "evaluation")
        evaluated(command, run, "--metrics", "exact", "--set", "decoding.beam=1")
    evaluated(command, OTHER, "--metrics", "exact")
    runs = [read(RUN), read(OTHER)]
    rows, reason = compare.rows_of("first", runs)
    assert (reason, [row.cells[1].difference for row in rows]) == ("", ["+0.00"])
    _, reason = compare.rows_of("first", runs[::-1])
    assert "decoding.beam 1, not 2" in reason


def test_a_test_set_that_has_changed_since_is_not_compared(pair):
    Path("first.de").write_text("eins\n" * 8)
    _, reason = compare.rows_of("first", [*map(read, pair)])
    assert reason.startswith("the test set first has changed since runs/toy was scored on it")


def test_a_language_that_is_given_makes_other_scores(own, command):
    assert command("evaluate", "--metrics", "bleu").code == 0
    before = PLAIN.read_bytes()
    assert command("evaluate", "--metrics", "bleu", "--language", "zh").code == 0
    assert PLAIN.read_bytes() == before
    found = {one["sets"]["first"]["bleu"]["signature"] for one in kept_beside(PLAIN)}
    assert (
        {"tok:13a" in one for one in found} == {"tok:zh" in one for one in found} == {True, False}
    )


def kept_beside(plain: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in plain.parent.glob("first.*scores.json")]
