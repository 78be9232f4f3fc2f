"""Options of the search for translations."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from seq2seq.config.section import (
    FREE,
    Count,
    CountOrZero,
    Positive,
    PositiveOrZero,
    Section,
    Share,
)

Hypotheses = Annotated[int, Field(strict=True, ge=1, le=1_000)]


class Decoding(Section):
    """How translations are searched for."""

    engine: Annotated[Literal["auto", "pytorch", "ctranslate2"], FREE] = "auto"
    """Who searches: CTranslate2 for what it serves, or our own search; auto chooses."""
    precision: Annotated[Literal["fp32", "bf16", "int8"], FREE] = "fp32"
    """What is computed in: bf16 with our own search only, int8 with CTranslate2 only."""
    beam: Annotated[Hypotheses, FREE] = 5
    """Hypotheses kept at each step; 1 is greedy search. Validation is always greedy."""
    patience: Annotated[float, FREE, Field(strict=True, ge=1, le=10)] = 1.5
    """A search ends when beam times this many hypotheses have ended (Kasai et al. 2022)."""
    length_penalty: Annotated[PositiveOrZero, FREE] = 1.0
    """Alpha: how far the scores of long hypotheses are lifted before they are compared."""
    length_normalization: Annotated[Literal["gnmt", "average"], FREE] = "gnmt"
    """What divides a score: ((5 + length) / 6) ** alpha (Wu et al. 2016), or length ** alpha."""
    coverage_penalty: Annotated[PositiveOrZero, FREE] = 0.0
    """Beta: how far source words that got little attention lower a score (Wu et al. 2016)."""
    n_best: Annotated[Hypotheses, FREE] = 1
    """Translations to give of each line, the best first."""
    diversity_groups: Annotated[Count, FREE] = 1
    """Parts of the beam that search apart from each other (Vijayakumar et al. 2018)."""
    diversity_penalty: Annotated[PositiveOrZero, FREE] = 0.5
    """What a group pays for each token that groups before it have chosen at the same step."""
    sampling: Annotated[bool, FREE] = False
    """Whether to draw translations at random; n_best are drawn, without a beam."""
    temperature: Annotated[Positive, FREE] = 1.0
    """What logits are divided by before a token is drawn."""
    top_k: Annotated[CountOrZero, FREE] = 0
    """Draw from so many of the likeliest tokens (Fan et al. 2018); 0: from all."""
    top_p: Annotated[float, FREE, Field(strict=True, gt=0, le=1)] = 1.0
    """Draw from the likeliest tokens that have such a share together (Holtzman et al. 2020)."""
    min_p: Annotated[Share, FREE] = 0.0
    """Draw from tokens at least so likely, relative to the likeliest (Nguyen et al. 2025)."""
    seed: Annotated[CountOrZero, FREE] = 1
    """What samples are drawn by; a line's sample depends on it and the line's number alone."""
    risk: Annotated[Literal["none", "chrf", "bleu"], FREE] = "none"
    """Give the translation that is most like all others found (minimum Bayes risk), by a score."""
    candidates: Annotated[Hypotheses, FREE] = 16
    """Translations of a line to choose from by risk: samples, or the best of the beam."""
    min_length: Annotated[CountOrZero, FREE] = 0
    """Pieces that a translation must have."""
    min_length_ratio: Annotated[PositiveOrZero, FREE] = 0.0
    """Pieces per source piece that a translation must have."""
    max_length: Annotated[Count | None, FREE] = None
    """Pieces that a translation may have; data.max_length bounds it in any case."""
    max_length_ratio: Annotated[float, FREE, Field(strict=True, gt=0, le=1_000)] = 2.0
    """A translation has at most so many pieces per source piece, and ten more."""
    no_repeat_ngram: Annotated[CountOrZero, FREE] = 0
    """No so many pieces stand side by side twice in a translation; 0: they may."""
    repetition_penalty: Annotated[float, FREE, Field(strict=True, ge=1)] = 1.0
    """What multiplies the cost of pieces that the translation has already (Keskar et al. 2019)."""
    batch_tokens: Annotated[int, FREE, Field(strict=True, ge=1, le=10**7)] = 8192
    """The most padded source positions, times beam, of a search; several may go side by side."""

    @property
    def endings(self) -> int:
        """Number of hypotheses of a group that must have ended before its search ends."""
        width = self.beam // self.diversity_groups
        return int(width * self.patience + 0.5) if width > 1 else 1

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.beam % self.diversity_groups:
            yield (
                "diversity_groups",
                f"{self.diversity_groups} groups cannot share a beam of {self.beam} evenly",
            )
        if self.risk != "none" and self.n_best > self.candidates:
            yield "n_best", f"{self.candidates} candidates have no {self.n_best} best"
        if self.n_best > self.beam and not self.sampling and self.risk == "none":
            yield "n_best", f"a beam of {self.beam} has no {self.n_best} best; widen decoding.beam"
