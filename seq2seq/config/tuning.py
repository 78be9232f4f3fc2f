"""Options of fine-tuning that have a section of their own."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from seq2seq.config.section import FREE, Positive, Section, Share, Text, Width


class Lora(Section):
    """Small matrices that learn in place of the weights they are added to (Hu et al. 2021)."""

    rank: Width = 8
    """Rows of the first matrix and columns of the second, whose product is added to a weight."""
    alpha: Positive = 16.0
    """What the product is multiplied by, divided by rank."""
    dropout: Share = 0.0
    """Dropout before the first matrix."""
    layers: Annotated[list[Text], Field(min_length=1)] = ["*"]
    """The linear layers that get them, as in [encoder, "*.query", "*.memory"]; "*" is all."""


class Origin(Section):
    """The models that training starts from, each a run or a model folder."""

    encoder: Annotated[Text, FREE]
    """Whose encoder is taken, and its source embeddings."""
    decoder: Annotated[Text, FREE]
    """Whose decoder is taken, and all that is not the encoder's."""


def _of_one(value: Any) -> Any:
    return {"encoder": value, "decoder": value} if isinstance(value, str) else value


TextOrigin = Annotated[Origin, BeforeValidator(_of_one, json_schema_input_type=Text | Origin)]
