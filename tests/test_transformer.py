"""The laws of the ways a Transformer can be built: each is its formula, and all go together."""

import math
import random
from typing import Any

import pytest
import torch
from test_models import (
    choices,
    differs,
    forced,
    padded,
    random_states,
    randomised,
    same,
    section_of,
    sources,
    targets,
    toy,
    walk,
)
from torch import Tensor, nn

from seq2seq.config import Transformer as Options
from seq2seq.models.attention import MultiHeadAttention
from seq2seq.models.autoregression import SSRU
from seq2seq.models.interface import select
from seq2seq.models.layers import Gate, RMSNorm
from seq2seq.models.positions import (
    BUCKETS,
    FURTHEST,
    POSITIONS,
    Positions,
    bucket_of,
    turned,
)
from seq2seq.models.transformer import FeedForward
from seq2seq.training.optimizer import matrices_of

TOLD = ("relative", "rotary", "alibi")  # to self-attention


def positions_of(name: str, *, backwards: bool = False, dim: int = 12, heads: int = 3) -> Positions:
    """Ways to tell positions, with random weights, in float64."""
    return randomised(POSITIONS[name](dim, heads, 5, backwards=backwards))


# Positions


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ["relative", "alibi"])
def test_a_bias_depends_on_the_distance_alone(name, backwards):
    bias = positions_of(name, backwards=backwards).relations(0, 9).bias
    assert bias.shape == (3, 9, 9)
    for query in range(9):
        for key in range(query + 1 if backwards else 9):
            same(bias[:, query, key], bias[:, max(query - key, 0), max(key - query, 0)])


@pytest.mark.parametrize("name", ["relative", "alibi"])
def test_before_is_told_from_behind_in_every_head(name):
    bias = positions_of(name).relations(0, 4).bias
    assert (bias[:, 0, 1:] != bias[:, 1:, 0]).all()


@pytest.mark.parametrize("name", TOLD)
def test_one_position_sees_what_the_last_of_many_sees(name):
    positions = positions_of(name, backwards=True)
    whole, last = positions.relations(0, 20), positions.relations(19, 1)
    if whole.bias is not None:
        same(last.bias, whole.bias[:, 19:])
    else:
        for one, all_of_it in zip(last.turn, whole.turn, strict=True):
            same(one, all_of_it[19:])


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_alibi_has_the_published_slopes(heads):
    bias = POSITIONS["alibi"](8, heads, 5, backwards=True).relations(0, 5).bias
    for head in range(heads):
        slope = 2 ** (-8 / heads * (head + 1))
        for key in range(5):
            assert bias[head, 4, key].item() == pytest.approx(-slope * (4 - key))


def bucket_by_hand(distance: int, *, backwards: bool) -> int:
    """The bucket of T5 (Raffel et al. 2020) for how far a key is before the query."""
    count, first = BUCKETS, 0
    if backwards:
        distance = max(distance, 0)
    else:
        count, first = BUCKETS // 2, BUCKETS // 2 if distance < 0 else 0
        distance = abs(distance)
    exact = count // 2
    if distance < exact:
        return first + distance
    share = math.log(distance / exact) / math.log(FURTHEST / exact)
    return first + min(exact + int(share * (count - exact)), count - 1)


@pytest.mark.parametrize("backwards", [False, True])
def test_distances_have_the_buckets_of_t5(backwards):
    distances = torch.arange(-200, 201)
    found = bucket_of(distances, backwards=backwards).tolist()
    expected = [bucket_by_hand(one, backwards=backwards) for one in distances.tolist()]
    assert found == expected
    assert {*found} == {*range(BUCKETS)} - (set() if backwards else {BUCKETS // 2})


def test_turned_vectors_know_their_distance_alone():
    turn = positions_of("rotary", dim=12, heads=2).relations(0, 11).turn
    one, other = random_states(1, 6), random_states(1, 6, seed=8)
    products = turned(one.expand(11, 6), turn) @ turned(other.expand(11, 6), turn).T
    for query in range(11):
        for key in range(11):
            near = products[max(query - key, 0), max(key - query, 0)]
            torch.testing.assert_close(products[query, key], near)
    assert differs(products[0, 1], products[1, 0])
    same(turned(one, type(turn)(*(part[:1] for part in turn))), one)  # position 0 is not turned


def test_a_turn_is_the_published_rotation():
    """Each pair of elements by the position times a rate of its own (Su et al. 2021, eq. 15)."""
    x = random_states(7, 6)
    found = turned(x, positions_of("rotary", dim=6, heads=1).relations(0, 7).turn)
    for position in range(7):
        for pair in range(3):
            angle = position * 10_000 ** (-2 * pair / 6)
            one, other = x[position, pair].item(), x[position, 3 + pair].item()
            turned_one = one * math.cos(angle) - other * math.sin(angle)
            turned_other = other * math.cos(angle) + one * math.sin(angle)
            assert found[position, pair].item() == pytest.approx(turned_one, abs=1e-5)
            assert found[position, 3 + pair].item() == pytest.approx(turned_other, abs=1e-5)


# Layers


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_heads_that_share_keys_and_values_are_heads_with_copies_of_them(kv_heads, keep):
    ours = randomised(MultiHeadAttention(12, 4, kv_heads=kv_heads))
    own = randomised(MultiHeadAttention(12, 4))
    own.query, own.output = ours.query, ours.output
    with torch.no_grad():
        for name in ("weight", "bias"):
            shared = getattr(ours.memory, name).unflatten(0, (2, kv_heads, 3))
            copies = shared.repeat_interleave(4 // kv_heads, dim=1).flatten(0, 2)
            getattr(own.memory, name).copy_(copies)
    ours.keep_weights = own.keep_weights = keep
    x = random_states(2, 5, 12)
    same(ours(x, ours.project_memory(x), causal=True), own(x, own.project_memory(x), causal=True))
    if keep:
        same(ours.weights, own.weights)


def test_rms_norm_is_its_formula():
    norm, x = randomised(RMSNorm(6)), random_states(3, 6)
    for row in range(3):
        length = math.sqrt(sum(one**2 for one in x[row].tolist()) / 6 + 1e-6)
        same(norm(x)[row], x[row] / length * norm.weight)


@pytest.mark.parametrize(("name", "function"), [("geglu", "gelu"), ("swiglu", "silu")])
def test_a_gated_feed_forward_layer_is_its_formula(name, function):
    layer = randomised(FeedForward(section_of("transformer", activation=name)))
    x = random_states(5, 8)
    gate, value = layer[0](x)[:, :12], layer[0](x)[:, 12:]
    same(layer(x), layer[3](getattr(nn.functional, function)(gate) * value))
    assert isinstance(layer[1], Gate)


def test_an_ssru_is_its_formula():
    """Equations 1 to 3 of Kim et al. (2019), position by position."""
    layer, x = randomised(SSRU(section_of("transformer"))), random_states(2, 5, 8)
    found, state = layer.follow(x, None, None)
    for row in range(2):
        cell = torch.zeros(8, dtype=torch.float64)
        for position in range(5):
            seen = x[row, position]
            forget = 1 / (1 + torch.exp(-(layer.forget.weight @ seen + layer.forget.bias)))
            cell = forget * cell + (1 - forget) * (layer.value.weight @ seen)
            same(found[row, position], cell.clamp(min=0))
        same(state["cell"][row], cell)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_shared_layer_is_as_many_with_the_same_weights(side):
    options = {"encoder_layers": 3, "decoder_layers": 3}
    shared = toy(section_of("transformer", share_layers=side, **options))
    own = toy(section_of("transformer", **options))
    assert len(getattr(shared, side)) == 1
    weights = {
        name.replace(f"{side}.0.", f"{side}.{number}."): weight
        for name, weight in shared.state_dict().items()
        for number in range(3)
    }
    own.load_state_dict(weights)
    same(forced(shared, sources(), targets(4)), forced(own, sources(), targets(4)))


# All together


def combinations(count: int) -> list[dict[str, Any]]:
    """Random choices of everything that can be chosen."""
    numbers = random.Random(1)
    fields = {name: choices(field.annotation) for name, field in Options.model_fields.items()}
    fields |= {"kv_heads": (None, 1, 2), "encoder_layers": (1, 3), "decoder_layers": (1, 3)}
    return [
        {name: numbers.choice(some) for name, some in fields.items() if some and name != "kind"}
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    "options", combinations(24), ids=lambda one: "-".join(map(str, one.values()))
)
def test_whatever_is_chosen_together_keeps_the_laws_of_models(options):
    """Steps, rows of hypotheses, padding and the future; each law alone is in test_models.py."""
    model, source, ids = toy(section_of("transformer", **options)), sources(), targets(4)
    expected = forced(model, source, ids)
    copies = torch.arange(4).repeat_interleave(2)
    encoded = model.encode(source)
    state = select(model.start(encoded), copies)
    same(walk(model, ids[copies], state, encoded)[0], expected[copies])
    same(forced(model, padded(source, 3), padded(ids, 2))[:, : ids.shape[1]], expected)
    later = ids.clone()
    later[:, 3:] = 4 + (later[:, 3:] - 3) % 5
    same(forced(model, source, later)[:, :3], expected[:, :3])
    same(forced(model, source[2:3], ids[2:3]), expected[2:3])


def matrices(**options: Any) -> dict[str, int]:
    """What Muon takes for matrices, and how many lie in each."""
    model = toy(section_of("transformer", **options))
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[weight]: number for weight, number in matrices_of(model).items()}


def test_muon_knows_what_lies_on_top_of_each_other():
    gated = matrices(activation="geglu", kv_heads=1, autoregression="ssru", positions="relative")
    assert gated["encoder.0.attention.memory.weight"] == 2  # keys, values
    assert gated["encoder.0.attention.query.weight"] == 1
    assert gated["encoder.0.feed_forward.0.weight"] == 2  # gate, value
    assert gated["encoder.0.feed_forward.3.weight"] == 1
    assert gated["decoder.0.self_attention.forget.weight"] == 1
    assert not any("positions" in name for name in gated)
    assert matrices()["encoder.0.feed_forward.0.weight"] == 1


def test_what_is_told_of_positions_is_heard_in_every_layer():
    """Without it, the order of the words before would not matter to the last of them."""
    for name in TOLD:
        model = toy(section_of("transformer", positions=name, encoder_layers=1, decoder_layers=1))
        ids = targets(1, length=5)
        swapped: Tensor = ids[:, [0, 2, 1, 3, 4]]
        assert ids[0, 1] != ids[0, 2]
        source = sources()[1:2]  # one token: its order says nothing
        assert differs(forced(model, source, ids)[:, -1], forced(model, source, swapped)[:, -1])
