"""Laws of what commonly goes wrong: each is seen where it is, and nowhere else."""

import random

import numpy as np
import pytest

from seq2seq.data.overlap import known
from seq2seq.data.store import Side, Store
from seq2seq.scoring.oddities import counted, distinct, repeats, suspicions

REFERENCES = [f"This is line {number}, of course." for number in range(100)]


def test_each_oddity_is_counted_by_itself():
    hypotheses, sources = [*REFERENCES], [f"Zeile {number}" for number in range(100)]
    hypotheses[3] = " "
    hypotheses[5] = sources[5]
    hypotheses[7] = "na na na na"
    hypotheses[8] = "and so on " * 4
    hypotheses[9] = "This is line nine, of course, and it goes on for much longer than it should."
    found = counted(hypotheses, [REFERENCES], sources)
    assert found == {"empty": 1, "repetitions": 2, "too_long": 1, "copies": 1}
    assert counted(REFERENCES, [REFERENCES], sources) == dict.fromkeys(found, 0)
    assert "copies" not in counted(hypotheses, [REFERENCES])


def test_what_a_reference_does_too_is_not_odd():
    sung = ["la la la la la", "Berlin"]
    found = counted(sung, [["no", "no"], sung], ["x", "Berlin"])
    assert found == {"empty": 0, "repetitions": 0, "too_long": 0, "copies": 0}


def test_words_and_pairs_are_distinct_over_all_lines():
    assert distinct(["a b a", "B c"]) == {"words": 3 / 5, "pairs": 3 / 3}
    assert distinct(["yes it is", "yes it is"]) == {"words": 1 / 2, "pairs": 1 / 2}
    assert distinct(["", "..."]) == {"words": 0, "pairs": 0}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_repetition_is_four_times_in_a_row(size):
    words = ["a", "b", "c", "d"][:size]
    assert repeats([*"xy", *words * 4, "z"])
    assert not repeats([*"xy", *words * 3, "z"])
    assert not repeats([*words, "x"] * 4) or size < 4  # five words are too many to be told


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda line: line.replace(" ", " ▁"), "in pieces"),
        (lambda line: line.replace("course", "cou@@ rse"), "in pieces"),
        (lambda line: line.replace(",", " ,").replace(".", " ."), "tokenized"),
        (str.lower, "no capital letters"),
        (lambda line: "", "100 of 100 hypotheses are empty"),
    ],
)
def test_what_was_done_to_all_hypotheses_is_said(spoil, said):
    (first, *others) = suspicions(list(map(spoil, REFERENCES)), [REFERENCES])
    assert said in " ".join([first, *others])
    assert suspicions(REFERENCES, [REFERENCES]) == []
    assert suspicions(list(map(spoil, REFERENCES)), [list(map(spoil, REFERENCES))]) == [] or (
        said.startswith("100")
    )


def test_a_few_odd_lines_are_no_suspicion():
    few = ["a ▁b", "c , d .", "e"]
    assert suspicions([*few, *REFERENCES], [[*few, *REFERENCES]]) == []
    assert suspicions([*few[:2], *REFERENCES[2:]], [REFERENCES]) == []


def test_known_segments_are_those_that_are_there(monkeypatch):
    """As a set of tuples would tell, whatever is looked at together."""
    monkeypatch.setattr("seq2seq.data.overlap.STRETCH", 7)
    numbers = random.Random(1)

    def segments(count: int) -> list[list[int]]:
        return [[numbers.randrange(3) for _ in range(numbers.randint(0, 5))] for _ in range(count)]

    learned, asked = segments(60), segments(400)
    there = {tuple(one) for one in learned}
    expected = [tuple(one) in there for one in asked]
    assert 50 < sum(expected) < 350
    side = Side.of(learned, np.uint16)
    assert (
        known(Store(Side.of(asked), Side.of(asked)), Store(side, side)).targets.tolist() == expected
    )
    assert known(Store.of([], []), Store(side, side)).pairs.tolist() == []
    assert not any(found.any() for found in known(Store.of(asked, asked), Store.of([], [])))


def test_a_pair_is_known_if_both_sides_are_those_of_one_pair(monkeypatch):
    monkeypatch.setattr("seq2seq.data.overlap.STRETCH", 7)
    numbers, tag = random.Random(2), 9

    def pairs(count: int) -> list[tuple[list[int], list[int]]]:
        segments = (
            [numbers.randrange(3) for _ in range(numbers.randint(0, 2))] for _ in range(2 * count)
        )
        return [*zip(segments, segments, strict=True)]

    learned, asked = pairs(40), pairs(200)
    there = [(tuple(source), tuple(target)) for source, target in learned]
    wanted = [(tuple(source), tuple(target)) for source, target in asked]
    tagged = [
        [tag, *source] if number % 2 else source for number, (source, _) in enumerate(learned)
    ]
    store = Store.of(tagged, [target for _, target in learned])
    found = known(Store.of(*map(list, zip(*asked, strict=True))), store, [tag])
    assert found.pairs.tolist() == [one in there for one in wanted]
    sources, targets = ({*side} for side in zip(*there, strict=True))
    assert found.sources.tolist() == [source in sources for source, _ in wanted]
    assert found.targets.tolist() == [target in targets for _, target in wanted]
    assert 0 < sum(found.pairs) < sum(found.sources) < len(asked)
