"""Laws of cleaning: in shards, by whoever, it comes to one rule after the other for each pair."""

import os
from collections import Counter
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from seq2seq.config.rules import Duplicates, Filter
from seq2seq.data import shards
from seq2seq.data.cleaning import KEPT, UNREADABLE, Dropped, printable, shown
from seq2seq.data.filters import FILTERS, description
from seq2seq.data.normalization import normalizer
from seq2seq.data.shards import Clean, Part, Shard, Work, settle_all
from seq2seq.text.rows import Pair, Unreadable

LANGUAGES = ("en", "de")
PLACE = {"source": 0, "target": 1}

RULES = [
    *("empty", "identical", "letters", "numbers", "brackets", "markup", "control"),
    {"rule": "length", "max": 1},
    {"rule": "length", "min": 2, "max": 3, "unit": "characters"},
    {"rule": "ratio", "max": 1.5},
    *({"rule": "duplicates", "of": of} for of in ("pair", "source", "target")),
]
SEGMENTS = ["", " ", "a", "A", "b", "a b", "ab", "1 a", "(a", "<b>", "a a a a", "\x07", "e\u0301"]
SEGMENTS += ["é", "\ud800", "\u2028x"]

segments = st.sampled_from(SEGMENTS)
rows = st.builds(Pair, segments, segments) | st.builds(
    Unreadable, st.sampled_from(["text:1 is bad", "text:2 is bad"])
)
rule_lists = st.lists(st.sampled_from(RULES).map(TypeAdapter(Filter).validate_python), max_size=5)
corpora = st.lists(
    st.tuples(
        st.lists(st.lists(rows, min_size=1, max_size=12), min_size=1, max_size=2), st.integers(0, 1)
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(autouse=True, scope="module")
def text_in_memory():
    """A text is the list of its rows; nothing waits for a disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "read_rows", iter)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Outcome(NamedTuple):
    """What became of a corpus: of each row, and of all that each rule dropped."""

    fates: list[int]
    pairs: list[Pair]
    dropped: list[Dropped]


def plainly(parts: list[Part], normalize: list[str]) -> list[Outcome]:
    """One rule after the other, for one pair after the other; what was seen is in sets."""
    steps = [normalizer(normalize, language) for language in LANGUAGES]
    seen: dict[tuple[str, int], set[object]] = {}
    outcomes = []
    for part in parts:
        fates, pairs, examples = [], [], {}
        for row in chain.from_iterable(part.texts):
            if isinstance(row, Unreadable):
                fate, example = UNREADABLE, row.message
            else:
                pair = Pair(*(step(side) for step, side in zip(steps, row, strict=True)))
                fate, example = fate_of(pair, part.rules, seen), shown(pair)
            fates.append(fate)
            examples.setdefault(fate, []).append(example)
            if fate == KEPT:
                pairs.append(pair)
        names = dict(enumerate(map(description, part.rules)))
        if UNREADABLE in fates:
            names = {UNREADABLE: "on_error: skip", **names}
        dropped = [
            Dropped(name, fates.count(fate), examples.get(fate, [])[:3])
            for fate, name in names.items()
        ]
        outcomes.append(Outcome(fates, pairs, dropped))
    return outcomes


def fate_of(pair: Pair, rules: list[Filter], seen: dict[tuple[str, int], set[object]]) -> int:
    """The number of the rule that drops a pair, or KEPT."""
    for number, rule in enumerate(rules):
        if isinstance(rule, Duplicates):
            known = seen.setdefault((repr(rules), number), set())
            key = pair if rule.of == "pair" else pair[PLACE[rule.of]]
            if key in known:
                return number
            known.add(key)
        elif not FILTERS[rule.rule](rule, LANGUAGES)(*pair):
            return number
    return KEPT


def cleaned(
    folder: Path, parts: list[Part], normalize: list[str], size: int, shares: int = 1
) -> tuple[Work, list[Shard]]:
    """The work of cleaning, done in shares, the last one first."""
    work = Work(folder)
    task = Clean(work, parts, normalize, LANGUAGES, size)
    told = Counter()
    plans = [
        task(share, shares, lambda count: told.update(rows=count))
        for share in reversed(range(shares))
    ]
    assert all(plan == plans[0] for plan in plans)
    assert told["rows"] == sum(shard.rows for shard in plans[0])
    settle_all(work, plans[0], parts)
    assert work.plan() == plans[0]
    return work, plans[0]


def outcomes_of(work: Work, plan: list[Shard], corpora: int) -> list[Outcome]:
    """What the files say of each corpus."""
    found = [Outcome([], [], dropped) for dropped in work.dropped()]
    assert len(found) == corpora
    for number, (shard, fates) in enumerate(zip(plan, work.fates(plan), strict=True)):
        assert len(fates) == shard.rows
        found[shard.corpus].fates.extend(fates.tolist())
        found[shard.corpus].pairs.extend(
            Pair(*pair) for pair in zip(*work.lines(number, fates), strict=True)
        )
    return found


@settings(max_examples=60, deadline=None)
@given(
    corpora,
    st.tuples(rule_lists, rule_lists),
    st.lists(st.sampled_from(["nfc", "nfkc", "whitespace"]), max_size=2, unique=True),
    st.integers(1, 15),
    st.integers(1, 3),
)
def test_cleaning_in_shards_is_one_rule_after_the_other(texts, rules, normalize, size, shares):
    parts = [Part(some, rules[choice]) for some, choice in texts]
    with TemporaryDirectory() as folder:
        work, plan = cleaned(Path(folder), parts, normalize, size, shares)
        found = outcomes_of(work, plan, len(parts))
    assert found == plainly(parts, normalize)
    for outcome in found:
        lost = sum(one.pairs for one in outcome.dropped)
        assert len(outcome.pairs) + lost == len(outcome.fates)
        assert all(len(one.examples) == min(one.pairs, 3) for one in outcome.dropped)


def _rules(*rules: object) -> list[Filter]:
    return list(map(TypeAdapter(Filter).validate_python, rules))


def test_corpora_share_their_duplicates_if_they_have_the_same_rules():
    text = [Pair("a", "b"), Pair("c", "d")]
    alike, other = _rules("duplicates"), _rules("empty", "duplicates")
    parts = [Part([text], rules) for rules in (alike, other, alike, [], other)]
    with TemporaryDirectory() as folder:
        work, plan = cleaned(Path(folder), parts, [], 50)
        found = outcomes_of(work, plan, 5)
    assert [outcome.pairs for outcome in found] == [text, text, [], text, []]


def test_a_shard_is_not_cleaned_twice_and_a_lost_one_comes_back_the_same(tmp_path):
    text = [Pair(f"{number % 7} a", "b c" * (number % 3)) for number in range(40)]
    parts = [Part([text], _rules("empty", "duplicates", {"rule": "length", "max": 1}))]
    _, plan = cleaned(tmp_path, parts, [], 6)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    marks = {path: path.stat().st_mtime_ns for path in tmp_path.glob("clean-*")}
    lost = tmp_path / "clean-00003.safetensors"
    for name in (lost.name, "plan.json", "fates.npy"):
        (tmp_path / name).unlink()
    assert cleaned(tmp_path, parts, [], 6)[1] == plan
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    again = {path for path in marks if path.stat().st_mtime_ns != marks[path]}
    assert again == {lost}


def test_fates_of_more_rows_than_a_byte_can_count_are_right(tmp_path):
    text = [Pair(str(number % 300), "x") for number in range(1000)]
    work, plan = cleaned(tmp_path, [Part([text], _rules("duplicates"))], [], 64, 2)
    fates = np.concatenate(work.fates(plan))
    assert np.flatnonzero(fates == KEPT).tolist() == list(range(300))
    assert work.dropped()[0][0].pairs == 700


@given(st.text(st.characters(), max_size=20))
def test_an_example_cannot_command_a_terminal_nor_break_its_line(text):
    line = printable(text)
    assert line.isprintable()
    line.encode()
    if text.isprintable():
        assert line == text


def test_examples_are_short():
    assert len(shown(Pair("a" * 10**6, "b" * 10**6))) < 500
