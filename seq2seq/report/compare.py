"""The page of several runs side by side; the first is what the others are measured against."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from seq2seq.config import LOWER_IS_BETTER
from seq2seq.console import format_number
from seq2seq.report import curves
from seq2seq.report.options import differing
from seq2seq.report.page import page
from seq2seq.report.reading import Run
from seq2seq.report.run import facts, for_scripts, state
from seq2seq.report.significance import against_first
from seq2seq.scoring.metrics import LONG
from seq2seq.scoring.significance import no_difference, p_value

CHANCE = 0.05  # a difference that chance makes more often than that tells nothing


class Cell(NamedTuple):
    """A run's score by a metric."""

    score: str
    interval: tuple[float, float] | None
    difference: str  # from the first run
    chance: str  # how often chance makes it as large, by both tests
    better: bool  # or worse; only where `significant`
    significant: bool
    equal: bool = False  # nothing tells the runs apart


class Row(NamedTuple):
    """A metric: a cell for each run, or None where it has no score."""

    metric: str
    signature: str
    cells: list[Cell | None]


def compare_page(runs: Sequence[Run]) -> str:
    """The HTML of the page of runs side by side."""
    named = list(zip(names_of(runs), runs, strict=True))
    charts = curves.charts_of(runs)
    configs = [run.config for run in runs if run.config is not None]
    data: dict[str, Any] = {
        "names": [name for name, _ in named],
        "runs": [(name, run, state(run.overview)) for name, run in named],
        "facts": table_of_facts(runs),
        "missing": [(name, run.missing) for name, run in named],
        "charts": [(chart, curves.summary(chart, named)) for chart in charts],
        "curves": for_scripts(named, charts),
        "options": differing(configs) if len(configs) == len(runs) else None,
        "tests": [(test, *rows_of(test, runs)) for test in tests_of(runs)],
        "best": best_scores(runs),
        "named": curves.named,
        "number": curves.number,
    }
    return page("compare.html", f"{len(runs)} runs side by side", data)


def names_of(runs: Sequence[Run]) -> list[str]:
    """What each run is called: its folder's name, or its path where several have that name."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else str(run.folder.resolve()) for run in runs]


def table_of_facts(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """What runs are, in a few numbers: a row for each, a value for each run."""
    sides = [{name: (value, more) for name, value, more in facts(run)} for run in runs]
    names = dict.fromkeys(name for side in sides for name in side)
    empty = ("", "")
    return [(name, [side.get(name, empty)[0] for side in sides]) for name in names]


def best_scores(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The best that each run's validations came to, by metric."""
    metrics = dict.fromkeys(key for run in runs for one in run.validations for key in one["valid"])
    rows = []
    for metric in metrics:
        better = min if curves.lower_is_better(metric) else max
        values = [
            [
                one["valid"][metric]
                for one in run.validations
                if curves.rounded(one["valid"].get(metric)) is not None
            ]
            for run in runs
        ]
        rows.append(
            (curves.named(metric), [curves.number(better(some)) if some else "" for some in values])
        )
    return rows


def tests_of(runs: Sequence[Run]) -> list[str]:
    """The test sets that two or more of the runs were scored on."""
    every = [one.name for run in runs for one in run.evaluations]
    return [name for name in dict.fromkeys(every) if every.count(name) > 1]


def rows_of(test: str, runs: Sequence[Run]) -> tuple[list[Row], str]:
    """The scores on a test set, by metric, and why some differences are not tested."""
    scored = [run for run in runs if any(one.name == test for one in run.evaluations)]
    found = against_first(test, scored) if scored[0] is runs[0] else None
    reason = found.reason if found else "the first run was not scored on it"
    tested = dict(zip(map(id, scored[1:]), found.differences if found else [], strict=False))
    kept = [next((one.metrics for one in run.evaluations if one.name == test), {}) for run in runs]
    rows = []
    for metric in dict.fromkeys(name for metrics in kept for name in metrics):
        signatures = {metrics[metric]["signature"] for metrics in kept if metric in metrics}
        cells = [
            cell_of(metric, metrics.get(metric), tested.get(id(run), {}).get(metric))
            for run, metrics in zip(runs, kept, strict=True)
        ]
        alike = len({signature.split(LONG)[0] for signature in signatures}) == 1
        told = max(signatures, key=len) if alike else "signatures differ: do not compare"
        rows.append(Row(curves.named(metric), told, cells))
    return rows, reason


def cell_of(metric: str, entry: Any, difference: Any) -> Cell | None:
    """A run's score by a metric, and its difference from the first run if that was tested."""
    if entry is None or curves.rounded(entry["score"]) is None:
        return None
    interval = entry.get("interval")
    if difference is None:
        return Cell(format_number(entry["score"]), interval, "", "", False, False)
    chance = max(difference.bootstrap, difference.randomization)
    gain = -difference.difference if metric in LOWER_IS_BETTER else difference.difference
    return Cell(
        format_number(entry["score"]),
        interval,
        f"{difference.difference:+.2f}",
        f"{p_value(difference.bootstrap, 3)}, {p_value(difference.randomization, 3)}",
        gain > 0,
        chance < CHANCE,
        no_difference(difference),
    )
