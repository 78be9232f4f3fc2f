"""What several test files share: one thread, the command line in this process, and a toy run."""

import contextlib
import io
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from seq2seq.cli import main
from seq2seq.models import products
from seq2seq.models.products import FLOAT32_PRODUCTS
from seq2seq.training import precision

NUMBERS = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]

TOY = """
data:
  source: digits
  target: German
  train: [{source: train.digits, target: train.de}]
  valid: {source: valid.digits, target: valid.de}
  test:
    first: {source: first.digits, target: first.de}
    second: {source: second.digits, target: second.de}
  max_length: 48
  prepared: prepared
tokenizer: {kind: char, vocab_size: 300}
model:
  {kind: transformer, dim: 32, ffn_dim: 64, heads: 2, encoder_layers: 1, decoder_layers: 1}
training:
  max_updates: 60
  precision: fp32
  batch_tokens: 512
  learning_rate: 5.0e-3
  schedule: constant
  warmup: 10
  validate_every: 20
  metrics: [ppl, bleu]
  keep_best: 3
  keep_last: 1
  average: 2
  log_every: 10
  samples: 1
decoding: {beam: 2, engine: pytorch}
"""


LIBRARIES = ["onednn", "mkl"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the library of float32 products, so that either side runs on any processor."""
    parser.addoption(
        "--float32-products",
        choices=["auto", *LIBRARIES],
        default="auto",
        help="Multiply float32 by this library in all tests; auto: by the faster here.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Sets what the processes of tests inherit."""
    if (library := config.getoption("--float32-products")) != "auto":
        os.environ[FLOAT32_PRODUCTS] = library
    # Whoever starts pytest may ignore it, as CI services do; children would, too.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests that use `products` by both libraries, unless the session is of one."""
    if "products" in metafunc.fixturenames:
        library = metafunc.config.getoption("--float32-products")
        libraries = LIBRARIES if library == "auto" else [library]
        metafunc.parametrize("products", libraries, indirect=True, scope="module")


@contextlib.contextmanager
def float32_products(library: str | None) -> Iterator[None]:
    """Multiplies float32 by a library, here and in processes that are started; None: as usual."""
    with pytest.MonkeyPatch.context() as patch:
        if library:
            patch.setenv(FLOAT32_PRODUCTS, library)
        else:
            patch.delenv(FLOAT32_PRODUCTS, raising=False)
        products.onednn_is_faster.cache_clear()
        yield
    products.onednn_is_faster.cache_clear()


@pytest.fixture(scope="module", name="products")
def each_product(request: pytest.FixtureRequest) -> Iterator[str]:
    """The library that multiplies float32 in a test: oneDNN, then MKL."""
    if request.param == "onednn" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("PyTorch without oneDNN")
    with float32_products(request.param):
        yield request.param


@pytest.fixture(params=["bf16", "fp32"])
def automatic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The precision that `training.precision: auto` takes in a test: bfloat16, then float32."""
    monkeypatch.setattr(precision, "bfloat16_is_faster", lambda device: request.param == "bf16")
    return request.param


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: bytes
    err: str


Command = Callable[..., Result]


class Trained(NamedTuple):
    """A folder in which toy.yaml was prepared and trained, and what the commands said."""

    folder: Path
    untouched: Path  # a copy of it, from before tests wrote results into it
    prepare: Result
    train: Result


def run_here(*arguments: str | Path, stdin: bytes = b"") -> Result:
    """Runs `seq2seq` in this process, as if with pipes for all its streams."""
    signals = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    }
    out, err = io.BytesIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["seq2seq", *map(str, arguments)])
        given = io.BufferedReader(io.BytesIO(stdin))
        patch.setattr(sys, "stdin", io.TextIOWrapper(given, encoding="utf-8"))
        patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8", write_through=True))
        patch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding="utf-8", write_through=True))
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for number, handler in signals.items():
                signal.signal(number, handler)
        return Result(code, out.getvalue(), err.getvalue().decode())


def write_toy(folder: Path) -> None:
    """Writes toy.yaml and its text: digits and what they are called."""
    numbers = random.Random(1)
    for name, count in {"train": 60, "valid": 6, "first": 8, "second": 5}.items():
        lines = [
            [numbers.randrange(10) for _ in range(numbers.randint(1, 4))] for _ in range(count)
        ]
        source = "".join(" ".join(map(str, line)) + "\n" for line in lines)
        target = "".join(" ".join(NUMBERS[digit] for digit in line) + "\n" for line in lines)
        (folder / f"{name}.digits").write_text(source, encoding="utf-8")
        (folder / f"{name}.de").write_text(target, encoding="utf-8")
    (folder / "toy.yaml").write_text(TOY, encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread: sums are rounded alike everywhere, and toys are fastest so."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What fixtures keep for later goes with the tests."""
    os.environ["SEQ2SEQ_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(autouse=True)
def cache(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A cache of the test's own, which is not made before something is kept in it."""
    folder = tmp_path_factory.getbasetemp() / "caches" / str(id(request.node))
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_chosen_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that whoever runs the tests has chosen does not count."""
    monkeypatch.delenv("SEQ2SEQ_MODEL", raising=False)


@pytest.fixture(scope="session")
def command() -> Command:
    """`seq2seq` in this process: command("translate", stdin=b"...") gives code, out and err."""
    return run_here


@pytest.fixture(scope="session")
def trained_once(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The toy run that most tests share: prepared and trained once, through the commands."""
    folder = tmp_path_factory.mktemp("trained")
    write_toy(folder)
    library = pytestconfig.getoption("--float32-products")
    with (
        float32_products(None if library == "auto" else library),  # whoever asks for it first
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        patch.delenv("SEQ2SEQ_MODEL", raising=False)
        done = run_here("prepare", "toy.yaml"), run_here("train", "toy.yaml")
    untouched = tmp_path_factory.mktemp("untouched") / "toy"
    shutil.copytree(folder, untouched)
    return Trained(folder, untouched, *done)


@pytest.fixture
def trained(trained_once: Trained, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """The trained toy run itself, in the working folder; not to be altered."""
    monkeypatch.chdir(trained_once.folder)
    return trained_once


@pytest.fixture
def own(trained_once: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained toy run, as working folder, to do anything with."""
    folder = tmp_path / "own"
    shutil.copytree(trained_once.untouched, folder)
    monkeypatch.chdir(folder)
    return folder
