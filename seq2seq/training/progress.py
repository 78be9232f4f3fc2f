"""What a training shows as it goes: a progress bar on a terminal, plain lines elsewhere.

Everything that people see goes to standard error. `metrics.jsonl` and `samples.jsonl` get one JSON
object a line. Of several processes the first speaks for all.
"""

import json
import math
import os
import platform
import resource
import sys
import time
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from seq2seq import distributed
from seq2seq.config import Training
from seq2seq.console import for_terminal, format_number, interject
from seq2seq.errors import UserError
from seq2seq.files import to_json, write_file, write_json
from seq2seq.layout import ENVIRONMENT, METRICS, SAMPLES
from seq2seq.regular import open_own
from seq2seq.training.checkpoint import Progress
from seq2seq.training.learner import Update
from seq2seq.training.limits import Pace, first_limit, schedule_warnings
from seq2seq.training.loss import bounded_exp
from seq2seq.training.ranking import is_noise

REFRESH = 0.5  # seconds between two looks at the bar
LIBRARIES = ("seq2seq", "torch", "numpy", "sentencepiece", "sacrebleu")  # whose versions matter


class Scores(NamedTuple):
    """What a validation found, by metric: of what choices go by, and of each set beside it."""

    valid: dict[str, float]
    watch: dict[str, dict[str, float]]
    chance: float | None = None  # the judging metric against the references of other sentences

    @property
    def record(self) -> dict[str, Any]:
        """The scores as files of a run have them."""
        found: dict[str, Any] = {"valid": self.valid}
        found |= {"watch": self.watch} if self.watch else {}
        return found | ({} if self.chance is None else {"chance": self.chance})


class Log:
    """Shows updates, validations and samples, and writes them to files of the run."""

    def __init__(self, folder: Path, config: Training, progress: Progress) -> None:
        self.config = config
        self._samples = folder / SAMPLES
        self._update = progress.update
        self._file = self._bar = self._curves = None
        if distributed.leads():
            if config.tensorboard:
                self._curves = curves(folder, progress.update)
            path = folder / METRICS
            for written in (path, self._samples):
                keep_lines(written, up_to=progress.update)
            write_json(folder / ENVIRONMENT, environment())
            self._file = TextIOWrapper(open_own(path, "ab"), encoding="utf-8")
            if sys.stderr.isatty():
                self._bar = tqdm(
                    total=100.0,
                    bar_format="{percentage:3.0f}% {bar} {desc}",
                    dynamic_ncols=True,
                    leave=False,
                    mininterval=REFRESH,
                )
        self._since: list[Update] = []
        self._since_time = time.monotonic()
        self._latest: tuple[Progress, float, int] | None = None  # what came with the last of them
        self._share = 0.0
        self._foreseen = progress.limit(config) is not None
        self._start: tuple[float, float] | None = None  # share and time of the first update seen

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for one in (self._file, self._bar, self._curves):
            if one is not None:
                one.close()

    def say(self, text: str) -> None:
        """Shows a line."""
        interject(text)

    def updated(
        self, progress: Progress, result: Update, rate: float, updates_an_epoch: int
    ) -> None:
        """After an update. Under torchrun all processes must call this."""
        self._update = progress.update
        self._since.append(result)
        self._latest = progress, rate, updates_an_epoch
        self._share = progress.share_done(self.config, updates_an_epoch)
        self._start = self._start or (self._share, time.monotonic())
        if self._bar is not None:
            self._bar.update(100 * self._share - self._bar.n)
        if progress.update % self.config.log_every == 0:
            self.sum_up()

    def sum_up(self) -> None:
        """Writes a line about the updates since the last line, if there were any.

        Before a validation and a stop too, so that every update is in one line. Under torchrun all
        processes must call this.
        """
        if not self._since or self._latest is None:
            return
        progress, rate, updates_an_epoch = self._latest
        record = {
            "update": progress.update,
            "epoch": round(progress.epoch + progress.position / updates_an_epoch, 3),
            **self._sums(),
            "learning_rate": rate,
            "seconds": round(progress.seconds, 3),
        }
        self._write(record)
        self._draw(progress.update, "training", record)
        self._foresee(progress, updates_an_epoch)
        if self._bar is not None:
            self._bar.set_description_str(self._describe_shortly(record))
        else:
            self.say(self._describe(record))
        if record["skipped"]:
            self.say(
                f"warning: {record['skipped']} of the last {len(self._since)} updates were "
                "skipped: their gradients were not finite"
            )
        self._since, self._since_time = [], time.monotonic()

    def validated(self, progress: Progress, scores: Scores) -> None:
        """After a validation."""
        place = {"update": progress.update, "seconds": round(progress.seconds, 3)}
        self._write({**place, **scores.record})
        self._draw(progress.update, "validation", scores.valid)
        metric = self.config.metrics[0]
        noise = metric in scores.valid and is_noise(scores.valid[metric], metric, scores.chance)
        remark = f" ({metric} is not above chance yet: ppl decides)" if noise else ""
        self.say(f"update {progress.update:,}, validation: {described(scores.valid)}{remark}")
        for name, watched in scores.watch.items():
            self._draw(progress.update, f"watch/{name}", watched)
            self.say(f"    {name}: {described(watched)}")
        self._since_time = time.monotonic()  # validating does not count as tokens per second

    def sample(self, source: str, reference: str, hypothesis: str) -> None:
        """Shows a validation sentence with its translation, and writes them to samples.jsonl."""
        texts = {"source": source, "reference": reference, "ours": hypothesis}
        for name, text in texts.items():
            self.say(f"    {name:>9}: {for_terminal(text)}")
        if distributed.leads():
            with TextIOWrapper(open_own(self._samples, "ab"), encoding="utf-8") as file:
                file.write(to_json({"update": self._update, **texts}, ensure_ascii=True) + "\n")

    def _sums(self) -> dict[str, Any]:
        """What came of the updates since the last line, in all processes."""
        sums = torch.stack([torch.stack([one.loss, one.nll]) for one in self._since]).sum(dim=0)
        norms = torch.stack([one.gradient_norm for one in self._since]).tolist()
        finite = [norm for norm in norms if math.isfinite(norm)]
        seconds = time.monotonic() - self._since_time
        loss, nll, tokens, positions = distributed.total(
            *sums.tolist(),
            sum(one.tokens for one in self._since),
            sum(one.positions for one in self._since),
        )
        return {
            "loss": loss / tokens,
            "ppl": bounded_exp(nll / tokens),
            "gradient_norm": sum(finite) / len(finite) if finite else None,
            "skipped": len(norms) - len(finite),
            "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
            "padding": round(1 - tokens / positions, 4),
            "memory_mb": round(peak_memory() / 1e6),
        }

    def _foresee(self, progress: Progress, updates_an_epoch: int) -> None:
        """Warns, as soon as the pace is known, if time is up before the schedule ends."""
        if self._foreseen or not self.config.max_minutes or len(self._since) < 2:
            return
        self._foreseen = True
        seconds = (time.monotonic() - self._since_time) / len(self._since)
        limit = first_limit(
            self.config, updates_an_epoch, Pace(seconds, progress.update, progress.seconds)
        )
        if limit.option == "training.max_minutes":
            for warning in schedule_warnings(self.config, limit):
                self.say(f"warning: {warning}")

    def _describe(self, record: dict[str, Any]) -> str:
        return (
            f"update {record['update']:,}, epoch {record['epoch']:.2f}: "
            f"loss {format_number(record['loss'], 3)}, ppl {format_number(record['ppl'])}, "
            f"lr {record['learning_rate']:.2e}, {record['tokens_per_second']:,.0f} tokens/s, "
            f"{self._time_left()} left"
        )

    def _describe_shortly(self, record: dict[str, Any]) -> str:
        """What fits beside a bar on 80 columns; what matters least comes last."""
        return (
            f"{self._time_left()} left, {record['update']:,}: "
            f"loss {format_number(record['loss'])}, ppl {format_number(record['ppl'])}, "
            f"{record['tokens_per_second']:,.0f} tokens/s, lr {record['learning_rate']:.1e}"
        )

    def _time_left(self) -> str:
        share, started = self._start or (self._share, 0.0)
        done = self._share - share
        if done <= 0:
            return "?"
        seconds = (time.monotonic() - started) * (1 - self._share) / done
        return tqdm.format_interval(seconds)

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(to_json(record) + "\n")
            self._file.flush()

    def _draw(self, update: int, group: str, values: dict[str, float]) -> None:
        if self._curves is not None:
            for name, value in values.items():
                self._curves.add_scalar(f"{group}/{name}", value, update)


def described(scores: dict[str, float]) -> str:
    """Scores as people read them."""
    return ", ".join(f"{name} {format_number(value)}" for name, value in scores.items())


def peak_memory() -> int:
    """The most memory, in bytes, that this process has had: of its GPU if it has one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def environment() -> dict[str, Any]:
    """What a training's speed, and the last bits of its results, depend on beside its config."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "system": platform.platform(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": distributed.size(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor() -> str:
    """What the machine's processor is called."""
    described = Path("/proc/cpuinfo")  # of Linux, where platform knows the architecture alone
    if described.exists():
        for line in described.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def curves(folder: Path, update: int) -> Any:
    """What writes curves for TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "training.tensorboard needs tensorboard; pip install 'seq2seq[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1)


def keep_lines(path: Path, *, up_to: int) -> None:
    """Drops what a killed run wrote after its last checkpoint: it will be done again."""
    if not os.path.lexists(path):
        return
    with open_own(path, "rb") as file:
        lines = file.read().decode().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["update"] <= up_to]
    if kept != lines:
        write_file(path, "".join(kept))
