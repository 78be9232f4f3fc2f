"""`seq2seq report`: a page of a run, or of several side by side."""

import sys
from collections.abc import Sequence
from pathlib import Path

from seq2seq.console import say
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import write_file
from seq2seq.layout import RUNS
from seq2seq.overview import overviews
from seq2seq.report.compare import compare_page, names_of
from seq2seq.report.plots import check_plot, plot
from seq2seq.report.reading import read
from seq2seq.report.run import run_page

STANDARD = Path("-")
PAGE, COMPARISON = "report.html", "comparison.html"


def report(runs: Sequence[Path], *, output: Path | None, picture: Path | None) -> None:
    """Writes the page of a run, of the newest if none is named, or of several side by side.

    It lies in the (first) run's folder unless `output` says where (- is standard output); standard
    error tells. `picture` is a file for the curves alone. Raises a UserError for a folder that is
    no run.
    """
    if picture is not None:
        check_plot(picture)
    if len({run.resolve() for run in runs}) < len(runs):
        raise ConfigError("a run is named twice; name each once")
    for path in (output, picture):
        if path is not None and not path.parent.is_dir():
            raise UserError(f"there is no folder {path.parent} to write {path.name} into; make it")
    read_runs = [read(run) for run in runs or [newest()]]
    first = read_runs[0]
    one = len(read_runs) == 1
    place = output or first.folder / (PAGE if one else COMPARISON)
    page = run_page(first) if one else compare_page(read_runs)
    if place == STANDARD:
        sys.stdout.buffer.write(page.encode())
        sys.stdout.flush()
    else:
        write_file(place, page)
        say(f"the report is in {place}; open it in a browser")
    if picture is not None:
        plot(list(zip(names_of(read_runs), read_runs, strict=True)), picture)
        say(f"the curves are in {picture}")


def newest() -> Path:
    """The run that was written to last, whether it has a model or not."""
    found = overviews()
    if not found:
        raise UserError(
            f"there are no runs in {RUNS}/; train one: seq2seq train configs/quickstart.yaml"
        )
    folder = RUNS / found[-1].name
    say(f"reporting on the newest run, {folder}")
    return folder
