"""The sources of a config to files on disk, fetched if they are missing.

A source may name a file, a pattern, shards, an archive, a set of sacreBLEU's or of the Hugging Face
hub, or standard input; once found, each is one file that holds pairs, or a file a side.
"""

import glob
import io
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple, cast

from seq2seq.config import Corpus, Data, File, Source
from seq2seq.config.data import HUGGINGFACE, LANGUAGE, SACREBLEU, STDIN
from seq2seq.config.urls import masked
from seq2seq.console import printable, say
from seq2seq.distributed import leads
from seq2seq.errors import UserError
from seq2seq.files import new_file, sha256
from seq2seq.text.corpus import Text
from seq2seq.text.destination import check_destination, destination
from seq2seq.text.download import FetchPermission, fetch, not_fetched
from seq2seq.text.formats import format_of
from seq2seq.text.hub import huggingface_file, sacrebleu_files

GIGABYTE = 10**9
HUB = Path("data", "huggingface")
STDIN_KEPT = "stdin.tsv"
WILD = re.compile(r"[*?[]")


class Places(NamedTuple):
    """Folders for what comes from standard input."""

    home: Path = Path()  # where it is kept, for the next time that nothing comes
    scratch: Path | None = None  # where it goes instead, if that is given


HERE = Places()


def permit_config(data: Data) -> FetchPermission:
    """Return the permission to fetch of a config that the user named to a command."""
    return FetchPermission(int(data.max_unpacked * GIGABYTE), variables=True)


def permit_model(data: Data) -> FetchPermission:
    """Return the permission to fetch of a model's config, for which the user must have asked.

    It gets no variables of the environment, which it could send to a server of its author's.
    """
    return FetchPermission(int(data.max_unpacked * GIGABYTE), variables=False)


def find(
    corpus: Corpus, data: Data, allowed: FetchPermission | None, places: Places = HERE
) -> list[Text]:
    """Return the text of a corpus, in order.

    Only sets of sacreBLEU's and of the Hugging Face hub are fetched here, if that is allowed.
    Raises a UserError for shards that do not match, and for what is not or cannot be fetched.
    """
    return [text for source in corpus.sources for text in _find(source, data, allowed, places)]


def _find(
    source: Source, data: Data, allowed: FetchPermission | None, places: Places
) -> list[Text]:
    languages = source.languages or [data.source, data.target]
    shards = list(zip(*_sides(source, languages, allowed, places), strict=True))
    for file in (file for files in shards for file in files):
        if allowed and file.urls and not os.path.exists(file.path):
            check_destination(Path(file.path))  # now, before gigabytes of other files come
    return [
        Text(
            list(files),
            [_format(source, file, pairs=len(files) == 1) for file in files],
            [int(field) if field.isdecimal() else field for field in source.fields or []] or None,
            (languages[0], languages[1]),
            source.on_error == "stop",
            int(data.max_unpacked * GIGABYTE),
        )
        for files in shards
    ]


def _sides(
    source: Source, languages: list[str], allowed: FetchPermission | None, places: Places
) -> list[list[File]]:
    """The shards of each side, or of the one file that holds both."""
    if source.source and source.target:
        return _aligned([source.source, source.target])
    path = source.path or ""
    if path.startswith(SACREBLEU):
        pair = languages[0], languages[1]
        found = sacrebleu_files(path.removeprefix(SACREBLEU), pair, allowed)
        return [[File(path=str(file))] for file in found]
    if path.startswith(HUGGINGFACE):
        name = path.removeprefix(HUGGINGFACE)
        return [[File(path=str(huggingface_file(name, HUB, allowed)))]]
    if path == STDIN:
        return [[File(path=str(_stdin(places)))]]
    if LANGUAGE not in f"{path}{source.member or ''}":
        hash_ = next(iter(source.sha256), None)
        return [_shards(File(path=path, urls=source.urls, sha256=hash_, member=source.member))]
    known: list[str | None] = list(source.sha256)
    hashes = known if len(known) == 2 else (known or [None]) * 2
    return _aligned(
        [
            File(
                path=path.replace(LANGUAGE, language),
                urls=[url.replace(LANGUAGE, language) for url in source.urls],
                sha256=hash_,
                member=source.member and source.member.replace(LANGUAGE, language),
            )
            for language, hash_ in zip(languages, hashes, strict=True)
        ]
    )


def _aligned(files: list[File]) -> list[list[File]]:
    sides = [_shards(file) for file in files]
    if len(sides[0]) != len(sides[1]):
        raise UserError(
            f"{files[0].path} matches {len(sides[0])} files but {files[1].path} {len(sides[1])}; "
            "each shard needs its other side"
        )
    patterns = [expanded(file.path) for file in files]
    for shards in zip(*sides, strict=True):
        paths = [shard.path for shard in shards]
        left_open = [_left_open(*pair) for pair in zip(patterns, paths, strict=True)]
        if left_open[0] != left_open[1]:
            raise UserError(
                f"{paths[0]} would be read beside {paths[1]}, but what stands for the wildcards "
                "differs; each shard needs its other side"
            )
    return sides


def _left_open(pattern: str, path: str) -> tuple[str, ...]:
    """What stands in a path where its pattern has wildcards."""
    if pattern == path:
        return ()
    forms = {"**/": "((?:.*/)?)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", pattern)
    form = "".join(
        forms.get(part, f"({part.replace('[!', '[^')})") if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    found = re.fullmatch(form, path, re.DOTALL)
    return found.groups() if found else ()


def _shards(file: File) -> list[File]:
    """The files that a path means: those that match it, in order of their names, or itself."""
    path = expanded(file.path)
    if file.urls:
        path = str(destination(path))
    if not WILD.search(path) or os.path.exists(path) or file.urls:
        return [file.model_copy(update={"path": path})]
    if matches := sorted(glob.glob(path, recursive=True)):
        return [file.model_copy(update={"path": match}) for match in matches]
    raise UserError(f"{path} matches no file; put the files there, or name others in the config")


def expanded(path: str) -> str:
    """A path with ~ and ${NAME} replaced; raises a UserError if a variable is not set."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise UserError(f"{path}: the environment variable {found[1]} is not set")
        return os.environ[found[1]]

    return os.path.expanduser(re.sub(r"\$\{(\w+)\}", value, path))


def _format(source: Source, file: File, *, pairs: bool) -> str:
    if source.format:
        return source.format
    if source.path == STDIN:
        return "tsv"
    return format_of(file.member or file.path, pairs)


def _stdin(places: Places) -> Path:
    """A file with what standard input brings, which can be read only once, or brought before."""
    kept = places.home / STDIN_KEPT
    stdin = sys.stdin and sys.stdin.buffer  # none where it was closed
    piped = leads() and stdin and not stdin.isatty()
    if piped:
        say("reading standard input")
    if piped and cast(io.BufferedReader, stdin).peek(1):
        if places.scratch:
            kept = places.scratch / STDIN_KEPT
        else:
            say(f"keeping standard input in {kept}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with new_file(kept) as file:
            shutil.copyfileobj(stdin, file, 1 << 20)
    elif not kept.exists():
        raise UserError("data.train is to come from standard input (-), which brings nothing")
    else:
        say(f"standard input brings nothing; using what it brought before, {kept}")
    return kept


def locate(
    file: File,
    allowed: FetchPermission | None = None,
    remedy: str = "put it there, or name another file in the config",
) -> Path:
    """Return where a file lies, fetched if it is missing and that is allowed.

    A UserError tells what to do if it is not there.
    """
    path = Path(file.path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file of text in the config")
    if not path.exists():
        if not file.urls:
            raise UserError(f"{path} is missing; {remedy}")
        if allowed is None:
            raise not_fetched(str(path), file.urls)
        fetch(path, file.urls, file.sha256, allowed)
    return path


def check(file: File, allowed: FetchPermission | None) -> None:
    """Fetch a file if it is missing, and verify it if it has a hash; raises a UserError."""
    path = locate(file, allowed)
    if file.sha256:
        verify(file, sha256(path))


def verify(file: File, found: str) -> None:
    """Raises a UserError if a file, whose SHA-256 is given, is not the one the config means."""
    if file.sha256 and file.sha256 != found:
        source = f" from {printable(masked(file.urls[0]))}" if file.urls else ""
        raise UserError(
            f"{file.path} is not the file that the config means: its sha256 is {found}, not "
            f"{file.sha256}; move it away and fetch it again{source}"
        )
