"""Options of the text to learn from: where it lies, in which form, and what is kept of it."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from seq2seq.config.objectives import TRANSLATION, Objective, pieces_of
from seq2seq.config.rules import Filter
from seq2seq.config.section import (
    FREE,
    Count,
    Length,
    Name,
    Positive,
    PositiveOrZero,
    Section,
    Text,
)
from seq2seq.config.urls import masked


def _number_as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _one_alone(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _address(path: str | None) -> Iterator[tuple[str, str]]:
    if path and "://" in path:
        yield (
            "path",
            f"{masked(path)} is an address; write path: FILE, and the address in urls: [...]",
        )


def _path_alone(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


Hash = Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]
Tag = Annotated[str, Field(strict=True, pattern=r"^<[^<>\s]+>$")]
Column = Annotated[Text, BeforeValidator(_number_as_text, json_schema_input_type=Text | Count)]
Normalizer = Literal["nfc", "nfkc", "whitespace", "punctuation"]
Format = Literal["text", "sgm", "tsv", "jsonl", "tmx", "xliff", "po"]

SIDE_FORMATS = ("text", "sgm")  # the others hold both sides in one file
SACREBLEU, HUGGINGFACE, STDIN = "sacrebleu:", "huggingface:", "-"
LANGUAGE = "{lang}"
RESERVED = re.compile(
    r"</?s>|<pad>|<unk>|<0x[0-9A-F]{2}>|<mask>|<extra_id_\d+>"
)  # pieces that are no tags


class File(Section):
    """A file of text: one segment a line, plain or packed (gzip, bzip2, xz, zstd)."""

    path: Annotated[Text, FREE]
    """Where it lies, from the folder that the command runs in; ~ and ${NAME} are expanded."""
    urls: Annotated[list[Text], FREE] = []
    """Mirrors to fetch it from when it is missing; ${NAME} is taken from the environment."""
    sha256: Annotated[Hash | None, FREE] = None
    """What it must hash to, in hexadecimal; checked before the file is used."""
    member: Text | None = None
    """The file to read inside an archive (tar, packed or not, or zip)."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        yield from _address(self.path)


TextFile = Annotated[File, BeforeValidator(_path_alone, json_schema_input_type=Text | File)]


Hashes = Annotated[
    Annotated[list[Hash], Field(max_length=2)],
    BeforeValidator(
        _one_alone, json_schema_input_type=Hash | Annotated[list[Hash], Field(max_length=2)]
    ),
]


class Source(Section):
    """Where pairs come from: a file a side, or one that has both."""

    source: TextFile | None = None
    """What the model reads: a path, or {path, urls, sha256, member}; shards by a glob."""
    target: TextFile | None = None
    """What the model writes: a path, or {path, urls, sha256, member}; shards by a glob."""
    path: Annotated[Text | None, FREE] = None
    """Instead of both: a file of pairs, a pattern with {lang}, sacrebleu:…, huggingface:…, or -."""
    urls: Annotated[list[Text], FREE] = []
    """Mirrors to fetch `path` from when it is missing; ${NAME} is taken from the environment."""
    sha256: Annotated[Hashes, FREE] = []
    """What `path` must hash to; two of them, source first, if {lang} in it makes two files."""
    member: Text | None = None
    """The file to read inside an archive (tar, packed or not, or zip); may have {lang} too."""
    format: Format | None = None
    """How pairs are written; by the file's name unless given, else text, or tsv for pairs."""
    fields: Annotated[list[Column], Field(min_length=2, max_length=2)] | None = None
    """Source and target in tsv (column numbers from 1, or headings) or jsonl (dotted names)."""
    languages: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = None
    """Source and target, as file names or the file itself call them; [data.source, data.target]."""
    on_error: Literal["stop", "skip"] = "stop"
    """Whether a line that cannot be read stops everything, or is counted and left out."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        yield from self._place()
        yield from _address(self.path)
        alone = self.format in SIDE_FORMATS
        if self.format and self.path and (LANGUAGE in self._pattern()) != alone:
            if not alone:
                yield "format", f"{self.format} has both sides in one file; leave {LANGUAGE} out"
            elif not self.path.startswith(SACREBLEU):
                yield "format", f"{self.format} has one side in a file; put {LANGUAGE} into path"
        if self.source and self.format and not alone:
            yield "format", f"{self.format} has both sides in one file; name it by path"
        if self.fields and (self.source or self.format not in (None, "tsv", "jsonl")):
            yield "fields", "is for tsv and jsonl, which have both sides in one file"
        named = self.path and (self.path == STDIN or self.path.startswith((SACREBLEU, HUGGINGFACE)))
        for option in ("urls", "sha256", "member"):
            if named and getattr(self, option):
                yield option, f"is for files, but {self.path} is none"
            if self.source and getattr(self, option):
                yield option, f"belongs to path; write source: {{path, {option}}}, target too"
        if self.path and self.sha256 and len(self.sha256) != 1 + (LANGUAGE in self.path):
            yield "sha256", f"needs a hash for each file: two if path has {LANGUAGE}, else one"

    def _pattern(self) -> str:
        return f"{self.path}{self.member or ''}"

    def _place(self) -> Iterator[tuple[str, str]]:
        if self.path and (self.source or self.target):
            yield "path", "is one file for both sides; it cannot stand beside source and target"
        elif not self.path and not (self.source and self.target):
            here, missing = ("source", "target") if self.source else ("target", "source")
            if self.source or self.target:
                yield missing, f"is required beside {here}"
            else:
                yield "source", "is required, with target beside it, or path instead of both"


TextSource = Annotated[Source, BeforeValidator(_path_alone, json_schema_input_type=Text | Source)]


class Corpus(Source):
    """Pairs of segments: from one source, or from several in `parts`."""

    parts: Annotated[list[TextSource], Field(min_length=1)] | None = None
    """Instead of a source of its own: sources (as above), read one after the other."""
    tag: Tag | None = None
    """A piece of its own such as <bt> or <2de>, which is put before each source."""
    weight: PositiveOrZero | None = None
    """Share of training beside the weights of the other corpora; by size unless given."""
    references: list[TextFile] = []
    """Of a test set: other translations of the same source, beside target; any of them will do."""
    objective: Objective = TRANSLATION
    """What is learned: translation, or what text alone can teach, such as infilling."""
    filters: list[Filter] | None = None
    """What pairs must pass to be learned from; data.filters unless given."""

    @property
    def pieces(self) -> set[str]:
        """The pieces that it needs and that text never becomes."""
        return {*pieces_of(self.objective)} | ({self.tag} if self.tag else set())

    @property
    def sources(self) -> Sequence[Source]:
        """Where the pairs come from, in order."""
        return self.parts or [self]

    @property
    def paths(self) -> Iterator[str]:
        """Where its text lies, as the config has it."""
        for source in self.sources:
            yield from (file.path for file in (source.source, source.target) if file)
            yield from [source.path] if source.path else []

    @property
    def by_reference(self) -> "list[Corpus]":
        """The corpus itself and, of a test set, its source beside each of the other references."""
        others = (Corpus(source=self.source, target=file) for file in self.references)
        return [self, *others]

    def conflicts(self) -> Iterator[tuple[str, str]]:
        yield from super().conflicts()
        if self.references and not (self.source and self.target):
            yield "references", "stand beside source and target, each a file"
        if self.tag and RESERVED.fullmatch(self.tag):
            yield "tag", f"{self.tag} is a piece that has another meaning; take another word"

    def _place(self) -> Iterator[tuple[str, str]]:
        if not self.parts:
            yield from super()._place()
        elif self.source or self.target or self.path:
            yield "parts", "stand instead of source, target and path, not beside them"
        else:
            for name, field in Source.model_fields.items():
                if getattr(self, name) != field.default:
                    yield name, "belongs into each of parts, not beside them"


TextCorpus = Annotated[Corpus, BeforeValidator(_path_alone, json_schema_input_type=Text | Corpus)]


class Data(Section):
    """The text to learn from, to choose by, and to test on."""

    source: Annotated[Text, FREE] = "source"
    """The language (a code such as en, where files or rules go by it) or kind of text to read."""
    target: Annotated[Text, FREE] = "target"
    """The language (a code such as de) or kind of text to write."""
    train: Annotated[list[TextCorpus], Field(min_length=1)]
    """The corpora to learn from."""
    valid: TextCorpus
    """The pairs that every choice is made on: early stopping, the best checkpoint."""
    watch: Annotated[dict[Name, TextCorpus], FREE] = {}
    """Sets by name that are judged beside it, each with its tag and objective, to be looked at."""
    test: Annotated[dict[Name, TextCorpus], FREE] = {}
    """Any number of test sets, by name."""
    normalize: list[Normalizer] = []
    """What is done to all text in order: nfc, nfkc, whitespace, punctuation (Moses's; an extra)."""
    filters: list[Filter] = []
    """What training pairs must pass, in order: rules such as empty or {rule: length, max: 100}."""
    temperature: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = 1.0
    """Corpora share training by size ** (1 / temperature); 5 favours small ones (multilingual)."""
    max_length: Length = 256
    """The longest segment in pieces. Longer training pairs are dropped, longer input is cut."""
    max_unpacked: Annotated[Positive, FREE] = 100.0
    """Most gigabytes that a file may have, fetched or unpacked; some have no end."""
    prepared: Annotated[Text | None, FREE] = None
    """The folder for prepared data; data/prepared/<name> unless given."""

    @property
    def learned(self) -> dict[str, Corpus]:
        """The corpora that are learned from, by the names of their options."""
        return {f"train.{number}": corpus for number, corpus in enumerate(self.train)}

    @property
    def judged(self) -> dict[str, Corpus]:
        """The corpora that a validation looks at, by the names of their options."""
        return {"valid": self.valid, **{f"watch.{name}": one for name, one in self.watch.items()}}

    @property
    def used(self) -> list[Corpus]:
        """The corpora that a training depends on: those that it learns from and chooses by."""
        return [*self.train, self.valid]

    def conflicts(self) -> Iterator[tuple[str, str]]:
        weights = [corpus.weight for corpus in self.train]
        given = [weight for weight in weights if weight is not None]
        if given and len(given) < len(weights):
            yield "train", "some corpora have a weight and some none; give all of them one, or none"
        elif given and self.temperature != 1:
            yield "temperature", "weights say how corpora share training; leave one of them out"
        elif given and not any(given):
            yield "train", "all weights are 0; give a corpus to learn from more"
        if sum(source.path == STDIN for corpus in self.train for source in corpus.sources) > 1:
            yield "train", "standard input (-) can be read only once"
        tags = {corpus.tag for corpus in self.train} | {None}
        kept = {**self.judged, **{f"test.{name}": test for name, test in self.test.items()}}
        for name, corpus in {**self.learned, **self.judged}.items():
            if corpus.references:
                yield f"{name}.references", "are for test sets; one target is learned from"
        for name, corpus in kept.items():
            if any(source.path == STDIN for source in corpus.sources):
                yield name, "is read again and again; standard input (-) is for data.train"
            for option in ("weight", "filters"):
                if getattr(corpus, option) is not None:
                    yield f"{name}.{option}", "is for data.train; other sets stay whole"
            if corpus.objective != TRANSLATION and name not in self.judged:
                yield (
                    f"{name}.objective",
                    "is for what is learned or validated; tests are translated",
                )
            if corpus.tag not in tags:
                yield f"{name}.tag", "is the tag of no corpus in data.train, so no model knows it"
