"""Laws of scoring: each score is found a second way, by hand, by another program or in print."""

import csv
import gzip
import logging
import math
import os
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import get_args

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer, lcs_ind
from rouge_score.tokenize import tokenize

from seq2seq.config import Reported
from seq2seq.config.training import LOWER_IS_BETTER, Metric
from seq2seq.errors import UserError
from seq2seq.scoring.metrics import METRICS, bleu, lines_told, score, words
from seq2seq.scoring.rouge import SENTENCE_END, subsequence_f1, union_f1
from seq2seq.scoring.sequences import common_length, common_positions, edit_distance
from seq2seq.text.languages import MECAB

HYPOTHESES = [
    "A man in a blue shirt stands on a ladder.",
    "Two dogs play in the snow.",
    "The girl is reading a book, isn't she?",
    "In 2016, 3 people sat at the table.",
]
REFERENCES = [
    "A man wearing a blue shirt is standing on a ladder.",
    "Two dogs are playing in the snow.",
    "The girl reads a book, doesn't she?",
    "Three people were sitting at the table in 2016.",
]
OTHER_REFERENCES = [
    "A man in blue climbs a ladder.",
    "Two dogs play in the snow.",
    "That girl is reading.",
    "In 2016, 3 people sat down.",
]
ROUGE = ["rouge1", "rouge2", "rougeL"]


# The metrics as a whole


def test_metrics_and_perplexity_are_what_a_config_can_name():
    assert {*METRICS, "ppl", "bpc", "comet"} == set(get_args(Reported))
    chosen_by = set(get_args(Reported)) - {"bpc", "length", "comet"} | {"accuracy"}
    assert chosen_by == set(get_args(Metric))
    assert set(get_args(Reported)) >= LOWER_IS_BETTER


@pytest.mark.parametrize("name", METRICS)
def test_perfect_hypotheses_have_the_best_score(name):
    best = 0 if name in LOWER_IS_BETTER else 100
    assert METRICS[name](REFERENCES, [REFERENCES], "en").score == pytest.approx(best)


@pytest.mark.parametrize("name", METRICS)
def test_the_order_of_sentences_changes_nothing(name):
    lines = list(zip(HYPOTHESES, REFERENCES, OTHER_REFERENCES, strict=True))
    hypotheses, *references = zip(*lines[::-1], strict=True)
    found, expected = (
        METRICS[name](hypotheses, references, "en"),
        METRICS[name](HYPOTHESES, [REFERENCES, OTHER_REFERENCES], "en"),
    )
    assert found.score == pytest.approx(expected.score)
    assert found[:2] == expected[:2]
    assert found.statistics[::-1] == pytest.approx(expected.statistics)


@pytest.mark.parametrize("name", METRICS)
def test_the_best_of_several_references_counts(name):
    unlike = "Nothing here resembles it"
    first = [unlike, HYPOTHESES[1], unlike, HYPOTHESES[3]]
    second = [HYPOTHESES[0], unlike, HYPOTHESES[2], unlike]
    best = METRICS[name](HYPOTHESES, [HYPOTHESES], "en").score
    assert METRICS[name](HYPOTHESES, [first, second], "en").score == pytest.approx(best)
    assert METRICS[name](HYPOTHESES, [first], "en").score != pytest.approx(best)


@pytest.mark.parametrize(
    ("name", "title", "signature"),
    [
        ("bleu", "BLEU", "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu}"),
        ("chrf", "chrF2", "nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{sacrebleu}"),
        ("chrf++", "chrF2++", "nrefs:2|case:mixed|eff:yes|nc:6|nw:2|space:no|version:{sacrebleu}"),
        ("exact", "EXACT", "nrefs:2|case:mixed|space:strip|version:seq2seq-{own}"),
        ("length", "LENGTH", "nrefs:2|refs:nearest|tok:unicode|version:seq2seq-{own}"),
        ("ter", "TER", "nrefs:2|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:{sacrebleu}"),
        *(
            (
                f"rouge{kind}",
                f"ROUGE-{kind}",
                "nrefs:2|refs:best-f1|case:lc|tok:unicode|stem:no|avg:sentence-f1"
                "|version:rouge-score-{rouge}",
            )
            for kind in "12L"
        ),
    ],
)
def test_signatures_say_how_a_score_was_made(name, title, signature):
    result = METRICS[name](HYPOTHESES, [REFERENCES, OTHER_REFERENCES], "en")
    assert result.name == title
    assert result.signature == signature.format(
        sacrebleu=version("sacrebleu"), rouge=version("rouge-score"), own=version("seq2seq")
    )


def test_scoring_by_several_metrics_is_scoring_by_each():
    scores = score(list(METRICS), HYPOTHESES, [REFERENCES])
    assert list(scores) == list(METRICS)
    for name, result in scores.items():
        expected = METRICS[name](HYPOTHESES, [REFERENCES], "en")
        assert (result[:2], result.score) == (expected[:2], expected.score)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("", "13a"),
        ("de", "13a"),
        ("German", "13a"),
        ("zh", "zh"),
        ("zh_TW", "zh"),
        ("ZH-cn", "zh"),
        ("th", "char"),
        ("ja", "ja-mecab"),
        ("ko", "ko-mecab"),
    ],
)
def test_bleu_cuts_words_as_the_language_writes_them(language, tokenizer, monkeypatch):
    hypotheses, references = ["我喜欢你的 dog, Mr."], ["我喜欢他的 dog, Mr."]
    if module := MECAB.get(tokenizer):
        # these bring dictionaries of many megabytes: without them, characters
        assert bleu(hypotheses, [references], language).signature.split("|")[3] == "tok:char"
        monkeypatch.setattr("seq2seq.text.languages.find_spec", {module: object()}.get)
        with pytest.raises(RuntimeError, match="dependencies"):
            bleu(hypotheses, [references], language)
        return
    found = score(["bleu"], hypotheses, [references], language)["bleu"]
    expected = sacrebleu.BLEU(tokenize=tokenizer)
    assert found.score == expected.corpus_score(hypotheses, [references]).score
    assert found.signature == expected.get_signature().format()


def test_text_that_looks_tokenized_is_scored_without_a_word(caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        score(list(METRICS), ["A dog ."] * 200, [["A dog ."] * 200])
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (
            ["a"] * 1000,
            [["a"] * 1000, ["a"] * 1001],
            "hypotheses and references differ in number, 1,000 and 1,001: "
            "line n of one must belong to line n of the other",
        ),
        (
            [],
            [["a"]],
            "hypotheses and references differ in number, 0 and 1: "
            "line n of one must belong to line n of the other",
        ),
        ([], [[]], "there is nothing to score: hypotheses and references have 0 lines"),
    ],
)
def test_lines_without_a_partner_are_an_error(hypotheses, references, message):
    with pytest.raises(UserError) as error:
        score(["bleu"], hypotheses, references)
    assert str(error.value) == message


# BLEU, chrF and TER


def data() -> Path:
    """The folder of data that published scores are checked on."""
    if "SEQ2SEQ_DATA" not in os.environ:
        pytest.skip("SEQ2SEQ_DATA names no folder of data")
    return Path(os.environ["SEQ2SEQ_DATA"]) / "scorer"


def wmt17(name: str) -> list[str]:
    path = data() / "wmt17-en-de" / f"{name}.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def published(case: str) -> list[dict[str, str]]:
    with open(data() / "published.tsv", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["case"] == case]


@pytest.mark.parametrize("system", ["hyp.online-A.0", "hyp.online-B.0", "hyp.LIUM-NMT.4900"])
def test_bleu_and_chrf_are_as_published_for_wmt17(system):
    rows = [row for row in published("wmt17") if Path(row["hyp"]).name == system]
    expected = {row["metric"]: row["published"] for row in rows}
    scores = score(list(expected), wmt17(system), [wmt17("ref.de")])
    assert {"bleu", "chrf"} == set(expected)
    assert {name: f"{result.score:.1f}" for name, result in scores.items()} == expected


@pytest.mark.slow
def test_ter_is_as_published_for_wmt17():
    """The README of sacreBLEU shows online-A by three metrics: BLEU 20.8, chrF2 52.0, TER 69.0."""
    result = METRICS["ter"](wmt17("hyp.online-A.0"), [wmt17("ref.de")])
    assert f"{result.score:.1f}" == "69.0"


def test_ter_is_edits_by_words_of_the_references():
    references = ["the cat sat on the mat", "a dog barked", "it was late at night"]
    hypotheses = ["the cat lay on mat", "a dog barked", "at night it was late"]  # 2, 0, a shift
    assert METRICS["ter"](hypotheses, [references]).score == pytest.approx(100 * 3 / 14)


def test_bleu_and_chrf_mind_case_and_ter_does_not():
    loud = [text.upper() for text in REFERENCES]
    assert METRICS["bleu"](loud, [REFERENCES], "en").score < 50
    assert METRICS["chrf"](loud, [REFERENCES]).score < 50
    assert METRICS["ter"](loud, [REFERENCES]).score == 0


# ROUGE


@pytest.mark.parametrize("name", ROUGE)
def test_rouge_on_ascii_is_the_library_with_its_own_tokenizer(name):
    scorer = RougeScorer([name])
    pairs = zip(REFERENCES, HYPOTHESES, strict=True)
    expected = 100 * fmean(scorer.score(*pair)[name].fmeasure for pair in pairs)
    assert METRICS[name](HYPOTHESES, [REFERENCES], "en").score == pytest.approx(expected)
    assert 0 < expected < 100


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_the_library(text):
    assert words(text) == tokenize(text, None)


@settings(deadline=None)
@given(st.text())
def test_no_letter_or_digit_is_lost(text):
    kept = "".join(words(text))
    assert [c for c in kept if c.isalnum()] == [c for c in text.lower() if c.isalnum()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Die Straße, größer als 3½_m!", "die straße größer als 3½ m"),
        ("gro\u0308\u00dfer", "gro\u0308\u00dfer"),  # the umlaut's dots are a mark of their own
        ("Ёлка — это ель.", "ёлка это ель"),
        ("हिन्दी में", "हिन्दी में"),
        ("한국어 문장", "한국어 문장"),
        ("我有3本GPU书。", "我 有 3 本 gpu 书"),
        ("コーヒーを、飲む", "コ ー ヒ ー を 飲 む"),
        ("ดีครับ", "ดี ค รั บ"),
        ("I ❤\ufe0f it", "i it"),  # the mark on the heart is no word
        ("… » !", ""),
    ],
)
def test_words_of_any_script(text, expected):
    assert words(text) == expected.split()


@pytest.mark.parametrize(
    ("hypothesis", "reference", "rouge1", "rouge2", "rouge_l"),
    [
        # Shared: кошка, на, коврике; of 3 and 4 words. No pair is whole but "на коврике".
        ("Кошка на коврике.", "кошка спит на коврике", 6 / 7, 2 / 5, 6 / 7),
        # Shared: 我 喜 书 of 4 and 5 characters; 我喜 of 3 and 4 pairs.
        ("我喜买书", "我喜欢看书。", 6 / 9, 2 / 7, 6 / 9),
        # Shared: die, größere, straße of 3 and 3; no pair; one word stays in order.
        ("Straße größere die", "Die größere Straße", 1, 0, 1 / 3),
        # ö is not o: only "die" is shared, of 2 and 2.
        ("Die Grossen", "Die Größen", 1 / 2, 0, 1 / 2),
    ],
)
def test_rouge_is_as_counted_by_hand(hypothesis, reference, rouge1, rouge2, rouge_l):
    scores = score(ROUGE, [hypothesis], [[reference]])
    expected = [100 * rouge1, 100 * rouge2, 100 * rouge_l]
    assert [scores[name].score for name in ROUGE] == pytest.approx(expected)


def test_rouge_takes_the_best_reference_of_each_sentence():
    both = METRICS["rouge1"](HYPOTHESES, [REFERENCES, OTHER_REFERENCES]).score
    best = [
        max(METRICS["rouge1"]([text], [[choice]]).score for choice in choices)
        for text, *choices in zip(HYPOTHESES, REFERENCES, OTHER_REFERENCES, strict=True)
    ]
    assert both == pytest.approx(fmean(best))


@pytest.mark.parametrize("name", ROUGE)
def test_rouge_is_what_the_original_perl_program_computed(name):
    """ROUGE-1.5.5 without its stemmer, whose words on this ASCII text are ours.

    It prints five decimals of a share, so 100 times that is off by at most 0.0005.
    """
    hypotheses, references = (
        (data() / "rouge155" / file).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        for file in ("prediction.txt", "target.txt")
    )
    rows = [row for row in published("rouge_google") if row["metric"] == f"{name}-F"]
    expected = [100 * float(row["published"]) for row in rows]
    pairs = zip(hypotheses, references, strict=True)
    scores = [METRICS[name]([text], [[reference]]).score for text, reference in pairs]
    assert scores == pytest.approx(expected, abs=0.0005)
    assert METRICS[name](hypotheses, [references]).score == pytest.approx(
        fmean(expected), abs=0.0005
    )


# What is counted in other ways


def test_chrf_plus_plus_is_that_of_sacrebleu():
    expected = sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES], word_order=2).score
    assert METRICS["chrf++"](HYPOTHESES, [REFERENCES], "en").score == pytest.approx(expected)


@pytest.mark.parametrize("language", ["zh", "ja-JP", "de", ""])
def test_ter_of_unspaced_scripts_counts_characters(language):
    """One of four characters differs; as words between spaces, everything does."""
    found = METRICS["ter"](["我喜欢书"], [["我喜欢猫"]], language).score
    assert found == pytest.approx(25 if language[:2] in ("zh", "ja") else 100)


def test_rouge_of_summaries_is_the_librarys_on_a_sentence_a_line():
    summary = "Two dogs play. A man climbs a ladder!  She reads."
    reference = "A man stands on a ladder. She reads a book. Dogs play in the snow."
    scorer = RougeScorer(["rougeLsum", "rougeL"])
    lines = [one.replace(". ", ".\n").replace("! ", "!\n") for one in (reference, summary)]
    expected = scorer.score(*lines)["rougeLsum"].fmeasure
    assert METRICS["rougeLsum"]([summary], [[reference]]).score == pytest.approx(100 * expected)
    assert expected > scorer.score(reference, summary)["rougeL"].fmeasure
    unspaced = METRICS["rougeLsum"](["我看书。他喝茶。"], [["他喝茶。我看书。"]]).score
    assert unspaced == pytest.approx(100)


def test_exact_matches_are_letter_by_letter():
    found = METRICS["exact"]([" yes", "No", "maybe", ""], [["yes", "no", "or", ""], [*"abmd"]])
    assert found.score == pytest.approx(50)
    assert METRICS["exact"](["m"], [["or"], ["m"]]).score == 100


def test_length_is_of_words_against_the_nearest_reference():
    hypotheses, first = ["one two three", "a"], ["one two", "b c d"]
    assert METRICS["length"](hypotheses, [first]).score == pytest.approx(100 * 4 / 5)
    second = ["a b c d e f", "x"]
    assert METRICS["length"](hypotheses, [first, second]).score == pytest.approx(100 * 4 / 3)
    assert METRICS["length"](["word"], [[""]]).score == math.inf


# Languages


@pytest.mark.parametrize("language", ["zho_Hans", "cmn", "Chinese", "yue_Hant"])
def test_a_language_is_cut_alike_by_any_name(language):
    hypotheses, references = ["我喜欢你的狗。"], ["我喜欢他的狗。"]
    for name in ("bleu", "ter"):
        found, expected = (METRICS[name](hypotheses, [references], one) for one in (language, "zh"))
        assert (found.score, found[1]) == (expected.score, expected[1])
        assert 0 < found.score < 100
        assert not found.notes


@pytest.mark.parametrize("language", ["jav", "zsm", "sql", "de_DE"])
def test_ter_counts_words_where_there_are_spaces(language):
    assert METRICS["ter"](["satu dua"], [["satu tiga"]], language).score == 50
    assert "asian:no" in METRICS["ter"](["satu"], [["satu"]], language).signature


@pytest.mark.parametrize(
    ("text", "script", "language", "remedy"),
    [
        ("我喜欢书", "Han", "", "such as zh, ja or th"),
        ("カタカナ", "Katakana", "", "--language"),
        ("ສະບາຍດີ", "Lao", "de", "not de"),
        ("བཀྲ་ཤིས་", "Tibetan", "target", "not target"),
    ],
)
def test_text_without_spaces_and_language_is_told_of(text, script, language, remedy):
    for name in ("bleu", "ter"):
        (note,) = METRICS[name]([text, "a"], [[text, "a"]], language).notes
        assert f"1 of 2 references are in {script}," in note
        assert remedy in note
        assert "chrF" in note


def test_ter_is_said_to_have_no_words_of_scripts_that_it_does_not_know():
    (note,) = METRICS["ter"](["ดีครับ"], [["ดีครับ"]], "tha_Thai").notes
    assert note.endswith("written without spaces: go by chrF, which needs no words")
    assert not METRICS["bleu"](["ดีครับ"], [["ดีครับ"]], "tha_Thai").notes


def test_a_foreign_name_in_the_text_is_no_reason_to_warn():
    lines = ["The word 我 is Chinese."] * 50 + ["我"]
    assert not METRICS["bleu"](lines, [lines], "").notes


def test_a_missing_tokenizer_is_said_with_its_remedy(monkeypatch):
    monkeypatch.setattr("seq2seq.text.languages.find_spec", lambda module: None)
    for language, extra in (("Japanese", "ja"), ("kor_Hang", "ko")):
        (note,) = METRICS["bleu"](["a"], [["a"]], language).notes
        assert note.endswith(f"(tok:{extra}-mecab): pip install 'sacrebleu[{extra}]'")


# Long lines


SOME = st.lists(st.sampled_from("abcd"), max_size=20)


@settings(deadline=None)
@given(SOME, SOME)
def test_distances_are_those_of_the_whole_table(one, other):
    row = list(range(len(other) + 1))
    for place, word in enumerate(one, start=1):
        above, row = row, [place]
        for n, another in enumerate(other):
            row.append(min(above[n] + (word != another), above[n + 1] + 1, row[-1] + 1))
    assert edit_distance(one, other) == row[-1]
    assert common_positions(one, other)[::-1] == lcs_ind(one, other)
    assert common_length(one, other) == len(lcs_ind(one, other))


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from(["a", "b", "c. ", "d!\n"]))] * 2), max_size=4))
def test_rouge_is_the_librarys_to_the_last_digit(texts):
    for one, other in (map(" ".join, pair) for pair in texts):
        scorer = RougeScorer(["rougeL", "rougeLsum"])
        lines = [SENTENCE_END.sub("\n", text).strip() for text in (other, one)]
        found = [subsequence_f1(one, other), union_f1(one, other)]
        expected = [
            scorer.score(other, one)["rougeL"].fmeasure,
            scorer.score(*lines)["rougeLsum"].fmeasure,
        ]
        assert found == expected


def test_lines_of_twenty_thousand_words_are_scored_at_once():
    numbers = [n * n % 7919 for n in range(20_000)]
    one, other = (" ".join(map(str, some)) for some in (numbers, numbers[::-1]))
    scores = score(list(METRICS), ["a cat", one], [["the cat", other]])
    assert scores["ter"].notes == (
        "TER looks for no shifts of words in line 2, of more than 400 words: there it counts "
        "single words as edits, and may be too high",
    )
    assert scores["ter"].signature.endswith("|long:no-shifts")
    assert scores["rougeLsum"].notes == (
        "ROUGE-Lsum takes the text of line 2, too long for it, for one sentence, of at most "
        "100,000 words",
    )
    assert scores["rougeLsum"].score == scores["rougeL"].score


def test_texts_without_end_are_compared_as_far_as_is_said(monkeypatch):
    for module in ("metrics", "rouge"):
        monkeypatch.setattr(f"seq2seq.scoring.{module}.LONGEST", 500)
    hypothesis, reference = "a b " * 500, "a c " * 250 + "d"
    ter, rouge = (METRICS[name]([hypothesis], [[reference]]) for name in ("ter", "rougeL"))
    assert ter.score == 50
    assert ter.notes[0].endswith("; of a text it compares the first 500 words")
    assert rouge.score == 50
    assert rouge.notes == ("ROUGE-L compares the first 500 words of line 1 only",)
    assert rouge.signature.endswith("|long:first-500")
    whole = METRICS["rougeL"](["a b " * 250], [["a c " * 250]])
    assert whole.score == 50
    assert rouge.is_like(whole)
    assert not whole.notes


def test_ter_of_ordinary_lines_is_sacrebleus_beside_a_long_one():
    line = " ".join(f"w{n}" for n in range(401))
    changed = line.replace("w7 ", "x ").replace("w9 ", "")
    found = METRICS["ter"]([*HYPOTHESES, changed], [[*REFERENCES, line], [*OTHER_REFERENCES, line]])
    expected = METRICS["ter"](HYPOTHESES, [REFERENCES, OTHER_REFERENCES])
    assert found.statistics[:-1].tolist() == expected.statistics.tolist()
    assert found.statistics[-1].tolist() == [2, 401]
    assert found.is_like(expected)
    assert not found.is_like(METRICS["ter"](HYPOTHESES, [REFERENCES]))
    assert "long" not in expected.signature
    assert not expected.notes


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([2], "line 3"),
        ([4, 0], "lines 1 and 5"),
        (range(1_000), "1,000 lines (1, 2, 3, 4, 5, ...)"),
    ],
)
def test_lines_are_told_by_their_numbers(lines, told):
    assert lines_told(lines) == told
