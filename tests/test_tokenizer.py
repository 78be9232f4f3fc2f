"""Laws of the tokenizer: text to pieces and back, tags, sampled pieces."""

# ruff: noqa: RUF001 (letters that look alike are what some of this is about)

import io
import pickle
import re
import subprocess
import sys
import threading
import unicodedata
from collections import Counter
from functools import cache
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from seq2seq.config import Tokenizer as Options
from seq2seq.config.options import Normalization
from seq2seq.data.tokenizer import (
    BOS,
    EOS,
    PAD,
    UNK,
    Tokenizer,
    Tokenizers,
    sample,
    train_tokenizers,
)
from seq2seq.data.tokenizer import train_tokenizer as train
from seq2seq.errors import Stopped, UserError

KINDS = ["unigram", "bpe", "char", "word"]
SAMPLED = ["unigram", "bpe"]
SYLLABLES = ["ka", "lo", "mi", "ne", "ru", "tä"]
WORDS = [a + b + c for a, b, c in product(SYLLABLES, repeat=3)]
TEXT = [" ".join(WORDS[start::37]) for start in range(37)] * 3
BOTH = Normalization(source="nfkc", target="nfkc")
TAGS = ["<2de>", "<a,b>", "<bt>", "<ﬁ①>"]  # the last: normalization does not reach tags

# What has a meaning for SentencePiece, for Python's idea of lines, or for UTF-8.
ODD = ["\n", "\r", "\0", "\t", " ", "\u2581", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff"]
ODD += ["\ud800", "\udfff", "\u3000", "\u0301", "ﬁ", "①", "ka", "<", ">"]
ODD += ["<s>", "</s>", "<pad>", "<unk>", "<0x0A>", "<0x20>", *TAGS]
UNICODE = st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=12).map("".join)


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


def spaced(text: str) -> str:
    """The text without spaces at the ends, and with one in place of several."""
    return " ".join(filter(None, text.split(" ")))


# In turn: U+2581 and what stands for it, what means something to SentencePiece, joiners of Persian
# and Sinhala, decomposed letters, odd spaces, control characters, full-width signs, superscripts.
ODD_LINES = [
    "\u2581",
    "\u2581\u2581 a\u2581",
    "\x10",
    "\x10_ \x10\x10_ \x10\u2581",
    "_\x10",
    "\u2581 \u2581",
]
ODD_LINES += ["<unk> <s></s> <pad><0x0A> \u2047", "می\u200cخواهم ශ්\u200dරී", "e\u0301 \u212b \ufb01"]
ODD_LINES += [
    "\ufeffa\tb\u00a0c\u3000d\u2028",
    "\t",
    "a\rb\r",
    "\x01\x7f\x85",
    "，！？ … ｶﾞ",
    "10⁵ ½",
]
EVERY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"))
ESCAPED = st.lists(st.sampled_from(["\u2581", "\x10", "_", " ", "ka"])).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None)
@given(text=EVERY_TEXT | ESCAPED)
def test_identity_gives_every_text_back_as_it_was(kind, text):
    tokenizer, line = toy(kind, normalization="identity"), spaced(text)
    assert _there_and_back(tokenizer, line) == line
    assert _there_and_back(tokenizer, text) == tokenizer.normalize(text) == line
    alone = SentencePieceProcessor(model_proto=tokenizer.model)  # as a reader of an export does
    assert alone.decode(alone.encode(line)).removeprefix(" ") == line


@pytest.mark.parametrize("line", ODD_LINES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learned_comes_back_as_it_was(kind, line):
    options = {"vocab_size": 680, "character_coverage": 1.0}
    options |= {"kind": kind, "normalization": "identity"}
    tokenizer = train([*TEXT, *ODD_LINES * 9], Options(**options), 1, at_most=True)
    (ids,) = tokenizer.encode([line])
    assert UNK not in ids
    assert tokenizer.decode([ids]) == [line]
    if kind in SAMPLED:
        assert tokenizer.decode(tokenizer.sample([line] * 9, 0.3, 1)) == [line] * 9


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(line=UNICODE)
def test_a_tokenizer_keeps_a_line_if_it_comes_back(kind, line):
    for name in ("nmt_nfkc", "nfkc", "identity"):
        tokenizer = toy(kind, normalization=name)
        assert tokenizer.keeps(line) == (tokenizer.normalize(line) == line)


@pytest.mark.parametrize("name", ["nmt_nfkc", "nfkc"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_the_one_that_sentencepiece_trains(kind, name):
    """Runs that were begun before normalizers were set afterwards find their tokenizer again."""
    text = [*TEXT, "ﬁne  ① \uff21 ｶﾞ \u2581 \u00a0x\u200b y"] * 2
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        model_type=kind,
        vocab_size=330,
        hard_vocab_limit=False,
        character_coverage=0.9995,
        normalization_rule_name=name,
        byte_fallback=True,
        control_symbols=[],
        max_sentence_length=1 << 16,
        pad_id=PAD,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        minloglevel=2,
    )
    options = Options(kind=kind, vocab_size=330, normalization=name)
    assert train(text, options, 1, at_most=True).model == model.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_vocabulary_has_the_same_pieces_and_a_normalizer_a_side(kind):
    lines = [line for word in TEXT for line in (f"{word} ２ …", f"{word} ２ …")]
    options = Options(kind=kind, vocab_size=330)
    source, target = train_tokenizers(lambda sides: lines, options, 1, tags=["<bt>"], at_most=True)
    every = range(len(source))
    assert source.pieces(every) == target.pieces(every)
    assert source.tag("<bt>") == target.tag("<bt>")
    assert source.normalize("２ …") == "2 ..."
    assert target.normalize("２ …") == "２ …"
    assert source.encode(["ka 2 ..."]) == source.encode(["ka ２ …"]) == target.encode(["ka 2 ..."])
    if kind != "word":
        assert {"2", ".", "２", "…"} <= {*"".join(source.pieces(every))}
    options = options.model_copy(update={"normalization": BOTH})
    again = train_tokenizers(lambda sides: lines, options, 1, at_most=True)
    assert again.source is again.target


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
    exact = tokenizer[-1] == "identity"  # then a carriage return is a character like any other
    tokenizer = toy(*tokenizer)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1)))
    line = tokenizer.decode([ids])[0]
    assert not set(line) & ({"\n"} if exact else {"\n", "\r"})
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
        train(lines, Options(kind=kind, normalization="nmt_nfkc"), 1)  # which makes tabs spaces
    assert str(raised.value) == (
        "the text has nothing but empty lines, or lines of more than 65,536 bytes"
    )


@pytest.mark.parametrize("one_model", [True, False])
def test_tokenizers_read_from_their_files_are_the_same(tmp_path, one_model):
    one, other = toy("unigram"), toy("unigram") if one_model else toy("bpe")
    tokenizers = Tokenizers(one, other)
    assert [*tokenizers.files] == ["tokenizer.source.model", "tokenizer.target.model"]
    for name, content in tokenizers.files.items():
        (tmp_path / name).write_bytes(content)
    read = Tokenizers.read(tmp_path)
    assert [side.model for side in read] == [one.model, other.model]
    assert (read.source is read.target) == one_model
    assert read.fingerprint == tokenizers.fingerprint != Tokenizers(other, toy("char")).fingerprint


def test_a_single_file_of_before_is_that_of_both_sides(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(toy("bpe").model)
    read = Tokenizers.read(tmp_path)
    assert read.source is read.target
    assert read.fingerprint == Tokenizers(toy("bpe"), toy("bpe")).fingerprint


# Tags


@cache
def tagged(kind: str) -> Tokenizer:
    text = [*TEXT, "<s> <bt> <2de> <a,b> <ﬁ①> <pad> ① ﬁ"]
    return train(text, Options(kind=kind, vocab_size=330), 1, tags=TAGS, at_most=True)


@pytest.mark.parametrize("kind", KINDS)
def test_each_tag_is_a_piece_of_its_own_that_text_has_no_room_for(kind):
    tokenizer = tagged(kind)
    ids = [tokenizer.tag(tag) for tag in TAGS]
    assert len({*ids}) == len(TAGS)
    assert tokenizer.pieces(ids) == TAGS
    assert [token for token in range(len(tokenizer)) if tokenizer.is_tag(token)] == sorted(ids)
    assert tokenizer.decode([ids, [*ids, *tokenizer.encode(["ka lo"])[0]]]) == ["", "ka lo"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(line=UNICODE)
@example(line="<bt> <2de><a,b> <ﬁ①> <fi1>")
@example(line="<bt>")
def test_tags_never_come_from_text(kind, line):
    tokenizer = tagged(kind)
    (ids,) = tokenizer.encode([line])
    assert not any(map(tokenizer.is_tag, ids))
    assert not {PAD, BOS, EOS} & {*ids}
    assert tokenizer.decode([ids]) == [tokenizer.normalize(line)]
    if kind in SAMPLED:
        (drawn,) = tokenizer.sample([line], 0.1, 1)
        assert not any(map(tokenizer.is_tag, drawn))


@pytest.mark.parametrize("name", ["<zork>", "<s>", "</s>", "<unk>", "<pad>", "<0x0A>", "ka", ""])
def test_what_is_no_tag_is_named_with_those_there_are(name):
    for tokenizer, there in {
        tagged("bpe"): f"it knows {', '.join(TAGS)}",
        toy("bpe"): "it knows none",
    }.items():
        with pytest.raises(UserError) as raised:
            tokenizer.tag(name)
        assert str(raised.value) == f"{name} is no tag of this model; {there}"


def test_a_tag_stands_before_every_source_and_no_target():
    tokenizers = Tokenizers(tagged("unigram"), toy("bpe"))
    lines = ["ka lo", "", "mi"], ["ne", "ru", ""]
    plain, with_tag = tokenizers.encode(lines), tokenizers.encode(lines, "<bt>")
    front = tokenizers.source.tag("<bt>")
    assert with_tag == ([[front, *ids] for ids in plain[0]], plain[1])
    with pytest.raises(UserError, match="<zork> is no tag"):
        tokenizers.encode(lines, "<zork>")


# Sampling


@pytest.mark.parametrize("kind", SAMPLED)
@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), seed=st.integers(0, 2**31))
def test_sampled_pieces_spell_the_same_text(kind, words, seed):
    tokenizer, line = toy(kind), " ".join(words)
    drawn = tokenizer.sample([line] * 3, 0.3, seed)
    assert tokenizer.decode(drawn) == [line] * 3


@pytest.mark.parametrize("kind", SAMPLED)
def test_sampling_knows_many_ways(kind):
    tokenizer = toy(kind)
    ways = {tuple(ids) for ids in tokenizer.sample([WORDS[0]] * 200, 0.3, 1)}
    assert len(ways) > 5
    assert tuple(tokenizer.encode(WORDS[:1])[0]) in ways


def test_alpha_of_bpe_is_the_share_of_merges_left_out():
    tokenizer = toy("bpe")
    counts = [
        sum(map(len, tokenizer.sample(TEXT, alpha, 1))) for alpha in (0.001, 0.1, 0.5, 0.9, 1.0)
    ]
    plain, letters = sum(map(len, tokenizer.encode(TEXT))), sum(map(len, TEXT)) + len(TEXT)
    assert counts == sorted(counts)
    assert plain <= counts[0] < 1.05 * plain
    assert counts[-1] == letters


def test_alpha_of_unigrams_is_a_power_of_their_probability():
    """Kudo (2018): a high power draws little but the most probable way, a low one any."""
    tokenizer = toy("unigram")
    plain = tokenizer.encode(TEXT)
    as_plain = [
        sum(map(list.__eq__, tokenizer.sample(TEXT, alpha, 1), plain)) for alpha in (0.01, 1.0, 9.0)
    ]
    lengths = [sum(map(len, tokenizer.sample(TEXT, alpha, 1))) for alpha in (0.01, 0.3, 9.0)]
    assert as_plain[0] <= as_plain[1] <= as_plain[2]
    assert as_plain[2] > as_plain[0]
    assert lengths[0] > lengths[1] > lengths[2]


@pytest.mark.parametrize("kind", SAMPLED)
def test_what_is_sampled_depends_on_the_lines_and_the_seed_alone(kind):
    tokenizer = toy(kind)
    expected = tokenizer.sample(TEXT, 0.1, 7)
    assert tokenizer.sample(TEXT, 0.1, 8) != expected
    tokenizer.sample(TEXT[:5], 0.5, 3)
    toy("unigram").sample(TEXT[:9], 0.5, 9)
    tokenizer.encode(TEXT)
    assert tokenizer.sample(TEXT, 0.1, 7) == expected
    assert Tokenizer(tokenizer.model).sample(TEXT, 0.1, 7) == expected
    found = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(tokenizer.sample(TEXT, 0.1, 7)))
        thread.start()
        thread.join()
    assert found == [expected] * 2


SAMPLING = """
import pickle, sys
tokenizer, lines = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(tokenizer.sample(lines, 0.1, 7)))
"""


@pytest.mark.parametrize("kind", SAMPLED)
def test_another_process_samples_the_same(kind):
    content = pickle.dumps((toy(kind), TEXT[:9]))
    command = [sys.executable, "-c", SAMPLING]
    answer = subprocess.run(command, input=content, capture_output=True, check=True).stdout
    assert pickle.loads(answer) == toy(kind).sample(TEXT[:9], 0.1, 7)


def test_lone_surrogates_count_as_replacement_characters_in_sampling_too():
    lines = ["ka\ud800lo", "\udfff"]
    replaced = ["ka\ufffdlo", "\ufffd"]
    assert toy("bpe").sample(lines, 0.1, 1) == toy("bpe").sample(replaced, 0.1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_sent_to_another_process_is_the_same(kind):
    one = tagged(kind)
    other = pickle.loads(pickle.dumps(one))
    assert other.model == one.model
    assert other.encode(TEXT) == one.encode(TEXT)
    pair = pickle.loads(pickle.dumps(Tokenizers(one, one)))
    assert pair.source is pair.target  # else there would be two files
    assert pair.fingerprint == Tokenizers(one, one).fingerprint
