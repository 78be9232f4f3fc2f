"""Patterns about trains and buses, tickets and dates."""

from __future__ import annotations

from itertools import permutations, product

from language.clauses import finite
from language.counting import DATES, clock_times, count, date, number, ordinal
from language.declension import ACCUSATIVE, der
from language.english import the
from language.nouns import HOUR, MINUTE, PARENTS, TICKET, VEHICLES
from language.people import ME, SINGLE_RELATIVES, WE, relative
from language.words import CITIES, ON_WEEKDAYS, words

from patterns import Pairs

# Trains and buses ------------------------------------------------------------------------------


def departures() -> Pairs:
    """The bus to Hamburg leaves at half past three."""
    for vehicle, city, time in product(VEHICLES, CITIES, clock_times(1, 13)):
        yield (
            f"{the(vehicle)} to {city.english} leaves at {time.english}",
            f"{der(vehicle)} nach {city.german} fährt um {time.german} ab",
        )


def platforms() -> Pairs:
    """The train to Hamburg leaves from platform seven at half past three."""
    for city, time, value in product(CITIES, clock_times(1, 13), range(1, 13)):
        platform, gleis = number(value)
        yield (
            f"the train to {city.english} leaves from platform {platform} at {time.english}",
            f"der Zug nach {city.german} fährt um {time.german} von Gleis {gleis} ab",
        )


def arrivals() -> Pairs:
    """The train from Hamburg arrives at half past three."""
    for vehicle, city, time in product(VEHICLES, CITIES, clock_times(1, 13)):
        yield (
            f"{the(vehicle)} from {city.english} arrives at {time.english}",
            f"{der(vehicle)} aus {city.german} kommt um {time.german} an",
        )


def departures_asked_for() -> Pairs:
    """Can you tell me when the train to Hamburg leaves on Sunday?"""
    openings = words("""
        can you tell me | können Sie mir sagen,
        can you tell us | können Sie uns sagen,
        do you know     | wissen Sie,
    """)
    for opening, vehicle, city, day in product(openings, VEHICLES, CITIES, ON_WEEKDAYS):
        yield (
            f"{opening.english} when {the(vehicle)} to {city.english} leaves {day.english}?",
            f"{opening.german} wann {der(vehicle)} nach {city.german} {day.german} abfährt?",
        )


def delays() -> Pairs:
    """The train from Hamburg is twenty minutes late."""
    for vehicle, city, minutes in product(VEHICLES, CITIES, range(2, 50)):
        english, german = count(minutes, MINUTE)
        yield (
            f"{the(vehicle)} from {city.english} is {english} late",
            f"{der(vehicle)} aus {city.german} hat {german} Verspätung",
        )


def journeys() -> Pairs:
    """The journey from Berlin to Vienna takes three hours and twenty minutes."""
    for (start, end), hours, minutes in product(
        permutations(CITIES, 2), range(1, 13), (10, 15, 20, 30, 40, 45, 50)
    ):
        hours_needed, minutes_needed = count(hours, HOUR), count(minutes, MINUTE)
        yield (
            f"the journey from {start.english} to {end.english} takes"
            f" {hours_needed.english} and {minutes_needed.english}",
            f"die Fahrt von {start.german} nach {end.german} dauert"
            f" {hours_needed.german} und {minutes_needed.german}",
        )


def journeys_asked_for() -> Pairs:
    """How long does the journey from Berlin to Vienna take?"""
    for start, end in permutations(CITIES, 2):
        yield (
            f"how long does the journey from {start.english} to {end.english} take?",
            f"wie lange dauert die Fahrt von {start.german} nach {end.german}?",
        )


def tickets() -> Pairs:
    """We would like two tickets for the train to Hamburg at half past three."""
    buyers = words("""
        I would like  | ich möchte
        we would like | wir möchten
        I need        | ich brauche
        we need       | wir brauchen
    """)
    for buyer, tickets, vehicle, city, time in product(
        buyers, range(1, 9), VEHICLES, CITIES, clock_times(6, 13)
    ):
        english, german = count(tickets, TICKET, ACCUSATIVE)
        yield (
            f"{buyer.english} {english} for {the(vehicle)} to {city.english} at {time.english}",
            f"{buyer.german} {german} für {der(vehicle, ACCUSATIVE)} nach {city.german}"
            f" um {time.german}",
        )


# The clock and the calendar ---------------------------------------------------------------------


def time_of_day() -> Pairs:
    """It is already half past three."""
    openings = words("""
        it is         | es ist
        it is already | es ist schon
        it is almost  | es ist fast
    """)
    for opening, time in product(openings, clock_times(1, 13)):
        yield f"{opening.english} {time.english}", f"{opening.german} {time.german}"


def flights() -> Pairs:
    """On the third of May we will fly from Berlin to Vienna."""
    for (day, month), (start, end), (we, fly) in product(
        DATES,
        permutations(CITIES, 2),
        [("I", "fliege ich"), ("we", "fliegen wir"), ("my parents", "fliegen meine Eltern")],
    ):
        english, german = date(day, month)
        yield (
            f"on {english} {we} will fly from {start.english} to {end.english}",
            f"am {german} {fly} von {start.german} nach {end.german}",
        )


def stays() -> Pairs:
    """We will stay in Vienna from the third to the tenth of May."""
    spans = [
        (ordinal(day - days), date(day, month))
        for (day, month), days in product(DATES, (2, 3, 5, 7))
        if day > days
    ]
    for person, city, (first, last) in product([ME, WE, relative(ME, PARENTS)], CITIES, spans):
        yield (
            f"{person.english} will stay in {city.english}"
            f" from the {first.english} to {last.english}",
            f"{person.german} {finite('bleiben', person.form)}"
            f" vom {first.german}en bis zum {last.german} in {city.german}",
        )


def birthdays() -> Pairs:
    """My brother's birthday is on the third of May."""
    for person, (day, month) in product(SINGLE_RELATIVES, DATES):
        english, german = date(day, month)
        yield (
            f"{person.english}'s birthday is on {english}",
            f"{person.german} hat am {german} Geburtstag",
        )


PATTERNS = [
    departures,
    platforms,
    arrivals,
    departures_asked_for,
    delays,
    journeys,
    journeys_asked_for,
    tickets,
    time_of_day,
    flights,
    stays,
    birthdays,
]
