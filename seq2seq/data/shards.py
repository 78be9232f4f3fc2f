"""A set of pairs prepared in shards, each a file of its own: complete or absent, never half.

    <work>/<key of the clean text>/
        clean-00000.safetensors    the text of a shard, normalized, and the fate of each row
        fates.npy                  of all rows, when duplicates have been found too
        dropped.json               what each rule dropped
        plan.json                  which rows of which corpus each shard has; written last
    <work>/<key of the store>/
        ids-00000.safetensors      its pieces

Whoever does which shard, and however often the work was broken off, the files are the same.
"""

import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seq2seq.config.rules import Duplicates, Filter
from seq2seq.data.cleaning import (
    EXAMPLES,
    KEPT,
    UNREADABLE,
    Cleaner,
    Dropped,
    report,
    settle,
    shown,
)
from seq2seq.data.encoding import Outcome, Sides, encode, total
from seq2seq.data.store import SIDES, Side, Store
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.data.workers import Done
from seq2seq.files import to_json, write_file, write_json
from seq2seq.text.corpus import Text, read_rows
from seq2seq.text.rows import Pair

WORK = "work"
KEY = re.compile(r"[0-9a-f]{16}")
FILE = re.compile(
    r"\.?(fates\.npy|dropped\.json|plan\.json|(clean|ids)-\d{5,}\.safetensors)"
    r"(\.[0-9a-f]{16})?(\.partial)?"  # a kill leaves such files
)
TOGETHER = 5_000  # lines whose pieces are in memory as Python's numbers, which take much of it


class Part(NamedTuple):
    """A corpus of a set: its text, and the rules that its pairs must pass."""

    texts: list[Text]
    rules: Sequence[Filter]


class Shard(NamedTuple):
    """Some rows of a corpus, which is given by its number."""

    corpus: int
    rows: int


@dataclass(frozen=True)
class Work:
    """The folder in which a set is prepared."""

    folder: Path

    def clean(self, shard: int) -> Path:
        """Where the cleaned text of a shard lies."""
        return self.folder / f"clean-{shard:05d}.safetensors"

    def ids(self, shard: int) -> Path:
        """Where the pieces of a shard lie."""
        return self.folder / f"ids-{shard:05d}.safetensors"

    def plan(self) -> list[Shard] | None:
        """The plan, if all shards have been cleaned."""
        file = self.folder / "plan.json"
        return [Shard(*entry) for entry in json.loads(file.read_bytes())] if file.exists() else None

    def dropped(self) -> list[list[Dropped]]:
        """What each corpus lost."""
        saved = json.loads((self.folder / "dropped.json").read_bytes())
        return [[Dropped(*one) for one in some] for some in saved]

    def finish(
        self, plan: Sequence[Shard], fates: Sequence[np.ndarray], dropped: list[list[Dropped]]
    ) -> None:
        """Keeps what came of cleaning; the plan, which says that it is over, last."""
        file = io.BytesIO()
        np.save(file, np.concatenate(fates))
        write_file(self.folder / "fates.npy", file.getvalue())
        write_json(self.folder / "dropped.json", dropped)
        write_json(self.folder / "plan.json", plan)

    def fates(self, plan: Sequence[Shard]) -> list[np.ndarray]:
        """The final fates of the rows of each shard."""
        found = np.load(self.folder / "fates.npy", mmap_mode="r")
        return np.split(found, np.cumsum([shard.rows for shard in plan])[:-1])

    def lines(self, shard: int, fates: np.ndarray, fate: int = KEPT) -> Sides:
        """The text that has come to a fate, if it was there when duplicates were looked for."""
        arrays = read_shard(self.clean(shard), "there", *SIDES).arrays
        wanted = fates[arrays["there"]] == fate
        sides = (arrays[side].tobytes().decode("utf-8", "surrogatepass") for side in SIDES)
        return Sides(*(list(compress(text.split("\n"), wanted)) for text in sides))


@dataclass(frozen=True)
class Clean:
    """The task of cleaning the shards of a set; its result is their plan."""

    work: Work
    parts: list[Part]
    normalize: Sequence[str]
    languages: tuple[str, str]
    rows: int  # in a shard

    def __call__(self, share: int, shares: int, done: Done) -> list[Shard]:
        """Reads everything and cleans its share, but for what has been cleaned before."""
        plan: list[Shard] = []
        for corpus, part in enumerate(self.parts):
            cleaner = Cleaner(part.rules, self.languages, self.normalize)
            for text in part.texts:
                rows = read_rows(text)
                while True:
                    mine = len(plan) % shares == share
                    path = self.work.clean(len(plan))
                    count = clean_shard(islice(rows, self.rows), cleaner, path if mine else None)
                    if not count:
                        break
                    plan.append(Shard(corpus, count))
                    if mine:
                        done(count)
        return plan


def clean_shard(rows: Iterable[Any], cleaner: Cleaner, path: Path | None) -> int:
    """Cleans some rows into a file, unless it is there or not wanted; how many rows there are."""
    if path is None or path.exists():
        return sum(1 for _ in rows)
    cleaned = cleaner.clean(rows)
    if len(cleaned.fates):
        prints = {f"duplicates.{rule}": found for rule, found in cleaned.fingerprints.items()}
        text = {
            side: np.frombuffer("\n".join(lines).encode("utf-8", "surrogatepass"), np.uint8)
            for side, lines in zip(SIDES, (cleaned.sources, cleaned.targets), strict=True)
        }
        arrays = {**text, "there": cleaned.there, "fates": cleaned.fates, **prints}
        write_shard(path, arrays, cleaned.examples)
    return len(cleaned.fates)


def settle_all(work: Work, plan: Sequence[Shard], parts: Sequence[Part]) -> None:
    """Decides the fate of every row, now that all have been read.

    Corpora with the same rules have their duplicates in common. Needs a byte of memory a row and,
    while a rule on duplicates is applied, some 25 more.
    """
    shards = [read_shard(work.clean(number), "fates") for number in range(len(plan))]
    fates = [shard.arrays["fates"] for shard in shards]
    examples = [shard.facts for shard in shards]
    for group in _alike(parts):
        members = [number for number, shard in enumerate(plan) if shard.corpus in group]
        for rule, options in enumerate(parts[group[0]].rules):
            if isinstance(options, Duplicates) and members:
                _settle(work, rule, members, fates)
    reports = []
    for corpus, part in enumerate(parts):
        own = [number for number, shard in enumerate(plan) if shard.corpus == corpus]
        first = next((n for n, rule in enumerate(part.rules) if isinstance(rule, Duplicates)), KEPT)
        some = {
            rule: [text for number in own for text in examples[number].get(str(rule), [])]
            if rule < first
            else list(islice(_dropped(work, rule, own, fates), EXAMPLES))
            for rule in range(len(part.rules))
        }
        bad = str(UNREADABLE)
        some[UNREADABLE] = [text for number in own for text in examples[number].get(bad, [])]
        reports.append(report(part.rules, [fates[number] for number in own], some))
    work.finish(plan, fates, reports)


def _settle(work: Work, rule: int, members: Sequence[int], fates: list[np.ndarray]) -> None:
    """Applies a rule on duplicates to some shards together."""
    together = np.concatenate([fates[number] for number in members])
    ends = np.cumsum([len(fates[number]) for number in members])
    prints = np.empty(len(together), np.uint64)
    for number, some in zip(members, np.split(prints, ends[:-1]), strict=True):
        name = f"duplicates.{rule}"
        some[:] = read_shard(work.clean(number), name).arrays[name]
    settle(together, rule, prints)
    for number, some in zip(members, np.split(together, ends[:-1]), strict=True):
        fates[number] = some


def _dropped(
    work: Work, rule: int, members: Iterable[int], fates: Sequence[np.ndarray]
) -> Iterator[str]:
    """The pairs that a rule dropped, as reports show them, unless duplicates stand after it."""
    for number in members:
        if (fates[number] == rule).any():
            lines = work.lines(number, fates[number], rule)
            yield from (shown(Pair(*pair)) for pair in zip(*lines, strict=True))


def _alike(parts: Sequence[Part]) -> list[list[int]]:
    """The numbers of the corpora that have the same rules."""
    groups: list[list[int]] = []
    for number, part in enumerate(parts):
        for group in groups:
            if parts[group[0]].rules == part.rules:
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


@dataclass(frozen=True)
class Encode:
    """The task of turning the clean text of a set into pieces."""

    clean: Work
    work: Work
    plan: Sequence[Shard]
    tags: Sequence[str | None]  # of each corpus
    tokenizers: Tokenizers
    longest: int
    training: bool

    def __call__(self, share: int, shares: int, done: Done) -> None:
        """Encodes its share, but for what has been encoded before."""
        fates = self.clean.fates(self.plan)
        for number in range(share, len(self.plan), shares):
            if not self.work.ids(number).exists():
                self._encode(number, fates[number])
            done(self.plan[number].rows)

    def _encode(self, number: int, fates: np.ndarray) -> None:
        lines = self.clean.lines(number, fates)
        tag = self.tags[self.plan[number].corpus]
        stores, outcomes = zip(
            *(
                encode(some, self.tokenizers, tag, self.longest, training=self.training)
                for some in lines.slices(TOGETHER)
            ),
            strict=True,
        )
        arrays = {
            f"{name}.{part}": np.concatenate([getattr(getattr(one, name), part) for one in stores])
            for name in SIDES
            for part in ("ids", "lengths")
        }
        write_shard(self.work.ids(number), arrays, total(outcomes)._asdict())


def encoded(work: Work, plan: Sequence[Shard]) -> Iterator[tuple[Shard, Store, Outcome]]:
    """The pieces of each shard."""
    for number, shard in enumerate(plan):
        names = [f"{side}.{part}" for side in SIDES for part in ("ids", "lengths")]
        arrays, facts = read_shard(work.ids(number), *names)
        sides = (Side.joined(arrays[f"{side}.ids"], arrays[f"{side}.lengths"]) for side in SIDES)
        yield shard, Store(*sides), Outcome.of(facts)


def not_of_work(folder: Path) -> list[str]:
    """What is in a folder of unfinished work and was not written for it, by its path there."""
    if not os.path.lexists(folder):
        return []
    if folder.is_symlink() or not folder.is_dir():
        return [""]
    found = []
    for entry in os.scandir(folder):
        if not (KEY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)):
            found.append(entry.name)
            continue
        found += [
            f"{entry.name}/{file.name}"
            for file in os.scandir(entry)
            if not (FILE.fullmatch(file.name) and file.is_file(follow_symlinks=False))
        ]
    return sorted(found)


class ShardFile(NamedTuple):
    """What a shard's file holds."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def write_shard(path: Path, arrays: dict[str, np.ndarray], facts: Any) -> None:
    """Writes the file of a shard durably."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(arrays, {"facts": to_json(facts, ensure_ascii=True)}))


def read_shard(path: Path, *names: str) -> ShardFile:
    """Reads some arrays of what `write_shard` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return ShardFile(
            {name: file.get_tensor(name) for name in names}, json.loads(file.metadata()["facts"])
        )
