"""Who speaks, and who is spoken of: pronouns and relatives, each with the forms they need."""

from __future__ import annotations

from typing import NamedTuple

from language.declension import ACCUSATIVE, DATIVE, NOMINATIVE, possessive
from language.nouns import PARENTS, RELATIVES, Noun
from language.words import Word, rows


class Person(NamedTuple):
    english: str  # as a subject: I, my brother
    german: str  # in the nominative: ich, mein Bruder
    object: str  # me, my brother
    accusative: str
    dative: str
    form: str  # of the verb: that of ich, of er or of wir
    pronoun: Word  # by which the person is spoken of again: he | er
    owner: Word  # what belongs to the person is his | sein


PRONOUNS = {
    english: Person(english, german, *forms, Word(english, german), Word(*owner))
    for english, german, *forms, owner in (
        (*row[:-2], row[-2:])
        for row in rows("""
            I    | ich | me   | mich  | mir   | ich | my    | mein
            you  | Sie | you  | Sie   | Ihnen | wir | your  | Ihr
            he   | er  | him  | ihn   | ihm   | er  | his   | sein
            she  | sie | her  | sie   | ihr   | er  | her   | ihr
            it   | es  | it   | es    | ihm   | er  | its   | sein
            we   | wir | us   | uns   | uns   | wir | our   | unser
            they | sie | them | sie   | ihnen | wir | their | ihr
        """)
    )
}
ME, YOU, HE, SHE, IT, WE, THEY = PRONOUNS.values()

# What a noun is called when it is spoken of again. In English a thing is it whatever its gender.
PERSONAL_PRONOUN = {"masculine": HE, "feminine": SHE, "neuter": IT, "plural": THEY}


def it_english(noun: Noun) -> str:
    return "they" if noun.gender == "plural" else "it"


def relative(owner: Person, noun: Noun) -> Person:
    """My brother, unser Sohn, Ihre Frau."""
    my, mein = owner.owner
    english = f"{my} {noun.english}"
    pronoun = PERSONAL_PRONOUN[noun.gender]
    return Person(
        english=english,
        german=possessive(mein, noun, NOMINATIVE),
        object=english,
        accusative=possessive(mein, noun, ACCUSATIVE),
        dative=possessive(mein, noun, DATIVE),
        form=noun.form,
        pronoun=pronoun.pronoun,
        owner=pronoun.owner,
    )


def spoken_of_again(person: Person) -> Person:
    """He or she, once the person has been named."""
    return person._replace(english=person.pronoun.english, german=person.pronoun.german)


SINGLE_RELATIVES = [relative(ME, noun) for noun in RELATIVES]
MY_RELATIVES = [*SINGLE_RELATIVES, relative(ME, PARENTS)]
YOUR_RELATIVES = [relative(YOU, noun) for noun in (*RELATIVES, PARENTS)]

SPEAKERS = [ME, WE, *MY_RELATIVES]
SUBJECTS = [ME, HE, SHE, WE, *MY_RELATIVES]
ASKED = [YOU, *YOUR_RELATIVES]
