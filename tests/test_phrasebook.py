"""Laws of data/phrasebook, the text of the quick start."""

from collections import Counter
from pathlib import Path

import pytest

PHRASEBOOK = Path(__file__).parents[1] / "data" / "phrasebook"
SIZES = {"train": 10_000, "valid": 500, "test": 1_000}


def lines(split: str, language: str) -> list[str]:
    return (PHRASEBOOK / f"{split}.{language}").read_text(encoding="utf-8").splitlines()


def vocabulary(sentences: list[str]) -> Counter[str]:
    return Counter(word.strip(".,?") for sentence in sentences for word in sentence.split())


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_sizes(split, size):
    assert len(lines(split, "en")) == len(lines(split, "de")) == size


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_sentence_occurs_twice_in_a_split_or_across_splits(language):
    sentences = [sentence for split in SIZES for sentence in lines(split, language)]
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_held_out_word_is_seen_in_training(language):
    seen = vocabulary(lines("train", language))
    held_out = vocabulary(lines("valid", language) + lines("test", language))
    assert {word for word in held_out if seen[word] < 5} == set()
