"""Laws of `seq2seq report`: its pages say what the files of runs say, and what they do not."""

import hashlib
import json
import platform
import random
import re
import shutil
from html.parser import HTMLParser
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from seq2seq.config import load
from seq2seq.data.store import Store
from seq2seq.locks import lock
from seq2seq.report import compare, curves, lengths, page, plots
from seq2seq.report.marking import changes
from seq2seq.report.options import against_defaults
from seq2seq.report.reading import read
from seq2seq.report.run import SENTENCES, VERSIONS, samples

RUN = Path("runs/toy")
SIZE = 2_000_000  # bytes of a page, at most


class Text(HTMLParser):
    """What a page says, without its style and its scripts; and what its scripts are given."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.data: dict[str, object] = {}
        self._inside = ""
        self._id: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self._inside = tag
        self._id = dict(attributes).get("id")

    def handle_endtag(self, tag):
        self._inside = ""
        if tag in ("td", "th"):
            self.parts.append(" ")

    def handle_data(self, data):
        if self._inside == "script" and self._id:
            self.data[self._id] = json.loads(data)
        elif self._inside not in ("script", "style"):
            self.parts.append(data)

    @property
    def said(self) -> str:
        return " ".join("".join(self.parts).split())


def reported(command, *arguments) -> Text:
    """The page that the command makes."""
    result = command("report", *arguments)
    assert (result.code, result.out) == (0, b"")
    (where,) = re.findall(r"the report is in (\S+);", result.err)
    html = Path(where).read_text(encoding="utf-8")
    assert len(html.encode()) < SIZE
    return Text(html)


def records(path: Path = RUN / "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def evaluated(command, run: Path = RUN) -> None:
    metrics = "evaluation.metrics=[ppl,bleu,chrf]"
    assert command("evaluate", run, "--set", metrics).code == 0


def a_second_run() -> Path:
    """A copy of the run that has learned other things."""
    other = Path("runs/other")
    shutil.copytree(RUN, other)
    options = yaml.safe_load((other / "config.yaml").read_text())
    options["model"]["heads"] = 4
    (other / "config.yaml").write_text(yaml.safe_dump(options))
    return other


# What a page says of a run


def test_the_curves_are_the_numbers_of_the_log(own, command):
    given = reported(command).data["data-of-curves"]
    (run,) = given["runs"]
    logged = [one for one in records() if "loss" in one]
    judged = [one for one in records() if "valid" in one]
    assert [one["update"] for one in run["updates"]] == [one["update"] for one in logged]
    for key in ("loss", "ppl", "learning_rate", "tokens_per_second", "gradient_norm", "padding"):
        drawn = [one[key] for one in run["updates"]]
        assert drawn == pytest.approx([one[key] for one in logged], rel=1e-5)
    for key in ("ppl", "bleu"):
        drawn = [one[key] for one in run["validations"]]
        assert drawn == pytest.approx([one["valid"][key] for one in judged], rel=1e-5)
    minutes = [one["minutes"] * 60 for one in run["updates"]]
    assert minutes == pytest.approx([one["seconds"] for one in logged], rel=1e-4)
    assert {chart["key"] for chart in given["charts"]} == {
        *(
            "loss",
            "ppl",
            "accuracy",
            "bleu",
            "learning_rate",
            "tokens_per_second",
            "gradient_norm",
            "padding",
        )
    }


def test_a_chart_in_words_says_what_its_line_does(own):
    run = read(RUN)
    told = {chart.key: curves.summary(chart, [("toy", run)]) for chart in curves.charts_of([run])}
    scores = [one["valid"]["bleu"] for one in run.validations]
    best = run.validations[scores.index(max(scores))]["update"]
    assert (
        f"to {curves.number(scores[-1])}, best {curves.number(max(scores))} at update {best}"
        in (told["bleu"])
    )
    assert told["loss"].startswith(f"Training from {curves.number(run.updates[0]['loss'])} to")
    assert (
        f"best {curves.number(min(one['valid']['ppl'] for one in run.validations))}" in told["ppl"]
    )
    rates = [one["learning_rate"] for one in run.updates]
    assert f"At most {curves.number(max(rates))}" in told["learning_rate"]


def test_a_long_log_makes_no_large_page(own, command):
    line = records()[0]
    with open(RUN / "metrics.jsonl", "a", encoding="utf-8") as log:
        for update in range(61, 30_061):
            log.write(json.dumps({**line, "update": update}) + "\n")
    drawn = reported(command, RUN).data["data-of-curves"]["runs"][0]["updates"]
    assert len(drawn) <= curves.MOST
    assert drawn[-1]["update"] == 30_060
    assert len({after["update"] - one["update"] for one, after in pairwise(drawn[5:])}) == 1


def test_scores_stand_with_intervals_and_signatures(own, command):
    evaluated(command)
    said = reported(command).said
    for test in ("first", "second"):
        kept = json.loads((RUN / f"evaluation/{test}.scores.json").read_text())["sets"][test]
        assert len(kept) == 3
        for name, one in kept.items():
            low, high = one["interval"]
            numbers = f"{one['score']:.2f} {low:.2f} \u2013 {high:.2f}"
            assert f"{curves.named(name)} {numbers} {one['signature']}" in said


def test_slices_counts_and_warnings_of_a_test_set_are_shown(own, command):
    evaluated(command)
    path = RUN / "evaluation/first.scores.json"
    kept = json.loads(path.read_text())
    assert [*kept["slices"]["first"]] == ["source words", "rarest word, times seen"]
    kept["counts"]["first"]["empty"] = 1717
    kept["warnings"] = {"first": ["41 references are <b>known</b>"], "second": ["not this one"]}
    path.write_text(json.dumps(kept))
    said = reported(command).said
    assert f"Of {kept['lines']['first']} lines: 1,717 empty, " in said
    assert "41 references are <b>known</b>" in said
    assert "not this one" not in said
    for by, slices in kept["slices"]["first"].items():
        assert f"By {by} Lines " in said
        for name, one in slices.items():
            scores = " ".join(f"{one[metric]:.2f}" for metric in kept["sets"]["first"])
            assert f" {name} {one['lines']} {scores} " in said


@pytest.mark.parametrize("key", ["lines", "counts", "distinct", "warnings", "slices"])
@pytest.mark.parametrize("value", [None, 7, "?", {"first": 1.5}])
def test_scores_of_other_versions_are_shown_for_what_they_tell(own, command, key, value):
    evaluated(command)
    path = RUN / "evaluation/first.scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    (score, *_) = json.loads(path.read_text())["sets"]["first"].values()
    assert f"{score['score']:.2f}" in reported(command).said


def test_every_option_is_there_and_what_differs_is_marked(trained):
    options = {one.name: one for one in against_defaults(load(RUN / "config.yaml"))}
    given = yaml.safe_load(Path("toy.yaml").read_text())
    same = {"model.kind", "training.metrics"}  # given, but some as they are by default
    for section in ("model", "training", "decoding", "tokenizer"):
        for name, value in given[section].items():
            one = options[f"{section}.{name}"]
            assert one.differs == (one.value != one.default)
            if f"{section}.{name}" not in same:
                assert one.value == (str(value) if not isinstance(value, list) else one.value)
    marked = {name for name, one in options.items() if one.differs}
    assert {"training.max_updates", "model.dim", "data.train", "decoding.beam"} <= marked
    assert not {"training.momentum", "model.kind", "seed", "data.normalize"} & marked
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    for section in ("training", "decoding", "model", "evaluation", "tokenizer"):
        assert {f"{section}.{name}" for name in config[section]} <= options.keys()


def test_lengths_are_those_of_the_pairs(trained):
    found = lengths.histogram(Path("prepared/train"))
    store = Store.open(Path("prepared/train"))
    for side, whole in (("source", store.source), ("target", store.target)):
        exact = sorted(whole.lengths.tolist())
        bars = found.counts[side]
        for number, count in enumerate(bars):
            low, high = number * found.width, (number + 1) * found.width
            assert count == sum(low <= one < high for one in exact)
        assert found.numbers[side]["longest"] == exact[-1]
        assert found.numbers[side]["median"] == exact[(len(exact) - 1) // 2]
    assert sum(found.counts["source"]) == len(store)


def test_many_lengths_are_counted_as_few_are(monkeypatch):
    some = np.random.default_rng(1).integers(0, 400, 1000, dtype=np.uint32)
    whole = lengths.counted(some)
    monkeypatch.setattr(lengths, "CHUNK", 7)
    assert lengths.counted(some).tolist() == whole.tolist() == np.bincount(some).tolist()
    assert sum(lengths.barred(whole, 7)) == 1000


def test_what_rules_dropped_is_shown_with_examples(own, command):
    lines = (
        Path("toy.yaml")
        .read_text()
        .replace("  max_length: 48", "  max_length: 48\n  filters: [{rule: length, max: 2}]")
    )
    Path("toy.yaml").write_text(lines.replace("prepared: prepared", "prepared: strict"))
    small = ["training.max_updates=2", "name=strict", "training.metrics=[ppl]"]
    sets = [part for option in small for part in ("--set", option)]
    assert command("train", "toy.yaml", *sets).code == 0
    (corpus,) = json.loads(Path("strict/manifest.json").read_text())["parts"]["train"]["corpora"]
    (dropped,) = corpus["dropped"]
    said = reported(command, "runs/strict").said
    assert f"{corpus['pairs']} of {corpus['rows']} pairs were kept" in said
    assert f"{dropped['rule']} {dropped['pairs']} " in said
    assert dropped["examples"]
    assert all(example in said for example in dropped["examples"])


def test_the_commands_make_the_run_again(own, command):
    assert "OMP_NUM_THREADS=1 seq2seq train toy.yaml --set name=toy-again" in reported(command).said
    shutil.copy(RUN / "config.yaml", "again.yaml")
    assert command("train", "again.yaml", "--set", "name=toy-again").code == 0
    same = [{key: one.get(key) for key in ("update", "loss", "valid")} for one in records()]
    assert same == [
        {key: one.get(key) for key in ("update", "loss", "valid")}
        for one in records(Path("runs/toy-again/metrics.jsonl"))
    ]


def test_the_environment_is_what_training_ran_in(own, command):
    kept = json.loads((RUN / "environment.json").read_text())
    assert kept["threads"] == torch.get_num_threads()
    assert (kept["torch"], kept["python"]) == (version("torch"), platform.python_version())
    said = reported(command).said
    assert f"torch {version('torch')}" in said
    assert "precision fp32" in said  # which its checkpoints know


# Samples


def test_samples_are_kept_as_they_are_shown(trained):
    shown = re.findall(r"^ +ours: (.*)$", trained.train.err, re.MULTILINE)
    kept = records(RUN / "samples.jsonl")
    assert [one["ours"] for one in kept] == shown
    assert [one["update"] for one in kept] == [20, 40, 60, 60]  # at last, that of the mean
    lines = Path("valid.digits").read_text().splitlines()
    assert len({one["source"] for one in kept}) == 1
    assert {one["source"] for one in kept} <= {*lines}


def test_a_resumed_run_has_each_sample_once(own, command):
    with open(RUN / "samples.jsonl", "a") as file:
        file.write(json.dumps({"update": 75, "source": "lost", "ours": "", "reference": ""}) + "\n")
    assert command("train", "toy.yaml", "--set", "training.max_updates=80").code == 0
    kept = records(RUN / "samples.jsonl")
    assert [one["update"] for one in kept] == [20, 40, 60, 60, 80, 80]
    assert "lost" not in {one["source"] for one in kept}


def test_what_changed_gives_back_both_texts():
    words = random.Random(1)
    alphabet = ["a", "bc", "def", "漢", "字", "ไทย", " ", "  ", "\u00a0", "🙂", "é"]
    for _ in range(300):
        before, after = ("".join(words.choices(alphabet, k=words.randrange(9))) for _ in range(2))
        spans = changes(before, after)
        assert "".join(one.text for one in spans if one.kind != "removed") == after
        assert "".join(one.text for one in spans if one.kind != "added") == before
        assert all(one.space + one.words == one.text for one in spans)
    assert [one.kind for one in changes("a b c", "a x c")] == ["same", "removed", "added", "same"]
    assert [one.text for one in changes("我吃飯", "我吃麵")] == ["我吃", "飯", "麵"]
    assert [one.kind for one in changes("a b", "a b")] == ["same"]


def test_samples_tell_of_every_change(own):
    run = read(RUN)
    versions = ["one two", "one two", "one three", "", "one", "one"]
    updates = [10, 20, 30, 40, 50, 50]
    kept = [
        {"update": update, "source": "s", "reference": "r", "ours": text}
        for update, text in zip(updates, versions, strict=True)
    ]
    (sample,) = samples(run._replace(samples=kept))
    told = [
        (one.first, one.last, "".join(span.text for span in one.spans if span.kind != "removed"))
        for one in sample.versions
    ]
    assert told == [
        ("10", "20", "one two"),
        ("30", "30", "one three"),
        ("40", "40", ""),
        ("50", "mean", "one"),
    ]
    many = [
        {**one, "update": n, "source": str(n % 50), "ours": str(n)}
        for n in range(5000)
        for one in kept[:1]
    ]
    found = samples(run._replace(samples=many))
    assert len(found) == SENTENCES
    assert max(len(one.versions) for one in found) == VERSIONS
    assert found[0].versions[-1].first == "4,950"


# What is not there


def test_what_is_missing_is_said_with_how_to_get_it(own, command):
    said = reported(command).said
    assert f"No test set has been scored: seq2seq evaluate {RUN}" in said
    assert "No samples have been kept" not in said
    (RUN / "samples.jsonl").unlink()
    shutil.rmtree("prepared")
    (RUN / "environment.json").unlink()
    said = reported(command).said
    assert "No samples have been kept" in said
    assert f"make it again: seq2seq prepare {RUN}/config.yaml" in said
    assert "Versions and machine are not known" in said
    (RUN / "metrics.jsonl").write_text("")
    assert "There is no line about training in metrics.jsonl yet" in reported(command, RUN).said


def test_data_that_was_prepared_anew_is_not_passed_off_as_the_runs(own, command):
    assert "prepared anew" not in reported(command, RUN).said
    with open("train.de", "a") as target, open("train.digits", "a") as source:
        target.write("eins\n")
        source.write("1\n")
    assert command("prepare", "toy.yaml").code == 0
    assert "has been prepared anew since" in reported(command, RUN).said


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.yaml", "model: {kind: nothing}\n", "Broken: runs/toy/config.yaml"),
        ("config.yaml", None, "Broken: runs/toy/config.yaml is missing"),
        ("metrics.jsonl", '{"update": 1}\nnonsense\n', "1 of the 2 lines of metrics.jsonl"),
        ("metrics.jsonl", '{"update": 1, "seconds": 2, "loss": 3}\n', "has been altered"),
        ("samples.jsonl", "[]\n", "1 of the 1 lines of samples.jsonl"),
        ("environment.json", "[", "Versions and machine are not known"),
        ("data.json", "3", "Training segments by their length"),
        ("best/scores.json", "{}", "Broken: runs/toy/best/scores.json has been altered"),
        ("evaluation/first.scores.json", '{"sets": 1}', "first.scores.json cannot be read"),
        ("evaluation/first.scores.json", "{", "first.scores.json cannot be read"),
    ],
)
def test_a_broken_run_has_a_page_that_says_so(own, command, name, content, told):
    (RUN / "evaluation").mkdir()
    if content is None:
        (RUN / name).unlink()
    else:
        (RUN / name).write_text(content)
    assert told in reported(command, RUN).said


def test_a_run_that_trains_is_said_to(own, command):
    assert "Training now" not in reported(command).said
    with open(RUN / "metrics.jsonl", "a") as log:
        log.write('{"update": 70, "lo')  # half a line
    (RUN / "finished.json").unlink()
    with lock(Path("runs/.toy.lock")):
        said = reported(command).said
    assert "Training now" in said
    assert "cannot be read" not in said
    assert "Stopped; the same command goes on after update 60" in reported(command).said


def test_the_newest_run_is_taken_though_it_has_no_model(own, command):
    other = a_second_run()
    shutil.rmtree(other / "best")
    log = (other / "metrics.jsonl").read_text()
    (other / "metrics.jsonl").write_text(log)  # written to last
    result = command("report")
    assert f"reporting on the newest run, {other}" in result.err
    assert (other / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere is no folder; name a run, such as runs/quickstart"),
        (["prepared"], 1, "prepared is no run: it has no config.yaml"),
        (["runs/toy", "runs/../runs/toy"], 2, "a run is named twice"),
        (["--output", "not/there.html"], 1, "there is no folder not to write there.html into"),
        (["--plot", "curves.bmp"], 2, "its name must end in .png, .svg, .pdf"),
    ],
)
def test_what_cannot_be_reported_on_is_said_before_anything_is_written(
    trained, command, arguments, code, message
):
    result = command("report", *arguments)
    assert (result.code, result.out) == (code, b"")
    assert message in result.err
    assert not (RUN / "report.html").exists()


def test_without_any_run_the_report_says_how_to_get_one(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = command("report")
    assert result.code == 1
    assert "there are no runs in runs/; train one" in result.err


# Several runs


def test_runs_side_by_side_share_their_curves(own, command):
    other = a_second_run()
    text = reported(command, RUN, other)
    given = text.data["data-of-curves"]["runs"]
    assert [one["name"] for one in given] == ["toy", "other"]
    for one in given:
        alone = curves.points(read(Path("runs", one["name"])), 2)
        assert {"name": one["name"], **alone} == one
    assert "model.heads 2 4" in text.said
    assert "training.momentum" not in text.said
    assert (RUN / "comparison.html").exists()


def test_runs_of_one_name_are_told_apart(own):
    Path("elsewhere").mkdir()
    shutil.copytree(RUN, "elsewhere/toy")
    names = compare.names_of([read(RUN), read(Path("elsewhere/toy"))])
    assert len(set(names)) == 2


def test_significance_is_that_of_evaluate(own, command):
    other = a_second_run()
    options = yaml.safe_load((other / "config.yaml").read_text())
    options["model"]["heads"] = 2
    options["decoding"]["max_length"] = 4  # other translations of the same model
    (other / "config.yaml").write_text(yaml.safe_dump(options))
    for run in (RUN, other):
        evaluated(command, run)
    metrics = "evaluation.metrics=[bleu,chrf]"
    by_evaluate = {}
    for base in (RUN, other):
        result = command(
            "evaluate",
            "--json",
            "--hypothesis",
            base / "evaluation/first.hypotheses.txt",
            "--reference",
            "first.de",
            "--compare",
            (other if base is RUN else RUN) / "evaluation/first.hypotheses.txt",
        )
        assert result.code == 0, (result.err, metrics)
        by_evaluate[base] = next(iter(json.loads(result.out)["compared"].values()))
    for base, others in ((RUN, other), (other, RUN)):
        rows, reason = compare.rows_of("first", [read(base), read(others)])
        (expected,) = by_evaluate[base].values()
        assert reason == ""
        for row in rows:
            if row.metric == "Perplexity":
                assert row.cells[1].difference == ""
                continue
            known = expected[row.metric.lower()]
            cell = row.cells[1]
            assert cell.score == f"{known['score']:.2f}"
            assert cell.difference == f"{known['difference']:+.2f}"
            assert cell.chance == f"{known['bootstrap']:.3f}, {known['randomization']:.3f}"
            assert cell.better == (known["difference"] > 0)


@pytest.mark.parametrize("lost", ["first.de", "runs/other/evaluation/first.hypotheses.txt"])
def test_without_the_text_significance_is_left_out_and_said_to_be(own, command, lost):
    other = a_second_run()
    shutil.copy(RUN / "config.yaml", other)
    evaluated(command)
    shutil.copytree(RUN / "evaluation", other / "evaluation")
    Path(lost).unlink()
    said = reported(command, RUN, other).said
    assert "Some differences are not tested: " in said
    assert lost in said
    assert "no difference" in said
    rows, reason = compare.rows_of("second", [read(RUN), read(other)])
    assert reason == ""
    assert [row.cells[1].difference for row in rows] == ["", "+0.00", "+0.00"]


def test_altered_hypotheses_are_not_tested(own, command):
    other = a_second_run()
    shutil.copy(RUN / "config.yaml", other)
    evaluated(command)
    shutil.copytree(RUN / "evaluation", other / "evaluation")
    path = other / "evaluation/first.hypotheses.txt"
    path.write_text("eins eins eins eins\n" * 8)
    rows, reason = compare.rows_of("first", [read(RUN), read(other)])
    assert "bleu, chrf" in reason
    assert {row.cells[1].difference for row in rows} == {""}


def test_a_lower_perplexity_is_the_better_one():
    class Difference:
        difference, bootstrap, randomization = 2.0, 0.001, 0.04

    entry = {"score": 10.0, "interval": [9.0, 11.0]}
    assert compare.cell_of("bleu", entry, Difference).better
    assert not compare.cell_of("ter", entry, Difference).better
    assert compare.cell_of("ter", entry, Difference).significant
    Difference.randomization = 0.06
    assert not compare.cell_of("ter", entry, Difference).significant
    Difference.randomization = 1 / 10_001
    assert compare.cell_of("ter", entry, Difference).chance == "0.001, < 0.001"


# The page itself


def test_embedded_json_is_what_it_was_and_ends_no_script():
    value = {"</script>": ["<!--", "\u2028", "&lt;", float("nan"), (1, float("inf"))], "x": '"'}
    html = str(page.embed("some", value))
    (inside,) = re.fullmatch(
        r'<script type="application/json" id="some">(.*)</script>', html
    ).groups()
    assert not set("<>&\u2028") & set(inside)
    assert json.loads(inside) == {
        "</script>": ["<!--", "\u2028", "&lt;", None, [1, None]],
        "x": '"',
    }


def test_a_page_can_be_written_whatever_the_text(own, command):
    with open(RUN / "samples.jsonl", "a") as file:
        odd = {"update": 60, "source": "\ud83d \x00 \u202e", "reference": "<b>", "ours": "&amp;"}
        file.write(json.dumps(odd) + "\n")
    said = reported(command).said
    assert "\ufffd" in said
    assert "&amp;" in said


def test_what_is_carried_along_is_what_its_makers_published():
    folder = Path(page.__file__).parent / "vendor"
    rows = re.findall(
        r"^\| `(\S+)` .* `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.M
    )
    assert {name for name, _ in rows} == {path.name for path in folder.glob("*.js")}
    for name, known in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == known
        assert (folder / name.replace(".min.js", ".LICENSE")).is_file()
        assert "</script" not in (folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_curves_become_a_picture(own, command, kind):
    pytest.importorskip("matplotlib")
    other = a_second_run()
    result = command("report", RUN, other, "--plot", f"curves.{kind}")
    assert result.code == 0, result.err
    assert f"the curves are in curves.{kind}" in result.err
    content = Path(f"curves.{kind}").read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml"}[kind])
    assert len(content) > 10_000


def test_standard_output_takes_the_page_and_no_file_is_called_so(trained, command):
    named = command("report", RUN, "--output", "page.html")
    result = command("report", RUN, "--output", "-")
    assert (named.code, result.code) == (0, 0)
    assert result.out == Path("page.html").read_bytes()
    assert not Path("-").exists()
    Path("page.html").unlink()


@pytest.mark.parametrize("flags", [[], ["--attention-format", "html"]])
def test_attention_is_written_to_no_file_called_as_standard_output(trained, command, flags):
    result = command("translate", "--attention", "-", *flags, stdin=b"1 2\n")
    assert (result.code, result.out) == (2, b"")
    assert result.err == "error: --attention writes a file, not standard output; name one\n"
    assert not Path("-").exists()


def test_a_picture_has_no_box_without_a_curve(own, command, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(plots, "draw", lambda axes, chart, named: drawn.append(chart.key))
    assert command("report", RUN, "--plot", "curves.svg").code == 0
    assert {"bleu", "ppl", "loss", "learning_rate"} <= {*drawn}
    path = Path(RUN, "metrics.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if "valid" in record:
            record["valid"]["bleu"] = None
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    drawn.clear()
    assert command("report", RUN, "--plot", "curves.svg").code == 0
    assert {"ppl", "loss"} <= {*drawn}
    assert "bleu" not in drawn


def test_a_picture_without_matplotlib_says_what_to_install(trained, command, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    result = command("report", "--plot", "curves.png")
    assert result.code == 1
    assert "--plot needs matplotlib; pip install 'seq2seq[plot]'" in result.err
    assert plots.FORMATS
