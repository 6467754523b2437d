"""Moving tokens to their experts and back, and multiplying them there. Sort and gather; never a one-hot matmul.

Three backends compute the same:

  loop         one matmul per expert, with a backward pass of its own that writes every gradient in place
  grouped_mm   PyTorch's grouped matmul; needs no look at the loads on the host; no float64; widths of whole 16 bytes
  padded       one batched matmul over E·C slots, empty ones included; what accelerators with static shapes do

Axes: T tokens, N kept tokens sorted by expert, E experts, C slots of an expert, D width in, F width out.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from switchbench.errors import UsageError
from switchbench.model.activation import activate, activate_backward_, activate_into
from switchbench.model.router import Routing
from switchbench.spec import Backend, Dispatch
from switchbench.spec.dispatch import GROUPED_ALIGNMENT_BYTES, can_group


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The experts of one layer, for one call."""

    w_in_EDF: Tensor
    """First matrix of each."""
    w_gate_EDF: Tensor | None
    """Matrix of each one's gated unit; None unless gated."""
    w_out_EFD: Tensor
    """Last matrix of each."""
    activation: str
    """Activation, as in the specification."""
    dropout: float = 0.0
    """Share of the hidden values that are dropped; the others are scaled up."""
    noise: torch.Generator | None = None
    """Source of the dropout."""


def choose_backend(choice: Dispatch, *, device: torch.device, dtype: torch.dtype, d_model: int, d_ff: int) -> Backend:
    """Choose how experts are computed.

    ``auto`` takes the loop on a CPU: at d_model 32 to 512 and 8 to 128 experts it was the fastest of the three in every
    case measured with ``switchbench bench layer``. On a GPU, where a loop waits for the loads and starts a kernel per
    expert, it takes the grouped matmul in bfloat16 on Hopper and later, and the padded one elsewhere, after what is
    published of their kernels: not measured.

    Args:
        choice: What was asked for.
        device: Where the model lives.
        dtype: Of the matmuls.
        d_model: Width, D.
        d_ff: Hidden width of an expert, F.

    Raises:
        UsageError: the grouped matmul was asked for and does not take this shape or precision.
    """
    is_grouped = dtype != torch.float64 and can_group(d_model=d_model, d_ff=d_ff, item_bytes=dtype.itemsize)
    if choice == "grouped_mm" and not is_grouped:
        raise UsageError(
            "dispatch 'grouped_mm' takes float32 and bfloat16 and rows of a multiple of "
            f"{GROUPED_ALIGNMENT_BYTES} bytes, got d_model {d_model} and d_ff {d_ff} in "
            f"{str(dtype).removeprefix('torch.')}; use dispatch 'auto', 'loop' or 'padded'"
        )
    if choice != "auto":
        return choice
    if device.type == "cpu":
        return "loop"
    is_hopper = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
    return "grouped_mm" if is_grouped and dtype == torch.bfloat16 and is_hopper else "padded"


def apply_experts(
    x_TD: Tensor, *, routing: Routing, experts: Experts, gate_multiplier: float, backend: Backend = "loop"
) -> Tensor:
    """Send tokens to their experts and add up what comes back, each answer times its gate.

    y[t] = Σ over the kept assignments n of token t of gate[n] · expert(x[t]); exactly 0 where there are none. Experts
    without tokens get zero gradients.

    Args:
        x_TD: All tokens.
        routing: Which go where.
        experts: The experts.
        gate_multiplier: Constant factor on the gates.
        backend: How; see ``choose_backend``.
    """
    gate_N = routing.gate_N if gate_multiplier == 1.0 else routing.gate_N * gate_multiplier
    if backend == "loop":
        mask_NF = _dropout_mask((routing.token_N.shape[0], experts.w_in_EDF.shape[2]), experts=experts, like=x_TD)
        tokens_per_expert = routing.kept_per_expert_E.tolist()
        return _Loop.apply(  # type: ignore[no-any-return, no-untyped-call]
            x_TD,
            gate_N,
            experts.w_in_EDF,
            experts.w_gate_EDF,
            experts.w_out_EFD,
            routing.token_N,
            mask_NF,
            tokens_per_expert,
            experts.activation,
        )
    x_ND = _Gather.apply(x_TD, routing.token_N)  # type: ignore[no-untyped-call]
    y_ND = _grouped(x_ND, routing, experts) if backend == "grouped_mm" else _padded(x_ND, routing, experts)
    y_ND = y_ND * gate_N.to(y_ND.dtype).unsqueeze(-1)
    return _Scatter.apply(y_ND, routing.token_N, x_TD.shape[0])  # type: ignore[no-any-return, no-untyped-call]


def computed_slots(routing: Routing, *, backend: Backend) -> int:
    """Rows that a backend multiplies for all experts together: the kept assignments, or every slot where it pads.

    Args:
        routing: What was computed.
        backend: How.
    """
    num_kept: int = routing.token_N.shape[0]
    return routing.kept_per_expert_E.shape[0] * _slots(routing) if backend == "padded" else num_kept


def _slots(routing: Routing) -> int:
    """Slots of an expert: its capacity over all groups; where nothing is dropped, the largest load (a look at it)."""
    num_experts = routing.kept_per_expert_E.shape[0]
    is_limited = routing.num_slots < num_experts * routing.num_tokens
    return routing.num_slots // num_experts if is_limited else int(routing.kept_per_expert_E.max())


def _grouped(x_ND: Tensor, routing: Routing, experts: Experts) -> Tensor:
    if x_ND.shape[0] == 0:
        return _padded(x_ND, routing, experts)
    ends_E = routing.kept_per_expert_E.cumsum(0).to(torch.int32)
    hidden_NF = F.grouped_mm(x_ND, experts.w_in_EDF, offs=ends_E)
    gate_NF = None if experts.w_gate_EDF is None else F.grouped_mm(x_ND, experts.w_gate_EDF, offs=ends_E)
    return F.grouped_mm(_activate(hidden_NF, gate_NF, experts), experts.w_out_EFD, offs=ends_E)


def _padded(x_ND: Tensor, routing: Routing, experts: Experts) -> Tensor:
    num_experts, num_slots = routing.kept_per_expert_E.shape[0], max(_slots(routing), 1)
    kept_E = routing.kept_per_expert_E
    index_N = torch.arange(x_ND.shape[0], device=x_ND.device)
    # An assignment's expert is the number of experts whose tokens have all come before it.
    expert_N = torch.searchsorted(kept_E.cumsum(0), index_N, right=True)
    shift_E = torch.arange(num_experts, device=x_ND.device) * num_slots - (kept_E.cumsum(0) - kept_E)
    slot_N = index_N + shift_E[expert_N]
    slots_SD = _Scatter.apply(x_ND, slot_N, num_experts * num_slots)  # type: ignore[no-untyped-call]
    x_ECD = slots_SD.view(num_experts, num_slots, x_ND.shape[1])
    hidden_ECF = torch.bmm(x_ECD, experts.w_in_EDF)
    gate_ECF = None if experts.w_gate_EDF is None else torch.bmm(x_ECD, experts.w_gate_EDF)
    y_ECD = torch.bmm(_activate(hidden_ECF, gate_ECF, experts), experts.w_out_EFD)
    return _Gather.apply(y_ECD.flatten(0, 1), slot_N)  # type: ignore[no-any-return, no-untyped-call]


def _activate(hidden: Tensor, gate: Tensor | None, experts: Experts) -> Tensor:
    active = activate(hidden, gate, activation=experts.activation)
    mask = _dropout_mask(tuple(active.shape), experts=experts, like=active)
    return active if mask is None else active * mask


def _dropout_mask(shape: tuple[int, ...], *, experts: Experts, like: Tensor) -> Tensor | None:
    """0 or 1/(1-p) per hidden value; None without dropout."""
    if experts.dropout == 0 or experts.noise is None:
        return None
    keep = 1 - experts.dropout
    return like.new_empty(shape).bernoulli_(keep, generator=experts.noise).div_(keep)


class _Gather(torch.autograd.Function):
    """x[index]; its gradient is added back in place."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, token_N: Tensor) -> Tensor:
        ctx.save_for_backward(token_N)
        ctx.num_tokens = x_TD.shape[0]
        return x_TD.index_select(0, token_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None]:
        (token_N,) = ctx.saved_tensors
        return _add_up(grad_ND, token_N, num_tokens=ctx.num_tokens), None


class _Scatter(torch.autograd.Function):
    """The reverse of a gather; rows of one place are added up, the places of none are exactly 0."""

    @staticmethod
    def forward(ctx: Any, y_ND: Tensor, token_N: Tensor, num_tokens: int) -> Tensor:
        ctx.save_for_backward(token_N)
        return _add_up(y_ND, token_N, num_tokens=num_tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, None]:
        (token_N,) = ctx.saved_tensors
        return grad_TD.index_select(0, token_N), None, None


class _Loop(torch.autograd.Function):
    """All of it, expert by expert: what one expert makes is used while it is in the caches.

    Indexing w[e] under autograd would allocate and add a full-size gradient per expert; here each expert's gradient is
    written in place into one buffer. Kept for the backward pass: x, the hidden values and the answers y (whose products
    with ∂L/∂y are the gates' gradients); the sorted tokens are gathered again, which is cheaper than keeping them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        gate_N: Tensor,
        w_in_EDF: Tensor,
        w_gate_EDF: Tensor | None,
        w_out_EFD: Tensor,
        token_N: Tensor,
        mask_NF: Tensor | None,
        tokens_per_expert: list[int],
        activation: str,
    ) -> Tensor:
        x_ND = x_TD.index_select(0, token_N)
        hidden_NF = x_ND.new_empty(x_ND.shape[0], w_in_EDF.shape[2])
        gate_NF = None if w_gate_EDF is None else torch.empty_like(hidden_NF)
        active_NF = hidden_NF if activation == "relu" else torch.empty_like(hidden_NF)
        y_ND = torch.empty_like(x_ND)
        for expert, rows in _busy_experts(tokens_per_expert):
            hidden_nF, active_nF = hidden_NF[rows], active_NF[rows]
            torch.mm(x_ND[rows], w_in_EDF[expert], out=hidden_nF)
            gate_nF = None
            if gate_NF is not None and w_gate_EDF is not None:
                gate_nF = torch.mm(x_ND[rows], w_gate_EDF[expert], out=gate_NF[rows])
            activate_into(active_nF, hidden_nF, gate_nF, activation=activation)
            if mask_NF is not None:
                active_nF.mul_(mask_NF[rows])
            torch.mm(active_nF, w_out_EFD[expert], out=y_ND[rows])
        ctx.save_for_backward(
            x_TD, gate_N, w_in_EDF, w_gate_EDF, w_out_EFD, token_N, mask_NF, hidden_NF, gate_NF, active_NF, y_ND
        )
        ctx.tokens_per_expert, ctx.activation = tokens_per_expert, activation
        return _add_up(y_ND * gate_N.to(y_ND.dtype).unsqueeze(-1), token_N, num_tokens=x_TD.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, gate_N, w_in_EDF, w_gate_EDF, w_out_EFD, token_N, mask_NF = ctx.saved_tensors[:7]
        hidden_NF, gate_NF, active_NF, y_ND = ctx.saved_tensors[7:]
        x_ND, grad_ND = x_TD.index_select(0, token_N), grad_TD.index_select(0, token_N)
        grad_gate_N = (grad_ND * y_ND).sum(dim=-1, dtype=gate_N.dtype)
        grad_ND.mul_(gate_N.to(grad_ND.dtype).unsqueeze(-1))
        grad_x_ND = torch.empty_like(x_ND)
        grad_w_in_EDF, grad_w_out_EFD = torch.empty_like(w_in_EDF), torch.empty_like(w_out_EFD)
        grad_w_gate_EDF = None if w_gate_EDF is None else torch.empty_like(w_gate_EDF)
        for expert, num_tokens in enumerate(ctx.tokens_per_expert):
            if num_tokens == 0:
                for grad_w in (grad_w_in_EDF, grad_w_gate_EDF, grad_w_out_EFD):
                    if grad_w is not None:
                        grad_w[expert].zero_()
        scratch_nF = hidden_NF.new_empty(max(ctx.tokens_per_expert), hidden_NF.shape[1])
        for expert, rows in _busy_experts(ctx.tokens_per_expert):
            x_nD, grad_nD, active_nF = x_ND[rows], grad_ND[rows], active_NF[rows]
            torch.mm(active_nF.T, grad_nD, out=grad_w_out_EFD[expert])
            grad_nF = torch.mm(grad_nD, w_out_EFD[expert].T, out=scratch_nF[: rows.stop - rows.start])
            if mask_NF is not None:
                grad_nF.mul_(mask_NF[rows])
            grad_gate_nF = activate_backward_(
                grad_nF,
                hidden=hidden_NF[rows],
                gate=None if gate_NF is None else gate_NF[rows],
                active=active_nF,
                activation=ctx.activation,
            )
            torch.mm(x_nD.T, grad_nF, out=grad_w_in_EDF[expert])
            grad_x_nD = torch.mm(grad_nF, w_in_EDF[expert].T, out=grad_x_ND[rows])
            if grad_gate_nF is not None and w_gate_EDF is not None and grad_w_gate_EDF is not None:
                torch.mm(x_nD.T, grad_gate_nF, out=grad_w_gate_EDF[expert])
                grad_x_nD.add_(grad_gate_nF @ w_gate_EDF[expert].T)
        grad_x_TD = _add_up(grad_x_ND, token_N, num_tokens=x_TD.shape[0])
        return grad_x_TD, grad_gate_N, grad_w_in_EDF, grad_w_gate_EDF, grad_w_out_EFD, None, None, None, None


def _busy_experts(tokens_per_expert: list[int]) -> list[tuple[int, slice]]:
    """The experts that have tokens, with the rows of these."""
    busy, start = [], 0
    for expert, num_tokens in enumerate(tokens_per_expert):
        if num_tokens:
            busy.append((expert, slice(start, start + num_tokens)))
        start += num_tokens
    return busy


def _add_up(y_ND: Tensor, place_N: Tensor, *, num_tokens: int) -> Tensor:
    """Rows at their places. Adding to zeros is three times as fast on a CPU as copying to the places is."""
    return y_ND.new_zeros(num_tokens, y_ND.shape[1]).index_add_(0, place_N, y_ND)
