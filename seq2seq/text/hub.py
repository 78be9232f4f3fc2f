"""Sets that are named instead of being files: sacreBLEU's and those of the Hugging Face hub.

Each becomes plain files on disk, which are then read like any others.
"""

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from errno import ENOENT
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError

from seq2seq.config.data import HUGGINGFACE, SACREBLEU
from seq2seq.config.urls import masked_text
from seq2seq.console import bar, printable, say
from seq2seq.errors import UserError
from seq2seq.files import new_file, to_json
from seq2seq.locks import lock
from seq2seq.text.download import UNLIMITED, FetchPermission, TooLargeError, check_room, not_fetched

SPLIT = "train"  # where none is named
OFFLINE = (URLError, HTTPException, ConnectionError, TimeoutError)


def sacrebleu_files(
    name: str, languages: tuple[str, str], allowed: FetchPermission | None = UNLIMITED
) -> tuple[Path, Path]:
    """Return the source and the (first) reference file of a test set of sacreBLEU.

    sacreBLEU fetches what is missing, if that is allowed, from where it knows the set to be, and
    keeps it in ~/.sacrebleu or in $SACREBLEU. Raises a UserError for a set or a pair of languages
    that it does not know, and for what is not or cannot be fetched.
    """
    from sacrebleu import DATASETS
    from sacrebleu.utils import SACREBLEU_DIR

    said, pair = f"{SACREBLEU}{name}", "-".join(languages)
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1)
        guess = f"did you mean {near[0]}?" if near else "sacrebleu --list shows all"
        raise UserError(f"{said} is no test set of sacreBLEU's; {guess}")
    dataset = DATASETS[name]
    if pair not in dataset.langpairs:
        raise UserError(
            f"{said} has no {pair}; set data.source and data.target, or languages beside it, to "
            f"one of: {', '.join(dataset.langpairs)}"
        )
    folder = Path(SACREBLEU_DIR, name)
    if allowed is None and not _is_there(dataset, pair):
        raise not_fetched(said, dataset.data or [])
    if not folder.exists():
        say(f"sacreBLEU fetches {name} into {folder}")
    remedy = (
        f"where there is internet, run sacrebleu -t {name} -l {pair} --echo src ref, then copy "
        f"~/.sacrebleu/{name} from there to {folder}"
    )
    try:
        with _alone(folder.with_name(f"{folder.name}.lock"), said):
            return (
                Path(dataset.get_source_file(pair)),
                Path(dataset.get_reference_files(pair)[0]),
            )
    except OFFLINE as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the server's answer, too
        raise UserError(
            f"{said} cannot be fetched from {' and '.join(dataset.data or [])} "
            f"({_reason(error)}); {remedy}"
        ) from None
    except (Exception, SystemExit) as error:  # sacreBLEU passes on whatever its parsers raise
        if isinstance(error, OSError) and error.errno not in (None, ENOENT):
            raise  # a full disk and the like
        reason = "wrong checksum" if isinstance(error, SystemExit) else _reason(error)
        raise UserError(
            f"{said} is damaged in {folder} ({reason}); move that folder away and run again"
        ) from None


def _is_there(dataset: Any, pair: str) -> bool:
    """Whether sacreBLEU has unpacked a set, so that it will fetch nothing."""
    fields = dataset.fieldnames(pair)
    return all(Path(dataset._get_txt_file_path(pair, field)).exists() for field in fields)


class HubName(NamedTuple):
    """What is named after `huggingface:`, taken apart."""

    dataset: str
    revision: str | None
    subset: str | None
    split: str

    @property
    def file(self) -> str:
        """The name of the file on disk."""
        whole = f"{self.dataset}@{self.revision}" if self.revision else self.dataset
        return f"{whole.replace('/', '--')}.{self.subset or 'default'}.{self.split}.jsonl"


def huggingface_file(name: str, folder: Path, allowed: FetchPermission | None = UNLIMITED) -> Path:
    """Return a JSONL file in a folder with a set of the Hugging Face hub.

    It is fetched unless it is there, if that is allowed.

    The name is dataset[@revision][:subset[:split]], such as Helsinki-NLP/opus_books:de-en:train;
    an empty subset is the one that the set has by default. Rows keep whatever columns they have,
    and stream to disk. Needs the extra `huggingface`. Raises a UserError if the fetching fails.
    """
    wanted = _parsed(name)
    path = folder / wanted.file
    if path.exists():
        return path
    if allowed is None:
        raise not_fetched(str(path), [f"{HUGGINGFACE}{name}"])
    with _alone(path.with_name(f"{path.name}.lock"), f"{HUGGINGFACE}{name}"):
        if not path.exists():
            say(f"fetching {HUGGINGFACE}{name} into {path}")
            lines = (_as_json(row) for row in _fetched(wanted, name, path))
            _write_lines(path, lines, allowed.limit)
    return path


def _parsed(name: str) -> HubName:
    parts = re.fullmatch(
        r"(?P<dataset>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?"
        r"(:(?P<subset>[^:/\\]*)(:(?P<split>[\w.-]*))?)?",
        name,
    )
    if not parts:
        raise UserError(
            f"{HUGGINGFACE}{name} names no set; write {HUGGINGFACE}dataset:subset:split, such as "
            f"{HUGGINGFACE}Helsinki-NLP/opus_books:de-en:train"
        )
    dataset, revision, subset, split = parts.group("dataset", "revision", "subset", "split")
    return HubName(dataset, revision, subset or None, split or SPLIT)


def _fetched(wanted: HubName, name: str, path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a set, as they come."""
    try:
        from datasets import load_dataset
    except ImportError:
        needed = "needs datasets; pip install 'seq2seq[huggingface]'"
        raise UserError(f"{HUGGINGFACE}{name} {needed}") from None
    try:
        yield from load_dataset(
            wanted.dataset,
            wanted.subset,
            split=wanted.split,
            revision=wanted.revision,
            streaming=True,
        )
    except Exception as error:  # of whichever of the libraries beneath it
        raise UserError(
            f"{HUGGINGFACE}{name} cannot be fetched ({_reason(error)}); "
            f"https://huggingface.co/datasets/{wanted.dataset} shows its subsets and splits, and "
            "whether one must accept terms there and log in (hf auth login); without internet, "
            f"fetch it elsewhere and put it at {path}"
        ) from None


def _as_json(row: dict[str, Any]) -> bytes:
    return to_json(row, default=str).encode() + b"\n"


def _write_lines(path: Path, lines: Iterator[bytes], limit: int) -> None:
    """Write a file durably, without holding it in memory, as long as it is not too much."""
    with new_file(path) as file, bar(f"fetching {path.name}", None, "rows") as progress:
        for line in lines:
            try:
                check_room(path, file.tell(), file.tell() + len(line), limit)
            except TooLargeError as error:
                raise UserError(f"{path} could not be fetched: its set {error}") from None
            file.write(line)
            progress.update()


def _alone(path: Path, name: str) -> AbstractContextManager[None]:
    """Holds a lock, so that of several processes one fetches; no lock where nobody can write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        return nullcontext()
    return lock(path, wait=lambda: say(f"waiting for the process that fetches {name}"), tell=say)


def _reason(error: BaseException) -> str:
    """The first line of what an error says."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return printable(masked_text(first))
