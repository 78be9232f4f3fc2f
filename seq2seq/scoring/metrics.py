"""The metrics: functions from hypotheses and references to a score with its signature.

BLEU, chrF and TER are sacreBLEU's (Post 2018, https://aclanthology.org/W18-6319). They are given
detokenised text exactly as it is, which is what their signatures promise. ROUGE (Lin 2004,
https://aclanthology.org/W04-1013) is that of the rouge-score library, on Unicode words: its own
tokenizer keeps only a-z and 0-9, which erases most scripts.

What they do to very long lines takes minutes and gigabytes. Edit distances and longest common
subsequences are bounded here, with a note that says so where a score is not theirs to the digit.

The libraries are imported where they are used: rouge-score brings NLTK, a quarter of a second.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from seq2seq.errors import UserError
from seq2seq.scoring.rouge import LONGEST, subsequence_f1, too_large, too_long, union_f1, words
from seq2seq.scoring.sequences import edit_distance
from seq2seq.scoring.spaces import missing_tokenizer, unfit_cut
from seq2seq.text.languages import bleu_tokenizer, has_chinese_characters

OWN = version("seq2seq")
LONGEST_SHIFTED = 400  # words of a line; TER's search for shifts in more takes minutes
LONG = "|long:"  # begins the part of a signature that says what was done to long lines


class Score(NamedTuple):
    """How good a set of hypotheses is by one metric: what is added up, and what that makes."""

    name: str
    """The metric as a table shows it, such as BLEU or ROUGE-L."""
    signature: str
    """What has to agree before two scores can be compared, in sacreBLEU's style."""
    statistics: np.ndarray
    """What of each sentence is added up: (sentences, statistics)."""
    aggregate: Callable[[np.ndarray], float]
    """From such sums (statistics,), of any selection of sentences, to their score."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of it, in words."""

    @property
    def score(self) -> float:
        """That of all sentences: from 0 to 100; TER and perplexity have no upper end."""
        return self.aggregate(self.statistics.sum(axis=0))

    def is_like(self, other: "Score") -> bool:
        """Whether another was made alike, so that they can be compared: long lines alike, too."""
        return self.signature.split(LONG)[0] == other.signature.split(LONG)[0]


def score(
    names: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    language: str = "",
) -> dict[str, Score]:
    """The scores of `hypotheses` in a language (such as ja) by each of the named `METRICS`.

    `references` holds one or more sets of references, each as long as `hypotheses`. A `UserError`
    says where a set is not, or that there is nothing to score.
    """
    for reference in references:
        if len(reference) != len(hypotheses):
            raise UserError(
                f"hypotheses and references differ in number, {len(hypotheses):,} and "
                f"{len(reference):,}: line n of one must belong to line n of the other"
            )
    if not hypotheses:
        raise UserError("there is nothing to score: hypotheses and references have 0 lines")
    return {name: METRICS[name](hypotheses, references, language) for name in names}


def notes_of(scores: Mapping[str, Score]) -> list[str]:
    """What a reader has to know of some scores, each note once."""
    return list(dict.fromkeys(note for one in scores.values() for note in one.notes))


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str) -> Score:
    """BLEU (Papineni et al. 2002) on words of the language; the signature says what cut them."""
    tokenizer = bleu_tokenizer(language)
    # force: sacreBLEU would otherwise log a warning where text looks tokenized.
    found = by_sacrebleu("BLEU", hypotheses, references, tokenize=tokenizer, force=True)
    note = missing_tokenizer(language)
    if tokenizer == "13a":
        note = unfit_cut("BLEU", language, references[0])
    return found._replace(notes=(note,) if note else ())


def by_sacrebleu(
    kind: str,
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    language: str = "",
    **options: Any,
) -> Score:
    """The score of the whole corpus by sacreBLEU's metric of that name."""
    from sacrebleu.metrics import METRICS as KINDS

    metric = KINDS[kind](**options)
    # not a public name, but what its own tests of significance are made with
    return summed(metric, metric._extract_corpus_statistics(hypotheses, references))


def summed(metric: Any, statistics: Sequence[Sequence[float]]) -> Score:
    """The score of sentences of which a metric of sacreBLEU has these statistics."""

    def aggregate(sums: np.ndarray) -> float:
        return metric._compute_score_from_stats(sums.tolist()).score

    found = np.array(statistics)
    name = metric._compute_score_from_stats(found.sum(axis=0).tolist()).name
    return Score(name, metric.get_signature().format(), found, aggregate)


def ter(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """TER (Snover et al. 2006); characters of Chinese and Japanese count as words.

    In lines of more than `LONGEST_SHIFTED` words no shifts are looked for, whatever the system, so
    that systems can be compared.
    """
    from sacrebleu.metrics import TER

    unspaced = has_chinese_characters(language)
    metric = TER(normalized=unspaced, asian_support=unspaced)
    long: dict[int, list[list[str]]] = {}  # the words of the texts of long lines
    for n, texts in enumerate(zip(hypotheses, *references, strict=True)):
        if max(map(len, texts)) > LONGEST_SHIFTED:  # in characters, or there are not so many words
            cut = [metric._preprocess_segment(text).split() for text in texts]
            if max(map(len, cut)) > LONGEST_SHIFTED:
                long[n] = [some[:LONGEST] for some in cut]
    short, *others = (
        ["" if n in long else text for n, text in enumerate(side)]
        for side in (hypotheses, *references)
    )
    statistics = metric._extract_corpus_statistics(short, others)
    for n, (hypothesis, *choices) in long.items():
        edits = min(edit_distance(hypothesis, choice) for choice in choices)
        statistics[n] = [edits, sum(map(len, choices)) / len(choices)]
    found = summed(metric, statistics)
    if not unspaced and (note := unfit_cut("TER", language, references[0])):
        found = found._replace(notes=(note,))
    if not long:
        return found
    told = (
        f"TER looks for no shifts of words in {lines_told(long)}, of more than {LONGEST_SHIFTED} "
        "words: there it counts single words as edits, and may be too high"
    )
    if any(len(one) == LONGEST for texts in long.values() for one in texts):
        told = f"{told}; of a text it compares the first {LONGEST:,} words"
    return found._replace(signature=f"{found.signature}{LONG}no-shifts", notes=(*found.notes, told))


def lines_told(numbers: Iterable[int], most: int = 5) -> str:
    """The numbers of lines, from 0, as people count and read them: line 3, or lines 1, 3 and 4."""
    some = [f"{number + 1:,}" for number in sorted(numbers)]
    if len(some) == 1:
        return f"line {some[0]}"
    if len(some) > most:
        return f"{len(some):,} lines ({', '.join(some[:most])}, ...)"
    return f"lines {', '.join(some[:-1])} and {some[-1]}"


def rouge_n(
    size: int, hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """The mean F1 of n-grams of words of the sentences.

    What has no n-grams scores 0: one word, even the right one, has no ROUGE-2.
    """
    from rouge_score.rouge_scorer import RougeScorer

    kind = f"rouge{size}"
    scorer = RougeScorer([kind], tokenizer=SimpleNamespace(tokenize=words))
    return of_best(
        f"ROUGE-{size}",
        lambda text, reference: scorer.score(reference, text)[kind].fmeasure,
        hypotheses,
        references,
    )


def rouge_l(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """The mean F1 of the longest common subsequences of words of the sentences."""
    found = of_best("ROUGE-L", subsequence_f1, hypotheses, references)
    sentences = zip(hypotheses, *references, strict=True)
    long = [n for n, texts in enumerate(sentences) if any(map(too_long, texts))]
    if not long:
        return found
    told = f"ROUGE-L compares the first {LONGEST:,} words of {lines_told(long)} only"
    return found._replace(signature=f"{found.signature}{LONG}first-{LONGEST}", notes=(told,))


def rouge_of_summaries(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """ROUGE-L of the union of what the sentences of a summary have in common with the reference's.

    Sentences end with a mark such as . or 。, and at line ends. A summary too large to
    compare all of them is one sentence.
    """
    found = of_best("ROUGE-Lsum", union_f1, hypotheses, references)
    found = found._replace(signature=f"{found.signature}|sent:marks")
    sentences = zip(hypotheses, zip(*references, strict=True), strict=True)
    long = [n for n, (text, some) in enumerate(sentences) if any(too_large(text, o) for o in some)]
    if not long:
        return found
    told = (
        f"ROUGE-Lsum takes the text of {lines_told(long)}, too long for it, for one sentence, "
        f"of at most {LONGEST:,} words"
    )
    return found._replace(signature=f"{found.signature}{LONG}one-sentence", notes=(told,))


def of_best(
    name: str,
    similarity: Callable[[str, str], float],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
) -> Score:
    """The mean ROUGE of the sentences, each against the reference that suits it best."""
    sentences = zip(hypotheses, zip(*references, strict=True), strict=True)
    best = [max(similarity(text, one) for one in choices) for text, choices in sentences]
    signature = (
        f"nrefs:{len(references)}|refs:best-f1|case:lc|tok:unicode|stem:no|avg:sentence-f1"
        f"|version:rouge-score-{version('rouge-score')}"
    )
    return mean_of(name, signature, [100 * one for one in best])


def exact(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """How many in a hundred are a reference, letter by letter, but for spaces around them."""
    sentences = zip(hypotheses, zip(*references, strict=True), strict=True)
    same = [text.strip() in map(str.strip, choices) for text, choices in sentences]
    signature = f"nrefs:{len(references)}|case:mixed|space:strip|version:seq2seq-{OWN}"
    return mean_of("EXACT", signature, [100.0 * one for one in same])


def length(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """Words of the hypotheses for 100 of the references; of several, that nearest in length."""
    statistics = []
    for text, choices in zip(hypotheses, zip(*references, strict=True), strict=True):
        size = len(words(text))
        nearest = min((len(words(one)) for one in choices), key=lambda one: (abs(one - size), one))
        statistics.append((size, nearest))
    signature = f"nrefs:{len(references)}|refs:nearest|tok:unicode|version:seq2seq-{OWN}"
    return Score(
        "LENGTH",
        signature,
        np.array(statistics, dtype=float),
        lambda sums: 100 * float(sums[0] / sums[1]) if sums[1] else math.inf,
    )


def mean_of(name: str, signature: str, scores: Sequence[float]) -> Score:
    """A score that is the mean of the scores of sentences."""
    statistics = np.stack([np.array(scores, dtype=float), np.ones(len(scores))], axis=1)
    return Score(name, signature, statistics, lambda sums: float(sums[0] / sums[1]))


METRICS: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]], str], Score]] = {
    "bleu": bleu,
    "chrf": partial(by_sacrebleu, "CHRF"),
    "chrf++": partial(by_sacrebleu, "CHRF", word_order=2),
    "ter": ter,
    "rouge1": partial(rouge_n, 1),
    "rouge2": partial(rouge_n, 2),
    "rougeL": rouge_l,
    "rougeLsum": rouge_of_summaries,
    "exact": exact,
    "length": length,
}
