"""The laws of `seq2seq evaluate --compare`, and of several references, through the command line."""

import json
import math
import shutil
from pathlib import Path

import pytest

from seq2seq.data.tokenizer import Tokenizer
from seq2seq.scoring.metrics import METRICS, score
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
    assert table[len(names) + 1].startswith("  of 4 lines: ")
    assert table[len(names) + 2] == "  poor, against other:"
    assert len(table) == 2 * len(names) + 3
    for line, name in zip(table[len(names) + 3 :], names, strict=True):
        found = result["compared"]["poor"]["other"][name]
        assert line.split()[1:3] == [f"{found['score']:.2f}", f"{found['difference']:+.2f}"]


def test_copies_do_not_differ(texts, command):
    Path("copy").write_text(OTHER)
    files = ("--hypothesis", "other", "--reference", "reference", "--compare", "copy")
    table = command("evaluate", *files).out.decode()
    told = table.split("  copy, against other:\n")[1].splitlines()
    assert len(told) == len(table.split("  of 4 lines")[0].splitlines()) - 1
    assert all(line.endswith(" +0.00  no difference") for line in told)


def test_the_language_is_told_by_an_option_or_by_the_name_of_a_file(texts, command):
    hypothesis, reference = "两个白人男子在许多灌木附近。", "两个年轻的白人男子在许多灌木附近。"
    for name in ("hyp", "hyp.zh", "hyp.en"):
        Path(name).write_text(f"{hypothesis}\n", encoding="utf-8")
    for name in ("ref", "ref.zh", "ref.zho_Hans.txt"):
        Path(name).write_text(f"{reference}\n", encoding="utf-8")
    expected = {
        name: METRICS[name]([hypothesis], [[reference]], "zh").score for name in ("bleu", "ter")
    }
    assert expected["bleu"] > 50

    def found(*arguments: str) -> tuple[dict[str, float], str]:
        result = command("evaluate", *arguments, "--metrics", "bleu,ter", "--json")
        assert result.code == 0, result.err
        (scores,) = json.loads(result.out)["sets"].values()
        return {name: one["score"] for name, one in scores.items()}, result.err

    for one, other, *more in (
        ("hyp", "ref", "--language", "Chinese"),
        ("hyp.zh", "ref"),
        ("hyp", "ref.zh"),
        ("hyp.en", "ref.zho_Hans.txt"),
        ("hyp.en", "ref", "--language", "cmn"),
    ):
        scores, told = found("--hypothesis", one, "--reference", other, *more)
        assert scores == expected
        assert not told
    scores, told = found("--hypothesis", "hyp", "--reference", "ref")
    assert scores["bleu"] == 0
    assert told.count("warning: hyp: ") == 2
    assert "--language" in told


def test_the_language_of_a_models_reference_is_told(trained, command, tmp_path):
    lines = Path("first.digits").read_text().splitlines()
    (tmp_path / "ref.th").write_text("ดีครับ\n" * len(lines), encoding="utf-8")
    files = ["--source", "first.digits", "--reference", tmp_path / "ref.th", "--output", tmp_path]
    for more, tokenizer in (([], "char"), (["--language", "zho_Hans"], "zh")):
        result = command("evaluate", *files, *more, "--metrics", "bleu", "--json")
        (scores,) = json.loads(result.out)["sets"].values()
        assert f"|tok:{tokenizer}|" in scores["bleu"]["signature"]


def test_a_set_is_cut_as_its_own_language_asks_in_evaluation_and_validation(own, command):
    languages = "languages: [digits, tha_Thai]"
    config = Path("toy.yaml").read_text()
    for name in ("valid", "first"):
        files = f"source: {name}.digits, target: {name}.de"
        assert files in config
        config = config.replace(files, f"{files}, {languages}")
    Path("other.yaml").write_text(config)
    steps = ["training.max_updates=2", "training.validate_every=2", "name=other"]
    options = [word for step in steps for word in ("--set", step)]
    result = command("train", "other.yaml", *options)
    assert result.code == 0, result.err
    result = command("evaluate", "runs/other", "--metrics", "bleu", "--json")
    sets = json.loads(result.out)["sets"]
    assert "|tok:char|" in sets["first"]["bleu"]["signature"]
    assert "|tok:13a|" in sets["second"]["bleu"]["signature"]


def test_validation_knows_the_language_and_warns_once(own, command, monkeypatch):
    lines = Path("valid.de").read_text().splitlines()
    Path("valid.de").write_text("我喜欢书\n" * len(lines), encoding="utf-8")
    asked = []

    def scored(names, hypotheses, references, language):
        asked.append(language)
        return score(names, hypotheses, references, language)

    monkeypatch.setattr("seq2seq.validation.score", scored)
    steps = ["training.max_updates=4", "training.validate_every=2"]
    options = [word for step in steps for word in ("--set", step)]
    for target, warnings in (("German", 1), ("zho_Hans", 0)):
        config = Path("toy.yaml").read_text().replace("target: German", f"target: {target}")
        Path("other.yaml").write_text(config.replace("prepared: prepared", f"prepared: {target}"))
        result = command("train", "other.yaml", *options, "--set", f"name={target}")
        assert result.code == 0, result.err
        assert {*asked} == {target}
        assert result.err.count("BLEU takes what is between spaces") == warnings
        asked.clear()


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


def test_metrics_are_those_that_are_asked_for(texts, command):
    names = "exact,chrf++,bleu,length,rougeLsum"
    files = ["--hypothesis", "other", "--reference", "reference"]
    found = json.loads(command("evaluate", *files, "--metrics", names, "--json").out)
    assert ",".join(found["sets"]["other"]) == names
    plain = json.loads(command("evaluate", *files, "--json").out)
    assert plain["sets"]["other"]["bleu"] == found["sets"]["other"]["bleu"]
    apart = [word for name in names.split(",") for word in ("--metrics", name)]
    assert json.loads(command("evaluate", *files, *apart, "--json").out) == found
    unknown = command("evaluate", *files, "--metrics", "bleu,blue")
    assert unknown.code == 2
    assert "--metrics: must be some of ppl, bpc, bleu, " in unknown.err
    assert ", not blue" in unknown.err
    assert "ppl needs a model" in command("evaluate", *files, "--metrics", "bleu,ppl").err


def test_bits_per_character_are_the_nats_of_perplexity(trained, command):
    """2 ** (bits * characters) = perplexity ** pieces: a character a piece in this vocabulary."""
    found = json.loads(command("evaluate", "runs/toy", "--metrics", "ppl,bpc", "--json").out)
    for name, scores in found["sets"].items():
        lines = Path(f"{name}.de").read_text(encoding="utf-8").splitlines()
        characters = sum(len(line) + 1 for line in lines)
        tokenizer = Tokenizer(Path("runs/toy/best/tokenizer.target.model").read_bytes())
        pieces = sum(len(ids) + 1 for ids in tokenizer.encode(lines))
        bits = scores["bpc"]["score"] * characters
        assert bits == pytest.approx(math.log2(scores["ppl"]["score"]) * pieces, rel=1e-6)


def test_any_of_the_references_of_a_test_set_will_do(own, command):
    first = ["evaluate", "runs/toy", "--metrics", "chrf", "--json"]
    alone = json.loads(command(*first).out)["sets"]["first"]["chrf"]
    kept = Path("runs/toy/evaluation/first.hypotheses.txt").read_text(encoding="utf-8")
    Path("other.de").write_text(kept, encoding="utf-8")
    both = json.loads(command(*first, "--set", "data.test.first.references=[other.de]").out)
    assert both["sets"]["first"]["chrf"]["score"] == pytest.approx(100)
    assert alone["score"] < 100
    assert both["sets"]["first"]["chrf"]["signature"].startswith("nrefs:2|")


def test_references_that_were_learned_from_are_counted(own, command, monkeypatch):
    """But for short ones, which come again without any harm."""
    monkeypatch.setattr("seq2seq.scoring.contamination.FEW", 3)
    lines = Path("train.de").read_text(encoding="utf-8").splitlines()
    long = [line for line in lines if len(line.split()) >= 3][:3]
    short = [line for line in lines if len(line.split()) < 3][:4]
    unknown = " ".join([*long[0].split(), "neun", "neun"])
    assert unknown not in lines
    references = [*long, *short, unknown]
    Path("known.de").write_text("".join(f"{line}\n" for line in references), encoding="utf-8")
    Path("known.digits").write_text("1 2\n" * len(references), encoding="utf-8")
    asked = (
        "evaluate",
        "runs/toy",
        "--source",
        "known.digits",
        "--reference",
        "known.de",
        "--json",
    )
    result = command(*asked)
    assert json.loads(result.out)["counts"]["known.digits"]["learned"] == 3
    assert "warning: known.digits: of 8 lines, " in result.err
    assert ", 3 by their target\n" in result.err
    shutil.rmtree("prepared")
    assert "learned" not in json.loads(command(*asked).out)["counts"]["known.digits"]


def test_hypotheses_that_are_not_as_they_should_be_are_warned_of(texts, command):
    for name in ("other", "reference"):
        text = Path(name).read_text(encoding="utf-8")
        Path(name).write_text(text.title() if name == "reference" else text, encoding="utf-8")
    result = command("evaluate", "--hypothesis", "other", "--reference", "reference", "--json")
    found = json.loads(result.out)
    (warning,) = found["warnings"]["other"]
    assert warning.startswith("hypotheses have no capital letters")
    assert result.err == f"warning: other: {warning}\n"
    assert found["counts"]["other"] == {"empty": 0, "repetitions": 0, "too_long": 0}
    table = command("evaluate", "--hypothesis", "other", "--reference", "reference").out.decode()
    assert "  of 4 lines: 0 empty, 0 repetitive, 0 more than twice" in table
