"""`seq2seq train`: prepares, trains, keeps the best model; the same command resumes."""

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from seq2seq import distributed
from seq2seq.config import Config, differences, dump, load
from seq2seq.console import say
from seq2seq.data.batches import Batches
from seq2seq.data.mixing import Mixture
from seq2seq.data.resampling import Resampler
from seq2seq.data.store import SIDES
from seq2seq.decoding.translator import Translator
from seq2seq.errors import Stopped, UserError
from seq2seq.files import lock, recover_folder, write_file, write_json
from seq2seq.models import build
from seq2seq.models.folder import SCORES, choose_device, save_model, set_weights, weights_of
from seq2seq.prepare import Prepared, prepare
from seq2seq.runs import RUNS
from seq2seq.scoring.metrics import score
from seq2seq.text.corpus import read_pairs
from seq2seq.text.sources import find
from seq2seq.training import loop
from seq2seq.training.checkpoint import Checkpoints, Progress
from seq2seq.training.loss import perplexity
from seq2seq.training.optimizer import build_optimizer
from seq2seq.training.progress import Log, described


def train(config: Config, *, fresh: bool = False, workers: int | None = None) -> None:
    """Trains the model of a config, or goes on where it was left.

    Raises a UserError if the run folder belongs to another config or other data, and Stopped when
    a signal asked to stop and everything has been saved.
    """
    if distributed.size() > 1:
        raise UserError("train is for one process as yet; start prepare alone with torchrun")
    folder = RUNS / config.name
    with lock(RUNS / f".{config.name}.lock", f"{folder} is being trained by another process"):
        if fresh:
            move_aside(folder)
        check_config(folder, config)
        run = Run(folder, config, prepare(config, workers=workers))
        with Log(folder / "metrics.jsonl", config.training, run.progress) as log:
            run.train(log)
    say(f"the best model is in {run.best}; validation: {described(run.best_scores())}")
    say(f"use it: seq2seq translate --model {run.best} < input.txt")


class Run:
    """A training: what it is made of, and what of it is kept."""

    def __init__(self, folder: Path, config: Config, prepared: Prepared) -> None:
        self.folder = folder
        self.best = folder / "best"
        self.config = config
        self.tokenizers = prepared.tokenizers
        self.device = choose_device(config.device)
        training = config.training
        self.batches = training_batches(config, prepared)
        self.valid_batches = Batches(prepared.valid, training.batch_tokens)
        self.valid_text = list(read_pairs(find(config.data.valid, config.data)))

        torch.manual_seed(config.seed)
        vocab_sizes = len(self.tokenizers.source), len(self.tokenizers.target)
        self.model = build(config, *vocab_sizes).to(self.device)
        self.optimizer = build_optimizer(self.model, training)
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.progress = Progress()
        self.scores: dict[str, float] = {}  # of the last validation
        check_data(folder, prepared.key)
        write_file(folder / "config.yaml", dump(config))
        recover_folder(self.best)
        if done := self.checkpoints.updates():
            self._resume(done[-1])

    def train(self, log: Log) -> None:
        """Trains until a limit or a signal, and averages at the end."""
        self._introduce(log)
        with stop_signals(log) as stop:
            self.progress = loop.train(
                self.model,
                self.optimizer,
                self.batches,
                self.config.training,
                progress=self.progress,
                validate=lambda progress: self._validate(progress, log),
                save=self._save,
                log=log,
                stop=stop,
            )
        if stop.number is not None:
            raise Stopped(
                stop.number,
                f"stopped after update {self.progress.update:,}, and saved; "
                "the same command goes on from there",
            )
        reason = self.progress.limit(self.config.training)
        log.say(f"training is over: {reason}")
        self._average(log)

    def best_scores(self) -> dict[str, float]:
        """The scores of the best model on the validation set; none if there is no model yet."""
        file = self.best / SCORES
        return json.loads(file.read_text(encoding="utf-8"))["valid"] if file.exists() else {}

    def _introduce(self, log: Log) -> None:
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        epoch = self.batches.epoch(self.progress.epoch)
        some = epoch[:1000]  # in random order: enough to tell the share of padding
        log.say(
            f"{self.folder}: {self.config.model.kind} of {parameters:,} parameters on "
            f"{self.device}, {torch.get_num_threads()} threads; {len(self.batches.store):,} pairs "
            f"in {len(epoch):,} batches an epoch, {self.batches.padding(some):.1%} padding"
        )
        if self.progress.update:
            log.say(f"going on after update {self.progress.update:,}")

    def _resume(self, update: int) -> None:
        self.progress, threads = self.checkpoints.load(update, self.model, self.optimizer)
        if threads != torch.get_num_threads():
            say(
                f"warning: {self.folder} was trained with {threads} threads, now with "
                f"{torch.get_num_threads()}: sums may be rounded differently"
            )

    def _save(self, progress: Progress) -> None:
        training = self.config.training
        # The best model goes first: if the process is killed in between, what leads to it is done
        # again, whereas a checkpoint that knows of it would never write it.
        if progress.best(1, training.metrics[0]) == [progress.update]:
            self._offer(weights_of(self.model), {"update": progress.update})
        self.checkpoints.save(self.model, self.optimizer, progress)
        self.checkpoints.prune(progress, training)

    def _offer(self, weights: dict[str, Tensor], origin: dict[str, object]) -> None:
        """Makes these weights, just validated, the best model, unless the one there is better."""
        metric = self.config.training.metrics[0]
        there = self.best_scores().get(metric)
        now = self.scores[metric]
        gain = 1.0 if there is None else Progress.rank(now, metric) - Progress.rank(there, metric)
        if gain > 0 or (gain == 0 and "average" not in origin):
            scores = {**origin, "valid": self.scores}
            save_model(self.best, self.config, self.tokenizers, weights, scores)

    def _validate(self, progress: Progress, log: Log) -> dict[str, float]:
        """Perplexity always; scores of greedy translations when it is time for them."""
        training = self.config.training
        self.scores = {"ppl": perplexity(self.model, self.valid_batches, self.device)}
        validations = -(-progress.update // training.validate_every)
        text_metrics = [metric for metric in training.metrics if metric != "ppl"]
        final = progress.limit(training) is not None
        if text_metrics and (final or validations % training.decode_every == 0):
            self.scores |= self._translate_and_score(text_metrics, log)
        return self.scores

    def _translate_and_score(self, metrics: Sequence[str], log: Log) -> dict[str, float]:
        translator = Translator(
            self.model,
            self.tokenizers,
            self.config.decoding.model_copy(update={"beam": 1}),
            self.config.data,
        )
        sources = [pair.source for pair in self.valid_text]
        hypotheses = translator.translate(sources, tag=self.config.data.valid.tag)
        for number in range(min(self.config.training.samples, len(hypotheses))):
            log.sample(*self.valid_text[number], hypotheses[number])
        found = score(metrics, hypotheses, [[pair.target for pair in self.valid_text]])
        return {name: one.score for name, one in found.items()}

    def _average(self, log: Log) -> None:
        """Makes the mean of some checkpoints the best model, if it is better."""
        training, metric = self.config.training, self.config.training.metrics[0]
        finished = self.folder / "finished.json"
        if finished.exists() and json.loads(finished.read_text())["update"] == self.progress.update:
            return
        there = self.checkpoints.updates()
        if training.average_of == "best":
            ranked = self.progress.best(len(self.progress.scores), metric)
            chosen = [update for update in ranked if update in there][: training.average]
        else:
            there = self.checkpoints.validated(self.progress, training)
            chosen = there[-training.average :]
        record: dict[str, object] = {
            "update": self.progress.update,
            "reason": self.progress.limit(training),
        }
        if training.average > 1 and len(chosen) > 1:
            mean = self.checkpoints.average(chosen)
            set_weights(self.model, mean, self.folder)
            self._validate(self.progress, log)
            log.say(f"mean of {len(chosen)} checkpoints: {described(self.scores)}")
            self._offer(mean, {"average": sorted(chosen)})
            record |= {"average": sorted(chosen), "valid": self.scores}
        write_json(finished, record)


def training_batches(config: Config, prepared: Prepared) -> Batches:
    """The training set in batches: corpora mixed and segments cut as the config says."""
    data, training = config.data, config.training
    weights = [corpus.weight for corpus in data.train]
    resampled = SIDES if training.subword_sampling == "both" else (training.subword_sampling,)
    resampler = Resampler(
        prepared.tokenizers,
        frozenset(resampled),
        training.subword_alpha,
        config.seed,
        data.max_length,
    )
    return Batches(
        prepared.train,
        training.batch_tokens,
        seed=config.seed,
        mixture=Mixture.of(prepared.corpora, weights, data.temperature),
        resampler=resampler if training.subword_sampling != "none" else None,
    )


class StopSignal:
    """Which signal asked to stop, if one did."""

    number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None


@contextmanager
def stop_signals(log: Log) -> Iterator[StopSignal]:
    """SIGINT and SIGTERM ask for a stop after the running step; a second SIGINT stops at once."""
    stop = StopSignal()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.number = number
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        with suppress(RuntimeError):  # raised if the signal came while a line was being written
            log.say("stopping after this step; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_config(folder: Path, config: Config) -> None:
    """Raises a UserError if a run was begun with options that make another result."""
    saved = folder / "config.yaml"
    if saved.exists() and (lines := differences(load(saved), config)):
        raise UserError(
            f"{folder} was begun with other options:\n  "
            + "\n  ".join(lines)
            + "\nrestore them, choose another name, or start over with --fresh (the old run is "
            "moved aside)"
        )


def check_data(folder: Path, key: str) -> None:
    """Raises a UserError if a run was begun with other prepared data."""
    saved = folder / "data.json"
    if not saved.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(saved, {"key": key})
    elif (before := json.loads(saved.read_text())["key"]) != key:
        raise UserError(
            f"{folder} was begun with other data ({before[:12]}) than there is now ({key[:12]}); "
            "restore the files, choose another name, or start over with --fresh"
        )


def move_aside(folder: Path) -> None:
    """Renames a run folder, so that nothing is lost."""
    if folder.exists():
        aside = next(
            path for number in count(1) if not (path := Path(f"{folder}.{number}")).exists()
        )
        folder.rename(aside)
        say(f"the old run is now {aside}")
