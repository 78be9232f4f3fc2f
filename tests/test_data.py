"""Laws of the way from files of text to batches: corpus, tokenizer, store, batches."""

import gzip
import io
import os
import re
import tarfile
import unicodedata
from collections import Counter
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seq2seq.config import Corpus, File
from seq2seq.config import Tokenizer as Options
from seq2seq.data.batches import Batches
from seq2seq.data.corpus import locate, parting, read_lines, read_pairs, verify
from seq2seq.data.store import ArrayWriter, Side, Store, StoreWriter, smallest_type
from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers, sample
from seq2seq.data.tokenizer import train_tokenizer as train
from seq2seq.errors import Stopped, UserError

KINDS = ["unigram", "bpe", "char", "word"]
SYLLABLES = ["ka", "lo", "mi", "ne", "ru", "tä"]
WORDS = [a + b + c for a, b, c in product(SYLLABLES, repeat=3)]
TEXT = [" ".join(WORDS[start::37]) for start in range(37)] * 3

# What has a meaning for SentencePiece, for Python's idea of lines, or for UTF-8.
ODD = ["\n", "\r", "\0", "\t", " ", "\u2581", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff"]
ODD += ["\ud800", "\udfff", "\u3000", "\u0301", "ﬁ", "①", "ka", "<", ">"]
ODD += ["<s>", "</s>", "<pad>", "<unk>", "<0x0A>", "<0x20>"]
UNICODE = st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=12).map("".join)


# Tokenizer


@cache
def toy(kind: str, byte_fallback: bool = True, normalization: str = "nmt_nfkc") -> Tokenizer:
    size = 310 if byte_fallback else 60
    text = [*TEXT, "\r <s> \u2581", "</s> <0x0A>", "<pad> <unk>"]
    options = {"byte_fallback": byte_fallback, "normalization": normalization}
    return train(text, Options(kind=kind, vocab_size=size, **options), 1)


every_tokenizer = pytest.mark.parametrize(
    "tokenizer",
    [
        pytest.param(names, id="-".join(map(str, names)))
        for names in [
            *product(KINDS, [True], ["nmt_nfkc", "nfkc", "identity"]),
            *product(KINDS, [False], ["identity"]),
        ]
    ],
)


def _there_and_back(tokenizer: Tokenizer, line: str) -> str:
    return tokenizer.decode(tokenizer.encode([line]))[0]


@every_tokenizer
@settings(max_examples=25, deadline=None)
@given(line=UNICODE)
@example(line="<s> </s> <pad> <unk> <0x0A>")
@example(line="\u2581\u2581 \u2581ka \u2581")
@example(line="\n\r\nka\rka\n")
def test_decoding_what_was_encoded_gives_the_normalized_text(tokenizer, line):
    tokenizer = toy(*tokenizer)
    ids = tokenizer.encode([line])[0]
    if UNK not in ids:
        assert tokenizer.decode([ids]) == [tokenizer.normalize(line)]


@every_tokenizer
@settings(max_examples=25, deadline=None)
@given(line=UNICODE)
@example(line="<s></s><pad><unk><0x0A> <s> </s> <pad> <unk> <0x0A>")
def test_special_ids_never_come_from_text(tokenizer, line):
    byte_fallback = tokenizer[1]
    ids = toy(*tokenizer).encode([line])[0]
    assert not {PAD, BOS, EOS} & set(ids)
    assert not (byte_fallback and UNK in ids)


@every_tokenizer
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_the_ids_the_text_is_a_single_line(tokenizer, data):
    tokenizer = toy(*tokenizer)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1)))
    line = tokenizer.decode([ids])[0]
    assert not set(line) & {"\n", "\r"}
    line.encode("utf-8")  # no lone surrogates either


@pytest.mark.parametrize("kind", KINDS)
@given(words=st.lists(st.text("abcäßœ日本語.,<>/_", min_size=1), min_size=1))
@settings(max_examples=25, deadline=None)
def test_plain_text_survives_as_it_is(kind, words):
    assert _there_and_back(toy(kind), " ".join(words)) == " ".join(words)


@pytest.mark.parametrize("kind", KINDS)
def test_normalization_is_that_of_unicode_unless_it_is_switched_off(kind):
    line = "ﬁne ① \uff21 ｶﾞ e\u0301"
    assert _there_and_back(toy(kind), line) == unicodedata.normalize("NFKC", line) != line
    assert _there_and_back(toy(kind, normalization="identity"), line) == line


@pytest.mark.parametrize("kind", KINDS)
@given(line=UNICODE)
@settings(max_examples=25, deadline=None)
def test_lone_surrogates_count_as_replacement_characters(kind, line):
    replaced = line.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if len(replaced) == len(line):  # no two surrogates that happen to be a pair
        assert toy(kind).encode([line]) == toy(kind).encode([replaced])


@given(st.lists(UNICODE, max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_line_has_the_same_ids_alone_as_in_company(lines):
    tokenizer = toy("unigram")
    ids = [tokenizer.encode([line])[0] for line in lines]
    assert tokenizer.encode(lines) == ids
    assert tokenizer.decode(ids) == [tokenizer.decode([one])[0] for one in ids]


def test_pieces_spell_the_text():
    tokenizer = toy("unigram")
    (ids,) = tokenizer.encode(["kalo mine"])
    assert "".join(tokenizer.pieces(ids)).replace("\u2581", " ") == " kalo mine"
    assert tokenizer.pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]


@pytest.mark.parametrize("kind", KINDS)
def test_same_text_and_seed_give_the_same_model_whatever_was_trained_before(kind):
    options = Options(kind=kind, vocab_size=285, training_sentences=9)
    one, other, again = (train(TEXT, options, seed).model for seed in (1, 2, 1))
    assert one == again
    assert one != other  # another sample


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_all_lines_makes_the_seed_irrelevant(kind):
    options = Options(kind=kind, vocab_size=310, training_sentences=len(TEXT))
    assert train(TEXT, options, 1).model == train(TEXT, options, 2).model


def test_a_sample_takes_every_line_as_often_as_any_other():
    tries, size, lines = 3000, 3, [*"abcdefghij"]
    drawn = Counter(line for seed in range(tries) for line in sample(lines, size, seed))
    expected = tries * size / len(lines)
    assert sum(drawn.values()) == tries * size
    assert all(abs(drawn[line] - expected) < 5 * expected**0.5 for line in lines)
    assert sample(lines, 10, 1) == sample(lines, 99, 1) == lines


@pytest.mark.parametrize(
    "error", [UserError("line 7"), Stopped(15, "stopped"), KeyboardInterrupt()]
)
def test_what_goes_wrong_while_reading_comes_through_unchanged(error):
    def lines():
        yield from TEXT
        raise error

    with pytest.raises(type(error)) as raised:
        train(lines(), Options(vocab_size=310), 1)
    assert raised.value is error


def _number_in_complaint(size: int, pattern: str, text: str = "the text", **options) -> int:
    """The number that a refused vocabulary size should be; checks the whole message."""
    with pytest.raises(UserError) as raised:
        train(TEXT, Options(vocab_size=size, **options), 1, text=text)
    found = re.fullmatch(pattern, str(raised.value))
    assert found, raised.value
    return int(found[1].replace(",", ""))


size_matters = pytest.mark.parametrize(
    ("kind", "byte_fallback"), [(kind, flag) for kind in KINDS[:2] for flag in (True, False)]
)


@size_matters
def test_too_large_a_vocabulary_is_refused_with_the_largest_that_would_do(kind, byte_fallback):
    options = {"kind": kind, "byte_fallback": byte_fallback}
    pattern = (
        r"tokenizer\.vocab_size: 60,000 pieces are more than the text has; "
        r"it allows at most ([\d,]+)"
    )
    largest = _number_in_complaint(60_000, pattern, **options)
    assert len(train(TEXT, Options(vocab_size=largest, **options), 1)) == largest
    above = pattern.replace("60,000", f"{largest + 1:,}")
    assert _number_in_complaint(largest + 1, above, **options) == largest


@size_matters
def test_too_small_a_vocabulary_is_refused_with_the_smallest_that_would_do(kind, byte_fallback):
    options = {"kind": kind, "byte_fallback": byte_fallback}
    pattern = (
        r"tokenizer\.vocab_size: 8 pieces are fewer than the characters of the source text; "
        r"it needs ([\d,]+), or a lower tokenizer\.character_coverage"
    )
    smallest = _number_in_complaint(8, pattern, text="the source text", **options)
    assert len(train(TEXT, Options(vocab_size=smallest, **options), 1)) == smallest
    below = pattern.replace("8", str(smallest - 1), 1)
    assert _number_in_complaint(smallest - 1, below, "the source text", **options) == smallest


@pytest.mark.parametrize(("kind", "things"), [("char", {*"".join(TEXT)}), ("word", {*WORDS})])
def test_characters_and_words_are_as_many_as_the_text_has(kind, things):
    tokenizer = train(TEXT, Options(kind=kind, vocab_size=60_000, character_coverage=1.0), 1)
    pieces = {tokenizer.pieces([token])[0] for token in range(4 + 256, len(tokenizer))}
    mark = "\u2581" if kind == "word" else ""
    assert pieces == {mark + thing.replace(" ", "\u2581") for thing in things}


@pytest.mark.parametrize("lines", [[], ["", ""], [" ", "\t"], ["ka " * 30_000]])
@pytest.mark.parametrize("kind", KINDS)
def test_text_without_text_is_refused(kind, lines):
    with pytest.raises(UserError) as raised:
        train(lines, Options(kind=kind), 1)
    assert str(raised.value) == (
        "the text has nothing but empty lines, or lines of more than 65,536 bytes"
    )


@pytest.mark.parametrize("shared", [True, False])
def test_tokenizers_read_from_their_files_are_the_same(tmp_path, shared):
    one, other = toy("unigram"), toy("unigram") if shared else toy("bpe")
    tokenizers = Tokenizers(one, other)
    for name, content in tokenizers.files.items():
        (tmp_path / name).write_bytes(content)
    read = Tokenizers.read(tmp_path, shared=shared)
    assert [side.model for side in read] == [one.model, other.model]
    assert (read.source is read.target) == shared
    assert read.fingerprint == tokenizers.fingerprint != Tokenizers(other, toy("char")).fingerprint


# Corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


def _tar(content: bytes, mode: str) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as opened:
        for name, data in {"a/other": b"another\n", "a/text": content}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("a")
        entry.type = tarfile.DIRTYPE
        opened.addfile(entry)
    return archive.getvalue()


PACKED = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "tar": lambda content: _tar(content, "w"),
    "tgz": lambda content: _tar(content, "w:gz"),
    "gzip in tar": lambda content: _tar(gzip.compress(content), "w"),
}
packed = pytest.mark.parametrize("form", PACKED)


def _file(folder: Path, content: bytes, form: str = "plain", name: str = "text") -> File:
    path = folder / name
    path.write_bytes(PACKED[form](content))
    return File(path=str(path), member="a/text" if "t" in form[:1] or " in " in form else None)


def _complaint(file: File | Corpus) -> str:
    with pytest.raises(UserError) as raised:
        list(read_lines(file) if isinstance(file, File) else read_pairs(file))
    return str(raised.value)


@packed
@settings(max_examples=25, deadline=None)
@given(text=UNICODE.map(lambda text: re.sub("[\ud800-\udfff]", "", text)))
@example(text="\ufeffone\x85\u2028\x0b\x0c\x1c\x1d\x1e\rstill one\r\ntwo\n\n\ufefffour")
@example(text="one\r\r\ntwo\r")
@example(text="\ufeff")
@example(text="\ufeff\n")
def test_a_line_ends_at_a_line_feed_and_nothing_else(folder, form, text):
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[-1] == "":
        lines.pop()  # what ends with a line feed has no line behind it
    expected = [line[:-1] if line.endswith("\r") else line for line in lines]
    assert list(read_lines(_file(folder, text.encode(), form))) == expected


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_last_line_counts_with_a_line_end_or_without(folder, end):
    assert list(read_lines(_file(folder, f"one\ntwo{end}".encode()))) == ["one", "two"]


@pytest.mark.parametrize(("name", "form"), [("text.gz", "plain"), ("text.txt", "gzip")])
def test_gzip_is_known_by_content_not_by_name(folder, name, form):
    assert list(read_lines(_file(folder, b"one\n", form, name))) == ["one"]


@pytest.mark.parametrize("member", ["a/missing", "a"])
@pytest.mark.parametrize("form", ["tar", "tgz"])
def test_a_member_that_is_no_file_of_the_archive_is_named(folder, form, member):
    file = _file(folder, b"one\n", form).model_copy(update={"member": member})
    assert _complaint(file) == f"{file.path} has no file {member}; see tar --list"


@packed
def test_what_is_not_utf8_is_named_by_file_line_and_byte(folder, form):
    file = _file(folder, "one\nzwölf\n".encode() + b"dr\xc3\xbc \xfc\n", form)
    name = f"{file.path}:a/text" if file.member else file.path
    assert _complaint(file) == (
        f"{name}:3 is not UTF-8 (byte 6 of the line is 0xfc); "
        "convert the file, for example with iconv"
    )


@pytest.mark.parametrize("form", ["gzip", "tgz"])
def test_a_file_that_was_cut_off_anywhere_is_refused(folder, form):
    file = _file(folder, "\n".join(TEXT).encode(), form)
    path = Path(file.path)
    whole = path.read_bytes()
    for length in [*range(2, 40), *range(40, len(whole), 29), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert _complaint(file) == f"{path} is cut off or damaged; fetch it again"


def test_what_is_no_archive_has_no_members(folder):
    file = _file(folder, b"one\n").model_copy(update={"member": "a/text"})
    assert _complaint(file) == f"{file.path} is cut off or damaged; fetch it again"


@pytest.mark.parametrize("form", ["gzip", "tgz"])
def test_damage_of_a_packed_file_is_noticed_or_changes_nothing(folder, form):
    file = _file(folder, "\n".join(TEXT[:9]).encode(), form)
    whole = Path(file.path).read_bytes()
    messages = []
    for place, bit in product(range(2, len(whole), 5), (0, 7)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        Path(file.path).write_bytes(damaged)
        try:
            assert list(read_lines(file)) == TEXT[:9]
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > len(whole) // 5
    assert all(re.search("is cut off|is not UTF-8|has no file", message) for message in messages)


def test_a_file_that_is_not_there_is_named_with_where_to_fetch_it(tmp_path):
    path = str(tmp_path / "missing")
    urls = ["https://one.org/text", "https://two.org/text"]
    for given_urls, remedy in {
        (): f"{path} is missing; put it there, or name another file in the config",
        (urls[0],): f"{path} is missing; fetch {urls[0]} and put it there",
        (*urls,): f"{path} is missing; fetch {urls[0]} (or {urls[1]}) and put it there",
    }.items():
        with pytest.raises(UserError) as raised:
            locate(File(path=path, urls=list(given_urls)))
        assert str(raised.value) == remedy


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError) as raised:
        locate(File(path=str(tmp_path)))
    assert str(raised.value) == f"{tmp_path} is a folder; name a file of text in the config"


def test_a_file_must_be_the_one_the_config_means():
    file = File(path="text", sha256="a" * 64)
    verify(file, "a" * 64)
    verify(File(path="text"), "b" * 64)
    message = (
        f"text is not the file that the config means: its sha256 is {'b' * 64}, not {'a' * 64}; "
        "move it away and fetch it again"
    )
    for urls, remedy in {(): "", ("https://one.org",): " from https://one.org"}.items():
        with pytest.raises(UserError) as raised:
            verify(file.model_copy(update={"urls": list(urls)}), "b" * 64)
        assert str(raised.value) == message + remedy


def _corpus(folder: Path, source: list[str], target: list[str]) -> Corpus:
    files = {
        name: _file(folder, "".join(f"{line}\n" for line in lines).encode(), name=name)
        for name, lines in {"source": source, "target": target}.items()
    }
    return Corpus(**files)


def test_pairs_are_the_lines_of_both_files_side_by_side(folder):
    source, target = ["a", "", "c\x85c"], ["A", "B", ""]
    assert list(read_pairs(_corpus(folder, source, target))) == list(
        zip(source, target, strict=True)
    )


def test_two_empty_files_are_refused(folder):
    corpus = _corpus(folder, [], [])
    assert _complaint(corpus) == f"{corpus.source.path} and {corpus.target.path} are empty"


@pytest.mark.parametrize("source_is_longer", [True, False])
def test_files_of_different_length_are_refused_with_the_place_where_they_part(
    folder, source_is_longer
):
    long = [f"{'x' * (7 * number % 50)}" for number in range(1, 1501)]
    short = [*long]
    del short[700:702]
    short[40] = " \t"
    empty = long[:]
    empty[1200] = ""
    sides = [(empty, "source"), (short, "target")]
    (source, _), (target, _) = sides if source_is_longer else sides[::-1]
    corpus = _corpus(folder, source, target)
    long_path, short_path = corpus.source.path, corpus.target.path
    if not source_is_longer:
        long_path, short_path = short_path, long_path
    assert _complaint(corpus) == (
        f"{long_path} has 1,500 lines but {short_path} 1,498; "
        f"they seem to part at line 701; the first empty line is {short_path}:41"
    )


def test_of_two_members_of_an_archive_the_message_names_both(folder):
    archive = _file(folder, b"one\ntwo\n", "tar")
    corpus = Corpus(source=archive, target=archive.model_copy(update={"member": "a/other"}))
    path = archive.path
    assert _complaint(corpus) == (
        f"{path}:a/text has 2 lines but {path}:a/other 1; they seem to part at line 1"
    )


def test_one_empty_file_is_named(folder):
    corpus = _corpus(folder, ["a", "b"], [])
    assert _complaint(corpus) == (
        f"{corpus.source.path} has 2 lines but {corpus.target.path} 0: it is empty"
    )


@given(
    short=st.lists(st.integers(0, 200), min_size=1, max_size=60),
    surplus=st.lists(st.integers(0, 200), min_size=1, max_size=8),
    place=st.integers(0, 60),
)
@settings(max_examples=200, deadline=None)
def test_where_lines_were_put_in_between_equal_ones_is_found(short, surplus, place):
    place = min(place, len(short))
    long = short[:place] + surplus + short[place:]
    found = parting(np.array(long), np.array(short))
    assert long[:found] + long[found + len(surplus) :] == short
    assert found <= place  # where equal lines allow several, the first


def test_where_lines_were_put_in_between_similar_ones_is_found_nearly_always():
    found = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        source = random.integers(5, 200, 500)
        target = (source * random.normal(1.1, 0.1, 500)).astype(int).clip(1)
        place, count = random.integers(0, 500), random.integers(1, 5)
        long = np.insert(source, place, random.integers(5, 200, count))
        found += abs(parting(long, target) - place) <= 3
    assert found >= 95


# Store

ids = st.lists(st.integers(0, 70_000), max_size=6)
pairs = st.lists(st.tuples(ids, ids), max_size=8)


def _segments(store: Store) -> list[tuple[list[int], list[int]]]:
    return [
        tuple(side.ids[side.offsets[row] : side.offsets[row + 1]].tolist() for side in store)
        for row in range(len(store))
    ]


def _write(folder: Path, blocks: list, vocab_sizes: tuple[int, int]) -> Store:
    with StoreWriter(folder, vocab_sizes) as writer:
        for block in blocks:
            writer.append([source for source, _ in block], [target for _, target in block])
    return Store.open(folder)


@given(blocks=st.lists(pairs, max_size=3))
@settings(max_examples=25, deadline=None)
def test_what_is_stored_on_disk_or_in_memory_comes_back(folder, blocks):
    everything = [pair for block in blocks for pair in block]
    on_disk = _write(folder, blocks, (70_001, 70_001))
    in_memory = Store.of([source for source, _ in everything], [target for _, target in everything])
    for store in (on_disk, in_memory):
        assert len(store) == len(everything)
        assert _segments(store) == everything
        for side, number in ((store.source, 0), (store.target, 1)):
            assert side.lengths.tolist() == [len(pair[number]) for pair in everything]


def test_a_store_is_memory_mapped_with_the_smallest_type_that_holds_the_ids(tmp_path):
    largest = 65_535
    store = _write(tmp_path, [[([largest], [largest + 1])]], (largest + 1, largest + 2))
    assert all(isinstance(array, np.memmap) for side in store for array in side)
    assert (store.source.ids.dtype, store.target.ids.dtype) == (np.uint16, np.uint32)
    assert _segments(store) == [([largest], [largest + 1])]


@given(st.integers(1, 1 << 20))
@settings(max_examples=25, deadline=None)
def test_the_smallest_type_holds_the_largest_id(vocab_size):
    assert np.iinfo(smallest_type(vocab_size)).max >= vocab_size - 1


@given(blocks=st.lists(st.lists(st.integers(0, 9), max_size=9)), wide=st.booleans())
@settings(max_examples=25, deadline=None)
def test_an_array_written_in_pieces_is_the_file_that_numpy_saves(folder, blocks, wide):
    dtype = np.dtype(np.int64 if wide else np.uint16)
    writer = ArrayWriter(folder / "pieces.npy", dtype)
    for block in blocks:
        writer.append(block)
    writer.close()
    np.save(folder / "whole.npy", np.array([value for block in blocks for value in block], dtype))
    assert (folder / "pieces.npy").read_bytes() == (folder / "whole.npy").read_bytes()


# Batches


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
        Side(np.zeros(lengths.sum(), np.uint16), np.cumsum([0, *lengths]))
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


def test_on_another_device_a_batch_is_the_same():
    batch = Batches(_random_store(9), 300).collate(np.arange(9))
    moved = batch.to(torch.device("meta"))
    assert [tensor.shape for tensor in moved[:3]] == [tensor.shape for tensor in batch[:3]]
    assert {tensor.device.type for tensor in moved[:3]} == {"meta"}
    assert batch.to(torch.device("cpu")) is batch
    assert moved.target_tokens == batch.target_tokens


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


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no path leads to a pipe here")
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_like_a_file(pack):
    reader, writer = os.pipe()
    try:
        os.write(writer, pack(b"ein Baum\nein Haus\n"))
        os.close(writer)
        assert [*read_lines(File(path=f"/dev/fd/{reader}"))] == ["ein Baum", "ein Haus"]
    finally:
        os.close(reader)
