"""Which word of the source each word of a translation was written from, by attention.

A word's weight on another is what its pieces give, on average, to all pieces of the other; </s> and
a tag belong to no word. Which piece is part of which word, `surface.words` tells.

Shapes: T target pieces, S source pieces; each side has one more, </s>.
"""

from collections.abc import Callable, Sequence

import numpy as np

FAINT = 0.05  # weights below this are not written down


def align(attention: np.ndarray, source: Sequence[range], target: Sequence[range]) -> np.ndarray:
    """The weight of each source word for each target word: (target words, source words).

    `attention` (T + 1, S + 1) is by pieces; `source` and `target` are the words of each piece. Of
    the weight of a piece that is several words, each of them has its share.
    """
    read, written = belonging(source), belonging(target)
    read /= np.maximum(read.sum(axis=0), 1)
    written /= written.sum(axis=1, keepdims=True)
    return written @ attention[: len(target), : len(source)] @ read.T


def belonging(pieces: Sequence[range]) -> np.ndarray:
    """Which pieces each word has, 1 or 0: (words, pieces)."""
    found = np.zeros((max((some.stop for some in pieces), default=0), len(pieces)))
    for place, some in enumerate(pieces):
        found[some.start : some.stop, place] = 1
    return found


def side_by_side(
    parts: Sequence[np.ndarray | None], targets: Sequence[str], sources: Sequence[str]
) -> np.ndarray | None:
    """The alignment of a line from those of its parts; None if no part has any.

    `targets` and `sources` are the texts of the parts, with what stands between them. A word that
    is in two parts, because it was cut, has the mean of what it has in both.
    """
    places = zip(parts, beginnings(targets), beginnings(sources), strict=True)
    placed = [(weights, row, column) for weights, row, column in places if weights is not None]
    if not placed:
        return None
    rows = max(row + weights.shape[0] for weights, row, _ in placed)
    columns = max(column + weights.shape[1] for weights, _, column in placed)
    whole, counts = np.zeros((rows, columns)), np.zeros(rows)
    for weights, row, column in placed:
        whole[row : row + weights.shape[0], column : column + weights.shape[1]] += weights
        counts[row : row + weights.shape[0]] += 1
    return whole / np.maximum(counts, 1)[:, None]


def beginnings(texts: Sequence[str]) -> list[int]:
    """The number that the first word of each text has where they stand one behind the other."""
    numbers, count, inside = [], 0, False  # whether a word goes on
    for text in texts:
        goes_on = inside and not text[:1].isspace()
        numbers.append(count - goes_on)
        if text:
            count = numbers[-1] + len(text.split())
            inside = not text[-1].isspace()
    return numbers


def hard(weights: np.ndarray) -> str:
    """The source word of most weight for each target word, as Pharaoh has it: `0-0 2-1`."""
    if not weights.size:
        return ""
    return " ".join(f"{best}-{word}" for word, best in enumerate(weights.argmax(axis=1)))


def soft(weights: np.ndarray) -> str:
    """All weights that are not faint: `0-0:0.93 1-0:0.06`, source first."""
    return " ".join(
        f"{word}-{row}:{weights[row, word]:.2f}" for row, word in np.argwhere(weights >= FAINT)
    )


ALIGNMENTS: dict[str, Callable[[np.ndarray], str]] = {"hard": hard, "soft": soft}


def aligned_as(kind: str | None, weights: np.ndarray | None) -> str:
    """An alignment as one of ALIGNMENTS writes it; of nothing, or asked for as None, nothing."""
    return ALIGNMENTS[kind](weights) if kind and weights is not None else ""
