"""Patterns about things: where they are, who put them there, and who lost them."""

from __future__ import annotations

from itertools import product

from language.clauses import finite, past_english
from language.declension import ACCUSATIVE, DATIVE, NOMINATIVE, der, possessive, preposition
from language.english import the
from language.nouns import (
    BED,
    BELONGINGS,
    CHAIR,
    DOOR,
    FURNITURE,
    INDOORS,
    LYING,
    MAN,
    STANDING,
    TABLE,
    WINDOW,
    WOMAN,
)
from language.people import (
    HE,
    ME,
    PERSONAL_PRONOUN,
    SHE,
    SINGLE_RELATIVES,
    SUBJECTS,
    WE,
)
from language.words import (
    AGES,
    COLOURS,
    SIZES,
    words,
)

from patterns import Pairs

BESIDE = words("""
    behind      | hinter
    in front of | vor
    next to     | neben
""")
ON, UNDER = words("""
    on    | auf
    under | unter
""")
SPOTS = [
    *product([ON, UNDER], [BED, CHAIR, TABLE]),
    *product(BESIDE, [*FURNITURE, DOOR, WINDOW]),
]


def where_things_are() -> Pairs:
    """The book is under the table. (In German it lies there, and a bottle stands.)"""
    for verb, things in (("liegt", LYING), ("steht", STANDING)):
        for thing, age, (spot, place) in product(things, [None, *AGES, *SIZES], SPOTS):
            yield (
                f"{the(thing, age)} is {spot.english} {the(place)}",
                f"{der(thing, NOMINATIVE, age)} {verb} {spot.german} {der(place, DATIVE)}",
            )


def where_to_put_things() -> Pairs:
    """Please put the book under the table."""
    for verb, things in (("legen", LYING), ("stellen", STANDING)):
        for thing, age, (spot, place) in product(things, [None, *AGES, *SIZES], SPOTS):
            yield (
                f"please put {the(thing, age)} {spot.english} {the(place)}",
                f"bitte {verb} Sie {der(thing, ACCUSATIVE, age)}"
                f" {spot.german} {der(place, ACCUSATIVE)}",
            )


def who_is_who() -> Pairs:
    """The woman who is sitting next to the door is my sister."""
    actions = words("""
        sitting  | sitzt
        standing | steht
        waiting  | wartet
    """)
    spots = product(BESIDE[1:], [BED, TABLE, DOOR, WINDOW])
    for person, action, (spot, thing) in product(SINGLE_RELATIVES, actions, spots):
        kind = WOMAN if person.pronoun.german == "sie" else MAN
        who = der(kind).split()[0]
        yield (
            f"{the(kind)} who is {action.english} {spot.english} {the(thing)} is {person.english}",
            f"{der(kind)}, {who} {spot.german} {der(thing, DATIVE)} {action.german},"
            f" ist {person.german}",
        )


def lost_and_found() -> Pairs:
    """My wife lost her umbrella in the theatre yesterday."""
    verbs = words("""
        lose   | verloren
        forget | vergessen
        find   | gefunden
    """)
    for person, (english, german), thing, place, time in product(
        SUBJECTS, verbs, BELONGINGS, INDOORS, YESTERDAY
    ):
        her, ihr = person.owner
        yield (
            f"{person.english} {past_english(english)} {her} {thing.english} in {the(place)}"
            f" {time.english}",
            f"{person.german} {finite('haben', person.form)} {time.german}"
            f" {possessive(ihr, thing, ACCUSATIVE)} {preposition('in', der(place, DATIVE))}"
            f" {german}",
        )


YESTERDAY = words("""
    yesterday         | gestern
    yesterday evening | gestern Abend
    last week         | letzte Woche
""")


def searches() -> Pairs:
    """Where is my key? I cannot find it."""
    searchers = [person for person in SUBJECTS if person not in (HE, SHE)]
    for owner, thing, searcher in product((ME, WE), BELONGINGS, searchers):
        mine, mein = owner.owner
        it = PERSONAL_PRONOUN[thing.gender].accusative
        yield (
            f"where is {mine} {thing.english}? {searcher.english} cannot find it",
            f"wo ist {possessive(mein, thing)}? {searcher.german}"
            f" {finite('können', searcher.form)} {it} nicht finden",
        )


def descriptions() -> Pairs:
    """Have you seen my wallet? It is small and brown."""
    for owner, thing, size, colour in product((ME, WE), BELONGINGS, [*SIZES, *AGES], COLOURS):
        mine, mein = owner.owner
        it = PERSONAL_PRONOUN[thing.gender].german
        yield (
            f"have you seen {mine} {thing.english}? It is {size.english} and {colour.english}",
            f"haben Sie {possessive(mein, thing, ACCUSATIVE)} gesehen?"
            f" {it.capitalize()} ist {size.german} und {colour.german}",
        )


PATTERNS = [
    where_things_are,
    where_to_put_things,
    who_is_who,
    lost_and_found,
    searches,
    descriptions,
]
