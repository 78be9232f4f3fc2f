"""The flags of `seq2seq report`, and what they ask for."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...", help="Run folders, side by side if several. Default: the newest."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The page to write, or - for standard output. Default: report.html in the "
            "(first) run's folder."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the curves into a .png, .svg or .pdf, too."),
    ] = None,
) -> None:
    """Write a page about a run, or about several side by side, to open in a browser."""
    from seq2seq.report.report import report

    report(runs or [], output=output, picture=plot)
