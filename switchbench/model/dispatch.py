"""Moving tokens to their experts and back, and multiplying them there. Sort and gather; never a one-hot matmul.

Axes: T tokens, N kept tokens sorted by expert, E experts, D width in, F width out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from switchbench.model.router import Routing


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The experts of one layer, for one call."""

    w_in_EDF: Tensor
    """First matrix of each."""
    w_gate_EDF: Tensor | None
    """Matrix of each one's gated unit; None unless gated."""
    w_out_EFD: Tensor
    """Last matrix of each."""
    activate: Callable[[Tensor, Tensor | None], Tensor]
    """Takes x @ w_in and x @ w_gate, or None, to the hidden values, dropout included."""


def apply_experts(x_TD: Tensor, *, routing: Routing, experts: Experts, gate_multiplier: float) -> Tensor:
    """Send tokens to their experts and add up what comes back, each answer times its gate.

    y[t] = Σ over the kept assignments n of token t of gate[n] · expert(x[t]); exactly 0 where there are none.

    Args:
        x_TD: All tokens.
        routing: Which go where.
        experts: The experts.
        gate_multiplier: Constant factor on the gates.
    """
    tokens_per_expert = routing.kept_per_expert_E.tolist()
    x_ND = gather_tokens(x_TD, routing.token_N, is_distinct=routing.is_distinct)
    hidden_NF = grouped_matmul(x_ND, experts.w_in_EDF, tokens_per_expert=tokens_per_expert)
    gate_NF = None
    if experts.w_gate_EDF is not None:
        gate_NF = grouped_matmul(x_ND, experts.w_gate_EDF, tokens_per_expert=tokens_per_expert)
    active_NF = experts.activate(hidden_NF, gate_NF)
    y_ND = grouped_matmul(active_NF, experts.w_out_EFD, tokens_per_expert=tokens_per_expert)
    y_ND = y_ND * (routing.gate_N * gate_multiplier).to(y_ND.dtype).unsqueeze(-1)
    return scatter_tokens(y_ND, routing.token_N, num_tokens=x_TD.shape[0], is_distinct=routing.is_distinct)


def gather_tokens(x_TD: Tensor, token_N: Tensor, *, is_distinct: bool) -> Tensor:
    """Select tokens: x_TD[token_N].

    Args:
        x_TD: All tokens.
        token_N: Indices.
        is_distinct: Whether no token is selected twice: then the backward pass may write where it else must add.
    """
    return _Gather.apply(x_TD, token_N, is_distinct)  # type: ignore[no-any-return, no-untyped-call]


def scatter_tokens(y_ND: Tensor, token_N: Tensor, *, num_tokens: int, is_distinct: bool) -> Tensor:
    """Put tokens back into their places and add up those of one place; the places of none are exactly 0.

    Args:
        y_ND: Kept tokens.
        token_N: Their places.
        num_tokens: Places, T.
        is_distinct: Whether no place is named twice.
    """
    return _Scatter.apply(y_ND, token_N, num_tokens, is_distinct)  # type: ignore[no-any-return, no-untyped-call]


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
    def forward(ctx: Any, x_TD: Tensor, token_N: Tensor, is_distinct: bool) -> Tensor:
        ctx.save_for_backward(token_N)
        ctx.num_tokens, ctx.is_distinct = x_TD.shape[0], is_distinct
        return x_TD.index_select(0, token_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None, None]:
        (token_N,) = ctx.saved_tensors
        return _place(grad_ND, token_N, num_tokens=ctx.num_tokens, is_distinct=ctx.is_distinct), None, None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y_ND: Tensor, token_N: Tensor, num_tokens: int, is_distinct: bool) -> Tensor:
        ctx.save_for_backward(token_N)
        return _place(y_ND, token_N, num_tokens=num_tokens, is_distinct=is_distinct)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, None, None]:
        (token_N,) = ctx.saved_tensors
        return grad_TD.index_select(0, token_N), None, None, None


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


def _place(y_ND: Tensor, token_N: Tensor, *, num_tokens: int, is_distinct: bool) -> Tensor:
    if not is_distinct:
        return y_ND.new_zeros(num_tokens, y_ND.shape[1]).index_add_(0, token_N, y_ND)
    if token_N.shape[0] == num_tokens:  # a permutation overwrites everything
        return y_ND.new_empty(num_tokens, y_ND.shape[1]).index_copy_(0, token_N, y_ND)
    return y_ND.new_zeros(num_tokens, y_ND.shape[1]).index_copy_(0, token_N, y_ND)
