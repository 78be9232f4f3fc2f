"""Clauses, English and German: how verbs change with their subject, and where they stand."""

from __future__ import annotations

from typing import NamedTuple

from language.declension import phrase
from language.people import Person
from language.verbs import ENGLISH_PAST, VERBS, Activity, Verb
from language.words import rows

# English verbs ---------------------------------------------------------------------------------

# English needs no more forms than German has, so both languages share the German names.
BE = {"ich": "am", "er": "is", "wir": "are"}
HAVE = {"ich": "have", "er": "has", "wir": "have"}
DO = {"ich": "do", "er": "does", "wir": "do"}


def present_english(activity: str, form: str) -> str:
    """Buy the tickets, or with form "er" buys the tickets."""
    verb, *rest = activity.split()
    return phrase(third_person(verb) if form == "er" else verb, *rest)


def third_person(verb: str) -> str:
    if verb in {"can", "should", "would"}:
        return verb
    if verb == "have":
        return "has"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("ch", "o", "s", "sh")) else "s")


def have_to(person: Person) -> str:
    return present_english("have to", person.form)


def past_english(activity: str) -> str:
    """Bought the tickets."""
    verb, *rest = activity.split()
    regular = verb + ("d" if verb.endswith("e") else "ed")
    return phrase(ENGLISH_PAST.get(verb, regular), *rest)


# German verbs ----------------------------------------------------------------------------------

# Verbs have three forms here: that of ich, that of er, sie, es, and that of wir, Sie and plurals.
IRREGULAR = {
    infinitive: dict(zip(("ich", "er", "wir"), forms, strict=True))
    for infinitive, *forms in rows("""
        dürfen    | darf   | darf   | dürfen
        haben     | habe   | hat    | haben
        können    | kann   | kann   | können
        möchten   | möchte | möchte | möchten
        mögen     | mag    | mag    | mögen
        müssen    | muss   | muss   | müssen
        sein      | bin    | ist    | sind
        sein, war | war    | war    | waren
        sollten   | sollte | sollte | sollten
        wollen    | will   | will   | wollen
    """)
}
AUXILIARIES = {"hat": IRREGULAR["haben"], "ist": IRREGULAR["sein"]}


def finite(infinitive: str, form: str) -> str:
    if infinitive in IRREGULAR:
        return IRREGULAR[infinitive][form]
    return conjugated(VERBS[infinitive], form)


def conjugated(verb: Verb, form: str) -> str:
    """The present: ich kaufe, er kauft, wir kaufen; a separable prefix is left off."""
    return {"ich": verb.infinitive[:-1], "er": verb.third, "wir": verb.infinitive}[form]


def infinitive(verb: Verb) -> str:
    return verb.prefix + verb.infinitive


def zu_infinitive(verb: Verb) -> str:
    """Zu kaufen, but anzurufen."""
    return f"{verb.prefix}zu{verb.infinitive}" if verb.prefix else f"zu {verb.infinitive}"


# Clauses ---------------------------------------------------------------------------------------


class Clause(NamedTuple):
    """The words of a clause by their place in it; its kind decides on the order of the places."""

    subject: str
    finite: str
    middle: str  # times, objects and places
    end: str = ""  # an infinitive or a participle
    prefix: str = ""  # of the finite verb, if that is separable


def present(person: Person, activity: Activity, time: str = "") -> Clause:
    """Ich rufe heute den Arzt an."""
    verb = activity.verb
    middle = phrase(time, activity.complement)
    return Clause(person.german, conjugated(verb, person.form), middle, prefix=verb.prefix)


def perfect(person: Person, activity: Activity, time: str = "") -> Clause:
    """Ich habe gestern den Arzt angerufen."""
    auxiliary = AUXILIARIES[activity.verb.auxiliary][person.form]
    middle = phrase(time, activity.complement)
    return Clause(person.german, auxiliary, middle, activity.verb.participle)


def modal(person: Person, modal_verb: str, activity: Activity, time: str = "") -> Clause:
    """Ich muss heute den Arzt anrufen."""
    middle = phrase(time, activity.complement)
    return Clause(person.german, finite(modal_verb, person.form), middle, infinitive(activity.verb))


def statement(clause: Clause, first: str = "") -> str:
    """A main clause; its verb comes second, after the subject or what else is put first."""
    if first:
        return phrase(first, question(clause))
    return phrase(clause.subject, clause.finite, clause.middle, clause.end, clause.prefix)


def question(clause: Clause) -> str:
    return phrase(clause.finite, clause.subject, clause.middle, clause.end, clause.prefix)


def subordinate(clause: Clause) -> str:
    """The clause after weil, dass, wenn: the verb comes last, and rejoins its prefix."""
    return phrase(clause.subject, clause.middle, clause.end, clause.prefix + clause.finite)


def negatable(activity: Activity) -> bool:
    """Whether nicht will do; "ein Bier" and "Karten" would ask for kein."""
    return activity.complement[0].islower() and not activity.complement.startswith("ein")


def negated(activity: Activity) -> Activity:
    """With nicht, which follows a definite object but precedes everything else."""
    complement = activity.complement
    definite = complement.split()[0] in {"das", "den", "die"}
    parts = (complement, "nicht") if definite else ("nicht", complement)
    return activity._replace(complement=phrase(*parts))
