"""Patterns about people: names, languages, families, work, and how they live."""

from __future__ import annotations

from itertools import permutations, product

from language.clauses import DO, HAVE, finite, present_english
from language.counting import count
from language.declension import ACCUSATIVE, DATIVE, ein
from language.english import a
from language.nouns import (
    DAUGHTER,
    HOMES,
    ROOM_FEATURES,
    SON,
    YEAR,
)
from language.people import (
    ASKED,
    SINGLE_RELATIVES,
    SUBJECTS,
)
from language.words import (
    AGES,
    CITIES,
    FIRST_NAMES,
    LANGUAGES,
    LAST_NAMES,
    QUALITY,
    SIZES,
    rows,
    words,
)

from patterns import Pairs

TITLES = words("""
    Mr  | Herr
    Mrs | Frau
""")

# Names and families ----------------------------------------------------------------------------


def greetings() -> Pairs:
    """Good morning, Mrs Weber."""
    phrases = words("""
        good evening        | guten Abend
        good morning        | guten Morgen
        good night          | gute Nacht
        goodbye             | auf Wiedersehen
        hello               | hallo
        see you tomorrow    | bis morgen
        thank you very much | vielen Dank
    """)
    for hello in phrases:
        if " " in hello.english:
            yield hello
    for hello, title, name in product(phrases, TITLES, LAST_NAMES):
        yield (
            f"{hello.english}, {title.english} {name}",
            f"{hello.german}, {title.german} {name}",
        )


def introductions() -> Pairs:
    """My name is Anna Weber and I come from Berlin."""
    for first, last, city in product(FIRST_NAMES, LAST_NAMES, CITIES):
        yield (
            f"my name is {first} {last} and I come from {city.english}",
            f"ich heiße {first} {last} und komme aus {city.german}",
        )


def origins() -> Pairs:
    """Mrs Weber comes from Hamburg, but she lives in Vienna."""
    for title, name, (origin, home) in product(TITLES, LAST_NAMES, permutations(CITIES, 2)):
        she, sie = ("he", "er") if title.english == "Mr" else ("she", "sie")
        yield (
            f"{title.english} {name} comes from {origin.english},"
            f" but {she} lives in {home.english}",
            f"{title.german} {name} kommt aus {origin.german}, aber {sie} wohnt in {home.german}",
        )


def languages() -> Pairs:
    """My brother speaks a little German."""
    for person, language in product(SUBJECTS, LANGUAGES):
        english = f"{person.english} {present_english('speak', person.form)}"
        german = f"{person.german} {finite('sprechen', person.form)}"
        yield f"{english} {language.english}", f"{german} {language.german}"
        yield f"{english} a little {language.english}", f"{german} ein wenig {language.german}"
        yield f"{english} {language.english} very well", f"{german} sehr gut {language.german}"
        yield (
            f"{person.english} {DO[person.form]} not speak {language.english}",
            f"{german} kein {language.german}",
        )


def languages_asked_for() -> Pairs:
    """Does your wife speak Italian?"""
    for person, language in product(ASKED, LANGUAGES):
        yield (
            f"{DO[person.form]} {person.english} speak {language.english}?",
            f"{finite('sprechen', person.form)} {person.german} {language.german}?",
        )


JOBS = rows("""
    teacher  | Lehrer  | Lehrerin
    doctor   | Arzt    | Ärztin
    cook     | Koch    | Köchin
    student  | Student | Studentin
    gardener | Gärtner | Gärtnerin
""")


def jobs() -> Pairs:
    """My sister is a teacher in Hamburg."""
    for person, (job, masculine, feminine), city in product(SINGLE_RELATIVES, JOBS, CITIES):
        german_job = feminine if person.pronoun.german == "sie" else masculine
        yield (
            f"{person.english} is a {job} in {city.english}",
            f"{person.german} ist {german_job} in {city.german}",
        )


AGE_RANGES = {
    "my son": (2, 20),
    "my daughter": (2, 20),
    "my father": (40, 50),
    "my mother": (40, 50),
}


def ages() -> Pairs:
    """My brother is thirty-four years old."""
    for person, age in product(SINGLE_RELATIVES, range(2, 50)):
        first, last = AGE_RANGES.get(person.english, (20, 50))
        if first <= age < last:
            english, german = count(age, YEAR)
            yield f"{person.english} is {english} old", f"{person.german} ist {german} alt"


def children() -> Pairs:
    """My brother has two sons and a daughter."""
    for person, sons, daughters in product(SUBJECTS, range(1, 7), range(1, 7)):
        if person.english not in {"my son", "my daughter", "my husband", "my wife"}:
            boys, girls = count(sons, SON, ACCUSATIVE), count(daughters, DAUGHTER, ACCUSATIVE)
            yield (
                f"{person.english} {HAVE[person.form]} {boys.english} and {girls.english}",
                f"{person.german} {finite('haben', person.form)} {boys.german} und {girls.german}",
            )


def homes() -> Pairs:
    """My parents have an old house with a big kitchen."""
    for person, home, quality, feature, size in product(
        SUBJECTS, HOMES, [*AGES, *QUALITY], ROOM_FEATURES, SIZES
    ):
        yield (
            f"{person.english} {HAVE[person.form]} {a(home, quality)} with {a(feature, size)}",
            f"{person.german} {finite('haben', person.form)} {ein(home, ACCUSATIVE, quality)}"
            f" mit {ein(feature, DATIVE, size)}",
        )


PATTERNS = [
    greetings,
    introductions,
    origins,
    languages,
    languages_asked_for,
    jobs,
    ages,
    children,
    homes,
]
