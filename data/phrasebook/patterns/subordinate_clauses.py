"""Patterns with a second clause: because, if, although, that, and "in order to".

Its verb comes last, and a main clause that follows it begins with the verb.
"""

from __future__ import annotations

from itertools import product

from language.clauses import (
    BE,
    HAVE,
    Clause,
    finite,
    have_to,
    modal,
    negatable,
    negated,
    past_english,
    perfect,
    present,
    statement,
    subordinate,
    zu_infinitive,
)
from language.people import HE, MY_RELATIVES, SHE, SINGLE_RELATIVES, SUBJECTS, spoken_of_again
from language.verbs import ACTIVITIES, CHORES, PLEASURES, activities
from language.words import CITIES, FUTURE, PAST, words

from patterns import Pairs


def if_there_is_time() -> Pairs:
    """If my brother has time tomorrow, he will visit the museum."""
    for person, activity, time in product(SUBJECTS, ACTIVITIES, FUTURE):
        has_time = Clause(person.german, finite("haben", person.form), f"{time.german} Zeit")
        yield (
            f"if {person.english} {HAVE[person.form]} time {time.english},"
            f" {person.pronoun.english} will {activity.english}",
            statement(
                present(spoken_of_again(person), activity), first=f"wenn {subordinate(has_time)},"
            ),
        )


def although_tired() -> Pairs:
    """Although my wife is tired, she has to clean the kitchen."""
    for person, chore, state in product(SUBJECTS, CHORES, STATES):
        is_so = Clause(person.german, finite("sein", person.form), state.german)
        duty = modal(spoken_of_again(person), "müssen", chore)
        must = have_to(person)
        yield (
            f"although {person.english} {BE[person.form]} {state.english},"
            f" {person.pronoun.english} {must} {chore.english}",
            statement(duty, first=f"obwohl {subordinate(is_so)},"),
        )


STATES = words("""
    hungry | hungrig
    ill    | krank
    tired  | müde
""")

TIRING = activities("""
    clean the kitchen  | die Küche putzen
    get up early       | früh aufstehen
    play football      | Fußball spielen
    repair the car     | das Auto reparieren
    swim in the lake   | im See schwimmen
    wash the car       | das Auto waschen
    work in the garden | im Garten arbeiten
""")


def tired_because() -> Pairs:
    """My wife is tired because she worked in the garden yesterday."""
    for person, activity, time in product(SUBJECTS, TIRING, PAST):
        reason = perfect(spoken_of_again(person), activity, time.german)
        yield (
            f"{person.english} {BE[person.form]} tired because"
            f" {person.pronoun.english} {past_english(activity.english)} {time.english}",
            f"{person.german} {finite('sein', person.form)} müde, weil {subordinate(reason)}",
        )


def happy_because() -> Pairs:
    """My wife is happy because she will visit the museum tomorrow."""
    for person, activity, time in product(SUBJECTS, PLEASURES, FUTURE):
        reason = present(spoken_of_again(person), activity, time.german)
        yield (
            f"{person.english} {BE[person.form]} happy because"
            f" {person.pronoun.english} will {activity.english} {time.english}",
            f"{person.german} {finite('sein', person.form)} glücklich, weil {subordinate(reason)}",
        )


def cannot_because() -> Pairs:
    """We cannot go to the cinema because we have to clean the kitchen."""
    for person, pleasure, chore in product(SUBJECTS, filter(negatable, PLEASURES), CHORES):
        wish = modal(person, "können", negated(pleasure))
        duty = modal(spoken_of_again(person), "müssen", chore)
        must = have_to(person)
        yield (
            f"{person.english} cannot {pleasure.english} because"
            f" {person.pronoun.english} {must} {chore.english}",
            f"{statement(wish)}, weil {subordinate(duty)}",
        )


def opinions() -> Pairs:
    """I think that my brother visited the museum yesterday."""
    openings = words("""
        I know that     | ich weiß, dass
        I think that    | ich glaube, dass
        I hope that     | ich hoffe, dass
        we are glad that | wir sind froh, dass
    """)
    for opening, person, activity, time in product(openings, MY_RELATIVES, ACTIVITIES, PAST):
        yield (
            f"{opening.english} {person.english} {past_english(activity.english)} {time.english}",
            f"{opening.german} {subordinate(perfect(person, activity, time.german))}",
        )


def expectations() -> Pairs:
    """My sister says that my parents will visit the museum tomorrow."""
    for speaker, person, activity, time in product(
        [HE, SHE, *SINGLE_RELATIVES], MY_RELATIVES, ACTIVITIES, FUTURE
    ):
        if speaker != person:
            yield (
                f"{speaker.english} says that {person.english} will {activity.english}"
                f" {time.english}",
                f"{speaker.german} sagt,"
                f" dass {subordinate(present(person, activity, time.german))}",
            )


REASONS_TO_TRAVEL = activities("""
    go to the market     | auf den Markt gehen
    go to the theatre    | ins Theater gehen
    help the neighbours  | den Nachbarn helfen
    learn German         | Deutsch lernen
    pick up the tickets  | die Fahrkarten abholen
    swim in the lake     | im See schwimmen
    visit the castle     | das Schloss besuchen
    visit the museum     | das Museum besuchen
""")


def purposes() -> Pairs:
    """My parents are in Vienna to visit the museum."""
    for person, city, activity in product(SUBJECTS, CITIES, REASONS_TO_TRAVEL):
        yield (
            f"{person.english} {BE[person.form]} in {city.english} to {activity.english}",
            f"{person.german} {finite('sein', person.form)} in {city.german},"
            f" um {activity.complement} {zu_infinitive(activity.verb)}",
        )


PATTERNS = [
    if_there_is_time,
    although_tired,
    tired_because,
    happy_because,
    cannot_because,
    opinions,
    expectations,
    purposes,
]
