"""The curves of runs as a picture, for papers and slides; drawn by matplotlib, an extra."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.errors import ConfigError, UserError
from seq2seq.files import new_file
from seq2seq.report import curves
from seq2seq.report.reading import Run

FORMATS = (".png", ".svg", ".pdf")
CHOSEN = ("loss", "learning_rate")  # beside what validations tell
WIDTH, HEIGHT = 4.2, 2.8  # inches of one
DPI = 160


def check_plot(path: Path) -> None:
    """Raises a ConfigError if a picture cannot be of that kind, a UserError without matplotlib."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--plot {path}: its name must end in {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("--plot needs matplotlib; pip install 'seq2seq[plot]'") from None


def plot(named: Sequence[tuple[str, Run]], path: Path) -> None:
    """Draws the curves of runs, by their names, over updates; a file of the kind its name says.

    Raises a UserError if there is nothing to draw.
    """
    from matplotlib.figure import Figure

    charts = curves.charts_of([run for _, run in named])
    runs = [curves.points(run, len(named)) for _, run in named]
    chosen = [
        chart
        for chart in charts
        if (chart.validated or chart.key in CHOSEN) and any(has(chart, run) for run in runs)
    ]
    if not chosen:
        raise UserError(f"{path} is not made: there are no curves yet; let the run train a little")
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, chart in zip(grid, chosen, strict=False):
        draw(axes, chart, named)
    for axes in list(grid)[len(chosen) :]:
        axes.set_visible(False)
    with new_file(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=DPI)


def has(chart: curves.Chart, numbers: dict[str, list[dict[str, Any]]]) -> bool:
    """Whether a run has a number that a chart can show."""
    lines = {"updates": chart.trained, "validations": chart.validated}
    values = [one.get(chart.key) for name, shown in lines.items() if shown for one in numbers[name]]
    return any(
        value is not None and math.isfinite(value) and (value > 0 or not chart.logarithmic)
        for value in values
    )


def draw(axes: Any, chart: curves.Chart, named: Sequence[tuple[str, Run]]) -> None:
    """Draws one chart: training thin, validation with dots."""
    for number, (name, run) in enumerate(named):
        color = f"C{number}"
        numbers = curves.points(run, len(named))
        if chart.trained:
            values = [one[chart.key] for one in numbers["updates"]]
            updates = [one["update"] for one in numbers["updates"]]
            style = {"alpha": 0.45} if chart.validated else {"label": name}
            axes.plot(updates, floats(values), color=color, linewidth=1, **style)
        if chart.validated:
            there = [one for one in numbers["validations"] if one.get(chart.key) is not None]
            updates, values = [one["update"] for one in there], [one[chart.key] for one in there]
            axes.plot(updates, values, color=color, marker=".", label=name)
    axes.set_title(chart.title, loc="left")
    axes.set_xlabel("updates")
    axes.set_xlim(left=0)
    axes.set_yscale("log" if chart.logarithmic else "linear")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    if len(named) > 1:
        axes.legend(frameon=False)


def floats(values: Sequence[float | None]) -> list[float]:
    """Numbers in which what is not there is no number, which leaves a gap in a line."""
    return [float("nan") if value is None else value for value in values]
