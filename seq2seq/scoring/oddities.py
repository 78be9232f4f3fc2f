"""What commonly goes wrong with hypotheses: counted, and said where it is no accident."""

from collections.abc import Sequence

from seq2seq.scoring.metrics import words

LONG = 2.0  # times as many words as the reference
REPEATS = 4  # times in a row that some words stand there
LONGEST_REPEATED = 4  # words
MANY = 0.05  # share of the lines from which on something is no accident
PIECES = ("\u2581", "@@")  # marks of SentencePiece and of subword-nmt
CUT_OFF = (" ,", " .", " ?", " !", " ;", " n't", "@-@", " 's", "&apos;", "&quot;")


def counted(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    sources: Sequence[str] | None = None,
) -> dict[str, int]:
    """How many hypotheses are empty, copies of their source, repetitions, and far too long.

    A repetition has up to four words standing there four times in a row, and no reference has; too
    long are more than twice as many words as any reference has. `sources` may be unknown.
    """
    choices = list(zip(*references, strict=True))
    both = list(zip(hypotheses, choices, strict=True))
    found = {
        "empty": sum(not text.strip() for text in hypotheses),
        "repetitions": sum(
            repeats(words(text)) and not any(repeats(words(one)) for one in some)
            for text, some in both
        ),
        "too_long": sum(
            len(words(text)) > LONG * max(len(words(one)) for one in some) for text, some in both
        ),
    }
    if sources is not None:
        found["copies"] = sum(
            bool(text.strip()) and text.strip() == source.strip() and text not in some
            for (text, some), source in zip(both, sources, strict=True)
        )
    return found


def distinct(hypotheses: Sequence[str]) -> dict[str, float]:
    """The share of words, and of pairs of words in a row, that are others than all those before.

    It tells how varied answers are (Li et al. 2016, https://aclanthology.org/N16-1014). The more
    lines there are, the less of them is new: only test sets of a size can be compared.
    """
    lines = [words(text) for text in hypotheses]
    found = {}
    for name, size in (("words", 1), ("pairs", 2)):
        grams = [
            gram for line in lines for gram in zip(*(line[n:] for n in range(size)), strict=False)
        ]
        found[name] = len({*grams}) / max(len(grams), 1)
    return found


def repeats(text: Sequence[str]) -> bool:
    """Whether some words stand there again and again, right behind each other."""
    for size in range(1, LONGEST_REPEATED + 1):
        same = 0  # words in a row that are those `size` before them
        for before, word in zip(text, text[size:], strict=False):
            same = same + 1 if word == before else 0
            if same >= size * (REPEATS - 1):
                return True
    return False


def suspicions(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[str]:
    """What seems to be wrong with the hypotheses as a whole, in words."""
    found = []
    some = [one for side in references for one in side]
    if share(hypotheses, PIECES) > MANY + share(some, PIECES):
        found.append("hypotheses seem to be in pieces (▁ or @@); join them to text first")
    elif share(hypotheses, CUT_OFF) > 4 * MANY + share(some, CUT_OFF):
        found.append("hypotheses seem to be tokenized, as in 'Hello , world .'; detokenize first")
    if cased(some) and not cased(hypotheses):
        found.append("hypotheses have no capital letters, but references do; restore case first")
    if (empty := sum(not text.strip() for text in hypotheses)) > MANY * len(hypotheses):
        found.append(f"{empty:,} of {len(hypotheses):,} hypotheses are empty")
    return found


def share(lines: Sequence[str], marks: Sequence[str]) -> float:
    """The share of lines that have one of some marks in them."""
    return sum(any(mark in line for mark in marks) for line in lines) / max(len(lines), 1)


def cased(lines: Sequence[str]) -> bool:
    """Whether there are capital letters."""
    return any(line != line.lower() for line in lines)
