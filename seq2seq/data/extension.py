"""More pieces for the tokenizers of a model: those that they have keep their numbers.

Behind the others come tags, which text never becomes, and characters that were unknown or
spelt in bytes. Text without such characters becomes the same pieces as before.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle

from seq2seq.config import Tokenizer as Options
from seq2seq.data.tokenizer import UNK, Tokenizer, Tokenizers

NORMAL, CONTROL = 1, 3  # types of pieces: sentencepiece_model.proto


def extend(
    tokenizers: Tokenizers,
    lines: Callable[[slice], Iterable[str]],
    options: Options,
    tags: Sequence[str],
) -> Tokenizers:
    """Tokenizers with those of the tags (of sources) and characters of a text that they lack.

    `lines` gives the lines of some of its two sides; of both, source and target by turns. Of
    characters so many are taken, the most frequent first, that they cover the share of the text
    that the options say.
    """

    def more(some: Sequence[Tokenizer], sides: slice, tags: Sequence[str]) -> list[Tokenizer]:
        """Several tokenizers have the same pieces, and get the same."""
        found = unknown(some, lines(sides), options.character_coverage)
        chosen = [] if options.kind == "word" else found  # words are not made of characters
        new = [tag for tag in tags if not some[0].knows(tag)]
        return [extended(tokenizer, new, chosen) for tokenizer in some]

    if options.shared:
        source, target = more(tokenizers, slice(2), tags)
    else:
        (source,) = more([tokenizers.source], slice(1), tags)
        (target,) = more([tokenizers.target], slice(1, 2), [])
    return Tokenizers.of(source.model, target.model)


def unknown(tokenizers: Sequence[Tokenizer], lines: Iterable[str], coverage: float) -> list[str]:
    """Characters of some lines that are no pieces, of those that cover such a share of them.

    The lines are by turns those of tokenizers with the same pieces.
    """
    counts: Counter[str] = Counter()
    for tokenizer, line in zip(cycle(tokenizers), lines, strict=False):
        counts.update(tokenizer.spell(line).replace(" ", ""))
    missing, left = [], coverage * counts.total()
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= 0:
            break
        left -= count
        if not tokenizers[0].knows(character):
            missing.append(character)
    return missing


def extended(tokenizer: Tokenizer, tags: Sequence[str], characters: Sequence[str]) -> Tokenizer:
    """A tokenizer with more pieces behind its own.

    A model of SentencePiece is a message of protobuf, and what stands behind it is added to its
    list of pieces: the list is field 1, and fields that repeat may come anywhere.
    """
    least = min(tokenizer.scores, default=0.0)
    added = [
        *(message(tag, 0.0, CONTROL) for tag in tags),
        *(message(character, least, NORMAL) for character in characters),
    ]
    return Tokenizer(tokenizer.model + b"".join(added)) if added else tokenizer


def message(piece: str, score: float, kind: int) -> bytes:
    """A piece as an entry of the list: its text, score and type are fields 1 to 3."""
    text = piece.encode()
    content = b"\x0a" + varint(len(text)) + text + b"\x15" + struct.pack("<f", score)
    content += b"\x18" + varint(kind)
    return b"\x0a" + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def before(old: Tokenizer, new: Tokenizer) -> Iterator[list[int]]:
    """For each piece that `new` has and `old` has not, the ids that `old` makes of its text."""
    for piece in new.pieces(range(len(old), len(new))):
        yield old.encode([piece])[0] or [UNK]
