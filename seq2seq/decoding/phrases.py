"""Words that a translation must begin with, contain, or not contain, as pieces."""

from collections.abc import Sequence

from seq2seq.data.normalization import Normalize
from seq2seq.data.tokenizer import Tokenizer
from seq2seq.decoding.engine import Phrase

NEIGHBOURS = "-.(/'"  # of which one stands in a piece of its own before most words


def begun(text: str, tokenizer: Tokenizer, normalize: Normalize) -> Phrase:
    """The pieces of a text as a translation begins with it."""
    (ids,) = tokenizer.encode([normalize(text)])
    return tuple(ids)


def contained(
    words: Sequence[str], tokenizer: Tokenizer, normalize: Normalize
) -> tuple[Phrase, ...]:
    """The pieces of words as they stand in running text, with a space before them."""
    found = tokenizer.encode([normalize(word) for word in words])
    return tuple(tuple(ids) for ids in found if ids)


def forbidden(
    words: Sequence[str], tokenizer: Tokenizer, normalize: Normalize
) -> tuple[Phrase, ...]:
    """The pieces of words after a space, and those inside of a word.

    These are the pieces that a tokenizer cuts them into; a model may spell a word in other pieces,
    though it has hardly ever seen that.
    """
    inner = [_inside(normalize(word), tokenizer) for word in words]
    both = [*contained(words, tokenizer, normalize), *filter(None, inner)]
    return tuple(dict.fromkeys(both))


def _inside(word: str, tokenizer: Tokenizer) -> Phrase:
    """The pieces of a word that does not follow a space; none if they cannot be told."""
    alone = tokenizer.encode(list(NEIGHBOURS))
    beside = tokenizer.encode([neighbour + word for neighbour in NEIGHBOURS])
    for front, both in zip(alone, beside, strict=True):
        if both[: len(front)] == front:
            return tuple(both[len(front) :])
    return ()
