"""What rules ask about a text: its letters, scripts, figures, brackets, markup, control characters.

Each question takes a microsecond or less for a sentence, most of which have nothing to find.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from html.entities import html5

import regex

VISIBLE = regex.compile(r"[^\s\p{Cc}\p{Cf}]")


def is_visible(text: str) -> bool:
    """Whether there is anything but spaces and what cannot be seen, such as zero-width spaces."""
    return text[:1].isalnum() or VISIBLE.search(text) is not None  # the first tells nearly always


UNITS: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(text.split()),
    "characters": lambda text: len(text.strip()),
}

ASCII = bytes(range(128))
ASCII_LETTERS = string.ascii_letters.encode()
LETTER = regex.compile(r"[\p{L}\p{M}]")  # marks are the vowels of many scripts
NO_LETTER = regex.compile(r"[^\p{L}\p{M}]")


def count_letters(text: str) -> int:
    """How many letters and marks there are; bytes tell those of ASCII faster than an expression."""
    data = text.encode("utf-8", "surrogatepass")
    rest = data.translate(None, ASCII_LETTERS)
    letters = len(data) - len(rest)
    if not rest.isascii():
        others = rest.translate(None, ASCII).decode("utf-8", "surrogatepass")
        letters += len(others)
        if not others.isalpha():  # strict and fast
            letters -= len(NO_LETTER.findall(others))
    return letters


def foreign_letters(scripts: Sequence[str]) -> Callable[[str], int]:
    """A function that counts the letters of a text that are in none of some scripts.

    Letters that many scripts share (Common and Inherited: accents, µ, ー) are never foreign.
    Raises a ValueError, which has the name, for a script that Unicode does not have.
    """
    belongs = "".join(map(_script_class, [*scripts, "Common", "Inherited"]))
    elsewhere = regex.compile(f"[^{belongs}]").findall

    def count(text: str) -> int:
        others = elsewhere(text)
        return len(LETTER.findall("".join(others))) if others else 0

    return count


def _script_class(name: str) -> str:
    found = rf"\p{{Script={name}}}"
    try:
        if re.fullmatch(r"[A-Za-z_ -]+", name) and regex.compile(found):
            return found
    except regex.error:
        pass
    raise ValueError(name)


DIGIT = re.compile(r"\d")
NO_DIGIT = re.compile(r"\D")
# Threes of digits that one kind of separator groups (1,000,000; 1 000; 1'000), the groups of two of
# Indian English (12,34,567), or digits alone.
NUMBER = re.compile(
    r"(?<!\d)\d{1,3}([.,'’٬ \u00a0\u2009\u202f])\d{3}(?:\1\d{3})*(?!\d)"  # noqa: RUF001
    r"|(?<!\d)\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
    r"|\d+"
)


def figures(text: str) -> list[str]:
    """The numbers of a text that are written in digits, sorted, in a form that can be compared.

    Separators that group are left out and others part, so that 1,000.5, 1.000,5 and 1000.5 are
    alike, and 5.1.2024 and 01/05/2024. Zeros that stand first or alone don't count: 10:00 is 10.
    """
    if not DIGIT.search(text):
        return []
    digits = [NO_DIGIT.sub("", found[0]) for found in NUMBER.finditer(text)]
    plain = [
        some if some.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in some)
        for some in digits
    ]
    return sorted(filter(None, (some.lstrip("0") for some in plain)))


BRACKET = re.compile(r"[()[\]{}（）［］｛｝]")  # noqa: RUF001
KINDS = str.maketrans(")]}（）［］｛｝", "([{(([[{{")  # noqa: RUF001


def brackets(text: str) -> str:
    """The brackets of a text, sorted: one sign for each that is round, square or curly.

    Opening and closing ones are alike, as text from right to left has them mirrored or not;
    full-width ones are those of ASCII.
    """
    if not (found := BRACKET.findall(text)):
        return ""
    return "".join(sorted("".join(found).translate(KINDS)))


# After its name a tag has attributes or ends, which `a <b and c> d` does not. A name that ends in a
# semicolon is an entity if HTML knows it, which `AT&T;` is not. Some corpora were tokenized with
# their entities: `& amp ;`, `& # 39 ;`.
TAG = re.compile(
    r"</?[a-z][\w:.-]*(?:\s[^<>=]*=[^<>]*|\s*/?)>|<(?:!--|!doctype\b|!\[cdata\[|\?xml\b)", re.I
)
ENTITY = re.compile(
    r"&(?:([a-z][a-z0-9]{1,31};)|#(?:\d|x[0-9a-f])| ?(?:amp|lt|gt|quot|apos|nbsp|# ?\d{1,7}) ?;)",
    re.I,
)


def has_markup(text: str) -> bool:
    """Whether there are tags, comments, declarations or entities of HTML or XML.

    `a < b`, `<3`, `R&D` and <me@example.org> are text.
    """
    if "<" in text and TAG.search(text):
        return True
    return "&" in text and any(
        found[1] is None or found[1] in html5 for found in ENTITY.finditer(text)
    )


REPLACEMENT = "\ufffd"  # what decoders write for bytes that they cannot read
CONTROL = regex.compile(rf"(?V1)[[\p{{Cc}}--\t]\p{{Cn}}\p{{Co}}\p{{Cs}}{REPLACEMENT}]")


def has_control(text: str) -> bool:
    """Whether there are control characters but tabs, U+FFFD, or characters without a meaning.

    These are private, unassigned, or half of one (surrogates). Format characters are part of text:
    joiners, soft hyphens, marks of direction.
    """
    if text.isprintable() and REPLACEMENT not in text:  # stricter, and ten times as fast
        return False
    return CONTROL.search(text) is not None
