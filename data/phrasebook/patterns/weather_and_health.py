"""Patterns about the weather, and about what hurts."""

from __future__ import annotations

from itertools import permutations, product

from language.clauses import HAVE, finite
from language.counting import count
from language.declension import DATIVE, NOMINATIVE, der
from language.nouns import (
    BODY_PAIRS,
    DAY,
)
from language.people import (
    SINGLE_RELATIVES,
    SUBJECTS,
)
from language.words import (
    CITIES,
    MONTHS,
    ON_WEEKDAYS,
    WEATHER,
    WEEKDAYS,
    words,
)

from patterns import Pairs

# Weather ---------------------------------------------------------------------------------------


def weather_then() -> Pairs:
    """Yesterday it was cold and windy in Hamburg."""
    for time, city, (one, other) in product(THEN, CITIES, permutations(WEATHER, 2)):
        if {one.english, other.english} != {"cold", "warm"}:
            yield (
                f"{time.english} it was {one.english} and {other.english} in {city.english}",
                f"{time.german} war es in {city.german} {one.german} und {other.german}",
            )


THEN = [
    *words("""
        yesterday | gestern
        last week | letzte Woche
    """),
    *ON_WEEKDAYS,
]


def forecasts() -> Pairs:
    """Tomorrow it will be sunny in Vienna."""
    for time, city, weather in product(SOON, CITIES, WEATHER):
        yield (
            f"{time.english} it will be {weather.english} in {city.english}",
            f"{time.german} wird es in {city.german} {weather.german}",
        )


SOON = [*words("""
    tomorrow               | morgen
    the day after tomorrow | übermorgen
"""), *ON_WEEKDAYS]  # fmt: skip


def climates() -> Pairs:
    """In July it is warmer in Vienna than in Hamburg."""
    comparatives = words("""
        colder | kälter
        warmer | wärmer
    """)
    for month, comparative, (one, other) in product(MONTHS, comparatives, permutations(CITIES, 2)):
        yield (
            f"in {month.english} it is {comparative.english} in {one.english}"
            f" than in {other.english}",
            f"im {month.german} ist es in {one.german} {comparative.german} als in {other.german}",
        )


# Health ----------------------------------------------------------------------------------------


def illnesses() -> Pairs:
    """My son has had a headache for three days."""
    for person, ailment, days in product(SUBJECTS, AILMENTS, range(2, 13)):
        english, german = count(days, DAY, DATIVE)
        yield (
            f"{person.english} {HAVE[person.form]} had {ailment.english} for {english}",
            f"{person.german} {finite('haben', person.form)} seit {german} {ailment.german}",
        )


AILMENTS = words("""
    a cold         | eine Erkältung
    a cough        | Husten
    a headache     | Kopfschmerzen
    a stomach ache | Bauchschmerzen
    a temperature  | Fieber
""")


def complaints() -> Pairs:
    """My son cannot go to work because he has a headache."""
    plans = words("""
        come  | kommen
        sleep | schlafen
        work  | arbeiten
    """)
    for person, plan, ailment in product(SUBJECTS, plans, AILMENTS):
        yield (
            f"{person.english} cannot {plan.english} because"
            f" {person.pronoun.english} {HAVE[person.form]} {ailment.english}",
            f"{person.german} {finite('können', person.form)} nicht {plan.german},"
            f" weil {person.pronoun.german} {ailment.german} {finite('haben', person.form)}",
        )


def pains() -> Pairs:
    """My daughter's left knee hurts."""
    sides = words("""
        left  | link
        right | recht
    """)
    for person, side, part in product(SINGLE_RELATIVES, sides, BODY_PAIRS):
        yield (
            f"{person.english}'s {side.english} {part.english} hurts",
            f"{person.dative} tut {der(part, NOMINATIVE, side)} weh",
        )
    for side, part, day in product(sides, BODY_PAIRS, WEEKDAYS):
        yield (
            f"my {side.english} {part.english} has hurt since {day.english}",
            f"mir tut seit {day.german} {der(part, NOMINATIVE, side)} weh",
        )


PATTERNS = [
    weather_then,
    forecasts,
    climates,
    illnesses,
    complaints,
    pains,
]
