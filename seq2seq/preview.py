"""`seq2seq prepare --dry-run N`: what would become of the first pairs of each training corpus.

It goes to standard output. Nothing is prepared; only text that is missing is fetched.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from seq2seq.config import Config, Corpus
from seq2seq.console import say
from seq2seq.data.cleaning import KEPT, Cleaner
from seq2seq.data.corpus import Text, find, locate, read_pairs, read_rows
from seq2seq.data.filters import description
from seq2seq.data.rows import Pair, Unreadable
from seq2seq.data.normalization import normalizer
from seq2seq.data.prepared import all_at_once
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.prepare import folder_of

ENOUGH = 20_000  # pairs of each corpus, to find pieces of where none have been found yet


class Looked(NamedTuple):
    """A row as it came, and what would become of it."""

    row: Pair | Unreadable
    pair: Pair | None  # normalized
    dropped_by: str | None


def preview(config: Config, count: int) -> None:
    """Prints what would become of so many pairs of each training corpus."""
    data = config.data
    home = folder_of(config)
    texts = all_at_once(lambda corpus: find(corpus, data, home), data.train)
    all_at_once(locate, [file for some in texts for text in some for file in text.files])
    tokenizers = _tokenizers(config, texts)
    for corpus, some in zip(data.train, texts, strict=True):
        print(" and ".join(text.name for text in some))
        for number, looked in enumerate(islice(_look(config, corpus, some), count), start=1):
            print("\n".join(_lines(number, looked, tokenizers, corpus.tag, data.max_length)))


def _look(config: Config, corpus: Corpus, texts: list[Text]) -> Iterator[Looked]:
    data = config.data
    rules = data.filters if corpus.filters is None else corpus.filters
    languages = (data.source, data.target)
    cleaner = Cleaner(rules, languages, [normalizer(data.normalize, one) for one in languages])
    seen: set[tuple[int, int]] = set()
    for row in (row for text in texts for row in read_rows(text)):
        if isinstance(row, Unreadable):
            yield Looked(row, None, "unreadable")
            continue
        pair = cleaner.normalized(row)
        fate = cleaner.fate(pair)
        for number, fingerprint in cleaner.duplicates.items():
            one = (number, fingerprint(*pair))
            if number < fate and one in seen:
                fate = number
            elif number < fate:
                seen.add(one)
        yield Looked(row, pair, None if fate == KEPT else description(rules[fate]))


def _lines(
    number: int, looked: Looked, tokenizers: Tokenizers, tag: str | None, longest: int
) -> Iterator[str]:
    """What is shown of a pair."""
    if looked.pair is None:
        assert isinstance(looked.row, Unreadable)
        yield f"{number:>6} dropped, {looked.row.message}"
        return
    ids = [side[0] for side in tokenizers.encode([[looked.pair.source], [looked.pair.target]], tag)]
    length = max(map(len, ids))
    dropped_by = looked.dropped_by or (
        f"max_length ({length} pieces)" if length > longest else None
    )
    yield f"{number:>6} " + (f"dropped by {dropped_by}" if dropped_by else "kept")
    names = ("source", "target")
    for name, raw, text, side, tokenizer in zip(
        names, looked.row, looked.pair, ids, tokenizers, strict=True
    ):
        yield f"       {name}  {raw}"
        if text != raw:
            yield f"       became  {text}"
        if not dropped_by:
            yield f"       pieces  {' '.join(tokenizer.pieces(side))}"


def _tokenizers(config: Config, texts: list[list[Text]]) -> Tokenizers:
    """The tokenizers that have been prepared, or some found in a part of the text."""
    folder, options = folder_of(config), config.tokenizer
    try:
        tokenizers = Tokenizers.read(folder, shared=options.shared)
        say(f"pieces are those of the tokenizer in {folder}")
    except FileNotFoundError:
        say(
            f"pieces are found in the first {ENOUGH:,} pairs of each corpus, for this preview alone"
        )
        pairs = [pair for some in texts for pair in islice(read_pairs(some), ENOUGH)]
        tags = sorted({corpus.tag for corpus in config.data.train if corpus.tag})
        sides = [slice(2)] if options.shared else [slice(1), slice(1, 2)]
        found = [
            train_tokenizer(lines, options, config.seed, tags=tags, at_most=True)
            for lines in ([line for pair in pairs for line in pair[side]] for side in sides)
        ]
        tokenizers = Tokenizers(found[0], found[-1])
    return tokenizers
