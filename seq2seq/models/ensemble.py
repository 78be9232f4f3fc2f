"""Several models as one, of any kinds, that have one vocabulary: the mean of their probabilities.

Shapes: B sentences, N hypotheses, T target positions, V target vocabulary.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seq2seq.models.interface import Encoded, Seq2Seq, State


class Ensemble(Seq2Seq):
    """Models that decide together. Its hidden states are logarithms of mean probabilities already.

    All must have been trained with the same tokenizers; that is for the caller to see to.
    """

    def __init__(self, models: Sequence[Seq2Seq]) -> None:
        super().__init__()
        self.models: Sequence[Seq2Seq] = nn.ModuleList(models)  # type: ignore[assignment]

    @property
    def precision(self) -> torch.dtype | None:
        """What its models compute in."""
        return self.models[0].precision

    @precision.setter
    def precision(self, precision: torch.dtype | None) -> None:
        for model in self.models:
            model.precision = precision

    @property
    def blocks(self) -> list[nn.Module]:
        return [block for model in self.models for block in model.blocks]

    def read(self, source: Tensor) -> Encoded:
        return together([model.read(source) for model in self.models])

    def remember(self, read: Encoded) -> Encoded:
        parts = zip(self.models, self._of_each(read), strict=True)
        return together([model.remember(own) for model, own in parts])

    def decode(self, target_in: Tensor, encoded: Encoded) -> Tensor:
        parts = zip(self.models, self._of_each(encoded), strict=True)
        return mean([model.project(model.decode(target_in, own)) for model, own in parts])

    @property
    def output_weight(self) -> Tensor:
        return self.models[0].output_weight

    @property
    def source_weight(self) -> Tensor:
        return self.models[0].source_weight

    def project(self, hidden: Tensor) -> Tensor:
        return hidden

    def start(self, encoded: Encoded) -> State:
        parts = zip(self.models, self._of_each(encoded), strict=True)
        return together([model.start(own) for model, own in parts])

    def step(
        self, last_tokens: Tensor, state: State, encoded: Encoded, rows: Tensor | None = None
    ) -> tuple[Tensor, State]:
        parts = zip(self.models, self._of_each(state), self._of_each(encoded), strict=True)
        found = [model.step(last_tokens, own, source, rows) for model, own, source in parts]
        return mean([logits for logits, _ in found]), together([after for _, after in found])

    def keep_attention(self, keep: bool = True) -> None:
        for model in self.models:
            model.keep_attention(keep)

    @property
    def attention(self) -> Tensor | None:
        kept = [model.attention for model in self.models]
        means = [one.mean(dim=(1, 2)) for one in kept if one is not None]  # (B or N, T, S)
        return torch.stack(means, dim=1)[:, :, None] if means else None  # a layer for each model

    def _of_each(self, tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """What is each model's of tensors that were put `together`."""
        parts: list[dict[str, Tensor]] = [{} for _ in self.models]
        for name, tensor in tensors.items():
            number, _, own = name.partition("/")
            if number.isdecimal():  # others may have put something beside
                parts[int(number)][own] = tensor
        return parts


def together(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several models, under names that tell whose they are."""
    return {
        f"{number}/{name}": tensor
        for number, part in enumerate(parts)
        for name, tensor in part.items()
    }


def mean(logits: Sequence[Tensor]) -> Tensor:
    """Logarithms of the mean of the probabilities that logits (..., V) stand for, not in
    bfloat16."""
    wide = torch.promote_types(logits[0].dtype, torch.float32)
    found = torch.stack([one.log_softmax(dim=-1, dtype=wide) for one in logits])
    return found.logsumexp(dim=0) - math.log(len(logits))
