"""Activations of the feed-forward layers, and their derivatives for backward passes that are written by hand."""

import torch
import torch.nn.functional as F
from torch import Tensor

_aten = torch.ops.aten


def activate(hidden: Tensor, gate: Tensor | None, *, activation: str) -> Tensor:
    """Apply the activation; a gated one multiplies the hidden values by its activated gate.

    Args:
        hidden: x @ w_in.
        gate: x @ w_gate, same shape; None unless gated.
        activation: Name, as in the specification.
    """
    match activation, gate:
        case "relu", None:
            return F.relu(hidden)
        case "gelu", None:
            return F.gelu(hidden)
        case "swiglu", Tensor():
            return F.silu(gate) * hidden
        case "geglu", Tensor():
            return F.gelu(gate) * hidden
    raise AssertionError(f"no activation {activation!r} with gate {gate is not None}")


def activate_into(active: Tensor, hidden: Tensor, gate: Tensor | None, *, activation: str) -> None:
    """Write ``activate(hidden, gate)`` into a tensor; for relu it may be ``hidden`` itself.

    Args:
        active: Takes the result.
        hidden: x @ w_in.
        gate: x @ w_gate, same shape; None unless gated.
        activation: Name, as in the specification.
    """
    match activation:
        case "relu":
            torch.clamp_min(hidden, 0, out=active)
        case "gelu":
            _aten.gelu.out(hidden, out=active)
        case "swiglu":
            _aten.silu.out(gate, out=active).mul_(hidden)
        case "geglu":
            _aten.gelu.out(gate, out=active).mul_(hidden)
        case _:
            raise AssertionError(f"no activation {activation!r}")


def activate_backward_(
    grad: Tensor, *, hidden: Tensor, gate: Tensor | None, active: Tensor, activation: str
) -> Tensor | None:
    """Turn ∂L/∂active into ∂L/∂hidden, in place, and give ∂L/∂gate where there is one.

    Bit for bit what autograd makes of ``activate``.

    Args:
        grad: ∂L/∂active; becomes ∂L/∂hidden.
        hidden: x @ w_in.
        gate: x @ w_gate; None unless gated.
        active: The activated values; relu needs only these.
        activation: Name, as in the specification.
    """
    match activation, gate:
        case "relu", None:
            _aten.threshold_backward.grad_input(grad, active, 0, grad_input=grad)
            return None
        case "gelu", None:
            _aten.gelu_backward.grad_input(grad, hidden, grad_input=grad)
            return None
        case "swiglu", Tensor():
            grad_gate: Tensor = _aten.silu_backward(grad * hidden, gate)
            grad.mul_(F.silu(gate))
            return grad_gate
        case "geglu", Tensor():
            grad_gate = _aten.gelu_backward(grad * hidden, gate)
            grad.mul_(F.gelu(gate))
            return grad_gate
    raise AssertionError(f"no activation {activation!r} with gate {gate is not None}")
