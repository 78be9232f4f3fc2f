"""`seq2seq prepare`: files of text become a tokenizer and memory-mapped token ids.

    <prepared>/
        tokenizer.model           or one a side
        train/, valid/, test.<name>/    token stores
        manifest.json             inputs' hashes, options, counts, what was dropped

Each part has a key made of all that it depends on: a part whose key has not changed is not made
again, and a changed input or option makes anew what depends on it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seq2seq.config import Config, Corpus, File
from seq2seq.console import bar, say
from seq2seq.data.corpus import Pair, locate, read_pairs, verify
from seq2seq.data.store import Store, StoreWriter
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.errors import UserError
from seq2seq.files import (
    MANIFEST,
    fingerprint,
    lock,
    new_folder,
    sha256,
    write_file,
    write_json,
)

FORMAT = 1  # raised when what is prepared changes its meaning
BLOCK = 10_000  # pairs that are encoded together

T = TypeVar("T")


class Known(NamedTuple):
    """A corpus that can be used."""

    corpus: Corpus
    hashes: list[str]  # of its files
    pairs: int


class Prepared(NamedTuple):
    """What training needs of the data."""

    tokenizers: Tokenizers
    train: Store
    valid: Store
    key: str  # of the tokenizers, the training and the validation set


def prepare(config: Config) -> Prepared:
    """Makes what is missing or out of date, and opens it."""
    folder = Path(config.data.prepared or Path("data", "prepared", config.name))
    with lock(
        folder / ".lock", f"{folder} is being prepared by another process; wait until it is done"
    ):
        manifest = Manifest(folder)
        corpora = {
            "train": list(config.data.train),
            "valid": [config.data.valid],
            **{f"test.{name}": [corpus] for name, corpus in config.data.test.items()},
        }
        known = manifest.check(corpora)
        tokenizers = _tokenizers(config, manifest, known["train"])
        for name, some in known.items():
            _encode(config, manifest, tokenizers, name, some)
    return Prepared(
        tokenizers,
        Store.open(folder / "train"),
        Store.open(folder / "valid"),
        fingerprint([manifest.parts[name]["key"] for name in ("train", "valid")]),
    )


class Manifest:
    """What a prepared folder holds, and what it was made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Any] = {}  # by path
        self.pairs: dict[str, int] = {}  # by the hashes of both files of a corpus
        self.parts: dict[str, Any] = {}
        try:
            saved = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if saved["format"] == FORMAT:
                self.files, self.parts = saved["files"], saved["parts"]
                self.pairs = saved.get("pairs", {})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # nothing that can be used: all is made anew

    def check(self, corpora: dict[str, list[Corpus]]) -> dict[str, list[Known]]:
        """The corpora, when all files are there, the ones that are meant, aligned, and text.

        Nothing long has been done when a UserError tells what is wrong. A file is read again only
        if its size or time has changed.
        """
        every = [corpus for some in corpora.values() for corpus in some]
        files = [file for corpus in every for file in (corpus.source, corpus.target)]
        all_at_once(locate, files)
        all_at_once(self._hash, files)
        counts = all_at_once(self._count, every)
        known = map(Known, every, map(self._hashes, every), counts)
        return {name: list(islice(known, len(some))) for name, some in corpora.items()}

    def _hash(self, file: File) -> None:
        path = Path(file.path)
        status = path.stat()
        seen = self.files.get(file.path)
        if not seen or (seen["bytes"], seen["time"]) != (status.st_size, status.st_mtime_ns):
            seen = {"bytes": status.st_size, "time": status.st_mtime_ns, "sha256": sha256(path)}
            self.files[file.path] = seen
        verify(file, seen["sha256"])

    def _hashes(self, corpus: Corpus) -> list[str]:
        return [
            f"{self.files[file.path]['sha256']}:{file.member or ''}"
            for file in (corpus.source, corpus.target)
        ]

    def _count(self, corpus: Corpus) -> int:
        key = " ".join(self._hashes(corpus))
        if key not in self.pairs:
            pairs = 0
            with bar("checking", None, "pairs") as shown:
                for _ in read_pairs(corpus):
                    pairs += 1
                    shown.update()
            self.pairs[key] = pairs
        return self.pairs[key]

    def has(self, name: str, key: str, files: Iterable[Path]) -> bool:
        """Whether a part is there, made of the same things."""
        part = self.parts.get(name)
        if not part or part["key"] != key:
            return False
        sizes = {file.name: file.stat().st_size for file in files if file.is_file()}
        return sizes == part["files"]

    def add(self, name: str, key: str, files: Iterable[Path], facts: dict[str, Any]) -> None:
        """Records a part that has been made."""
        sizes = {file.name: file.stat().st_size for file in files}
        self.parts[name] = {"key": key, "files": sizes, **facts}
        self._save()

    def forget(self, name: str) -> None:
        """Says that a part is not there, before it is replaced: a kill must not leave another."""
        if self.parts.pop(name, None):
            self._save()

    def _save(self) -> None:
        content = {"parts": self.parts, "files": self.files, "pairs": self.pairs}
        write_json(self.folder / MANIFEST, {"format": FORMAT, **content})


def all_at_once(action: Callable[[Any], T], things: Iterable[Any]) -> list[T]:
    """What an action makes of each thing; raises one UserError for all that cannot be used."""
    results, problems = [], []
    for thing in things:
        try:
            results.append(action(thing))
        except UserError as error:  # noqa: PERF203
            problems.append(str(error))
    several = dict.fromkeys(problems)  # a file may be named more than once
    if several:
        heading = ["the data cannot be used:"] if len(several) > 1 else []
        raise UserError("\n  ".join([*heading, *several]))
    return results


def _tokenizers(config: Config, manifest: Manifest, corpora: list[Known]) -> Tokenizers:
    """The tokenizers of the training text."""
    options, folder = config.tokenizer, manifest.folder
    hashes = [known.hashes for known in corpora]
    key = fingerprint([FORMAT, hashes, options.model_dump(), config.seed])
    if manifest.has("tokenizer", key, folder.glob("tokenizer*.model")):
        return Tokenizers.read(folder, shared=options.shared)
    say(f"finding {options.vocab_size:,} pieces ({options.kind})")

    def lines(sides: slice) -> Iterator[str]:
        with bar("reading", sum(known.pairs for known in corpora), "pairs") as shown:
            for known in corpora:
                for pair in read_pairs(known.corpus):
                    shown.update()
                    yield from pair[sides]

    if options.shared:
        tokenizers = Tokenizers(*[train_tokenizer(lines(slice(2)), options, config.seed)] * 2)
    else:
        sides = {"the source text": slice(1), "the target text": slice(1, 2)}
        tokenizers = Tokenizers(
            *(
                train_tokenizer(lines(side), options, config.seed, text=text)
                for text, side in sides.items()
            )
        )
    manifest.forget("tokenizer")
    for file in folder.glob("tokenizer*.model"):
        file.unlink()
    for name, content in tokenizers.files.items():
        write_file(folder / name, content)
    sizes = {"source": len(tokenizers.source), "target": len(tokenizers.target)}
    manifest.add("tokenizer", key, folder.glob("tokenizer*.model"), {"pieces": sizes})
    return tokenizers


def _encode(
    config: Config,
    manifest: Manifest,
    tokenizers: Tokenizers,
    name: str,
    corpora: list[Known],
) -> None:
    """Makes the store of a set, unless it is there."""
    hashes = [known.hashes for known in corpora]
    key = fingerprint([FORMAT, tokenizers.fingerprint, hashes, config.data.max_length])
    folder = manifest.folder / name
    if manifest.has(name, key, folder.glob("*")):
        return
    counts = Counts(training=name == "train", longest=config.data.max_length)
    vocab_sizes = (len(tokenizers.source), len(tokenizers.target))
    with (
        new_folder(folder) as partial,
        StoreWriter(partial, vocab_sizes) as writer,
        bar(name, sum(known.pairs for known in corpora), "pairs") as shown,
    ):
        for known in corpora:
            pairs = read_pairs(known.corpus)
            while block := list(islice(pairs, BLOCK)):
                writer.append(*counts.admitted(block, tokenizers))
                shown.update(len(block))
        if not counts.pairs:
            raise UserError(
                f"{name} has no pair left: {counts}; raise data.max_length, or name other files"
            )
        manifest.forget(name)
    manifest.add(name, key, folder.glob("*"), vars(counts))
    say(f"{name}: {counts}")


class Counts:
    """What became of the pairs of a set."""

    def __init__(self, *, training: bool, longest: int) -> None:
        self.training = training
        self.longest = longest
        self.pairs = self.source_pieces = self.target_pieces = 0
        self.dropped_empty = self.dropped_long = self.cut = 0

    def admitted(
        self, pairs: list[Pair], tokenizers: Tokenizers
    ) -> tuple[list[list[int]], list[list[int]]]:
        """The ids of both sides of the pairs that belong into the set.

        A model cannot learn from training pairs with an empty or an over-long side. What is to be
        validated or tested on stays whole in number: over-long segments are cut.
        """
        sources, targets = [], []
        encoded = (
            tokenizer.encode([pair[side] for pair in pairs])
            for side, tokenizer in enumerate(tokenizers)
        )
        for source, target in zip(*encoded, strict=True):
            long = max(len(source), len(target)) > self.longest
            if self.training and not (source and target):
                self.dropped_empty += 1
            elif self.training and long:
                self.dropped_long += 1
            else:
                self.cut += long
                sources.append(source[: self.longest])
                targets.append(target[: self.longest])
        self.pairs += len(sources)
        self.source_pieces += sum(map(len, sources))
        self.target_pieces += sum(map(len, targets))
        return sources, targets

    def __str__(self) -> str:
        facts = [
            f"{self.pairs:,} pairs",
            f"{self.source_pieces:,} and {self.target_pieces:,} pieces",
        ]
        if self.dropped_empty:
            facts.append(f"{self.dropped_empty:,} with an empty side dropped")
        if self.dropped_long:
            facts.append(f"{self.dropped_long:,} longer than {self.longest:,} pieces dropped")
        if self.cut:
            facts.append(f"{self.cut:,} cut to {self.longest:,} pieces")
        return ", ".join(facts)
