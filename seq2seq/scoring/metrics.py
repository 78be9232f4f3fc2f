"""The metrics: functions from hypotheses and references to a score with its signature.

BLEU, chrF and TER are sacreBLEU's (Post 2018, https://aclanthology.org/W18-6319). They are given
detokenised text exactly as it is, which is what their signatures promise. ROUGE (Lin 2004,
https://aclanthology.org/W04-1013) is the rouge-score library's, on Unicode words: the library's own
tokenizer keeps only a-z and 0-9, which erases most scripts.

The libraries are imported where they are used: rouge-score brings NLTK, a quarter of a second.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from seq2seq.errors import UserError
from seq2seq.text.languages import bleu_tokenizer

# Scripts without spaces between words. Extensions (scx) count the long-vowel sign among the kana.
UNSPACED = "".join(
    rf"\p{{scx={script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
)
WORD = (
    rf"(?V1)[[\pL\pN]&&[{UNSPACED}]]\pM*"
    rf"|[[\pL\pN]--[{UNSPACED}]][[\pL\pM\pN]--[{UNSPACED}]]*"
)

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।])\s*")  # noqa: RUF001
OWN = version("seq2seq")


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

    @property
    def score(self) -> float:
        """That of all sentences: from 0 to 100; TER and perplexity have no upper end."""
        return self.aggregate(self.statistics.sum(axis=0))


def score(
    names: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    language: str = "",
) -> dict[str, Score]:
    """The scores of `hypotheses` in a language (a code, such as ja) by each of the named `METRICS`.

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


def words(text: str) -> list[str]:
    """The lower-cased words of a text in any script.

    A word is a run of letters, digits and the marks on them; in a script without spaces between
    words, each character with its marks is one.
    """
    import regex  # knows scripts and marks, unlike re

    return regex.findall(WORD, text.lower())


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str) -> Score:
    """BLEU (Papineni et al. 2002) on words of the language; the signature says what cut them."""
    tokenizer = bleu_tokenizer(language)
    # force: sacreBLEU would otherwise log a warning where text looks tokenized.
    return by_sacrebleu("BLEU", hypotheses, references, tokenize=tokenizer, force=True)


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
    statistics = np.array(metric._extract_corpus_statistics(hypotheses, references))

    def aggregate(sums: np.ndarray) -> float:
        return metric._compute_score_from_stats(sums.tolist()).score

    name = metric._compute_score_from_stats(statistics.sum(axis=0).tolist()).name
    return Score(name, metric.get_signature().format(), statistics, aggregate)


def by_rouge(
    kind: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """The mean ROUGE F1 of the sentences, each against the reference that suits it best.

    What has no n-grams scores 0: one word, even the right one, has no ROUGE-2.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=SimpleNamespace(tokenize=words))
    sentences = zip(hypotheses, zip(*references, strict=True), strict=True)
    best = [scorer.score_multi(choices, text)[kind].fmeasure for text, choices in sentences]
    signature = (
        f"nrefs:{len(references)}|refs:best-f1|case:lc|tok:unicode|stem:no|avg:sentence-f1"
        f"|version:rouge-score-{version('rouge-score')}"
    )
    return mean_of(kind.replace("rouge", "ROUGE-"), signature, [100 * one for one in best])


def rouge_of_summaries(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """ROUGE-L of the union of what the sentences of a summary have in common with the reference's.

    Sentences end with a mark such as . or 。, and at line ends.
    """

    def in_sentences(lines: Sequence[str]) -> list[str]:
        return [SENTENCE_END.sub("\n", line).strip() for line in lines]

    found = by_rouge("rougeLsum", in_sentences(hypotheses), list(map(in_sentences, references)))
    return found._replace(signature=f"{found.signature}|sent:marks")


def ter(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], language: str = ""
) -> Score:
    """TER (Snover et al. 2006); characters of Chinese and Japanese count as words."""
    unspaced = language.lower()[:2] in ("zh", "ja")
    return by_sacrebleu("TER", hypotheses, references, normalized=unspaced, asian_support=unspaced)


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
    "rouge1": partial(by_rouge, "rouge1"),
    "rouge2": partial(by_rouge, "rouge2"),
    "rougeL": partial(by_rouge, "rougeL"),
    "rougeLsum": rouge_of_summaries,
    "exact": exact,
    "length": length,
}
