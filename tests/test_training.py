"""The laws of training: loss, updates, schedules, limits, checkpoints, going on after a stop."""

import io
import json
import math
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from seq2seq.config import Config, Training
from seq2seq.data.batches import Batch, Batches
from seq2seq.data.store import Store
from seq2seq.data.tokenizer import PAD
from seq2seq.errors import UserError
from seq2seq.models import MODELS, Seq2Seq, build
from seq2seq.training import loop, loss
from seq2seq.training.checkpoint import Checkpoints, Progress
from seq2seq.training.loss import ChunkedCrossEntropy, perplexity, summed_loss
from seq2seq.training.optimizer import build_optimizer, moments_of
from seq2seq.training.progress import Log, keep_lines
from seq2seq.training.schedule import learning_rate
from seq2seq.training.update import update

CPU = torch.device("cpu")
VOCAB = 23
TINY: dict[str, dict[str, Any]] = {
    "transformer": {
        "kind": "transformer",
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "positions": "learned",
    },
    "lstm": {"kind": "lstm", "dim": 16, "embedding_dim": 12},
}
PAIR = {"source": "never", "target": "read"}


def config_of(kind: str = "transformer", dropout: float = 0.0, **training: Any) -> Config:
    """The config of a tiny model."""
    options = {"warmup": 0, "average": 0, "metrics": ["ppl"], "patience": None, **training}
    return Config.model_validate(
        {
            "name": "tiny",
            "data": {"train": [PAIR], "valid": PAIR, "max_length": 12},
            "model": {**TINY[kind], "dropout": dropout},
            "training": options,
        }
    )


def tiny(kind: str, *, dropout: float = 0.0, seed: int = 1) -> Seq2Seq:
    """A tiny model with random weights."""
    torch.manual_seed(seed)
    return build(config_of(kind, dropout), VOCAB, VOCAB)


def pairs(count: int, seed: int = 1) -> Store:
    """Random pairs of one to nine tokens a side."""
    numbers = random.Random(seed)
    sides = [
        [[numbers.randrange(4, VOCAB) for _ in range(numbers.randint(1, 9))] for _ in range(count)]
        for _ in range(2)
    ]
    return Store.of(*sides)


def batch_of(store: Store, *numbers: int) -> Batch:
    """Some pairs of a store, all of them unless numbers are given."""
    return Batches(store, 10**6).collate(np.array(numbers or range(len(store))))


def nll_by_hand(model: Seq2Seq, batch: Batch, smoothing: float) -> tuple[float, float, int]:
    """Smoothed loss, negative log-likelihood and tokens of a batch, token by token."""
    smoothed, nll, tokens = 0.0, 0.0, 0
    scores = model.project(model(batch.source, batch.target_in)).log_softmax(dim=-1).tolist()
    for row, targets in zip(scores, batch.target_out.tolist(), strict=True):
        for distribution, target in zip(row, targets, strict=True):
            if target != PAD:
                nll -= distribution[target]
                smoothed -= (1 - smoothing) * distribution[target]
                smoothed -= smoothing * sum(distribution) / VOCAB
                tokens += 1
    return smoothed, nll, tokens


# Loss


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_the_loss_is_what_comes_out_by_hand(kind, smoothing):
    model, batch = tiny(kind).double(), batch_of(pairs(7))
    smoothed, nll, tokens = nll_by_hand(model, batch, smoothing)
    found = summed_loss(model, batch, smoothing)
    assert found.smoothed.item() == pytest.approx(smoothed, rel=1e-12)
    assert found.nll.item() == pytest.approx(nll, rel=1e-12)
    assert batch.target_tokens == tokens == sum(batch.target_out.flatten() != PAD)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("logits_at_a_time", [1, VOCAB, 3 * VOCAB, 3 * VOCAB + 1, 10**6])
def test_chunks_are_cross_entropy_in_value_and_gradient(monkeypatch, smoothing, logits_at_a_time):
    monkeypatch.setitem(loss.CHUNK, "cpu", logits_at_a_time)
    torch.manual_seed(1)
    hidden = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(VOCAB, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(VOCAB, (11,))

    expected = functional.cross_entropy(
        hidden @ weight.T, targets, label_smoothing=smoothing, reduction="sum"
    )
    plain = functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    found, nll = ChunkedCrossEntropy.apply(hidden, weight, targets, smoothing)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(nll, plain)
    gradients = torch.autograd.grad(found / 7, (hidden, weight))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected / 7, (hidden, weight)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradients_are_finite_differences(monkeypatch, smoothing):
    monkeypatch.setitem(loss.CHUNK, "cpu", 12)
    torch.manual_seed(1)
    hidden = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 5, 2, 2, 1])

    def smoothed(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return ChunkedCrossEntropy.apply(hidden, weight, targets, smoothing)[0]

    assert torch.autograd.gradcheck(smoothed, (hidden, weight))


@pytest.mark.parametrize("kind", MODELS)
def test_perplexity_does_not_depend_on_batch_size(kind):
    model, store = tiny(kind, dropout=0.5), pairs(13)
    _, nll, tokens = nll_by_hand(model.eval(), batch_of(store), 0.0)
    model.train()
    for size in (1, 17, 40, 10**6):
        found = perplexity(model, Batches(store, size), CPU)
        assert found == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert model.training


def test_perplexity_that_no_number_holds_is_infinite():
    model = tiny("transformer")
    with torch.no_grad():
        model.output_weight.mul_(1e6)
    assert perplexity(model, Batches(pairs(3), 100), CPU) == math.inf


def test_judging_works_out_no_gradients(monkeypatch):
    held = []

    def forward(ctx: Any, *inputs: Any) -> Any:
        outputs = whole(ctx, *inputs)
        held.extend(tensor.numel() for tensor in ctx.gradients)
        return outputs

    whole = ChunkedCrossEntropy.forward
    monkeypatch.setattr(ChunkedCrossEntropy, "forward", staticmethod(forward))
    perplexity(tiny("transformer"), Batches(pairs(3), 100), CPU)
    assert held == [0, 0]
    summed_loss(tiny("transformer"), batch_of(pairs(3)))
    assert all(held[2:])


# Updates


def after_one_step(
    kind: str, store: Store, cuts: list[list[int]], **options: float
) -> tuple[list[torch.Tensor], Any]:
    """How far each parameter goes against its gradient, and what the update says of itself."""
    model = tiny(kind).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    batches = [batch_of(store, *cut) for cut in cuts]
    result = update(
        model, optimizer, batches, **{"label_smoothing": 0.1, "clip_norm": 0, **options}
    )
    assert all(parameter.grad is None for parameter in model.parameters())
    return [a - b.detach() for a, b in zip(before, model.parameters(), strict=True)], result


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "cuts",
    [
        [[0], [1, 2, 3, 4, 5, 6, 7]],
        [[7, 6, 5], [0, 1, 2, 3], [4]],
        [[number] for number in range(8)],
    ],
    ids=lambda cuts: "+".join(str(len(cut)) for cut in cuts),
)
def test_uneven_micro_batches_are_one_batch(kind, cuts):
    store = pairs(8)
    together, one = after_one_step(kind, store, [list(range(8))])
    apart, several = after_one_step(kind, store, cuts)
    torch.testing.assert_close(apart, together, rtol=1e-9, atol=1e-12)
    assert several == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize("kind", MODELS)
def test_an_update_follows_the_mean_loss_of_a_token(kind):
    store = pairs(8)
    model, batch = tiny(kind).double(), batch_of(store)
    summed = summed_loss(model, batch, 0.1).smoothed
    (summed / batch.target_tokens).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    steps, result = after_one_step(kind, store, [list(range(8))])
    torch.testing.assert_close(steps, gradients)
    norm = math.sqrt(
        sum(float((gradient**2).sum()) for gradient in gradients if gradient is not None)
    )
    assert result == pytest.approx((summed.item(), *result[1:3], norm))
    assert result.tokens == batch.target_tokens
    assert result.nll == pytest.approx(summed_loss(model, batch).nll.item())


@pytest.mark.parametrize("kind", MODELS)
def test_a_gradient_that_is_no_number_stops_the_training_and_changes_nothing(kind):
    model = tiny(kind)
    optimizer = build_optimizer(model, config_of(kind).training)
    with torch.no_grad():
        [*model.parameters()][-1].fill_(math.nan)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(UserError, match=r"training has diverged; the last checkpoint is intact"):
        update(model, optimizer, [batch_of(pairs(4))], label_smoothing=0.1, clip_norm=1.0)
    for parameter, kept in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, kept, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999, 1.001, 100.0])
def test_clipping_shortens_long_gradients_and_turns_none(share):
    store, everything = pairs(8), [list(range(8))]
    steps, free = after_one_step("transformer", store, everything)
    clipped, result = after_one_step(
        "transformer", store, everything, clip_norm=share * free.gradient_norm
    )
    assert result.gradient_norm == pytest.approx(free.gradient_norm)  # as it was before
    expected = [min(share, 1.0) * step for step in steps]
    torch.testing.assert_close(clipped, expected, rtol=1e-5, atol=1e-8)


# Learning


@pytest.mark.parametrize("kind", MODELS)
def test_a_tiny_model_learns_a_few_pairs_by_heart(kind):
    config = config_of(kind, learning_rate=0.02, label_smoothing=0.0).training
    model, store = tiny(kind), pairs(6)
    optimizer = build_optimizer(model, config)
    batches = [batch_of(store, 0, 1), batch_of(store, 2, 3, 4, 5)]
    for _ in range(150):
        result = update(model, optimizer, batches, label_smoothing=0.0, clip_norm=1.0)
    assert result.loss / result.tokens < 0.02
    batch = batch_of(store)
    said = model.project(model(batch.source, batch.target_in)).argmax(dim=-1)
    real = batch.target_out != PAD
    assert torch.equal(said[real], batch.target_out[real])


# The loop


class Killed(Exception):  # noqa: N818 (nothing is wrong)
    """What ends a training without any word."""


class Watch(Log):
    """A log that counts updates, and ends the training as if the process were killed."""

    def __init__(self, path: Path, config: Training, progress: Progress, kill_at: int | None):
        super().__init__(path, config, progress)
        self.last = progress.update
        self.kill_at = kill_at

    def updated(self, progress: Progress, *others: Any) -> None:
        super().updated(progress, *others)
        self.last = progress.update
        if progress.update == self.kill_at:
            raise Killed


class End(NamedTuple):
    """All that a training has come to."""

    model: Seq2Seq
    optimizer: torch.optim.Optimizer
    progress: Progress
    random: torch.Tensor


STORE, VALID = pairs(40, seed=2), Batches(pairs(9, seed=3), 40)
BATCH_TOKENS = 36


def train_in(
    folder: Path,
    config: Config,
    *,
    stop_at: int | None = None,
    kill_at: int | None = None,
    validate: Callable[[Progress], dict[str, float]] | None = None,
) -> End:
    """Trains, or goes on, in a folder; judged by perplexity unless `validate` is given."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    model = build(config, VOCAB, VOCAB)
    optimizer = build_optimizer(model, config.training)
    checkpoints, progress = Checkpoints(folder / "checkpoints"), Progress()
    if done := checkpoints.updates():
        torch.manual_seed(-1)  # what is restored must not depend on what was here
        progress, _ = checkpoints.load(done[-1], model, optimizer)

    with Watch(folder / "metrics.jsonl", config.training, progress, kill_at) as log:
        progress = loop.train(
            model,
            optimizer,
            Batches(STORE, config.training.batch_tokens, seed=config.seed),
            config.training,
            progress=progress,
            validate=validate or (lambda progress: {"ppl": perplexity(model, VALID, CPU)}),
            save=lambda progress: checkpoints.save(model, optimizer, progress),
            log=log,
            stop=lambda: stop_at is not None and log.last >= stop_at,
        )
    return End(model, optimizer, progress, torch.get_rng_state())


def metrics_in(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without times."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    times = {"seconds", "tokens_per_second"}
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


def same(one: End, other: End) -> None:
    """Asserts that two trainings ended in the same bits."""
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
    moments = moments_of(one.model, one.optimizer), moments_of(other.model, other.optimizer)
    assert moments[0].keys() == moments[1].keys()
    assert {name.rpartition(":")[2] for name in moments[0]} == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(moments[0][name], moments[1][name]) for name in moments[0])
    assert replace(one.progress, seconds=0.0) == replace(other.progress, seconds=0.0)
    assert torch.equal(one.random, other.random)


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


@pytest.mark.parametrize("log_every", [1, 2, 4])
def test_killed_is_never_stopped_either(tmp_path, log_every):
    config = config_of(dropout=0.3, **LONG, validate_every=4, log_every=log_every)
    never = train_in(tmp_path / "never", config)
    with pytest.raises(Killed):
        train_in(tmp_path / "killed", config, kill_at=EPOCH + 3)
    assert metrics_in(tmp_path / "killed") != metrics_in(tmp_path / "never")
    same(train_in(tmp_path / "killed", config), never)
    assert metrics_in(tmp_path / "killed") == metrics_in(tmp_path / "never")


def test_a_training_that_is_over_stays_as_it_is(tmp_path):
    config = config_of(max_updates=3, batch_tokens=BATCH_TOKENS, log_every=1)
    end = train_in(tmp_path, config)
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
        ({"max_minutes": 1e-9}, 1, "0.0 minutes spent (training.max_minutes)"),
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
    model, optimizer = part.model, part.optimizer
    saved = Checkpoints(tmp_path / "checkpoints")
    saved.save(model, optimizer, replace(part.progress, seconds=59.99999))
    end = train_in(tmp_path, config)
    assert end.progress.update == 3
    assert end.progress.seconds >= 60


def test_the_end_is_judged_even_if_a_stop_came_just_before_it(tmp_path):
    config = config_of(max_updates=3, batch_tokens=BATCH_TOKENS, validate_every=50)
    assert not train_in(tmp_path, config, stop_at=3).progress.scores
    end = train_in(tmp_path, config).progress
    assert [*end.scores] == ["3"]
    progress, _ = Checkpoints(tmp_path / "checkpoints").load(3, tiny("transformer"), fresh_adam())
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
        groups = train_in(tmp_path, config, stop_at=number).optimizer.param_groups
        assert {group["lr"] for group in groups} == {learning_rate(number, config.training, {})}
    rates = [line["learning_rate"] for line in metrics_in(tmp_path) if "loss" in line]
    assert rates == [learning_rate(number, config.training, {}) for number in range(1, 8)]


def fresh_adam() -> torch.optim.Optimizer:
    """An optimizer for what `load` restores."""
    return build_optimizer(tiny("transformer"), config_of().training)


# Judging


@pytest.mark.parametrize("metric", ["ppl", "ter", "bleu", "chrf", "rougeL"])
@pytest.mark.parametrize("seed", range(5))
def test_better_is_higher_or_lower_as_the_metric_has_it(metric, seed):
    numbers = random.Random(seed)
    scores = [float(numbers.randint(0, 6)) for _ in range(12)]  # with ties
    best_of = min if metric in ("ppl", "ter") else max
    progress = Progress()
    for number, score in enumerate(scores, start=1):
        progress = replace(progress, update=number).judged(score, metric)
        best = scores.index(best_of(scores[:number])) + 1
        assert progress.best(1, metric) == [best]
        assert progress.worse == number - best
        assert progress.judged(None, metric) == progress  # nothing was said of this metric
    sign = 1 if best_of is min else -1
    expected = sorted(range(1, 13), key=lambda number: (sign * scores[number - 1], number))
    assert progress.best(5, metric) == expected[:5]


# Checkpoints


def saved(folder: Path, seed: int, update: int) -> Seq2Seq:
    """A random model, saved as that of an update."""
    model = tiny("transformer", seed=seed)
    optimizer = build_optimizer(model, config_of().training)
    summed_loss(model, batch_of(pairs(3))).smoothed.backward()
    optimizer.step()
    Checkpoints(folder).save(model, optimizer, Progress(update=update))
    return model


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
            progress = progress.judged(scores[update_number], metric)
        checkpoints.prune(progress, config)
        ranked = sorted(scores, key=scores.__getitem__, reverse=metric == "bleu")
        expected = {*range(update_number, 0, -10)[:keep_last], *ranked[:keep_best]}
        assert checkpoints.updates() == sorted(expected)


def test_the_average_is_the_mean_of_the_weights(tmp_path):
    models = [saved(tmp_path, seed, update) for seed, update in ((1, 5), (2, 10), (3, 15))]
    mean = Checkpoints(tmp_path).average([5, 10, 15])
    assert mean.keys() == dict(models[0].named_parameters()).keys()
    for name, weight in mean.items():
        weights = [dict(model.named_parameters())[name].detach() for model in models]
        torch.testing.assert_close(weight, torch.stack(weights).mean(dim=0))
        assert weight.dtype == weights[0].dtype


def test_what_is_loaded_is_what_was_saved(tmp_path):
    torch.manual_seed(7)
    model = saved(tmp_path, 1, 5)
    state = torch.get_rng_state()
    other = tiny("transformer", seed=2)
    optimizer = build_optimizer(other, config_of().training)
    progress, threads = Checkpoints(tmp_path).load(5, other, optimizer)
    assert progress == Progress(update=5)
    assert threads == torch.get_num_threads()
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (
        asdict(progress)
        == json.loads((tmp_path / "step-00000005/state.json").read_text())["progress"]
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    saved(folder, 1, 5)
    return folder


FILES = ["model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"]


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
    model, before = tiny("transformer"), tiny("transformer")
    with pytest.raises(UserError) as error:
        Checkpoints(folder).load(5, model, fresh_adam())
    said = str(error.value)
    assert said.startswith(f"{file.parent} cannot be used: ")
    if name == "manifest.json" and damage == "a bit flipped":
        name, damage = "model.safetensors", "altered"  # the one that no longer fits
    assert f"{name} {'is missing' if damage == 'missing' else 'has been altered'}" in said
    assert said.endswith("; move it away, and the checkpoint before it will be used")
    for a, b in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(a, b)
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
    assert [line["update"] for line in lines] == [2, 3, 4, 6, 6]
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
