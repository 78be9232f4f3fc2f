"""Laws of batches: what an epoch has, in which company and order, and into which pieces cut."""

import math
from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.config import Tokenizer as Options
from seq2seq.data.batches import Batches, rounded_up, share
from seq2seq.data.mixing import Mixture, apportioned, permutation
from seq2seq.data.resampling import Resampler, take
from seq2seq.data.store import SIDES, Side, Store
from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers, train_tokenizer
from seq2seq.errors import UserError


def _segments(store: Store) -> list[tuple[list[int], list[int]]]:
    return [
        tuple(side.ids[side.offsets[row] : side.offsets[row + 1]].tolist() for side in store)
        for row in range(len(store))
    ]


def _random_store(count: int, longest: int = 30, seed: int = 1) -> Store:
    random = np.random.default_rng(seed)
    sides = (
        [random.integers(4, 99, random.integers(0, longest)).tolist() for _ in range(count)]
        for _ in range(2)
    )
    return Store.of(*sides)


def _realistic_store(count: int) -> Store:
    """Lengths as sentences have them: few are long, and a target is about as long as its source."""
    random = np.random.default_rng(1)
    source = random.lognormal(3.1, 0.55, count).astype(int).clip(1, 250)
    target = (source * random.lognormal(0.05, 0.2, count)).astype(int).clip(1, 250)
    sides = (
        Side.joined(np.zeros(lengths.sum(), np.uint16), lengths.astype(np.uint32))
        for lengths in (source, target)
    )
    return Store(*sides)


def _same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return [pairs.tolist() for pairs in one] == [pairs.tolist() for pairs in other]


stores = pytest.mark.parametrize("count", [1, 2, 57, 400])


@stores
@pytest.mark.parametrize("budget", [1, 40, 300, 100_000])
def test_every_pair_comes_once_an_epoch(count, budget):
    batches = Batches(_random_store(count), budget, seed=3)
    for order in (batches.epoch(0), batches.epoch(1), batches.in_order()):
        assert sorted(np.concatenate(order).tolist()) == list(range(count))


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    store = _random_store(400)
    one, other = Batches(store, 200, seed=3), Batches(store, 200, seed=3)
    for number in (2, 0, 1):
        one.epoch(number)
    torch.manual_seed(5)
    np.random.seed(5)
    assert _same(one.epoch(1), other.epoch(1))


def test_epochs_and_seeds_differ_in_order_and_in_company():
    store = _random_store(400)
    orders = [Batches(store, 200, seed=seed).epoch(epoch) for seed in (0, 1) for epoch in (0, 1)]
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert not _same(one, other)
            companies = [{frozenset(pairs.tolist()) for pairs in order} for order in (one, other)]
            assert companies[0] != companies[1]


def test_batches_of_an_epoch_do_not_come_by_length():
    lengths = [
        int(store_lengths.max())
        for batches in [Batches(_random_store(400), 200, seed=3)]
        for pairs in batches.epoch(0)
        for store_lengths in [batches.store.target.lengths[pairs]]
    ]
    assert lengths != sorted(lengths)
    assert lengths != sorted(lengths, reverse=True)


def test_the_order_for_validation_is_always_the_same_from_short_to_long():
    store = _random_store(400)
    one, other = Batches(store, 200, seed=3), Batches(store, 200, seed=4)
    assert _same(one.in_order(), other.in_order())
    first, *_, last = (store.target.lengths[pairs] for pairs in one.in_order())
    assert first.max() < last.min()


@stores
@pytest.mark.parametrize("budget", [1, 40, 300, 100_000])
def test_no_batch_exceeds_the_budget_unless_it_is_a_single_pair(count, budget):
    batches = Batches(_random_store(count), budget, seed=3)
    for pairs in batches.epoch(0):
        batch = batches.collate(pairs)
        longer = max(batch.source.shape[1], batch.target_out.shape[1])
        assert len(pairs) * longer <= budget or len(pairs) == 1


@stores
def test_no_batch_has_room_for_the_next_pair(count):
    batches = Batches(_random_store(count), 300, seed=3)
    order = batches.in_order()
    longer = np.maximum(batches.store.source.lengths, batches.store.target.lengths) + 1
    for pairs, following in pairwise(order):
        larger = [*pairs, following[0]]
        assert len(larger) * longer[larger].max() > 300


def test_collated_batches_are_what_plain_loops_make():
    store = _random_store(57)
    batches = Batches(store, 300, seed=3)
    segments = _segments(store)
    for pairs in batches.epoch(0):
        batch = batches.collate(pairs)
        sources = [[*segments[pair][0], EOS] for pair in pairs]
        targets = [segments[pair][1] for pair in pairs]
        for tensor, rows in (
            (batch.source, sources),
            (batch.target_in, [[BOS, *target] for target in targets]),
            (batch.target_out, [[*target, EOS] for target in targets]),
        ):
            width = max(map(len, rows))
            assert tensor.dtype == torch.int64
            assert tensor.tolist() == [row + [PAD] * (width - len(row)) for row in rows]
        assert batch.target_tokens == sum(len(target) + 1 for target in targets)


def test_going_over_batches_gives_them_in_order():
    batches = Batches(_random_store(57), 300)
    for batch, pairs in zip(batches, batches.in_order(), strict=True):
        expected = batches.collate(pairs)
        assert all(torch.equal(one, other) for one, other in zip(batch[:3], expected, strict=False))


def test_on_another_device_a_batch_is_the_same_but_for_padding():
    batch = Batches(_random_store(9), 300).collate(np.arange(9))
    moved = batch.to(torch.device("meta"))
    assert [one.shape for one in moved[:3]] == [rounded_up(one).shape for one in batch[:3]]
    assert {tensor.device.type for tensor in moved[:3]} == {"meta"}
    assert batch.to(torch.device("cpu")) is batch
    assert moved.target_tokens == batch.target_tokens


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17])
def test_lengths_are_rounded_up_with_padding_to_multiples_of_eight(length):
    ids = torch.randint(4, 50, (3, length))
    longer = rounded_up(ids)
    assert longer.shape == (3, math.ceil(length / 8) * 8)
    assert torch.equal(longer[:, :length], ids)
    assert (longer[:, length:] == PAD).all()


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_halves_of_a_batch_have_each_of_its_pairs_once(size):
    batch = Batches(_random_store(9), 300).collate(np.arange(size))
    halves = [*batch.halves()]
    assert [len(half.source) for half in halves] == [
        len(some) for some in np.array_split(np.arange(size), 2) if len(some)
    ]
    for number in range(3):
        assert torch.equal(torch.cat([half[number] for half in halves]), batch[number])
    for half in halves:
        assert half.target_tokens == int((half.target_out != PAD).sum())


@pytest.mark.parametrize("accumulate", [1, 3, 1000])
def test_updates_are_the_batches_of_the_epoch_in_groups(accumulate):
    batches = Batches(_random_store(400), 200, seed=3)
    updates = batches.updates_of(2, accumulate)
    assert _same([pairs for update in updates for pairs in update], batches.epoch(2))
    assert {len(update) for update in updates[:-1]} <= {accumulate}
    assert 1 <= len(updates[-1]) <= accumulate


def test_the_share_of_padding_is_what_can_be_counted():
    batches = Batches(_random_store(400), 200, seed=3)
    order = batches.epoch(0)
    padding = positions = 0
    for pairs in order:
        batch = batches.collate(pairs)
        for tensor in (batch.source, batch.target_out):
            padding += int((tensor == PAD).sum())
            positions += tensor.numel()
    assert batches.padding(order) == pytest.approx(padding / positions)
    assert padding


def test_padding_is_under_five_percent_of_a_realistic_epoch():
    batches = Batches(_realistic_store(100_000), 4096)
    assert 0 < batches.padding(batches.epoch(0)) < 0.05


# Mixing

sizes_of_corpora = st.lists(st.integers(1, 40), min_size=1, max_size=4)


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    sizes = draw(sizes_of_corpora)
    share = st.integers(0, 9) | st.floats(0, 1, width=16)
    shares = draw(st.lists(share, min_size=len(sizes), max_size=len(sizes)))
    return Mixture(sizes, shares if any(shares) else None)


def _by_corpus(mixture: Mixture, pairs: np.ndarray) -> list[list[int]]:
    """The pairs of each corpus, in order."""
    ends = np.cumsum(mixture.sizes)
    return [pairs[np.searchsorted(ends, pairs, "right") == n].tolist() for n in range(len(ends))]


@given(mixtures(), st.integers(0, 2**40), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_every_epoch_has_exactly_the_share_of_each_corpus(mixture, seed, epoch):
    drawn = mixture.draw(seed, epoch)
    assert [len(some) for some in _by_corpus(mixture, drawn)] == mixture.quotas
    assert len(drawn) == sum(mixture.sizes) == sum(mixture.quotas)
    assert drawn.dtype == np.uint32


@given(mixtures(), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_pair_comes_again_before_each_of_its_corpus_has_come(mixture, seed):
    seen = [Counter(range(0)) for _ in mixture.sizes]
    for epoch in range(5):
        for corpus, some in enumerate(_by_corpus(mixture, mixture.draw(seed, epoch))):
            seen[corpus].update(some)
            rounds, rest = divmod(sum(seen[corpus].values()), mixture.sizes[corpus])
            times = Counter(seen[corpus].values())
            times[0] = mixture.sizes[corpus] - len(seen[corpus])
            expected = {rounds + 1: rest, rounds: mixture.sizes[corpus] - rest}
            assert +times == +Counter(expected)


@given(mixtures(), st.integers(0, 99), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_what_an_epoch_has_is_a_function_of_seed_and_epoch_alone(mixture, seed, epoch):
    expected = mixture.draw(seed, epoch)
    again = Mixture(mixture.sizes, mixture.quotas)
    again.draw(seed + 1, epoch)
    np.random.default_rng(3)
    assert np.array_equal(again.draw(seed, epoch), expected)


def test_seeds_and_epochs_differ():
    for mixture in (Mixture([500]), Mixture([300, 200], [1, 1])):
        draws = [mixture.draw(seed, epoch) for seed in range(3) for epoch in range(3)]
        for number, one in enumerate(draws):
            assert not any(np.array_equal(one, other) for other in draws[:number])


def test_pairs_come_in_random_order_whatever_their_corpus():
    """By chance, neighbours are of the same corpus in half of all cases."""
    drawn = Mixture([5000, 5000], [1, 1]).draw(1, 0) < 5000
    assert abs(np.mean(drawn[1:] == drawn[:-1]) - 0.5) < 0.03
    drawn = Mixture([9000, 1000], [1, 1]).draw(1, 0) < 9000
    assert abs(np.mean(drawn[1:] == drawn[:-1]) - 0.5) < 0.03


@given(sizes_of_corpora, st.integers(0, 99), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_by_size_every_pair_comes_once_as_if_there_were_one_corpus(sizes, seed, epoch):
    plain = Mixture([sum(sizes)]).draw(seed, epoch)
    assert sorted(plain.tolist()) == list(range(sum(sizes)))
    for mixture in (
        Mixture(sizes),
        Mixture.of(sizes, [None] * len(sizes), 1.0),
        Mixture.of(sizes, [3.5 * size for size in sizes], 1.0),
    ):
        assert np.array_equal(mixture.draw(seed, epoch), plain)


def test_a_temperature_favours_small_corpora():
    sizes = [10_000, 100]
    quotas = [Mixture.of(sizes, [None] * 2, heat).quotas for heat in (1.0, 2.0, 5.0, 1e9)]
    assert quotas == [
        sizes,
        apportioned(10_100, [100, 10]),
        apportioned(10_100, [10_000**0.2, 100**0.2]),
        [5050, 5050],
    ]
    assert [small for _, small in quotas] == sorted(small for _, small in quotas)


def test_weights_count_beside_each_other_and_nothing_else():
    sizes = [30, 60, 10]
    for weights, quotas in {
        (1, 1, 2): [25, 25, 50],
        (0.25, 0.25, 0.5): [25, 25, 50],
        (1e300, 0, 0): [100, 0, 0],
        (5e-324, 5e-324, 0): [50, 50, 0],
        (0, 1, 0): [0, 100, 0],
    }.items():
        assert Mixture.of(sizes, weights, 1.0).quotas == quotas


def test_a_corpus_without_pairs_has_no_share():
    mixture = Mixture.of([7, 0, 3], [1, 0, 1], 1.0)
    assert mixture.quotas == [5, 0, 5]
    assert len(mixture.draw(1, 0)) == 10
    assert Mixture.of([7, 0, 3], [None] * 3, 2.0).quotas[1] == 0


def test_a_weight_without_pairs_is_refused():
    with pytest.raises(UserError) as raised:
        Mixture.of([7, 0, 3], [1, 8, 1], 1.0)
    assert str(raised.value) == (
        "data.train.1 has a weight but no pair left; change its filters, or leave it out"
    )


def _largest_remainders(total: int, shares: list[float]) -> list[int]:
    """By exact arithmetic, one unit after the other."""
    exact = [Fraction(total) * Fraction(share) / sum(map(Fraction, shares)) for share in shares]
    given_out = [part.numerator // part.denominator for part in exact]
    for _ in range(total - sum(given_out)):
        missing = [part - now for part, now in zip(exact, given_out, strict=True)]
        given_out[missing.index(max(missing))] += 1
    return given_out


@given(
    st.integers(0, 10**10),
    st.lists(st.floats(0, 1e300) | st.integers(0, 10**9), min_size=1, max_size=6).filter(any),
)
@settings(max_examples=200, deadline=None)
def test_shares_are_apportioned_by_largest_remainders(total, shares):
    assert apportioned(total, shares) == _largest_remainders(total, shares)


@pytest.mark.parametrize("size", [0, 1, 2, 10, 100_000])
def test_a_permutation_has_each_number_once(size):
    found = permutation(size, np.random.default_rng(1))
    assert found.dtype == np.uint32
    assert np.array_equal(np.sort(found), np.arange(size))
    if size > 2:
        assert not np.array_equal(found, np.arange(size))


def test_each_permutation_is_as_likely_as_any_other():
    tries, random = 24_000, np.random.default_rng(1)
    drawn = Counter(tuple(permutation(4, random).tolist()) for _ in range(tries))
    expected = tries / 24
    chi_square = sum((drawn[one] - expected) ** 2 / expected for one in drawn)
    assert len(drawn) == 24
    assert chi_square < 49.7  # 23 degrees of freedom: exceeded once in a thousand


def test_each_number_comes_to_each_place_equally_often():
    size, tries, random = 10, 5000, np.random.default_rng(2)
    seen = np.zeros((size, size))
    for _ in range(tries):
        seen[np.arange(size), permutation(size, random)] += 1
    expected = tries / size
    assert ((seen - expected) ** 2 / expected).sum() < 126.1  # 81 degrees of freedom


# Resampling

WORDS = ["".join(parts) for parts in product(["ka", "lo", "mi", "ne", "ru", "tä"], repeat=3)]
TEXT = [" ".join(WORDS[start::37]) for start in range(37)] * 3
SAMPLED = ["unigram", "bpe"]


@cache
def toy(kind: str, byte_fallback: bool = True) -> Tokenizer:
    options = Options(
        kind=kind, vocab_size=320 if byte_fallback else 60, byte_fallback=byte_fallback
    )
    return train_tokenizer(TEXT, options, 1, tags=["<bt>"], at_most=True)


def _resampler(kind: str, **options) -> Resampler:
    given = {"sides": frozenset(SIDES), "alpha": 0.3, "seed": 1, "longest": 10**6, **options}
    tokenizer = given.pop("tokenizer", None) or toy(kind)
    return Resampler(Tokenizers(tokenizer, tokenizer), **given)


def _stored(kind: str, tag: str | None = "<bt>") -> Store:
    tokenizer = toy(kind)
    return Store.of(*Tokenizers(tokenizer, tokenizer).encode((TEXT[:20], TEXT[20:40]), tag))


def _texts(tokenizer: Tokenizer, store: Store) -> list[list[str]]:
    return [tokenizer.decode(side) for side in zip(*_segments(store), strict=True)]


sampled = pytest.mark.parametrize("kind", SAMPLED)
PAIRS = np.array([5, 3, 11, 3, 19, 0])


@sampled
def test_other_pieces_spell_the_same_text_and_tags_stay_first(kind):
    store = _stored(kind)
    for epoch in range(3):
        cut = _resampler(kind)(store, PAIRS, epoch)
        kept = Store(*(take(side, PAIRS) for side in store))
        assert _texts(toy(kind), cut) == _texts(toy(kind), kept)
        assert _segments(cut) != _segments(kept)
        tag = toy(kind).tag("<bt>")
        for source, target in _segments(cut):
            assert source[0] == tag
            assert tag not in [*source[1:], *target]


@sampled
def test_a_batch_is_cut_the_same_in_the_same_epoch_and_else_otherwise(kind):
    store, resampler = _stored(kind), _resampler(kind)
    expected = _segments(resampler(store, PAIRS, 2))
    resampler(store, PAIRS[::-1], 2)
    assert _segments(_resampler(kind)(store, PAIRS, 2)) == expected
    assert _segments(resampler(store, PAIRS, 3)) != expected
    assert _segments(_resampler(kind, seed=2)(store, PAIRS, 2)) != expected
    # the same line is cut otherwise in another batch, on the other side, and beside itself
    twice = Store(store.source, store.source)
    (first, other), *_ = _segments(resampler(twice, PAIRS, 2))
    assert first != other
    assert _segments(resampler(store, PAIRS, 2))[1] != _segments(resampler(store, PAIRS, 2))[3]


@sampled
@pytest.mark.parametrize("side", SIDES)
def test_only_the_chosen_sides_are_cut(kind, side):
    store = _stored(kind)
    cut = _resampler(kind, sides=frozenset([side]))(store, PAIRS, 0)
    for name, now, before in zip(SIDES, cut, store, strict=True):
        unchanged = all(map(np.array_equal, now, take(before, PAIRS)))
        assert unchanged == (name != side)


@sampled
def test_what_no_piece_spells_stays_as_it_is(kind):
    tokenizer = toy(kind, byte_fallback=False)
    lines = [f"{line} ж {line}" if number % 2 else line for number, line in enumerate(TEXT[:8])]
    ids = tokenizer.encode(lines)
    assert [UNK in one for one in ids] == [False, True] * 4
    store = Store.of(ids, ids)
    cut = _segments(_resampler(kind, tokenizer=tokenizer)(store, np.arange(8), 0))
    assert cut[1::2] == [(before, before) for before in ids[1::2]]
    assert any(one != (before, before) for one, before in zip(cut[::2], ids[::2], strict=True))


@sampled
def test_nothing_grows_beyond_the_longest(kind):
    store = _stored(kind)
    longest = int(np.median(store.source.lengths)) + 2
    before = [take(side, PAIRS).lengths for side in store]
    cut = _resampler(kind, longest=longest)(store, PAIRS, 0)
    for now, stored in zip(cut, before, strict=True):
        assert (now.lengths <= np.maximum(longest, stored)).all()
    assert _segments(_resampler(kind, longest=1)(store, PAIRS, 0)) == _segments(
        Store(*(take(side, PAIRS) for side in store))
    )


@sampled
def test_a_batch_that_is_collated_is_made_of_the_other_pieces(kind):
    store, resampler = _stored(kind), _resampler(kind)
    batches = Batches(store, 1000, seed=3, resampler=resampler)
    for pairs in batches.epoch(1):
        batch = batches.collate(pairs, 1)
        cut = resampler(store, pairs, 1)
        plain = Batches(cut, 1000).collate(np.arange(len(pairs)))
        assert all(map(torch.equal, batch[:3], plain[:3]))
        assert batch.target_tokens == plain.target_tokens == int((batch.target_out != PAD).sum())


def test_without_a_resampler_the_epoch_changes_no_batch():
    batches = Batches(_random_store(57), 300)
    pairs = batches.epoch(0)[0]
    one, other = batches.collate(pairs), batches.collate(pairs, 7)
    assert all(map(torch.equal, one[:3], other[:3]))


# Shares of an update


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("sizes", [[1], [5], [40], [9, 4], [3, 1, 12], [8, 8, 8, 8], [2] * 7])
def test_each_pair_of_an_update_is_in_one_share_and_shares_are_even(sizes, processes):
    numbers = np.random.default_rng(1).permutation(sum(sizes))
    batches = np.split(numbers, np.cumsum(sizes)[:-1])
    shares = [share(batches, number, processes) for number in range(processes)]
    every = np.concatenate([pairs for own in shares for pairs in own])
    assert sorted(every) == sorted(numbers)
    assert len({len(own) for own in shares}) == 1  # else processes would wait for each other
    cuts = processes // math.gcd(processes, len(batches))  # of each batch
    for batch in batches:
        parts = [len(pairs) for own in shares for pairs in own if np.isin(pairs, batch).any()]
        even = [len(part) for part in np.array_split(batch, cuts) if len(part)]
        assert sorted(parts) == sorted(even)


def test_alone_the_share_is_everything():
    batches = [np.array([3, 1]), np.array([2])]
    assert all(map(np.array_equal, share(batches, 0, 1), batches))


def test_the_batch_of_no_pair_is_one_of_padding():
    store = _random_store(20)
    blank = Batches(store, 300).collate(np.array([], dtype=np.int64))
    assert blank.target_tokens == 0
    assert (blank.target_out == PAD).all()
    first = Batches(store, 300).collate(np.array([0]))
    assert torch.equal(blank.source, first.source)
    assert torch.equal(blank.target_in, first.target_in)
