"""Write the English-German phrasebook: train, valid and test, each a file a language.

    python data/phrasebook/generate.py            # rewrites the files beside this one
    python data/phrasebook/generate.py --check    # fails if they are not what it would write

Every sentence comes from a pattern. The patterns know some hundred thousand sentences; each gives
as many to the data as any other, unless it has fewer. Which ones, and whether they are for
training or held out, is decided by a hash of the English sentence, so that the files are the same
on every machine.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from patterns import (
    Pairs,
    family,
    hotel,
    main_clauses,
    shopping,
    subordinate_clauses,
    things,
    town,
    travel,
    weather_and_health,
)

SUFFIXES = {"english": "en", "german": "de"}
FOLDER = Path(__file__).parent
OFTEN = 8  # times that a word occurs in all the data before it may be held out
SIZES = {"test": 1_000, "valid": 500, "train": 10_000}
THEMES = [
    family,
    things,
    travel,
    town,
    hotel,
    shopping,
    weather_and_health,
    main_clauses,
    subordinate_clauses,
]
PATTERNS = [pattern for theme in THEMES for pattern in theme.PATTERNS]


class Pair(NamedTuple):
    english: str
    german: str


def sentence(text: str) -> str:
    """With capitals where sentences begin, and a full stop at the end if it has no other mark."""
    text = re.sub(r"(^|\? )(\w)", lambda start: start[1] + start[2].upper(), text)
    return text if text.endswith(("?", ".")) else f"{text}."


@cache
def sentences(pattern: Callable[[], Pairs]) -> list[Pair]:
    """All that a pattern can say."""
    return [Pair(sentence(english), sentence(german)) for english, german in pattern()]


def draw(pools: list[list[Pair]], total: int) -> list[Pair]:
    """Take one from each pool in turn, until there are enough."""
    shuffled = [sorted(pool, key=chance) for pool in pools]
    turns = chain.from_iterable(zip_longest(*shuffled))
    return list(islice(filter(None, turns), total))


def chance(pair: Pair, purpose: str = "draw") -> bytes:
    return hashlib.sha256(f"{purpose}: {pair.english}".encode()).digest()


def split(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """Hold out only sentences whose words occur often enough to be learned from the others."""
    counts = Counter(word for pair in pairs for word in words_of(pair))
    shuffled = sorted(pairs, key=lambda pair: chance(pair, "split"))
    shuffled.sort(key=lambda pair: any(counts[word] < OFTEN for word in words_of(pair)))
    rest = iter(shuffled)
    return {name: list(islice(rest, size)) for name, size in SIZES.items()}


def words_of(pair: Pair) -> list[str]:
    """The words, each marked by its language."""
    return [
        f"{language}:{word.strip('.,?')}"
        for language, text in pair._asdict().items()
        for word in text.split()
    ]


def files() -> dict[str, str]:
    """The text of every file, by its name."""
    pools = [sentences(pattern) for pattern in PATTERNS]
    parts = split(draw(pools, sum(SIZES.values())))
    return {
        f"{name}.{SUFFIXES[language]}": "".join(f"{getattr(pair, language)}\n" for pair in pairs)
        for name, pairs in parts.items()
        for language in Pair._fields
    }


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    if not arguments:
        for name, text in files().items():
            (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
        return 0
    stale = [name for name, text in files().items() if not is_current(FOLDER / name, text)]
    if stale:
        print(f"out of date: {', '.join(stale)}; run python data/phrasebook/generate.py")
    return 1 if stale else 0


def is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
