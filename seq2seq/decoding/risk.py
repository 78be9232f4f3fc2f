"""Minimum Bayes risk: of several translations, the one that is most like all others.

Each is compared with all that were found, which stand for what a translator might say (Kumar and
Byrne 2004; Eikema and Aziz 2020).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from seq2seq.text.languages import bleu_tokenizer

Utility = Callable[[str, str], float]  # how good a translation is if the other is the true one


def least_risk(texts: Sequence[str], utility: Utility) -> list[int]:
    """The places of texts, that of the highest mean utility first; each text stands there once.

    A text that is there several times counts as often in the means. Of equal means, the first in
    the list is first.
    """
    counts = Counter(texts)
    means = {
        text: sum(count * utility(text, other) for other, count in counts.items()) / len(texts)
        for text in counts
    }
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    return [first[text] for text in sorted(counts, key=lambda text: -means[text])]


def chrf(text: str, other: str, language: str = "") -> float:
    """The chrF of a translation (Popović 2015), 0 to 100."""
    return _metric("CHRF").sentence_score(text, [other]).score


def bleu(text: str, other: str, language: str = "") -> float:
    """The BLEU of a translation of one line (Papineni et al. 2002), 0 to 100.

    Words are those of the language (a code, such as ja), as in every BLEU that is reported.
    """
    metric = _metric("BLEU", effective_order=True, tokenize=bleu_tokenizer(language))
    return metric.sentence_score(text, [other]).score


UTILITIES: dict[str, Callable[[str, str, str], float]] = {"chrf": chrf, "bleu": bleu}


@cache
def _metric(name: str, **options: Any) -> Any:
    """A metric of sacreBLEU, made once: that takes longer than a score."""
    import sacrebleu.metrics

    return getattr(sacrebleu.metrics, name)(**options)
