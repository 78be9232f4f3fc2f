"""The text that each piece stands for, and the words that pieces are part of.

Words are what white space separates, whatever a tokenizer makes of them. Pieces are told apart by
the text that they stand for, not by how they are spelt: bytes and unknown pieces have text, too.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence

from seq2seq.data.tokenizer import SPACE_MARK, UNK, Tokenizer

utf8 = getincrementaldecoder("utf-8")
BYTE = re.compile("<0x([0-9A-F]{2})>")
WORD = re.compile(r"\s*\S+")
UNKNOWN = " \u2047 "  # as SentencePiece writes an unknown piece


def written(
    ids: Sequence[int], tokenizer: Tokenizer, unknown: Mapping[int, str] | None = None
) -> list[str]:
    """The text of each piece of a translation; spaces are part of it, one before the first, too.

    `unknown` has the texts of unknown pieces, by their places. Of pieces that spell a character as
    bytes, the last has it all.
    """
    pieces = tokenizer.pieces(ids)
    texts, spelled = [], utf8(errors="replace")
    for place, (token, piece) in enumerate(zip(ids, pieces, strict=True)):
        if byte := BYTE.fullmatch(piece):
            goes_on = place + 1 < len(pieces) and BYTE.fullmatch(pieces[place + 1])
            text = spelled.decode(bytes([int(byte[1], 16)]), final=not goes_on)
            texts.append(text.replace(SPACE_MARK, " "))
        elif token == UNK:
            texts.append((unknown or {}).get(place, UNKNOWN))
        else:
            texts.append("" if tokenizer.is_tag(token) else piece.replace(SPACE_MARK, " "))
    return [tokenizer.one_line(text) for text in texts]


def read(text: str, ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """The text of each piece of a source, of unknown ones as well.

    `text` is what `Tokenizer.spell` makes of the line, `ids` all that it became. What is
    between two known pieces is that of the unknown one between them.
    """
    text, texts, at = f" {text}", written(ids, tokenizer), 0
    for place, token in enumerate(ids):
        if token == UNK:
            after = texts[place + 1] if place + 1 < len(ids) else ""
            end = text.find(after, at + 1) if after else len(text)
            texts[place] = text[at : max(at, end)]
        at += len(texts[place])
    return texts


def words(texts: Sequence[str]) -> list[range]:
    """The numbers of the words, from 0, that each piece is part of, by the texts of the pieces.

    That is one word, more where a piece is a run of unknown ones. A space belongs to the word that
    it stands before; what stands behind the last word is part of none.
    """
    whole = "".join(texts)
    numbers = []  # of each character
    for number, word in enumerate(WORD.findall(whole)):
        numbers += [number] * len(word)
    found, start = [], 0
    for text in texts:
        first = last = start  # of a piece without characters, too
        if not text.isspace() and text:
            first, last = start + len(text) - len(text.lstrip()), start + len(text.rstrip()) - 1
        inside = first < len(numbers)
        found.append(range(numbers[first], numbers[last] + 1) if inside else range(0))
        start += len(text)
    return found
