"""The page of several runs side by side; the first is what the others are measured against."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from seq2seq.config import LOWER_IS_BETTER
from seq2seq.console import format_number
from seq2seq.report import curves
from seq2seq.report.options import differing
from seq2seq.report.page import page
from seq2seq.report.reading import Evaluation, Run
from seq2seq.report.run import facts, for_scripts, state
from seq2seq.report.significance import Scored, against_first, why_not
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
        "tests": [(test, *rows_of(test, runs), marks_of(test, runs)) for test in tests_of(runs)],
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
    every = [name for run in runs for name in {one.name: None for one in run.evaluations}]
    return [name for name in dict.fromkeys(every) if every.count(name) > 1]


def evaluations_of(test: str, runs: Sequence[Run]) -> list[Evaluation | None]:
    """The scores of each run on a test set that stand side by side; None where it has none.

    Of the first run, those of the run as it is now, if there are some; of the others, those that
    can be compared with them, if there are some.
    """
    kept = [[one for one in run.evaluations if one.name == test] for run in runs]
    found: list[Evaluation | None] = [next(iter(kept[0]), None)]
    for run, some in zip(runs[1:], kept[1:], strict=True):
        alike = (
            one
            for one in some
            if found[0] and not why_not(Scored(runs[0], found[0]), Scored(run, one))
        )
        found.append(next(alike, next(iter(some), None)))
    return found


def marks_of(test: str, runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What is to be known of scores on a test set that are not of a run as it is now, by run."""
    chosen = zip(names_of(runs), evaluations_of(test, runs), strict=True)
    return [(name, one.mark) for name, one in chosen if one and one.mark]


def rows_of(test: str, runs: Sequence[Run]) -> tuple[list[Row], str]:
    """The scores on a test set, by metric, and why some differences are not tested."""
    chosen = evaluations_of(test, runs)
    scored = [Scored(run, one) for run, one in zip(runs, chosen, strict=True) if one]
    found = against_first(scored[0], scored[1:]) if chosen[0] else None
    reason = found.reason if found else "the first run was not scored on it"
    others = [id(one.run) for one in scored[1:]]
    tested = dict(zip(others, found.differences if found else [], strict=False))
    kept = [one.metrics if one else {} for one in chosen]
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
