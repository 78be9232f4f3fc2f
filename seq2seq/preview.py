"""`seq2seq prepare --dry-run N`: what would become of the first pairs of each training corpus.

It goes to standard output. Nothing is prepared; only text that is missing is fetched.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from seq2seq.config import Config, Corpus, Data
from seq2seq.config.data import Filter
from seq2seq.console import say
from seq2seq.data.cleaning import KEPT, Cleaner, settle
from seq2seq.data.corpus import Text, find, locate, read_pairs, read_rows
from seq2seq.data.filters import description
from seq2seq.data.normalization import normalizer
from seq2seq.data.prepared import all_at_once
from seq2seq.data.rows import Pair, Unreadable
from seq2seq.data.store import SIDES
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.prepare import folder_of

ENOUGH = 20_000  # pairs of each corpus, to find pieces of where none have been found yet


def preview(config: Config, count: int) -> None:
    """Prints what would become of so many pairs of each training corpus."""
    data = config.data
    home = folder_of(config)
    texts = all_at_once(lambda corpus: find(corpus, data, home), data.train)
    all_at_once(locate, [file for some in texts for text in some for file in text.files])
    tokenizers = _tokenizers(config, texts)
    for corpus, some in zip(data.train, texts, strict=True):
        print(" and ".join(text.name for text in some))
        for line in _lines(config, corpus, some, tokenizers, count):
            print(line)


def _lines(
    config: Config, corpus: Corpus, texts: list[Text], tokenizers: Tokenizers, count: int
) -> Iterator[str]:
    """What is shown of the first pairs of a corpus."""
    data = config.data
    languages = (data.source, data.target)
    rules = data.filters if corpus.filters is None else corpus.filters
    normalize = [normalizer(data.normalize, language) for language in languages]
    rows = list(islice((row for text in texts for row in read_rows(text)), count))
    for number, (row, fate) in enumerate(
        zip(rows, _fates(rows, rules, data), strict=True), start=1
    ):
        if isinstance(row, Unreadable):
            yield f"{number:>6} dropped: {row.message}"
            continue
        pair = Pair(*(step(side) for step, side in zip(normalize, row, strict=True)))
        ids = [side[0] for side in tokenizers.encode([[side] for side in pair], corpus.tag)]
        length = max(map(len, ids))
        if fate != KEPT:
            yield f"{number:>6} dropped by {description(rules[fate])}"
        elif length > data.max_length:
            yield f"{number:>6} dropped by max_length ({length:,} pieces)"
        else:
            yield f"{number:>6} kept"
        for name, raw, text, side, tokenizer in zip(SIDES, row, pair, ids, tokenizers, strict=True):
            yield f"       {name}  {raw}"
            if text != raw:
                yield f"       became  {text}"
            yield f"       pieces  {' '.join(tokenizer.pieces(side))}"


def _fates(rows: list[Pair | Unreadable], rules: Sequence[Filter], data: Data) -> list[int]:
    """What the rules make of some rows, among which duplicates are looked for."""
    cleaned = Cleaner(rules, (data.source, data.target), data.normalize).clean(rows)
    for number, prints in cleaned.fingerprints.items():
        settle(cleaned.fates, number, prints)
    return cleaned.fates.tolist()


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
