"""Patterns about shopping: food by the kilo, clothes by colour and size, and what things cost."""

from __future__ import annotations

from itertools import permutations, product

from language.clauses import BE, finite, present_english
from language.counting import count, number, price
from language.declension import ACCUSATIVE, DATIVE, NOMINATIVE, bare, der, dieser, ein
from language.english import a, described, the
from language.nouns import (
    BOTTLE,
    CLOTHES,
    DISHES,
    EGGS,
    FOODS,
    JUICE,
    KILO,
    MILK,
    PRODUCE,
    STARTERS,
    WATER,
    WINE,
)
from language.people import (
    ME,
    MY_RELATIVES,
    PERSONAL_PRONOUN,
    SPEAKERS,
    SUBJECTS,
    WE,
    it_english,
)
from language.words import (
    AGES,
    COLOURS,
    COMPARATIVES,
    FRESH,
    FRESHNESS,
    ITALIAN,
    PAST,
    SIZES,
    WARM,
    words,
)

from patterns import Pairs

FAULTS = words("""
    too big       | zu groß
    too expensive | zu teuer
    too small     | zu klein
    too warm      | zu warm
""")

# Food ------------------------------------------------------------------------------------------


def fresh_food() -> Pairs:
    """Where can I buy fresh bread?"""
    frames = words("""
        do you have          | haben Sie
        where can I buy      | wo kann ich
        where can we buy     | wo können wir
        I am looking for     | ich suche
        we are looking for   | wir suchen
        I need               | ich brauche
        we need              | wir brauchen
    """)
    for frame, food, quality in product(frames, [*FOODS, *PRODUCE, EGGS], FRESHNESS):
        german = bare(food, ACCUSATIVE, quality)
        verb = " kaufen" if "buy" in frame.english else ""
        mark = "." if frame.english.startswith(("I", "we")) else "?"
        yield (
            f"{frame.english} {described(food, quality)}{mark}",
            f"{frame.german} {german}{verb}{mark}",
        )


def with_fresh_food() -> Pairs:
    """The soup with fresh bread costs four euros fifty."""
    sides = [food for food in [*FOODS, *PRODUCE] if food.english in {"bread", "cheese", "potatoes"}]
    for dish, side, quality, euros, cents in product(
        [*DISHES, *STARTERS], sides, [FRESH, ITALIAN], range(4, 20), CENTS
    ):
        english, german = price(euros, cents)
        yield (
            f"{the(dish)} with {described(side, quality)} costs {english}",
            f"{der(dish)} mit {bare(side, DATIVE, quality)} kostet {german}",
        )


def amounts() -> Pairs:
    """I need two kilos of tomatoes and a bottle of milk."""
    frames = words("""
        I would like   | ich möchte
        we would like  | wir möchten
        I need         | ich brauche
        we need        | wir brauchen
    """)
    for frame, kilos, food, bottles, drink in product(
        frames, range(1, 11), PRODUCE, range(1, 7), (JUICE, MILK, WATER, WINE)
    ):
        weight, volume = count(kilos, KILO, ACCUSATIVE), count(bottles, BOTTLE, ACCUSATIVE)
        yield (
            f"{frame.english} {weight.english} of {food.english}"
            f" and {volume.english} of {drink.english}",
            f"{frame.german} {weight.german} {food.german} und {volume.german} {drink.german}",
        )


CENTS = [0, *range(10, 100, 10)]


def food_prices() -> Pairs:
    """A kilo of apples costs two euros eighty."""
    for food, euros, cents in product(PRODUCE, range(1, 10), CENTS):
        english, german = price(euros, cents)
        yield (
            f"a kilo of {food.english} costs {english}",
            f"ein Kilo {food.german} kostet {german}",
        )


# Clothes ---------------------------------------------------------------------------------------


def prices_asked_for() -> Pairs:
    """How much are the brown shoes?"""
    for item, look in product(CLOTHES, [*COLOURS, *AGES, *SIZES, WARM]):
        yield (
            f"how much {BE[item.form]} {the(item, look)}?",
            f"was {finite('kosten', item.form)} {der(item, NOMINATIVE, look)}?",
        )


def prices_told() -> Pairs:
    """The red jacket costs forty-nine euros."""
    for item, colour, euros in product(CLOTHES, COLOURS, range(10, 50)):
        english, german = price(euros)
        yield (
            f"{the(item, colour)} {present_english('cost', item.form)} {english}",
            f"{der(item, NOMINATIVE, colour)} {finite('kosten', item.form)} {german}",
        )


def looking_for() -> Pairs:
    """I am looking for a warm jacket for my daughter."""
    for_everyone = [item for item in CLOTHES if item.english not in {"dress", "skirt"}]
    for buyer, person, item, look in product(
        (ME, WE), MY_RELATIVES, for_everyone, [*COLOURS, *AGES, *SIZES, WARM]
    ):
        yield (
            f"{buyer.english} {BE[buyer.form]} looking for {a(item, look)} for {person.object}",
            f"{buyer.german} {finite('suchen', buyer.form)} {ein(item, ACCUSATIVE, look)}"
            f" für {person.accusative}",
        )


def in_another_size() -> Pairs:
    """Do you have this jacket in size forty-two?"""
    sized = [item for item in CLOTHES if item.english not in {"hat", "gloves"}]
    for item, colour, size in product(sized, [None, *COLOURS], range(34, 49)):
        english, german = number(size)
        this = "these" if item.gender == "plural" else "this"
        yield (
            f"do you have {this} {described(item, colour)} in size {english}?",
            f"haben Sie {dieser(item, ACCUSATIVE, colour)} in Größe {german}?",
        )


def likings() -> Pairs:
    """My wife likes the red jacket better than the blue one."""
    for person, item, (one, other) in product(SPEAKERS, CLOTHES, permutations(COLOURS, 2)):
        elided = der(item, NOMINATIVE, other).rpartition(" ")[0]
        yield (
            f"{person.english} {present_english('like', person.form)} {the(item, one)}"
            f" better than the {other.english} {'ones' if item.gender == 'plural' else 'one'}",
            f"{person.dative} {finite('gefallen', item.form)} {der(item, NOMINATIVE, one)}"
            f" besser als {elided}",
        )


def comparisons() -> Pairs:
    """The red jacket is cheaper than the blue coat."""
    for (one, other), comparative, colour, shade in product(
        permutations(CLOTHES, 2), COMPARATIVES, COLOURS, COLOURS
    ):
        yield (
            f"{the(one, colour)} {BE[one.form]} {comparative.english} than {the(other, shade)}",
            f"{der(one, NOMINATIVE, colour)} {finite('sein', one.form)} {comparative.german}"
            f" als {der(other, NOMINATIVE, shade)}",
        )


def bad_buys() -> Pairs:
    """My brother bought the jacket last week, but it is too small."""
    for person, item, time, fault, colour in product(SUBJECTS, CLOTHES, PAST, FAULTS, COLOURS):
        pronoun = PERSONAL_PRONOUN[item.gender]
        yield (
            f"{person.english} bought {the(item, colour)} {time.english},"
            f" but {it_english(item)} {BE[item.form]} {fault.english}",
            f"{person.german} {finite('haben', person.form)} {time.german}"
            f" {der(item, ACCUSATIVE, colour)} gekauft,"
            f" aber {pronoun.german} {finite('sein', item.form)} {fault.german}",
        )


def relative_clauses() -> Pairs:
    """The jacket that my brother bought yesterday is too small."""
    for person, item, time, fault in product(SUBJECTS, CLOTHES, PAST, FAULTS):
        that = der(item, ACCUSATIVE).split()[0]
        yield (
            f"{the(item)} that {person.english} bought {time.english}"
            f" {BE[item.form]} {fault.english}",
            f"{der(item)}, {that} {person.german} {time.german} gekauft"
            f" {finite('haben', person.form)}, {finite('sein', item.form)} {fault.german}",
        )


PATTERNS = [
    fresh_food,
    with_fresh_food,
    amounts,
    food_prices,
    prices_asked_for,
    prices_told,
    looking_for,
    in_another_size,
    likings,
    comparisons,
    bad_buys,
    relative_clauses,
]
