"""A model as it learns, and one update of it, the same however its pairs are cut into batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq import distributed
from seq2seq.config import Training
from seq2seq.console import say
from seq2seq.data.batches import Batch
from seq2seq.distributed import whole
from seq2seq.errors import SharedError, UserError, is_out_of_memory
from seq2seq.models import Seq2Seq
from seq2seq.models.folder import set_weights
from seq2seq.training.averaging import RunningMean
from seq2seq.training.checkpoint import MEAN, OPTIMIZER, SCALE, WEIGHTS, State
from seq2seq.training.loss import Criterion, Loss
from seq2seq.training.optimizer import (
    build_optimizer,
    moments_of,
    set_learning_rate,
    set_moments,
)
from seq2seq.training.parallel import replica, synchronised, whole_weights, working_together
from seq2seq.training.precision import LossScale
from seq2seq.training.rates import waiting

HOPELESS = 20  # updates in a row without finite gradients, after which training ends


class Update(NamedTuple):
    """What this process saw of an update, summed over its target tokens, in nats.

    The numbers stay where they were computed until somebody asks: a GPU need not be waited for.
    """

    loss: Tensor
    nll: Tensor
    gradient_norm: Tensor  # of all processes, before clipping; not finite: the update was skipped
    tokens: int
    positions: int  # of the target side, with padding


class Learner:
    """A model and all that changes it: its loss, optimizer, running mean and scale of the loss."""

    def __init__(
        self, model: Seq2Seq, config: Training, rebuild: Callable[[], Seq2Seq] | None = None
    ) -> None:
        """`model` is on its device and has its precision; `rebuild` makes another like it.

        Under torchrun all must call this.
        """
        self.config = config
        self.rebuild = rebuild
        self.model = model
        self.criterion = working_together(Criterion(model, config), config, model)
        self.device = next(model.parameters()).device
        products = model.precision or torch.float32
        self.optimizer = build_optimizer(model, config, products=products)
        self.mean = RunningMean(model, config.ema) if config.ema else None
        self.scale = LossScale(products)
        self.skipped = torch.zeros((), device=self.device)  # updates in a row
        self.has_split = False
        self.waiting: list[torch.nn.Parameter] = []  # those that do not learn yet

    def update(self, batches: Sequence[Batch], tokens: int, rate: float) -> Update:
        """Learns from this process's share of an update, of `tokens` target tokens in all.

        Losses are summed, and divided once by all tokens. If the gradients of all processes
        together are not finite, weights stay as they are.
        """
        return Update(
            *self._gradients(batches, tokens),
            self._step(rate),
            sum(batch.target_tokens for batch in batches),
            sum(batch.target_out.numel() for batch in batches),
        )

    def unfreeze(self, update: int) -> None:
        """From now on those layers learn that are to do so after so many updates, and no others.

        Until it is called, all learn.
        """
        self.waiting = waiting(self.model, self.config, update)

    def check(self) -> None:
        """Raises a UserError if nothing has been learnt for long. Waits for the device."""
        if self.skipped.item() >= HOPELESS:
            raise diverged(
                f"the last {HOPELESS} updates were skipped, because their gradients were no longer "
                "numbers"
            )

    @contextmanager
    def judged(self) -> Iterator[Seq2Seq]:
        """The model as it is judged and kept: not training, with its mean for weights if any.

        It computes in float32, so that its scores are those that `seq2seq evaluate` will find.
        Under torchrun all must call this.
        """
        precision, self.model.precision = self.model.precision, None
        self.model.eval()
        try:
            # not worth compiling for: torch would do it again for other precision and no gradients
            mean = self.mean.in_model() if self.mean else nullcontext()
            with torch.compiler.set_stance("force_eager"), mean:
                yield replica(self.model, self.rebuild)
        finally:
            self.model.train()
            self.model.precision = precision

    def state(self) -> State:
        """All that must be kept when a run stops. Under torchrun all must call this."""
        state = {
            WEIGHTS: whole_weights(self.model),
            OPTIMIZER: moments_of(self.model, self.optimizer),
        }
        if self.mean:
            state[MEAN] = self.mean.state()
        if self.scale.moves:
            state[SCALE] = self.scale.state()
        return state

    def restore(self, state: State, origin: Path) -> None:
        """Restores what `state` gave, for as many processes as there are now.

        Raises a UserError that names the origin if it is of another model.
        """
        set_weights(self.model, state[WEIGHTS], origin)
        set_moments(self.model, self.optimizer, state[OPTIMIZER])
        if self.mean:
            self.mean.restore(state[MEAN])
        if self.scale.moves:
            self.scale.restore(state[SCALE])

    def try_out(self, batch: Batch) -> None:
        """Computes the gradients of a batch and throws them away.

        Raises torch.OutOfMemoryError.
        """
        with synchronised(self.criterion, now=False):
            self.criterion(batch.to(self.device)).smoothed.backward()
        self.optimizer.zero_grad()

    def _gradients(self, batches: Sequence[Batch], tokens: int) -> Loss:
        """Adds up the gradients of some batches; the sums of their losses."""
        try:
            return self._gradients_at_once(batches, tokens)
        except (RuntimeError, MemoryError) as error:  # PyTorch has no class for a processor's
            if not is_out_of_memory(error):
                raise
            smaller = self._split(batches)
        return self._gradients(smaller, tokens)  # outside: the error holds on to memory

    def _gradients_at_once(self, batches: Sequence[Batch], tokens: int) -> Loss:
        loss = nll = torch.zeros((), device=self.device)
        for number, batch in enumerate(batches, 1):
            with synchronised(self.criterion, now=number == len(batches)):
                sums = self.criterion(batch.to(self.device))
                # times processes, because what averages gradients divides by their number
                share = self.scale.value * distributed.size() / tokens
                (sums.smoothed * share).backward()
            loss = loss + sums.smoothed.detach()
            nll = nll + sums.nll
        return Loss(loss, nll)

    def _split(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Batches of half the size, for a device whose memory they have exhausted.

        Raises a UserError if there is nothing to split, or if others would wait for what is split.
        """
        parts = [half for batch in batches for half in batch.halves()]
        if len(parts) == len(batches) or distributed.size() > 1:
            raise UserError(
                f"{self.device} has too little memory for a batch of "
                f"{max(batch.target_out.numel() for batch in batches):,} target positions; lower "
                "training.batch_tokens, and raise training.accumulate by as much"
            )
        if not self.has_split:
            say(
                f"warning: {self.device} has too little memory for some batches; they are split. A "
                "lower training.batch_tokens with a higher training.accumulate is faster"
            )
        self.has_split = True
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return parts

    def _step(self, rate: float) -> Tensor:
        """Takes a step and forgets the gradients; their norm."""
        # made all the same, because processes that learn together wait for each gradient
        for parameter in self.waiting:
            parameter.grad = None
        parameters = [one for one in self.model.parameters() if one.grad is not None]
        if self.scale.value != 1:
            gradients = [one.grad for one in parameters if one.grad is not None]
            torch._foreach_div_(gradients, self.scale.value)
        limit = self.config.clip_norm or float("inf")
        norm = whole(torch.nn.utils.clip_grad_norm_(parameters, limit))
        bad = ~norm.isfinite()
        set_learning_rate(self.optimizer, rate)
        if getattr(self.optimizer, "_step_supports_amp_scaling", False):
            # fused kernels look by themselves, so that nobody waits
            vars(self.optimizer).update(found_inf=bad.float(), grad_scale=None)
            self.optimizer.step()
        elif not bad.item():
            self.optimizer.step()
        if self.scale.moves:
            self.scale.after(not bad.item())
        self.skipped = (self.skipped + 1) * bad
        self.optimizer.zero_grad()
        if self.mean:
            self.mean.update()
        return norm


def diverged(sign: str) -> SharedError:
    """Return the error that ends a training which has diverged, as some sign shows."""
    return SharedError(
        f"{sign}: training has diverged; its checkpoints are intact. Start over (--fresh) with "
        "a lower training.learning_rate or a longer training.warmup"
    )
