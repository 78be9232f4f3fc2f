"""`seq2seq prepare`: files of text become a tokenizer and memory-mapped token ids.

    <prepared>/
        tokenizer.model           or one a side
        train/, valid/, test.<name>/    token stores
        manifest.json             inputs' hashes, options, counts, what was dropped

Each part has a key made of all that it depends on: a part whose key has not changed is not made
again, and a changed input or option makes anew what depends on it.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

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
    recover_folder,
    sha256,
    write_file,
    write_json,
)

FORMAT = 1  # raised when what is prepared changes its meaning
BLOCK = 10_000  # pairs that are encoded together


class Prepared(NamedTuple):
    """What training needs of the data."""

    tokenizers: Tokenizers
    train: Store
    valid: Store
    key: str  # of the tokenizers and the training set


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
        hashes = manifest.hash_files(corpora)
        tokenizers = _tokenizers(config, manifest, hashes["train"], corpora["train"])
        for name, some in corpora.items():
            _encode(config, manifest, tokenizers, name, some, hashes[name])
    return Prepared(
        tokenizers,
        Store.open(folder / "train"),
        Store.open(folder / "valid"),
        manifest.parts["train"]["key"],
    )


class Manifest:
    """What a prepared folder holds, and what it was made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Any] = {}
        self.parts: dict[str, Any] = {}
        try:
            saved = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if saved["format"] == FORMAT:
                self.files, self.parts = saved["files"], saved["parts"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass  # nothing that can be used: all is made anew

    def hash_files(self, corpora: dict[str, list[Corpus]]) -> dict[str, list[list[str]]]:
        """The hashes of both files of all corpora, which must be there and be the right ones.

        A file is read again only if its size or time has changed.
        """
        return {
            name: [[self._hash(file) for file in (one.source, one.target)] for one in some]
            for name, some in corpora.items()
        }

    def _hash(self, file: File) -> str:
        path = locate(file)
        status = path.stat()
        seen = self.files.get(str(path))
        if not seen or (seen["bytes"], seen["time"]) != (status.st_size, status.st_mtime_ns):
            seen = {"bytes": status.st_size, "time": status.st_mtime_ns, "sha256": sha256(path)}
            self.files[str(path)] = seen
        verify(file, seen["sha256"])
        return f"{seen['sha256']}:{file.member or ''}"

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
        write_json(
            self.folder / MANIFEST,
            {"format": FORMAT, "parts": self.parts, "files": self.files},
        )


def _tokenizers(
    config: Config, manifest: Manifest, hashes: list[list[str]], corpora: list[Corpus]
) -> Tokenizers:
    """The tokenizers of the training text."""
    options, folder = config.tokenizer, manifest.folder
    key = fingerprint([FORMAT, hashes, options.model_dump(), config.seed])
    if manifest.has("tokenizer", key, folder.glob("tokenizer*.model")):
        return Tokenizers.read(folder, shared=options.shared)
    for file in folder.glob("tokenizer*.model"):
        file.unlink()
    say(f"finding {options.vocab_size:,} pieces ({options.kind})")

    def lines(sides: slice) -> Iterator[str]:
        with bar("reading", None, "pairs") as shown:
            for corpus in corpora:
                for pair in read_pairs(corpus):
                    shown.update()
                    yield from pair[sides]

    if options.shared:
        tokenizers = Tokenizers(*[train_tokenizer(lines(slice(2)), options, config.seed)] * 2)
    else:
        sides = (slice(1), slice(1, 2))
        tokenizers = Tokenizers(
            *(train_tokenizer(lines(side), options, config.seed) for side in sides)
        )
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
    corpora: list[Corpus],
    hashes: list[list[str]],
) -> None:
    """Makes the store of a set, unless it is there."""
    key = fingerprint([FORMAT, tokenizers.fingerprint, hashes, config.data.max_length])
    folder = manifest.folder / name
    recover_folder(folder)
    if manifest.has(name, key, folder.glob("*")):
        return
    counts = Counts(training=name == "train", longest=config.data.max_length)
    vocab_sizes = (len(tokenizers.source), len(tokenizers.target))
    total = sum(1 for corpus in corpora for _ in read_pairs(corpus))
    with (
        new_folder(folder) as partial,
        StoreWriter(partial, vocab_sizes) as writer,
        bar(name, total, "pairs") as shown,
    ):
        for corpus in corpora:
            pairs = read_pairs(corpus)
            while block := list(islice(pairs, BLOCK)):
                writer.append(*counts.admitted(block, tokenizers))
                shown.update(len(block))
    if not counts.pairs:
        raise UserError(f"{name} has no pair left: {counts}")
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
