"""Moving tokens to their experts and back, and multiplying them there. Sort and gather; never a one-hot matmul.

Axes: T tokens, N kept tokens sorted by expert, E experts, D width in, F width out.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gather_tokens(x_TD: Tensor, token_N: Tensor) -> Tensor:
    """Select distinct tokens: x_TD[token_N].

    The backward pass writes instead of adding, which is right because no token is selected twice.

    Args:
        x_TD: All tokens.
        token_N: Indices, distinct.
    """
    return _Gather.apply(x_TD, token_N)  # type: ignore[no-any-return, no-untyped-call]


def scatter_tokens(y_ND: Tensor, token_N: Tensor, *, num_tokens: int) -> Tensor:
    """Put tokens back into their places; the places of dropped tokens are exactly 0.

    Args:
        y_ND: Kept tokens.
        token_N: Their places, distinct.
        num_tokens: Places, T.
    """
    return _Scatter.apply(y_ND, token_N, num_tokens)  # type: ignore[no-any-return, no-untyped-call]


def grouped_matmul(x_ND: Tensor, w_EDF: Tensor, *, tokens_per_expert: list[int]) -> Tensor:
    """Multiply each expert's tokens by its own matrix: y[n] = x[n] @ w[expert of n].

    Args:
        x_ND: Tokens, sorted by expert.
        w_EDF: One matrix per expert.
        tokens_per_expert: Tokens of each expert; sums to N.

    Returns:
        y_NF. In the backward pass each expert's gradient is written in place into one buffer; indexing w[e] under
        autograd would allocate and add a full-size gradient per expert. Experts without tokens get zero gradients.
    """
    return _GroupedMatmul.apply(x_ND, w_EDF, tokens_per_expert)  # type: ignore[no-any-return, no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, token_N: Tensor) -> Tensor:
        ctx.save_for_backward(token_N)
        ctx.num_tokens = x_TD.shape[0]
        return x_TD.index_select(0, token_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None]:
        (token_N,) = ctx.saved_tensors
        return _place(grad_ND, token_N, num_tokens=ctx.num_tokens), None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y_ND: Tensor, token_N: Tensor, num_tokens: int) -> Tensor:
        ctx.save_for_backward(token_N)
        return _place(y_ND, token_N, num_tokens=num_tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, None]:
        (token_N,) = ctx.saved_tensors
        return grad_TD.index_select(0, token_N), None, None


class _GroupedMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, w_EDF: Tensor, tokens_per_expert: list[int]) -> Tensor:
        ctx.save_for_backward(x_ND, w_EDF)
        ctx.tokens_per_expert = tokens_per_expert
        y_NF = x_ND.new_empty(x_ND.shape[0], w_EDF.shape[2])
        for expert, (x_nD, y_nF) in _busy_experts(tokens_per_expert, x_ND, y_NF):
            torch.mm(x_nD, w_EDF[expert], out=y_nF)
        return y_NF

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NF: Tensor) -> tuple[Tensor, Tensor, None]:
        x_ND, w_EDF = ctx.saved_tensors
        grad_x_ND, grad_w_EDF = torch.empty_like(x_ND), torch.empty_like(w_EDF)
        for expert, num_tokens in enumerate(ctx.tokens_per_expert):
            if num_tokens == 0:
                grad_w_EDF[expert].zero_()
        for expert, (x_nD, grad_nF, grad_x_nD) in _busy_experts(ctx.tokens_per_expert, x_ND, grad_NF, grad_x_ND):
            torch.mm(grad_nF, w_EDF[expert].T, out=grad_x_nD)
            torch.mm(x_nD.T, grad_nF, out=grad_w_EDF[expert])
        return grad_x_ND, grad_w_EDF, None


def _busy_experts(tokens_per_expert: list[int], *tensors: Tensor) -> list[tuple[int, tuple[Tensor, ...]]]:
    """Cut token-major tensors into the parts of the experts that have tokens."""
    parts = zip(*(torch.split(tensor, tokens_per_expert) for tensor in tensors), strict=True)
    return [(expert, part) for expert, part in enumerate(parts) if tokens_per_expert[expert]]


def _place(y_ND: Tensor, token_N: Tensor, *, num_tokens: int) -> Tensor:
    if token_N.shape[0] == num_tokens:  # a permutation overwrites everything
        return y_ND.new_empty(num_tokens, y_ND.shape[1]).index_copy_(0, token_N, y_ND)
    return y_ND.new_zeros(num_tokens, y_ND.shape[1]).index_copy_(0, token_N, y_ND)
