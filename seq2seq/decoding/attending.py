"""What attention tells of translations: their alignment, and what their unknown pieces stand for.

The weights are those of the model that is asked for the likelihood of each translation (see
`forced`): their mean over layers and heads.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.config import Config
from seq2seq.console import say
from seq2seq.data.tokenizer import SPACE_MARK, UNK, Tokenizer, Tokenizers
from seq2seq.decoding.alignment import align
from seq2seq.decoding.members import Member
from seq2seq.decoding.surface import read, words, written
from seq2seq.errors import UserError

# sources and translations, both as pieces without </s>; the weights (T + 1, S + 1) of each pair
Attend = Callable[[Sequence[tuple[list[int], list[int]]]], list[np.ndarray]]


class Wishes(NamedTuple):
    """What is wanted of attention."""

    alignments: bool = False
    replace_unknown: bool = False


class Source(NamedTuple):
    """A line, and the pieces that a model read of it."""

    line: str  # as it was given
    plain: str  # as the tokenizer's pieces spell it
    ids: list[int]  # all pieces of it, though the last may have been cut off
    front: int  # pieces before them: a tag

    @property
    def known(self) -> list[str]:
        """The words as the model sees them."""
        return self.plain.split()

    @property
    def given(self) -> list[str]:
        """The words of the line, as long as normalization has kept their number."""
        given = self.line.split()
        return given if len(given) == len(self.known) else self.known


class Seen(NamedTuple):
    """A translation by the light of attention."""

    text: str | None  # with its unknown pieces replaced; None if there are none to replace
    alignment: np.ndarray | None  # (target words, source words), if it is wanted


class Attention:
    """Looks at translations as `wishes` say."""

    def __init__(self, attend: Attend, tokenizers: Tokenizers, wishes: Wishes) -> None:
        self.attend = attend
        self.tokenizers = tokenizers
        self.wishes = wishes
        self.whole_words = has_whole_words(tokenizers.target)

    def of(self, pairs: Sequence[tuple[Source, list[int], list[int]]]) -> list[Seen]:
        """What is seen of lines, of the pieces that were read of them, and of those written."""
        seen = [Seen(None, None)] * len(pairs)
        asked = [
            number
            for number, (_, _, written_ids) in enumerate(pairs)
            if self.wishes.alignments or (self.wishes.replace_unknown and UNK in written_ids)
        ]
        weights = self.attend([pairs[number][1:] for number in asked])
        for number, attention in zip(asked, weights, strict=True):
            source, ids, written_ids = pairs[number]
            seen[number] = self._seen(source, ids, written_ids, attention)
        return seen

    def _seen(
        self, source: Source, ids: list[int], written_ids: list[int], attention: np.ndarray
    ) -> Seen:
        texts = read(source.plain, source.ids, self.tokenizers.source)
        numbers = words(texts)[: len(ids) - source.front]
        unknown, text = {}, None
        if self.wishes.replace_unknown and UNK in written_ids:
            inside = attention[:, source.front : len(ids)]
            unknown = {
                place: self._replacement(source, texts, numbers, inside[place])
                for place, token in enumerate(written_ids)
                if token == UNK
            }
        target_texts = written(written_ids, self.tokenizers.target, unknown)
        if unknown:
            text = self.tokenizers.target.text("".join(target_texts))
        if not self.wishes.alignments:
            return Seen(text, None)
        numbers = [range(0)] * source.front + numbers
        return Seen(text, widened(align(attention, numbers, words(target_texts)), source))

    def _replacement(
        self,
        source: Source,
        texts: Sequence[str],
        numbers: Sequence[range],
        weights: np.ndarray,
    ) -> str:
        """The text of the source piece of most weight (S,); where it is whole words, as given.

        So Luong et al. (2015) do with words: https://aclanthology.org/P15-1002
        """
        blank = [not text.strip() for text in texts[: len(numbers)]]
        best = int(np.where(blank, -1, weights).argmax())
        here, some = numbers[best], texts[best].split()
        whole = some == source.known[here.start : here.stop]
        found = " ".join(source.given[here.start : here.stop] if whole else some)
        return f" {found}" if self.whole_words else found


def widened(weights: np.ndarray, source: Source) -> np.ndarray:
    """The alignment with a column for each word of the line, those that were cut off as well."""
    missing = max(0, len(source.given) - weights.shape[1])
    return np.pad(weights, ((0, 0), (0, missing)))


def has_whole_words(tokenizer: Tokenizer) -> bool:
    """Whether pieces are words, so that a space stands before an unknown one, too."""
    return SPACE_MARK not in tokenizer.pieces(range(len(tokenizer)))


def has_bytes(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer spells what it does not know as bytes, so that nothing is unknown."""
    return "<0x00>" in tokenizer.pieces(range(len(tokenizer)))


def possible(wishes: Wishes, members: Sequence[Member]) -> Wishes:
    """What of the wishes models can fulfil; tells of a vocabulary in which nothing is unknown.

    Raises a UserError if none of the models has attention.
    """
    if any(wishes) and all(has_no_attention(one.config) for one in members):
        raise UserError(
            "alignments, and what unknown words stand for, are told by attention, and "
            f"{members[0].folder} was trained without (model.attention: none); leave out "
            "--alignments and --replace-unk, or name another model"
        )
    if wishes.replace_unknown and has_bytes(members[0].tokenizers.target):
        say("warning: --replace-unk has nothing to do: this model spells unknown words as bytes")
        return wishes._replace(replace_unknown=False)
    return wishes


def has_no_attention(config: Config) -> bool:
    """Whether a recurrent model was trained without; a Transformer has no such option."""
    return dict(config.model).get("attention") == "none"
