"""The rules that decide which training pairs are kept, each a function in FILTERS.

A rule sees one pair at a time, after normalization, and answers alike wherever and however often
it is asked. `duplicates` alone remembers, so it stands apart: a hash of every pair, and a function
that finds the first of each.

The rules are those of the field's cleaners: Moses's clean-corpus-n.perl, Bicleaner-hardrules
(Sánchez-Cartagena et al. 2018, https://aclanthology.org/W18-6488) and OpusFilter (Aulamo et al.
2020, https://aclanthology.org/2020.acl-demos.20). A side that has nothing to judge, such as a share
of letters where there are no characters, is kept: only `empty` drops what is empty.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from seq2seq.config import rules
from seq2seq.config.section import Section
from seq2seq.data.inspection import (
    UNITS,
    brackets,
    count_letters,
    figures,
    foreign_letters,
    has_control,
    has_markup,
    is_visible,
)
from seq2seq.errors import UserError
from seq2seq.text.languages import closest_code

Keeps = Callable[[str, str], bool]  # source, target -> whether the pair is kept
Languages = tuple[str, str]  # of source and target


def _empty(rule: rules.Empty, languages: Languages) -> Keeps:
    return lambda source, target: is_visible(source) and is_visible(target)


def _length(rule: rules.Length, languages: Languages) -> Keeps:
    count, least, most = UNITS[rule.unit], rule.min, rule.max
    return lambda source, target: least <= count(source) <= most and least <= count(target) <= most


def _ratio(rule: rules.Ratio, languages: Languages) -> Keeps:
    """Of two empty sides none is longer; beside one empty side, any other is too long."""
    count, most = UNITS[rule.unit], rule.max

    def keeps(source: str, target: str) -> bool:
        one, other = count(source), count(target)
        shorter, longer = (one, other) if one < other else (other, one)
        return longer / shorter <= most if shorter else not longer

    return keeps


def _identical(rule: rules.Identical, languages: Languages) -> Keeps:
    """Neither case nor spaces make a difference."""

    def keeps(source: str, target: str) -> bool:
        source, target = source.casefold().strip(), target.casefold().strip()
        return source[:1] != target[:1] or source.split() != target.split()  # most differ at once

    return keeps


def _letters(rule: rules.Letters, languages: Languages) -> Keeps:
    least = rule.min

    def passes(text: str) -> bool:
        letters = count_letters(text)
        if letters and letters / len(text) >= least:  # so all the more without the spaces
            return True
        characters = sum(map(len, text.split()))
        return not characters or letters / characters >= least

    return lambda source, target: passes(source) and passes(target)


def _script(rule: rules.Script, languages: Languages) -> Keeps:
    least = rule.min

    def passes(text: str, foreign: Callable[[str], int]) -> bool:
        if not (others := foreign(text)):
            return True
        letters = count_letters(text)
        return (letters - others) / letters >= least

    try:
        in_source, in_target = foreign_letters(rule.source), foreign_letters(rule.target)
    except ValueError as error:
        raise UserError(
            f"the rule script: {error} is no script of Unicode; Japanese is in Han, Hiragana and "
            "Katakana, Korean in Hangul; others are Latin, Cyrillic, Greek, Arabic, Hebrew, "
            "Devanagari, Bengali, Tamil, Thai, Armenian, Georgian, Ethiopic"
        ) from None
    return lambda source, target: passes(source, in_source) and passes(target, in_target)


def _numbers(rule: rules.Numbers, languages: Languages) -> Keeps:
    """Compares figures, in any order. It cannot read words: `two` is not 2, 1 million not 1,000,000
    and 3 pm not 15:00, so the rule is for text that has its numbers in figures on both sides.
    """
    return lambda source, target: figures(source) == figures(target)


def _brackets(rule: rules.Brackets, languages: Languages) -> Keeps:
    return lambda source, target: brackets(source) == brackets(target)


def _markup(rule: rules.Markup, languages: Languages) -> Keeps:
    return lambda source, target: not (has_markup(source) or has_markup(target))


def _control(rule: rules.Control, languages: Languages) -> Keeps:
    return lambda source, target: not (has_control(source) or has_control(target))


@cache
def _identifier() -> Any:
    """py3langid's (Lui and Baldwin 2012, https://aclanthology.org/P12-3005), model included."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "the rule language needs py3langid; pip install 'seq2seq[language]'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _language(rule: rules.Language, languages: Languages) -> Keeps:
    """The probability is over all languages that the model knows, not over the two."""
    identifier, least, shortest = _identifier(), rule.min, rule.min_characters
    found = []
    for language in rule.languages or languages:
        code = closest_code(language, identifier.labels)
        if code is None:
            raise UserError(
                f"the rule language does not know {language}; give it languages: [source, target], "
                f"two of these codes: {', '.join(sorted(identifier.labels))}"
            )
        found.append(code)
    source_language, target_language = found

    def passes(text: str, language: str) -> bool:
        if len(text.strip()) < shortest:
            return True
        best, probability = identifier.classify(text)
        if best == language:
            return probability >= least
        # What is not the best has no more than the best has, and no more than it leaves.
        if min(probability, 1 - probability) < least:
            return False
        return dict(identifier.rank(text))[language] >= least

    return lambda source, target: (
        passes(source, source_language) and passes(target, target_language)
    )


FILTERS: dict[str, Callable[[Any, Languages], Keeps]] = {
    "empty": _empty,
    "length": _length,
    "ratio": _ratio,
    "identical": _identical,
    "letters": _letters,
    "script": _script,
    "numbers": _numbers,
    "brackets": _brackets,
    "markup": _markup,
    "control": _control,
    "language": _language,
}
"""Every rule but `duplicates`: its section and the languages of data.source and data.target make a
function that tells whether a pair is kept. Making it raises a UserError for a script or language
that does not exist, and for an extra that is missing.
"""


def description(rule: Section) -> str:
    """A rule as reports show it, with all its parameters, such as `length (max 100 words)`."""
    match rule:
        case rules.Length(min=1):
            details = f"max {rule.max} {rule.unit}"
        case rules.Length():
            details = f"{rule.min} to {rule.max} {rule.unit}"
        case rules.Ratio():
            details = f"max {rule.max:g} in {rule.unit}"
        case rules.Duplicates():
            return f"duplicates of {rule.of}"
        case rules.Letters():
            details = f"min {rule.min:g}"
        case rules.Script():
            sides = (" or ".join(scripts) for scripts in (rule.source, rule.target))
            details = f"{', '.join(sides)}, min {rule.min:g}"
        case rules.Language():
            named = [*(rule.languages or []), f"min {rule.min:g}"]
            details = f"{', '.join(named)} from {rule.min_characters} characters"
        case _:
            return getattr(rule, "rule", "")
    return f"{getattr(rule, 'rule', '')} ({details})"


BORDER = b"\xff"  # never in UTF-8


def fingerprints(of: str) -> Callable[[str, str], int]:
    """A function that gives a pair 64 bits by its `pair`, `source` or `target`, the same anywhere.

    Two texts may have the same by chance. Among n different ones, n * n / 2 ** 65 are expected to
    be taken for duplicates: 0.00007 of 50 million, 0.03 of a billion.
    """
    if of == "source":
        return lambda source, target: _hash(_bytes(source))
    if of == "target":
        return lambda source, target: _hash(_bytes(target))
    return lambda source, target: _hash(_bytes(source) + BORDER + _bytes(target))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


BLOCK = 1 << 20


def first_of_each(hashes: np.ndarray) -> np.ndarray:
    """Marks the first of equal hashes (n, uint64), in order: (n, bool).

    Beside the hashes it needs 13 bytes of memory for each: their order, half as much again to sort
    it, and the mark.
    """
    order = np.argsort(hashes, kind="stable")
    first = np.ones(len(hashes), dtype=bool)
    for start in range(1, len(order), BLOCK):
        here = order[start : start + BLOCK]
        before = order[start - 1 : start - 1 + len(here)]
        first[here[hashes[here] == hashes[before]]] = False
    return first
