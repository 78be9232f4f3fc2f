"""Laws of slices: they part a test set, and score as those lines alone would."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seq2seq.scoring.metrics import METRICS, words
from seq2seq.scoring.slices import by_length, by_part, by_rarity, furthest, part_of

LINES = [" ".join(["word"] * (1 + number * number % 17)) for number in range(40)]


@pytest.mark.parametrize("lines", [LINES, LINES[:3], ["one line"], ["alike"] * 9, ["", "x", ""]])
def test_every_line_is_in_one_slice_of_each_kind(lines):
    seen = Counter({"word": 12, "one": 1, "alike": 500})
    for found in (by_length(lines), by_rarity(lines, seen), by_part(lines)):
        assert sorted(np.concatenate([*found.values()]).tolist()) == [*range(len(lines))]
        assert all(len(some) for some in found.values())


def test_slices_by_length_are_of_neighbouring_lengths_and_much_alike():
    lines = [f"{'a ' * length}" for length in range(1, 101)]
    found = by_length(lines[::-1])
    assert len(found) == 4
    assert all(24 <= len(some) <= 26 for some in found.values())
    for name, some in found.items():
        low, high = map(int, name.split(" to "))
        assert {len(words(lines[::-1][line])) for line in some} == {*range(low, high + 1)}


def test_rarity_is_that_of_the_rarest_word():
    seen = Counter({"the": 1000, "cat": 99, "purrs": 100, "once": 1, "ten": 10})
    lines = ["the cat purrs", "The purrs", "the Once cat", "unheard-of cat", "ten the", "..."]
    found = {name: some.tolist() for name, some in by_rarity(lines, seen).items()}
    assert found == {"never": [3, 5], "1 to 9": [2], "10 to 99": [0, 4], "100 or more": [1]}


@pytest.mark.parametrize("name", METRICS)
def test_a_slice_scores_as_its_lines_alone(name):
    references = [f"A man number {number} walks his dog." for number in range(12)]
    hypotheses = [
        line.replace("walks", "now has") if n % 3 else line for n, line in enumerate(references)
    ]
    whole = METRICS[name](hypotheses, [references], "en")
    some = np.array([1, 4, 6, 9])
    alone = METRICS[name]([hypotheses[n] for n in some], [[references[n] for n in some]], "en")
    assert part_of(whole, some).score == pytest.approx(alone.score)
    assert alone.score != pytest.approx(whole.score)


def test_the_lines_that_differ_most_are_those_by_the_score_of_each():
    references = [f"This is sentence number {number}." for number in range(30)]
    first = [line[: 8 + n % 7] for n, line in enumerate(references)]
    other = [line[: 8 + n % 5] for n, line in enumerate(references)]
    score = METRICS["chrf"]

    def alone(lines: list[str], number: int) -> float:
        return score([lines[number]], [[references[number]]], "en").score

    changes = [alone(other, n) - alone(first, n) for n in range(30)]
    found = furthest(score(other, [references], "en"), score(first, [references], "en"), 3)
    assert [change for _, change in found] == pytest.approx(
        [*sorted(changes, reverse=True)[:3], *sorted(changes, reverse=True)[-3:]]
    )
    assert [changes[line] for line, _ in found] == pytest.approx([change for _, change in found])
    same = score(first, [references], "en")
    assert furthest(same, same, 3) == []


# Through the command line


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of hypotheses in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    Path("right").write_text("a man walks his dog\nit rains\ntwo girls sing a song\n")
    Path("wrong").write_text("a man walks his dog\nit snows\ntwo girls sing\n")


def test_details_are_the_numbers_of_json(texts, command):
    files = ("--hypothesis", "right", "--reference", "right", "--compare", "wrong")
    asked = ("evaluate", *files, "--metrics", "bleu,chrf")
    found = json.loads(command(*asked, "--json").out)
    table = command(*asked, "--details").out.decode()
    assert command(*asked).out.decode() == "".join(
        line + "\n" for line in table.splitlines() if shown_without_details(line)
    )
    for by, slices in found["slices"]["right"].items():
        assert f"  {by}  " in table
        for name, one in slices.items():
            row = next(line for line in table.splitlines() if line.startswith(f"  {name} "))
            shown = row.removeprefix(f"  {name}").split()
            assert shown == [str(one["lines"]), f"{one['bleu']:.2f}", f"{one['chrf']:.2f}"]
    lines = found["differing"]["wrong"]["right"]
    assert [one["line"] for one in lines] == [3, 2]
    assert lines[1]["first"] == lines[1]["reference"] == "it rains"
    assert lines[1]["other"] == "it snows"
    for one in lines:
        assert f"    line {one['line']}, chrF {one['chrf']:+.1f}\n" in table
        assert f"      other      {one['other']}\n" in table


def shown_without_details(line: str) -> bool:
    """Whether a line of the table above is there in any case."""
    return not line.startswith(("  reference words", "      ", "    line", "  2 ", "  5 ", "  3"))


def test_a_model_is_also_scored_by_rarity_and_by_part(own, command):
    """Of a test set of several files each is a slice; words are those of the training targets."""
    parts = "[{source: first.digits, target: first.de}, {source: second.digits, target: second.de}]"
    result = command("evaluate", "--json", "--set", f"data.test.both.parts={parts}")
    slices = json.loads(result.out)["slices"]["both"]
    assert [*slices] == ["source words", "rarest word, times seen", "part"]
    counts = {by: sum(one["lines"] for one in some.values()) for by, some in slices.items()}
    assert len({*counts.values()}) == 1
    assert [*slices["part"]] == ["first.digits and first.de", "second.digits and second.de"]
