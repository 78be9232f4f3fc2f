"""Long text cut where it is safe: at the ends of sentences, else where a cut does least harm.

Unicode tells what ends a sentence or a clause in any script (its properties Sentence_Terminal and
Terminal_Punctuation, UAX 44), so that no language needs a table of its own. A cut too few only
makes a part longer, and a cut inside a sentence may spoil two: so a full stop counts only where it
is hard to take for that of an abbreviation, an initial or a number.

No pattern looks at a character twice: a line may be a megabyte of full stops.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import regex  # knows the properties of characters, unlike re

Fits = Callable[[Sequence[str]], list[bool]]  # of each text: whether it is short enough

CLOSING = r"""[\p{Pe}\p{Pf}"'\u201c\u2018]*+"""  # brackets and quotes; German ones end with “
WIDE_CLOSING = r"""[\p{Pe}\p{Pf}"']*+"""  # and Chinese ones begin with it
ENDING = r"[\p{Sentence_Terminal}\u2026]"
WIDE_END = r"[\u3002\uff0e\uff01\uff1f\uff61]"  # what needs no space after it
WIDE_MARK = r"[\u3001\uff0c\uff1b\uff1a]"
END = regex.compile(
    rf"(?<!{ENDING})(?P<mark>{ENDING}++){CLOSING}(?P<gap>\s++)"
    r"(?!\p{Ll}|\Z)"
    rf"|(?<!{WIDE_END}){WIDE_END}++{WIDE_CLOSING}(?P<gap>\s*+)(?!\Z)"
    r"|(?<!\s)(?P<gap>[^\S\n]*+\n\s*+)(?!\Z)",
    regex.V1,
)
WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+\Z", regex.V1)
LONGEST_WORD = 40  # characters before a full stop that are looked at
SHORTEST_WORD = 3  # letters before a full stop that ends a sentence
SHORTEST_NAME = 5  # if the word has a capital, as Dr., Prof. and Fig. have
SHORTEST_NUMBER = 3  # digits: 1989. ends a sentence more often than 3.

# Where to cut what is no sentence, the best first; the cut is at the end of what is matched.
PLACES = [
    regex.compile(pattern, regex.V1)
    for pattern in (
        rf"{ENDING}{CLOSING}\s++",
        rf"\p{{Terminal_Punctuation}}{CLOSING}\s++|{WIDE_MARK}",
        r"\s++",
        r"\X",  # what a reader takes for one character
    )
]


class Part(NamedTuple):
    """A piece of a text, and the white space between it and the next."""

    text: str
    gap: str


def split(text: str, fits: Fits) -> list[Part]:
    """The parts of a text, each of which fits if it can; side by side they are the text.

    A text that fits is one part. Else it is cut at the ends of sentences, and a sentence that still
    does not fit near its middle, again and again.
    """
    return [Part(text, "")] if all(fits([text])) else _fitting(sentences(text), fits)


def sentences(text: str) -> list[Part]:
    """The sentences of a text, as far as they can be told."""
    parts, start = [], 0
    for found in END.finditer(text):
        before = text[max(0, found.start() - LONGEST_WORD) : found.start()]
        if found["mark"] != "." or _ends_sentence(before):
            gap, end = found.span("gap")
            parts.append(Part(text[start:gap], text[gap:end]))
            start = end
    return [*parts, Part(text[start:], "")]


def _ends_sentence(before: str) -> bool:
    """Whether a full stop after this is likely to end a sentence."""
    word = WORD.search(before)
    if word is None:
        return True  # after a bracket or a quotation mark
    if word[0].isnumeric():
        return len(word[0]) >= SHORTEST_NUMBER
    return len(word[0]) >= (SHORTEST_NAME if word[0][0].isupper() else SHORTEST_WORD)


def _fitting(parts: Sequence[Part], fits: Fits) -> list[Part]:
    found = []
    for part, fit in zip(parts, fits([part.text for part in parts]), strict=True):
        found += [part] if fit or len(part.text) < 2 else _fitting(_halves(part), fits)
    return found


def _halves(part: Part) -> list[Part]:
    """A part of two characters or more, cut at the best place that is near its middle."""
    text = part.text
    start, end, middle = len(text) // 4, len(text) - len(text) // 4, len(text) // 2
    cut = middle
    for place in PLACES:
        found = [one.end() for one in place.finditer(text, start, end)]
        if inside := [one for one in found if one < end]:  # what goes on beyond it is cut off there
            cut = min(inside, key=lambda one: abs(one - middle))
            break
    first = text[:cut].rstrip()
    return [Part(first, text[len(first) : cut]), Part(text[cut:], part.gap)]
