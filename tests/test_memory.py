"""Laws of memory that is refused: a message with a remedy in every command, never a traceback."""

import errno
import os

import numpy as np
import pytest
import torch

from seq2seq.errors import is_out_of_memory
from seq2seq.training.loss import Criterion

TOO_MUCH = 10**15


def refused_by_the_system() -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


ALLOCATIONS = {
    "torch": lambda: torch.empty(TOO_MUCH, dtype=torch.uint8),
    "numpy": lambda: np.empty(TOO_MUCH, dtype=np.uint8),
    "python": lambda: bytearray(TOO_MUCH),
    "system": refused_by_the_system,
}
COMMANDS = {
    "prepare": ("seq2seq.prepare.prepare", ("prepare", "toy.yaml"), "fewer --workers"),
    "train": ("seq2seq.train.train", ("train", "toy.yaml"), "training.batch_tokens"),
    "evaluate": ("seq2seq.evaluation.judging.load_model", ("evaluate",), "decoding.batch_tokens"),
    "score": ("seq2seq.score.score", ("score",), "decoding.batch_tokens"),
    "runs": ("seq2seq.overview.show_runs", ("runs",), "close other programs"),
}


def refusal(kind: str) -> BaseException:
    """The error of an allocation that is refused in truth."""
    with pytest.raises((RuntimeError, MemoryError, OSError)) as found:
        ALLOCATIONS[kind]()
    return found.value


@pytest.mark.parametrize("kind", ALLOCATIONS)
def test_what_is_refused_is_told_from_other_errors(kind):
    assert is_out_of_memory(refusal(kind))
    for words in ("CUDA out of memory. Tried to allocate 2.00 GiB", "std::bad_alloc"):
        assert is_out_of_memory(RuntimeError(words))
    for other in (RuntimeError("shapes differ"), ValueError("out of memory"), OSError("nothing")):
        assert not is_out_of_memory(other)


@pytest.mark.parametrize("kind", ALLOCATIONS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_so_and_what_to_do(trained, command, monkeypatch, kind, name):
    function, arguments, remedy = COMMANDS[name]

    def refuse(*arguments: object, **more: object) -> None:
        raise refusal(kind)

    monkeypatch.setattr(function, refuse)
    result = command(*arguments)
    *_, last = result.err.splitlines()
    assert result.code == 1
    assert last.startswith("error: there is too little memory")
    assert remedy in last
    assert ("1,000,000.00 GB" in last) == (kind == "torch")


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_a_pair_that_does_not_fit_into_a_processors_memory_is_a_message(
    own, command, monkeypatch, kind
):
    def refuse(self: Criterion, batch: object) -> None:
        raise refusal(kind)

    monkeypatch.setattr(Criterion, "forward", refuse)
    for more in ((), ("--dry-run",)):
        result = command("train", "toy.yaml", "--set", "name=large", *more)
        assert result.code == 1
        assert "cpu has too little memory" in result.err
        assert "lower training.batch_tokens" in result.err
