"""The laws of a training: its loop, limits, checkpoints, log, and going on after a stop."""

import io
import json
import math
import random
import shutil
import sys
import time
from collections.abc import Callable, Container
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import VOCAB, batch_of, build_tiny, config_of, equal, learn, learner_of, pairs

from seq2seq.config import Config, Training
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.batches import Batch, Batches
from seq2seq.data.resampling import Resampler
from seq2seq.data.store import SIDES, Store
from seq2seq.data.tokenizer import Tokenizers, train_tokenizer
from seq2seq.errors import UserError
from seq2seq.files import write_manifest
from seq2seq.models import MODELS
from seq2seq.training import learner as engine
from seq2seq.training import loop
from seq2seq.training.checkpoint import Checkpoints, Progress
from seq2seq.training.learner import Learner
from seq2seq.training.loss import judge as judgement
from seq2seq.training.progress import Log, Scores, keep_lines
from seq2seq.training.schedule import learning_rate

pytestmark = pytest.mark.usefixtures("products")  # float32 by oneDNN, then by MKL

# The loop


class Killed(Exception):  # noqa: N818 (nothing is wrong)
    """What ends a training without any word."""


class Watch(Log):
    """A log that counts updates, and ends the training as if the process were killed."""

    def __init__(self, folder: Path, config: Training, progress: Progress, kill_at: int | None):
        super().__init__(folder, config, progress)
        self.last = progress.update
        self.kill_at = kill_at

    def updated(self, progress: Progress, *others: Any) -> None:
        super().updated(progress, *others)
        self.last = progress.update
        if progress.update == self.kill_at:
            raise Killed


class End(NamedTuple):
    """All that a training has come to."""

    learner: Learner
    progress: Progress


STORE, VALID = pairs(40, seed=2), Batches(pairs(9, seed=3), 40)
BATCH_TOKENS = 36
WORDS = ["kalo", "mine", "rutä", "loka", "neru", "täka"]
TEXT = [f"{one} {other}" for one in WORDS for other in WORDS] * 2


@cache
def spelt() -> Tokenizers:
    """A tokenizer of a few pieces, for both sides."""
    options = TokenizerOptions(kind="bpe", vocab_size=40, byte_fallback=False)
    tokenizer = train_tokenizer(TEXT, options, 1, tags=[], at_most=True)
    return Tokenizers(tokenizer, tokenizer)


def training_set(config: Config) -> tuple[Batches, int]:
    """The batches of a training, and the size of the vocabulary."""
    training, seed = config.training, config.seed
    if training.subword_sampling == "none":
        return Batches(STORE, training.batch_tokens, seed=seed), VOCAB
    store = Store.of(*spelt().encode((TEXT[:36], TEXT[36:]), None))
    resampler = Resampler(spelt(), frozenset(SIDES), 0.5, seed, config.data.max_length)
    batches = Batches(store, training.batch_tokens, seed=seed, resampler=resampler)
    return batches, len(spelt().source)


def train_in(
    folder: Path,
    config: Config,
    *,
    stop_at: int | None = None,
    kill_at: int | None = None,
    spoil: Container[int] = (),
    validate: Callable[[Progress], dict[str, float]] | None = None,
) -> End:
    """Trains, or goes on, in a folder; judged by perplexity unless `validate` is given.

    Gradients of the updates in `spoil` are not finite.
    """
    folder.mkdir(exist_ok=True)
    batches, vocab = training_set(config)
    learner = Learner(build_tiny(config, config.seed, vocab), config.training)
    checkpoints, progress = Checkpoints(folder / "checkpoints"), Progress()
    torch.manual_seed(int(time.time()))  # nothing may depend on it
    if done := checkpoints.updates():
        state, progress, _ = checkpoints.load(done[-1])
        learner.restore(state, folder)

    def judge(progress: Progress) -> dict[str, float]:
        with learner.judged() as model:
            return {"ppl": judgement(model, VALID).perplexity}

    with Watch(folder, config.training, progress, kill_at) as log:
        next(learner.model.parameters()).register_hook(
            lambda gradient: gradient * (math.inf if log.last + 1 in spoil else 1)
        )
        progress = loop.train(
            learner,
            batches,
            config.training,
            progress=progress,
            validate=lambda now: Scores((validate or judge)(now), {}),
            save=lambda progress: checkpoints.save(learner.state(), progress, {}),
            log=log,
            stop=lambda: stop_at is not None and log.last >= stop_at,
        )
    return End(learner, progress)


def metrics_in(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without what depends on the machine."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    measured = {"seconds", "tokens_per_second", "memory_mb"}
    return [{k: v for k, v in json.loads(line).items() if k not in measured} for line in lines]


def same(one: End, other: End) -> None:
    """Asserts that two trainings ended in the same bits."""
    assert equal(one.learner.state(), other.learner.state())
    assert replace(one.progress, seconds=0.0) == replace(other.progress, seconds=0.0)


EPOCH = len(Batches(STORE, BATCH_TOKENS, seed=1).updates_of(0, 2))
LONG = {"max_updates": 2 * EPOCH + 2, "batch_tokens": BATCH_TOKENS, "accumulate": 2}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("stops", [[EPOCH], [EPOCH - 2], [1, 2, EPOCH + 1]])
def test_resumed_is_never_stopped_bit_for_bit(tmp_path, kind, stops):
    config = config_of(kind, 0.3, **LONG, validate_every=4, log_every=1, patience=100)
    never = train_in(tmp_path / "never", config)
    assert EPOCH > 3
    for stop_at in stops:
        part = train_in(tmp_path / "stopped", config, stop_at=stop_at)
        assert part.progress.update == stop_at
        assert (part.progress.position == 0) == (stop_at == EPOCH)
    same(train_in(tmp_path / "stopped", config), never)
    assert metrics_in(tmp_path / "stopped") == metrics_in(tmp_path / "never")
    assert never.progress.scores.keys() == {
        *map(str, range(4, 2 * EPOCH + 3, 4)),
        str(2 * EPOCH + 2),
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "adafactor": {"optimizer": "adafactor"},
    "muon": {"optimizer": "muon"},
    "ema": {"ema": 0.9},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "r_drop": {"r_drop": 0.5},
    "word dropout": {"model": {"word_dropout": 0.2}},
    "layer dropout": {"model": {"layer_dropout": 0.3}},
    "plateau": {"schedule": "reduce_on_plateau", "plateau_patience": 1},
    "subwords": {"subword_sampling": "both"},
}


@pytest.fixture(scope="module")
def plain(products, tmp_path_factory):
    """A training without any of these options, which must not end as one with them does."""
    config = config_of(dropout=0.3, **LONG, validate_every=3)
    return train_in(tmp_path_factory.mktemp("plain") / "run", config)


@pytest.mark.parametrize("name", OPTIONS)
def test_with_any_option_resumed_is_never_stopped_bit_for_bit(tmp_path, plain, name):
    config = config_of(dropout=0.3, **LONG, **OPTIONS[name], validate_every=3, log_every=1)
    validate = (lambda now: {"ppl": float(now.update % 2)}) if name == "plateau" else None
    never = train_in(tmp_path / "never", config, validate=validate)
    assert not equal(never.learner.state(), plain.learner.state())
    for stop_at in (2, EPOCH + 1):
        part = train_in(tmp_path / "stopped", config, stop_at=stop_at, validate=validate)
        assert part.progress.update == stop_at
    with pytest.raises(Killed):
        train_in(tmp_path / "stopped", config, kill_at=EPOCH + 3, validate=validate)
    same(train_in(tmp_path / "stopped", config, validate=validate), never)
    assert metrics_in(tmp_path / "stopped") == metrics_in(tmp_path / "never")


@pytest.mark.parametrize("log_every", [1, 2, 4])
def test_killed_is_never_stopped_either(tmp_path, log_every):
    config = config_of(dropout=0.3, **LONG, validate_every=4, log_every=log_every)
    never = train_in(tmp_path / "never", config)
    with pytest.raises(Killed):
        train_in(tmp_path / "killed", config, kill_at=EPOCH + 3)
    assert metrics_in(tmp_path / "killed") != metrics_in(tmp_path / "never")
    same(train_in(tmp_path / "killed", config), never)
    assert metrics_in(tmp_path / "killed") == metrics_in(tmp_path / "never")


@pytest.mark.parametrize(
    "limit", [{"max_updates": 3}, {"max_epochs": 1}, {"max_minutes": 0.003}, {"patience": 1}]
)
def test_a_training_that_is_over_stays_as_it_is(tmp_path, limit):
    config = config_of(batch_tokens=BATCH_TOKENS, log_every=1, validate_every=1, **limit)

    def validate(now: Progress) -> dict[str, float]:
        return {"ppl": 2.0 if "patience" in limit else 1 / (1 + now.update)}

    end = train_in(tmp_path, config, validate=validate)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    same(train_in(tmp_path, config), end)
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_pair_is_learned_from_once_an_epoch(tmp_path, monkeypatch, accumulate):
    seen: list[int] = []
    collate = Batches.collate

    def watched(self: Batches, numbers: np.ndarray, epoch: int = 0) -> Batch:
        if self.store is STORE:
            assert epoch == len(seen) // len(STORE)
            seen.extend(numbers.tolist())
        return collate(self, numbers, epoch)

    monkeypatch.setattr(Batches, "collate", watched)
    options = {"batch_tokens": BATCH_TOKENS, "accumulate": accumulate}
    train_in(tmp_path, config_of(max_epochs=2, **options))
    count = len(STORE)
    assert len(seen) == 2 * count
    assert sorted(seen[:count]) == sorted(seen[count:]) == list(range(count))
    assert seen[:count] != seen[count:]


def epoch_lengths(count: int) -> list[int]:
    """The number of updates of the first epochs."""
    batches = Batches(STORE, BATCH_TOKENS, seed=1)
    return [len(batches.updates_of(number, 1)) for number in range(count)]


@pytest.mark.parametrize(
    ("limit", "updates", "reason"),
    [
        ({"max_updates": 3}, 3, "3 updates done (training.max_updates)"),
        ({"max_epochs": 2}, sum(epoch_lengths(2)), "2 epochs done (training.max_epochs)"),
        ({"max_minutes": 1e-9}, 0, "0.0 minutes spent (training.max_minutes)"),
        ({"patience": 2}, 7, "2 validations without a better ppl (training.patience)"),
        ({"patience": 2, "max_updates": 6}, 6, "6 updates done (training.max_updates)"),
    ],
)
def test_the_first_limit_ends_the_training_and_says_so(tmp_path, limit, updates, reason):
    config = config_of(**{"batch_tokens": BATCH_TOKENS, "validate_every": 1, **limit})
    scores = [9.0, 8.0, 8.5, 7.0, 6.0, 6.5, 6.0, *[5.0] * 100]
    end = train_in(tmp_path, config, validate=lambda now: {"ppl": scores[now.update - 1]})
    progress = end.progress
    assert progress.update == updates
    assert progress.limit(config.training) == reason
    assert progress.share_done(config.training, 1) == 1.0 or "patience" in reason
    assert str(updates) in progress.scores  # the end is always judged
    assert Checkpoints(tmp_path / "checkpoints").updates()[-1] == updates


def test_minutes_count_over_all_parts_of_a_run(tmp_path):
    config = config_of(batch_tokens=BATCH_TOKENS, validate_every=1, max_minutes=1.0)
    part = train_in(tmp_path, config, stop_at=2)
    state, progress = part.learner.state(), replace(part.progress, seconds=59.99999)
    Checkpoints(tmp_path / "checkpoints").save(state, progress, {})
    end = train_in(tmp_path, config)
    assert end.progress.update == 2  # time was over before the next
    assert end.progress.seconds >= 60
    _, kept, _ = Checkpoints(tmp_path / "checkpoints").load(2)
    assert kept.limit(config.training) == "1.0 minutes spent (training.max_minutes)"


def test_the_end_is_judged_even_if_a_stop_came_just_before_it(tmp_path):
    config = config_of(max_updates=3, batch_tokens=BATCH_TOKENS, validate_every=50)
    assert not train_in(tmp_path, config, stop_at=3).progress.scores
    end = train_in(tmp_path, config).progress
    assert [*end.scores] == ["3"]
    _, progress, _ = Checkpoints(tmp_path / "checkpoints").load(3)
    assert progress.scores == end.scores


def test_the_end_is_judged_even_if_it_comes_during_a_validation(tmp_path):
    """Where not every validation tells of the judging metric, the last one must."""
    config = config_of(batch_tokens=BATCH_TOKENS, validate_every=1, max_minutes=0.002)

    def validate(progress: Progress) -> dict[str, float]:
        time.sleep(0.15)
        return {"ppl": 2.0} if progress.limit(config.training) else {}

    progress = train_in(tmp_path, config, validate=validate).progress
    assert [*progress.scores] == [str(progress.update)]


def test_an_update_uses_the_rate_of_its_number(tmp_path):
    config = config_of(max_updates=7, batch_tokens=BATCH_TOKENS, warmup=3, log_every=1)
    for number in (2, 3, 7):
        groups = train_in(tmp_path, config, stop_at=number).learner.optimizer.param_groups
        assert {group["lr"] for group in groups} == {learning_rate(number, config.training, {})}
    rates = [line["learning_rate"] for line in metrics_in(tmp_path) if "loss" in line]
    assert rates == [learning_rate(number, config.training, {}) for number in range(1, 8)]


def test_the_rate_falls_with_the_scores_that_were_there_before_an_update(tmp_path):
    options = {"schedule": "reduce_on_plateau", "plateau_patience": 1, "validate_every": 2}
    config = config_of(max_updates=10, batch_tokens=BATCH_TOKENS, log_every=1, **options)
    scores = {2: 5.0, 4: 4.0, 6: 4.5, 8: 3.0, 10: 3.5}
    for stop_at in (7, None):  # what is remembered of scores comes through a stop
        train_in(
            tmp_path, config, stop_at=stop_at, validate=lambda now: {"ppl": scores[now.update]}
        )
    found = {
        line["update"]: line["learning_rate"] for line in metrics_in(tmp_path) if "loss" in line
    }
    peak = config.training.learning_rate
    assert found == {number: peak if number <= 6 else peak / 2 for number in range(1, 11)}


# Updates that are skipped


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_is_skipped_is_counted_and_the_training_goes_on(tmp_path, capsys, optimizer):
    options = {"max_updates": 12, "batch_tokens": BATCH_TOKENS, "optimizer": optimizer}
    config = config_of(**options, validate_every=3, log_every=4)
    end = train_in(tmp_path, config, spoil={2, 3, 9, 12})
    skipped = {line["update"]: line["skipped"] for line in metrics_in(tmp_path) if "loss" in line}
    assert skipped == {3: 2, 4: 0, 6: 0, 8: 0, 9: 1, 12: 1}
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    where = "updates were skipped: their gradients were not finite"
    counts = ("2 of the last 3", "1 of the last 1", "1 of the last 3")
    assert said == [f"warning: {count} {where}" for count in counts]
    assert end.progress.update == 12
    step = end.learner.state()["optimizer"]["embeddings.source.weight:step"]
    assert step == 8  # so many were learned from


def test_what_is_hopeless_ends_and_the_last_checkpoint_is_intact(tmp_path):
    options = {"batch_tokens": BATCH_TOKENS, "validate_every": 8, "log_every": 3}
    config = config_of(max_updates=40, **options)
    never = train_in(tmp_path / "never", config)
    with pytest.raises(UserError, match="training has diverged; its checkpoints are intact"):
        train_in(tmp_path / "spoiled", config, spoil=range(9, 99))
    lines = metrics_in(tmp_path / "spoiled")
    assert lines[-1]["update"] == 30  # the first line after 20 of them
    checkpoints = Checkpoints(tmp_path / "spoiled" / "checkpoints")
    assert checkpoints.updates() == [8, 16, 24]
    undisturbed = Checkpoints(tmp_path / "never" / "checkpoints").load(8)[0]
    for update in (8, 16, 24):
        assert equal(checkpoints.load(update)[0], undisturbed)
    for update in (16, 24):
        shutil.rmtree(checkpoints.path(update))
    same(train_in(tmp_path / "spoiled", config), never)  # when what disturbed it is gone


@pytest.mark.parametrize("log_every", [1, 3, 5, 50])
@pytest.mark.parametrize("stops", [[], [1, 4, 11], [7]])
def test_every_update_is_in_one_line_of_the_log(tmp_path, monkeypatch, log_every, stops):
    monkeypatch.setattr(engine, "HOPELESS", 10**6)
    options = {"max_updates": 14, "batch_tokens": BATCH_TOKENS, "validate_every": 4}
    config = config_of(**options, log_every=log_every)
    for stop_at in [*stops, None]:
        train_in(tmp_path, config, stop_at=stop_at, spoil=range(99))
    lines = [line for line in metrics_in(tmp_path) if "skipped" in line]
    ends = [line["update"] for line in lines]
    lengths = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert [line["skipped"] for line in lines] == lengths  # all were skipped
    assert ends[-1] == 14


# Judging


@pytest.mark.parametrize("metric", ["ppl", "ter", "bleu", "chrf", "rougeL"])
@pytest.mark.parametrize("seed", range(5))
def test_better_is_higher_or_lower_as_the_metric_has_it(metric, seed):
    numbers = random.Random(seed)
    scores = [float(numbers.randint(0, 6)) for _ in range(12)]  # with ties
    best_of = min if metric in ("ppl", "ter") else max
    progress = Progress()
    for number, score in enumerate(scores, start=1):
        progress = replace(progress, update=number).judged({metric: score}, metric)
        best = scores.index(best_of(scores[:number])) + 1
        assert progress.best(1, metric) == [best]
        assert progress.worse == number - best
        assert progress.judged({}, metric) == progress  # nothing was said of this metric
    sign = 1 if best_of is min else -1
    expected = sorted(range(1, 13), key=lambda number: (sign * scores[number - 1], number))
    assert progress.best(5, metric) == expected[:5]


def test_of_equal_scores_that_of_less_perplexity_is_better():
    """BLEU is 0 for long where there is little text; it must not end a training that learns."""
    progress = Progress()
    for number, perplexity in enumerate([50.0, 40.0, 45.0, 30.0, 30.0], start=1):
        found = {"bleu": 0.0, "ppl": perplexity}
        progress = replace(progress, update=number).judged(found, "bleu")
    assert progress.best(5, "bleu") == [4, 5, 2, 3, 1]
    assert progress.worse == 1
    progress = replace(progress, update=6).judged({"bleu": 5.0, "ppl": 99.0}, "bleu")
    assert progress.best(2, "bleu") == [6, 4]
    assert progress.worse == 0


def judged_one_by_one(
    metric: str, history: list[tuple[float, float]], chance: float | None = None
) -> Progress:
    """The progress after validations, each of which found a score and a perplexity."""
    progress = Progress()
    for number, (score, perplexity) in enumerate(history, start=1):
        found = {metric: score, "ppl": perplexity}
        progress = replace(progress, update=number).judged(found, metric, chance)
    return progress


@pytest.mark.parametrize(
    ("metric", "noise", "chance"),
    [
        ("bleu", 0.1, None),
        ("bleu", 2.0, 1.9),  # the same sentence for every source, which has some of the words
        ("chrf", 19.0, 18.0),
        ("rougeL", 15.0, 14.0),
        ("ter", 99.0, None),
        ("ter", 119.0, 120.0),
        ("exact", 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_while_a_score_is_noise_perplexity_decides(metric, noise, chance, seed):
    numbers = random.Random(seed)
    perplexities = sorted((numbers.uniform(2, 900) for _ in range(9)), reverse=True)
    history = [(noise * numbers.uniform(0.98, 1.02), one) for one in perplexities]
    progress = judged_one_by_one(metric, history, chance)
    assert (progress.best(3, metric), progress.worse) == ([9, 8, 7], 0)
    again = judged_one_by_one(metric, [*history, *history[:4]], chance)
    assert (again.best(1, metric), again.worse) == ([9], 4)  # nothing is learned any more


@pytest.mark.parametrize(("metric", "good"), [("bleu", 12.0), ("chrf", 40.0), ("ter", 70.0)])
def test_a_score_above_chance_decides_whatever_perplexity_is(metric, good):
    worst = 100.0 if metric == "ter" else 0.0
    progress = judged_one_by_one(metric, [(worst, 50.0), (good, 90.0), (good, 95.0)])
    assert progress.best(3, metric) == [2, 3, 1]
    assert progress.worse == 1
    noise = judged_one_by_one(metric, [(good, 50.0), (worst, 40.0), (worst, 45.0)])
    assert (noise.best(1, metric), noise.worse) == ([1], 1)  # who learns does not count as worse


def test_a_score_that_is_no_number_is_the_worst():
    nothing = float("nan")
    progress = judged_one_by_one("bleu", [(nothing, nothing), (0.0, 900.0), (nothing, math.inf)])
    assert progress.best(3, "bleu")[0] == 2
    alone = Progress(update=1).judged({"ppl": nothing}, "ppl")
    assert replace(alone, update=2).judged({"ppl": 9.0}, "ppl").best(1, "ppl") == [2]


# Checkpoints


def saved(folder: Path, seed: int, update: int) -> Learner:
    """A random model, saved as that of an update."""
    learner = learner_of(seed=seed, ema=0.9)
    learn(learner, batch_of(pairs(3)))
    Checkpoints(folder).save(learner.state(), Progress(update=update), {"threads": 1})
    return learner


def test_the_checkpoint_of_a_stop_pushes_out_no_other(tmp_path):
    config = config_of(keep_best=0, keep_last=2, validate_every=10).training
    checkpoints, progress = Checkpoints(tmp_path), Progress()
    for update_number in (10, 20, 30, 33, 36):
        checkpoints.path(update_number).mkdir()
        progress = replace(progress, update=update_number)
        checkpoints.prune(progress, config)
    assert checkpoints.updates() == [20, 30, 36]
    assert checkpoints.validated(progress, config) == [20, 30]


@pytest.mark.parametrize("metric", ["ppl", "bleu"])
@pytest.mark.parametrize(("keep_best", "keep_last"), [(0, 1), (1, 1), (3, 2), (20, 1)])
def test_only_the_best_and_the_last_checkpoints_are_kept(tmp_path, metric, keep_best, keep_last):
    keep = {"keep_best": keep_best, "keep_last": keep_last, "validate_every": 10}
    config = config_of(metrics=[metric], **keep).training
    checkpoints, progress, numbers = Checkpoints(tmp_path), Progress(), random.Random(4)
    scores: dict[int, float] = {}
    for update_number in range(10, 130, 10):
        checkpoints.path(update_number).mkdir()
        progress = replace(progress, update=update_number)
        if update_number % 40:  # some checkpoints are saved without being judged
            scores[update_number] = numbers.random()
            progress = progress.judged({metric: scores[update_number]}, metric)
        checkpoints.prune(progress, config)
        ranked = sorted(scores, key=scores.__getitem__, reverse=metric == "bleu")
        expected = {*range(update_number, 0, -10)[:keep_last], *ranked[:keep_best]}
        assert checkpoints.updates() == sorted(expected)


@pytest.mark.parametrize("ema", [True, False])
def test_the_average_is_the_mean_of_the_weights_that_were_judged(tmp_path, ema):
    learners = [saved(tmp_path, seed, update) for seed, update in ((1, 5), (2, 10), (3, 15))]
    for path in [] if ema else [*tmp_path.glob("*")]:
        (path / "mean.safetensors").unlink()
        (path / "manifest.json").unlink()
        write_manifest(path)
    mean = Checkpoints(tmp_path).average([5, 10, 15])
    assert mean.keys() == dict(learners[0].model.named_parameters()).keys()
    for name, weight in mean.items():
        weights = [learner.state()["mean" if ema else "model"][name] for learner in learners]
        torch.testing.assert_close(weight, torch.stack(weights).mean(dim=0))
        assert weight.dtype == weights[0].dtype


def test_what_is_loaded_is_what_was_saved(tmp_path):
    learner = saved(tmp_path, 1, 5)
    state, progress, surroundings = Checkpoints(tmp_path).load(5)
    assert equal(state, learner.state())
    assert progress == Progress(update=5)
    assert surroundings == {"threads": 1}
    known = json.loads((tmp_path / "step-00000005/state.json").read_text())
    assert known["progress"] == asdict(progress)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    saved(folder, 1, 5)
    return folder


FILES = ["model.safetensors", "optimizer.safetensors", "mean.safetensors", "state.json"]


def test_a_checkpoint_has_these_files(checkpoint):
    there = {path.name for path in (checkpoint / "step-00000005").iterdir()}
    assert there == {*FILES, "manifest.json"}


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "a bit flipped"])
def test_a_damaged_checkpoint_is_named_with_its_file(tmp_path, checkpoint, name, damage):
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint, folder)
    file = folder / "step-00000005" / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        middle = (
            len(content) // 2 if name != "manifest.json" else content.index(b'"sha256": "') + 11
        )
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(UserError) as error:
        Checkpoints(folder).load(5)
    said = str(error.value)
    assert said.startswith(f"{file.parent} cannot be used: ")
    if name == "manifest.json" and damage == "a bit flipped":
        name, damage = "mean.safetensors", "altered"  # the one that no longer fits
    assert f"{name} {'is missing' if damage == 'missing' else 'has been altered'}" in said
    assert said.endswith("; move it away, and the checkpoint before it will be used")
    if name == "model.safetensors":
        with pytest.raises(UserError, match=name):
            Checkpoints(folder).average([5])


# What people see


class Terminal(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_people_see_a_bar_on_a_terminal_and_lines_elsewhere(tmp_path, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    config = config_of(max_updates=6, batch_tokens=BATCH_TOKENS, validate_every=3, log_every=2)
    train_in(tmp_path, config)
    shown = sys.stderr.getvalue()
    lines = metrics_in(tmp_path)
    assert [line["update"] for line in lines] == [2, 3, 3, 4, 6, 6]
    judged = [line["update"] for line in lines if "valid" in line]
    assert judged == [3, 6]
    assert all(f"update {number}, validation: ppl " in shown for number in judged)
    for line in lines:
        if "valid" not in line:
            at, loss, ppl = line["update"], line["loss"], line["ppl"]
            words = {
                Terminal: f"{at}: loss {loss:.2f}, ppl {ppl:.2f}, ",
                io.StringIO: f"update {at}, epoch {line['epoch']:.2f}: loss {loss:.3f}, "
                f"ppl {ppl:.2f}, lr {line['learning_rate']:.2e}, ",
            }
            assert words[stream] in shown
    assert "tokens/s" in shown
    assert " left" in shown
    assert ("\r" in shown) == ("%" in shown) == (stream is Terminal)


def test_a_line_of_the_log_is_about_all_updates_since_the_one_before(tmp_path):
    options = {"max_updates": 8, "batch_tokens": BATCH_TOKENS, "validate_every": 8}
    train_in(tmp_path / "each", config_of(**options, log_every=1))
    train_in(tmp_path / "four", config_of(**options, log_every=4))
    each, four = metrics_in(tmp_path / "each")[:8], metrics_in(tmp_path / "four")[:2]
    batches = Batches(STORE, BATCH_TOKENS, seed=1)
    numbers = [*batches.updates_of(0, 1), *batches.updates_of(1, 1)]
    tokens = [batches.collate(pairs).target_tokens for (pairs,) in numbers]
    for line, part in zip(four, (slice(0, 4), slice(4, 8)), strict=True):
        mean = np.average([one["loss"] for one in each[part]], weights=tokens[part])
        assert line["loss"] == pytest.approx(mean)
        nats = np.average([math.log(one["ppl"]) for one in each[part]], weights=tokens[part])
        assert line["ppl"] == pytest.approx(math.exp(nats))


def test_numbers_that_are_none_become_null(tmp_path):
    """So that any program can read the log."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    config = config_of(max_updates=4, batch_tokens=BATCH_TOKENS, validate_every=2, log_every=1)
    scores = iter([{"ppl": 9.0, "bleu": math.inf}, {"ppl": 8.0, "bleu": math.nan}])
    train_in(tmp_path, config, spoil={3}, validate=lambda now: next(scores))
    lines = [
        json.loads(line, parse_constant=refuse)
        for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["valid"]["bleu"] for line in lines if "valid" in line] == [None, None]
    norms = [line["gradient_norm"] is None for line in lines if "loss" in line]
    assert norms == [False, False, True, False]


def test_a_perplexity_that_is_no_number_ends_the_training_after_it_is_logged(tmp_path):
    config = config_of(max_updates=4, batch_tokens=BATCH_TOKENS, validate_every=2)
    with pytest.raises(UserError, match="after update 2 the perplexity is beyond all numbers"):
        train_in(tmp_path, config, validate=lambda now: {"ppl": math.nan})
    assert metrics_in(tmp_path)[-1]["valid"] == {"ppl": None}
    assert not [*tmp_path.glob("checkpoints/*")]


def curves_in(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: values by update, none of which comes twice, by name of the curve."""
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    curves = {}
    for name in found.Tags()["scalars"]:
        events = found.Scalars(name)
        curves[name] = {event.step: event.value for event in events}
        assert [*curves[name]] == [event.step for event in events]
    return curves


def test_tensorboard_has_the_curves_of_the_log_also_after_a_kill(tmp_path):
    config = config_of(
        max_updates=8, batch_tokens=BATCH_TOKENS, validate_every=2, log_every=1, tensorboard=True
    )
    with pytest.raises(Killed):
        train_in(tmp_path, config, kill_at=5)
    train_in(tmp_path, config)  # from update 4 on
    curves, lines = curves_in(tmp_path), metrics_in(tmp_path)
    for name in ("loss", "gradient_norm", "learning_rate"):
        told = {line["update"]: line[name] for line in lines if name in line}
        assert curves[f"training/{name}"] == pytest.approx(told)
    judged = {line["update"]: line["valid"]["ppl"] for line in lines if "valid" in line}
    assert curves["validation/ppl"] == pytest.approx(judged)
    assert [*judged] == [2, 4, 6, 8]


def test_a_set_that_is_watched_has_curves_of_its_own_whatever_its_name(tmp_path):
    config = config_of(tensorboard=True).training
    with Log(tmp_path, config, Progress()) as log:
        scores = Scores({"bleu": 1.0}, {"validation": {"bleu": 2.0}, "training": {"bleu": 3.0}})
        log.validated(Progress(update=7), scores)
    curves = curves_in(tmp_path)
    for number, name in enumerate(["validation", "watch/validation", "watch/training"], 1):
        assert curves[f"{name}/bleu"] == {7: number}


def test_tensorboard_that_is_not_there_is_asked_for_before_anything_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError) as error:
        Log(tmp_path, config_of(tensorboard=True).training, Progress())
    assert str(error.value) == (
        "training.tensorboard needs tensorboard; pip install 'seq2seq[tensorboard]'"
    )
    assert not [*tmp_path.iterdir()]


def test_the_time_left_is_known_after_going_on_within_an_epoch(tmp_path, capsys):
    config = config_of(max_epochs=1, batch_tokens=BATCH_TOKENS, log_every=1)
    train_in(tmp_path, config, stop_at=2)
    capsys.readouterr()
    train_in(tmp_path, config)
    first, *others = [line for line in capsys.readouterr().err.splitlines() if " left" in line]
    assert first.endswith("? left")
    assert others
    assert not any("?" in line for line in others)


def test_a_line_that_was_cut_off_is_dropped_and_whole_ones_stay(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [f'{{"update": {number}}}\n' for number in range(1, 6)]
    path.write_text("".join(lines) + '{"upd')
    keep_lines(path, up_to=5)
    assert path.read_text() == "".join(lines)
    keep_lines(path, up_to=3)
    assert path.read_text() == "".join(lines[:3])
    keep_lines(tmp_path / "absent.jsonl", up_to=3)
    assert not (tmp_path / "absent.jsonl").exists()
