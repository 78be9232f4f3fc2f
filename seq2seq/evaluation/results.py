"""What an evaluation found: as JSON, and as tables for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.scoring.metrics import Score
from seq2seq.scoring.significance import Difference, compare, interval
from seq2seq.scoring.slices import Slices, furthest, part_of

Scores = dict[str, Score]

FURTHEST = 5  # lines to show in which another system is better, and as many in which it is worse


COUNTED = {  # what counts are of, in words
    "empty": "empty",
    "repetitions": "repetitive",
    "too_long": "more than twice as long as the reference",
    "copies": "copies of the source",
    "learned": "with a reference from the training set",
}


class Judged(NamedTuple):
    """How good hypotheses of a test set are, and what seems to be wrong with them."""

    scores: Scores
    counts: dict[str, int]  # of what went wrong, by its name
    distinct: dict[str, float]  # shares of words, and of pairs of words
    warnings: list[str]
    slices: dict[str, Slices]  # by what the lines are told apart by
    texts: dict[str, Sequence[str]]  # source (if known), reference and hypothesis of each line

    @property
    def lines(self) -> int:
        """How many there are."""
        return len(self.texts["hypothesis"])


class Result(NamedTuple):
    """How good a model, or a file of hypotheses, is on each test set."""

    model: Path | None
    label: str  # what a table calls it
    sets: dict[str, Judged]


def as_object(results: Sequence[Result]) -> dict[str, Any]:
    """The results as JSON has them: the first, and how the others differ from it."""
    first, *others = results
    made: dict[str, Any] = {
        "model": None if first.model is None else str(first.model),
        "sets": {
            name: {
                metric: {
                    "score": one.score,
                    "interval": list(interval(one)),
                    "signature": one.signature,
                }
                for metric, one in judged.scores.items()
            }
            for name, judged in first.sets.items()
        },
        "lines": {name: judged.lines for name, judged in first.sets.items()},
        "counts": {name: judged.counts for name, judged in first.sets.items()},
        "distinct": {name: judged.distinct for name, judged in first.sets.items()},
        "warnings": {name: judged.warnings for name, judged in first.sets.items()},
        "slices": {name: sliced(judged) for name, judged in first.sets.items()},
    }
    if others:
        made["compared"] = {
            other.label: {
                name: {
                    metric: {"score": judged.scores[metric].score, **difference._asdict()}
                    for metric, difference in differences(judged, first.sets[name]).items()
                }
                for name, judged in other.sets.items()
            }
            for other in others
        }
        made["differing"] = {
            other.label: {
                name: differing(judged, first.sets[name]) for name, judged in other.sets.items()
            }
            for other in others
        }
    return made


def summary(lines: int, counts: Mapping[str, int], distinct: Mapping[str, float]) -> str:
    """The counts, and how varied the words are, in a sentence."""
    found = (f"{count:,} {COUNTED.get(what, what)}" for what, count in counts.items())
    varied = (f"{100 * share:.1f} % of {what}" for what, share in distinct.items())
    return f"of {lines:,} lines: {', '.join(found)}; {' and '.join(varied)} are distinct"


def sliced(judged: Judged) -> dict[str, dict[str, dict[str, float]]]:
    """How many lines each slice has, and their scores, by the kind of slice and its name."""
    return {
        by: {
            name: {
                "lines": len(lines),
                **{metric: part_of(one, lines).score for metric, one in judged.scores.items()},
            }
            for name, lines in slices.items()
        }
        for by, slices in judged.slices.items()
    }


def differences(judged: Judged, baseline: Judged) -> dict[str, Difference]:
    """How scores differ from others of the same sentences, where they can be compared."""
    return {
        metric: compare(one, baseline.scores[metric])
        for metric, one in judged.scores.items()
        if metric in baseline.scores and one.is_like(baseline.scores[metric])
    }


def differing(judged: Judged, baseline: Judged) -> list[dict[str, Any]]:
    """The lines in which another system differs most from the first, by the chrF of each.

    Those in which it is better come first. There are none where chrF was not asked for.
    """
    if "chrf" not in judged.scores or "chrf" not in baseline.scores:
        return []
    given = {name: lines for name, lines in judged.texts.items() if name != "hypothesis"}
    return [
        {
            "line": line + 1,
            "chrf": difference,
            **{name: lines[line] for name, lines in given.items()},
            "first": baseline.texts["hypothesis"][line],
            "other": judged.texts["hypothesis"][line],
        }
        for line, difference in furthest(judged.scores["chrf"], baseline.scores["chrf"], FURTHEST)
    ]
