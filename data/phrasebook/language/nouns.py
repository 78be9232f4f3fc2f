"""The nouns of the phrasebook, one line a noun: English | German.

A line gives singular and plural, if the noun is used with one, and the article tells the gender:

    apple, apples | der Apfel, Äpfel
"""

from __future__ import annotations

from typing import NamedTuple

from language.words import rows

GENDERS = {"der": "masculine", "die": "feminine", "das": "neuter"}


class Noun(NamedTuple):
    english: str
    german: str
    gender: str  # masculine, feminine, neuter; a plural is a noun of its own, of gender "plural"
    plural: Noun | None = None

    @property
    def form(self) -> str:
        """The form of the verb that has this noun as its subject."""
        return "wir" if self.gender == "plural" else "er"


def noun(english: str, german: str) -> Noun:
    article, german = german.split(maxsplit=1)
    english, *english_plural = english.split(", ")
    german, *german_plural = german.split(", ")
    plural = [Noun(*pair, "plural") for pair in zip(english_plural, german_plural, strict=True)]
    return Noun(english, german, GENDERS[article], *plural)


def nouns(table: str) -> list[Noun]:
    return [noun(*row) for row in rows(table)]


def plurals(table: str) -> list[Noun]:
    return [Noun(*row, "plural") for row in rows(table)]


# Time ----------------------------------------------------------------------------------------

YEAR = noun("year, years", "das Jahr, Jahre")
DAY = noun("day, days", "der Tag, Tage")
NIGHT = noun("night, nights", "die Nacht, Nächte")
HOUR = noun("hour, hours", "die Stunde, Stunden")
MINUTE = noun("minute, minutes", "die Minute, Minuten")

# People --------------------------------------------------------------------------------------

RELATIVES = nouns("""
    brother             | der Bruder
    sister              | die Schwester
    son, sons           | der Sohn, Söhne
    daughter, daughters | die Tochter, Töchter
    husband             | der Mann
    wife                | die Frau
    father              | der Vater
    mother              | die Mutter
""")
SON, DAUGHTER = RELATIVES[2:4]
PARENTS = Noun("parents", "Eltern", "plural")
PERSON = noun("person, people", "die Person, Personen")
MAN, WOMAN = nouns("""
    man   | der Mann
    woman | die Frau
""")

# Places --------------------------------------------------------------------------------------

SERVICES = nouns("""
    bank, banks               | die Bank, Banken
    bakery, bakeries          | die Bäckerei, Bäckereien
    pharmacy, pharmacies      | die Apotheke, Apotheken
    supermarket, supermarkets | der Supermarkt, Supermärkte
    hotel, hotels             | das Hotel, Hotels
    restaurant, restaurants   | das Restaurant, Restaurants
    café, cafés               | das Café, Cafés
""")
BANK, BAKERY, PHARMACY, SUPERMARKET, HOTEL, RESTAURANT, CAFE = SERVICES

SIGHTS = nouns("""
    bridge, bridges    | die Brücke, Brücken
    castle, castles    | das Schloss, Schlösser
    church, churches   | die Kirche, Kirchen
    cinema, cinemas    | das Kino, Kinos
    museum, museums    | das Museum, Museen
    park, parks        | der Park, Parks
    theatre, theatres  | das Theater, Theater
""")
BRIDGE, CASTLE, CHURCH, CINEMA, MUSEUM, PARK, THEATRE = SIGHTS

STATION, AIRPORT, TOWN_HALL = nouns("""
    station   | der Bahnhof
    airport   | der Flughafen
    town hall | das Rathaus
""")

PLACES = [*SERVICES, *SIGHTS, STATION, AIRPORT, TOWN_HALL]
INDOORS = [BANK, BAKERY, SUPERMARKET, HOTEL, RESTAURANT, CAFE, CHURCH, CINEMA, MUSEUM, THEATRE]
WITH_OPENING_HOURS = [BANK, BAKERY, PHARMACY, SUPERMARKET, RESTAURANT, CAFE, CASTLE, MUSEUM]

VEHICLES = nouns("""
    bus   | der Bus
    train | der Zug
""")

EVENTS = nouns("""
    concert | das Konzert
    film    | der Film
    lesson  | der Unterricht
    party   | die Feier
""")

# Food and drink ------------------------------------------------------------------------------

FOODS = nouns("""
    bread  | das Brot
    butter | die Butter
    cheese | der Käse
    fish   | der Fisch
    fruit  | das Obst
    meat   | das Fleisch
    rice   | der Reis
""")

PRODUCE = plurals("""
    apples       | Äpfel
    pears        | Birnen
    potatoes     | Kartoffeln
    strawberries | Erdbeeren
    tomatoes     | Tomaten
""")
EGGS = Noun("eggs", "Eier", "plural")

DRINKS = nouns("""
    coffee | der Kaffee
    tea    | der Tee
    juice  | der Saft
    milk   | die Milch
    water  | das Wasser
    wine   | der Wein
    beer   | das Bier
""")
COFFEE, TEA, JUICE, MILK, WATER, WINE, BEER = DRINKS

CUP = noun("cup, cups", "die Tasse, Tassen")
GLASS = noun("glass, glasses", "das Glas, Gläser")
BOTTLE = noun("bottle, bottles", "die Flasche, Flaschen")
KILO = Noun("kilo", "Kilo", "neuter", plural=Noun("kilos", "Kilo", "plural"))

DISHES = nouns("""
    chicken | das Hähnchen
    fish    | der Fisch
    sausage | die Wurst
    steak   | das Steak
""")
STARTERS = nouns("""
    soup  | die Suppe
    salad | der Salat
""")

# Things --------------------------------------------------------------------------------------

CLOTHES = nouns("""
    coat   | der Mantel
    dress  | das Kleid
    hat    | der Hut
    jacket | die Jacke
    shirt  | das Hemd
    skirt  | der Rock
""")
CLOTHES += plurals("""
    boots  | Stiefel
    gloves | Handschuhe
    shoes  | Schuhe
""")

BELONGINGS = nouns("""
    bag      | die Tasche
    book     | das Buch
    camera   | die Kamera
    key      | der Schlüssel
    passport | der Pass
    phone    | das Handy
    suitcase | der Koffer
    umbrella | der Regenschirm
    wallet   | die Brieftasche
""")

TICKET = noun("ticket, tickets", "die Fahrkarte, Fahrkarten")

TABLEWARE = nouns("""
    blanket, blankets | die Decke, Decken
    fork, forks       | die Gabel, Gabeln
    knife, knives     | das Messer, Messer
    plate, plates     | der Teller, Teller
    spoon, spoons     | der Löffel, Löffel
    towel, towels     | das Handtuch, Handtücher
""")

LYING = nouns("""
    book      | das Buch
    key       | der Schlüssel
    letter    | der Brief
    newspaper | die Zeitung
""")
STANDING = nouns("""
    bottle   | die Flasche
    lamp     | die Lampe
    suitcase | der Koffer
""")

DOOR = noun("door", "die Tür")
WINDOW = noun("window", "das Fenster")
FURNITURE = nouns("""
    bed      | das Bett
    chair    | der Stuhl
    cupboard | der Schrank
    table    | der Tisch
""")
BED, CHAIR, CUPBOARD, TABLE = FURNITURE

HOMES = nouns("""
    flat  | die Wohnung
    house | das Haus
""")
ROOM = noun("room", "das Zimmer")
ROOM_FEATURES = nouns("""
    balcony  | der Balkon
    bathroom | das Bad
    kitchen  | die Küche
""")
APPLIANCES = nouns("""
    heating    | die Heizung
    lamp       | die Lampe
    shower     | die Dusche
    television | der Fernseher
""")

# The body ------------------------------------------------------------------------------------

BODY_PAIRS = nouns("""
    arm  | der Arm
    ear  | das Ohr
    eye  | das Auge
    foot | der Fuß
    hand | die Hand
    knee | das Knie
    leg  | das Bein
""")
