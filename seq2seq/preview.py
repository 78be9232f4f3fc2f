"""`seq2seq prepare --dry-run N`: what would become of the first pairs of each training corpus.

It goes to standard output. Nothing is prepared; only text that is missing is fetched.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from seq2seq.config import Config, Corpus, Data
from seq2seq.config.rules import Filter
from seq2seq.console import for_terminal, print_line, printable, say
from seq2seq.data.cleaning import KEPT, Cleaner, rules_of, settle
from seq2seq.data.encoding import Sides, encode
from seq2seq.data.extension import extend
from seq2seq.data.filters import description
from seq2seq.data.normalization import normalizer
from seq2seq.data.prepared import all_at_once
from seq2seq.data.store import SIDES
from seq2seq.data.tokenizer import Tokenizers, train_tokenizers
from seq2seq.errors import UserError
from seq2seq.origins import completed, origin_of
from seq2seq.prepare import folder_of
from seq2seq.text.corpus import Text, names_of, read_pairs, read_rows
from seq2seq.text.rows import Pair, Unreadable
from seq2seq.text.sources import Places, check, find, permit_config

ENOUGH = 20_000  # pairs of each corpus, to find pieces of where none have been found yet


def preview(config: Config, count: int) -> None:
    """Prints what would become of so many pairs of each training corpus."""
    config = completed(config)
    data = config.data
    home = folder_of(config)
    with TemporaryDirectory() as scratch:
        allowed, places = permit_config(data), Places(home, Path(scratch))
        texts = all_at_once(lambda corpus: find(corpus, data, allowed, places), data.train)
        files = [file for some in texts for text in some for file in text.files]
        all_at_once(lambda file: check(file, allowed), files)
        tokenizers = _tokenizers(config, texts)
        for corpus, some in zip(data.train, texts, strict=True):
            print_line(names_of(some))
            for line in _lines(config, corpus, some, tokenizers, count):
                print_line(line)
    say("validation and test sets have not been looked at")


def _lines(
    config: Config, corpus: Corpus, texts: list[Text], tokenizers: Tokenizers, count: int
) -> Iterator[str]:
    """What is shown of the first pairs of a corpus."""
    data = config.data
    languages = (data.source, data.target)
    rules = rules_of(corpus, data)
    normalize = [normalizer(data.normalize, language) for language in languages]
    rows = list(islice((row for text in texts for row in read_rows(text)), count))
    for number, (row, fate) in enumerate(
        zip(rows, _fates(rows, rules, data), strict=True), start=1
    ):
        if isinstance(row, Unreadable):
            yield f"{number:>6} dropped: {for_terminal(row.message)}"
            continue
        pair = Pair(*(step(side) for step, side in zip(normalize, row, strict=True)))
        sides = Sides([pair.source], [pair.target])
        _, outcome = encode(sides, tokenizers, corpus.tag, data.max_length, training=True)
        lost = [description(rules[fate])] if fate != KEPT else []
        lost += [one.rule for one in outcome.dropped if one.pairs]
        yield f"{number:>6} " + (f"dropped by {lost[0]}" if lost else "kept")
        all_ids = tokenizers.encode(sides, corpus.tag)
        for name, raw, text, ids, tokenizer in zip(
            SIDES, row, pair, all_ids, tokenizers, strict=True
        ):
            yield f"       {name}  {printable(raw)}"
            if text != raw:
                yield f"       became  {printable(text)}"
            yield f"       pieces  {printable(' '.join(tokenizer.pieces(ids[0])))}"


def _fates(rows: list[Pair | Unreadable], rules: Sequence[Filter], data: Data) -> list[int]:
    """What the rules make of some rows, among which duplicates are looked for."""
    cleaned = Cleaner(rules, (data.source, data.target), data.normalize).clean(rows)
    for number, prints in cleaned.fingerprints.items():
        settle(cleaned.fates, number, prints)
    return cleaned.fates.tolist()


def _tokenizers(config: Config, texts: list[list[Text]]) -> Tokenizers:
    """Those of the model to start from, those that were prepared, or some found in the text."""
    folder, options = folder_of(config), config.tokenizer
    origin = origin_of(config)
    if origin and not config.training.extend_vocab:
        say(f"pieces are those of {origin.folder}")
        return origin.tokenizers
    tags = sorted({corpus.tag for corpus in config.data.train if corpus.tag})
    try:
        tokenizers = Tokenizers.read(folder)
        for tag in tags:
            tokenizers.source.tag(tag)
        say(f"pieces are those of the tokenizer in {folder}")
    except (FileNotFoundError, UserError):  # there is none, or it does not know a tag
        say(
            f"pieces are found in the first {ENOUGH:,} pairs of each corpus, for this preview alone"
        )
        pairs = [pair for some in texts for pair in islice(read_pairs(some), ENOUGH)]

        def lines(sides: slice) -> list[str]:
            return [line for pair in pairs for line in pair[sides]]

        if origin:
            return extend(origin.tokenizers, lines, options, tags)
        tokenizers = train_tokenizers(lines, options, config.seed, tags=tags, at_most=True)
    return tokenizers
