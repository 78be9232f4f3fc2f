"""`seq2seq train`: prepares, trains, keeps the best model; the same command resumes.

Under `torchrun` several processes do as one. The first of them writes all files and speaks.
"""

import json
import signal
from pathlib import Path

import torch
from torch import Tensor

from seq2seq import distributed
from seq2seq.claims import (
    as_begun,
    check_base,
    check_config,
    check_data,
    check_folder,
    check_origins,
    claimed,
    move_aside,
)
from seq2seq.config import Config, dump
from seq2seq.config.changing import changed
from seq2seq.config.objectives import TRANSLATION
from seq2seq.console import say
from seq2seq.data.batches import Batches
from seq2seq.data.mixing import Mixture
from seq2seq.data.objectives import Objectives
from seq2seq.data.resampling import Resampler
from seq2seq.data.store import SIDES
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.errors import Stopped
from seq2seq.files import read_object, write_file, write_json
from seq2seq.layout import BEST, CHECKPOINTS, RUNS
from seq2seq.models import Seq2Seq, build
from seq2seq.models.folder import choose_device, recover_model, save_model, set_weights
from seq2seq.origins import (
    base_named,
    completed,
    freeze,
    take_base,
    take_weights,
    with_stand_in,
)
from seq2seq.prepare import Prepared, prepare
from seq2seq.runs import REMAKE, UNSCORED, read_best
from seq2seq.training import loop
from seq2seq.training.capacity import ON_A_PROCESSOR, batch_tokens
from seq2seq.training.checkpoint import Checkpoints, Progress, judged_weights
from seq2seq.training.learner import Learner
from seq2seq.training.limits import first_limit, schedule_warnings
from seq2seq.training.precision import NAMES, choose_precision
from seq2seq.training.progress import Log, Scores, described
from seq2seq.training.ranking import NONE, PERPLEXITY, rank
from seq2seq.training.stopping import stop_signals
from seq2seq.validation import Validation


def train(config: Config, *, fresh: bool = False, workers: int | None = None) -> None:
    """Trains the model of a config, or goes on where it was left.

    Raises a UserError if the run folder belongs to another config or other data, and Stopped when
    a signal asked to stop and everything has been saved.
    """
    folder = RUNS / config.name
    usable = completed(config if fresh else with_stand_in(config, folder))
    named = {name: getattr(config.training, name) for name in ("init_from", "extend_vocab")}
    config = changed(usable, "training", named)
    with claimed(folder):
        with distributed.together():
            if fresh and distributed.leads():
                move_aside(folder)
        config = as_begun(folder, config)
        begun = {"normalization": config.tokenizer.normalization}
        usable = changed(usable, "tokenizer", begun)
        with distributed.together():
            if distributed.leads():
                check_folder(folder)
                check_config(folder, config)
                check_origins(folder, config)
        prepared = prepare(usable, workers=workers)
        distributed.hurry()
        run = Run(folder, config, prepared)
        with Log(folder, config.training, run.progress) as log, distributed.waiting():
            run.train(log)
    if distributed.leads():
        say(run.best_described())
        if config.data.valid.objective == TRANSLATION:
            say(f"use it: seq2seq translate --model {run.best} < input.txt")
        else:
            say(f"start from it: training.init_from: {run.best}")


class Run:
    """A training: what it is made of, and what of it is kept."""

    def __init__(self, folder: Path, config: Config, prepared: Prepared) -> None:
        self.folder = folder
        self.best = folder / BEST
        self.config = config
        self.tokenizers = prepared.tokenizers
        self.validation = Validation(config, prepared)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS)
        done = self.checkpoints.updates()
        self.learner = new_learner(config, prepared.tokenizers, resuming=bool(done))
        self.model = self.learner.model
        self.progress = Progress()
        self.base = base_named(config)  # of the adapters that learn, if there are any
        self.scores = Scores({}, {})  # of the last validation
        with distributed.together():
            if distributed.leads():
                check_data(folder, prepared.key, config)
                check_base(folder, self.base)
                write_file(folder / "config.yaml", dump(config))
                recover_model(self.best)
        self.batches = training_batches(config, prepared, self._batch_tokens())
        if done:
            self._resume(done[-1])

    def train(self, log: Log) -> None:
        """Trains until a limit or a signal, and averages at the end."""
        self._introduce(log)
        with stop_signals(log) as stop:
            self.progress = loop.train(
                self.learner,
                self.batches,
                self.config.training,
                progress=self.progress,
                validate=lambda progress: self._validate(progress, log),
                save=self._save,
                log=log,
                stop=stop,
            )
        if reason := self.progress.limit(self.config.training):
            log.say(f"training is over: {reason}")
            self._average(log)
        else:
            raise Stopped(
                stop.number or signal.SIGTERM,  # the signal may have come to another process
                f"stopped after update {self.progress.update:,}, and saved; "
                "the same command goes on from there",
            )

    def best_described(self) -> str:
        """Where the best model is, how good it is, and what to do if another is there."""
        best = read_best(self.folder)
        if best is None:
            return f"there is no best model: {self.best} is missing; {REMAKE}"
        if not best.scores:
            return f"{self.best} holds {best}, {UNSCORED}"
        mean = f", {best}" if best.average else ""
        return f"the best model is in {self.best}{mean}; validation: {described(best.scores)}"

    def _batch_tokens(self) -> int:
        """How large batches are if the config leaves it open; a run keeps to what it found."""
        found = self.folder / "batch_tokens.json"
        if self.config.training.batch_tokens != "auto":
            return self.config.training.batch_tokens
        if not found.exists():
            tokens = batch_tokens(self.learner, self.config.data.max_length)
            tokens = distributed.least(tokens)
            with distributed.together():
                if distributed.leads():
                    write_json(found, tokens)
        return int(json.loads(found.read_text()))

    def _introduce(self, log: Log) -> None:
        training = self.config.training
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        precision = NAMES[self.model.precision or torch.float32]
        processes = f"{distributed.size()} processes of " if distributed.size() > 1 else ""
        epoch = self.batches.epoch(self.progress.epoch)
        some = epoch[:1000]  # in random order: enough to tell the share of padding
        log.say(
            f"{self.folder}: {self.config.model.kind} of {parameters:,} parameters on "
            f"{self.learner.device} in {precision}, {processes}{torch.get_num_threads()} threads; "
            f"{len(self.batches.store):,} pairs in {len(epoch):,} batches an epoch, "
            f"{self.batches.padding(some):.1%} padding"
        )
        updates = -(-len(epoch) // training.accumulate)
        if not self.progress.limit(training):
            for warning in schedule_warnings(training, first_limit(training, updates)):
                log.say(f"warning: {warning}")
        if self.progress.update:
            log.say(f"going on after update {self.progress.update:,}")
            best = read_best(self.folder)
            if best and not best.scores:
                log.say(f"{self.best} holds {best}, {UNSCORED}")

    def _resume(self, update: int) -> None:
        with distributed.together():  # so that one says what is damaged
            found = self.checkpoints.load(update) if distributed.leads() else None
        state, self.progress, before = found or self.checkpoints.load(update)
        self.learner.restore(state, self.checkpoints.path(update))
        with distributed.together():
            if distributed.leads() and not self.best.is_dir():
                self._recover_best()
        now = surroundings(self.model)
        if (before != now) and distributed.leads():
            say(
                f"warning: {self.folder} was trained with {described_surroundings(before)}, now "
                f"with {described_surroundings(now)}: sums may be rounded differently"
            )

    def _recover_best(self) -> None:
        """Makes the best model again, which someone removed, from the best checkpoint there is."""
        metric, there = self.config.training.metrics[0], self.checkpoints.updates()
        ranked = self.progress.best(len(self.progress.scores), metric)
        left = [update for update in ranked if update in there]
        if not left:
            return  # nothing has been validated, or the next better validation makes it
        update, key = left[0], str(left[0])
        valid = {metric: self.progress.scores[key], PERPLEXITY: self.progress.ties.get(key)}
        chance = self.progress.chances.get(key)
        scores = {"update": update, "valid": valid, "chance": chance}
        weights = self.checkpoints.weights(update)
        save_model(self.best, self.config, self.tokenizers, weights, scores, self.base)
        say(f"{self.best} was missing; it was made again from the checkpoint of update {update:,}")

    def _save(self, progress: Progress) -> None:
        training = self.config.training
        state = self.learner.state()
        with distributed.together():
            if not distributed.leads():
                return
            # The best model goes first: if the process is killed in between, what leads to it is
            # done again, whereas a checkpoint that knows of it would never write it.
            if self.scores.valid and progress.best(1, training.metrics[0]) == [progress.update]:
                self._offer(judged_weights(state), {"update": progress.update})
            self.checkpoints.save(state, progress, surroundings(self.model))
            self.checkpoints.prune(progress, training)

    def _offer(self, weights: dict[str, Tensor], origin: dict[str, object]) -> None:
        """Makes these weights, just validated, the best model, unless the one there is better.

        A mean that `seq2seq average` made stays: someone has put it there, and it has no score.
        """
        metric = self.config.training.metrics[0]
        best = read_best(self.folder)
        if best and metric not in best.scores:
            return
        before = rank(best.scores, metric, best.chance) if best else NONE
        now = rank(self.scores.valid, metric, self.scores.chance)
        if now < before or (now == before and "average" not in origin):
            scores = {**origin, **self.scores.record}
            save_model(self.best, self.config, self.tokenizers, weights, scores, self.base)

    def _validate(self, progress: Progress, log: Log) -> Scores:
        """Perplexity and accuracy; scores of greedy translations when it is time for them."""
        training = self.config.training
        validations = -(-progress.update // training.validate_every)
        final = progress.limit(training) is not None
        with self.learner.judged() as model:
            self.scores = self.validation.scores(
                model, log, translating=final or validations % training.decode_every == 0
            )
        return self.scores

    def _average(self, log: Log) -> None:
        """Makes the mean of some checkpoints the best model, if it is better."""
        training, metric = self.config.training, self.config.training.metrics[0]
        finished = self.folder / "finished.json"
        if finished.exists() and read_object(finished).get("update") == self.progress.update:
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
            model = new_model(self.config, self.tokenizers).eval()
            set_weights(model, mean, self.folder)
            self.scores = self.validation.scores(model, log)
            log.say(f"mean of {len(chosen)} checkpoints: {described(self.scores.valid)}")
            record |= {"average": sorted(chosen), **self.scores.record}
            with distributed.together():
                if distributed.leads() and metric in self.scores.valid:
                    self._offer(mean, {"average": sorted(chosen)})
        with distributed.together():
            if distributed.leads():
                write_json(finished, record)


def new_model(config: Config, tokenizers: Tokenizers) -> Seq2Seq:
    """A model with random weights, or adapters for those of another, where the config wants it."""
    torch.manual_seed(config.seed)
    model = build(config, len(tokenizers.source), len(tokenizers.target))
    take_base(model, config)
    return model.to(choose_device(config.device))


def new_learner(config: Config, tokenizers: Tokenizers, *, resuming: bool = False) -> Learner:
    """A model that is about to learn, in the precision that the config wants.

    It has the weights that training starts from, unless it is `resuming`: others will come then.
    Under torchrun all must call this.
    """
    model = new_model(config, tokenizers)
    if not resuming:
        take_weights(model, config, tokenizers)
    freeze(model, config.training.freeze)
    device = next(model.parameters()).device
    precision = choose_precision(config.training.precision, device)
    model.precision = None if precision == torch.float32 else precision
    if config.training.compile:
        model.compile(dynamic=True)
    return Learner(model, config.training, lambda: new_model(config, tokenizers))


def surroundings(model: Seq2Seq) -> dict[str, object]:
    """What rounding depends on, beside the config."""
    return {
        "precision": NAMES[model.precision or torch.float32],
        "processes": distributed.size(),
        "threads": torch.get_num_threads(),
    }


def described_surroundings(found: dict[str, object]) -> str:
    """Surroundings as people read them."""
    return ", ".join(
        f"{value} {name}" if isinstance(value, int) else str(value) for name, value in found.items()
    )


def training_batches(
    config: Config, prepared: Prepared, batch_tokens: int = ON_A_PROCESSOR
) -> Batches:
    """The training set in batches: corpora mixed and segments cut as the config says.

    `batch_tokens` is how large they are if the config leaves it open.
    """
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
    tasks = [corpus.objective for corpus in data.train]
    objectives = Objectives(prepared.tokenizers, tasks, prepared.corpora, config.seed)
    return Batches(
        prepared.train,
        batch_tokens if training.batch_tokens == "auto" else training.batch_tokens,
        seed=config.seed,
        mixture=Mixture.of(prepared.corpora, weights, data.temperature),
        resampler=resampler if training.subword_sampling != "none" else None,
        objectives=objectives,
    )
