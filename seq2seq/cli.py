"""The front door: commands, --set, exit codes. It imports what a command needs when it is called.

Exit codes: 0 done; 1 failed, with a message that says why and what to do; 2 wrong usage or config;
130 or 143 stopped by SIGINT or SIGTERM.
"""

import errno
import io
import re
import signal
import sys
from collections.abc import Sequence
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from seq2seq import distributed
from seq2seq.console import lines_for_terminal
from seq2seq.errors import ConfigError, SharedError, Stopped, UserError, is_out_of_memory
from seq2seq.flags.evaluate import evaluate as flags_of_evaluate
from seq2seq.flags.report import report as flags_of_report
from seq2seq.flags.translate import translate as flags_of_translate

LESS_MEMORY = {  # what commands could do with less of, by their names
    "prepare": "give fewer --workers, ",
    "train": "lower training.batch_tokens and raise training.accumulate by as much, ",
    "evaluate": "lower decoding.batch_tokens (--set decoding.batch_tokens=1024), ",
    "translate": "lower decoding.batch_tokens (--set decoding.batch_tokens=1024) or --buffer, ",
    "score": "lower decoding.batch_tokens (--set decoding.batch_tokens=1024), ",
}

app = typer.Typer(
    help="Turns pairs of text into a model: prepare, train, evaluate, translate.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

USAGE: Any = typer.BadParameter.__base__  # of Click, which Typer carries along or depends on

configs = typer.Typer(help="Print all that a config can say, or says.", no_args_is_help=True)
app.add_typer(configs, name="config")

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as configs/quickstart.yaml.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="OPTION=VALUE", help="Change an option, as in training.max_updates=100."
    ),
]
ModelOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="OPTION=VALUE", help="Change an option, as in decoding.batch_tokens=1024."
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        envvar="SEQ2SEQ_MODEL", help="A model or run folder. Default: the newest run's best model."
    ),
]
Tag = Annotated[
    str | None, typer.Option(help="What to put before each line, such as <2de>, if trained so.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that prepare the data. Default: one a processor."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]


@app.callback(invoke_without_command=True)
def options(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """The options before a command."""
    if show_version:
        print(f"seq2seq {version('seq2seq')}")
        raise typer.Exit


@app.command()
def prepare(
    config: ConfigPath,
    overrides: Overrides = None,
    workers: Workers = None,
    dry_run: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Only show what would become of the first N training pairs."
        ),
    ] = None,
) -> None:
    """Fetch and clean the text, train the tokenizer, and encode everything to disk."""
    from seq2seq.config import load

    loaded = load(config, overrides or [])
    if dry_run:
        from seq2seq.preview import preview

        die_with_reader()
        preview(loaded, dry_run)
    else:
        from seq2seq.prepare import prepare

        prepare(loaded, workers=workers)


@app.command()
def train(
    config: ConfigPath,
    overrides: Overrides = None,
    workers: Workers = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; the old run is moved aside, not deleted.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only prepare, and show what training would take: size, memory, time.",
        ),
    ] = False,
) -> None:
    """Train a model (and prepare first if needed). The same command resumes."""
    from seq2seq.config import load

    loaded = load(config, overrides or [])
    if dry_run:
        from seq2seq.rehearsal import rehearse

        if fresh:
            raise ConfigError("--dry-run leaves all runs as they are; give it without --fresh")
        die_with_reader()
        rehearse(loaded, workers=workers)
    else:
        from seq2seq.train import train

        train(loaded, fresh=fresh, workers=workers)


@app.command()
def runs(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """List the runs here: how far each is, how fast, how good, and what it does now."""
    from seq2seq.overview import show_runs

    die_with_reader()
    show_runs(as_json=as_json)


@app.command()
def average(
    output: Annotated[Path, typer.Option(help="The model folder to make.", show_default=False)],
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run folder. Default: the newest run.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=2, help="How many of the last to take.")] = None,
    best: Annotated[int | None, typer.Option(min=2, help="How many of the best to take.")] = None,
    checkpoints: Annotated[
        str | None, typer.Option(metavar="U1,U2,...", help="The updates they were saved after.")
    ] = None,
) -> None:
    """Make a model of the mean of checkpoints. Default: those that its config would average."""
    from seq2seq.average import average

    average(run, output, last=last, best=best, updates=checkpoints)


@app.command()
def export(
    to: Annotated[str, typer.Option(help="For what: ctranslate2, onnx or safetensors.")],
    output: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL or RUN]",
            envvar="SEQ2SEQ_MODEL",
            help="A model or run folder. Default: the newest run's best model.",
        ),
    ] = None,
) -> None:
    """Write a model for other programs: CTranslate2, ONNX, or a model folder of its own."""
    from seq2seq.export import export

    export(model, to, output)


@app.command()
@wraps(flags_of_evaluate)
def evaluate(**given: Any) -> None:
    # its flags and its help are those of the function it wraps
    die_with_reader()
    flags_of_evaluate(**given)


@app.command()
@wraps(flags_of_report)
def report(**given: Any) -> None:
    flags_of_report(**given)


@app.command()
@wraps(flags_of_translate)
def translate(**given: Any) -> None:
    die_with_reader()
    flags_of_translate(**given)


@app.command()
def score(
    model: Model = None,
    overrides: ModelOverrides = None,
    source: Annotated[
        Path | None, typer.Option(help="Sources, with --target. Default: TSV on standard input.")
    ] = None,
    target: Annotated[Path | None, typer.Option(help="Their translations, line by line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a pair.")] = False,
    device: Device = None,
    tag: Tag = None,
) -> None:
    """Print the log-probability and the perplexity of given translations, a line each."""
    from seq2seq.score import score

    die_with_reader()
    score(
        model,
        overrides or [],
        source=source,
        target=target,
        as_json=as_json,
        device=device,
        tag=tag,
    )


@configs.command()
def show(config: ConfigPath, overrides: Overrides = None) -> None:
    """Print a config with every option written out, each below what it means."""
    from seq2seq.config import load
    from seq2seq.config.showing import show

    die_with_reader()
    print(show(load(config, overrides or [])), end="")


@configs.command()
def schema() -> None:
    """Print the JSON Schema of configs, for editors that complete and check."""
    from seq2seq.config.schema import schema
    from seq2seq.files import to_json

    die_with_reader()
    print(to_json(schema(), indent=2))


def main() -> None:
    """Runs the command line; an error that a user can mend is a message without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # which whoever started us wants
            signal.signal(number, interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # none where it was closed
        # results are UTF-8 whatever the locale; of JSON, that is its own escape of a surrogate
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        sys.exit(app(standalone_mode=False))
    except USAGE as error:
        fail(shown(error), 2)
    except Stopped as stopped:
        fail(str(stopped) if distributed.leads() else "", stopped.exit_code)
    except SharedError as error:
        fail(f"error: {error}" if distributed.place() == 0 else "", error.exit_code)
    except UserError as error:
        fail(f"error: {error}", error.exit_code)
    except (OSError, MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            fail(f"error: {out_of_memory(error, sys.argv[1:])}", 1)
        if not isinstance(error, OSError) or error.errno is None:
            raise
        fail(f"error: {explain(error)}", 1)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """What SIGINT and SIGTERM do unless a command handles them better."""
    raise Stopped(number, "stopped; run the same command again")


def fail(message: str, code: int) -> NoReturn:
    """Ends with a message on standard error, if there is one."""
    if message:
        print(lines_for_terminal(message), file=sys.stderr, flush=True)
    sys.exit(code)


def shown(error: Any) -> str:
    """Return the usage and the message that Typer would print of a wrong command line."""
    text = io.StringIO()
    error.show(text)
    return text.getvalue().removesuffix("\n")


def explain(error: OSError) -> str:
    """What the operating system refused, and what to do."""
    place = f"{error.filename}: " if error.filename else ""
    remedies = {
        errno.ENOSPC: "free some space and run the same command again; what was saved is intact",
        errno.EDQUOT: "free some space and run the same command again; what was saved is intact",
        errno.EACCES: "change its permissions, or work in a folder of your own",
        errno.EPERM: "change its permissions, or work in a folder of your own",
        errno.EROFS: "work in a folder that can be written to",
    }
    remedy = remedies.get(error.errno or 0)
    return f"{place}{error.strerror}" + (f"; {remedy}" if remedy else "")


def out_of_memory(error: BaseException, arguments: Sequence[str]) -> str:
    """Say that memory was refused, and what the command could do with less."""
    command = next((one for one in arguments if one in LESS_MEMORY), "")
    remedy = LESS_MEMORY.get(command, "")
    size = re.search(r"tried to allocate (\d+) bytes", str(error))
    wanted = f" for another {int(size[1]) / 1e9:,.2f} GB" if size else ""
    return (
        f"there is too little memory{wanted}; {remedy}close other programs, or use a larger machine"
    )


def die_with_reader() -> None:
    """Ends quietly when whoever reads our output goes away, as in `| head`."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
