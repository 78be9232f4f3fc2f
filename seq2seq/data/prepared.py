"""What a prepared folder holds, and what it was made of.

Each part has a key made of all that it depends on: a part whose key has not changed is not made
again, and a changed input or option makes anew what depends on it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seq2seq.config import Config, Corpus, Data, File
from seq2seq.config.data import STDIN
from seq2seq.console import bar
from seq2seq.data.shards import WORK, not_of_work
from seq2seq.data.store import STORE_FILES
from seq2seq.distributed import leads
from seq2seq.errors import UserError
from seq2seq.files import MANIFEST, check_regular, sha256, to_json, write_json
from seq2seq.regular import check_inside
from seq2seq.text.corpus import Text, read_pairs
from seq2seq.text.sources import STDIN_KEPT, Places, find, locate, permit_config, verify

LOCK = ".lock"
TOKENIZERS = ("tokenizer.model", "tokenizer.source.model", "tokenizer.target.model")
FORMAT = 2  # raised when what is prepared changes its meaning

T = TypeVar("T")


def folder_of(config: Config) -> Path:
    """Where prepared data of a config lies."""
    return Path(config.data.prepared or Path("data", "prepared", config.name))


class Known(NamedTuple):
    """A corpus whose files are there and are the ones that are meant."""

    corpus: Corpus
    texts: list[Text]
    key: list[Any]  # all that its pairs depend on

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(Path(file.path).stat().st_size for text in self.texts for file in text.files)


class Manifest:
    """What is written down of a prepared folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.load()

    def load(self) -> None:
        """Reads what has been written."""
        self.files: dict[str, Any] = {}  # by path
        self.pairs: dict[str, int] = {}  # of the corpora that were read through, by their keys
        self.parts: dict[str, Any] = {}
        self._claimed: dict[str, list[str]] = {}  # names of files that are being replaced, by part
        with suppress(KeyError, TypeError, AttributeError):  # nothing to be used: all is made anew
            saved = self._saved()
            if not is_manifest(saved):
                return
            if saved["format"] != FORMAT:
                self._claimed = {name: list(part["files"]) for name, part in saved["parts"].items()}
            self._claimed |= saved.get("claimed", {})
            if saved["format"] == FORMAT:
                self.files, self.parts = saved["files"], saved["parts"]
                self.pairs = saved["pairs"]

    def _saved(self) -> Any:
        try:
            check_regular(self.folder / MANIFEST)
            return json.loads((self.folder / MANIFEST).read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return None

    def check_folder(self, sets: Sequence[str]) -> None:
        """Raises a UserError if something in the folder is not ours, and might be replaced.

        A folder is used that is new, empty, or has the manifest of prepared data; and of that only
        what the manifest names.
        """
        names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        others = [name for name in names if not name.startswith((LOCK, f".{MANIFEST}."))]
        saved = self._saved()
        known = is_manifest(saved)
        if others and not known and not self._is_damaged(saved, others, sets):
            raise UserError(
                f"{self.folder} is where prepared data is to lie, but there is {others[0]}, and no "
                f"{MANIFEST} of prepared data tells whose that is; set data.prepared to a folder "
                "of its own or, if all in there was prepared once and may go, remove that folder"
            )
        for name in (*sets, WORK):
            check_inside(self.folder / name, self.folder)
        if strangers := [*self._strangers(sets)]:
            raise UserError(
                f"{self.folder / strangers[0]} is where prepared data is to lie, but {MANIFEST} "
                f"in {self.folder} does not name it, so that it may be yours; move it away, or set "
                "data.prepared to another folder"
            )

    def _is_damaged(self, saved: Any, names: Iterable[str], sets: Sequence[str]) -> bool:
        """Whether only the manifest is damaged: all there is looks as if it had been prepared."""
        ours = {MANIFEST, STDIN_KEPT, WORK, *(name.split("/")[0] for name in sets), *TOKENIZERS}
        store = self.folder / sets[0] / min(STORE_FILES)
        if isinstance(saved, dict) or not (self.folder / MANIFEST).is_file():
            return False
        if not store.is_file() or not ours.issuperset(names):
            return False
        self._claimed = {"tokenizer": [*TOKENIZERS], **{name: sorted(STORE_FILES) for name in sets}}
        return True

    def _strangers(self, sets: Iterable[str]) -> Iterator[str]:
        """What stands where we write, and is not ours, by its path in the folder."""
        for name in sets:
            place = self.folder / name
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                yield name
            elif place.is_dir():
                yield from (
                    f"{name}/{one}" for one in os.listdir(place) if one not in self.owned(name)
                )
        owned = self.owned("tokenizer")
        yield from (n for n in TOKENIZERS if os.path.lexists(self.folder / n) and n not in owned)
        yield from (f"{WORK}/{one}" for one in not_of_work(self.folder / WORK))

    def owned(self, name: str) -> set[str]:
        """The names of the files of a part, also if it is about to be replaced."""
        return {*self.parts.get(name, {}).get("files", ()), *self._claimed.get(name, ())}

    def find(self, corpora: Sequence[Corpus], data: Data) -> list[Known]:
        """The corpora, when all files are there and are the ones that are meant.

        What is missing is fetched. Nothing long has been done when a UserError tells what is wrong.
        A file is read again only if its size or time has changed.
        """
        self._keep_stdin(corpora)
        allowed, places = permit_config(data), Places(self.folder)
        texts = all_at_once(lambda corpus: find(corpus, data, allowed, places), corpora)
        files = [file for some in texts for text in some for file in text.files]
        there = [file for file in files if Path(file.path).exists() or not file.urls]
        all_at_once(lambda file: self._hash(file, locate(file, allowed)), there)
        all_at_once(lambda file: self._hash(file, locate(file, allowed)), files)
        self.save()
        return [
            Known(corpus, some, [self._described(text) for text in some])
            for corpus, some in zip(corpora, texts, strict=True)
        ]

    def _keep_stdin(self, corpora: Sequence[Corpus]) -> None:
        """Makes sure that standard input, if it is to be kept here, replaces only what we kept."""
        kept = self.folder / STDIN_KEPT
        if all(source.path != STDIN for corpus in corpora for source in corpus.sources):
            return
        if os.path.lexists(kept) and str(kept) not in self.files:
            raise UserError(f"standard input would be kept in {kept}, which may be yours; move it")
        self.files.setdefault(str(kept), {"bytes": None, "time": None})
        self.save()

    def _hash(self, file: File, path: Path) -> None:
        if not path.is_file():
            raise UserError(
                f"{path} is a pipe or device, but is read again and again; save it as a file, or "
                "use - for standard input"
            )
        status = path.stat()
        seen = self.files.get(file.path)
        if not seen or (seen["bytes"], seen["time"]) != (status.st_size, status.st_mtime_ns):
            seen = {"bytes": status.st_size, "time": status.st_mtime_ns, "sha256": sha256(path)}
            self.files[file.path] = seen
        verify(file, seen["sha256"])

    def _described(self, text: Text) -> list[Any]:
        return [*text.description, *(self.files[file.path]["sha256"] for file in text.files)]

    def check(self, known: Known) -> None:
        """Reads a corpus to its end, unless that has been done, to see that it can be read."""
        key = to_json(known.key, ensure_ascii=True)
        if key not in self.pairs:
            with bar("checking", None, "pairs") as shown:
                pairs = 0
                for _ in read_pairs(known.texts):
                    pairs += 1
                    shown.update()
            self.pairs[key] = pairs

    def keep(self, known: Sequence[Known]) -> None:
        """Forgets all files and corpora but these."""
        paths = {file.path for one in known for text in one.texts for file in text.files}
        keys = {to_json(one.key, ensure_ascii=True) for one in known}
        self.files = {path: seen for path, seen in self.files.items() if path in paths}
        self.pairs = {key: pairs for key, pairs in self.pairs.items() if key in keys}

    def has(self, name: str, key: str, files: Iterable[Path]) -> bool:
        """Whether a part is there, made of the same things."""
        part = self.parts.get(name)
        if not part or part["key"] != key:
            return False
        sizes = {file.name: file.stat().st_size for file in files if file.is_file()}
        return {name: sizes.get(name) for name in part["files"]} == part["files"]

    def add(self, name: str, key: str, files: Iterable[Path], facts: dict[str, Any]) -> None:
        """Records a part that has been made."""
        sizes = {file.name: file.stat().st_size for file in files}
        self.parts[name] = {"key": key, "files": sizes, **facts}
        self._claimed.pop(name, None)
        self.save()

    def claim(self, name: str, files: Iterable[str]) -> None:
        """Says that a part is about to be replaced by files of these names.

        A kill must leave neither a part that is not there nor files that seem to be a stranger's.
        """
        self._claimed[name] = sorted(self.owned(name) | {*files})
        self.parts.pop(name, None)
        self.save()

    def save(self) -> None:
        """Writes it down; of several processes, the first does."""
        content = {
            "format": FORMAT,
            "parts": self.parts,
            "files": self.files,
            "pairs": self.pairs,
        }
        if self._claimed:
            content["claimed"] = self._claimed
        if leads() and content != self._saved():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / MANIFEST, content)


def is_manifest(saved: Any) -> bool:
    """Whether a JSON value has the form of a manifest of prepared data."""
    if not isinstance(saved, dict) or not {"format", "parts", "files", "pairs"} <= saved.keys():
        return False
    objects = [saved.get(name, {}) for name in ("parts", "files", "pairs", "claimed")]
    objects += saved["parts"].values() if isinstance(saved["parts"], dict) else []
    return all(isinstance(one, dict) for one in objects)


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
