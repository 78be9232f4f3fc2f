"""The laws of models, for every kind in MODELS and every choice its section of a config offers.

B sentences, K hypotheses a sentence, N = B * K, S source and T target positions, V vocabulary.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from seq2seq.config import Config, Section, Transformer, dump
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.tokenizer import BOS, EOS, PAD, Tokenizers, train_tokenizer
from seq2seq.errors import ConfigError, UserError
from seq2seq.files import write_manifest
from seq2seq.models import MODELS, Encoded, Seq2Seq, State, build, sayable, select
from seq2seq.models.attention import MultiHeadAttention
from seq2seq.models.autoregression import ROOM
from seq2seq.models.folder import choose_device, load_model, save_model, weights_of
from seq2seq.models.interface import IMPOSSIBLE, UNSAID, hiding
from seq2seq.models.positions import POSITIONS, Sinusoidal
from seq2seq.models.recurrent import ATTENTIONS
from seq2seq.runs import open_model

RECORDED = Path(__file__).with_name("parameters.json")
CPU = torch.device("cpu")
PAIR = {"source": "never", "target": "read"}
BEAM = 3
SOURCE_VOCAB, TARGET_VOCAB = 15, 17  # different, unless the embeddings of both are one table
SAID = [piece for piece in range(TARGET_VOCAB) if piece not in UNSAID]

SECTIONS: dict[str, type[Section]] = {
    get_args(section.model_fields["kind"].annotation)[0]: section
    for section in get_args(Config.model_fields["model"].annotation)
}
SMALL = {
    "dim": 8,
    "ffn_dim": 12,
    "heads": 2,
    "embedding_dim": 6,
    "encoder_layers": 2,
    "decoder_layers": 2,
}
# Each choice is tried alone, beside the defaults and beside these.
BESIDE: dict[str, list[dict[str, Any]]] = {
    "transformer": [{"norm": "post"}, {"kv_heads": 1}],
    "lstm": [{"input_feeding": False}],
}


def section_of(kind: str, **options: Any) -> Section:
    """The options of a small model without dropout."""
    fields = SECTIONS[kind].model_fields
    small = {name: size for name, size in SMALL.items() if name in fields}
    undropped = {name: 0.0 for name in fields if "dropout" in name}
    return SECTIONS[kind].model_validate({"kind": kind, **small, **undropped, **options})


def choices(annotation: Any) -> tuple[Any, ...]:
    """All that an option of few values can be."""
    if annotation is bool:
        return True, False
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def variants() -> dict[str, Section]:
    """Every kind of model in every way it can be built, one choice at a time."""
    found: dict[str, Section] = {}
    for kind, section in SECTIONS.items():
        changes: list[dict[str, Any]] = [
            {},
            {"encoder_layers": 1, "decoder_layers": 3},
            {"encoder_layers": 3, "decoder_layers": 1},
        ]
        for name, field in section.model_fields.items():
            changes += [{name: value} for value in choices(field.annotation) if name != "kind"]
        for beside in [{}, *BESIDE.get(kind, [])]:
            for change in changes:
                options = {**beside, **change}
                small = section_of(kind, **options)
                if small not in found.values():
                    label = [kind, *(f"{name}={value}" for name, value in options.items())]
                    found["-".join(label)] = small
    return found


VARIANTS = variants()
every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
every_kind = pytest.mark.parametrize("kind", MODELS)


def toy(options: Section, **data: Any) -> Seq2Seq:
    """A model in float64; all its weights are random, those of padding too, so that leaks show."""
    fields = {"train": [PAIR], "valid": PAIR, "max_length": 12, **data}
    config = Config(name="toy", data=fields, model=options)
    vocab = TARGET_VOCAB if options.share_embeddings == "all" else SOURCE_VOCAB
    torch.manual_seed(1)
    model = build(config, vocab, TARGET_VOCAB).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def sources() -> Tensor:
    """(B, S): sentences of several lengths, `</s>` behind them, then padding."""
    generator = torch.Generator().manual_seed(2)
    lengths = torch.tensor([4, 1, 6, 2])
    ids = torch.randint(4, SOURCE_VOCAB, (len(lengths), 7), generator=generator)
    columns = torch.arange(ids.shape[1])
    ids[columns == lengths[:, None]] = EOS
    ids[columns > lengths[:, None]] = PAD
    return ids


def targets(rows: int, length: int = 5, seed: int = 3) -> Tensor:
    """(rows, T): random tokens after `<s>`."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, TARGET_VOCAB, (rows, length), generator=generator)
    ids[:, 0] = BOS
    return ids


def changed(ids: Tensor) -> Tensor:
    """Another token for each."""
    return torch.where(ids > 4, 4, 5)


def padded(ids: Tensor, columns: int) -> Tensor:
    return nn.functional.pad(ids, (0, columns), value=PAD)


def walk(
    model: Seq2Seq, ids: Tensor, state: State, encoded: Encoded, rows: Tensor | None = None
) -> tuple[Tensor, State]:
    """Logits (N, T, V) after each of the ids (N, T), one step at a time, and the last state.

    The first step goes on from the given rows of the state.
    """
    logits = []
    for column in ids.unbind(dim=1):
        after, state = model.step(column, state, encoded, rows)
        logits.append(after)
        rows = None
    return torch.stack(logits, dim=1), state


def forced(model: Seq2Seq, source: Tensor, ids: Tensor) -> Tensor:
    """Logits (N, T, V) by teacher forcing."""
    return model.project(model(source, ids))


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def differs(one: Tensor, other: Tensor) -> bool:
    return (one - other).abs().max().item() > 1e-6


def test_every_kind_has_its_section():
    assert SECTIONS.keys() == MODELS.keys()


# What can be said


@every_variant
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_nothing_says_what_is_only_read(options, precision):
    """Its probability is none at all, and the others have what there is."""
    model = toy(options)
    model.to(precision or torch.float64)
    logits = forced(model, sources(), targets(4)).float()
    assert logits.isfinite().all()
    probabilities = logits.softmax(dim=-1)
    assert not probabilities[:, :, list(UNSAID)].any()
    assert (probabilities[:, :, SAID] > 0).all()
    torch.testing.assert_close(probabilities[:, :, SAID], logits[:, :, SAID].softmax(dim=-1))


class Forbidding(TorchDispatchMode):
    """What waits for a GPU, if tensors were there: a copy of a number from the processor."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert "copy" not in function.__name__
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(9,), (2, 9), (2, 3, 9)])
def test_what_is_not_said_is_told_without_waiting(shape):
    with Forbidding():
        logits = sayable(torch.zeros(shape))
    assert (logits[..., list(UNSAID)] == IMPOSSIBLE).all()
    assert logits.count_nonzero() == logits.numel() / 9 * len(UNSAID)


# Stepping, padding, company and time


@every_variant
def test_stepping_is_teacher_forcing(options):
    model, source, ids = toy(options), sources(), targets(4)
    encoded = model.encode(source)
    stepped, _ = walk(model, ids, model.start(encoded), encoded)
    same(stepped, forced(model, source, ids))


@every_variant
def test_float32_by_either_library_is_float64_but_for_rounding(products, options):
    """Logits by teacher forcing and by steps, with and without gradients, and the gradients."""
    found = []
    for precision in (torch.float32, torch.float64):
        model, source, ids = toy(options).to(precision), sources(), targets(4)
        logits = forced(model, source, ids)
        logits.log_softmax(dim=-1)[..., SAID].sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        with torch.inference_mode():
            encoded = model.encode(source)
            stepped, _ = walk(model, ids, model.start(encoded), encoded)
        found.append([logits, stepped, *gradients])
    for low, exact in zip(*found, strict=True):
        assert low.dtype == torch.float32
        torch.testing.assert_close(
            low.double(), exact, rtol=1e-3, atol=1e-3 * (1 + exact.abs().max().item())
        )


@every_variant
def test_hypotheses_side_by_side_are_sentences_of_their_own(options):
    model, source, ids = toy(options), sources(), targets(4 * BEAM)
    copies = torch.arange(4).repeat_interleave(BEAM)
    encoded = model.encode(source)
    stepped, _ = walk(model, ids, select(model.start(encoded), copies), encoded)
    same(stepped, forced(model, source[copies], ids))
    stepped, _ = walk(model, ids, model.start(encoded), encoded, copies)
    same(stepped, forced(model, source[copies], ids))


@every_variant
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("left", [[1, 3], [0, 3, 2], [0, 1, 2, 3], [2, 0, 3, 1]])
def test_rows_selected_between_steps_go_on_as_if_they_had_always_been_so(options, left, mode):
    """Sentences leave, change their places, both or neither."""
    model, source, ids = toy(options), sources(), targets(4 * BEAM)
    copies = torch.arange(4).repeat_interleave(BEAM)
    sentences, own = torch.tensor(left), torch.tensor([[1, 1, 0], [2, 0, 0], [0, 1, 2], [2, 2, 2]])
    rows = (sentences[:, None] * BEAM + own[: len(left)]).flatten()
    later = torch.cat([ids[rows, :2], targets(len(rows), seed=4)[:, 2:]], dim=1)
    expected = forced(model, source[sentences.repeat_interleave(BEAM)], later)[:, 2:]
    with mode():
        encoded = model.encode(source)
        _, state = walk(model, ids[:, :2], model.start(encoded), encoded, copies)
        stepped, _ = walk(model, later[:, 2:], state, select(encoded, sentences), rows)
    same(stepped, expected)


@every_variant
def test_hypotheses_that_share_nothing_may_be_selected_apart(options):
    model, source, ids = toy(options), sources(), targets(4 * BEAM)
    copies, rows = torch.arange(4).repeat_interleave(BEAM), torch.tensor([7, 7, 3, 8])
    encoded = model.encode(source)
    _, state = walk(model, ids[:, :2], select(model.start(encoded), copies), encoded)
    before = select(state, torch.arange(4 * BEAM))
    later = torch.cat([ids[rows, :2], targets(len(rows), seed=4)[:, 2:]], dim=1)
    stepped, _ = walk(model, later[:, 2:], select(state, rows), select(encoded, copies[rows]))
    same(stepped, forced(model, source[copies[rows]], later)[:, 2:])
    assert all(torch.equal(before[name], state[name]) for name in before)  # which is as it was


@every_variant
def test_search_has_room_for_any_length(options):
    """Beyond what memory has room for at first; sentences begin with one hypothesis, some leave."""
    model, source, ids = toy(options), sources(), targets(4 * BEAM, length=3 * ROOM)
    copies, sentences = torch.arange(4).repeat_interleave(BEAM), torch.tensor([0, 2])
    rows, start = copies, 1
    with torch.inference_mode():
        encoded = model.encode(source)
        _, state = model.step(ids[::BEAM, 0], model.start(encoded), encoded)
        for end in (ROOM // 2, ROOM, ROOM + 1, 3 * ROOM):
            stepped, state = walk(model, ids[:, start:end], state, encoded, rows)
            same(stepped, forced(model, source[copies], ids)[:, start:end])
            rows = torch.arange(len(ids))
            if start == 1:
                rows = (sentences[:, None] * BEAM + torch.arange(BEAM)).flatten()
                encoded, ids, copies = select(encoded, sentences), ids[rows], copies[rows]
            start = end


@every_variant
def test_padding_changes_nothing(options):
    model, source, ids = toy(options), sources(), targets(4)
    expected = forced(model, source, ids)
    wide = padded(source, 3)
    same(forced(model, wide, padded(ids, 2))[:, : ids.shape[1]], expected)
    encoded = model.encode(wide)
    same(walk(model, ids, model.start(encoded), encoded)[0], expected)


@every_variant
def test_a_batch_of_one_is_its_row_in_a_batch(options):
    model, source, ids = toy(options), sources(), targets(4)
    together = forced(model, source, ids)
    for row in range(len(source)):
        alone = source[row : row + 1, : int((source[row] != PAD).sum())]
        same(forced(model, alone, ids[row : row + 1])[0], together[row])


@every_variant
def test_the_future_changes_nothing_and_the_present_does(options):
    model, source, ids = toy(options), sources(), targets(4)
    expected = forced(model, source, ids)
    for position in range(1, ids.shape[1]):
        other = torch.cat([ids[:, :position], changed(ids[:, position:])], dim=1)
        found = forced(model, source, other)
        same(found[:, :position], expected[:, :position])
        for row in range(len(ids)):
            assert differs(found[row, position], expected[row, position])


@every_variant
def test_every_source_token_counts(options):
    model, source, ids = toy(options), sources(), targets(4)
    expected = forced(model, source, ids)
    for row, column in (source != PAD).nonzero().tolist():
        other = source.clone()
        other[row, column] = changed(source[row, column])
        assert differs(forced(model, other, ids)[row], expected[row])


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_order_of_source_tokens_counts_unless_there_are_no_positions(positions):
    model, ids = toy(section_of("transformer", positions=positions)), targets(1)
    source = sources()[2:3]
    turned = forced(model, source.flip(1), ids)
    assert differs(turned, forced(model, source, ids)) == (positions != "none")


# Attention that is kept to be looked at


def attention_shape(options: Section) -> tuple[int, int]:
    """Layers and heads of the attention to the source."""
    if hasattr(options, "heads"):
        return options.decoder_layers, options.heads
    return 1, 1


@every_variant
def test_keeping_attention_changes_nothing_else(options):
    model, source, ids = toy(options), sources(), targets(4)
    expected = forced(model, source, ids)
    assert model.attention is None
    model.keep_attention()
    assert model.attention is None
    same(forced(model, source, ids), expected)
    encoded = model.encode(source)
    same(walk(model, ids, model.start(encoded), encoded)[0], expected)
    model.keep_attention(False)
    assert model.attention is None
    forced(model, source, ids)
    assert model.attention is None


@every_variant
def test_kept_attention_is_a_distribution_over_the_source(options):
    model, source, ids = toy(options), sources(), targets(4)
    model.keep_attention()
    forced(model, source, ids)
    if getattr(options, "attention", None) == "none":
        assert model.attention is None
        return
    weights = model.attention
    assert weights.shape == (4, *attention_shape(options), ids.shape[1], source.shape[1])
    same(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))
    real = (source != PAD)[:, None, None, None].expand_as(weights)
    assert (weights[real] > 0).all()
    assert (weights[~real] == 0).all()


@every_variant
def test_attention_kept_in_steps_is_that_of_teacher_forcing(options):
    model, source, ids = toy(options), sources(), targets(4 * BEAM)
    copies = torch.arange(4).repeat_interleave(BEAM)
    model.keep_attention()
    model(source[copies], ids)
    whole = model.attention
    encoded = model.encode(source)
    state, steps = select(model.start(encoded), copies), []
    for column in ids.unbind(dim=1):
        _, state = model.step(column, state, encoded)
        steps.append(model.attention)
    if getattr(options, "attention", None) == "none":
        assert steps == [None] * ids.shape[1]
    else:
        same(torch.cat(steps, dim=3), whole)


# Parameters


@every_variant
def test_every_parameter_gets_a_gradient(options):
    model, source, ids = toy(options).train(), sources(), targets(4)
    logits = forced(model, source, ids)[:, :-1]
    nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def parameters() -> dict[str, dict[str, str]]:
    """Names and shapes of the parameters of a toy of each kind, with all tables apart."""
    models = {kind: toy(section_of(kind, share_embeddings="none")) for kind in MODELS}
    return {
        kind: {
            name: " x ".join(map(str, parameter.shape))
            for name, parameter in model.named_parameters()
        }
        for kind, model in models.items()
    }


def test_parameters_are_those_of_models_that_are_in_use():
    assert parameters() == json.loads(RECORDED.read_text(encoding="utf-8")), (
        "models that people have trained can no longer be loaded; "
        "if that is meant: python tests/test_models.py"
    )


@every_kind
@pytest.mark.parametrize(("share", "tables"), [("all", 1), ("target", 2), ("none", 3)])
def test_shared_embeddings_are_one_table(kind, share, tables):
    model = toy(section_of(kind, share_embeddings=share))
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    assert len({weight.data_ptr() for weight in [*weights, model.output_weight]}) == tables


DROPOUTS = [
    (kind, name)
    for kind, section in SECTIONS.items()
    for name in section.model_fields
    if "dropout" in name
]


@pytest.mark.parametrize(("kind", "name"), DROPOUTS)
def test_dropout_counts_in_training_alone(kind, name):
    plain, dropping = toy(section_of(kind)), toy(section_of(kind, **{name: 0.5}))
    source, ids = sources(), targets(4)
    same(forced(dropping, source, ids), forced(plain, source, ids))
    plain.train()
    same(forced(plain, source, ids), forced(plain, source, ids))
    dropping.train()
    assert differs(forced(dropping, source, ids), forced(dropping, source, ids))


# The parts, beside those of PyTorch and formulas in print


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.double().eval()


def attention_weights(ours: MultiHeadAttention, prefix: str) -> dict[str, Tensor]:
    """The weights under the names that torch.nn.MultiheadAttention has for them."""
    return {
        f"{prefix}in_proj_weight": torch.cat([ours.query.weight, ours.memory.weight]),
        f"{prefix}in_proj_bias": torch.cat([ours.query.bias, ours.memory.bias]),
        f"{prefix}out_proj.weight": ours.output.weight,
        f"{prefix}out_proj.bias": ours.output.bias,
    }


def renamed(layer: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    """The weights of a layer, each part under the name that PyTorch has for it."""
    weights: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        part = layer.get_submodule(ours)
        if isinstance(part, MultiHeadAttention):
            weights |= attention_weights(part, f"{theirs}.")
        else:
            weights |= {f"{theirs}.{name}": tensor for name, tensor in part.named_parameters()}
    return weights


def future(length: int) -> Tensor:
    """(T, T): true for what a position must not see."""
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def random_states(*shape: int, seed: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("where", ["self", "source"])
def test_attention_is_that_of_pytorch(where, keep):
    ours = randomised(MultiHeadAttention(8, 2))
    theirs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(attention_weights(ours, ""))
    ours.keep_weights = keep
    x = random_states(4, 5, 8)
    if where == "self":
        found = ours(x, ours.project_memory(x), causal=True)
        options = {"attn_mask": future(5)}
        seen = x
    else:
        seen, mask = random_states(4, 7, 8, seed=7), sources() != PAD
        found = ours(x, ours.project_memory(seen), mask=hiding(~mask, x.dtype))
        options = {"key_padding_mask": ~mask}
    expected, weights = theirs(x, seen, seen, average_attn_weights=False, **options)
    same(found, expected)
    if keep:
        same(ours.weights, weights)
    else:
        assert ours.weights is None


ENCODER_NAMES = {
    "attention": "self_attn",
    "feed_forward.0": "linear1",
    "feed_forward.3": "linear2",
    "attention_residual.norm": "norm1",
    "feed_forward_residual.norm": "norm2",
}
DECODER_NAMES = {
    "self_attention": "self_attn",
    "cross_attention": "multihead_attn",
    "feed_forward.0": "linear1",
    "feed_forward.3": "linear2",
    "self_residual.norm": "norm1",
    "cross_residual.norm": "norm2",
    "feed_forward_residual.norm": "norm3",
}


@pytest.mark.parametrize("norm", get_args(Transformer.model_fields["norm"].annotation))
def test_a_transformer_is_that_of_pytorch(norm):
    options = {"norm": norm, "positions": "sinusoidal", "share_embeddings": "none"}
    model = toy(section_of("transformer", **options))
    shape = {"batch_first": True, "norm_first": norm == "pre", "dtype": torch.float64}
    layers = (
        nn.TransformerEncoderLayer(8, 2, 12, 0.0, **shape),
        nn.TransformerDecoderLayer(8, 2, 12, 0.0, **shape),
    )
    last = [nn.LayerNorm(8, dtype=torch.float64) if norm == "pre" else None for _ in range(2)]
    encoder = nn.TransformerEncoder(layers[0], 2, last[0], enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(layers[1], 2, last[1])
    for number in range(2):
        encoder.layers[number].load_state_dict(renamed(model.encoder[number], ENCODER_NAMES))
        decoder.layers[number].load_state_dict(renamed(model.decoder[number], DECODER_NAMES))
    if norm == "pre":
        encoder.norm.load_state_dict(model.encoder_norm.state_dict())
        decoder.norm.load_state_dict(model.decoder_norm.state_dict())

    source, ids = sources(), targets(4)
    tables = model.embeddings
    x = tables.source(source) * math.sqrt(8) + model.source_positions(0, source.shape[1])
    y = tables.target(ids) * math.sqrt(8) + model.target_positions(0, ids.shape[1])
    hidden = source == PAD
    seen = encoder(x, src_key_padding_mask=hidden)
    states = decoder(y, seen, tgt_mask=future(ids.shape[1]), memory_key_padding_mask=hidden)
    same(forced(model, source, ids)[:, :, SAID], states @ tables.output.weight[SAID].T)


def test_sinusoids_are_the_published_formula_at_any_length():
    dim, built_for, start, length = 6, 4, 2, 9
    found = Sinusoidal(dim, 1, built_for, backwards=False)(start, length)
    for row, position in enumerate(range(start, start + length)):
        for pair in range(dim // 2):
            angle = position / 10_000 ** (2 * pair / dim)
            assert found[row, pair] == pytest.approx(math.sin(angle), abs=1e-5)
            assert found[row, dim // 2 + pair] == pytest.approx(math.cos(angle), abs=1e-5)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def times(linear: nn.Linear, vector: list[float]) -> list[float]:
    """A linear map of a vector, number by number."""
    bias = [0.0] * linear.out_features if linear.bias is None else linear.bias.tolist()
    products = (dot(row, vector) for row in linear.weight.tolist())
    return [product + shift for product, shift in zip(products, bias, strict=True)]


def additive(attend: nn.Module, query: list[float], value: list[float]) -> float:
    terms = zip(times(attend.query, query), times(attend.key, value), strict=True)
    return times(attend.energy, [math.tanh(a + b) for a, b in terms])[0]


SCORES = {
    "additive": additive,
    "dot": lambda attend, query, value: dot(query, value),
    "general": lambda attend, query, value: dot(query, times(attend.key, value)),
    "scaled_dot": lambda attend, query, value: dot(query, value) / math.sqrt(len(query)),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_recurrent_attention_is_the_published_formula(name):
    attend = randomised(ATTENTIONS[name](6))
    attend.keep_weights = True
    hidden, values, mask = random_states(4, 3, 6), random_states(4, 7, 6, seed=7), sources() != PAD
    found = attend(hidden, attend.project_keys(values), values, hiding(~mask, hidden.dtype))
    for sentence, length in enumerate(mask.sum(dim=1).tolist()):
        seen = values[sentence, :length].tolist()
        for number, query in enumerate(hidden[sentence].tolist()):
            powers = [math.exp(SCORES[name](attend, query, value)) for value in seen]
            weights = [power / sum(powers) for power in powers]
            context = [dot(weights, [value[place] for value in seen]) for place in range(6)]
            kept = attend.weights[sentence, number].tolist()
            assert kept == pytest.approx([*weights, *[0.0] * (7 - length)])
            assert found[sentence, number].tolist() == pytest.approx(context)


CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


def cell_of(kind: str, layer: nn.RNNBase, suffix: str = "") -> nn.RNNCellBase:
    """The cell of a layer, to be called a step at a time."""
    cell = CELLS[kind](layer.input_size, layer.hidden_size, dtype=torch.float64)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict({name: getattr(layer, f"{name}_l0{suffix}") for name in names})
    return cell


def run(cell: nn.RNNCellBase, inputs: Tensor) -> list[tuple[Tensor, ...]]:
    """The states of a cell after each of its inputs (S, E): hidden, and cell if it has one."""
    states: list[tuple[Tensor, ...]] = []
    state = None
    for one in inputs:
        state = cell(one[None], state)
        states.append(state if isinstance(state, tuple) else (state,))
    return states


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_a_recurrent_model_is_the_published_formula(kind, bidirectional, fed):
    shape = {"encoder_layers": 1, "decoder_layers": 1, "bidirectional": bidirectional}
    options = section_of("lstm", cell=kind, attention="dot", input_feeding=fed, **shape)
    model, source, ids = toy(options), sources(), targets(4)
    decoder, scale = cell_of(kind, model.decoder), math.sqrt(6)
    expected = forced(model, source, ids)
    for row, sentence in enumerate(source):
        x = model.embeddings.source(sentence[sentence != PAD]) * scale
        states = run(cell_of(kind, model.encoder), x)
        values, last = torch.cat([state[0] for state in states]), states[-1]
        if bidirectional:
            back = run(cell_of(kind, model.encoder, "_reverse"), x.flip(0))
            turned = torch.cat([state[0] for state in back[::-1]])
            values = torch.cat([values, turned], dim=1)
            last = tuple(torch.cat(ends, dim=1) for ends in zip(last, back[-1], strict=True))
        hidden, *memory = last
        hidden = model.bridge["hidden"](hidden).tanh()
        memory = [model.bridge["cell"](one) for one in memory]
        vector = torch.zeros(1, 6, dtype=torch.float64)
        for position, y in enumerate(model.embeddings.target(ids[row]) * scale):
            seen = torch.cat([y[None], vector], dim=1) if fed else y[None]
            state = decoder(seen, (hidden, *memory) if memory else hidden)
            hidden, *memory = state if memory else (state,)
            context = (hidden @ values.T).softmax(dim=1) @ values
            vector = model.readout(torch.cat([hidden, context], dim=1)).tanh()
            same((vector @ model.output_weight[SAID].T)[0], expected[row, position, SAID])


# The model folder

LINES = ["the cat sat on the mat", "a dog and a bone", "die Katze saß", "ein Hund und ein Knochen"]
REMEDY = "copy the folder again from where it came, or train again"


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    options = TokenizerOptions(kind="char", vocab_size=60, byte_fallback=False)
    return Tokenizers(*(train_tokenizer(lines, options, 1) for lines in (LINES[:2], LINES[2:])))


def whole_config(kind: str, shared: bool) -> Config:
    share = "all" if shared else "target"
    return Config(
        name="toy",
        data={"train": [PAIR], "valid": PAIR, "max_length": 12},
        tokenizer=TokenizerOptions(kind="char", vocab_size=60, byte_fallback=False, shared=shared),
        model=section_of(kind, share_embeddings=share),
    )


@pytest.fixture
def folder(tokenizers: Tokenizers, tmp_path: Path) -> Path:
    """A model folder of a Transformer."""
    config = whole_config("transformer", shared=True)
    one = Tokenizers(tokenizers.source, tokenizers.source)
    weights = weights_of(build(config, len(one.source), len(one.target)))
    save_model(tmp_path / "model", config, one, weights, {"ppl": 2.5})
    return tmp_path / "model"


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        loaded_again(folder)
    return str(error.value)


def loaded_again(folder: Path) -> Seq2Seq:
    opened = open_model(folder)
    return load_model(opened.folder, opened.config, opened.tokenizers, CPU)


@every_kind
@pytest.mark.parametrize("shared", [True, False])
def test_a_model_that_was_saved_is_loaded_to_the_bit(kind, shared, tokenizers, tmp_path):
    config = whole_config(kind, shared)
    given = Tokenizers(tokenizers.source, tokenizers[0 if shared else 1])
    before, model = (build(config, len(given.source), len(given.target)).eval() for _ in range(2))
    for saved, scores in ((before, {"ppl": 3.0}), (model, {"ppl": 2.5})):  # one replaces the other
        save_model(tmp_path / "model", config, given, weights_of(saved), scores)
    opened = open_model(tmp_path / "model")
    loaded = loaded_again(tmp_path / "model")
    assert opened.config == config
    assert opened.tokenizers.files == given.files
    assert json.loads((tmp_path / "model" / "scores.json").read_text()) == {"ppl": 2.5}
    assert not loaded.training
    source, ids = sources(), targets(4)
    assert torch.equal(forced(loaded, source, ids), forced(model, source, ids))
    assert not torch.equal(forced(loaded, source, ids), forced(before, source, ids))


@pytest.mark.parametrize("damage", ["missing", "altered", "truncated", "empty"])
@pytest.mark.parametrize(
    "name",
    ["config.yaml", "tokenizer.target.model", "model.safetensors", "scores.json", "manifest.json"],
)
def test_a_damaged_file_is_named(name, damage, folder):
    content = (folder / name).read_bytes()
    damaged = {
        "altered": bytes([content[0] ^ 1]) + content[1:],
        "truncated": content[:-2],
        "empty": b"",
    }
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damaged[damage])
    what = "is missing" if damage == "missing" else "has been altered"
    assert complaint(folder) == f"{folder} cannot be used: {name} {what}; {REMEDY}"


def test_all_damaged_files_are_named_at_once(folder):
    (folder / "config.yaml").unlink()
    (folder / "model.safetensors").write_bytes(b"")
    problems = "config.yaml is missing, model.safetensors has been altered"
    assert complaint(folder) == f"{folder} cannot be used: {problems}; {REMEDY}"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    place = tmp_path / "nothing"
    remedy = "name a run, such as runs/quickstart, or a model"
    assert complaint(place) == f"{place} is no folder; {remedy}"


LAYERS = "{0} layers: {1} in the file, {2} in the config (model.{0}_layers, model.share_layers)"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ffn_dim": 16}, "decoder.0.feed_forward.0.bias is 12, not 16"),
        ({"encoder_layers": 1}, LAYERS.format("encoder", 2, 1)),
        ({"decoder_layers": 3}, LAYERS.format("decoder", 2, 3)),
        ({"share_embeddings": "target"}, "embeddings.target.weight is missing"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_named(change, reason, folder):
    config = whole_config("transformer", shared=True)
    other = config.model_copy(update={"model": config.model.model_copy(update=change)})
    (folder / "config.yaml").write_text(dump(other), encoding="utf-8")
    write_manifest(folder)
    weights = folder / "model.safetensors"
    assert complaint(folder) == f"{weights} does not fit the config beside it: {reason}"


def test_a_device_is_one_that_is_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(
        UserError, match=r"^there is no cuda device here; set device to auto or cpu$"
    ):
        choose_device("cuda")
    with pytest.raises(ConfigError, match=r"^device: must be auto, cuda, mps, cpu, not tpu$"):
        choose_device("tpu")


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(parameters(), indent=2) + "\n", encoding="utf-8")
