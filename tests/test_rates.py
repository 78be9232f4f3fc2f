"""Laws of learning rates by part: a weight goes as far as its factor says, in every optimizer."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from tiny import batch_of, build_tiny, config_of, equal, learn, learner_of, pairs
from torch import Tensor

from seq2seq.config import Training
from seq2seq.errors import ConfigError
from seq2seq.models import MODELS
from seq2seq.models.parts import depths
from seq2seq.training.optimizer import build_optimizer

OPTIMIZERS = get_args(Training.model_fields["optimizer"].annotation)
DEEP = {"encoder_layers": 3, "decoder_layers": 2}
PLAIN = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}


def named(learner) -> dict[str, Tensor]:
    return {name: one.detach().clone() for name, one in learner.model.named_parameters()}


def moved(kind: str = "transformer", double: bool = False, **options: Any) -> dict[str, Tensor]:
    """How far each weight goes in one update."""
    learner = learner_of(kind, double=double, model=DEEP, weight_decay=0.1, **options)
    before = named(learner)
    learn(learner, batch_of(pairs(8)), rate=0.1)
    return {name: weight - before[name] for name, weight in named(learner).items()}


def expected_depth(name: str) -> int:
    """By hand, for a model of three layers and two."""
    if name.startswith(("embeddings.", "source_positions.", "target_positions.")):
        return 3
    for stack, layers in (("encoder", 3), ("decoder", 2)):
        for number in range(layers):
            of_recurrent = name.startswith(f"{stack}.") and f"_l{number}" in name
            if of_recurrent or name.startswith(f"{stack}.{number}."):
                return layers - 1 - number
    return 0


@pytest.mark.parametrize("kind", MODELS)
def test_a_weight_goes_exactly_as_far_as_its_factor_says(kind):
    options = {**PLAIN, "layer_decay": 0.7, "rates": {"*": 0.5, "decoder": 3.0}}
    without, found = moved(kind, double=True, **PLAIN), moved(kind, double=True, **options)
    for name, distance in without.items():
        factor = 3.0 if name.startswith("decoder.") else 0.5
        factor *= 0.7 ** expected_depth(name)
        torch.testing.assert_close(found[name], factor * distance, rtol=1e-9, atol=1e-13, msg=name)
    assert all(distance.any() for distance in found.values())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_heeds_the_factors(optimizer):
    without = moved(optimizer=optimizer)
    found = moved(optimizer=optimizer, layer_decay=0.5, rates={"encoder.1.*.weight": 4.0})
    for name, distance in without.items():
        factor = 4.0 if name.startswith("encoder.1.") and name.endswith(".weight") else 1.0
        factor *= 0.5 ** expected_depth(name)
        torch.testing.assert_close(found[name], factor * distance, rtol=2e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_factors_of_one_change_nothing(optimizer):
    assert equal(moved(optimizer=optimizer), moved(optimizer=optimizer, rates={"*": 1.0}))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stopped_and_restored_is_never_stopped(optimizer, tmp_path):
    options = {"optimizer": optimizer, "layer_decay": 0.8, "rates": {"*norm*": 2.0}}
    batch = batch_of(pairs(8))
    never, stopped = learner_of(**options), learner_of(**options)
    for _ in range(3):
        learn(never, batch)
    learn(stopped, batch)
    went_on = learner_of(seed=2, **options)
    went_on.restore(stopped.state(), tmp_path)
    for _ in range(2):
        learn(went_on, batch)
    assert equal(went_on.state(), never.state())


def test_an_output_layer_of_its_own_is_at_the_top():
    for share, depth in (("none", 0), ("target", 1), ("all", 1)):
        model = build_tiny(config_of(model={"share_embeddings": share}))
        output = next(name for name, one in model.named_parameters() if one is model.output_weight)
        assert depths(model)[output] == depth


def test_a_rate_for_nothing_is_an_error():
    config = config_of(rates={"encoder.9": 2.0}).training
    with pytest.raises(ConfigError, match=r"rates: encoder\.9 names no part .* which has decoder"):
        build_optimizer(build_tiny(config_of()), config)


# Gradual unfreezing


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_each_layer_learns_when_its_time_has_come(kind, optimizer):
    learner = learner_of(kind, model=DEEP, optimizer=optimizer, unfreeze_every=2, weight_decay=0.1)
    for update in range(8):
        before = named(learner)
        learner.unfreeze(update)
        learn(learner, batch_of(pairs(8)))
        for name, weight in named(learner).items():
            assert torch.equal(weight, before[name]) == (expected_depth(name) > update // 2), name


def test_who_waits_does_not_count_in_the_length_of_gradients():
    learner = learner_of(model=DEEP, clip_norm=0.0, unfreeze_every=1)
    early, late = [], []
    for norms, update in ((early, 0), (late, 3)):
        learner.unfreeze(update)
        norms.append(learn(learner, batch_of(pairs(8)), rate=0.0).gradient_norm.item())
    assert 0 < early[0] < late[0]


def test_a_training_unfreezes_and_resumes_where_it_was(own, command):
    def trained(name: str, *updates: int) -> dict[str, Tensor]:
        options = {"unfreeze_every": 30, "layer_decay": 0.8, "rates": "{encoder: 2.0}"}
        options |= {"init_from": "runs/toy", "average": 0, "keep_last": 9}
        changes = [f"training.{option}={value}" for option, value in options.items()]
        for number in updates:
            sets = [f"name={name}", f"training.max_updates={number}", *changes]
            assert command("train", "toy.yaml", *(f"--set={one}" for one in sets)).code == 0
        return weights_after(60, name)

    def weights_after(update: int, name: str) -> dict[str, Tensor]:
        return load_file(Path(f"runs/{name}/checkpoints/step-{update:08d}/model.safetensors"))

    assert equal(trained("stopped", 20, 60), trained("never", 60))
    start = load_file("runs/toy/best/model.safetensors")
    for update in (20, 60):
        for name, weight in weights_after(update, "never").items():
            low = name.startswith(("embeddings.", "source_positions.", "target_positions."))
            waited = update == 20 and low
            assert torch.equal(weight, start[name]) == waited, name
