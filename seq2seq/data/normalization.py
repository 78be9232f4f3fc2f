"""What is done to all text, by name in data.normalize, before rules judge and models learn it.

Each line by itself, so that it comes out alike alone and in company, in training and translation.
No normalizer makes a line feed, and all but `punctuation` leave alone what has been through them.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial

from seq2seq.errors import UserError

Normalize = Callable[[str], str]

INVISIBLE = dict.fromkeys(
    (0x200B, 0x2060, 0xFEFF)
)  # zero-width space, word joiner, byte order mark


def normalizer(names: Sequence[str], language: str) -> Normalize:
    """What normalizes text of a language (a code such as de) as the names say, in their order.

    Without names it is the identity. Raises a UserError if an extra is missing.
    """
    steps = [NORMALIZERS[name](language) for name in names]

    def normalize(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return normalize


def _whitespace(text: str) -> str:
    """Any run of white space, no-break or not, becomes one space; none is left at the ends."""
    if not text.isascii():
        text = text.translate(INVISIBLE)
    return " ".join(text.split())


def _punctuation(language: str) -> Normalize:
    """Moses's normalize-punctuation.perl: quotation marks, dashes, dots and brackets as in ASCII.

    Full-width signs stay; nfkc before it makes them ASCII. Its rule on numbers is left out: it
    writes 1 000 with a no-break space as 1.000 in English and 1,000 in German, which is one there.
    """
    try:
        from sacremoses import MosesPunctNormalizer
    except ImportError:
        raise UserError(
            "data.normalize: punctuation needs sacremoses; pip install 'seq2seq[moses]'"
        ) from None
    code = language.replace("_", "-").partition("-")[0].lower()  # de_DE is de
    return MosesPunctNormalizer(code, norm_numbers=False).normalize


NORMALIZERS: dict[str, Callable[[str], Normalize]] = {
    "nfc": lambda language: partial(unicodedata.normalize, "NFC"),
    "nfkc": lambda language: partial(unicodedata.normalize, "NFKC"),
    "whitespace": lambda language: _whitespace,
    "punctuation": _punctuation,
}
"""What each name in data.normalize makes of a language."""
