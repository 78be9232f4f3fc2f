"""Laws of data/phrasebook: its files are what its grammar generates, and its German is right."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PHRASEBOOK = Path(__file__).parent.parent / "data" / "phrasebook"
SIZES = {"train": 10_000, "valid": 500, "test": 1_000}

sys.path.insert(0, str(PHRASEBOOK))  # the data folder is no package
try:
    import generate
    from language import clauses, counting, declension, english, nouns, verbs, words
    from language import people as persons
finally:
    sys.path.remove(str(PHRASEBOOK))


def lines(split: str, language: str) -> list[str]:
    return (PHRASEBOOK / f"{split}.{language}").read_text(encoding="utf-8").splitlines()


def vocabulary(sentences: list[str]) -> Counter[str]:
    return Counter(word.strip(".,?") for sentence in sentences for word in sentence.split())


def test_the_committed_files_are_what_the_generator_writes():
    stale = [
        name
        for name, text in generate.files().items()
        if (PHRASEBOOK / name).read_bytes() != text.encode()
    ]
    assert stale == []


def test_check_notices_a_changed_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr(generate, "files", lambda: {"train.en": "Hello.\n", "train.de": "Hallo.\n"})
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "train.de").write_text("Halle.\n")
    assert generate.main(["--check"]) == 1
    assert "train.de" in capsys.readouterr().out


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_sizes(split, size):
    assert len(lines(split, "en")) == len(lines(split, "de")) == size


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_sentence_occurs_twice_in_a_split_or_across_splits(language):
    sentences = [sentence for split in SIZES for sentence in lines(split, language)]
    assert len(set(sentences)) == len(sentences)


@pytest.fixture(scope="module")
def everything() -> dict[str, set[str]]:
    """All that the patterns can say, with the translations that it has."""
    translations = defaultdict(set)
    for pattern in generate.PATTERNS:
        for pair in generate.sentences(pattern):
            translations[pair.english].add(pair.german)
    return translations


def test_english_determines_german_in_all_that_the_patterns_can_say(everything):
    assert len(everything) > 100_000
    assert {source: targets for source, targets in everything.items() if len(targets) > 1} == {}


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_held_out_word_is_seen_in_training(language):
    seen = vocabulary(lines("train", language))
    held_out = vocabulary(lines("valid", language) + lines("test", language))
    assert {word for word in held_out if seen[word] < 5} == set()


def test_no_pattern_swamps_the_others():
    used = {sentence for split in SIZES for sentence in lines(split, "en")}
    shares = [
        sum(pair.english in used for pair in generate.sentences(pattern))
        for pattern in generate.PATTERNS
    ]
    assert min(shares) > 0
    assert max(shares) < 3 * len(used) / len(shares)


# The grammar ----------------------------------------------------------------------------------

NOMINATIVE, ACCUSATIVE, DATIVE = declension.NOMINATIVE, declension.ACCUSATIVE, declension.DATIVE
a, the = english.a, english.the
bare, der, dieser = declension.bare, declension.der, declension.dieser
ein, kein, preposition = declension.ein, declension.kein, declension.preposition
clock, count, date, number, price = (
    counting.clock,
    counting.count,
    counting.date,
    counting.number,
    counting.price,
)


def entry(table, name):
    return next(row for row in table if row.english == name)


def zum(place):
    return preposition("zu", der(place, DATIVE))


def ins(place):
    return preposition("in", der(place, ACCUSATIVE))


RED, NEW, BIG = words.COLOURS[5], words.AGES[0], words.SIZES[0]
JACKET, SHIRT = entry(nouns.CLOTHES, "jacket"), entry(nouns.CLOTHES, "shirt")
COAT, SHOES = entry(nouns.CLOTHES, "coat"), entry(nouns.CLOTHES, "shoes")
BREAD, APPLES = entry(nouns.FOODS, "bread"), entry(nouns.PRODUCE, "apples")
UMBRELLA = entry(nouns.BELONGINGS, "umbrella")
MAY = entry(words.MONTHS, "May")

BROTHER, PARENTS = persons.MY_RELATIVES[0], persons.MY_RELATIVES[-1]
HE, ME, WE = persons.HE, persons.ME, persons.WE
CALL = entry(verbs.ACTIVITIES, "call the doctor")
CINEMA = entry(verbs.ACTIVITIES, "go to the cinema")
MUSEUM = entry(verbs.ACTIVITIES, "visit the museum")
TIDY = entry(verbs.ACTIVITIES, "tidy the room")


@pytest.mark.parametrize(
    ("made", "written"),
    [
        # Articles, cases and contractions.
        ((the(COAT), der(COAT, ACCUSATIVE)), "the coat | den Mantel"),
        ((a(UMBRELLA), ein(UMBRELLA, ACCUSATIVE)), "an umbrella | einen Regenschirm"),
        ((a(nouns.HOUR), ein(nouns.HOUR)), "an hour | eine Stunde"),
        ((the(SHOES), der(SHOES, DATIVE)), "the shoes | den Schuhen"),
        (("no bread", kein(BREAD, ACCUSATIVE)), "no bread | kein Brot"),
        (("this coat", dieser(COAT, ACCUSATIVE)), "this coat | diesen Mantel"),
        (
            ("to the station", preposition("zu", der(nouns.STATION, DATIVE))),
            "to the station | zum Bahnhof",
        ),
        (
            ("to the church", zum(nouns.CHURCH)),
            "to the church | zur Kirche",
        ),
        (
            ("into the cinema", ins(nouns.CINEMA)),
            "into the cinema | ins Kino",
        ),
        (("my parents", PARENTS.dative), "my parents | meinen Eltern"),
        # Adjectives.
        ((the(JACKET, RED), der(JACKET, NOMINATIVE, RED)), "the red jacket | die rote Jacke"),
        ((the(COAT, RED), der(COAT, DATIVE, RED)), "the red coat | dem roten Mantel"),
        ((a(COAT, NEW), ein(COAT, NOMINATIVE, NEW)), "a new coat | ein neuer Mantel"),
        ((a(SHIRT, RED), ein(SHIRT, ACCUSATIVE, RED)), "a red shirt | ein rotes Hemd"),
        ((a(JACKET, BIG), ein(JACKET, DATIVE, BIG)), "a big jacket | einer großen Jacke"),
        ((a(SHOES, RED), ein(SHOES, ACCUSATIVE, RED)), "red shoes | rote Schuhe"),
        (("fresh bread", bare(BREAD, DATIVE, words.FRESH)), "fresh bread | frischem Brot"),
        # Numbers, prices, dates and the clock.
        (number(21), "twenty-one | einundzwanzig"),
        (number(76), "seventy-six | sechsundsiebzig"),
        (count(1, nouns.BOTTLE, ACCUSATIVE), "a bottle | eine Flasche"),
        (count(3, nouns.DAY, DATIVE), "three days | drei Tagen"),
        (price(3, 50), "three euros fifty | drei Euro fünfzig"),
        (price(1), "one euro | ein Euro"),
        (date(3, MAY), "the third of May | dritten Mai"),
        (date(31, MAY), "the thirty-first of May | einunddreißigsten Mai"),
        (clock(3, 30), "half past three | halb vier"),
        (clock(12, 30), "half past twelve | halb eins"),
        (clock(3, 40), "twenty to four | zwanzig vor vier"),
        (clock(12, 45), "quarter to one | Viertel vor eins"),
        (clock(1, 0), "one o'clock | ein Uhr"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_phrases(made, written):
    assert " | ".join(made) == written


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (clauses.statement(clauses.present(ME, CALL)), "ich rufe den Arzt an"),
        (
            clauses.statement(clauses.present(BROTHER, TIDY), first="morgen"),
            "morgen räumt mein Bruder das Zimmer auf",
        ),
        (clauses.statement(clauses.perfect(WE, CINEMA)), "wir sind ins Kino gegangen"),
        (
            clauses.question(clauses.perfect(PARENTS, MUSEUM, "gestern")),
            "haben meine Eltern gestern das Museum besucht",
        ),
        (
            clauses.statement(clauses.modal(HE, "müssen", CALL, "morgen")),
            "er muss morgen den Arzt anrufen",
        ),
        (clauses.subordinate(clauses.present(HE, CALL)), "er den Arzt anruft"),
        (clauses.subordinate(clauses.perfect(HE, CALL)), "er den Arzt angerufen hat"),
        (clauses.subordinate(clauses.modal(ME, "können", CALL)), "ich den Arzt anrufen kann"),
        (clauses.negated(MUSEUM).complement, "das Museum nicht"),
        (clauses.negated(CINEMA).complement, "nicht ins Kino"),
        (clauses.zu_infinitive(TIDY.verb), "aufzuräumen"),
        (clauses.zu_infinitive(MUSEUM.verb), "zu besuchen"),
        (clauses.present_english("tidy the room", "er"), "tidies the room"),
        (clauses.present_english("watch a film", "er"), "watches a film"),
        (clauses.past_english("buy the tickets"), "bought the tickets"),
    ],
)
def test_clauses(made, written):
    assert made == written


@pytest.mark.parametrize(
    ("in_english", "in_german"),
    [
        (
            "Is there a good café opposite the town hall?",
            "Gibt es gegenüber dem Rathaus ein gutes Café?",
        ),
        (
            "My wife forgot her umbrella in the theatre yesterday.",
            "Meine Frau hat gestern ihren Regenschirm im Theater vergessen.",
        ),
        (
            "Where is our key? I cannot find it.",
            "Wo ist unser Schlüssel? Ich kann ihn nicht finden.",
        ),
        (
            "My husband likes the red boots better than the white ones.",
            "Meinem Mann gefallen die roten Stiefel besser als die weißen.",
        ),
        (
            "Please put the old book on the table.",
            "Bitte legen Sie das alte Buch auf den Tisch.",
        ),
        (
            "The old book is on the table.",
            "Das alte Buch liegt auf dem Tisch.",
        ),
        (
            "The coat that he bought yesterday is too small.",
            "Der Mantel, den er gestern gekauft hat, ist zu klein.",
        ),
        (
            "If I have time tomorrow, I will call the doctor.",
            "Wenn ich morgen Zeit habe, rufe ich den Arzt an.",
        ),
        (
            "We cannot go to the cinema because we have to pay the bill.",
            "Wir können nicht ins Kino gehen, weil wir die Rechnung bezahlen müssen.",
        ),
    ],
)
def test_sentences(everything, in_english, in_german):
    assert everything[in_english] == {in_german}
