"""The verbs of the phrasebook, and what one does with them.

German verbs are listed by their principal parts, as dictionaries do. An activity is a line
English | German, whose first English and last German word are its verb.
"""

from __future__ import annotations

from typing import NamedTuple

from language.words import rows


class Verb(NamedTuple):
    """A German verb; "anrufen, ruft an, hat angerufen" is rufen, ruft, hat, angerufen, an."""

    infinitive: str
    third: str
    auxiliary: str
    participle: str
    prefix: str  # of a separable verb


def verb(infinitive: str, third: str, perfect: str) -> Verb:
    third, _, prefix = third.partition(" ")
    auxiliary, participle = perfect.split()
    return Verb(infinitive.removeprefix(prefix), third, auxiliary, participle, prefix)


VERBS = {
    row[0]: verb(*row)
    for row in rows("""
        abholen    | holt ab    | hat abgeholt
        anmachen   | macht an   | hat angemacht
        anrufen    | ruft an    | hat angerufen
        arbeiten   | arbeitet   | hat gearbeitet
        aufmachen  | macht auf  | hat aufgemacht
        aufräumen  | räumt auf  | hat aufgeräumt
        aufstehen  | steht auf  | ist aufgestanden
        ausmachen  | macht aus  | hat ausgemacht
        backen     | backt      | hat gebacken
        besuchen   | besucht    | hat besucht
        bezahlen   | bezahlt    | hat bezahlt
        bleiben    | bleibt     | ist geblieben
        brauchen   | braucht    | hat gebraucht
        buchen     | bucht      | hat gebucht
        einladen   | lädt ein   | hat eingeladen
        essen      | isst       | hat gegessen
        fahren     | fährt      | ist gefahren
        gehen      | geht       | ist gegangen
        helfen     | hilft      | hat geholfen
        gefallen   | gefällt    | hat gefallen
        kaufen     | kauft      | hat gekauft
        kochen     | kocht      | hat gekocht
        kommen     | kommt      | ist gekommen
        kosten     | kostet     | hat gekostet
        lernen     | lernt      | hat gelernt
        lesen      | liest      | hat gelesen
        mieten     | mietet     | hat gemietet
        nehmen     | nimmt      | hat genommen
        packen     | packt      | hat gepackt
        putzen     | putzt      | hat geputzt
        reparieren | repariert  | hat repariert
        schlafen   | schläft    | hat geschlafen
        schreiben  | schreibt   | hat geschrieben
        schwimmen  | schwimmt   | ist geschwommen
        sehen      | sieht      | hat gesehen
        spielen    | spielt     | hat gespielt
        sprechen   | spricht    | hat gesprochen
        suchen     | sucht      | hat gesucht
        trinken    | trinkt     | hat getrunken
        waschen    | wäscht     | hat gewaschen
        zumachen   | macht zu   | hat zugemacht
    """)
}

ENGLISH_PAST = {
    "buy": "bought",
    "drink": "drank",
    "eat": "ate",
    "find": "found",
    "forget": "forgot",
    "get": "got",
    "go": "went",
    "lose": "lost",
    "pay": "paid",
    "read": "read",
    "sleep": "slept",
    "swim": "swam",
    "take": "took",
    "tidy": "tidied",
    "write": "wrote",
}


class Activity(NamedTuple):
    english: str  # "buy the tickets"
    complement: str  # "die Fahrkarten"
    verb: Verb


def activities(table: str) -> list[Activity]:
    return [activity(*row) for row in rows(table)]


def activity(english: str, german: str) -> Activity:
    complement, _, infinitive = german.rpartition(" ")
    return Activity(english, complement, VERBS[infinitive])


PLEASURES = activities("""
    drink a coffee         | einen Kaffee trinken
    eat in the restaurant  | im Restaurant essen
    get up late            | spät aufstehen
    go for a walk          | spazieren gehen
    go to the cinema       | ins Kino gehen
    go to the theatre      | ins Theater gehen
    go to the market       | auf den Markt gehen
    invite the neighbours  | die Nachbarn einladen
    play cards             | Karten spielen
    play football          | Fußball spielen
    read a book            | ein Buch lesen
    stay at home           | zu Hause bleiben
    swim in the lake       | im See schwimmen
    take the train to Vienna | mit dem Zug nach Wien fahren
    visit the castle       | das Schloss besuchen
    visit the museum       | das Museum besuchen
    watch a film           | einen Film sehen
""")

CHORES = activities("""
    bake a cake            | einen Kuchen backen
    book the room          | das Zimmer buchen
    buy the tickets        | die Fahrkarten kaufen
    call the doctor        | den Arzt anrufen
    clean the kitchen      | die Küche putzen
    cook the soup          | die Suppe kochen
    get up early           | früh aufstehen
    go to the doctor       | zum Arzt gehen
    help the neighbours    | den Nachbarn helfen
    learn German           | Deutsch lernen
    pack the suitcases     | die Koffer packen
    pay the bill           | die Rechnung bezahlen
    pick up the tickets    | die Fahrkarten abholen
    rent a car             | ein Auto mieten
    repair the car         | das Auto reparieren
    take the bus           | mit dem Bus fahren
    tidy the room          | das Zimmer aufräumen
    wash the car           | das Auto waschen
    work in the garden     | im Garten arbeiten
    write a letter         | einen Brief schreiben
""")

ACTIVITIES = [*PLEASURES, *CHORES]

# What one may do for somebody else.
ERRANDS = [chore for chore in CHORES if chore.complement.startswith(("das", "den", "die"))]

REQUESTS = activities("""
    open the window        | das Fenster aufmachen
    open the door          | die Tür aufmachen
    close the window       | das Fenster zumachen
    close the door         | die Tür zumachen
    turn on the light      | das Licht anmachen
    turn off the light     | das Licht ausmachen
    turn on the heating    | die Heizung anmachen
    turn off the heating   | die Heizung ausmachen
    turn on the television | den Fernseher anmachen
    turn off the television | den Fernseher ausmachen
    call the hotel         | das Hotel anrufen
""")
