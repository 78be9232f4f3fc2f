"""The laws of products: whichever library multiplies, it is the same product."""

import subprocess
import sys

import pytest
import torch
from tiny import batch_of, learn, learner_of, pairs
from torch._dynamo.utils import counters
from torch.nn import functional

from seq2seq.errors import UserError
from seq2seq.models import products
from seq2seq.models.products import FLOAT32_PRODUCTS, linear, matmul, onednn_is_faster

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"),
    reason="PyTorch without oneDNN",
)
SHAPES = [(1, 4), (7, 4), (0, 4), (3, 5, 4), (2, 0, 4), (2, 3, 5, 8), (4,)]


@pytest.fixture
def by_onednn(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


def drawn(*shape, precision=torch.float32):
    return torch.randn(*shape, dtype=precision, generator=torch.Generator().manual_seed(sum(shape)))


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_by_onednn_is_the_product_and_so_are_its_gradients(by_onednn, shape, bias):
    found = []
    for multiply in (linear, functional.linear):
        given = [drawn(*shape), drawn(6, shape[-1]), drawn(6)][: 3 if bias else 2]
        given = [one.requires_grad_() for one in given]
        result = multiply(*given)
        functions = {result.grad_fn.name(), result.grad_fn.next_functions[0][0].name()}
        assert ("ProductBackward" in functions) == (multiply is linear and 0 not in shape)
        (result * drawn(*shape[:-1], 6)).sum().backward()
        found.append([result, *(one.grad for one in given)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@needs_onednn
def test_what_is_strided_is_multiplied_as_what_is_not(by_onednn):
    x, weight = drawn(5, 7, 6), drawn(8, 6)
    for some in (x[:, -1], x[:, 1:4], x.transpose(0, 1), x[:, :, :1].expand(5, 7, 6)):
        torch.testing.assert_close(linear(some, weight), functional.linear(some, weight))
        for kept in (True, False):
            own = some.detach().requires_grad_(kept)
            result = linear(own, weight.requires_grad_())
            result.sum().backward()  # an expanded gradient
            torch.testing.assert_close(weight.grad, some.flatten(0, -2).sum(0).expand(8, 6))
            weight.grad = None


@needs_onednn
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_may_be_written_to_in_place(by_onednn, shape):
    found = []
    for multiply in (linear, functional.linear):
        x, weight = drawn(*shape).requires_grad_(), drawn(6, shape[-1]).requires_grad_()
        result = multiply(x, weight)
        result[..., 1].fill_(-1.0)
        (result * drawn(*shape[:-1], 6)).sum().backward()
        found.append((result, x.grad, weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@needs_onednn
@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_what_does_not_learn_has_no_gradient(by_onednn, left_out):
    given = [drawn(3, 4), drawn(5, 4), drawn(5)]
    for place, one in enumerate(given):
        one.requires_grad_(place != left_out)
    linear(*given).sum().backward()
    assert [one.grad is None for one in given] == [place == left_out for place in range(3)]


@needs_onednn
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_a_matrix_in_given_memory_is_the_product(by_onednn, rows):
    a, b = drawn(rows, 5), drawn(7, 5)
    for one, other in ((a, b.mT), (b, a.mT), (a.mT.contiguous().mT, b.mT)):
        memory = torch.full((len(one), other.shape[1]), torch.nan)
        assert matmul(one, other, out=memory) is memory
        torch.testing.assert_close(memory, one @ other)


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_pytorch(by_onednn, precision):
    x, weight = drawn(3, 4, precision=precision), drawn(5, 4, precision=precision)
    assert torch.equal(linear(x, weight), functional.linear(x, weight))
    memory = x.new_empty(3, 5)
    assert torch.equal(matmul(x, weight.mT, out=memory), x @ weight.mT)


@needs_onednn
def test_a_recorded_graph_has_the_operators_of_pytorch_alone(by_onednn):
    class Linear(torch.nn.Linear):
        def forward(self, x):
            return linear(x, self.weight, self.bias)

    graph = str(torch.export.export(Linear(4, 5), (drawn(3, 4),)).graph)
    assert "aten.linear" in graph
    assert "mkldnn" not in graph


def test_products_do_not_break_the_graphs_of_the_compiler(products):
    torch._dynamo.reset()
    counters.clear()
    learner, store = learner_of("transformer", dropout=0.3), pairs(40)
    learner.model.compile(backend="eager", dynamic=True)
    for size in (5, 6, 7):
        learn(learner, batch_of(store, *range(size)))
    assert 0 < counters["stats"]["unique_graphs"] <= 4
    assert not counters["graph_break"]
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("maker", "capability", "onednn"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        ("", "AVX512", False),
    ],
)
def test_the_maker_of_the_processor_decides(monkeypatch, maker, capability, onednn):
    monkeypatch.delenv(FLOAT32_PRODUCTS, raising=False)
    monkeypatch.setattr(products, "processor", lambda: f"vendor_id\t: {maker}\n")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    has = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    assert onednn_is_faster.__wrapped__() == (onednn and has)


@pytest.mark.parametrize("maker", ["AuthenticAMD", "GenuineIntel"])
def test_the_environment_decides_over_the_processor(monkeypatch, maker):
    monkeypatch.setattr(products, "processor", lambda: f"vendor_id\t: {maker}\n")
    for name in ("onednn", "mkl"):
        monkeypatch.setenv(FLOAT32_PRODUCTS, name)
        if name == "mkl" or hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            assert onednn_is_faster.__wrapped__() == (name == "onednn")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    refused = {
        "MKL": "SEQ2SEQ_FLOAT32_PRODUCTS must be onednn or mkl, not MKL",
        "onednn": "SEQ2SEQ_FLOAT32_PRODUCTS: this PyTorch has no oneDNN; unset it",
    }
    for name, message in refused.items():
        monkeypatch.setenv(FLOAT32_PRODUCTS, name)
        with pytest.raises(UserError) as error:
            onednn_is_faster.__wrapped__()
        assert str(error.value) == message


def test_processes_that_tests_start_multiply_by_the_same_library(products):
    code = "from seq2seq.models.products import onednn_is_faster; print(onednn_is_faster())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert child.stdout.strip() == str(onednn_is_faster()) == str(products == "onednn")


def test_no_gradient_is_kept_for_where_none_is_asked():
    with torch.no_grad():
        assert linear(drawn(3, 4), drawn(5, 4).requires_grad_()).grad_fn is None
