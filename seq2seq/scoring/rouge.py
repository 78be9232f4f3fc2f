"""What ROUGE (Lin 2004) has of one text and one reference: Unicode words, and what is in common.

It finds what rouge-score finds, to the last digit, but a long line takes neither minutes nor
gigabytes.
"""

import re
from collections import Counter
from collections.abc import Sequence

from seq2seq.scoring.sequences import common_length, common_positions
from seq2seq.text.languages import UNSPACED_WORDS

# Extensions (scx) count the long-vowel sign among the kana.
UNSPACED = "".join(rf"\p{{scx={script}}}" for script in UNSPACED_WORDS)
WORD = (
    rf"(?V1)[[\pL\pN]&&[{UNSPACED}]]\pM*"
    rf"|[[\pL\pN]--[{UNSPACED}]][[\pL\pM\pN]--[{UNSPACED}]]*"
)

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।])\s*")  # noqa: RUF001
LONGEST = 100_000  # words of a text: two of them are compared in seconds
LARGEST = 25_000_000  # words of a summary times those of its reference: seconds


def words(text: str) -> list[str]:
    """The lower-cased words of a text in any script.

    A word is a run of letters, digits and the marks on them; in a script without spaces between
    words, each character with its marks is one.
    """
    import regex  # knows scripts and marks, unlike re

    return regex.findall(WORD, text.lower())


def subsequence_f1(text: str, reference: str) -> float:
    """ROUGE-L of a text: the F1 of the longest common subsequence, as rouge-score computes it."""
    one, other = words(text)[:LONGEST], words(reference)[:LONGEST]
    return f1(common_length(one, other), len(one), len(other))


def too_long(text: str) -> bool:
    """Whether a text has more words than are compared."""
    return len(text) > LONGEST and len(words(text)) > LONGEST


def f1(common: int, size: int, reference_size: int) -> float:
    """The F1 of what is in common, 0 where nothing is, computed in rouge-score's order."""
    if not size or not reference_size:
        return 0.0
    from rouge_score.scoring import fmeasure

    return float(fmeasure(common / size, common / reference_size))


def union_f1(text: str, reference: str) -> float:
    """ROUGE-Lsum of a text, of what is too large ROUGE-L."""
    if too_large(text, reference):
        return subsequence_f1(text, reference)
    one, other = in_sentences(text), in_sentences(reference)
    sizes = [sum(map(len, sentences)) for sentences in (one, other)]
    return f1(union_length(other, one), *sizes)


def too_large(text: str, reference: str) -> bool:
    """Whether all sentences of one text are too many to be compared with all of the other."""
    if len(text) * len(reference) <= LARGEST:  # no word is shorter than a character
        return False
    return len(words(text)) * len(words(reference)) > LARGEST


def in_sentences(text: str) -> list[list[str]]:
    """The words of each sentence of a text."""
    return [words(sentence) for sentence in SENTENCE_END.sub("\n", text).strip().split("\n")]


def union_length(reference: Sequence[Sequence[str]], candidate: Sequence[Sequence[str]]) -> int:
    """How many words of the reference's sentences are in common with any of the candidate's.

    No word counts more often than it is in the candidate, as in ROUGE-1.5.5.
    """
    left = Counter(word for sentence in candidate for word in sentence)
    others = {tuple(sentence): set(sentence) for sentence in candidate}
    hits = 0
    for sentence in reference:
        own = set(sentence)
        shared = [one for one, known in others.items() if not own.isdisjoint(known)]
        places = {place for one in shared for place in common_positions(sentence, one)}
        for word in (sentence[place] for place in places):
            if left[word] > 0:
                hits += 1
                left[word] -= 1
    return hits
