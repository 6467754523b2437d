"""Matrix products by the faster of PyTorch's two CPU libraries.

PyTorch multiplies float32 matrices on a CPU with MKL, which on AMD processors keeps to 256-bit instructions; oneDNN,
which PyTorch brings too, uses the 512-bit ones and is 1.7 to 2.3 times as fast there from about ten million FLOPs up
(measured on an AMD EPYC of family 26). It prepares code for every new shape, which takes it a third of a millisecond,
and keeps it: shapes must not change from step to step; see ``steady_size``. Both round as float32 does. Everywhere else
PyTorch chooses.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_FLOPS = 8_000_000
"""Products smaller than this are as fast in MKL."""
SIZES_PER_OCTAVE = 8
"""Sizes that ``steady_size`` rounds to, per doubling: at most an eighth is added. oneDNN keeps about 3 MB per shape."""


def matmul(x: Tensor, w_DF: Tensor) -> Tensor:
    """x @ w, differentiable.

    Args:
        x: Any shape that ends in D.
        w_DF: A matrix.
    """
    if not _prefers_onednn(x):
        return x @ w_DF
    return _Matmul.apply(x, w_DF)  # type: ignore[no-any-return, no-untyped-call]


def multiply(a: Tensor, b: Tensor, *, with_relu: bool = False) -> Tensor:
    """a @ b of two matrices, or max(a @ b, 0); not differentiable.

    Args:
        a: First.
        b: Second.
        with_relu: Whether negative results become 0.
    """
    if is_large(a, b.shape[1]):
        activation = "relu" if with_relu else "none"
        # A linear layer wants the transpose of its weight; views of either order are equally fast. The other factor is
        # copied where its rows are not contiguous: then the smaller one is made that factor.
        if not a.is_contiguous() and b.is_contiguous() and b.numel() < a.numel():
            return _multiply_onednn(b.t(), a.t(), activation=activation).t()
        return _multiply_onednn(a, b, activation=activation)
    product = torch.mm(a, b)
    return product.relu_() if with_relu else product


def multiply_into(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """Write a @ b into a tensor; not differentiable.

    Args:
        a: First.
        b: Second.
        out: Takes the product.
    """
    if is_large(a, b.shape[1]):
        out.copy_(multiply(a, b))
    else:
        torch.mm(a, b, out=out)


def is_large(a: Tensor, num_columns: int) -> bool:
    """Whether a product of this matrix is one for oneDNN.

    Args:
        a: First matrix.
        num_columns: Columns of the second.
    """
    return 2 * a.numel() * num_columns >= MIN_FLOPS and _prefers_onednn(a)


def prepares_shapes(a: Tensor, num_columns: int) -> bool:
    """Whether a product of this matrix is one that code is prepared for: PyTorch's own in bfloat16 are, too.

    Args:
        a: First matrix.
        num_columns: Columns of the second.
    """
    return (a.device.type == "cpu" and a.dtype == torch.bfloat16) or is_large(a, num_columns)


def steady_size(size: int) -> int:
    """Round a size up to one of a few, so that sizes which vary from step to step are seldom new.

    >>> [steady_size(size) for size in (1, 8, 17, 500, 513, 4096)]
    [1, 8, 18, 512, 576, 4096]
    """
    step = max(1 << (max(size - 1, 1).bit_length() - 1), SIZES_PER_OCTAVE) // SIZES_PER_OCTAVE
    return -(-size // step) * step


def _multiply_onednn(a: Tensor, b: Tensor, *, activation: str) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), None, activation, [], "")
    return product


class _Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w_DF: Tensor) -> Tensor:
        ctx.save_for_backward(x, w_DF)
        return multiply(x.flatten(0, -2), w_DF).view(*x.shape[:-1], w_DF.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w_DF = ctx.saved_tensors
        needs_x, needs_w = ctx.needs_input_grad
        grad_NF = grad.flatten(0, -2)
        grad_x = multiply(grad_NF, w_DF.t()).view_as(x) if needs_x else None
        return grad_x, multiply(x.flatten(0, -2).t(), grad_NF) if needs_w else None


def _prefers_onednn(x: Tensor) -> bool:
    is_candidate = x.device.type == "cpu" and x.dtype == torch.float32
    return is_candidate and bool(torch.backends.mkldnn.enabled) and _is_amd_with_avx512()


@cache
def _is_amd_with_avx512() -> bool:
    """Whether this is a processor that MKL leaves half of its width unused on, and PyTorch has both libraries."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not has_both or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        return re.search(r"^vendor_id\s*:\s*AuthenticAMD$", Path("/proc/cpuinfo").read_text(), re.MULTILINE) is not None
    except OSError:
        return False
