"""All that a run is: its folder, its checkpoints, and how it goes on where it was.

    runs/<name>/
        config.yaml               every option, defaults written out
        metrics.jsonl             one JSON object a line
        checkpoints/step-00002000/  model, optimizer, mean, state.json, manifest.json
        best/                     the model folder
        finished.json             how it ended

A checkpoint is complete or absent, never half; none of its files can run code. Random numbers need
not be kept: they are a function of the seed, the update and the process.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from seq2seq.config import Training
from seq2seq.errors import UserError
from seq2seq.files import (
    MANIFEST,
    check_manifest,
    new_folder,
    read_manifest,
    recorded_names,
    remove,
    write_json,
    write_manifest,
)
from seq2seq.layout import update_of
from seq2seq.training.averaging import UPDATES, mean
from seq2seq.training.ranking import PERPLEXITY, Rank, is_noise, outcomes, rank

STATE = "state.json"
REMEDY = "move it away, and the checkpoint before it will be used"
State = Mapping[str, Mapping[str, Tensor]]  # tensors by name, in files by name
WEIGHTS, OPTIMIZER, MEAN, SCALE = "model", "optimizer", "mean", "scale"  # the files


@dataclass(frozen=True)
class Progress:
    """Where a training is."""

    update: int = 0  # updates done
    epoch: int = 0  # epochs done
    position: int = 0  # updates done in this epoch
    seconds: float = 0.0  # spent training and validating, over all parts of the run
    worse: int = 0  # judged validations since the best one
    scores: dict[str, float] = field(default_factory=dict)  # of the judging metric, by update
    ties: dict[str, float] = field(default_factory=dict)  # perplexities, by update
    chances: dict[str, float] = field(default_factory=dict)  # of the scores, where it is known

    def after_update(self, updates_an_epoch: int) -> "Progress":
        """After one more update."""
        over = self.position + 1 == updates_an_epoch
        return replace(
            self,
            update=self.update + 1,
            epoch=self.epoch + over,
            position=0 if over else self.position + 1,
        )

    def judged(
        self, found: Mapping[str, float], metric: str, chance: float | None = None
    ) -> "Progress":
        """After a validation, whose scores need not tell of the judging metric.

        One whose score is noise does not count as worse if its perplexity is the least so far.
        """
        if metric not in found:
            return self
        now = str(self.update)
        judged = replace(
            self,
            scores={**self.scores, now: found[metric]},
            ties=self.ties | ({now: found[PERPLEXITY]} if PERPLEXITY in found else {}),
            chances=self.chances | ({} if chance is None else {now: chance}),
        )
        *_, outcome = outcomes(judged.ranks(metric).values())
        worse = {"better": 0, "learns": self.worse, "worse": self.worse + 1}
        return replace(judged, worse=worse[outcome])

    def ranks(self, metric: str) -> dict[int, Rank]:
        """How good the model was after each update that was judged, in order; less is better."""
        found = {}
        for update, score in self.scores.items():
            scores = {PERPLEXITY: self.ties.get(update, math.inf), metric: score}
            found[int(update)] = rank(scores, metric, self.chances.get(update))
        return found

    def best(self, count: int, metric: str) -> list[int]:
        """The updates after which the model was best, as `ranking` has it, best first."""
        ranks = self.ranks(metric)
        return sorted(ranks, key=lambda update: (ranks[update], update))[:count]

    def limit(self, config: Training) -> str | None:
        """Why training is over, if it is."""
        if self.update >= config.max_updates:
            return f"{self.update:,} updates done (training.max_updates)"
        if config.max_epochs and self.epoch >= config.max_epochs:
            return f"{self.epoch} epochs done (training.max_epochs)"
        if config.max_minutes and self.seconds >= 60 * config.max_minutes:
            return f"{self.seconds / 60:.1f} minutes spent (training.max_minutes)"
        if config.patience and self.worse >= config.patience:
            metric, now = config.metrics[0], str(self.update)
            noise = is_noise(self.scores.get(now, 0.0), metric, self.chances.get(now))
            better = f"{PERPLEXITY}, {metric} being noise" if noise else metric
            return f"{self.worse} validations without a better {better} (training.patience)"
        return None

    def share_done(self, config: Training, updates_an_epoch: int) -> float:
        """How much of the training is done, by the limit that is nearest."""
        shares = [self.update / config.max_updates]
        if config.max_epochs:
            shares.append((self.epoch + self.position / updates_an_epoch) / config.max_epochs)
        if config.max_minutes:
            shares.append(self.seconds / (60 * config.max_minutes))
        return min(1.0, max(shares))


class Checkpoints:
    """The checkpoints of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, update: int) -> Path:
        """Where the checkpoint after an update lies."""
        return self.folder / f"step-{update:08d}"

    def updates(self) -> list[int]:
        """The updates after which there is a checkpoint, in order."""
        found = [path for path in self.folder.glob("step-????????") if path.is_dir()]
        return sorted(map(update_of, found))

    def save(self, state: State, progress: Progress, surroundings: dict[str, object]) -> None:
        """Writes a checkpoint."""
        from safetensors.torch import save

        with new_folder(self.path(progress.update)) as partial:
            for name, tensors in state.items():
                (partial / f"{name}.safetensors").write_bytes(save(dict(tensors)))
            known = {"progress": asdict(progress), "surroundings": surroundings}
            write_json(partial / STATE, known)
            write_manifest(partial)

    def load(self, update: int) -> tuple[State, Progress, dict[str, object]]:
        """What was saved.

        Raises a UserError that names what is damaged.
        """
        folder = self._intact(update)
        state = {file.stem: read(file) for file in sorted(folder.glob("*.safetensors"))}
        known, progress = read_state(folder)
        scores, ties = map(_with_infinity, (progress.scores, progress.ties))
        return state, replace(progress, scores=scores, ties=ties), known["surroundings"]

    def weights(self, update: int) -> dict[str, Tensor]:
        """The weights that were judged at a checkpoint: the running mean where there is one.

        Raises a UserError that names what is damaged.
        """
        folder = self._intact(update)
        running_mean = folder / f"{MEAN}.safetensors"
        if not running_mean.exists():
            return read(folder / f"{WEIGHTS}.safetensors")
        weights = read(running_mean)
        del weights[UPDATES]
        return weights

    def _intact(self, update: int) -> Path:
        folder = self.path(update)
        check_checkpoint(folder)
        return folder

    def average(self, updates: Sequence[int]) -> dict[str, Tensor]:
        """The mean of the weights of some checkpoints."""
        return mean(self.weights(update) for update in updates)

    def validated(self, progress: Progress, config: Training) -> list[int]:
        """The updates of checkpoints that a run which never stopped would have, in order."""
        return [
            update
            for update in self.updates()
            if update % config.validate_every == 0 or str(update) in progress.scores
        ]

    def prune(self, progress: Progress, config: Training) -> None:
        """Removes all but the last and the best checkpoints, and those with files of others."""
        there = self.updates()
        kept = {
            there[-1],
            *self.validated(progress, config)[-config.keep_last :],
            *progress.best(config.keep_best, config.metrics[0]),
        }
        for update in there:
            if update not in kept and not strangers(self.path(update)):
                remove(self.path(update))


def strangers(folder: Path) -> list[str]:
    """What is in a checkpoint that is not of it; the folder itself, if it is but a link."""
    if folder.is_symlink():
        return [folder.name]
    ours = {MANIFEST, *recorded_names(folder)}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours)


def _with_infinity(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Scores with infinity in place of null, as which it was saved: JSON has none."""
    return {update: math.inf if score is None else score for update, score in scores.items()}


def judged_weights(state: State) -> dict[str, Tensor]:
    """The weights of a learner's state that were judged: the running mean if there is one."""
    weights = dict(state.get(MEAN, state[WEIGHTS]))
    weights.pop(UPDATES, None)
    return weights


def check_checkpoint(folder: Path) -> None:
    """Raises a UserError that names what is damaged, or what the manifest does not vouch for."""
    check_manifest(folder, REMEDY)
    named = read_manifest(folder).keys()
    there = {path.name for path in folder.glob("*.safetensors")}  # all that is read
    if lacking := sorted({f"{WEIGHTS}.safetensors", STATE, *there} - named):
        raise UserError(f"{folder} cannot be used: {MANIFEST} does not name {lacking[0]}; {REMEDY}")


def read_state(folder: Path) -> tuple[dict[str, Any], Progress]:
    """Return what a checkpoint knows beside tensors, and how far training had come there."""
    try:
        known = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return known, Progress(**known["progress"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{folder / STATE} has been altered; {REMEDY}") from None


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(file.read_bytes())
    except SafetensorError as error:
        raise UserError(f"{file} holds no tensors ({error}); {REMEDY}") from None
