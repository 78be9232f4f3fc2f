"""The laws of layers: precision changes rounding alone, and chance leaves out its share."""

import pytest
import torch
from tiny import batch_of, build_tiny, config_of, equal, pairs, weights_in
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from seq2seq.models import MODELS, Seq2Seq
from seq2seq.models.layers import CELLS, Dropout, LayerNorm, Linear, Rectifier, noise, recur

LOW = [torch.bfloat16, torch.half]
MANY = 99_991  # draws, and no multiple of anything
SURE = 5  # standard deviations: one chance in two million


def deviation(p: float, count: int) -> float:
    """The standard deviation of a share of so many draws."""
    return (p * (1 - p) / count) ** 0.5


# Rectifiers


@pytest.mark.parametrize("learning", [True, False])
def test_a_rectifier_keeps_what_is_positive_and_takes_memory_only_to_learn(learning):
    x = torch.tensor([-1.0, 0.0, 2.0])
    with torch.set_grad_enabled(learning):
        found = Rectifier()(x)
    assert found.tolist() == [0.0, 0.0, 2.0]
    assert (found.data_ptr() == x.data_ptr()) != learning
    assert x.tolist() == ([-1.0, 0.0, 2.0] if learning else found.tolist())


# Noise


@pytest.mark.parametrize("p", [0.1, 0.25, 0.3, 1e-4, 0.5, 0.99])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64, *LOW])
def test_noise_is_zero_as_often_as_it_should_be_and_else_makes_up_for_it(p, precision):
    torch.manual_seed(1)
    found = noise(torch.empty(MANY, dtype=precision), p)
    assert found.dtype == precision
    there = found[found != 0]
    assert len({*there.tolist()}) == 1
    rounding = torch.finfo(precision).eps
    assert there[0].item() == pytest.approx(1 / (1 - p), rel=rounding + 2**-16 / (1 - p))
    left_out = 1 - len(there) / MANY
    assert abs(left_out - p) < SURE * deviation(p, MANY) + 2**-17
    mean = found.double().mean().item()
    assert abs(mean - 1) < SURE * deviation(p, MANY) / (1 - p) + rounding


@pytest.mark.parametrize("p", [1 - 1e-4, 1 - 1e-7])
def test_noise_that_leaves_almost_nothing_still_makes_up_for_it(p):
    torch.manual_seed(1)
    found = torch.stack([noise(torch.empty(1 << 22), p) for _ in range(4)])
    kept = int((found != 0).sum())
    assert kept > 0
    assert found.mean().item() == pytest.approx(1, abs=SURE / kept**0.5)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (5, 1, 7), (2, 0, 3), (3, 5, 11)])
def test_noise_has_any_shape_and_its_seed_decides_it(shape):
    x = torch.empty(shape)
    drawn = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        drawn.append(torch.stack([noise(x, 0.5) for _ in range(20)]))
    assert drawn[0].shape == (20, *shape)
    assert torch.equal(drawn[0], drawn[1])
    assert x.numel() == 0 or not torch.equal(drawn[0], drawn[2])


def test_elements_that_share_a_random_number_do_not_share_their_fate():
    torch.manual_seed(1)
    kept = (noise(torch.empty(MANY // 4, 4), 0.3) != 0).double()
    correlations = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlations.abs().max() < SURE * (MANY // 4) ** -0.5
    assert ((1 - kept.mean(dim=0) - 0.3).abs() < SURE * deviation(0.3, MANY // 4)).all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_dropout_is_a_product_with_noise_and_nothing_when_judging(precision):
    x, y = torch.randn(2, 30, 7).to(precision)
    y.requires_grad_()
    dropout = Dropout(0.4)
    results = []
    for compute in (dropout, lambda y: dropout.add(x, y), lambda y: noise(y, 0.4)):
        torch.manual_seed(3)
        results.append(compute(y))
    dropped, added, product = results
    assert torch.equal(dropped, y * product)
    exact, rounding = x.double() + y.double() * product.double(), torch.finfo(precision).eps
    torch.testing.assert_close(added.double(), exact, rtol=rounding, atol=rounding)
    for result in (dropped, added):
        (gradient,) = torch.autograd.grad(result.sum(), y)
        assert torch.equal(gradient, product)
    for silent in (dropout.eval(), Dropout(0.0)):
        assert torch.equal(silent(y), y)
        assert torch.equal(silent.add(x, y), x + y)


# Precision


@pytest.mark.parametrize("precision", [torch.float32, *LOW])
@pytest.mark.parametrize("make", [lambda: Linear(6, 5), lambda: LayerNorm(6)])
def test_a_layer_rounds_its_weights_and_gets_its_gradients_in_float32(make, precision):
    torch.manual_seed(1)
    layer = make()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    x = torch.randn(9, 6).to(precision)
    result = layer(x)
    assert result.dtype == precision
    kind = nn.Linear if isinstance(layer, nn.Linear) else nn.LayerNorm
    exact = kind(6, 5) if kind is nn.Linear else kind(6)
    rounded = {name: one.to(precision) for name, one in layer.state_dict().items()}
    exact.load_state_dict(rounded)
    expected = exact.double()(x.double())
    rounding = torch.finfo(precision).eps
    torch.testing.assert_close(result.double(), expected, rtol=4 * rounding, atol=4 * rounding)

    result.double().square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(layer.parameters(), exact.parameters(), strict=True):
        assert one.grad.dtype == torch.float32
        assert (one.grad - other.grad).norm() < 4 * rounding * other.grad.norm()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_recurrent_network_is_that_of_pytorch(name, bidirectional, packed, precision):
    torch.manual_seed(1)
    cell = CELLS[name](5, 4, num_layers=2, bidirectional=bidirectional, batch_first=True)
    x = torch.randn(3, 6, 5).to(precision)
    if packed:
        x = pack_padded_sequence(x, torch.tensor([6, 4, 1]), batch_first=True)
    before = torch.randn(2 if name == "lstm" else 1, 4 if bidirectional else 2, 3, 4)
    outputs, *last = recur(cell, x, tuple(before.to(precision)))

    plain = CELLS[name](5, 4, num_layers=2, bidirectional=bidirectional, batch_first=True)
    plain.load_state_dict({key: one.to(precision) for key, one in cell.state_dict().items()})
    state = before.to(precision).float()
    given = x._replace(data=x.data.float()) if packed else x.float()
    expected, after = plain(given, tuple(state) if name == "lstm" else state[0])
    after = [*after] if name == "lstm" else [after]
    rounding = 0.0 if precision == torch.float32 else 0.02
    expected = expected.data if packed else expected
    for one, other in zip([outputs, *last], [expected, *after], strict=True):
        assert one.dtype == precision
        torch.testing.assert_close(one.float(), other, rtol=rounding, atol=rounding)


# What chance leaves out


def a_model(kind: str, **options: float) -> Seq2Seq:
    """A tiny model, of four layers a side if it has layers, without other dropout."""
    depth = {"encoder_layers": 4, "decoder_layers": 4} if kind == "transformer" else {}
    return build_tiny(config_of(kind, model={**depth, **options}))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("p", [0.1, 0.4])
def test_word_dropout_leaves_out_the_share_of_tokens_named(kind, p):
    model = a_model(kind, word_dropout=p)
    tokens = torch.full((100, 100), 5)
    table = model.embeddings.source
    torch.manual_seed(1)
    found = model.embeddings.of(tokens, table)
    left_out = (found == 0).all(dim=2)
    assert abs(left_out.double().mean() - p) < SURE * deviation(p, tokens.numel())
    whole = model.eval().embeddings.of(tokens, table)
    torch.testing.assert_close(found[~left_out], whole[~left_out] / (1 - p), rtol=1e-4, atol=0)
    assert torch.equal(whole, table(tokens) * model.embeddings.scale)


def said(model: Seq2Seq) -> Tensor:
    """The hidden states of some pairs."""
    batch = batch_of(pairs(6))
    return model(batch.source, batch.target_in)


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_layer_dropout_leaves_out_the_share_of_layers_named(p):
    model = a_model("transformer", layer_dropout=p)
    used = []
    for layer in [*model.encoder, *model.decoder]:
        layer.register_forward_hook(lambda *_: used.append(1))
    torch.manual_seed(1)
    for _ in range(250):
        said(model)
    left_out = 1 - len(used) / (250 * 8)
    assert abs(left_out - p) < SURE * deviation(p, 250 * 8)
    used.clear()
    said(model.eval())
    assert len(used) == 8


def test_a_layer_that_is_left_out_is_as_if_it_were_not_there(monkeypatch):
    model = a_model("transformer", layer_dropout=0.5)
    chances = [0.9, 0.2, 0.7, 0.3, 0.1, 0.8, 0.9, 0.4]  # of four layers a side
    drawn = iter(chances)
    monkeypatch.setattr(torch, "rand", lambda size: torch.tensor(next(drawn)))
    found = said(model)
    for side, some in (("encoder", chances[:4]), ("decoder", chances[4:])):
        for layer, chance in zip(list(getattr(model, side)), some, strict=True):
            if chance < 0.5:  # what it adds is nothing then
                for name, weight in layer.named_parameters():
                    if name.split(".")[-2] in ("output", "3"):
                        nn.init.zeros_(weight)
    assert torch.equal(found, said(model.eval()))


@pytest.mark.parametrize("kind", MODELS)
def test_what_chance_leaves_out_in_training_is_there_when_judging(kind):
    whole = said(a_model(kind).eval())
    for name in ("word_dropout", "layer_dropout"):
        if not hasattr(config_of(kind).model, name):
            continue
        model = a_model(kind, **{name: 0.5})
        assert equal(weights_in(model), weights_in(a_model(kind)))
        torch.manual_seed(1)
        assert not torch.equal(said(model.train()), whole)
        assert torch.equal(said(model.eval()), whole)
