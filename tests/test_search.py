"""The laws of search, on toys that are tables and on real models, and of the translator.

A toy is a language model of which each prefix has a row of a table of random logits, so that all
its hypotheses can be counted, and searched again by a plain program.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seq2seq.config import Config, Data, Decoding
from seq2seq.config import Tokenizer as TokenizerOptions
from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizers, train_tokenizer
from seq2seq.decoding.engine import Hypothesis, Request, batches
from seq2seq.decoding.pytorch import PyTorch
from seq2seq.decoding.search import BLOCK, Step, largest, search
from seq2seq.decoding.translator import Line, Translator
from seq2seq.errors import UserError
from seq2seq.models import MODELS, Encoded, Seq2Seq, State, build, select

NEVER = {PAD, UNK, BOS}
ROWS = 10_007
TABLE = 1.5 * torch.randn(ROWS, 12, generator=torch.Generator().manual_seed(1), dtype=torch.double)
LOGARITHMS = {vocab: TABLE[:, :vocab].log_softmax(dim=1).tolist() for vocab in range(4, 13)}

# log-probabilities of what may follow a prefix
Follow = Callable[[list[int]], list[float]]


# Toys: in tensors, as search sees them, and as plain functions


def toy(vocab: int) -> Step:
    """The step of a toy: a state of two parts counts tokens and finds the prefix's row."""

    def step(
        last: Tensor, state: State, encoded: Encoded, rows: Tensor | None
    ) -> tuple[Tensor, State]:
        state = select(state, rows)
        width = len(last) // len(encoded["number"])
        number = encoded["number"].repeat_interleave(width)
        count, row = state["count"] + 1, (31 * state["row"][:, 0] + last + number) % ROWS
        assert len(set(count.tolist())) == 1
        return TABLE[row, :vocab], {"count": count, "row": row[:, None]}

    return step


def toy_follow(vocab: int, number: int) -> Follow:
    """The same toy of one sentence."""

    def follow(prefix: list[int]) -> list[float]:
        row = 0
        for token in [BOS, *prefix]:
            row = (31 * row + token + number) % ROWS
        return LOGARITHMS[vocab][row]

    return follow


def table_step(table: dict[tuple[int, ...], dict[int, float]]) -> Step:
    """The step of a toy of one sentence whose probabilities after each prefix are given."""

    def step(
        last: Tensor, state: State, encoded: Encoded, rows: Tensor | None
    ) -> tuple[Tensor, State]:
        state = select(state, rows)
        prefixes = torch.cat([state["prefix"], last[:, None]], dim=1)
        probabilities = torch.full((len(last), 6), 1e-9, dtype=torch.double)
        for row, (_, *prefix) in enumerate(prefixes.tolist()):
            for token, probability in table.get(tuple(prefix), {}).items():
                probabilities[row, token] = probability
        return probabilities.log(), {"prefix": prefixes}

    return step


def search_toy(
    step: Step, numbers: list[int], max_lengths: list[int], beam: int, alpha: float = 0.0
) -> list[list[Hypothesis]]:
    state = {
        "count": torch.zeros(len(numbers), dtype=torch.long),
        "row": torch.zeros(len(numbers), 1, dtype=torch.long),
    }
    return search(
        step,
        state,
        {"number": torch.tensor(numbers, dtype=torch.long)},
        [Request([], longest) for longest in max_lengths],
        Decoding(beam=beam, length_penalty=alpha),
    )


def search_table(
    rows: dict[tuple[int, ...], dict[int, float]],
    beam: int,
    max_length: int = 9,
    patience: float = 1.0,
) -> list[list[int]]:
    nothing = {"prefix": torch.zeros(1, 0, dtype=torch.long)}
    request = Request([], max_length)
    options = Decoding(beam=beam, length_penalty=0.0, patience=patience)
    (found,) = search(table_step(rows), nothing, {"one": torch.zeros(1)}, [request], options)
    return [hypothesis.tokens for hypothesis in found[:beam]]


class Plain(NamedTuple):
    """What a plain search finds, and how many steps it took."""

    found: list[Hypothesis]
    steps: int


def hypothesis_of(prefix: list[int], total: float, alpha: float) -> Hypothesis:
    """A hypothesis that ends; `</s>` counts as a token."""
    return Hypothesis(prefix, total / ((5 + len(prefix) + 1) / 6) ** alpha, total)


def plain_search(follow: Follow, max_length: int, beam: int, alpha: float) -> Plain:
    """Beam search with lists."""
    going: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[Hypothesis] = []
    for length in itertools.count():
        candidates = []
        for total, prefix in going:
            for token, logarithm in enumerate(follow(prefix)):
                if token not in NEVER and (token == EOS or length < max_length):
                    candidates.append((total + logarithm, [*prefix, token]))
        candidates = sorted(candidates, reverse=True)[: 2 * beam]
        for total, prefix in candidates[:beam]:
            if prefix[-1] == EOS:
                ended.append(hypothesis_of(prefix[:-1], total, alpha))
        going = [candidate for candidate in candidates if candidate[1][-1] != EOS][:beam]
        enough = Decoding(beam=beam).endings
        if length == max_length or len(ended) >= enough or not going:
            return Plain(ranked(ended), length + 1)
    raise AssertionError


def plain_greedy(follow: Follow, max_length: int) -> list[int]:
    """The likeliest token, again and again."""
    written: list[int] = []
    while len(written) < max_length:
        logarithms = follow(written)
        best = max(set(range(len(logarithms))) - NEVER, key=lambda token: logarithms[token])
        if best == EOS:
            break
        written.append(best)
    return written


def enumeration(follow: Follow, vocab: int, max_length: int, alpha: float) -> list[Hypothesis]:
    """All that can be written, best first."""
    words = range(EOS + 1, vocab)
    return ranked(
        hypothesis_of(list(words_of_it), log_probability(follow, list(words_of_it)), alpha)
        for length in range(max_length + 1)
        for words_of_it in itertools.product(words, repeat=length)
    )


def log_probability(follow: Follow, tokens: list[int]) -> float:
    """That of all tokens and the end, one after the other."""
    written = [*tokens, EOS]
    return math.fsum(follow(written[:place])[token] for place, token in enumerate(written))


def ranked(hypotheses: Iterator[Hypothesis] | list[Hypothesis]) -> list[Hypothesis]:
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def same(found: list[Hypothesis], expected: list[Hypothesis], rounding: float = 1e-9) -> None:
    """The same tokens in the same order, with the same scores but for rounding."""
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=rounding)
        assert one.log_probability == pytest.approx(other.log_probability, abs=rounding)


# Search of toys

alphas = st.sampled_from([0.0, 0.6, 1.0, 2.5])
vocabs = st.integers(4, 12)  # with 4, nothing but the end can be written
sentences = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), max_size=5)
many_cases = settings(max_examples=100, deadline=None)


@given(vocabs, st.integers(1, 6), sentences, alphas)
@many_cases
def test_search_is_that_of_a_plain_program(vocab, beam, sentences, alpha):
    numbers, max_lengths = [list(part) for part in zip(*sentences, strict=True)] or ([], [])
    found = search_toy(toy(vocab), numbers, max_lengths, beam, alpha)
    assert len(found) == len(sentences)
    for (number, max_length), hypotheses in zip(sentences, found, strict=True):
        same(hypotheses, plain_search(toy_follow(vocab, number), max_length, beam, alpha).found)


@given(st.integers(0, 10**6), st.integers(4, 6), st.integers(0, 3), alphas)
@many_cases
def test_a_beam_as_wide_as_the_tree_finds_everything_in_order(number, vocab, max_length, alpha):
    expected = enumeration(toy_follow(vocab, number), vocab, max_length, alpha)
    (found,) = search_toy(toy(vocab), [number], [max_length], len(expected), alpha)
    same(found, expected)


@given(st.integers(0, 10**6), vocabs, st.integers(0, 9))
@many_cases
def test_a_beam_of_one_is_greedy(number, vocab, max_length):
    ((found,),) = search_toy(toy(vocab), [number], [max_length], 1)
    assert found.tokens == plain_greedy(toy_follow(vocab, number), max_length)


@given(vocabs, st.integers(1, 6), sentences, alphas)
@many_cases
def test_company_changes_nothing(vocab, beam, sentences, alpha):
    numbers, max_lengths = [list(part) for part in zip(*sentences, strict=True)] or ([], [])
    together = search_toy(toy(vocab), numbers, max_lengths, beam, alpha)
    for number, max_length, hypotheses in zip(numbers, max_lengths, together, strict=True):
        same(hypotheses, search_toy(toy(vocab), [number], [max_length], beam, alpha)[0])


@given(vocabs, st.integers(1, 6), sentences, alphas)
@many_cases
def test_hypotheses_are_short_enough_clean_different_and_ranked(vocab, beam, sentences, alpha):
    numbers, max_lengths = [list(part) for part in zip(*sentences, strict=True)] or ([], [])
    found = search_toy(toy(vocab), numbers, max_lengths, beam, alpha)
    for max_length, hypotheses in zip(max_lengths, found, strict=True):
        assert 1 <= len(hypotheses) < Decoding(beam=beam).endings + beam
        assert hypotheses == ranked(hypotheses)
        written = [tuple(hypothesis.tokens) for hypothesis in hypotheses]
        assert len({*written}) == len(written)
        for tokens in written:
            assert len(tokens) <= max_length
            assert set(tokens) <= set(range(EOS + 1, vocab))


@given(vocabs, st.integers(1, 6), sentences)
@many_cases
def test_the_reported_score_is_that_of_the_hypothesis(vocab, beam, sentences):
    numbers, max_lengths = [list(part) for part in zip(*sentences, strict=True)] or ([], [])
    for alpha in (0.0, 1.0):
        found = search_toy(toy(vocab), numbers, max_lengths, beam, alpha)
        for number, hypotheses in zip(numbers, found, strict=True):
            follow = toy_follow(vocab, number)
            for tokens, *scores in hypotheses:
                total = log_probability(follow, tokens)
                assert scores == pytest.approx([hypothesis_of(tokens, total, alpha).score, total])


@given(vocabs, st.integers(1, 6), st.dictionaries(st.integers(0, 10**6), st.integers(0, 7)))
@many_cases
def test_a_finished_sentence_is_never_stepped_again(vocab, beam, limits):
    steps: Counter[int] = Counter()

    def counting(
        last: Tensor, state: State, encoded: Encoded, rows: Tensor | None
    ) -> tuple[Tensor, State]:
        numbers = encoded["number"].tolist()
        assert len(last) % len(numbers) == 0
        assert {len(part) for part in select(state, rows).values()} == {len(last)}
        steps.update(numbers)
        return toy(vocab)(last, state, encoded, rows)

    search_toy(counting, list(limits), list(limits.values()), beam)
    for number, limit in limits.items():
        assert steps[number] == plain_search(toy_follow(vocab, number), limit, beam, 0.0).steps


A, B = EOS + 1, EOS + 2


@given(
    st.integers(0, 10**6),
    st.integers(0, 3),
    st.integers(1, 12),
    st.integers(0, 7 * BLOCK),
    st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=300, deadline=None)
def test_the_largest_are_those_of_a_sort(seed, rows, count, more, forbidden):
    """Few of few and few of many, some of them equal, some or all of them forbidden."""
    drawn = torch.Generator().manual_seed(seed)
    numbers = torch.randint(-9, 9, (rows, count + more), generator=drawn).double()
    numbers[torch.rand(numbers.shape, generator=drawn) < forbidden] = -math.inf
    values, places = largest(numbers, count)
    assert torch.equal(values, numbers.sort(dim=1, descending=True).values[:, :count])
    assert torch.equal(values, numbers.gather(1, places))
    assert all(len(set(row)) == count for row in places.tolist())


@pytest.mark.parametrize("place", [0, 3 * BLOCK, 9 * BLOCK + 1])
def test_what_is_not_a_number_is_not_lost_among_the_largest(place):
    numbers = torch.zeros(1, 9 * BLOCK + 2)
    numbers[0, place] = math.nan
    values, places = largest(numbers, 2)
    assert (values[0, 0].isnan(), places[0, 0]) == (True, place)


def test_an_end_counts_only_among_the_first_candidates():
    # Of four candidates, two of which make a beam, the end is the third at first.
    rows = {
        (): {A: 0.5, B: 0.3, EOS: 0.2},
        (A,): {EOS: 0.9, A: 0.1},
        (B,): {EOS: 0.6, B: 0.4},
    }
    assert search_table(rows, beam=2) == [[A], [B]]  # .45 and .18, though nothing has .2
    rows[()] = {A: 0.5, B: 0.2, EOS: 0.3}
    assert search_table(rows, beam=2) == [[A], []]  # .45 and .3
    assert search_table(rows, beam=1) == [[A]]


def test_what_has_ended_frees_its_place_in_the_beam():
    # At first the end and A are the beam; B, third of four, is what keeps it full.
    rows = {
        (): {EOS: 0.4, A: 0.35, B: 0.25},
        (A,): {A: 0.9, EOS: 0.1},
        (B,): {EOS: 1.0},
    }
    assert search_table(rows, beam=2) == [[], [B]]


def test_a_finished_sentence_is_frozen():
    # Two hypotheses have ended after two steps; A A, which goes on, would be better than the last.
    rows = {
        (): {EOS: 0.5, A: 0.5 - 1e-6},
        (A,): {EOS: 0.5 + 1e-6, A: 0.5 - 1e-6},
        (A, A): {EOS: 1.0},
    }
    assert search_table(rows, beam=2) == [[], [A]]
    longest = {(): {A: 0.6, EOS: 0.4}, (A,): {A: 1.0}, (A, A): {EOS: 1.0}}
    assert search_table(longest, beam=1) == [[A, A]]
    assert search_table(longest, beam=2)[0] == [A, A]


def test_patience_waits_for_a_better_end():
    # After three steps two unlikely hypotheses have ended, and the likely one has not.
    sure = {
        (): {A: 0.9, EOS: 0.1},
        (A,): {A: 0.9, EOS: 0.1},
        (A, A): {A: 1.0},
        (A, A, A): {EOS: 1.0},
    }
    assert search_table(sure, beam=2) == [[], [A]]
    assert search_table(sure, beam=2, patience=1.5) == [[A, A, A], []]


@pytest.mark.parametrize(
    ("beam", "groups", "patience", "endings"),
    [(1, 1, 1.5, 1), (2, 1, 1.5, 3), (5, 1, 1.0, 5), (5, 1, 1.5, 8), (4, 2, 1.5, 3), (4, 4, 3, 1)],
)
def test_so_many_hypotheses_must_end(beam, groups, patience, endings):
    assert Decoding(beam=beam, diversity_groups=groups, patience=patience).endings == endings


# Search of real models

PAIR = {"source": "never", "target": "read"}
SECTIONS = {
    get_args(section.model_fields["kind"].annotation)[0]: section
    for section in get_args(Config.model_fields["model"].annotation)
}
SMALL = {
    "dim": 8,
    "ffn_dim": 12,
    "heads": 2,
    "embedding_dim": 6,
    "encoder_layers": 1,
    "decoder_layers": 2,
}
MAX_LENGTH = 12
every_kind = pytest.mark.parametrize("kind", MODELS)


def model_of(kind: str, vocab: int, *, dropout: float = 0.0, seed: int = 1) -> Seq2Seq:
    """A small model in float64, with larger weights than new models have, so that it says more."""
    sizes = {name: SMALL[name] for name in SMALL if name in SECTIONS[kind].model_fields}
    config = Config(
        name="toy",
        data={"train": [PAIR], "valid": PAIR, "max_length": MAX_LENGTH},
        model={"kind": kind, **sizes, "share_embeddings": "none", "dropout": dropout},
    )
    torch.manual_seed(seed)
    model = build(config, vocab, vocab).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def search_model(
    model: Seq2Seq, source: Tensor, max_lengths: list[int], beam: int
) -> list[list[Hypothesis]]:
    with torch.no_grad():
        encoded = model.encode(source)
        return search(
            model.step,
            model.start(encoded),
            encoded,
            [Request([], longest) for longest in max_lengths],
            Decoding(beam=beam),
        )


def model_follow(model: Seq2Seq, source: Tensor) -> Follow:
    """What a model says after a prefix, by teacher forcing, of one sentence (1, S)."""

    def follow(prefix: list[int]) -> list[float]:
        with torch.no_grad():
            logits = model.project(model(source, torch.tensor([[BOS, *prefix]])))
        return logits[0, -1].log_softmax(dim=0).tolist()

    return follow


SOURCE = torch.tensor([[4, 5, 6, EOS, PAD], [7, EOS, PAD, PAD, PAD], [8, 9, 4, 7, EOS]])
LIMITS = [8, 3, 6]


@every_kind
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("beam", [1, 4])
def test_search_of_a_model_is_that_of_a_plain_program(kind, seed, beam):
    model = model_of(kind, vocab=11, seed=seed)
    found = search_model(model, SOURCE, LIMITS, beam)
    for hypotheses, source, limit in zip(found, SOURCE, LIMITS, strict=True):
        follow = model_follow(model, source[None, source != PAD])
        same(hypotheses, plain_search(follow, limit, beam, 1.0).found)
        for hypothesis in hypotheses:
            expected = log_probability(follow, hypothesis.tokens)
            assert hypothesis.log_probability == pytest.approx(expected)


@every_kind
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_company_changes_nothing_that_a_model_says(kind, seed):
    model = model_of(kind, vocab=11, seed=seed)
    together = search_model(model, SOURCE, LIMITS, 4)
    for hypotheses, source, limit in zip(together, SOURCE, LIMITS, strict=True):
        same(search_model(model, source[None, source != PAD], [limit], 4)[0], hypotheses)


# The translator

NEVER_ENDS = torch.where(torch.arange(12) == EOS, -100.0, 0.0).repeat(12, 1)
TEXT = ["eins zwei drei", "vier", "fünf sechs", "acht neun", "null eins", "zwei", "drei vier", "x"]
LINES = ["zwei", "eins drei", "", "vier", "x", "acht eins", "   ", "fünf", "null", "neun eins", ""]


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    options = TokenizerOptions(kind="char", vocab_size=40, byte_fallback=False)
    return Tokenizers(*[train_tokenizer(TEXT, options, 1)] * 2)


class Toy(nn.Module):
    """A toy as a model: what it says depends on each token of the source, and ends soon or late."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.step = toy(vocab)

    def encode(self, source: Tensor) -> Encoded:
        places = torch.arange(1, source.shape[1] + 1)
        real = (source != PAD).long()
        return {"number": ((source + 7 * places) ** 3 * real).sum(dim=1)}

    def start(self, encoded: Encoded) -> State:
        nothing = torch.zeros_like(encoded["number"])
        return {"count": nothing, "row": nothing[:, None]}


class Heard(NamedTuple):
    """A translator, and the warnings that it gave."""

    translator: Translator
    warnings: list[str]


def best_of(translator: Translator, requests: list[Request]) -> list[list[int]]:
    """The pieces of the best translation of each."""
    found = translator.engine.search(requests, translator.options)
    return [hypotheses[0].tokens for hypotheses in found]


def data_of(**options: Any) -> Data:
    return Data(train=["a"], valid="b", max_length=MAX_LENGTH, **options)


def heard_of(model: nn.Module, tokenizers: Tokenizers, **options: Any) -> Heard:
    warnings: list[str] = []
    data = data_of(**options)
    return Heard(
        Translator(PyTorch(model), tokenizers, Decoding(beam=3), data, warn=warnings.append),
        warnings,
    )


@pytest.fixture
def heard(tokenizers: Tokenizers) -> Heard:
    """A toy's."""
    return heard_of(Toy(12), tokenizers)


@pytest.fixture(scope="module")
def tagged() -> Heard:
    """A toy's that knows tags."""
    options = TokenizerOptions(kind="char", vocab_size=40, byte_fallback=False)
    tokenizer = train_tokenizer(TEXT, options, 1, tags=["<2de>", "<2fr>"])
    return heard_of(Toy(12), Tokenizers(tokenizer, tokenizer))


@pytest.fixture(params=MODELS)
def real(request: pytest.FixtureRequest, tokenizers: Tokenizers) -> Translator:
    """A real model's."""
    return heard_of(model_of(request.param, len(tokenizers.source)), tokenizers).translator


def test_lines_keep_their_order(heard):
    translate = heard.translator.translate
    found = translate(LINES)
    assert found == [translate([line])[0] for line in LINES]
    assert found[::-1] == translate(LINES[::-1])
    assert len({*found}) > 5  # else no order would show


def test_lines_keep_their_order_with_a_model(real):
    found = real.translate(LINES)
    assert found == [real.translate([line])[0] for line in LINES]
    assert len({*found}) > 2


def test_nothing_of_nothing(heard):
    assert heard.translator.translate([]) == []
    assert heard.translator.translate(["", "  ", "\t"]) == ["", "", ""]


@pytest.mark.parametrize("batch_tokens", [1, 40, 100])
def test_the_size_of_batches_changes_nothing(real, batch_tokens):
    expected = real.translate(LINES)
    real.options = Decoding(beam=3, batch_tokens=batch_tokens)
    assert real.translate(LINES) == expected


def test_batches_hold_each_line_once_within_their_budget():
    sources = [[4] * length for length in (3, 1, 5, 2, 1, 30, 2, 1)]
    requests = [Request(source, longest=9) for source in sources]
    made = list(batches(requests, range(len(sources)), 24, width=2))
    assert sorted(itertools.chain(*made)) == list(range(len(sources)))
    assert max(map(len, made)) > 1
    for batch in made:
        longest = max(len(sources[number]) for number in batch)
        assert len(batch) == 1 or len(batch) * (longest + 1) * 2 <= 24


@given(st.lists(st.integers(1, 60), max_size=70), st.integers(1, 32))
def test_there_are_as_many_batches_as_are_wanted_with_as_much_in_each(lengths, wanted):
    requests = [Request([4] * length, longest=9) for length in lengths]
    made = list(batches(requests, range(len(lengths)), 8192, width=5, at_least=wanted))
    assert sorted(itertools.chain(*made)) == list(range(len(lengths)))
    assert len(made) >= min(wanted, len(lengths))
    pieces = [sum(lengths[number] + 1 for number in batch) for batch in made]
    fair = sum(pieces) / wanted
    assert all(one < fair + max(lengths) + 1 for one in pieces)
    if len(set(lengths)) == 1:
        assert len(made) == min(wanted, len(lengths))


def test_a_line_that_is_too_long_is_cut_with_a_warning(heard):
    long = "eins zwei drei vier"  # a mark and 19 characters, of which 12 are taken
    found = heard.translator.translate(["zwei", long, "vier"], first_number=4_711)
    assert heard.warnings == [
        "line 4,712 has 20 pieces; only the first 12 are translated (data.max_length)"
    ]
    assert found == heard.translator.translate(["zwei", "eins zwei d", "vier"])
    assert len(heard.warnings) == 1  # what just fits is not warned of


def test_a_tag_is_the_first_piece_of_every_line_that_has_any(tagged):
    translator, tokenizer = tagged.translator, tagged.translator.tokenizers.source
    found = translator.translate(LINES, tag="<2fr>")
    front = tokenizer.tag("<2fr>")
    requests = translator.requests([Line(line, "<2fr>") for line in LINES])
    sources = [ids and [front, *ids] for ids in tokenizer.encode(LINES)]
    assert [request.source for request in requests] == sources
    expected = [best_of(translator, [one])[0] if one.source else [] for one in requests]
    assert found == tokenizer.decode(expected)
    assert found != translator.translate(LINES, tag="<2de>") != translator.translate(LINES)
    with pytest.raises(UserError, match=r"^<2es> is no tag of this model; it knows <2de>, <2fr>$"):
        translator.translate(LINES, tag="<2es>")


def test_a_tag_takes_the_place_of_a_piece(tagged):
    found = tagged.translator.translate(["eins zwei d", "eins zwei"], tag="<2fr>")
    assert tagged.warnings == [
        "line 1 has 12 pieces; only the first 11 are translated (data.max_length)"
    ]
    tokenizer = tagged.translator.tokenizers.source
    (ids,) = tokenizer.encode(["eins zwei d"])
    cut = Request([tokenizer.tag("<2fr>"), *ids[:11]], longest=12)
    (expected,) = best_of(tagged.translator, [cut])
    assert found[:1] == tokenizer.decode([expected])


def test_lines_are_normalized_as_the_text_was_that_was_learned_from(tokenizers):
    odd = ["  zwei\u200b ", "eins\u00a0\u3000drei", "\u2003", "ﬁ"]
    plain = ["zwei", "eins drei", "", "fi"]
    one = heard_of(Toy(12), tokenizers, normalize=["nfkc", "whitespace"]).translator
    other = heard_of(Toy(12), tokenizers).translator
    assert one.translate(odd) == one.translate(plain) == other.translate(plain)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 4.0])
def test_translations_are_no_longer_than_the_options_say(ratio, heard):
    model = Toy(12)
    model.step = lambda last, state, encoded, rows: (NEVER_ENDS[last], select(state, rows))
    heard.translator.engine = PyTorch(model)
    heard.translator.options = Decoding(beam=2, max_length_ratio=ratio)
    for max_length in (12, 30):
        heard.translator.max_length = max_length
        requests = heard.translator.requests([Line("e"), Line("eins"), Line("eins zwei")])
        limits = [min(int(ratio * pieces) + 10, max_length) for pieces in (2, 5, 10)]
        assert [len(tokens) for tokens in best_of(heard.translator, requests)] == limits


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_translating_neither_drops_out_nor_changes_the_mode(kind, training, tokenizers):
    vocab = len(tokenizers.source)
    plain, dropping = (model_of(kind, vocab, dropout=rate) for rate in (0.0, 0.5))
    expected, found = (
        Translator(PyTorch(model), tokenizers, Decoding(), data_of()).translate(LINES)
        for model in (plain.train(training), dropping.train(training))
    )
    assert found == expected
    assert {module.training for module in dropping.modules()} == {training}


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("alpha", [0.0, 2.5])
def test_the_options_are_those_of_the_search(beam, alpha, heard):
    options = Decoding(beam=beam, length_penalty=alpha, max_length_ratio=1.0)
    heard.translator.options = options
    sources = [[token, 5, 6] for token in range(4, 24)]
    found = best_of(heard.translator, [Request(source, longest=12) for source in sources])
    numbers = Toy(12).encode(torch.tensor([[*one, EOS] for one in sources]))
    for tokens, number in zip(found, numbers["number"].tolist(), strict=True):
        assert tokens == plain_search(toy_follow(12, number), 12, beam, alpha).found[0].tokens


@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_every_line_is_reported_done_once(batch_tokens, heard):
    counts: list[int] = []
    heard.translator.options = Decoding(batch_tokens=batch_tokens)
    heard.translator.translate(LINES, done=counts.append)
    assert sum(counts) == len(LINES)
    assert len(counts) == (9 if batch_tokens == 1 else 2)  # three lines are empty


def test_a_model_that_has_diverged_is_reported(real):
    real.engine.model.output_weight.data.fill_(math.nan)
    with pytest.raises(UserError, match=r"^the model's scores are not numbers: its training has"):
        real.translate(LINES)
