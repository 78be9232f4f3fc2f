"""What changed from one text to the next, word by word."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

UNSPACED = (  # letters of scripts that put no spaces between words
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3040", "\u30ff"),  # kana
    ("\u3400", "\u9fff"),  # Han
)


class Span(NamedTuple):
    """A part of a text, and what became of it."""

    kind: str  # same, added or removed
    text: str

    @property
    def space(self) -> str:
        """The white space before its first word, which need not be marked."""
        return self.text[: len(self.text) - len(self.text.lstrip())]

    @property
    def words(self) -> str:
        """What is behind that space."""
        return self.text.lstrip()


def changes(before: str, after: str) -> list[Span]:
    """The text after a change, part by part, with what was removed where it stood.

    Without the removed parts it is `after`, without the added ones `before`, to the letter.
    """
    old, new = list(parts(before)), list(parts(after))
    spans = []
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind == "equal":
            spans.append(Span("same", "".join(old[old_from:old_to])))
            continue
        spans.append(Span("removed", "".join(old[old_from:old_to])))
        spans.append(Span("added", "".join(new[new_from:new_to])))
    return [span for span in spans if span.text]


def parts(text: str) -> Iterator[str]:
    """The words of a text, each with the space before it; its single letters where it has none."""
    held = ""
    for letter in text:
        if (letter.isspace() and held.strip()) or alone(letter) or (held and alone(held[-1])):
            if held:
                yield held
            held = ""
        held += letter
    if held:
        yield held


def alone(letter: str) -> bool:
    """Whether a letter is a word's worth: of a script without spaces between words."""
    return any(first <= letter <= last for first, last in UNSPACED)
