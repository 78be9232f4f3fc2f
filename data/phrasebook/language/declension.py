"""A page of German grammar: articles, the endings of adjectives, contractions.

The functions der, ein, kein, dieser, possessive and bare decline a noun, with an adjective if
there is one, and are named by how the phrase begins: der(jacket, ACCUSATIVE, red) is "die rote
Jacke".
"""

from __future__ import annotations

from language.nouns import Noun
from language.words import Word, rows

NOMINATIVE, ACCUSATIVE, DATIVE = "nominative", "accusative", "dative"

Declension = dict[tuple[str, str], str]  # from (case, gender)


def declension(table: str) -> Declension:
    (_, *genders), *cases = rows(table)
    return {
        (case, gender): form.strip("-")
        for case, *forms in cases
        for gender, form in zip(genders, forms, strict=True)
    }


DEFINITE_ARTICLE = declension("""
               | masculine | feminine | neuter | plural
    nominative | der       | die      | das    | die
    accusative | den       | die      | das    | die
    dative     | dem       | der      | dem    | den
""")

EIN_ENDINGS = declension("""
               | masculine | feminine | neuter | plural
    nominative | -         | -e       | -      | -e
    accusative | -en       | -e       | -      | -e
    dative     | -em       | -er      | -em    | -en
""")

# An adjective after der, die, das.
WEAK_ENDINGS = declension("""
               | masculine | feminine | neuter | plural
    nominative | -e        | -e       | -e     | -en
    accusative | -en       | -e       | -e     | -en
    dative     | -en       | -en      | -en    | -en
""")

# An adjective after ein, kein, mein: where these have no ending, it shows the gender.
MIXED_ENDINGS = declension("""
               | masculine | feminine | neuter | plural
    nominative | -er       | -e       | -es    | -en
    accusative | -en       | -e       | -es    | -en
    dative     | -en       | -en      | -en    | -en
""")

# An adjective that no article precedes; and dieser itself.
STRONG_ENDINGS = declension("""
               | masculine | feminine | neuter | plural
    nominative | -er       | -e       | -es    | -e
    accusative | -en       | -e       | -es    | -e
    dative     | -em       | -er      | -em    | -en
""")


def der(noun: Noun, case: str = NOMINATIVE, adjective: Word | None = None) -> str:
    return declined(DEFINITE_ARTICLE[case, noun.gender], noun, case, adjective, WEAK_ENDINGS)


def dieser(noun: Noun, case: str = NOMINATIVE, adjective: Word | None = None) -> str:
    article = "dies" + STRONG_ENDINGS[case, noun.gender]
    return declined(article, noun, case, adjective, WEAK_ENDINGS)


def possessive(owner: str, noun: Noun, case: str = NOMINATIVE) -> str:
    """The noun after mein, sein, ihr, unser, Ihr or kein."""
    return declined(owner + EIN_ENDINGS[case, noun.gender], noun, case, None, MIXED_ENDINGS)


def kein(noun: Noun, case: str = NOMINATIVE) -> str:
    return possessive("kein", noun, case)


def ein(noun: Noun, case: str = NOMINATIVE, adjective: Word | None = None) -> str:
    """The noun after ein; a plural has no such article."""
    if noun.gender == "plural":
        return bare(noun, case, adjective)
    article = "ein" + EIN_ENDINGS[case, noun.gender]
    return declined(article, noun, case, adjective, MIXED_ENDINGS)


def bare(noun: Noun, case: str = NOMINATIVE, adjective: Word | None = None) -> str:
    return declined("", noun, case, adjective, STRONG_ENDINGS)


def declined(
    article: str, noun: Noun, case: str, adjective: Word | None, endings: Declension
) -> str:
    described = adjective.german + endings[case, noun.gender] if adjective else ""
    return phrase(article, described, noun_form(noun, case))


def noun_form(noun: Noun, case: str) -> str:
    """The noun itself changes only in the dative plural: die Äpfel, mit den Äpfeln."""
    if case == DATIVE and noun.gender == "plural" and noun.german[-1] not in "ns":
        return noun.german + "n"
    return noun.german


CONTRACTIONS = {
    "an das": "ans",
    "an dem": "am",
    "in das": "ins",
    "in dem": "im",
    "von dem": "vom",
    "zu dem": "zum",
    "zu der": "zur",
}


def preposition(word: str, noun_phrase: str) -> str:
    article, _, rest = noun_phrase.partition(" ")
    return phrase(CONTRACTIONS.get(f"{word} {article}", f"{word} {article}"), rest)


def phrase(*parts: str) -> str:
    """The parts that are not empty, with spaces between."""
    return " ".join(part for part in parts if part)
