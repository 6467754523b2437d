"""The feed-forward layer, dense and sparse, side by side: this is all that differs between a run and its twin.

Axes: T tokens, D width, F hidden width (per expert), E experts, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from switchbench.model.activation import activate
from switchbench.model.dispatch import Experts, apply_experts, choose_backend
from switchbench.model.router import Routing, route, route_by_hash
from switchbench.spec import Dispatch, SparseFFNSpec, is_gated

TRUNCATED_VARIANCE = 0.7737
"""Variance of a standard normal that is cut at two deviations: 1 - 4·φ(2)/(2Φ(2) - 1)."""


class DenseFFN(nn.Module):
    """y = act(x @ w_in) @ w_out, or y = (act(x @ w_gate) * (x @ w_in)) @ w_out when gated.

    Args:
        d_model: Width, D.
        d_ff: Hidden width, F.
        activation: Name, as in the specification.
    """

    def __init__(self, *, d_model: int, d_ff: int, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.w_in = nn.Parameter(torch.empty(d_model, d_ff))
        self.w_gate = nn.Parameter(torch.empty(d_model, d_ff)) if is_gated(activation) else None
        self.w_out = nn.Parameter(torch.empty(d_ff, d_model))

    def forward(self, x_TD: Tensor) -> Tensor:
        """Transform every token."""
        dtype = x_TD.dtype
        hidden_TF = x_TD @ self.w_in.to(dtype)
        gate_TF = None if self.w_gate is None else x_TD @ self.w_gate.to(dtype)
        return activate(hidden_TF, gate_TF, activation=self.activation) @ self.w_out.to(dtype)


class SwitchFFN(nn.Module):
    """E dense layers of which each token meets some: y = Σ_e gate_e(x) · FFN_e(x); 0 for a dropped token.

    The router works in float32 at least, whatever the precision of the rest ("selective precision", §2.4 of the paper):
    its input is widened, and only its gates are narrowed again, where they meet the experts' answers. The control,
    bfloat16 in the paper's Table 2, is ``router_precision: bfloat16``: then nothing of it is widened.
    Shared experts, which every token meets, are one dense layer as wide as all of them; its answer is added.

    Args:
        spec: The layer.
        d_model: Width, D.
        vocab_size: Vocabulary, V; what a hash router hashes.
        dispatch: How the experts are computed.
    """

    def __init__(self, spec: SparseFFNSpec, *, d_model: int, vocab_size: int, dispatch: Dispatch = "auto") -> None:
        super().__init__()
        self.spec, self.dispatch = spec, dispatch
        experts, d_ff = spec.num_experts, spec.d_ff
        self.w_router = nn.Parameter(torch.empty(d_model, experts)) if spec.router != "hash" else None
        self.w_in = nn.Parameter(torch.empty(experts, d_model, d_ff))
        self.w_gate = nn.Parameter(torch.empty(experts, d_model, d_ff)) if is_gated(spec.activation) else None
        self.w_out = nn.Parameter(torch.empty(experts, d_ff, d_model))
        self.shared = None
        if spec.shared_experts:
            self.shared = DenseFFN(d_model=d_model, d_ff=spec.shared_experts * d_ff, activation=spec.activation)
        self.gate_multiplier = 1.0
        if spec.gate_scale == "unit_at_init":
            self.gate_multiplier = 1.0 / expected_gate_rms(experts, router_init_scale=spec.router_init_scale)
        self.choice_bias_E: Tensor | None
        self.expert_of_token_V: Tensor | None
        self.register_buffer("choice_bias_E", torch.zeros(experts) if spec.balance == "bias" else None)
        is_hash = spec.router == "hash"
        self.register_buffer("expert_of_token_V", torch.zeros(vocab_size, dtype=torch.int64) if is_hash else None)

    def forward(
        self,
        x_TD: Tensor,
        *,
        token_T: Tensor,
        group_tokens: int,
        capacity_factor: float | None,
        noise: torch.Generator | None = None,
    ) -> tuple[Tensor, Routing]:
        """Route every token to its experts.

        Args:
            x_TD: Hidden states.
            token_T: Token ids at these places.
            group_tokens: Tokens routed together; must divide T.
            capacity_factor: Limits each expert; None: nothing is dropped.
            noise: Source of router jitter and expert dropout; None: neither (evaluation).

        Returns:
            y_TD, and what the router decided.
        """
        routing = self.route(
            x_TD, token_T=token_T, group_tokens=group_tokens, capacity_factor=capacity_factor, noise=noise
        )
        experts = Experts(
            w_in_EDF=self.w_in.to(x_TD.dtype),
            w_gate_EDF=None if self.w_gate is None else self.w_gate.to(x_TD.dtype),
            w_out_EFD=self.w_out.to(x_TD.dtype),
            activation=self.spec.activation,
            dropout=self.spec.expert_dropout,
            noise=noise,
        )
        backend = choose_backend(
            self.dispatch,
            device=x_TD.device,
            dtype=x_TD.dtype,
            d_model=x_TD.shape[1],
            d_ff=self.spec.d_ff,
        )
        y_TD = apply_experts(
            x_TD, routing=routing, experts=experts, gate_multiplier=self.gate_multiplier, backend=backend
        )
        if self.shared is not None:
            y_TD = y_TD + self.shared(x_TD)
        return y_TD, routing

    def route(
        self,
        x_TD: Tensor,
        *,
        token_T: Tensor,
        group_tokens: int,
        capacity_factor: float | None,
        noise: torch.Generator | None = None,
    ) -> Routing:
        """Decide which experts each token goes to; the arguments are those of ``forward``."""
        router_dtype = torch.promote_types(x_TD.dtype, torch.float32)
        if self.spec.router_precision == "bfloat16":
            router_dtype = torch.bfloat16
        if self.w_router is None:
            assert self.expert_of_token_V is not None
            return route_by_hash(
                self.expert_of_token_V[token_T],
                spec=self.spec,
                group_tokens=group_tokens,
                capacity_factor=capacity_factor,
                dtype=router_dtype,
            )
        router_input_TD = x_TD.to(router_dtype)
        jitter = self.spec.router_jitter
        if noise is not None and jitter > 0:
            noise_TD = torch.empty_like(router_input_TD).uniform_(1 - jitter, 1 + jitter, generator=noise)
            router_input_TD = router_input_TD * noise_TD
        return route(
            router_input_TD @ self.w_router.to(router_dtype),
            spec=self.spec,
            group_tokens=group_tokens,
            capacity_factor=capacity_factor,
            choice_bias_E=self.choice_bias_E,
        )

    @torch.no_grad()
    def update_choice_bias(self, routings: Sequence[Routing]) -> None:
        """Raise the bias of experts with less than the mean load and lower the others', by a fixed step.

        Args:
            routings: What the router decided in the step just taken, one per micro-batch.

        Source:
            Wang et al. 2024 (arXiv:2408.15664), algorithm 1: the sign of the error, not its size.
        """
        if self.choice_bias_E is not None:
            loads = torch.stack([routing.tokens_per_expert_EG.sum(dim=1) for routing in routings])
            load_E = loads.sum(dim=0).to(self.choice_bias_E.dtype)
            self.choice_bias_E += self.spec.balance_bias_rate * (load_E.mean() - load_E).sign()


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
