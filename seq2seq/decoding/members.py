"""Several trained models that translate together: whether they can, and loading them.

They must have the same pieces and see the same text; kinds and sizes may differ.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from seq2seq.config import Config
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.models import Seq2Seq


class Member(Protocol):
    """A model's folder, and what is in it beside the weights."""

    @property
    def config(self) -> Config:
        """Its options."""

    @property
    def tokenizers(self) -> Tokenizers:
        """Its vocabularies."""

    @property
    def folder(self) -> Path:
        """Where its weights are."""


def agreed(members: Sequence[Member]) -> Config:
    """The config by which models translate together: the first's, lines as short as all can read.

    Raises a UserError that names two folders if their vocabularies or data.normalize differ.
    """
    first, *others = members
    for other in others:
        both = f"{first.folder} and {other.folder} cannot translate together"
        if other.tokenizers.fingerprint != first.tokenizers.fingerprint:
            raise UserError(
                f"{both}: their tokenizers differ; name models that were trained on the same "
                "prepared data"
            )
        normalize = [one.config.data.normalize for one in (first, other)]
        if normalize[0] != normalize[1]:
            raise UserError(
                f"{both}: data.normalize is {shown(normalize[0])} in one and {shown(normalize[1])} "
                "in the other; name models that were trained on the same prepared data"
            )
    shortest = min(one.config.data.max_length for one in members)
    data = first.config.data.model_copy(update={"max_length": shortest})
    return first.config.model_copy(update={"data": data})


def shown(names: Sequence[str]) -> str:
    """A list as YAML has it."""
    return f"[{', '.join(names)}]"


def load_together(members: Sequence[Member]) -> "Seq2Seq":
    """The models as one, on the device of the first's config; raises what `load_model` raises."""
    from seq2seq.models.ensemble import Ensemble
    from seq2seq.models.folder import choose_device, load_model

    device = choose_device(members[0].config.device)
    return Ensemble(
        [load_model(one.folder, one.config, one.tokenizers, device) for one in members]
    ).eval()
