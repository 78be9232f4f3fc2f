"""What a training shows as it goes: a progress bar on a terminal, plain lines elsewhere.

Everything that people see goes to standard error. `metrics.jsonl` gets one JSON object a line.
"""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from seq2seq.config import Training
from seq2seq.files import write_file
from seq2seq.training.checkpoint import Progress
from seq2seq.training.loss import bounded_exp
from seq2seq.training.update import Update


class Log:
    """Shows updates and validations, and writes them to metrics.jsonl."""

    def __init__(self, path: Path, config: Training, progress: Progress) -> None:
        self.config = config
        keep_lines(path, up_to=progress.update)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed on exit)
        self._since: list[Update] = []
        self._since_time = time.monotonic()
        self._bar: tqdm | None = None
        self._share = 0.0
        self._start: tuple[float, float] | None = None  # share and time of the first update seen
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=100.0,
                bar_format="{percentage:3.0f}% {bar} {desc}",
                dynamic_ncols=True,
                leave=False,
            )

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        """Shows a line."""
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def updated(
        self, progress: Progress, result: Update, rate: float, updates_an_epoch: int
    ) -> None:
        """After an update."""
        self._since.append(result)
        self._share = progress.share_done(self.config, updates_an_epoch)
        self._start = self._start or (self._share, time.monotonic())
        seconds = time.monotonic() - self._since_time
        tokens = sum(one.tokens for one in self._since)
        record = {
            "update": progress.update,
            "epoch": round(progress.epoch + progress.position / updates_an_epoch, 3),
            "loss": sum(one.loss for one in self._since) / tokens,
            "ppl": bounded_exp(sum(one.nll for one in self._since) / tokens),
            "learning_rate": rate,
            "gradient_norm": sum(one.gradient_norm for one in self._since) / len(self._since),
            "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
            "seconds": round(progress.seconds, 3),
        }
        if self._bar is not None:
            self._bar.n = 100 * self._share
            self._bar.set_description_str(self._describe_shortly(record))
        if progress.update % self.config.log_every == 0:
            self._write(record)
            if self._bar is None:
                self.say(self._describe(record))
            self._restart()

    def validated(self, progress: Progress, scores: dict[str, float]) -> None:
        """After a validation."""
        self._write(
            {"update": progress.update, "seconds": round(progress.seconds, 3), "valid": scores}
        )
        self.say(f"update {progress.update:,}, validation: {described(scores)}")
        self._restart()  # what validating took does not count as tokens per second

    def sample(self, source: str, reference: str, hypothesis: str) -> None:
        """Shows a validation sentence with its translation."""
        for name, text in (("source", source), ("reference", reference), ("ours", hypothesis)):
            self.say(f"    {name:>9}: {text}")

    def _restart(self) -> None:
        self._since, self._since_time = [], time.monotonic()

    def _describe(self, record: dict[str, Any]) -> str:
        return (
            f"update {record['update']:,}, epoch {record['epoch']:.2f}: "
            f"loss {record['loss']:.3f}, ppl {record['ppl']:.2f}, "
            f"lr {record['learning_rate']:.2e}, {record['tokens_per_second']:,.0f} tokens/s, "
            f"{self._time_left()} left"
        )

    def _describe_shortly(self, record: dict[str, Any]) -> str:
        """What fits beside a bar on 80 columns; what matters least comes last."""
        return (
            f"{self._time_left()} left, {record['update']:,}: loss {record['loss']:.2f}, "
            f"ppl {record['ppl']:.2f}, {record['tokens_per_second']:,.0f} tokens/s, "
            f"lr {record['learning_rate']:.1e}"
        )

    def _time_left(self) -> str:
        share, started = self._start or (self._share, 0.0)
        done = self._share - share
        if done <= 0:
            return "?"
        seconds = (time.monotonic() - started) * (1 - self._share) / done
        return tqdm.format_interval(seconds)

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


def described(scores: dict[str, float]) -> str:
    """Scores as people read them."""
    return ", ".join(f"{name} {value:.2f}" for name, value in scores.items())


def keep_lines(path: Path, *, up_to: int) -> None:
    """Drops what a killed run wrote after its last checkpoint: it will be done again."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["update"] <= up_to]
    if kept != lines:
        write_file(path, "".join(kept))
