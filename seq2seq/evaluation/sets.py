"""Test sets: those that a config names, and files that a person names."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.config import Corpus, Data, File
from seq2seq.data.prepared import all_at_once
from seq2seq.errors import UserError
from seq2seq.files import fingerprint
from seq2seq.runs import Opened
from seq2seq.text.corpus import Text, read_pairs
from seq2seq.text.download import FetchPermission
from seq2seq.text.languages import file_language, target_language
from seq2seq.text.sources import check, find, permit_model


class Test(NamedTuple):
    """A test set."""

    name: str
    sources: list[str]
    references: list[list[str]]  # one or more sets of them
    tag: str | None
    parts: list[str]  # of each pair, the file or files that it was read from
    language: str  # of the references

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that scores depend on."""
        return fingerprint([self.sources, self.references, self.tag, self.language])


def given(
    source: Path, references: Sequence[Path], tag: str | None, data: Data, language: str | None
) -> Test:
    """The test set of files that a person named, in the language that the files or the data say."""
    sides = [
        Corpus(source=File(path=str(source)), target=File(path=str(path))) for path in references
    ]
    language = language or language_of(references) or data.target
    return _read(source.name, _find(sides, data, None), tag, language)


def language_of(files: Sequence[Path]) -> str:
    """The language that the first of some files has in its name that has any; "" if none has."""
    return next(filter(None, (file_language(str(path)) for path in files)), "")


def read_sets(opened: Opened, language: str | None, *, fetching: bool = False) -> list[Test]:
    """Return the test sets of a model's config, in the language that it says, unless one is given.

    Raises a UserError if it has none. What is missing is fetched only if the user asks for
    `fetching`: whoever wrote the config chose the servers and the paths.
    """
    data = opened.config.data
    corpora = data.test
    if not corpora:
        raise UserError(
            f"the config of {opened.folder} names no test set; give --source and --reference"
        )
    allowed = permit_model(data) if fetching else None
    sides = {name: corpus.by_reference for name, corpus in corpora.items()}
    found = iter(_find([side for some in sides.values() for side in some], data, allowed))
    return [
        _read(
            name,
            [next(found) for _ in some],
            corpora[name].tag,
            language or target_language(corpora[name], data),
        )
        for name, some in sides.items()
    ]


def read_set(name: str, corpus: Corpus, data: Data) -> Test:
    """Return the test set of a corpus, with all its references; nothing is fetched."""
    found = _find(corpus.by_reference, data, None)
    return _read(name, found, corpus.tag, target_language(corpus, data))


def _find(
    corpora: Sequence[Corpus], data: Data, allowed: FetchPermission | None
) -> list[list[Text]]:
    """Return the text of each corpus, whose files must be the right ones, or are fetched."""
    found = all_at_once(lambda corpus: find(corpus, data, allowed), corpora)
    files = [file for texts in found for text in texts for file in text.files]
    all_at_once(lambda file: check(file, allowed), files)
    return found


def _read(name: str, corpora: Sequence[list[Text]], tag: str | None, language: str) -> Test:
    """Return the test set of corpora with the same sources: the targets of each are references."""
    first, *others = (
        [(text.name, list(read_pairs([text]))) for text in texts] for texts in corpora
    )
    sources = [pair.source for _, pairs in first for pair in pairs]
    references = [
        [pair.target for _, pairs in parts for pair in pairs] for parts in (first, *others)
    ]
    parts = [part for part, pairs in first for _ in pairs]
    return Test(name, sources, references, tag, parts, language)
