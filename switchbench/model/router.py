"""The Switch router: which expert each token goes to, with what gate, and who finds its expert full.

Axes: T tokens of a batch, G routing groups, E experts, C slots per expert and group, N kept tokens, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from switchbench.spec import SparseFFNSpec, expert_capacity


@dataclass(frozen=True, kw_only=True)
class Routing:
    """What the router of one layer decided about one batch."""

    kept_tokens_N: Tensor
    """Indices of the kept tokens, sorted by expert and, within an expert, by arrival; int64."""
    kept_per_expert_E: Tensor
    """Kept tokens of each expert, in the same order; int64; sums to N."""
    gate_N: Tensor
    """Gate of each kept token: its router probability, never renormalized; float32, differentiable."""
    tokens_per_expert_E: Tensor
    """Tokens that chose each expert, before capacity; int64; sums to T."""
    num_tokens: int
    """Tokens routed, T."""
    num_slots: int
    """Slots of all experts and groups together, G·E·C."""
    aux_loss: Tensor
    """Load-balancing loss, unscaled, mean over groups; scalar float32, differentiable; 1 when balanced."""
    entropy: Tensor
    """Mean over tokens of the entropy of the router's distribution, in nats; scalar float32."""


def route(
    router_logits_TE: Tensor, *, spec: SparseFFNSpec, group_tokens: int, capacity_factor: float | None
) -> Routing:
    """Assign every token to its most probable expert, first come first served within a routing group.

    p = softmax(logits), expert = argmax p, gate = p[expert]; a token whose expert already has C tokens of its group is
    dropped. Auxiliary loss of a group: E · Σ_i f_i · P_i, with f_i the share of tokens that chose expert i (before
    capacity, no gradient) and P_i its mean probability.

    Args:
        router_logits_TE: Router logits, float32; groups are runs of consecutive tokens.
        spec: The layer.
        group_tokens: Tokens routed together, T/G; must divide T.
        capacity_factor: Sets C; None: dropless.

    Source:
        Switch Transformer eqs. (1)-(6); its N experts are our E. Arrival is the order of the tokens, token-major, so
        that a dropped token depends on earlier tokens only.
    """
    num_tokens, num_experts = router_logits_TE.shape
    num_groups = num_tokens // group_tokens
    capacity = expert_capacity(group_tokens, num_experts=num_experts, capacity_factor=capacity_factor, top_k=spec.top_k)

    log_probs_TE = torch.log_softmax(router_logits_TE, dim=-1)
    probs_TE = log_probs_TE.exp()
    gate_T, expert_T = probs_TE.max(dim=-1)

    # One stable sort by (expert, group) lines up each expert's tokens in order of arrival.
    group_T = torch.arange(num_groups, device=expert_T.device).repeat_interleave(group_tokens)
    segment_T = expert_T * num_groups + group_T
    order_T = torch.argsort(segment_T, stable=True)
    count_EG = torch.bincount(segment_T, minlength=num_experts * num_groups).view(num_experts, num_groups)
    kept_EG = count_EG.clamp(max=capacity)
    if capacity < group_tokens:
        start_S = count_EG.flatten().cumsum(0) - count_EG.flatten()
        position_T = torch.arange(num_tokens, device=expert_T.device) - start_S[segment_T[order_T]]
        order_T = order_T[position_T < capacity]

    load_EG = count_EG / group_tokens
    mean_probs_GE = probs_TE.view(num_groups, group_tokens, num_experts).mean(dim=1)
    return Routing(
        kept_tokens_N=order_T,
        kept_per_expert_E=kept_EG.sum(dim=1),
        gate_N=gate_T.index_select(0, order_T),
        tokens_per_expert_E=count_EG.sum(dim=1),
        num_tokens=num_tokens,
        num_slots=num_groups * num_experts * capacity,
        aux_loss=num_experts * (load_EG.T * mean_probs_GE).sum(dim=1).mean(),
        entropy=-(probs_TE * log_probs_TE).detach().sum(dim=-1).mean(),
    )
