"""Our own engine: any model, any request, wherever PyTorch computes."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from seq2seq.config import Decoding
from seq2seq.data.batches import ended
from seq2seq.data.store import Side, Store
from seq2seq.decoding.coverage import covering
from seq2seq.decoding.engine import Hypothesis, Request
from seq2seq.decoding.forced import Judged, every_head, judge
from seq2seq.decoding.sampling import sample
from seq2seq.decoding.search import search
from seq2seq.decoding.threads import Stop, side_by_side
from seq2seq.decoding.trace import Recorder
from seq2seq.errors import UserError
from seq2seq.models import Encoded, Seq2Seq, State

FEW = 4  # requests a processor, below which one search with all of them is faster


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
        tasks = list(batches(requests, options, at_least=2 * threads if threads > 1 else 1))

        def work(batch: list[int], stop: Stop) -> tuple[list[int], list[list[Hypothesis]]]:
            return batch, self._found([requests[number] for number in batch], options, stop)

        for batch, some in side_by_side(work, tasks, threads):
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
        """How many batches to search side by side: one, if what the model looks at is asked for.

        The model keeps that, and one batch's would be taken for another's.
        """
        alone = self.device.type != "cpu" or self.recorder or options.coverage_penalty
        processors = torch.get_num_threads()
        return 1 if alone or len(requests) < FEW * processors else processors

    def _found(
        self, some: Sequence[Request], options: Decoding, stop: Stop
    ) -> list[list[Hypothesis]]:
        """Hypotheses of requests; where rules together leave none, those without the hardest."""
        found = self._search(some, options, stop)
        hard = [
            row for row, one in enumerate(some) if not found[row] and (one.present or one.shortest)
        ]
        if hard:
            easier = [some[row]._replace(present=(), shortest=0) for row in hard]
            for row, hypotheses in zip(hard, self._search(easier, options, stop), strict=True):
                found[row] = hypotheses
        return found

    def _search(
        self, some: Sequence[Request], options: Decoding, stop: Stop
    ) -> list[list[Hypothesis]]:
        def step(
            last_tokens: Tensor, state: State, encoded: Encoded, rows: Tensor | None
        ) -> tuple[Tensor, State]:
            stop.check()
            logits, state = self.model.step(last_tokens, state, encoded, rows)
            return logits.float(), state  # added up over many tokens: float32 in any case

        ids = ended(Side.of([one.source for one in some]), np.arange(len(some)))
        with torch.inference_mode():
            encoded = self.model.encode(torch.from_numpy(ids).to(self.device))
            state = self.model.start(encoded)
            if options.sampling:
                return sample(step, state, encoded, some, options)
            if options.coverage_penalty:
                covers, encoded = covering(self.model, step, encoded, some)
                return search(covers, state, encoded, some, options, self.recorder)
            return search(step, state, encoded, some, options, self.recorder)


def store_of(pairs: Sequence[tuple[list[int], list[int]]]) -> Store:
    """Pairs of source and translation as a store holds them."""
    return Store(*(Side.of([pair[side] for pair in pairs]) for side in (0, 1)))


def batches(
    requests: Sequence[Request], options: Decoding, at_least: int = 1
) -> Iterator[list[int]]:
    """The numbers of the requests to decode together, the longest first.

    So if memory is short, that shows at once. Those with words that must be present are apart:
    others do not pay for them. There are `at_least` so many batches, if there are requests for
    them, so that no thread idles.
    """
    width = options.n_best if options.sampling else options.beam
    for constrained in (False, True):
        numbers = [row for row, one in enumerate(requests) if bool(one.present) == constrained]
        numbers.sort(key=lambda number: -len(requests[number].source))
        most = -(-len(numbers) // at_least)
        while numbers:
            positions = (len(requests[numbers[0]].source) + 1) * width
            size = min(most, max(1, options.batch_tokens // positions))
            yield numbers[:size]
            numbers = numbers[size:]
