"""How large a batch may be: what `batch_tokens: auto` means."""

from collections.abc import Callable

import torch

from seq2seq.data.batches import Batch
from seq2seq.data.tokenizer import BOS, EOS
from seq2seq.training.learner import Learner

ON_A_PROCESSOR = 4096  # there larger batches are no faster
LARGEST = 1 << 18
MARGIN = 0.9  # of what was found: memory is cut up as batches of other shapes come and go


def batch_tokens(learner: Learner, max_length: int) -> int:
    """The padded positions of the longer side that a batch may have where the learner is.

    On a GPU batches of the longest segments are tried, larger and larger, until memory is
    exhausted. Several processes must take the least of what each finds.
    """
    if learner.device.type != "cuda":
        return ON_A_PROCESSOR

    def fits(tokens: int) -> bool:
        length = max_length + 1  # </s> takes a position
        pairs = max(1, tokens // length)
        ids = torch.full((pairs, length), EOS)
        batch = Batch(ids, torch.full_like(ids, BOS), ids, pairs * length)
        try:
            learner.try_out(batch)
        except torch.OutOfMemoryError:
            return False
        return True

    return most(fits)


def most(fits: Callable[[int], bool]) -> int:
    """The largest power of two, up to LARGEST, that fits, less a margin."""
    tokens = 1024
    while tokens < LARGEST and fits(2 * tokens):
        tokens *= 2
    return int(MARGIN * tokens)
