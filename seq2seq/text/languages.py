"""What a language asks for, by its code, such as ja or zh-TW."""

import re
from importlib.util import find_spec

# How sacreBLEU cuts what has no spaces between words; all else is cut as WMT's mteval-v13a does.
TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"} | dict.fromkeys(
    ("th", "lo", "km", "my", "bo"), "char"
)
MECAB = {"ja-mecab": "MeCab", "ko-mecab": "mecab_ko"}  # the module that each needs


def bleu_tokenizer(language: str) -> str:
    """The name of sacreBLEU's tokenizer for a language: 13a for all that have spaces.

    Japanese and Korean are cut by MeCab, and by characters where it is not installed.
    """
    tokenizer = TOKENIZERS.get(re.split("[-_]", language.lower())[0], "13a")
    if tokenizer in MECAB and not find_spec(MECAB[tokenizer]):
        return "char"
    return tokenizer
