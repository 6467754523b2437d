"""The feed-forward layer, dense and sparse, side by side: this is all that differs between a run and its twin.

Axes: T tokens, D width, F hidden width (per expert), E experts, N kept tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from switchbench.model.dispatch import gather_tokens, grouped_matmul, scatter_tokens
from switchbench.model.router import Routing, route
from switchbench.spec import DenseFFNSpec, SparseFFNSpec, is_gated

TRUNCATED_VARIANCE = 0.7737
"""Variance of a standard normal that is cut at two deviations: 1 - 4·φ(2)/(2Φ(2) - 1)."""


class DenseFFN(nn.Module):
    """y = act(x @ w_in) @ w_out, or y = (act(x @ w_gate) * (x @ w_in)) @ w_out when gated.

    Args:
        spec: The layer; of a sparse specification, its dense counterpart with the same hidden width.
        d_model: Width, D.
    """

    def __init__(self, spec: DenseFFNSpec | SparseFFNSpec, *, d_model: int) -> None:
        super().__init__()
        self.activation = spec.activation
        self.w_in = nn.Parameter(torch.empty(d_model, spec.d_ff))
        self.w_gate = nn.Parameter(torch.empty(d_model, spec.d_ff)) if is_gated(spec.activation) else None
        self.w_out = nn.Parameter(torch.empty(spec.d_ff, d_model))

    def forward(self, x_TD: Tensor) -> Tensor:
        """Transform every token."""
        hidden_TF = x_TD @ self.w_in
        gate_TF = None if self.w_gate is None else x_TD @ self.w_gate
        return activate(hidden_TF, gate_TF, activation=self.activation) @ self.w_out


class SwitchFFN(nn.Module):
    """E dense layers of which each token meets one: y = p_e(x) · FFN_e(x), e = argmax p; 0 for a dropped token.

    The router works in float32 at least, whatever the precision of the rest ("selective precision", §2.4 of the paper).

    Args:
        spec: The layer.
        d_model: Width, D.
    """

    def __init__(self, spec: SparseFFNSpec, *, d_model: int) -> None:
        super().__init__()
        self.spec = spec
        experts = spec.num_experts
        self.w_router = nn.Parameter(torch.empty(d_model, experts))
        self.w_in = nn.Parameter(torch.empty(experts, d_model, spec.d_ff))
        self.w_gate = nn.Parameter(torch.empty(experts, d_model, spec.d_ff)) if is_gated(spec.activation) else None
        self.w_out = nn.Parameter(torch.empty(experts, spec.d_ff, d_model))
        self.gate_multiplier = 1.0
        if spec.gate_scale == "unit_at_init":
            self.gate_multiplier = 1.0 / expected_gate_rms(experts, router_init_scale=spec.router_init_scale)

    def forward(
        self, x_TD: Tensor, *, group_tokens: int, capacity_factor: float | None, jitter: torch.Generator | None = None
    ) -> tuple[Tensor, Routing]:
        """Route every token to one expert.

        Args:
            x_TD: Tokens.
            group_tokens: Tokens routed together; must divide T.
            capacity_factor: Limits each expert; None: nothing is dropped.
            jitter: Source of the router's input noise; None: no noise (evaluation).

        Returns:
            y_TD, and what the router decided.
        """
        router_dtype = torch.promote_types(x_TD.dtype, torch.float32)
        router_input_TD = x_TD.to(router_dtype)
        if jitter is not None and self.spec.router_jitter > 0:
            noise_TD = torch.empty_like(router_input_TD)
            noise_TD.uniform_(1 - self.spec.router_jitter, 1 + self.spec.router_jitter, generator=jitter)
            router_input_TD = router_input_TD * noise_TD
        routing = route(
            router_input_TD @ self.w_router.to(router_dtype),
            spec=self.spec,
            group_tokens=group_tokens,
            capacity_factor=capacity_factor,
        )
        tokens_per_expert = routing.kept_per_expert_E.tolist()
        x_ND = gather_tokens(x_TD, routing.kept_tokens_N)
        hidden_NF = grouped_matmul(x_ND, self.w_in, tokens_per_expert=tokens_per_expert)
        gate_NF = None
        if self.w_gate is not None:
            gate_NF = grouped_matmul(x_ND, self.w_gate, tokens_per_expert=tokens_per_expert)
        active_NF = activate(hidden_NF, gate_NF, activation=self.spec.activation)
        y_ND = grouped_matmul(active_NF, self.w_out, tokens_per_expert=tokens_per_expert)
        y_ND = y_ND * (routing.gate_N * self.gate_multiplier).to(y_ND.dtype).unsqueeze(-1)
        return scatter_tokens(y_ND, routing.kept_tokens_N, num_tokens=x_TD.shape[0]), routing


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


def expected_gate_rms(num_experts: int, *, router_init_scale: float) -> float:
    """Rms of the top-1 gate of a fresh router: of max softmax(z), z_i ~ N(0, 0.774 · router_init_scale).

    The router's input is normalized to rms 1, so that fan-in init gives logits of variance s, less what the cut at two
    deviations takes. Estimated from 4096 fixed draws (relative error below 1%): a constant of the configuration, not a
    random number of the run.
    """
    generator = torch.Generator().manual_seed(0)
    deviation = (TRUNCATED_VARIANCE * router_init_scale) ** 0.5
    logits = torch.randn(4096, num_experts, generator=generator, dtype=torch.float64) * deviation
    return float(logits.softmax(dim=-1).amax(dim=-1).square().mean().sqrt())
