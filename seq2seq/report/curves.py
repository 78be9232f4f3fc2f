"""What a training did, update by update: the numbers of its charts, and the charts in words."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from seq2seq.config import LOWER_IS_BETTER
from seq2seq.console import LARGE, format_number
from seq2seq.report.reading import OF, Record, Run

POINTS = 4_000  # of a page, of all its runs together: it must stay small
MOST = 1_000  # of a run
DIGITS = 6  # that are kept of a number

Values = list[tuple[float, int]]  # each with its update


class Chart(NamedTuple):
    """A quantity over the course of training."""

    key: str
    title: str
    about: str  # what it is, in which unit
    trained: bool = False  # whether there is a line of training
    validated: bool = False  # whether there is one of validation
    logarithmic: bool = False
    percent: bool = False
    zero: bool = False  # whether nothing is a value worth seeing
    told: Callable[["Chart", Values], str] | None = None  # training in words, if not its two ends


METRICS = {  # as people write them
    "ppl": "Perplexity",
    "accuracy": "Accuracy",
    "bpc": "Bits per character",
    "bleu": "BLEU",
    "chrf": "chrF",
    "chrf++": "chrF++",
    "ter": "TER",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
    "exact": "Exact",
    "length": "Length",
    "comet": "COMET",
}


def named(metric: str) -> str:
    """A metric as people write it, and the set that it is of, if it is of one that is watched."""
    bare, of, watched = metric.partition(OF)
    return METRICS.get(bare, bare) + (f" of {watched}" if of else "")


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better."""
    return metric.partition(OF)[0] in LOWER_IS_BETTER


def what(metric: str) -> str:
    """What is measured, of which set."""
    bare, of, watched = metric.partition(OF)
    some = f"the watched set {watched}" if of else "the validation set"
    if bare == "ppl":
        return f"by piece, of {some}"
    if bare == "accuracy":
        return f"percent of the pieces of {some} that were the likeliest"
    return f"of greedy translations of {some}"


def charts_of(runs: Sequence[Run]) -> list[Chart]:
    """The charts for which some of the runs have numbers."""
    trained = {key for run in runs for one in run.updates for key in one}
    validated = {key: None for run in runs for one in run.validations for key in one["valid"]}
    scores = [
        Chart(key, named(key), what(key), validated=True, logarithmic=key.startswith("ppl"))
        for key in validated
        if key != "ppl"
    ]
    drawn = [one for one in TRAINED if one.key in trained or (one.validated and "ppl" in validated)]
    return [*drawn[:2], *scores, *drawn[2:]]


def points(run: Run, runs: int) -> dict[str, list[Record]]:
    """The numbers of a run's charts, which share a page with those of so many runs in all."""
    keys = [chart.key for chart in TRAINED]
    updates = [{key: one.get(key) for key in keys} | place(one) for one in run.updates]
    validations = [{**one["valid"], **place(one)} for one in run.validations]
    most = min(MOST, POINTS // runs)
    return {
        name: [{key: rounded(value) for key, value in one.items()} for one in thinned(some, most)]
        for name, some in (("updates", updates), ("validations", validations))
    }


def place(record: Record) -> dict[str, Any]:
    """Where on the two axes a line of metrics.jsonl is."""
    seconds = record.get("seconds")
    minutes = seconds / 60 if isinstance(seconds, int | float) else None
    return {"update": record["update"], "minutes": minutes}


def thinned(some: Sequence[Any], most: int) -> list[Any]:
    """Every second, or third, and so on, of what is too many; the last is always there."""
    step = -(-len(some) // max(1, most)) or 1
    return list(reversed(some[::-1][::step]))


def rounded(value: Any) -> Any:
    """A number with as many digits as can be seen; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def summary(chart: Chart, runs: Sequence[tuple[str, Run]]) -> str:
    """A chart in words, of runs by their names."""
    said = []
    for name, run in runs:
        trained = [(one.get(chart.key), one["update"]) for one in run.updates]
        validated = [(one["valid"].get(chart.key), one["update"]) for one in run.validations]
        parts = [
            (chart.told or course)(chart, there(trained)) if chart.trained else "",
            best(chart, there(validated)) if chart.validated else "",
        ]
        told = "; ".join(part for part in parts if part)
        if told:
            said.append(f"{name}: {told}" if len(runs) > 1 else told)
    return ". ".join(said) if len(runs) > 1 else "".join(one[0].upper() + one[1:] for one in said)


def there(values: Iterable[tuple[Any, int]]) -> Values:
    """The values that are numbers."""
    return [(value, update) for value, update in values if rounded(value) is not None]


def course(chart: Chart, values: Values) -> str:
    """Where a line of training begins and ends."""
    if not values:
        return ""
    return f"training from {number(values[0][0])} to {number(values[-1][0])}"


def peak(chart: Chart, values: Values) -> str:
    """Where a line is highest, and where it ends."""
    if not values:
        return ""
    highest, update = max(values, key=lambda pair: pair[0])
    return f"at most {number(highest)}, at update {update:,}; at last {number(values[-1][0])}"


def mean(chart: Chart, values: Values) -> str:
    """What a line is on average."""
    if not values:
        return ""
    value = sum(value for value, _ in values) / len(values)
    return f"{100 * value:.1f} % on average" if chart.percent else f"{number(value)} on average"


def best(chart: Chart, values: Values) -> str:
    """Where a line of validation begins and ends, and where it is best."""
    if not values:
        return ""
    better = min if lower_is_better(chart.key) else max
    value, update = better(values, key=lambda pair: pair[0])
    return (
        f"validation from {number(values[0][0])} to {number(values[-1][0])}, "
        f"best {number(value)} at update {update:,}"
    )


def number(value: float) -> str:
    """A number for people: as many digits as tell something."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= LARGE:
        return format_number(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.01 else f"{value:.2g}"


TRAINED = (
    Chart("loss", "Loss", "of training, label smoothing included, in nats a piece", trained=True),
    Chart(
        "ppl",
        "Perplexity",
        "by piece; logarithmic. Thin: training, thick: validation",
        trained=True,
        validated=True,
        logarithmic=True,
    ),
    Chart(
        "learning_rate",
        "Learning rate",
        "as its schedule has it",
        trained=True,
        zero=True,
        told=peak,
    ),
    Chart(
        "tokens_per_second",
        "Speed",
        "in pieces of the target a second",
        trained=True,
        zero=True,
        told=mean,
    ),
    Chart("gradient_norm", "Gradient norm", "before clipping", trained=True, zero=True),
    Chart(
        "padding",
        "Padding",
        "as share of a batch's positions",
        trained=True,
        percent=True,
        zero=True,
        told=mean,
    ),
)
