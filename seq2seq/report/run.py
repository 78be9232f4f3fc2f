"""The page of one run: how good it is, how it learned, what it was made of."""

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.console import format_number
from seq2seq.data.store import SIDES
from seq2seq.evaluation.results import summary
from seq2seq.layout import CONFIG
from seq2seq.overview import Overview, rounded
from seq2seq.prepare import CONTAMINATION
from seq2seq.report import curves
from seq2seq.report.lengths import histogram, told
from seq2seq.report.marking import Span, changes
from seq2seq.report.options import against_defaults
from seq2seq.report.page import page
from seq2seq.report.reading import Record, Run
from seq2seq.report.sound import is_text, is_whole
from seq2seq.scoring.contamination import Contamination

SENTENCES = 20  # of which samples are shown
VERSIONS = 20  # of each
RULES = 50  # of a corpus: more are no news
FILES = 200
LONGEST = 2_000  # characters of a text, so that the page stays small


class Version(NamedTuple):
    """How a sentence was translated after an update, and what changed since the one before."""

    first: str  # the update, or "mean" for the mean of checkpoints at the end
    last: str  # the last one after which it was the same
    spans: list[Span]


class Table(NamedTuple):
    """What its columns are called, and its rows."""

    columns: list[str]
    rows: list[list[str]]


class Sample(NamedTuple):
    """A validation sentence over the course of training."""

    source: str
    reference: str
    versions: list[Version]


def run_page(run: Run) -> str:
    """The HTML of a run's page."""
    charts = curves.charts_of([run])
    data: dict[str, Any] = {
        "run": run,
        "state": state(run.overview),
        "facts": facts(run),
        "missing": run.missing,
        "evaluations": run.evaluations,
        "summary": summary,
        "named": curves.named,
        "number": curves.number,
        "charts": [(chart, curves.summary(chart, [(run.name, run)])) for chart in charts],
        "curves": for_scripts([(run.name, run)], charts),
        "validations": validations(run),
        "samples": samples(run),
        "options": [] if run.config is None else against_defaults(run.config),
        "environment": run.environment,
        "again": again(run),
        **learned_from(run),
    }
    return page("run.html", run.name, data)


def state(overview: Overview) -> str:
    """What a run does now, in a sentence."""
    if overview.state == "training":
        done = "nothing yet" if overview.update is None else f"update {overview.update:,}"
        return f"Training now; this page shows what there was after {done}."
    if overview.state == "finished":
        return f"Finished: {overview.reason}."
    if overview.state == "broken":
        return f"Broken: {overview.reason}."
    if overview.checkpoint is None:
        return "Stopped before its first checkpoint."
    return f"Stopped; the same command goes on after update {overview.checkpoint:,}."


def facts(run: Run) -> list[tuple[str, str, str]]:
    """What a run is, in a few numbers: each with its name, and with what belongs to it."""
    overview, last = run.overview, run.updates[-1] if run.updates else {}
    found = []
    if overview.best and overview.best["score"] is not None:
        mean = overview.best["average"]
        origin = (
            f"mean of {len(mean)} checkpoints" if mean else f"update {overview.best['update']:,}"
        )
        score = curves.number(overview.best["score"])
        found.append((f"{curves.named(overview.best['metric'])}, validation", score, origin))
    if overview.parameters is not None:
        found.append(("Parameters", rounded(overview.parameters), overview.kind or ""))
    if overview.update is not None:
        epoch = "" if overview.epoch is None else f"{overview.epoch:,.1f} epochs"
        found.append(("Updates", f"{overview.update:,}", epoch))
    if overview.minutes is not None:
        found.append(("Minutes", f"{overview.minutes:,.1f}", "validation included"))
    if overview.tokens_per_second is not None:
        found.append(("Pieces a second", f"{overview.tokens_per_second:,.0f}", "of the target"))
    if isinstance(last.get("memory_mb"), int):
        found.append(("Memory", f"{last['memory_mb']:,} MB", "at most"))
    return found


def for_scripts(runs: list[tuple[str, Run]], charts: list[curves.Chart]) -> dict[str, Any]:
    """What the scripts draw: runs by their names, and the charts."""
    return {
        "charts": [
            {name: value for name, value in chart._asdict().items() if name != "told"}
            for chart in charts
        ],
        "runs": [{"name": name, **curves.points(run, len(runs))} for name, run in runs],
    }


def validations(run: Run) -> Table:
    """Every validation in numbers."""
    metrics = list(dict.fromkeys(key for one in run.validations for key in one["valid"]))
    rows = []
    for one in run.validations:
        minutes = curves.place(one)["minutes"]
        scores = (one["valid"].get(metric) for metric in metrics)
        cells = ["" if curves.rounded(score) is None else format_number(score) for score in scores]
        rows.append([f"{one['update']:,}", "" if minutes is None else f"{minutes:.1f}", *cells])
    return Table(["Update", "Minutes", *map(curves.named, metrics)], rows)


def samples(run: Run) -> list[Sample]:
    """The sentences that were shown at validations, each as it was translated again and again."""
    by_sentence: dict[tuple[str, str], list[Record]] = {}
    for one in run.samples:
        key = clipped(one.get("source")), clipped(one.get("reference"))
        by_sentence.setdefault(key, []).append(one)
    found = []
    for (source, reference), records in list(by_sentence.items())[:SENTENCES]:
        versions: list[Version] = []
        before = ""
        for one in curves.thinned(distinct(records), VERSIONS):
            now = clipped(one.get("ours"))
            spans = changes(before, now) if versions else [Span("same", now)] if now else []
            versions.append(Version(one["first"], one["last"], spans))
            before = now
        found.append(Sample(source, reference, versions))
    return found


def distinct(records: list[Record]) -> list[Record]:
    """Translations that differ from the one before, each with the updates for which it stood.

    A mean of checkpoints is judged after the last of them, so it comes second at its update.
    """
    kept: list[Record] = []
    for before, one in zip([None, *records], records, strict=False):
        again = before is not None and before["update"] == one["update"]
        when = "mean" if again else f"{one['update']:,}"
        if kept and kept[-1].get("ours") == one.get("ours"):
            kept[-1]["last"] = when
        else:
            kept.append({**one, "first": when, "last": when})
    return kept


def clipped(text: Any) -> str:
    """A text as a page shows it: not longer than anyone reads."""
    said = text if isinstance(text, str) else ""
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


def learned_from(run: Run) -> dict[str, Any]:
    """The data section: sets, corpora with what rules dropped, lengths, files."""
    if run.data is None or run.prepared is None:
        return {
            "sets": [],
            "contamination": [],
            "corpora": [],
            "lengths": None,
            "lengths_told": "",
            "files": [],
        }
    names = list(SIDES)
    if run.config is not None:
        names = [run.config.data.source, run.config.data.target]
    found = histogram(run.prepared / "train")
    return {
        "sets": [
            (name, run.data[name]["pairs"], *(run.data[name][f"{side}_pieces"] for side in SIDES))
            for name in ("train", "valid")
        ],
        "contamination": contaminated(run.data),
        "corpora": run.data["train"]["corpora"],
        "languages": names,
        "lengths": found and {"width": found.width, **found.counts, "names": names},
        "lengths_told": told(found.numbers, names) if found else "",
        "files": files_of(run)[:FILES],
    }


def contaminated(data: Record) -> list[tuple[str, Contamination]]:
    """The sets with lines that stand in the training text, each with how many."""
    found = data.get(CONTAMINATION)
    sets = found.get("sets") if isinstance(found, dict) else None
    known = [(name, Contamination(**counts)) for name, counts in (sets or {}).items()]
    return [(name, counts) for name, counts in known if counts]


def files_of(run: Run) -> list[tuple[str, int, str]]:
    """The files of text that were read: path, bytes, SHA-256."""
    return [
        (path, seen["bytes"], seen["sha256"])
        for path, seen in run.files.items()
        if isinstance(seen, dict) and is_whole(seen.get("bytes")) and is_text(seen.get("sha256"))
    ]


def again(run: Run) -> list[str]:
    """The commands that make the run anew, beside the old one."""
    name = run.config.name if run.config else run.name
    copy, new = shlex.quote(f"{name}.yaml"), shlex.quote(f"{name}-again")
    threads = run.environment.get("threads")
    processes = run.environment.get("processes", 1)
    start = f"OMP_NUM_THREADS={threads} " if isinstance(threads, int) else ""
    if isinstance(processes, int) and processes > 1:
        start += f"torchrun --nproc-per-node {processes} -m "
    return [
        f"cp {shlex.quote(str(run.folder / CONFIG))} {copy}",
        f"{start}seq2seq train {copy} --set name={new}",
        f"seq2seq evaluate {shlex.quote(str(Path(run.folder.parent, f'{name}-again')))}",
    ]
