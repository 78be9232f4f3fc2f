"""Options of what is learned from a corpus: each objective is a section, or a name alone.

All but translation change the source, so that plain text can be learned from: a corpus whose source
and target are one file.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from seq2seq.config.section import PositiveOrZero, Section, Share, by_name

Proportion = Annotated[float, Field(strict=True, gt=0, lt=1)]


class Translation(Section):
    """The source is what the corpus has."""

    task: Literal["translation"]
    """What is learned."""


class Infilling(Section):
    """Text infilling of BART: spans become a single <mask> (Lewis et al. 2020)."""

    task: Literal["infilling"]
    """What is learned."""
    mask_ratio: Proportion = 0.3
    """Share of the pieces that are in such spans."""
    poisson_lambda: PositiveOrZero = 3.0
    """The mean length of a span; one of no length becomes a <mask> between pieces."""
    permute_sentences: bool = False
    """Whether sentences come in random order, too."""


class Masking(Section):
    """Token masking: single pieces become <mask> (Lewis et al. 2020, after BERT)."""

    task: Literal["masking"]
    """What is learned."""
    mask_ratio: Proportion = 0.3
    """Share of the pieces."""


class Deletion(Section):
    """Token deletion: single pieces are left out (Lewis et al. 2020)."""

    task: Literal["deletion"]
    """What is learned."""
    delete_ratio: Proportion = 0.3
    """Share of the pieces."""


class Permutation(Section):
    """Sentence permutation: the sentences of a segment in random order (Lewis et al. 2020)."""

    task: Literal["permutation"]
    """What is learned."""


class Spans(Section):
    """Span corruption of T5: the target is what is missing in the source (Raffel et al. 2020)."""

    task: Literal["spans"]
    """What is learned."""
    noise_density: Proportion = 0.15
    """Share of the pieces that are missing."""
    mean_noise_span_length: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = 3.0
    """How many of them stand side by side, on average."""


class LanguageModelling(Section):
    """The target alone, from left to right: the source is empty."""

    task: Literal["language_modelling"]
    """What is learned."""


class MaskedLanguageModelling(Section):
    """The encoder alone: which pieces some were that it cannot see (Devlin et al. 2019)."""

    task: Literal["masked_language_modelling"]
    """What is learned."""
    mask_ratio: Proportion = 0.15
    """Share of the pieces that it must tell."""
    random_ratio: Share = 0.1
    """Share of these in whose place stands any other piece, and not <mask>."""
    keep_ratio: Share = 0.1
    """Share of these that stay as they are."""

    def conflicts(self) -> Iterator[tuple[str, str]]:
        if self.random_ratio + self.keep_ratio > 1:
            yield "keep_ratio", "is more than random_ratio leaves; together they are at most 1"


Task = (
    Translation
    | Infilling
    | Masking
    | Deletion
    | Permutation
    | Spans
    | LanguageModelling
    | MaskedLanguageModelling
)
TASKS: dict[str, type[Section]] = {
    get_args(section.model_fields["task"].annotation)[0]: section for section in get_args(Task)
}

TaskSection = Annotated[Task, Field(discriminator="task")]
Objective = Annotated[TaskSection, by_name("task", TASKS, TaskSection)]
TRANSLATION = Translation(task="translation")

MASK = "<mask>"
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))  # as T5 calls them


def pieces_of(objective: Task) -> tuple[str, ...]:
    """The pieces that a tokenizer must have for an objective, and that text never becomes."""
    if isinstance(objective, Infilling | Masking | MaskedLanguageModelling):
        return (MASK,)
    return SENTINELS if isinstance(objective, Spans) else ()
