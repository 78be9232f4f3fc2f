"""Lines to ids to search to lines, in order.

Lines of similar length are decoded together; what is beside a line never changes its translation.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from seq2seq.config import Data, Decoding
from seq2seq.data.batches import rectangle
from seq2seq.data.normalization import normalizer
from seq2seq.data.store import Side
from seq2seq.data.tokenizer import Tokenizers
from seq2seq.decoding.search import search
from seq2seq.errors import UserError
from seq2seq.models import Seq2Seq

SPARE_LENGTH = 10  # pieces that a translation may have beyond max_length_ratio


class Translator:
    """A model that takes text and gives text."""

    def __init__(
        self,
        model: Seq2Seq,
        tokenizers: Tokenizers,
        options: Decoding,
        data: Data,
        *,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`data` tells how lines are normalized; `warn` is told of lines that had to be cut."""
        self.model = model
        self.tokenizers = tokenizers
        self.options = options
        self.max_length = data.max_length
        self.normalize = normalizer(data.normalize, data.source)
        self.warn = warn
        self.device = next(model.parameters()).device

    def translate(
        self,
        lines: Sequence[str],
        *,
        tag: str | None = None,
        first_number: int = 1,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[str]:
        """The translation of each line; an empty one of an empty one.

        `tag` is put before each; `first_number` is the number of the first line, for warnings;
        `done` is told how many more lines are done.
        """
        sources = self.tokenizers.source.encode([self.normalize(line) for line in lines])
        front = [self.tokenizers.source.tag(tag)] if tag else []
        longest = self.max_length - len(front)
        for number, source in enumerate(sources, start=first_number):
            if len(source) > longest:
                self.warn(
                    f"line {number:,} has {len(source):,} pieces; only the first "
                    f"{longest:,} are translated (data.max_length)"
                )
        sources = [source and [*front, *source[:longest]] for source in sources]
        targets: list[list[int]] = [[] for _ in sources]
        filled = [number for number, source in enumerate(sources) if source]
        done(len(sources) - len(filled))
        for batch in self._batches(sources, filled):
            for number, tokens in zip(batch, self._search(sources, batch), strict=True):
                targets[number] = tokens
            done(len(batch))
        return self.tokenizers.target.decode(targets)

    def stream(self, lines: Iterable[str], buffer: int, *, tag: str | None = None) -> Iterator[str]:
        """The translation of each line, as soon as `buffer` lines are read and done."""
        iterator = iter(lines)
        number = 1
        while some := list(islice(iterator, buffer)):
            yield from self.translate(some, tag=tag, first_number=number)
            number += len(some)

    def _batches(self, sources: list[list[int]], numbers: list[int]) -> Iterator[list[int]]:
        """The lines to decode together, longest first: if memory is short, that shows at once."""
        numbers = sorted(numbers, key=lambda number: -len(sources[number]))
        while numbers:
            positions = (len(sources[numbers[0]]) + 1) * self.options.beam
            size = max(1, self.options.batch_tokens // positions)
            yield numbers[:size]
            numbers = numbers[size:]

    def _search(self, sources: list[list[int]], batch: list[int]) -> list[list[int]]:
        some = [sources[number] for number in batch]
        ids = rectangle(Side.of(some), np.arange(len(some)))
        ratio = self.options.max_length_ratio
        limits = [min(int(ratio * len(one)) + SPARE_LENGTH, self.max_length) for one in some]
        training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            encoded = self.model.encode(torch.from_numpy(ids).to(self.device))
            found = search(
                self.model.step,
                self.model.start(encoded),
                encoded,
                beam=self.options.beam,
                max_lengths=torch.tensor(limits, device=self.device),
                length_penalty=self.options.length_penalty,
            )
        self.model.train(training)
        if not all(found):
            raise UserError(
                "the model's scores are not numbers: its training has diverged; "
                "train it with a lower training.learning_rate or a longer training.warmup"
            )
        return [hypotheses[0].tokens for hypotheses in found]
