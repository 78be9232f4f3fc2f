"""Products of matrices, by whichever of PyTorch's libraries is the fastest for them.

PyTorch has two for the processor: in float32 it takes MKL, in bfloat16 oneDNN. MKL keeps its
AVX-512 code for Intel's processors. On AMD's that have AVX-512, oneDNN is more than twice as fast
in float32, too (benchmarks/README.md), by the operator that PyTorch's own compiler calls.
"""

import functools
import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seq2seq.errors import UserError

FLOAT32_PRODUCTS = "SEQ2SEQ_FLOAT32_PRODUCTS"  # onednn or mkl, whatever the processor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., K) times the rows of `weight` (N, K), plus `bias` (N,): (..., N)."""
    if not by_onednn(x):
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled():
        # as a matrix: a view that is made inside an autograd function may not be written to later
        rows = Product.apply(x.reshape(-1, x.shape[-1]), weight, bias)
        return rows.view(*x.shape[:-1], len(weight))
    return product(x, weight, bias)


def matmul(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """The product of matrices a (M, K) and b (K, N), of one precision, in `out` (M, N).

    It has no gradient.
    """
    return out.copy_(product(a, b.mT)) if by_onednn(a) else torch.mm(a, b, out=out)


def by_onednn(x: Tensor) -> bool:
    """Whether a product with x is one that PyTorch would not give to oneDNN, and that is faster."""
    if torch.compiler.is_compiling():  # asked first: the compiler cannot follow the other questions
        return False
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0
    return plain and onednn_is_faster()


@functools.cache
def onednn_is_faster() -> bool:
    """Whether this processor multiplies float32 faster by oneDNN than by MKL: AMD's with AVX-512.

    It is told by the name of the maker, not by a measurement: a run must go on with the same bits.
    The environment variable SEQ2SEQ_FLOAT32_PRODUCTS decides instead where it is set.
    """
    here = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if named := os.environ.get(FLOAT32_PRODUCTS):
        if named not in ("onednn", "mkl"):
            raise UserError(f"{FLOAT32_PRODUCTS} must be onednn or mkl, not {named}")
        if named == "onednn" and not here:
            raise UserError(f"{FLOAT32_PRODUCTS}: this PyTorch has no oneDNN; unset it")
        return named == "onednn"
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return here and wide and torch.backends.mkl.is_available() and "AuthenticAMD" in processor()


def processor() -> str:
    """What the system says of its processor, its maker's name in it."""
    told = Path("/proc/cpuinfo")  # of Linux, whose `platform` does not know
    return told.read_text() if told.exists() else platform.processor()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `linear` gives, by oneDNN and without a gradient."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class Product(torch.autograd.Function):
    """The product of the rows of a matrix x (N, K), by oneDNN, with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (of_x, of_weight, of_bias) = ctx.saved_tensors, ctx.needs_input_grad
        return (
            product(gradient, weight.mT) if of_x else None,
            product(gradient.mT, x.mT) if of_weight else None,
            gradient.sum(dim=0) if of_bias else None,
        )
