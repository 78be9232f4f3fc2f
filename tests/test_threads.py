"""The laws of searches side by side: who searches changes nothing, and none works on in vain."""

import threading
import time

import pytest
import torch
from tiny import build_tiny, config_of

from seq2seq.config import Decoding
from seq2seq.decoding.engine import Request
from seq2seq.decoding.pytorch import FEW, PyTorch
from seq2seq.decoding.threads import Halt, side_by_side
from seq2seq.models import MODELS

REQUESTS = [Request([5 + n % 7] * (1 + n % 9), longest=12, number=n) for n in range(2 * FEW + 8)]


@pytest.fixture(autouse=True)
def two_processors():
    """As if PyTorch had two, whatever is here."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "options",
    [
        Decoding(beam=1),
        Decoding(beam=4, n_best=4),
        Decoding(beam=4, n_best=4, diversity_groups=2, diversity_penalty=0.5),
        Decoding(sampling=True, n_best=3, beam=3),
    ],
)
def test_searches_side_by_side_find_what_one_finds(kind, options):
    model = build_tiny(config_of(kind)).double().eval()
    engine = PyTorch(model)
    requests = [one._replace(present=((6,),)) if one.number % 5 == 0 else one for one in REQUESTS]
    together = engine.search(requests, options)
    torch.set_num_threads(1)
    alone = engine.search(requests, options)
    assert [[one.tokens for one in some] for some in together] == [
        [one.tokens for one in some] for some in alone
    ]
    for some, others in zip(together, alone, strict=True):
        assert [one.score for one in some] == pytest.approx([one.score for one in others])


def test_each_thread_has_a_processor_and_all_come_back_afterwards():
    seen = []

    def work(task: int, halt: Halt) -> int:
        seen.append((threading.get_ident(), torch.get_num_threads()))
        time.sleep(0.01)
        return task

    assert sorted(side_by_side(work, range(20), 2)) == list(range(20))
    assert {count for _, count in seen} == {1}
    assert len({thread for thread, _ in seen} - {threading.get_ident()}) == 2
    assert torch.get_num_threads() == 2
    seen.clear()
    assert list(side_by_side(work, range(3), 1)) == [0, 1, 2]
    assert set(seen) == {(threading.get_ident(), 2)}


@pytest.mark.parametrize("fails", [True, False])
def test_nobody_works_on_after_a_failure_or_an_interruption(fails):
    abandoned = threading.Event()

    def work(task: int, halt: Halt) -> None:
        if task == 0:
            if fails:
                raise RuntimeError("out of memory")
            return
        try:
            while True:
                halt.check()
                time.sleep(0.001)
        finally:
            abandoned.set()

    before = threading.active_count()
    with pytest.raises(RuntimeError if fails else KeyboardInterrupt):  # noqa: PT012
        for _ in side_by_side(work, range(1000), 2):
            raise KeyboardInterrupt
    assert abandoned.wait(5)
    assert threading.active_count() == before
    assert torch.get_num_threads() == 2


def test_few_requests_are_searched_by_one_with_all_processors(monkeypatch):
    model = build_tiny(config_of("transformer")).eval()
    counts = []

    def read(source, read=model.read):
        counts.append(torch.get_num_threads())
        return read(source)

    monkeypatch.setattr(model, "read", read)
    engine = PyTorch(model)
    for requests, expected in ((FEW - 1, [2]), (FEW, [1, 1]), (3 * FEW, [1, 1, 1, 1])):
        counts.clear()
        engine.search([REQUESTS[0]] * requests, Decoding(beam=2))
        assert counts == expected  # two for each, so that none waits long for the other
