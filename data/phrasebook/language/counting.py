"""Numbers, clock times, dates and prices, each made in both languages."""

from __future__ import annotations

from language.declension import NOMINATIVE, ein, noun_form, phrase
from language.english import a
from language.nouns import Noun
from language.words import MONTHS, Word, rows, words

# Numbers ---------------------------------------------------------------------------------------

SMALL_NUMBERS = dict(enumerate(words("""
    one       | eins
    two       | zwei
    three     | drei
    four      | vier
    five      | fünf
    six       | sechs
    seven     | sieben
    eight     | acht
    nine      | neun
    ten       | zehn
    eleven    | elf
    twelve    | zwölf
    thirteen  | dreizehn
    fourteen  | vierzehn
    fifteen   | fünfzehn
    sixteen   | sechzehn
    seventeen | siebzehn
    eighteen  | achtzehn
    nineteen  | neunzehn
"""), start=1))  # fmt: skip

TENS = dict(enumerate(words("""
    twenty  | zwanzig
    thirty  | dreißig
    forty   | vierzig
    fifty   | fünfzig
    sixty   | sechzig
    seventy | siebzig
    eighty  | achtzig
    ninety  | neunzig
"""), start=2))  # fmt: skip


def number(value: int) -> Word:
    """From 1 to 99: thirty-four is vierunddreißig, four-and-thirty."""
    if value < 20:
        return SMALL_NUMBERS[value]
    tens, ones = divmod(value, 10)
    if ones == 0:
        return TENS[tens]
    english = f"{TENS[tens].english}-{SMALL_NUMBERS[ones].english}"
    german_ones = "ein" if ones == 1 else SMALL_NUMBERS[ones].german
    return Word(english, f"{german_ones}und{TENS[tens].german}")


def count(value: int, noun: Noun, case: str = NOMINATIVE) -> Word:
    """A bottle | eine Flasche, two bottles | zwei Flaschen."""
    if value == 1:
        return Word(a(noun), ein(noun, case))
    assert noun.plural
    english, german = number(value)
    return Word(f"{english} {noun.plural.english}", f"{german} {noun_form(noun.plural, case)}")


# Dates -----------------------------------------------------------------------------------------

IRREGULAR_ORDINALS = {
    int(value): Word(english, german)
    for value, english, german in rows("""
        1  | first   | erst
        2  | second  | zweit
        3  | third   | dritt
        5  | fifth   | fünft
        7  | seventh | siebt
        8  | eighth  | acht
        9  | ninth   | neunt
        12 | twelfth | zwölft
    """)
}


def ordinal(value: int) -> Word:
    """Third | dritt, which declines as an adjective does."""
    if value in IRREGULAR_ORDINALS:
        return IRREGULAR_ORDINALS[value]
    tens, ones = divmod(value, 10)
    english, german = number(value)
    if value < 20:
        return Word(f"{english}th", f"{german}t")
    if ones == 0:
        return Word(f"{english[:-1]}ieth", f"{german}st")
    return Word(f"{TENS[tens].english}-{ordinal(ones).english}", f"{german}st")


DAYS_OF_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
DATES = [
    (day, month)
    for month, days in zip(MONTHS, DAYS_OF_MONTH, strict=True)
    for day in range(1, days + 1)
]


def date(day: int, month: Word) -> Word:
    """The third of May | dritten Mai, as it stands after am, vom and zum."""
    return Word(
        f"the {ordinal(day).english} of {month.english}", f"{ordinal(day).german}en {month.german}"
    )


# The clock -------------------------------------------------------------------------------------

# Minutes are counted from the hour before or to the hour after; German also has the half hour.
PAST_THE_HOUR = {
    int(minute): Word(english, german)
    for minute, english, german in rows("""
        5  | five past    | fünf nach
        10 | ten past     | zehn nach
        15 | quarter past | Viertel nach
        20 | twenty past  | zwanzig nach
    """)
}
TO_THE_HOUR = {
    int(minute): Word(english, german)
    for minute, english, german in rows("""
        40 | twenty to  | zwanzig vor
        45 | quarter to | Viertel vor
        50 | ten to     | zehn vor
        55 | five to    | fünf vor
    """)
}


def clock(hour: int, minute: int) -> Word:
    """Half past three | halb vier; hours are from 1 to 12, minutes a multiple of 5."""
    this, following = number(hour), number(hour % 12 + 1)
    if minute == 0:
        return Word(f"{this.english} o'clock", f"{'ein' if hour == 1 else this.german} Uhr")
    if minute == 30:
        return Word(f"half past {this.english}", f"halb {following.german}")
    table, nearest = (PAST_THE_HOUR, this) if minute < 30 else (TO_THE_HOUR, following)
    english, german = table[minute]
    return Word(f"{english} {nearest.english}", f"{german} {nearest.german}")


MINUTES = [0, *PAST_THE_HOUR, 30, *TO_THE_HOUR]


def clock_times(first: int, last: int) -> list[Word]:
    """The times from one full hour up to another, which is left out."""
    return [clock(hour, minute) for hour in range(first, last) for minute in MINUTES]


# Prices ----------------------------------------------------------------------------------------


def price(euros: int, cents: int = 0) -> Word:
    """Three euros fifty | drei Euro fünfzig."""
    english, german = number(euros)
    change = number(cents) if cents else Word("", "")
    return Word(
        phrase(english, "euro" if euros == 1 else "euros", change.english),
        phrase("ein" if euros == 1 else german, "Euro", change.german),
    )
