"""`seq2seq train CONFIG --dry-run`: what a training would be, before hours are spent on it.

It prepares the data, builds model and optimizer, and makes a few updates, as training does, with
the batch that takes the most memory. They are thrown away: nothing in runs/ is changed.
"""

import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seq2seq import distributed
from seq2seq.claims import as_begun
from seq2seq.config import Config, Training
from seq2seq.console import for_terminal, print_line, say
from seq2seq.data.batches import Batch, Batches
from seq2seq.data.tokenizer import EOS, PAD, Tokenizer, Tokenizers
from seq2seq.errors import UserError, is_out_of_memory
from seq2seq.layout import RUNS
from seq2seq.models.folder import choose_device
from seq2seq.models.parts import depths
from seq2seq.origins import completed
from seq2seq.prepare import folder_of, prepare
from seq2seq.train import new_learner, training_batches
from seq2seq.training.learner import Learner
from seq2seq.training.limits import Pace, first_limit, schedule_warnings
from seq2seq.training.precision import NAMES
from seq2seq.training.rates import factors_of

PARTS = {  # where the parameters of a model belong that are not part of what they are named for
    "source_positions": "embeddings",
    "target_positions": "embeddings",
    "encoder_norm": "encoder",
    "bridge": "decoder",
    "attend": "decoder",
    "readout": "decoder",
    "decoder_norm": "decoder",
}
SHOWN = 3  # pairs of the first batch
LINE = 80


class Epoch(NamedTuple):
    """What one pass over the training set is made of."""

    pairs: int
    source_tokens: int  # `</s>` counted, as in target_tokens
    target_tokens: int
    batches: int
    updates: int
    positions: int  # of both sides, padding included
    largest: np.ndarray  # the pairs of the batch that has the most positions
    largest_positions: int

    @property
    def padding(self) -> float:
        """The share of all positions that is padding."""
        return 1 - (self.source_tokens + self.target_tokens) / self.positions


class Cost(NamedTuple):
    """What an update with the largest batch takes, in bytes and seconds."""

    weights: int  # and as much for gradients
    mean: int  # the running mean of weights, if there is one
    state: int  # of the optimizer
    growth: int | None  # at the peak, beyond weights and mean; None where it cannot be measured
    seconds: float

    @property
    def activations(self) -> int | None:
        """What activations take, and all else that has no line of its own."""
        return None if self.growth is None else max(0, self.growth - self.weights - self.state)


def rehearse(config: Config, *, workers: int | None = None) -> None:
    """Prepares, and prints what training would learn from, what it would take, and how long."""
    if distributed.size() > 1:
        raise UserError("--dry-run is for one process; start it without torchrun")
    config = as_begun(RUNS / config.name, completed(config))
    say(f"data is prepared in {folder_of(config)}, as training does it; runs/ is left as it is")
    prepared = prepare(config, workers=workers)
    batches = training_batches(config, prepared)
    epoch = epoch_of(batches, config.training.accumulate)
    largest = batches.collate(epoch.largest)
    learner = new_learner(config, prepared.tokenizers)
    model = learner.model
    cost = rehearsed(learner, largest)
    precision = NAMES[model.precision or torch.float32]
    print_line(
        f"{config.name}: {config.model.kind} on {choose_device(config.device)} in {precision}, "
        f"threads: {torch.get_num_threads()}"
    )
    for lines in (
        parameter_lines(model),
        learning_lines(model, config.training),
        epoch_lines(epoch, config),
        memory_lines(cost, largest, config),
        time_lines(cost, epoch, config),
        batch_lines(batches, prepared.tokenizers),
    ):
        for line in lines:
            print_line(line)


def epoch_of(batches: Batches, accumulate: int) -> Epoch:
    """The first epoch, in numbers; without counting the pieces that subword sampling adds."""
    cut = batches.epoch(0)
    sizes = np.fromiter(map(len, cut), np.int64, len(cut))
    starts = np.cumsum(sizes) - sizes
    order = np.concatenate(cut)
    positions, tokens = np.zeros(len(cut), np.int64), []
    for side in batches.store:
        lengths = side.lengths[order] + np.uint32(1)  # </s> is a token, too
        tokens.append(int(lengths.sum(dtype=np.int64)))
        positions += sizes * np.maximum.reduceat(lengths, starts)
    return Epoch(
        pairs=len(order),
        source_tokens=tokens[0],
        target_tokens=tokens[1],
        batches=len(cut),
        updates=-(-len(cut) // accumulate),
        positions=int(positions.sum()),
        largest=cut[int(positions.argmax())],
        largest_positions=int(positions.max()),
    )


def rehearsed(learner: Learner, batch: Batch) -> Cost:
    """What an update with a batch takes: the second of two, which change no weight.

    Raises a UserError if they need more memory than the device has.
    """
    growth = peak_growth(learner.device)

    def learn(count: int) -> float:
        started = time.monotonic()
        result = learner.update([batch] * count, count * batch.target_tokens, rate=0.0)
        result.gradient_norm.item()  # a GPU is waited for
        return time.monotonic() - started

    try:
        learn(1)  # the optimizer gets its state, and what is done only once has been done
        seconds = learn(learner.config.accumulate)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"a batch of {len(batch.source):,} pairs needs more memory than {learner.device} has; "
            "lower training.batch_tokens, and raise training.accumulate instead"
        ) from None
    state = [value for values in learner.optimizer.state.values() for value in values.values()]
    return Cost(
        weights=bytes_of(learner.model.parameters()),
        mean=bytes_of(learner.mean.means.values()) if learner.mean else 0,
        state=bytes_of(value for value in state if isinstance(value, Tensor)),
        growth=growth(),
        seconds=seconds,
    )


def peak_growth(device: torch.device) -> Callable[[], int | None]:
    """A function for later: how many bytes were taken at most since now, beyond what is now.

    It gives None where this cannot be told.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return lambda: torch.cuda.max_memory_allocated(device) - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (proc(5))
    except OSError:  # no Linux
        return lambda: None
    start = peak_resident()
    return (lambda: peak_resident() - start) if device.type == "cpu" else lambda: None


def peak_resident() -> int:
    """The most bytes of memory that this process has had; on Linux."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """What tensors take in memory."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def parts_of(model: nn.Module) -> dict[str, int]:
    """How many parameters each part of a model has; those that are shared count once."""
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        first = name.split(".")[0]
        part = "output" if name.startswith("embeddings.output.") else PARTS.get(first, first)
        parts[part] = parts.get(part, 0) + parameter.numel()
    return parts


def parameter_lines(model: nn.Module) -> Iterator[str]:
    """The parameters by part, and all of them."""
    yield "parameters"
    parts = parts_of(model)
    for part, count in parts.items():
        yield row(part, f"{count:,}")
    tied = "" if "output" in parts else "the output layer shares those of embeddings"
    yield row("in all", f"{sum(parts.values()):,}", tied)


def learning_lines(model: nn.Module, training: Training) -> Iterator[str]:
    """How fast each part learns, and from when on; nothing where all do at once and as fast.

    Parts have the names that options have for them, and are as large as all in them learn alike.
    """
    factors, depth = factors_of(model, training), depths(model)
    learned = {
        name: (
            factors[parameter] if parameter.requires_grad else 0.0,
            depth[name] * training.unfreeze_every,
        )
        for name, parameter in model.named_parameters()
    }
    if {*learned.values()} == {(1.0, 0)}:
        return
    yield "what learns"
    for part, names in alike(learned):
        count = sum(model.get_parameter(name).numel() for name in names)
        yield row(part, f"{count:,}", how(*learned[names[0]]))


def alike(values: Mapping[str, object], depth: int = 1) -> Iterator[tuple[str, list[str]]]:
    """The largest parts all of whose parameters have one value, and the names of these."""
    parts: dict[str, list[str]] = {}
    for name in values:
        parts.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    for part, names in parts.items():
        if len({values[name] for name in names}) == 1:
            yield part, names
        else:
            yield from alike({name: values[name] for name in names}, depth + 1)


def how(factor: float, start: int) -> str:
    """How fast something learns, by a factor of the learning rate, and after which update."""
    if not factor:
        return "stays as it is"
    later = f", after update {start:,}" if start else ""
    return f"{factor:.3g} of the learning rate{later}"


def epoch_lines(epoch: Epoch, config: Config) -> Iterator[str]:
    """What an epoch is made of."""
    training = config.training
    yield "an epoch"
    yield row("pairs", f"{epoch.pairs:,}")
    yield row("source tokens", f"{epoch.source_tokens:,}", "</s> counted, subword sampling not")
    yield row("target tokens", f"{epoch.target_tokens:,}")
    yield row("batches", f"{epoch.batches:,}", f"training.batch_tokens: {training.batch_tokens}")
    yield row("updates", f"{epoch.updates:,}", f"training.accumulate: {training.accumulate}")
    yield row("padding", f"{epoch.padding:.1%}", "of the positions of both sides")


def memory_lines(cost: Cost, largest: Batch, config: Config) -> Iterator[str]:
    """What an update with the largest batch takes."""
    pairs, source = largest.source.shape
    shape = f"largest batch: {pairs:,} x ({source} + {largest.target_in.shape[1]}) positions"
    yield "memory, about"
    yield row("weights", size(cost.weights))
    yield row("gradients", size(cost.weights))
    if cost.mean:
        yield row("running mean", size(cost.mean), "training.ema")
    yield row("optimizer", size(cost.state), config.training.optimizer)
    if cost.activations is None:
        yield row("activations", "?", "cannot be measured here")
        return
    yield row("activations", size(cost.activations), shape)
    in_all = 2 * cost.weights + cost.mean + cost.state + cost.activations
    yield row("in all", size(in_all), "measured, beside the program itself")


def time_lines(cost: Cost, epoch: Epoch, config: Config) -> Iterator[str]:
    """How long it would take if all positions take as long as those that were measured."""
    training = config.training
    seconds = cost.seconds * epoch.positions / (epoch.largest_positions * training.accumulate)
    limit = first_limit(training, epoch.updates, Pace(seconds / epoch.updates))
    epochs = limit.updates / epoch.updates
    yield "time, about"
    yield row("an update", duration(cost.seconds), "as measured, with the largest batch")
    yield row("an epoch", duration(seconds), "validation not counted")
    remark = f"{limit.updates:,} updates, {epochs:,.1f} epochs"
    yield row("training", duration(seconds * epochs), remark)
    yield row("ends by", limit.option.removeprefix("training."), "or before, by patience")
    for warning in schedule_warnings(training, limit):
        say(f"warning: {warning}")


def batch_lines(batches: Batches, tokenizers: Tokenizers) -> Iterator[str]:
    """The first pairs of the first batch: pieces, text, and what the decoder reads and must say."""
    batch, (source, target) = batches.collate(batches.epoch(0)[0]), tokenizers
    yield f"the first batch: {len(batch.source):,} pairs, among them"
    for number, (ids, read, said) in enumerate(list(zip(*batch[:3], strict=True))[:SHOWN]):
        yield ""
        yield from example("source", pieces(source, ids))
        yield from example("", text(source, ids))
        if batch.masked is not None and (hidden := batch.masked[number]).any():
            yield from example("must tell", pieces(source, hidden))
            continue
        yield from example("target", text(target, said))
        yield from example("reads", pieces(target, read))
        yield from example("must say", pieces(target, said))


def pieces(tokenizer: Tokenizer, ids: Tensor) -> str:
    """What ids stand for, with spaces between; no padding."""
    return " ".join(tokenizer.pieces(ids[ids != PAD].tolist()))


def text(tokenizer: Tokenizer, ids: Tensor) -> str:
    """What ids decode to."""
    return tokenizer.decode([ids[(ids != PAD) & (ids != EOS)].tolist()])[0]


def example(name: str, content: str) -> list[str]:
    """A part of a pair, wrapped."""
    return textwrap.wrap(
        for_terminal(content),
        LINE,
        initial_indent=f"  {name:<10}",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def row(name: str, value: str, remark: str = "") -> str:
    """A line of a table."""
    return f"  {name:<14}{value:>14}  {remark}".rstrip()


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """A time as people read it."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.2f} s"
