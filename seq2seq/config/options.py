"""All options together: what each section may be, and what they forbid each other."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from seq2seq.config.data import Data
from seq2seq.config.decoding import Decoding
from seq2seq.config.model import Recurrent, Transformer, why_not_ctranslate2
from seq2seq.config.objectives import TRANSLATION
from seq2seq.config.section import (
    FREE,
    Count,
    CountOrZero,
    Name,
    Section,
)
from seq2seq.config.training import OF_TRUE_TEXT, Training

Reported = Literal[
    "ppl",
    "bpc",
    "bleu",
    "chrf",
    "chrf++",
    "ter",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "exact",
    "length",
    "comet",
]


NORMALIZATIONS = Literal["nmt_nfkc", "nfkc", "identity"]


class Normalization(Section):
    """How lines are normalized before they are cut into pieces; runs of spaces become one."""

    source: NORMALIZATIONS = "nmt_nfkc"
    """Of sources: nfkc (full-width to ASCII, … to ...), nmt_nfkc (odd spaces, too), or identity."""
    target: NORMALIZATIONS = "identity"
    """Of targets; with identity they are learned, written and scored unchanged."""

    @property
    def told(self) -> str | dict[str, str]:
        """The options as they are written: the one name of both sides, or a name a side."""
        return self.source if self.source == self.target else dict(self)

    def __str__(self) -> str:
        if self.source == self.target:
            return self.source
        return f"{{source: {self.source}, target: {self.target}}}"


def _of_both(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in get_args(NORMALIZATIONS):  # one problem in place of two
        names = "nmt_nfkc, nfkc or identity"
        raise PydanticCustomError("literal_error", "must be {expected}", {"expected": names})
    return {"source": value, "target": value}


SideNormalization = Annotated[
    Normalization, BeforeValidator(_of_both, json_schema_input_type=NORMALIZATIONS | Normalization)
]


class Tokenizer(Section):
    """Text to pieces: a SentencePiece model trained on the training text."""

    kind: Literal["unigram", "bpe", "char", "word"] = "unigram"
    """How pieces are found: unigram (Kudo 2018), bpe (Sennrich et al. 2016), char or word."""
    vocab_size: Annotated[int, Field(strict=True, ge=8)] = 8000
    """Number of pieces, special ones and bytes included; an upper bound for char and word."""
    shared: bool = True
    """One vocabulary for both sides, or one a side."""
    character_coverage: Annotated[float, Field(strict=True, ge=0.98, le=1)] = 0.9995
    """Share of the characters of the text that become pieces of their own."""
    normalization: SideNormalization = Normalization()
    """What is done to a line before it is cut into pieces, by side; a name alone is for both."""
    byte_fallback: bool = True
    """Spell what the pieces cannot as bytes (256 pieces), so that nothing is ever unknown."""
    training_sentences: Count = 2_000_000
    """At most so many lines, a random sample, are used to find the pieces."""


class Evaluation(Section):
    """What `seq2seq evaluate` reports."""

    metrics: Annotated[list[Reported], FREE, Field(min_length=1)] = [
        "ppl",
        "bleu",
        "chrf",
        "ter",
        "rouge1",
        "rouge2",
        "rougeL",
    ]
    """Scores of each test set; docs/metrics.md tells what they are."""


class Config(Section):
    """A whole experiment."""

    name: Annotated[Name, FREE]
    """What the run is called: it is kept in runs/<name>. The config's file name unless given."""
    seed: CountOrZero = 1
    """Where all randomness comes from."""
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], FREE] = "auto"
    """Where to compute; auto takes a GPU when there is one."""
    data: Data
    tokenizer: Tokenizer = Tokenizer()
    model: Annotated[
        Transformer | Recurrent, Field(discriminator="kind", validate_default=True)
    ] = Transformer()
    training: Training = Training()
    decoding: Decoding = Decoding()
    evaluation: Evaluation = Evaluation()

    @field_validator("model")
    @classmethod
    def _share_what_can_be(
        cls, model: Transformer | Recurrent, info: ValidationInfo
    ) -> Transformer | Recurrent:
        """Without a shared vocabulary, source embeddings are not shared unless asked for."""
        given, tokenizer = model.model_fields_set, info.data.get("tokenizer")
        if "share_embeddings" in given or tokenizer is None:
            return model
        values = {**dict(model), "share_embeddings": "all" if tokenizer.shared else "target"}
        return type(model).model_construct(given, **values)

    def conflicts(self) -> Iterator[tuple[str, str]]:
        sampling, kind = self.training.subword_sampling, self.tokenizer.kind
        if sampling != "none" and kind not in ("unigram", "bpe"):
            yield (
                "training.subword_sampling",
                f"there is one way to cut text into {kind}s; set it to none, or tokenizer.kind "
                "to unigram or bpe",
            )
        if self.data.valid.objective != TRANSLATION and {*self.training.metrics} - {*OF_TRUE_TEXT}:
            yield (
                "training.metrics",
                "an objective such as that of data.valid has perplexity and accuracy alone; set it "
                "to [ppl]",
            )
        width = getattr(self.model, "embedding_dim", self.model.dim)
        for name, corpus in {**self.data.learned, **self.data.judged}.items():
            task = corpus.objective.task
            if task == "spans" and not self.tokenizer.shared:
                yield (
                    f"data.{name}.objective",
                    "sources and targets of spans have pieces in common; set it to another, or "
                    "tokenizer.shared to true",
                )
            if task == "masked_language_modelling" and width != self.model.dim:
                yield (
                    f"data.{name}.objective",
                    "compares the encoder's states with embeddings, which must be as wide; set it "
                    f"to another, or model.embedding_dim to {self.model.dim}, which model.dim is",
                )
        model, fsdp = dict(self.model), self.training.parallel == "fsdp"
        if fsdp and model.get("layer_dropout"):
            yield (
                "training.parallel",
                "processes that have shares of a layer cannot leave it out one by one; set it to "
                "ddp, or model.layer_dropout to 0",
            )
        if fsdp and model.get("share_layers", "none") != "none":
            yield (
                "training.parallel",
                "a layer that is used again cannot be cut into shares; set it to ddp, or "
                "model.share_layers to none",
            )
        if self.model.share_embeddings == "all" and not self.tokenizer.shared:
            yield (
                "model.share_embeddings",
                "all embeddings cannot be shared by two vocabularies; "
                "set it to target, or tokenizer.shared to true",
            )
        if self.training.export and (reason := why_not_ctranslate2(self.model)):
            yield (
                "training.export",
                f"CTranslate2 cannot serve the model: {reason}; set it to null, or choose "
                "another model",
            )
        if self.tokenizer.byte_fallback and self.tokenizer.vocab_size < 300:
            yield (
                "tokenizer.vocab_size",
                f"{self.tokenizer.vocab_size} leaves no room beside 256 bytes; "
                "raise it to 300 or more, or set tokenizer.byte_fallback to false",
            )
