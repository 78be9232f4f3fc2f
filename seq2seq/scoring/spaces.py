"""Text without spaces between words, and what metrics of words make of it."""

from collections import Counter
from collections.abc import Sequence

import regex

from seq2seq.text.languages import MECAB, UNSPACED, lacks_mecab, tokenizer_of

LETTER = regex.compile(r"\pL")
OF_SCRIPT = {script: regex.compile(rf"\p{{scx={script}}}") for script in UNSPACED}
ANY = regex.compile(f"[{''.join(one.pattern for one in OF_SCRIPT.values())}]")
MANY = 0.05  # share of the lines from which on they are told of


def without_spaces(lines: Sequence[str]) -> Counter[str]:
    """Return how many lines are mostly in a script without spaces, by the script's name."""
    found: Counter[str] = Counter()
    for line in lines:
        if line.isascii():
            continue
        letters = LETTER.findall(line)
        unspaced = [letter for letter in letters if ANY.match(letter)]
        if 2 * len(unspaced) > len(letters):
            first = unspaced[0]
            found[next(name for name, script in OF_SCRIPT.items() if script.match(first))] += 1
    return found


def unfit_cut(metric: str, language: str, references: Sequence[str]) -> str:
    """Return what is wrong with a metric that cuts references at spaces; "" if nothing is."""
    found = without_spaces(references)
    lines = sum(found.values())
    if not lines or lines < MANY * len(references):
        return ""
    tokenizer = tokenizer_of(language)
    remedy = "go by chrF, which needs no words"
    if tokenizer == "13a":
        given = f"not {language}" if language else "such as zh, ja or th"
        remedy = f"give their language, {given} (--language, or data.target), or {remedy}"
    return (
        f"{metric} takes what is between spaces for a word, but {lines:,} of {len(references):,} "
        f"references are in {' and '.join(sorted(found))}, written without spaces: {remedy}"
    )


def missing_tokenizer(language: str) -> str:
    """Return what to install so that BLEU has the words of others; "" if it has them."""
    tokenizer = tokenizer_of(language)
    if not lacks_mecab(tokenizer):
        return ""
    extra = tokenizer.partition("-")[0]
    return (
        f"BLEU counts characters (tok:char), because {MECAB[tokenizer]} is not installed; for "
        f"words as others report them (tok:{tokenizer}): pip install 'sacrebleu[{extra}]'"
    )
