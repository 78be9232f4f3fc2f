"""`seq2seq evaluate`: scores with their intervals and signatures; systems against each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from seq2seq.config import Reported
from seq2seq.console import say
from seq2seq.errors import ConfigError
from seq2seq.evaluation.judging import score_files, score_model
from seq2seq.evaluation.keeping import options_apart, options_of
from seq2seq.evaluation.results import Result, as_object
from seq2seq.evaluation.sets import given, language_of, read_sets
from seq2seq.evaluation.table import show
from seq2seq.files import to_json
from seq2seq.layout import BEST
from seq2seq.runs import UNSCORED, Opened, open_model, read_best


def evaluate(
    model: Path | None,
    overrides: Sequence[str],
    *,
    source: Path | None,
    references: Sequence[Path],
    hypothesis: Path | None,
    compare: Sequence[Path],
    output: Path | None,
    as_json: bool,
    device: str | None,
    tag: str | None,
    metrics: Sequence[str],
    details: bool,
    language: str | None,
    fetch: bool = False,
) -> None:
    """Prints the scores of a model on its test sets or on given files, or of a file alone.

    `compare` are other models, or other files, whose differences from the first are tested;
    `metrics` are those of the config unless given; `language` is that of the references, unless
    given that of the test set, of the files' names or of the config; `details` are slices of the
    test set, and the lines in which systems differ most, which JSON has in any case. Test sets that
    are missing are fetched only if `fetch` says so.
    """
    check_metrics(metrics)
    if fetch and (source or hypothesis):
        raise ConfigError("--fetch is for the test sets of a config, not for files that you name")
    if hypothesis is not None:
        if not references or source is not None or model is not None or overrides:
            raise ConfigError(
                "--hypothesis goes with --reference, and with no model, --source or --set"
            )
        language = language or language_of([*references, hypothesis, *compare])
        results = [
            Result(
                None,
                str(path),
                {hypothesis.name: score_files(path, references, metrics, language)},
            )
            for path in (hypothesis, *compare)
        ]
    else:
        if (source is None) != (not references):
            raise ConfigError("--source and --reference go together")
        if tag and source is None:
            raise ConfigError("--tag goes with --source; a test set has its tag in the config")
        if output and compare:
            raise ConfigError("--output is for one model; with --compare, each has its own folder")
        opened = [open_model(one, overrides, device=device) for one in (model, *compare)]
        for one in opened:
            say_what_is_best(one)
        data = opened[0].config.data
        if source:
            tests = [given(source, references, tag, data, language)]
        else:
            tests = read_sets(opened[0], language, fetching=fetch)
        changed = any(one.startswith(("decoding.", "data.test")) for one in overrides)
        own = source is None and language is None and not changed
        warn_of_options(opened)
        results = [score_model(one, tests, metrics, output, own=own) for one in opened]
    if as_json:
        print(to_json(as_object(results), indent=2))
    else:
        show(results, details=details)


def say_what_is_best(opened: Opened) -> None:
    """Says so if the best model of a run is none that its training found."""
    best = read_best(opened.folder.parent) if opened.folder.name == BEST else None
    if best and not best.scores:
        say(f"{opened.folder} holds {best}, {UNSCORED}")


def warn_of_options(opened: Sequence[Opened]) -> None:
    """Says where models translate with other options of decoding than the first."""
    first, *others = opened
    options = options_of(first.config.decoding)
    for other in others:
        if apart := options_apart(options_of(other.config.decoding), options):
            say(f"warning: {other.folder} translates otherwise than {first.folder}: {apart}")


def check_metrics(metrics: Sequence[str]) -> None:
    """Raises a ConfigError that lists all metrics if one of these is unknown."""
    every = get_args(Reported)
    for name in metrics:
        if name not in every:
            raise ConfigError(f"--metrics: must be some of {', '.join(every)}, not {name}")
