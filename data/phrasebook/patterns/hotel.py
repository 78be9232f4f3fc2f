"""Patterns about hotels and restaurants: booking, ordering, and what is missing or broken."""

from __future__ import annotations

from itertools import permutations, product

from language.clauses import DO, finite, present_english
from language.counting import clock_times, count, number
from language.declension import ACCUSATIVE, DATIVE, der, ein, kein
from language.english import a, the
from language.nouns import (
    APPLIANCES,
    BEER,
    BOTTLE,
    COFFEE,
    CUP,
    DISHES,
    DRINKS,
    EGGS,
    FOODS,
    GLASS,
    JUICE,
    MILK,
    NIGHT,
    PERSON,
    PRODUCE,
    ROOM,
    ROOM_FEATURES,
    STARTERS,
    TABLEWARE,
    TEA,
    WATER,
    WINE,
    Noun,
)
from language.people import SPEAKERS, SUBJECTS
from language.words import CLEAN, ON_WEEKDAYS, ROOM_QUALITY, SIZES, TOMORROW, Word, words

from patterns import Pairs

ORDERS = words("""
    I would like  | ich möchte
    we would like | wir möchten
    we need       | wir brauchen
    I need        | ich brauche
""")
WISHES = ORDERS[:2]

# Rooms -----------------------------------------------------------------------------------------


def rooms_wanted() -> Pairs:
    """Do you have a quiet room with a small balcony for two nights?"""
    for quality, feature, size, nights in product(ROOM_QUALITY, ROOM_FEATURES, SIZES, range(2, 15)):
        english, german = count(nights, NIGHT, ACCUSATIVE)
        yield (
            f"do you have {a(ROOM, quality)} with {a(feature, size)} for {english}?",
            f"haben Sie für {german} {ein(ROOM, ACCUSATIVE, quality)}"
            f" mit {ein(feature, DATIVE, size)}?",
        )


def rooms_booked() -> Pairs:
    """We would like to book a quiet room for two people and three nights."""
    for wish, quality, people, nights in product(WISHES, ROOM_QUALITY, range(2, 7), range(2, 15)):
        for_people, for_nights = count(people, PERSON, ACCUSATIVE), count(nights, NIGHT, ACCUSATIVE)
        yield (
            f"{wish.english} to book {a(ROOM, quality)}"
            f" for {for_people.english} and {for_nights.english}",
            f"{wish.german} {ein(ROOM, ACCUSATIVE, quality)}"
            f" für {for_people.german} und {for_nights.german} buchen",
        )


def faults() -> Pairs:
    """The heating in room thirty-four does not work."""
    problems = words("""
        is broken     | ist kaputt
        does not work | funktioniert nicht
        is too loud   | ist zu laut
    """)
    for appliance, room, problem in product(APPLIANCES, range(1, 50), problems):
        if (appliance.english, problem.english) != ("lamp", "is too loud"):
            english, german = number(room)
            yield (
                f"{the(appliance)} in room {english} {problem.english}",
                f"{der(appliance)} in Zimmer {german} {problem.german}",
            )


def bring_me() -> Pairs:
    """Could you bring my mother a clean knife, please?"""
    for person, thing, quality in product(SPEAKERS, TABLEWARE, [None, CLEAN, *SIZES]):
        yield (
            f"could you bring {person.object} {a(thing, quality)}, please?",
            f"könnten Sie {person.dative} bitte {ein(thing, ACCUSATIVE, quality)} bringen?",
        )


def things_missing() -> Pairs:
    """We need three clean towels."""
    for order, thing, pieces in product(ORDERS, TABLEWARE, range(2, 13)):
        assert thing.plural
        english, german = number(pieces)
        yield (
            f"{order.english} {english} {a(thing.plural, CLEAN)}",
            f"{order.german} {german} {ein(thing.plural, ACCUSATIVE, CLEAN)}",
        )


def meal_times() -> Pairs:
    """Breakfast is from seven o'clock to half past nine."""
    meals = {
        Word("breakfast", "Frühstück"): (clock_times(6, 8), clock_times(9, 11)),
        Word("lunch", "Mittagessen"): (clock_times(11, 13), clock_times(1, 3)),
        Word("dinner", "Abendessen"): (clock_times(5, 7), clock_times(8, 10)),
    }
    for meal, hours in meals.items():
        for start, end in product(*hours):
            yield (
                f"{meal.english} is from {start.english} to {end.english}",
                f"{meal.german} gibt es von {start.german} bis {end.german}",
            )


# Restaurants -----------------------------------------------------------------------------------

SERVINGS = [
    *((CUP, drink) for drink in (COFFEE, TEA)),
    *((GLASS, drink) for drink in (JUICE, MILK, WATER, WINE)),
    *((BOTTLE, drink) for drink in (BEER, WATER, WINE)),
]


def serving(number_of: int, vessel: Noun, drink: Noun) -> Word:
    """Two cups of coffee | zwei Tassen Kaffee."""
    english, german = count(number_of, vessel, ACCUSATIVE)
    return Word(f"{english} of {drink.english}", f"{german} {drink.german}")


def tables_reserved() -> Pairs:
    """We would like to reserve a table for four people on Friday at half past seven."""
    for wish, people, day, time in product(
        WISHES, range(2, 11), [*ON_WEEKDAYS, TOMORROW], clock_times(5, 10)
    ):
        english, german = count(people, PERSON, ACCUSATIVE)
        yield (
            f"{wish.english} to reserve a table for {english} {day.english} at {time.english}",
            f"{wish.german} {day.german} um {time.german} einen Tisch für {german} reservieren",
        )


def drinks_ordered() -> Pairs:
    """We would like a cup of coffee and two glasses of water, please."""
    amounts = [serving(n, *what) for n, what in product(range(1, 5), SERVINGS)]
    for wish, one, other in product(WISHES, amounts, amounts):
        if one.english.split()[-1] != other.english.split()[-1]:
            yield (
                f"{wish.english} {one.english} and {other.english}, please",
                f"{wish.german} bitte {one.german} und {other.german}",
            )


def extras() -> Pairs:
    """I would like two cups of tea with milk and without sugar."""
    additions = words("""
        with milk and sugar        | mit Milch und Zucker
        with milk                  | mit Milch
        with sugar                 | mit Zucker
        without milk               | ohne Milch
        without sugar              | ohne Zucker
        with milk and without sugar | mit Milch und ohne Zucker
    """)
    for wish, drink, number_of, addition in product(WISHES, (COFFEE, TEA), range(1, 7), additions):
        english, german = serving(number_of, CUP, drink)
        yield (
            f"{wish.english} {english} {addition.english}",
            f"{wish.german} {german} {addition.german}",
        )


def dishes_ordered() -> Pairs:
    """My wife will have the fish with potatoes and a glass of wine."""
    guests = [person for person in SPEAKERS if person.english not in {"my son", "my daughter"}]
    sides = words("""
        bread      | Brot
        potatoes   | Kartoffeln
        rice       | Reis
        salad      | Salat
        vegetables | Gemüse
    """)
    for person, dish, side, (vessel, drink) in product(guests, DISHES, sides, SERVINGS):
        english, german = serving(1, vessel, drink)
        yield (
            f"{person.english} will have {the(dish)} with {side.english} and {english}",
            f"{person.german} {finite('nehmen', person.form)} {der(dish, ACCUSATIVE)}"
            f" mit {side.german} und {german}",
        )


def praise_and_blame() -> Pairs:
    """The soup was very good, but the coffee was too cold."""
    praises = words("""
        delicious | lecker
        excellent | ausgezeichnet
        very good | sehr gut
    """)
    too_cold, too_warm, too_expensive = words("""
        too cold      | zu kalt
        too warm      | zu warm
        too expensive | zu teuer
    """)
    for dish, drink, praise in product([*DISHES, *STARTERS], DRINKS, praises):
        for fault in (too_cold if drink in (COFFEE, TEA) else too_warm, too_expensive):
            yield (
                f"{the(dish)} was {praise.english}, but {the(drink)} was {fault.english}",
                f"{der(dish)} war {praise.german}, aber {der(drink)} war {fault.german}",
            )


def likings() -> Pairs:
    """My mother prefers tea to coffee."""
    for person, (one, other) in product(
        SUBJECTS, permutations((COFFEE, TEA, JUICE, MILK, WATER), 2)
    ):
        yield (
            f"{person.english} {present_english('prefer', person.form)}"
            f" {one.english} to {other.english}",
            f"{person.german} {finite('trinken', person.form)}"
            f" lieber {one.german} als {other.german}",
        )


def aversions() -> Pairs:
    """My daughter does not eat meat, but she likes cheese."""
    foods = [*FOODS, *PRODUCE, EGGS]
    for person, (one, other) in product(SUBJECTS, permutations(foods, 2)):
        yield (
            f"{person.english} {DO[person.form]} not eat {one.english},"
            f" but {person.pronoun.english} {present_english('like', person.form)} {other.english}",
            f"{person.german} {finite('essen', person.form)} {kein(one, ACCUSATIVE)},"
            f" aber {person.pronoun.german} {finite('mögen', person.form)} {other.german}",
        )


PATTERNS = [
    rooms_wanted,
    rooms_booked,
    faults,
    bring_me,
    things_missing,
    meal_times,
    tables_reserved,
    drinks_ordered,
    extras,
    dishes_ordered,
    praise_and_blame,
    likings,
    aversions,
]
