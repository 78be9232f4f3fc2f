"""The laws of `seq2seq score`, through the command line."""

import json
import math
from pathlib import Path

import pytest

USED = "using the best model of the newest run, runs/toy\n"
SOURCES = Path("first.digits")
TARGETS = Path("first.de")


def table(out: bytes) -> list[tuple[float, float]]:
    rows = [line.split("\t") for line in out.decode().splitlines()]
    return [(float(log_probability), float(perplexity)) for log_probability, perplexity in rows]


def objects(out: bytes) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def tsv(sources: list[str], targets: list[str]) -> bytes:
    return "".join(f"{one}\t{two}\n" for one, two in zip(sources, targets, strict=True)).encode()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_pairs_have_a_line_each_however_they_are_given(trained, command):
    by_files = command("score", "--source", SOURCES, "--target", TARGETS)
    assert (by_files.code, by_files.err) == (0, USED)
    by_stream = command("score", stdin=tsv(lines(SOURCES), lines(TARGETS)))
    assert by_stream == by_files
    as_json = objects(command("score", "--json", "--source", SOURCES, "--target", TARGETS).out)
    assert [one["source"] for one in as_json] == lines(SOURCES)
    assert [one["target"] for one in as_json] == lines(TARGETS)
    for (log_probability, perplexity), one in zip(table(by_files.out), as_json, strict=True):
        assert log_probability == pytest.approx(one["log_probability"], abs=1e-6)
        assert perplexity == pytest.approx(one["perplexity"], rel=1e-5)
        assert len(one["tokens"]) == len(one["log_probabilities"])
        assert one["tokens"][-1] == "</s>"
        assert math.fsum(one["log_probabilities"]) == pytest.approx(log_probability, abs=1e-5)


def test_scores_of_a_test_set_add_up_to_its_perplexity(trained, command, tmp_path):
    found = objects(command("score", "--json", "--source", SOURCES, "--target", TARGETS).out)
    nats = -math.fsum(one["log_probability"] for one in found)
    tokens = sum(len(one["tokens"]) for one in found)
    evaluated = json.loads(command("evaluate", "--json", "--output", tmp_path).out)
    expected = evaluated["sets"]["first"]["ppl"]["score"]
    assert math.exp(nats / tokens) == pytest.approx(expected, rel=1e-5)


def test_a_true_translation_is_likelier_than_that_of_another_line(trained, command):
    sources, targets = lines(SOURCES), lines(TARGETS)
    true = table(command("score", stdin=tsv(sources, targets)).out)
    false = table(command("score", stdin=tsv(sources, targets[1:] + targets[:1])).out)
    assert sum(one for one, _ in true) > sum(one for one, _ in false)


def test_a_side_that_is_too_long_is_cut_with_a_warning(trained, command):
    found = command("score", stdin=tsv(["1", "1"], ["eins", "eins " * 30]))
    assert found.err == USED + (
        "warning: pair 2 has 2 and 150 pieces; only the first 48 of a side count "
        "(data.max_length)\n"
    )
    assert len(table(found.out)) == 2


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (
            ["--source", "first.digits"],
            b"",
            2,
            "error: --source and --target go together; without them, pairs are read as TSV\n",
        ),
        (
            [],
            b"1\teins\n2\n",
            1,
            USED + "error: line 2 of the input has 1 columns; give source, tab, target, or two "
            "files by --source and --target\n",
        ),
        (
            ["--source", "absent", "--target", "first.de"],
            b"",
            1,
            "error: absent is missing; name another file\n",
        ),
    ],
)
def test_what_cannot_be_scored_is_said(trained, command, arguments, stdin, code, said):
    found = command("score", *arguments, stdin=stdin)
    assert (found.code, found.err) == (code, said)
