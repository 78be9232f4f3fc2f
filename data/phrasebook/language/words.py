"""Names, times and adjectives of the phrasebook, one line a word: English | German."""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """What needs no table of its own: a name, an adverb, an adjective's stem, a fixed phrase."""

    english: str
    german: str


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def words(table: str) -> list[Word]:
    return [Word(*row) for row in rows(table)]


# Names ---------------------------------------------------------------------------------------

FIRST_NAMES = ["Anna", "Clara", "Lena", "Felix", "Max", "Paul"]
LAST_NAMES = ["Becker", "Fischer", "Klein", "Schmidt", "Wagner", "Weber"]

CITIES = words("""
    Berlin  | Berlin
    Cologne | Köln
    Hamburg | Hamburg
    Munich  | München
    Vienna  | Wien
    Zurich  | Zürich
""")

LANGUAGES = words("""
    English | Englisch
    French  | Französisch
    German  | Deutsch
    Italian | Italienisch
    Spanish | Spanisch
""")

# Times ---------------------------------------------------------------------------------------

WEEKDAYS = words("""
    Monday    | Montag
    Tuesday   | Dienstag
    Wednesday | Mittwoch
    Thursday  | Donnerstag
    Friday    | Freitag
    Saturday  | Samstag
    Sunday    | Sonntag
""")

MONTHS = words("""
    January   | Januar
    February  | Februar
    March     | März
    April     | April
    May       | Mai
    June      | Juni
    July      | Juli
    August    | August
    September | September
    October   | Oktober
    November  | November
    December  | Dezember
""")

TOMORROW = Word("tomorrow", "morgen")
ON_WEEKDAYS = [Word(f"on {day.english}", f"am {day.german}") for day in WEEKDAYS]

FUTURE = words("""
    tomorrow               | morgen
    the day after tomorrow | übermorgen
    next week              | nächste Woche
""")
FUTURE += ON_WEEKDAYS

PAST = words("""
    yesterday                | gestern
    the day before yesterday | vorgestern
    last week                | letzte Woche
""")
PAST += ON_WEEKDAYS

# Adjectives: the German stem, to which grammar adds an ending -----------------------------------

COLOURS = words("""
    black | schwarz
    blue  | blau
    brown | braun
    green | grün
    grey  | grau
    red   | rot
    white | weiß
""")

SIZES = words("""
    big   | groß
    small | klein
""")

AGES = words("""
    new | neu
    old | alt
""")

FRESHNESS = words("""
    cheap   | billig
    fresh   | frisch
    good    | gut
    Italian | italienisch
""")
CHEAP, FRESH, GOOD, ITALIAN = FRESHNESS

QUALITY = words("""
    beautiful | schön
    cheap     | billig
    good      | gut
    small     | klein
""")

ROOM_QUALITY = words("""
    big   | groß
    cheap | billig
    quiet | ruhig
    small | klein
""")

NEAREST = Word("nearest", "nächst")
CLEAN = Word("clean", "sauber")
WARM = Word("warm", "warm")

WEATHER = words("""
    cloudy | bewölkt
    cold   | kalt
    sunny  | sonnig
    warm   | warm
    windy  | windig
""")

COMPARATIVES = words("""
    cheaper        | billiger
    more beautiful | schöner
    more expensive | teurer
    newer          | neuer
    older          | älter
""")
