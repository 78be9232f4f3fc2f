"""Test sets: those that a config names, and files that a person names."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.config import Corpus, Data, File
from seq2seq.errors import UserError
from seq2seq.files import fingerprint
from seq2seq.runs import Opened
from seq2seq.text.corpus import read_pairs
from seq2seq.text.rows import Pair
from seq2seq.text.sources import check, find


class Test(NamedTuple):
    """A test set."""

    name: str
    sources: list[str]
    references: list[list[str]]  # one or more sets of them
    tag: str | None
    parts: list[str]  # of each pair, the file or files that it was read from

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that scores depend on."""
        return fingerprint([self.sources, self.references, self.tag])


def given(source: Path, references: Sequence[Path], tag: str | None, data: Data) -> Test:
    """The test set of files that a person named."""
    sides = [
        Corpus(source=File(path=str(source)), target=File(path=str(path))) for path in references
    ]
    return _read(source.name, sides, tag, data)


def read_sets(opened: Opened) -> list[Test]:
    """The test sets of a model's config; a UserError if it has none."""
    corpora = opened.config.data.test
    if not corpora:
        raise UserError(
            f"the config of {opened.folder} names no test set; give --source and --reference"
        )
    return [read_set(name, corpus, opened.config.data) for name, corpus in corpora.items()]


def read_set(name: str, corpus: Corpus, data: Data) -> Test:
    """The test set of a corpus, with all its references."""
    others = (Corpus(source=corpus.source, target=file) for file in corpus.references)
    return _read(name, [corpus, *others], corpus.tag, data)


def _read(name: str, corpora: Sequence[Corpus], tag: str | None, data: Data) -> Test:
    """The test set of corpora with the same sources: the targets of each are references."""
    first, *others = ([*_read_parts(corpus, data)] for corpus in corpora)
    sources = [pair.source for _, pairs in first for pair in pairs]
    references = [
        [pair.target for _, pairs in parts for pair in pairs] for parts in (first, *others)
    ]
    return Test(name, sources, references, tag, [part for part, pairs in first for _ in pairs])


def _read_parts(corpus: Corpus, data: Data) -> Iterator[tuple[str, list[Pair]]]:
    """What each part is called, and its pairs; files must be the right ones, or are fetched."""
    texts = find(corpus, data)
    for text in texts:
        for file in text.files:
            check(file)
    for text in texts:
        yield text.name, list(read_pairs([text]))
