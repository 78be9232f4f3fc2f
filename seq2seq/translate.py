"""`seq2seq translate`: one line out for each line in, in order."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from seq2seq.console import say
from seq2seq.decoding.choice import open_engine
from seq2seq.decoding.translator import Translator
from seq2seq.runs import open_model

BUFFER = 1024  # lines that are read, sorted by length and translated together


def translate(
    model: Path | None,
    overrides: Sequence[str],
    *,
    beam: int | None,
    length_penalty: float | None,
    device: str | None,
    tag: str | None,
) -> None:
    """Standard input to standard output, with the given model or the newest run's best."""
    opened = open_model(model, overrides, device=device)
    given = {"beam": beam, "length_penalty": length_penalty}
    config = opened.config
    options = config.decoding.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    translator = Translator(
        open_engine(opened.folder, config, opened.tokenizers),
        opened.tokenizers,
        options,
        config.data,
        warn=lambda message: say(f"warning: {message}"),
    )
    if tag:
        opened.tokenizers.source.tag(tag)  # before anything is read
    if sys.stdin.isatty():
        say(f"type {config.data.source}, get {config.data.target}; end with Ctrl-D")
        lines, buffer = prompt(), 1
    else:
        lines, buffer = read(sys.stdin.buffer), BUFFER
    for line in translator.stream(lines, buffer, tag=tag):
        sys.stdout.buffer.write(line.encode() + b"\n")
        sys.stdout.buffer.flush()


def read(stream: BinaryIO) -> Iterator[str]:
    """The lines of a stream of any bytes; what is not UTF-8 becomes U+FFFD."""
    for line in stream:
        yield line.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r")


def prompt() -> Iterator[str]:
    """Lines that a person types."""
    while True:
        print("> ", end="", file=sys.stderr, flush=True)
        if not (line := sys.stdin.buffer.readline()):
            print(file=sys.stderr)
            return
        yield line.decode("utf-8", errors="replace").rstrip("\r\n")
