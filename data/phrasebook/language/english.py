"""English articles, and the nouns that follow them."""

from __future__ import annotations

from language.nouns import Noun
from language.words import Word


def described(noun: Noun, adjective: Word | None = None) -> str:
    return f"{adjective.english} {noun.english}" if adjective else noun.english


def the(noun: Noun, adjective: Word | None = None) -> str:
    return f"the {described(noun, adjective)}"


def a(noun: Noun, adjective: Word | None = None) -> str:
    """The noun after a or an; a plural has no such article."""
    text = described(noun, adjective)
    if noun.gender == "plural":
        return text
    sounds_like_vowel = text[0] in "aeiou" or text.startswith("hour")
    return f"{'an' if sounds_like_vowel else 'a'} {text}"
