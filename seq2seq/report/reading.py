"""All that the files of a run tell about it, whatever has become of it.

A run may be training, broken, or without an evaluation. What is not there, or cannot be read, is
None or empty, and `missing` says in words why, and how to get it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from seq2seq.config import Config, load
from seq2seq.data.prepared import Manifest
from seq2seq.errors import UserError
from seq2seq.evaluation.keeping import Origin, options_apart, options_of, read_origin
from seq2seq.files import MANIFEST, check_regular, fingerprint, standing
from seq2seq.layout import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    ENVIRONMENT,
    METRICS,
    SAMPLES,
    SCORES,
    WEIGHTS,
)
from seq2seq.overview import Overview, overview
from seq2seq.prepare import SETS, folder_of
from seq2seq.report.sound import (
    Record,
    is_number,
    is_part,
    is_whole,
    items,
    json_object,
    json_or_none,
    only,
    scores_in,
    slices_in,
)

SECTIONS = ("scores", "curves", "samples", "data", "options", "environment")  # of a report
OF = "/"  # between a metric and the set that is watched, where scores stand side by side

T = TypeVar("T")


class Evaluation(NamedTuple):
    """What `seq2seq evaluate` kept of a test set."""

    name: str
    path: Path
    origin: Origin | None  # none of files of older versions
    mark: str  # why it is not the score of the run as it is now; nothing if it is
    metrics: dict[str, Record]  # by metric: score, signature, and interval if it has one
    lines: int
    counts: Record  # of what went wrong, by its name
    distinct: Record  # shares of words, and of pairs of words
    warnings: list[str]
    slices: dict[str, dict[str, Record]]  # scores by kind of slice, and its name
    stale: bool  # whether they are of another model than is the best one now


class Run(NamedTuple):
    """What the files of a run tell."""

    folder: Path
    overview: Overview
    config: Config | None
    updates: list[Record]  # the lines of metrics.jsonl on training, by update
    validations: list[Record]  # those on validation
    samples: list[Record]  # update, source, reference, ours
    evaluations: list[Evaluation]
    best: Record  # scores.json of the best model
    data: Record | None  # the parts of the prepared data's manifest
    prepared: Path | None  # where that lies
    files: dict[str, Any]  # of text, by path: bytes, sha256
    environment: Record
    missing: dict[str, str]  # by section: what it lacks, and how to get it; nothing if it is whole

    @property
    def name(self) -> str:
        """What the run's folder is called."""
        return self.folder.resolve().name


def read(folder: Path) -> Run:
    """All that is known of the run in a folder; a UserError if it is no folder of a run."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name a run, such as runs/quickstart")
    if not any((folder / name).exists() for name in (CONFIG, METRICS, CHECKPOINTS)):
        raise UserError(
            f"{folder} is no run: it has no {CONFIG}; name one, such as runs/quickstart"
        )
    missing = dict.fromkeys(SECTIONS, "")
    records = lines(folder / METRICS, missing, "curves")
    updates = [one for one in records if "loss" in one]
    if not updates:
        missing["curves"] = missing["curves"] or (
            f"There is no line about training in {METRICS} yet. One is written every "
            "training.log_every updates: make the page again in a while."
        )
    samples = lines(folder / SAMPLES, missing, "samples")
    if not samples:
        missing["samples"] = missing["samples"] or (
            "No samples have been kept. Each validation that translates keeps as many as "
            "training.samples says; runs of older versions only showed them."
        )
    config = read_config(folder, missing)
    manifest = read_data(folder, config, missing)
    return Run(
        folder,
        overview(folder),
        config,
        updates,
        [side_by_side(one) for one in records if isinstance(one.get("valid"), dict)],
        samples,
        read_evaluations(folder, config, missing),
        json_object(standing(folder / BEST) / SCORES) or {},
        manifest.parts if manifest else None,
        manifest.folder if manifest else None,
        dict(items(manifest and manifest.files)),
        read_environment(folder, missing),
        missing,
    )


def side_by_side(validation: Record) -> Record:
    """A validation with the scores of the sets watched beside it among the others."""
    watched = {
        f"{metric}{OF}{name}": score
        for name, found in items(validation.get("watch"))
        for metric, score in items(found)
    }
    return {**validation, "valid": validation["valid"] | watched}


def lines(path: Path, missing: dict[str, str], section: str) -> list[Record]:
    """The whole lines of a file of JSON objects, each with its update; the last may be half."""
    if not path.is_file():
        if path.exists():
            missing[section] = f"{path.name} is no regular file."
        return []
    found = [json_or_none(line) for line in path.read_bytes().split(b"\n")[:-1]]
    kept = [one for one in found if isinstance(one, dict) and is_whole(one.get("update"))]
    if len(kept) < len(found):
        missing[section] = (
            f"{len(found) - len(kept):,} of the {len(found):,} lines of {path.name} cannot be "
            "read and are left out: the file has been altered."
        )
    return kept


def read_config(folder: Path, missing: dict[str, str]) -> Config | None:
    """The config of a run, if it can be read."""
    try:
        check_regular(folder / CONFIG)
        return load(folder / CONFIG)
    except UserError as error:
        missing["options"] = f"{error}"
    except OSError as error:
        missing["options"] = f"{folder / CONFIG} cannot be read: {error.strerror}."
    return None


def read_evaluations(
    folder: Path, config: Config | None, missing: dict[str, str]
) -> list[Evaluation]:
    """What was kept of each test set, by name; what is not of the run as it is now comes last."""
    found = []
    best = json_object(standing(folder / BEST) / MANIFEST) or {}
    weights = part(best, WEIGHTS, "sha256", str)
    for path in sorted((folder / "evaluation").glob(f"*.{SCORES}")):
        content = json_object(path) or {}
        sets = content.get("sets")
        name = path.name.removesuffix(f".{SCORES}")
        if isinstance(sets, dict) and name not in sets and len(sets) == 1:
            (name,) = sets  # of another origin than the scores that have the plain name
        one = sets.get(name) if isinstance(sets, dict) else None
        if not isinstance(one, dict):
            missing["scores"] = f"{path} cannot be read; make it again: seq2seq evaluate {folder}"
            continue
        lines = part(content, "lines", name, int) or 0
        found.append(
            Evaluation(
                name,
                path,
                (origin := read_origin(content, name)),
                mark_of(origin, weights, config),
                scores_in(one),
                lines,
                only(part(content, "counts", name, dict), is_whole),
                only(part(content, "distinct", name, dict), is_number),
                part(content, "warnings", name, list) or [],
                slices_in(part(content, "slices", name, dict)),
                origin is None or origin.model["sha256"] != weights,
            )
        )
    if not found:
        remedy = f"No test set has been scored: seq2seq evaluate {folder}"
        missing["scores"] = missing["scores"] or remedy
    named = {one.name: one for one in found if one.path.name == f"{one.name}.{SCORES}"}
    found = [one if one.mark else beside(one, named.get(one.name, one)) for one in found]
    return sorted(found, key=lambda one: (one.name, bool(one.mark)))


def beside(one: Evaluation, named: Evaluation) -> Evaluation:
    """Scores with a mark, if others have the plain name of their test set."""
    if one is named or one.origin is None or named.origin is None:
        return one
    if one.origin.test != named.origin.test:
        return one._replace(mark="Of another test set with this name.")
    return one._replace(mark="Of the same model, which gave other translations then.")


def mark_of(origin: Origin | None, weights: str | None, config: Config | None) -> str:
    """Why scores are not those of a run with these best weights, and this config."""
    if origin is None:
        return (
            "It is not known which model made these scores, nor with which options: they were "
            "kept by an older version. Make them again: seq2seq evaluate"
        )
    if origin.model["sha256"] != weights:
        update = origin.model.get("update")
        known = f" of update {update:,}" if isinstance(update, int) else ""
        return (
            f"Out of date: these are scores of another model{known}, and the best model has "
            "changed since. Make them again: seq2seq evaluate"
        )
    if config and (apart := options_apart(origin.decoding, options_of(config.decoding))):
        return f"Translated with other options than the run's: {apart}."
    return ""


def part(content: Record, key: str, name: str, kind: type[T]) -> T | None:
    """What a file of scores tells of a test set under a key; None if it does not."""
    sets = content.get(key)
    found = sets.get(name) if isinstance(sets, dict) else None
    return found if isinstance(found, kind) else None


def read_data(folder: Path, config: Config | None, missing: dict[str, str]) -> Manifest | None:
    """The manifest of the prepared data that the run learned from."""
    if config is None:
        missing["data"] = "Without the run's config it is not known where its data lies."
        return None
    place = folder_of(config)
    there = json_object(place / MANIFEST) is not None  # else there may be a pipe in its place
    manifest = Manifest(place) if there else None
    parts = dict(items(manifest and manifest.parts))
    if manifest is None or not all(is_part(parts.get(name)) for name in SETS):
        missing["data"] = (
            f"The prepared data is not in {place} (seen from here). Run this where the run was "
            f"trained, or make it again: seq2seq prepare {folder / CONFIG}"
        )
        return None
    known = json_object(folder / "data.json") or {}
    if known.get("key") not in (None, fingerprint([parts[name]["key"] for name in SETS])):
        missing["data"] = (
            f"{place} has been prepared anew since, of other text or with other options: what is "
            "shown here is not what this run learned from."
        )
    return manifest


def read_environment(folder: Path, missing: dict[str, str]) -> Record:
    """What the run was last trained with; of an older run, what its last checkpoint knows."""
    found = json_object(folder / ENVIRONMENT)
    states: Sequence[Path] = sorted((folder / CHECKPOINTS).glob(f"step-{8 * '[0-9]'}/state.json"))
    state = json_object(states[-1]) if states else None
    around = (state or {}).get("surroundings")
    if found is None:
        missing["environment"] = (
            f"Versions and machine are not known: there is no {ENVIRONMENT}, which training writes."
        )
    return {**(found or {}), **(around if isinstance(around, dict) else {})}
