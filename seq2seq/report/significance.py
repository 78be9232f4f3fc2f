"""Whether runs differ on a test set by more than chance, as far as that can be told from files.

It takes their hypotheses, which `seq2seq evaluate` keeps, and the references, which must be here:
nothing is translated, and nothing fetched from the addresses of a config.
"""

from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.console import say
from seq2seq.errors import UserError
from seq2seq.evaluation.keeping import hypotheses_beside, options_apart
from seq2seq.evaluation.sets import read_set
from seq2seq.report.reading import Evaluation, Run
from seq2seq.scoring.metrics import METRICS, Score, score
from seq2seq.scoring.significance import Difference, compare
from seq2seq.text.languages import target_language

CLOSE = 1e-6  # of a score that is computed again


class Scored(NamedTuple):
    """A run, and its scores on a test set."""

    run: Run
    evaluation: Evaluation


class Compared(NamedTuple):
    """How runs differ from the first on a test set."""

    differences: list[dict[str, Difference]]  # of each run after the first, by metric
    reason: str  # why some are not known; nothing if all are that can be


def against_first(first: Scored, others: Sequence[Scored]) -> Compared:
    """The significance of the differences of runs from the first on a test set."""
    apart = [why_not(first, other) for other in others]
    nothing: list[dict[str, Difference]] = [{} for _ in others]
    if all(apart):
        return Compared(nothing, "; ".join(dict.fromkeys(apart)))
    name = first.evaluation.name
    try:
        references = references_of(first)
        say(f"comparing translations of {name}")
        base = scores_of(first, references)
        found = [
            {} if reason else scores_of(other, references)
            for other, reason in zip(others, apart, strict=True)
        ]
    except (UserError, OSError) as error:
        return Compared(nothing, str(error))
    differences = [
        {
            metric: compare(one, base[metric])
            for metric, one in some.items()
            if metric in base and one.is_like(base[metric])
        }
        for some in found
    ]
    left = set()
    for other, reason, known in zip(others, apart, differences, strict=True):
        if not reason:
            asked = first.evaluation.metrics.keys() | other.evaluation.metrics.keys()
            left |= (asked & METRICS.keys()) - known.keys()
    if left:
        apart.append(
            f"the scores of {', '.join(sorted(left))} were made otherwise than they are now, or "
            "not alike"
        )
    return Compared(differences, "; ".join(dict.fromkeys(filter(None, apart))))


def why_not(first: Scored, other: Scored) -> str:
    """Why the scores of two runs cannot be compared; nothing if they can.

    Runs may decode with options of their own, which the page lists as options that differ; but
    what was translated with others than those of its run is compared with its like alone.
    """
    for run, evaluation in (first, other):
        if evaluation.origin is None:
            return f"it is not known what made the scores of {run.folder} ({evaluation.path.name})"
        if evaluation.stale:
            return f"the scores of {run.folder} are not those of its best model now"
    one, two = first.evaluation.origin, other.evaluation.origin
    assert one is not None
    assert two is not None
    if one.test != two.test:
        return f"{other.run.folder} was scored on another test set of that name"
    as_configured = not first.evaluation.mark and not other.evaluation.mark
    if not as_configured and (apart := options_apart(two.decoding, one.decoding)):
        return f"{other.run.folder} translated with other options than {first.run.folder}: {apart}"
    return ""


def references_of(scored: Scored) -> list[list[str]]:
    """The references of a run's test set, if they are here; a UserError that says what is not."""
    (run, evaluation), origin = scored, scored.evaluation.origin
    name = evaluation.name
    if run.config is None:
        raise UserError(f"the config of {run.folder} cannot be read")
    corpus = run.config.data.test.get(name)
    if corpus is None:
        raise UserError(f"the config of {run.folder} names no test set {name}")
    test = read_set(name, corpus, run.config.data)
    if origin is None or test.sha256 != origin.test:
        raise UserError(
            f"the test set {name} has changed since {run.folder} was scored on it, or its language "
            f"was given by --language; make the scores again: seq2seq evaluate {run.folder}"
        )
    return test.references


def scores_of(scored: Scored, references: Sequence[Sequence[str]]) -> dict[str, Score]:
    """The scores of a run's hypotheses, those that come out as they were kept."""
    run, evaluation = scored
    if run.config is None:
        raise UserError(f"the config of {run.folder} cannot be read")
    path = hypotheses_beside(evaluation.path)
    if not path.is_file():
        raise UserError(f"{path} is missing; make it again: seq2seq evaluate {run.folder}")
    hypotheses = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    kept = evaluation.metrics
    metrics = [metric for metric in kept if metric in METRICS]
    language = target_language(run.config.data.test[evaluation.name], run.config.data)
    found = score(metrics, hypotheses, references, language)
    return {
        metric: one
        for metric, one in found.items()
        if one.signature == kept[metric]["signature"]
        and abs(one.score - kept[metric]["score"]) < CLOSE
    }
