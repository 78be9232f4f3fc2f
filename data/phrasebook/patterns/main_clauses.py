"""Patterns about what people do: tenses, modal verbs, and the verb in second place."""

from __future__ import annotations

from itertools import chain, product

from language.clauses import (
    DO,
    Clause,
    finite,
    infinitive,
    modal,
    negatable,
    negated,
    past_english,
    perfect,
    present,
    present_english,
    question,
    statement,
    zu_infinitive,
)
from language.people import ASKED, SPEAKERS, SUBJECTS, spoken_of_again
from language.verbs import ACTIVITIES, CHORES, ERRANDS, PLEASURES, REQUESTS
from language.words import FUTURE, PAST, WEEKDAYS, Word, words

from patterns import Pairs


def plans() -> Pairs:
    """We will visit the museum tomorrow."""
    for person, activity, time in product(SUBJECTS, ACTIVITIES, FUTURE):
        yield (
            f"{person.english} will {activity.english} {time.english}",
            statement(present(person, activity, time.german)),
        )


def plans_time_first() -> Pairs:
    """Tomorrow we will visit the museum."""
    for person, activity, time in product(SUBJECTS, ACTIVITIES, FUTURE):
        yield (
            f"{time.english} {person.english} will {activity.english}",
            statement(present(person, activity), first=time.german),
        )


def memories() -> Pairs:
    """We visited the museum yesterday."""
    for person, activity, time in product(SUBJECTS, ACTIVITIES, PAST):
        yield (
            f"{person.english} {past_english(activity.english)} {time.english}",
            statement(perfect(person, activity, time.german)),
        )


def memories_time_first() -> Pairs:
    """Yesterday we visited the museum."""
    for person, activity, time in product(SUBJECTS, ACTIVITIES, PAST):
        yield (
            f"{time.english} {person.english} {past_english(activity.english)}",
            statement(perfect(person, activity), first=time.german),
        )


def regrets() -> Pairs:
    """Unfortunately, we did not visit the museum yesterday."""
    for person, activity, time in product(SUBJECTS, filter(negatable, ACTIVITIES), PAST):
        yield (
            f"unfortunately, {person.english} did not {activity.english} {time.english}",
            statement(perfect(person, negated(activity), time.german), first="leider"),
        )


def habits() -> Pairs:
    """My brother cleans the kitchen every Monday."""
    for person, activity, day in product(SUBJECTS, ACTIVITIES, WEEKDAYS):
        yield (
            f"{person.english} {present_english(activity.english, person.form)}"
            f" every {day.english}",
            statement(present(person, activity, f"jeden {day.german}")),
        )


DUTY = words("""
    have to | müssen
    should  | sollten
""")

WISH = words("""
    can           | können
    want to       | wollen
    would like to | möchten
""")


def wishes_and_duties() -> Pairs:
    """My brother has to clean the kitchen tomorrow."""
    for person, (verb, german), activity, time in chain(
        product(SUBJECTS, DUTY, CHORES, FUTURE), product(SUBJECTS, WISH, PLEASURES, FUTURE)
    ):
        yield (
            f"{person.english} {present_english(verb, person.form)} {activity.english}"
            f" {time.english}",
            statement(modal(person, german, activity, time.german)),
        )


def first_this_then_that() -> Pairs:
    """First we will clean the kitchen, then we will go to the cinema."""
    for person, chore, pleasure in product(SUBJECTS, CHORES, PLEASURES):
        if pleasure.english != "get up late":
            yield (
                f"first {person.english} will {chore.english},"
                f" then {person.pronoun.english} will {pleasure.english}",
                f"{statement(present(person, chore), first='zuerst')},"
                f" {statement(present(spoken_of_again(person), pleasure), first='dann')}",
            )


# Questions and requests ------------------------------------------------------------------------


def did_you() -> Pairs:
    """Did your brother visit the museum yesterday?"""
    for person, activity, time in product(ASKED, ACTIVITIES, PAST):
        yield (
            f"did {person.english} {activity.english} {time.english}?",
            question(perfect(person, activity, time.german)) + "?",
        )


def when_will_you() -> Pairs:
    """When will your brother visit the museum?"""
    for person, activity in product(ASKED, ACTIVITIES):
        yield (
            f"when will {person.english} {activity.english}?",
            statement(present(person, activity), first="wann") + "?",
        )


def would_you_like_to() -> Pairs:
    """Would your brother like to visit the museum tomorrow?"""
    for person, activity, time in product(ASKED, PLEASURES, FUTURE):
        yield (
            f"would {person.english} like to {activity.english} {time.english}?",
            question(modal(person, "möchten", activity, time.german)) + "?",
        )


def do_you_have_to() -> Pairs:
    """Does your brother have to clean the kitchen tomorrow?"""
    for person, activity, time in product(ASKED, CHORES, FUTURE):
        yield (
            f"{DO[person.form]} {person.english} have to {activity.english} {time.english}?",
            question(modal(person, "müssen", activity, time.german)) + "?",
        )


def may_we() -> Pairs:
    """May I open the window?"""
    for person, activity in product(SPEAKERS, REQUESTS):
        yield (
            f"may {person.english} {activity.english}?",
            question(modal(person, "dürfen", activity)) + "?",
        )


def could_you() -> Pairs:
    """Could you open the window for me, please?"""
    favours = words("""
        for me       | für mich
        for us       | für uns
        now          | jetzt
        this evening | heute Abend
        tomorrow     | morgen
    """)
    for activity, (english, german) in product([*REQUESTS, *ERRANDS], favours):
        yield (
            f"could you {activity.english} {english}, please?",
            f"könnten Sie bitte {german} {activity.complement} {infinitive(activity.verb)}?",
        )


def forgotten_duties() -> Pairs:
    """Yesterday my brother forgot to turn off the light."""
    times = [*PAST, Word("this morning", "heute Morgen")]
    for person, activity, time in product(SUBJECTS, [*REQUESTS, *ERRANDS], times):
        forgot = Clause(person.german, finite("haben", person.form), "", "vergessen")
        yield (
            f"{time.english} {person.english} forgot to {activity.english}",
            f"{statement(forgot, first=time.german)},"
            f" {activity.complement} {zu_infinitive(activity.verb)}",
        )


PATTERNS = [
    plans,
    plans_time_first,
    memories,
    memories_time_first,
    regrets,
    habits,
    wishes_and_duties,
    first_this_then_that,
    did_you,
    when_will_you,
    would_you_like_to,
    do_you_have_to,
    may_we,
    could_you,
    forgotten_duties,
]
