"""`seq2seq translate`: one line out for each line in, in order, whatever the bytes."""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from seq2seq import distributed
from seq2seq.config.changing import changed
from seq2seq.console import bar, for_terminal, interject, say
from seq2seq.decoding.attending import Wishes, has_no_attention, possible
from seq2seq.decoding.choice import settled
from seq2seq.decoding.forms import Form, Json, Text, Tsv
from seq2seq.decoding.members import agreed
from seq2seq.decoding.trace import Recorder
from seq2seq.decoding.translator import Warnings
from seq2seq.errors import ConfigError, Stopped, UserError
from seq2seq.filtering import Answer, Job, ready
from seq2seq.report.attention import Sheet, show
from seq2seq.runs import Opened, open_model
from seq2seq.text.streams import (
    Complete,
    Files,
    buffers,
    check_place,
    complete_lines,
    count_lines,
    lines,
    reading,
    writing,
)


class Shape(NamedTuple):
    """How lines and their translations are written: plain, unless JSON or a column is asked for."""

    json: bool = False
    column: int | None = None  # of TSV, from 1
    scores: bool = False
    tokens: bool = False
    splitting: bool = False  # whether long lines are translated in parts
    alignments: str | None = None  # hard or soft: how it is written which word is from which
    replace_unknown: bool = False  # whether unknown pieces are replaced by what they attend to
    attention: Sheet | None = None  # where to show what was attended to


AT_ONCE = 4_096  # lines, of all processes: the more, the less they wait for each other's last


class Pace(NamedTuple):
    """How much is done at once, and from where on."""

    buffer: int | None = None  # lines that are read, sorted by length and translated together
    resume: bool = False
    processes: int = 1

    @property
    def lines(self) -> int:
        """How many lines a process translates together: a share of AT_ONCE, unless it is said."""
        return self.buffer or max(1, AT_ONCE // max(self.processes, distributed.size()))


def translate(
    models: Sequence[Path] | None,
    overrides: Sequence[str],
    options: Mapping[str, Any],
    *,
    device: str | None = None,
    tag: str | None = None,
    files: Files = Files(),  # noqa: B008 (it cannot change)
    shape: Shape = Shape(),  # noqa: B008
    pace: Pace = Pace(),  # noqa: B008
) -> None:
    """Translates lines with the given model, with several together, or with the newest run's best.

    `options` are those of decoding that take the place of the model's own. Raises a ConfigError for
    what cannot be asked for together, and a Stopped that says how far it has come.
    """
    check_place(files.output)
    named: Sequence[Path | None] = models or [None]
    members = [open_model(one, overrides, device=device) for one in named]
    if shape.attention:
        check_sheet(shape.attention, members, shape, pace)
    job = job_of(members, options, shape, tag)
    form, opened = job.form, job.opened
    if pace.resume:
        check_resumable(files, form)
    with reading(files) as stream:
        if distributed.size() > 1 and files.input is None:
            raise ConfigError("processes of torchrun cannot share standard input; give --input")
        asking = files.input is None and sys.stdin.isatty()
        if asking:
            data = opened.config.data
            say(f"type {data.source}, get {data.target}; end with Ctrl-D")
        rows = prompt() if asking else lines(stream)
        first = 1 + (skip(rows, files) if pace.resume else 0)
        some = buffers(rows, 1 if asking else pace.lines)
        with ready(job, pace.processes) as answers, progress(stream, files, first - 1) as done:
            found = answers(some, first, done)
            write(found, files, first, resuming=pace.resume, several=is_list(form))
    if shape.attention and job.recorder:
        name = " + ".join(one.config.name for one in members)
        show(shape.attention, job.recorder, opened.tokenizers, name)


def job_of(
    members: Sequence[Opened], options: Mapping[str, Any], shape: Shape, tag: str | None
) -> Job:
    """What is asked of models, with options of decoding; raises an error if it cannot be."""
    wishes = Wishes(bool(shape.alignments), shape.replace_unknown)
    config = changed(agreed(members), "decoding", options)
    wishes = possible(wishes, members)
    recorder = Recorder() if shape.attention else None
    config = settled(
        config,
        models=len(members),
        unknown=wishes.replace_unknown,
        watched=bool(recorder),
    )
    opened, *others = members
    opened = opened._replace(config=config)
    form = form_of(shape, opened, tag)
    return Job(opened, form, shape.splitting, tuple(others), wishes, recorder)


def check_sheet(sheet: Sheet, members: Sequence[Opened], shape: Shape, pace: Pace) -> None:
    """Raises an error, before time is spent, if what is attended to cannot be shown there."""
    check_place(sheet.path)
    if all(has_no_attention(one.config) for one in members):
        raise UserError(
            f"--attention has nothing to show: {members[0].folder} was trained without "
            "(model.attention: none); name another model"
        )
    if shape.splitting:
        raise ConfigError("--attention shows lines as a whole; leave out --split")
    if pace.processes > 1 or distributed.size() > 1:
        raise ConfigError("--attention is for one process; leave out the others")


def write(
    answers: Iterator[Answer],
    files: Files,
    first: int,
    *,
    resuming: bool = False,
    several: bool = False,
) -> None:
    """Writes each answer as soon as it is there; of several processes, the first writes.

    `first` is the number of the first line; there may be `several` lines for each of the input.
    Raises a Stopped that says how far it has come, if there was one.
    """
    number = first
    warnings = Warnings(lambda message: interject(f"warning: {for_terminal(message)}"))
    output = files.output if distributed.leads() else Path(os.devnull)
    with writing(output, resuming=resuming) as stream:
        try:
            for answer in answers:
                for warning in answer.warnings:
                    warnings(warning)
                stream.write(answer.content)
                stream.flush()
                number += answer.lines
        except Stopped as stopped:
            message = f"stopped after {number - 1:,} lines"
            if files.resumable and not several:
                message += "; the same command with --resume goes on"
            raise Stopped(stopped.exit_code - 128, message) from None
        finally:
            warnings.close()


def form_of(shape: Shape, opened: Opened, tag: str | None) -> Form:
    """The form that was asked for; raises an error if it has no room for all that was."""
    source, target = opened.tokenizers
    if tag:
        source.tag(tag)  # before anything is read
    several = opened.config.decoding.n_best > 1
    if shape.json:
        if shape.column:
            raise ConfigError("input is TSV or JSON, not both; leave out --tsv or --json")
        pieces = target if shape.tokens else None
        return Json(tag, several, shape.scores, pieces, source.tag, shape.alignments)
    if shape.scores or shape.tokens:
        raise ConfigError("--scores and --tokens become fields of an object; give --json, too")
    if shape.column is None:
        return Text(tag, several, shape.alignments)
    if several:
        raise ConfigError("TSV has room for one translation; for n-best lists, leave out --tsv")
    return Tsv(tag, shape.column, shape.alignments)


def check_resumable(files: Files, form: Form) -> None:
    """Raises a ConfigError unless each line that is in the output stands for a line of input."""
    if not files.resumable:
        raise ConfigError("--resume needs --input and --output, and an output that is not packed")
    if is_list(form):
        raise ConfigError("--resume cannot tell lines of n-best lists apart; give --json, too")


def is_list(form: Form) -> bool:
    """Whether a line of input may become several."""
    return isinstance(form, Text) and form.several


def skip(rows: Iterator[bytes], files: Files) -> int:
    """How many lines are done already; takes them from the input."""
    assert files.output is not None
    complete = complete_lines(files.output) if distributed.leads() else Complete(0, 0)
    count = int(distributed.total(complete.lines)[0])  # the same in all processes
    if (there := sum(1 for _ in islice(rows, count))) < count:
        raise UserError(
            f"{files.output} has {count:,} lines, but {files.input} only {there:,}; name the input "
            "that it was made of, or another output"
        )
    if distributed.leads() and files.output.exists():
        os.truncate(files.output, complete.bytes)  # not before it is known to be of this input
    if count:
        say(f"{files.output} has {count:,} lines; going on from there")
    return count


@contextmanager
def progress(stream: BinaryIO, files: Files, skipped: int) -> Iterator[Callable[[int], object]]:
    """What is told of lines that are done: a bar, if the input is a file and a person looks on."""
    total = None
    if sys.stderr.isatty() and (files.output or not sys.stdout.isatty()):
        total = total_lines(stream, files)
    if total is None:
        yield lambda count: None
        return
    with bar("translating", total, "lines") as shown:
        shown.initial = shown.n = skipped
        shown.refresh()
        yield shown.update


def total_lines(stream: BinaryIO, files: Files) -> int | None:
    """How many lines a file has; nothing is said of what can be read only once."""
    if files.input is None:
        if not (stream.seekable() and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)):
            return None
        start = stream.tell()
        count = count_lines(stream)
        stream.seek(start)
        return count
    if not files.input.is_file():
        return None
    with reading(files) as again:
        return count_lines(again)


def prompt() -> Iterator[bytes]:
    """Lines that a person types."""
    while True:
        print("> ", end="", file=sys.stderr, flush=True)
        if not (line := sys.stdin.buffer.readline()):
            print(file=sys.stderr)
            return
        yield line.rstrip(b"\r\n")
