"""Our own engine: any model, any request, wherever PyTorch computes."""

from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from seq2seq.config import Decoding
from seq2seq.data.batches import ended
from seq2seq.data.store import Side, Store
from seq2seq.decoding.coverage import Step, covering
from seq2seq.decoding.engine import Hypothesis, Request, batches
from seq2seq.decoding.forced import Judged, every_head, judge
from seq2seq.decoding.sampling import sample
from seq2seq.decoding.search import search
from seq2seq.decoding.threads import Halt, side_by_side
from seq2seq.decoding.trace import Recorder
from seq2seq.errors import UserError
from seq2seq.models import Encoded, Seq2Seq, State

FEW = 192  # hypotheses of a batch, below which one search with all processors is faster


class PyTorch:
    """Searches with a model. Requests of similar length are decoded together."""

    def __init__(self, model: Seq2Seq, precision: str = "fp32") -> None:
        """`precision` is fp32 or bf16: in that, a copy of the model searches."""
        if precision == "bf16":
            model = deepcopy(model).to(torch.bfloat16)
            model.precision = torch.bfloat16
        self.model = model
        self.device = next(model.parameters()).device
        self.recorder: Recorder | None = None  # who is told how translations come about

    def search(
        self,
        requests: Sequence[Request],
        options: Decoding,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[list[Hypothesis]]:
        """See `Engine`; raises a UserError if the model's scores are not numbers."""
        found: list[list[Hypothesis]] = [[] for _ in requests]
        training = self.model.training
        self.model.eval()
        threads = self._threads(requests, options)

        def work(batch: list[int], halt: Halt) -> tuple[list[int], list[list[Hypothesis]]]:
            return batch, self._found([requests[number] for number in batch], options, halt)

        tasks = self._batches(requests, options, threads)
        with closing(side_by_side(work, tasks, threads)) as results:
            for batch, some in results:
                for number, hypotheses in zip(batch, some, strict=True):
                    found[number] = hypotheses[: options.n_best]
                    if self.recorder:
                        self.recorder.end(requests[number], hypotheses)
                done(len(batch))
        self.model.train(training)
        if not all(found):
            raise UserError(
                "the model's scores are not numbers: its training has diverged; "
                "train it with a lower training.learning_rate or a longer training.warmup"
            )
        return found

    def attend(
        self, pairs: Sequence[tuple[list[int], list[int]]], batch_tokens: int
    ) -> list[np.ndarray]:
        """What the model looks at as it writes given translations.

        For each pair of source and translation, of S and T pieces without </s>, the mean of the
        weights of all layers and heads (T + 1, S + 1). The model must have attention.
        """
        found = judge(self.model, store_of(pairs), batch_tokens, attention=True)
        return [one.attention for one in found if one.attention is not None]

    def examine(
        self, pairs: Sequence[tuple[list[int], list[int]]], batch_tokens: int
    ) -> list[Judged]:
        """What the model makes of given translations, with the attention of every head."""
        return judge(self.model, store_of(pairs), batch_tokens, attention=True, reduced=every_head)

    def _threads(self, requests: Sequence[Request], options: Decoding) -> int:
        """How many searches go side by side: one, if what the model looks at is asked for.

        The model keeps that, and one search's would be taken for another's.
        """
        if self.device.type != "cpu" or self.recorder or options.coverage_penalty:
            return 1
        return max(1, min(torch.get_num_threads(), len(requests) * width_of(options) // FEW))

    def _batches(
        self, requests: Sequence[Request], options: Decoding, threads: int
    ) -> list[list[int]]:
        """The numbers of the requests to decode together, the longest first.

        Those with words that must be present are apart: others do not pay for them.
        """
        width = width_of(options)
        apart: tuple[list[int], list[int]] = ([], [])
        for number, request in enumerate(requests):
            apart[bool(request.present)].append(number)
        found: list[list[int]] = []
        for numbers in apart:
            at_least = min(2 * threads, max(1, len(numbers) * width // FEW))
            found += batches(
                requests, numbers, options.batch_tokens, width=width, at_least=at_least
            )
        return found

    def _found(
        self, some: Sequence[Request], options: Decoding, halt: Halt
    ) -> list[list[Hypothesis]]:
        """Hypotheses of requests; where rules together leave none, those without the hardest."""
        found = self._search(some, options, halt)
        hard = [
            row for row, one in enumerate(some) if not found[row] and (one.present or one.shortest)
        ]
        if hard:
            easier = [some[row]._replace(present=(), shortest=0) for row in hard]
            for row, hypotheses in zip(hard, self._search(easier, options, halt), strict=True):
                found[row] = hypotheses
        return found

    def _search(
        self, some: Sequence[Request], options: Decoding, halt: Halt
    ) -> list[list[Hypothesis]]:
        def step(
            last_tokens: Tensor, state: State, encoded: Encoded, rows: Tensor | None
        ) -> tuple[Tensor, State]:
            halt.check()
            logits, state = self.model.step(last_tokens, state, encoded, rows)
            return logits.float(), state  # added up over many tokens: float32 in any case

        ids = ended(Side.of([one.source for one in some]), np.arange(len(some)))
        with torch.inference_mode():
            encoded = self.model.encode(torch.from_numpy(ids).to(self.device))
            state = self.model.start(encoded)
            if options.sampling:
                return sample(step, state, encoded, some, options)
            asked: Step = step
            if options.coverage_penalty:
                asked, encoded = covering(self.model, step, encoded, some)
            return search(asked, state, encoded, some, options, self.recorder)


def width_of(options: Decoding) -> int:
    """How many hypotheses of a request are gone on with at once."""
    return options.n_best if options.sampling else options.beam


def store_of(pairs: Sequence[tuple[list[int], list[int]]]) -> Store:
    """Pairs of source and translation as a store holds them."""
    return Store(*(Side.of([pair[side] for pair in pairs]) for side in (0, 1)))
