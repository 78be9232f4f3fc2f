"""Which word of the source each word of a translation was written from, by attention.

Words are what spaces separate. A word's weight on another is what its pieces give, on average, to
all pieces of the other; </s> and a tag belong to no word.

Shapes: T target pieces, S source pieces; each side has one more, </s>.
"""

from collections.abc import Sequence

import numpy as np

SPACE_MARK = "▁"  # in front of a piece that begins a word
FAINT = 0.05  # weights below this are not written down


def words(pieces: Sequence[str], first: int = 0) -> list[int]:
    """The number of the word that each piece is part of; `first` pieces are part of none (-1)."""
    numbers, word = [-1] * first, -1
    for piece in pieces[first:]:
        if piece.startswith(SPACE_MARK) or word < 0:
            word += 1
        numbers.append(word)
    return numbers


def align(attention: np.ndarray, source: Sequence[int], target: Sequence[int]) -> np.ndarray:
    """The weight of each source word for each target word: (target words, source words).

    `attention` (T + 1, S + 1) is by pieces; `source` and `target` are what `words` says.
    """
    weights = np.zeros((max(target, default=-1) + 1, max(source, default=-1) + 1))
    counts = np.zeros(len(weights))
    inside = [place for place, word in enumerate(source) if word >= 0]
    read = [source[place] for place in inside]
    for place, word in enumerate(target):
        counts[word] += 1
        np.add.at(weights[word], read, attention[place, inside])
    return weights / counts[:, None]


def hard(weights: np.ndarray) -> str:
    """The source word of most weight for each target word, as Pharaoh has it: `0-0 2-1`."""
    if not weights.size:
        return ""
    return " ".join(f"{best}-{word}" for word, best in enumerate(weights.argmax(axis=1)))


def soft(weights: np.ndarray) -> str:
    """All weights that are not faint: `0-0:0.93 1-0:0.06`, source first."""
    return " ".join(
        f"{read}-{word}:{weights[word, read]:.2f}" for word, read in np.argwhere(weights >= FAINT)
    )
