"""Edit distances and longest common subsequences of long texts: exact, in little memory.

A row of the table is an integer with a bit for each word, so that a step computes all of them
(Hyyrö 2003, 2004; Crochemore et al. 2001). Texts of n and m words take time n * m / 64.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isqrt

CACHED = 1_000  # masks, each of a bit for each word of a text: all of them might be gigabytes


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words have to be inserted, deleted or substituted to make one the other."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    if not shorter:
        return len(longer)
    mask = _masks(longer)
    every, last = (1 << len(longer)) - 1, 1 << (len(longer) - 1)
    rises, falls, distance = every, 0, len(longer)  # vertical differences of +1 and of -1
    for word in shorter:
        match = mask(word)
        across = (((match & rises) + rises) ^ rises) | match
        right_rises = (falls | ~(across | rises)) & every
        right_falls = rises & across
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1) | 1
        right_falls <<= 1
        down = match | falls
        rises = (right_falls | ~(down | right_rises)) & every
        falls = right_rises & down & every
    return distance


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence of words."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    mask, row = _masks(longer), (1 << len(longer)) - 1
    for word in shorter:
        row = _below(row, mask(word), len(longer))
    return _length(row, len(longer))


def common_positions(reference: Sequence[str], candidate: Sequence[str]) -> list[int]:
    """Return the positions in the reference of a longest common subsequence, from the last on.

    Of several it is the one that rouge-score finds. Every k-th row is kept, and those between are
    made again on the way back, so that memory grows with the square root of the reference only.
    """
    mask, width = _masks(candidate), len(candidate)
    stride = isqrt(len(reference)) + 1
    kept, row = [], (1 << width) - 1
    for number, word in enumerate(reference):
        if number % stride == 0:
            kept.append(row)
        row = _below(row, mask(word), width)
    found: list[int] = []
    i, j, start, rows = len(reference), width, len(reference), [row]
    while i and j:
        if i == start:
            start = (i - 1) // stride * stride
            rows = [kept[start // stride]]
            for word in reference[start:i]:
                rows.append(_below(rows[-1], mask(word), width))
        if reference[i - 1] == candidate[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif _length(rows[i - start], j - 1) > _length(rows[i - 1 - start], j):
            j -= 1
        else:
            i -= 1
    return found


def _masks(text: Sequence[str]) -> Callable[[str], int]:
    """Return a function that gives the integer whose bits are the places of a word in a text."""
    places = defaultdict(list)
    for place, word in enumerate(text):
        places[word].append(place)

    @lru_cache(CACHED)
    def mask(word: str) -> int:
        if word not in places:
            return 0
        bits = bytearray(places[word][-1] // 8 + 1)
        for place in places[word]:
            bits[place // 8] |= 1 << place % 8
        return int.from_bytes(bits, "little")

    return mask


def _below(row: int, match: int, width: int) -> int:
    """Return the next row: its bits are 0 where the longest common subsequence grows by a word."""
    both = row & match
    return ((row + both) | (row - both)) & ((1 << width) - 1)


def _length(row: int, width: int) -> int:
    """Return the length that a row has at a place: the zeros before it."""
    return width - (row & ((1 << width) - 1)).bit_count()
