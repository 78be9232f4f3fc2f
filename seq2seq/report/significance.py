"""Whether runs differ on a test set by more than chance, as far as that can be told from files.

It takes their hypotheses, which `seq2seq evaluate` keeps, and the references, which must be here:
nothing is translated, and nothing fetched from the addresses of a config.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from seq2seq.config import Config, Corpus
from seq2seq.config.writing import map_urls
from seq2seq.console import say
from seq2seq.errors import UserError
from seq2seq.report.reading import Evaluation, Run
from seq2seq.scoring.metrics import METRICS, score
from seq2seq.scoring.significance import Difference, compare
from seq2seq.text.corpus import read_pairs
from seq2seq.text.languages import target_language
from seq2seq.text.sources import check, find

CLOSE = 1e-6  # of a score that is computed again


class Compared(NamedTuple):
    """How runs differ from the first on a test set."""

    differences: list[dict[str, Difference]]  # of each run after the first, by metric
    reason: str  # why some are not known; nothing if all are that can be


def against_first(name: str, runs: Sequence[Run]) -> Compared:
    """The significance of the differences on a test set that all runs were scored on."""
    nothing: list[dict[str, Difference]] = [{} for _ in runs[1:]]
    configs = [run.config for run in runs]
    present = [config for config in configs if config is not None]
    if len(present) < len(runs):
        return Compared(nothing, "the config of one of the runs cannot be read")
    tests = [config.data.test.get(name) for config in present]
    bare = [map_urls(test, lambda url: "") for test in tests]  # a copy of a run may lack some
    if tests[0] is None or any(test != bare[0] for test in bare):
        return Compared(nothing, "the runs' configs do not name the same test set")
    try:
        references = references_of(tests[0], present[0])
        languages = [target_language(tests[0], config.data) for config in present]
        say(f"comparing translations of {name}")
        found = [scores_of(name, *of, references) for of in zip(runs, languages, strict=True)]
    except (UserError, OSError) as error:
        return Compared(nothing, str(error))
    first, *others = found
    differences = [
        {
            metric: compare(one, first[metric])
            for metric, one in other.items()
            if metric in first and one.is_like(first[metric])
        }
        for other in others
    ]
    asked = {metric for run in runs for metric in evaluation(name, run).metrics} & set(METRICS)
    known = set.intersection(*(set(one) for one in differences)) if differences else set()
    left = ", ".join(sorted(asked - known))
    return Compared(
        differences,
        f"the scores of {left} were made otherwise than they are now, or not alike" if left else "",
    )


def evaluation(name: str, run: Run) -> Evaluation:
    """What a run kept of a test set."""
    return next(one for one in run.evaluations if one.name == name)


def references_of(corpus: Corpus, config: Config) -> list[str]:
    """The references of a test set, if they are here; a UserError that says what is not."""
    texts = find(corpus, config.data, None)
    for text in texts:
        for file in text.files:
            check(file, None)
    return [pair.target for pair in read_pairs(texts)]


def scores_of(name: str, run: Run, language: str, references: Sequence[str]) -> dict[str, Any]:
    """The scores of a run's hypotheses, those that come out as they were kept."""
    path = run.folder / "evaluation" / f"{name}.hypotheses.txt"
    if not path.is_file():
        raise UserError(f"{path} is missing; make it again: seq2seq evaluate {run.folder}")
    hypotheses = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    kept = evaluation(name, run).metrics
    metrics = [metric for metric in kept if metric in METRICS]
    found = score(metrics, hypotheses, [references], language)
    return {
        metric: one
        for metric, one in found.items()
        if one.signature == kept[metric]["signature"]
        and abs(one.score - kept[metric]["score"]) < CLOSE
    }
