"""Patterns about the town and its places: where they are, how to get there, when they are open."""

from __future__ import annotations

from itertools import combinations, permutations, product

from language.clauses import BE, finite
from language.counting import clock_times, count
from language.declension import ACCUSATIVE, DATIVE, der, ein, preposition
from language.english import a, the
from language.nouns import (
    AIRPORT,
    BANK,
    EVENTS,
    INDOORS,
    MINUTE,
    PLACES,
    SERVICES,
    SIGHTS,
    WITH_OPENING_HOURS,
    Noun,
)
from language.people import ASKED, ME, MY_RELATIVES, SPEAKERS, WE
from language.words import AGES, CHEAP, GOOD, NEAREST, ON_WEEKDAYS, SIZES, WEEKDAYS, words

from patterns import Pairs

POSITIONS = words("""
    behind      | hinter
    in front of | vor
    next to     | neben
    opposite    | gegenüber
""")

# Where one place can be beside another.
CENTRAL = [place for place in PLACES if place is not AIRPORT]

SIDES = words("""
    left  | links
    right | rechts
""")


def zum(place: Noun) -> str:
    return preposition("zu", der(place, DATIVE))


def vom(place: Noun) -> str:
    return preposition("von", der(place, DATIVE))


def am(place: Noun) -> str:
    return preposition("an", der(place, DATIVE))


# Where -----------------------------------------------------------------------------------------


WHERE_IS = words("""
    where is                | wo ist
    excuse me, where is     | Entschuldigung, wo ist
    good morning, where is  | guten Morgen, wo ist
    good evening, where is  | guten Abend, wo ist
""")


def where() -> Pairs:
    """Where is the station?"""
    for opening, place in product(WHERE_IS, PLACES):
        yield f"{opening.english} {the(place)}?", f"{opening.german} {der(place)}?"


def nearest() -> Pairs:
    """Excuse me, where is the nearest pharmacy?"""
    for opening, place in product(WHERE_IS, [*SERVICES, *SIGHTS]):
        yield (
            f"{opening.english} {the(place, NEAREST)}?",
            f"{opening.german} {der(place, adjective=NEAREST)}?",
        )


def nearest_asked_for() -> Pairs:
    """Can you tell me where the nearest pharmacy is?"""
    openings = words("""
        can you tell me | können Sie mir sagen,
        can you tell us | können Sie uns sagen,
        do you know     | wissen Sie,
    """)
    for opening, place in product(openings, [*SERVICES, *SIGHTS]):
        yield (
            f"{opening.english} where {the(place, NEAREST)} is?",
            f"{opening.german} wo {der(place, adjective=NEAREST)} ist?",
        )


def positions() -> Pairs:
    """The pharmacy is next to the old church."""
    for (place, landmark), position, age in product(
        permutations(CENTRAL, 2), POSITIONS, [None, *AGES]
    ):
        yield (
            f"{the(place)} is {position.english} {the(landmark, age)}",
            f"{der(place)} ist {position.german} {der(landmark, DATIVE, age)}",
        )


def between() -> Pairs:
    """The pharmacy is between the church and the station."""
    for place, one, other in permutations(CENTRAL, 3):
        yield (
            f"{the(place)} is between {the(one)} and {the(other)}",
            f"{der(place)} ist zwischen {der(one, DATIVE)} und {der(other, DATIVE)}",
        )


def is_there() -> Pairs:
    """Is there a good restaurant behind the station?"""
    for place, landmark, position, quality in product(
        SERVICES, CENTRAL, POSITIONS, [CHEAP, GOOD, *SIZES]
    ):
        if place not in (landmark, BANK):
            yield (
                f"is there {a(place, quality)} {position.english} {the(landmark)}?",
                f"gibt es {position.german} {der(landmark, DATIVE)}"
                f" {ein(place, ACCUSATIVE, quality)}?",
            )


def our_town() -> Pairs:
    """In our town there are three churches and an old castle."""
    for many, one, number_of, age in product([*SERVICES, *SIGHTS], SIGHTS, range(2, 13), AGES):
        if many != one:
            english, german = count(number_of, many, ACCUSATIVE)
            yield (
                f"in our town there are {english} and {a(one, age)}",
                f"in unserer Stadt gibt es {german} und {ein(one, ACCUSATIVE, age)}",
            )


# Ways ------------------------------------------------------------------------------------------


def ways() -> Pairs:
    """How do I get from the station to the museum?"""
    for (start, goal), person in product(permutations(PLACES, 2), [ME, WE]):
        yield (
            f"how do {person.english} get from {the(start)} to {the(goal)}?",
            f"wie {finite('kommen', person.form)} {person.german} {vom(start)} {zum(goal)}?",
        )


def show_the_way() -> Pairs:
    """Could you show my parents the way to the station, please?"""
    for person, place in product(SPEAKERS, PLACES):
        yield (
            f"could you show {person.object} the way to {the(place)}, please?",
            f"könnten Sie {person.dative} bitte den Weg {zum(place)} zeigen?",
        )


def walks() -> Pairs:
    """It is twenty minutes on foot from the station to the museum."""
    for (start, goal), minutes in product(permutations(PLACES, 2), range(5, 50, 5)):
        english, german = count(minutes, MINUTE)
        yield (
            f"it is {english} on foot from {the(start)} to {the(goal)}",
            f"{vom(start)} {zum(goal)} sind es {german} zu Fuß",
        )


def turns() -> Pairs:
    """Turn left at the church and then right at the bank."""
    for (first, second), (one, other) in product(permutations(CENTRAL, 2), product(SIDES, SIDES)):
        yield (
            f"turn {one.english} at {the(first)} and then {other.english} at {the(second)}",
            f"biegen Sie {am(first)} {one.german} ab und dann {am(second)} {other.german}",
        )


def straight_ahead() -> Pairs:
    """Go straight ahead to the church and take the second street on the left."""
    streets = words("""
        first  | erste
        second | zweite
        third  | dritte
    """)
    for place, street, side in product(PLACES, streets, SIDES):
        yield (
            f"go straight ahead to {the(place)} and take the {street.english} street"
            f" on the {side.english}",
            f"gehen Sie geradeaus bis {zum(place)} und nehmen Sie die {street.german} Straße"
            f" {side.german}",
        )


def here_and_there() -> Pairs:
    """My brother is in the museum, but my sister is going to the cinema."""
    for (one, other), (here, there) in product(
        permutations(MY_RELATIVES, 2), permutations(INDOORS, 2)
    ):
        yield (
            f"{one.english} {BE[one.form]} in {the(here)},"
            f" but {other.english} {BE[other.form]} going to {the(there)}",
            f"{one.german} {finite('sein', one.form)} {preposition('in', der(here, DATIVE))},"
            f" aber {other.german} {finite('gehen', other.form)}"
            f" {preposition('in', der(there, ACCUSATIVE))}",
        )


def whereabouts() -> Pairs:
    """Are your parents in the museum?"""
    for person, place in product(ASKED, INDOORS):
        yield (
            f"{BE[person.form]} {person.english} in {the(place)}?",
            f"{finite('sein', person.form)} {person.german}"
            f" {preposition('in', der(place, DATIVE))}?",
        )


# Opening hours ---------------------------------------------------------------------------------


def opening_hours() -> Pairs:
    """The bakery opens at eight o'clock and closes at half past six."""
    for place, opening, closing in product(
        WITH_OPENING_HOURS, clock_times(7, 11), clock_times(4, 8)
    ):
        yield (
            f"{the(place)} opens at {opening.english} and closes at {closing.english}",
            f"{der(place)} öffnet um {opening.german} und schließt um {closing.german}",
        )


def early_closing() -> Pairs:
    """On Sunday the museum closes at half past four."""
    for place, day, closing in product(WITH_OPENING_HOURS, ON_WEEKDAYS, clock_times(1, 8)):
        yield (
            f"{day.english} {the(place)} closes at {closing.english}",
            f"{day.german} schließt {der(place)} um {closing.german}",
        )


def opening_days() -> Pairs:
    """The museum is open from Tuesday to Sunday."""
    for place, (first, last) in product(WITH_OPENING_HOURS, combinations(WEEKDAYS, 2)):
        yield (
            f"{the(place)} is open from {first.english} to {last.english}",
            f"{der(place)} ist von {first.german} bis {last.german} geöffnet",
        )


def closed() -> Pairs:
    """He says that the museum is closed on Monday."""
    openings = words("""
        I think that     | ich glaube, dass
        I know that      | ich weiß, dass
        he says that     | er sagt, dass
        she says that    | sie sagt, dass
        did you know that | wussten Sie, dass
    """)
    for opening, place, day in product(openings, WITH_OPENING_HOURS, ON_WEEKDAYS):
        mark = "?" if opening.english.startswith("did") else "."
        yield (
            f"{opening.english} {the(place)} is closed {day.english}{mark}",
            f"{opening.german} {der(place)} {day.german} geschlossen ist{mark}",
        )


def events() -> Pairs:
    """The concert begins on Friday at half past seven."""
    for event, day, time in product(EVENTS, ON_WEEKDAYS, clock_times(5, 10)):
        yield (
            f"{the(event)} begins {day.english} at {time.english}",
            f"{der(event)} beginnt {day.german} um {time.german}",
        )


PATTERNS = [
    where,
    nearest,
    nearest_asked_for,
    positions,
    between,
    is_there,
    our_town,
    ways,
    show_the_way,
    walks,
    turns,
    straight_ahead,
    here_and_there,
    whereabouts,
    opening_hours,
    early_closing,
    opening_days,
    closed,
    events,
]
