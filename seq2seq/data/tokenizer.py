"""Text to pieces and back: SentencePiece, and the special ids.

Special ids never come from text: a line that says `</s>` is five characters like any others. Each
side has a tokenizer with a normalizer of its own; with a shared vocabulary, both have the same
pieces under the same ids.
"""

import hashlib
import io
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from seq2seq.config import Tokenizer as Options
from seq2seq.data.sampling import Cut, Pieces, merges, unigrams
from seq2seq.data.sentencepiece_normalizer import (
    ESCAPES,
    IDENTITY,
    SPACE_MARK,
    line_normalizer,
    normalizer_proto,
    unescape,
)
from seq2seq.errors import UserError
from seq2seq.files import fingerprint

PAD, UNK, BOS, EOS = 0, 1, 2, 3

SIDE_FILES = ("tokenizer.source.model", "tokenizer.target.model")
OLD_FILE = "tokenizer.model"  # of both sides, in folders of before

LONGEST_LINE = 1 << 16  # bytes; pieces are not looked for in longer ones
WORD = re.compile(f"{SPACE_MARK}[^{SPACE_MARK}]*|[^{SPACE_MARK}]+")
LINE_ENDS = re.compile("[\n\r]")
LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class Tokenizer:
    """A SentencePiece model: lines to ids without special ones, and ids to lines."""

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        self.model = model
        self._processor = SentencePieceProcessor(model_proto=model)
        # whether a line comes back from `decode` as it was, but for spaces
        self._exact = self._processor.normalize(SPACE_MARK).endswith(ESCAPES[SPACE_MARK])
        self._cuts: dict[float, Cut] = {}  # how to cut words at random, by alpha

    def __len__(self) -> int:
        return self._processor.vocab_size()

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[bytes]]:
        return Tokenizer, (self.model,)  # for other processes

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of each line; lone surrogates, which are not text, count as U+FFFD."""
        if self._exact:
            lines = [line.replace("\n", " ") for line in lines]
        try:
            return self._processor.encode(list(lines), num_threads=1)
        except TypeError:  # what SentencePiece makes of lone surrogates
            return self._processor.encode([_valid(line) for line in lines], num_threads=1)

    def sample(self, lines: Sequence[str], alpha: float, seed: int) -> list[list[int]]:
        """The ids of each line in one of the ways that it can be cut into pieces.

        A unigram model draws with probabilities to the power of alpha (Kudo 2018), bpe leaves out
        a share of alpha of its merges (Provilkov et al. 2020). The same lines and seed give the
        same ids, in every process.
        """
        if alpha not in self._cuts:
            by_rank = all(score.is_integer() for score in self._pieces.scores.values())  # as in bpe
            self._cuts[alpha] = (merges if by_rank else unigrams)(self._pieces, alpha)
        cut, random = self._cuts[alpha], Random(seed)
        return [
            list(chain.from_iterable(cut(word, random) for word in WORD.findall(text)))
            for text in map(self._normalized, lines)
        ]

    @cached_property
    def _pieces(self) -> Pieces:
        """What text may be cut into."""
        processor = self._processor
        special = (processor.is_control, processor.is_unknown, processor.is_byte)
        tokens = [n for n in range(len(self)) if not any(kind(n) for kind in special)]
        scores = {processor.id_to_piece(n): processor.get_score(n) for n in tokens}
        spelled = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]

        def spell(character: str) -> list[int]:
            return [UNK] if UNK in spelled else [spelled[byte] for byte in character.encode()]

        return Pieces(dict(zip(scores, tokens, strict=True)), scores, spell)

    def tag(self, name: str) -> int:
        """The id of a piece that text never becomes; raises a UserError if there is none."""
        token = self._processor.piece_to_id(name)
        if not self.is_tag(token):
            tags = [token for token in range(EOS + 1, len(self)) if self.is_tag(token)]
            there = f"it knows {', '.join(self.pieces(tags))}" if tags else "it knows none"
            raise UserError(f"{name} is no tag of this model; {there}")
        return token

    def knows(self, piece: str) -> bool:
        """Whether a piece has an id of its own."""
        return bool(self._processor.piece_to_id(piece) != UNK)

    @property
    def ordinary(self) -> list[int]:
        """The ids of the pieces that text may be cut into, but for bytes."""
        return list(self._pieces.ids.values())

    @property
    def scores(self) -> list[float]:
        """The scores of the pieces that text may be cut into."""
        return list(self._pieces.scores.values())

    def is_tag(self, token: int) -> bool:
        """Whether an id is that of a tag."""
        return token > EOS and self._processor.is_control(int(token))

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The line of each sequence of ids, always a single one."""
        lines = self._processor.decode([list(map(int, sequence)) for sequence in ids])
        return [self._as_line(line) for line in lines]

    def normalize(self, line: str) -> str:
        """Return the line as `decode` gives it back after `encode`."""
        return self.text(self.spell(line))

    def keeps(self, line: str) -> bool:
        """Return whether a line comes back as it is, with `normalize` only where it may not."""
        plain = (self._exact or line.isascii()) and line.isprintable() and "  " not in line
        return (plain and line == line.strip(" ")) or line == self.normalize(line)

    def text(self, spelled: str) -> str:
        """Return the line that pieces spell; escapes that a model wrote stand for characters."""
        return self._as_line(unescape(spelled) if self._exact else spelled)

    def spell(self, line: str) -> str:
        """Return the line as its pieces spell it, with spaces between words."""
        return self._as_line(self._normalized(line).replace(SPACE_MARK, " "))

    def one_line(self, text: str) -> str:
        """Return decoded text without line ends, which bytes may have spelled."""
        return text.replace("\n", " ") if self._exact else LINE_ENDS.sub(" ", text)

    def _as_line(self, text: str) -> str:
        line = self.one_line(text).lstrip(" ")
        return line if self._exact else line.replace(SPACE_MARK, " ").lstrip(" ")

    def _normalized(self, line: str) -> str:
        valid = _valid(line.replace("\n", " ") if self._exact else line)
        return str(self._processor.normalize(valid))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The pieces themselves, for people to look at."""
        return [self._processor.id_to_piece(int(token)) for token in ids]


class Tokenizers(NamedTuple):
    """The tokenizers of both sides; with a shared vocabulary, their pieces have the same ids."""

    source: Tokenizer
    target: Tokenizer

    @classmethod
    def of(cls, source: bytes, target: bytes) -> "Tokenizers":
        """Return the tokenizers of two models, which are one if the models are equal."""
        one = Tokenizer(source)
        return cls(one, one if target == source else Tokenizer(target))

    @classmethod
    def read(cls, folder: Path) -> "Tokenizers":
        """Read what `files` gave, or the one file that both sides had before.

        Raises a FileNotFoundError if the folder has neither.
        """
        names = SIDE_FILES if (folder / SIDE_FILES[0]).exists() else (OLD_FILE, OLD_FILE)
        return cls.of(*((folder / name).read_bytes() for name in names))

    def encode(
        self, sides: Sequence[Sequence[str]], tag: str | None = None
    ) -> tuple[list[list[int]], list[list[int]]]:
        """The ids of the lines of both sides, with a tag before each source."""
        source, target = self.source.encode(sides[0]), self.target.encode(sides[1])
        if tag:
            front = self.source.tag(tag)
            source = [[front, *ids] for ids in source]
        return source, target

    @property
    def files(self) -> dict[str, bytes]:
        """Names and contents of the files that keep them."""
        return dict(zip(SIDE_FILES, (self.source.model, self.target.model), strict=True))

    @property
    def fingerprint(self) -> str:
        """What tells these tokenizers from others."""
        return fingerprint([hashlib.sha256(tokenizer.model).hexdigest() for tokenizer in self])


def train_tokenizers(
    lines: Callable[[slice], Iterable[str]],
    options: Options,
    seed: int,
    *,
    tags: Sequence[str] = (),
    at_most: bool = False,
    left: str = "",
) -> Tokenizers:
    """Find the pieces of both sides of a text, or of each by itself, as the options say.

    `lines` gives the lines of some of its two sides; of both, source and target by turns. `tags`
    become pieces of the source; `left` says in messages how much of the text is left.
    """
    rules = options.normalization.source, options.normalization.target

    def trained(sides: slice, text: str, tags: Sequence[str]) -> Tokenizer:
        more: Any = {"tags": tags, "at_most": at_most, "text": f"{text}{left}"}
        return train_tokenizer(lines(sides), options, seed, rules=rules[sides], **more)

    if options.shared:
        both = trained(slice(2), "the text", tags)
        return Tokenizers.of(*(with_normalizer(both, name).model for name in rules))
    return Tokenizers(
        trained(slice(1), "the source text", tags), trained(slice(1, 2), "the target text", [])
    )


def train_tokenizer(
    lines: Iterable[str],
    options: Options,
    seed: int,
    *,
    rules: Sequence[str] = (),
    tags: Sequence[str] = (),
    at_most: bool = False,
    text: str = "the text",
) -> Tokenizer:
    """Find the pieces of some text; `tags` become pieces that text never becomes.

    `rules` name the normalizers that the lines go through by turns, of which the first becomes that
    of the tokenizer: that of targets unless given. With `at_most`, there may be fewer pieces than
    the options say.

    Raises a UserError if the text, which it calls `text`, is too small for so many pieces.
    """
    import sentencepiece

    names = rules or [options.normalization.target]
    normalizers = [line_normalizer(name) for name in names]

    def normalized(number: int, line: str) -> str:
        return normalizers[number % len(normalizers)](_valid(line))

    # Not left to SentencePiece: a process takes only the first seed that it is given, and what goes
    # wrong in reading (a signal, too) would come out as an error of the training.
    chosen = sample(lines, options.training_sentences, seed, normalized)
    model = io.BytesIO()
    try:
        _interruptible(
            sentencepiece.SentencePieceTrainer.train,
            sentence_iterator=iter(chosen),
            model_writer=model,
            model_type=options.kind,
            vocab_size=options.vocab_size,
            # there are as many characters and words as there are
            hard_vocab_limit=options.kind in ("unigram", "bpe") and not at_most,
            character_coverage=options.character_coverage,
            normalization_rule_name=IDENTITY,
            byte_fallback=options.byte_fallback,
            control_symbols=list(tags),
            max_sentence_length=LONGEST_LINE,
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise UserError(_explain(str(error), options, text)) from None
    return with_normalizer(Tokenizer(model.getvalue()), names[0])


def with_normalizer(tokenizer: Tokenizer, name: str) -> Tokenizer:
    """Return the tokenizer with the same pieces, and with a normalizer by its name."""
    from sentencepiece import SentencePieceProcessor

    joined = SentencePieceProcessor(model_proto=tokenizer.model + normalizer_proto(name))
    return Tokenizer(joined.serialized_model_proto())


def _interruptible(function: Callable[..., object], **arguments: Any) -> None:
    """Calls what runs long outside of Python, where no signal would be heeded, in a thread."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            function(**arguments)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if raised:
        raise raised[0]


def sample(
    lines: Iterable[str],
    size: int,
    seed: int,
    change: Callable[[int, str], str] = lambda number, line: line,
) -> list[str]:
    """At most so many lines, each as likely as any other (algorithm R of Vitter 1985).

    What is chosen is changed by a function of its number and itself.
    """
    random = Random(seed)
    chosen: list[str] = []
    for number, line in enumerate(lines):
        if number < size:
            chosen.append(change(number, line))
        elif (place := int(random.random() * (number + 1))) < size:
            chosen[place] = change(number, line)
    return chosen


def _valid(line: str) -> str:
    return LONE_SURROGATES.sub("\ufffd", line)


def _explain(message: str, options: Options, text: str) -> str:
    size = f"tokenizer.vocab_size: {options.vocab_size:,}"
    if limit := re.search(r"value <= (\d+)", message):
        return f"{size} pieces are more than {text} has; it allows at most {int(limit[1]):,}"
    if least := re.search(r"smaller than required_chars\D*(\d+) vs (\d+)", message):
        return (
            f"{size} pieces are fewer than the characters of {text}; it needs {int(least[2]):,}, "
            "or a lower tokenizer.character_coverage"
        )
    if "sentences_.empty()" in message or "all_chars_count" in message:
        return f"{text} has nothing but empty lines, or lines of more than {LONGEST_LINE:,} bytes"
    return f"{text} gives no {options.kind} vocabulary: {message.strip()}"
