"""Routers: which experts each token goes to, with what gates, and who finds its expert full.

Axes: T tokens of a batch, G routing groups, E experts, C slots per expert and group, K experts per token, D width,
A = T·K assignments of a token to an expert, N kept assignments.
"""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from switchbench.spec import SparseFFNSpec, expert_capacity


@dataclass(frozen=True, kw_only=True)
class Routing:
    """What the router of one layer decided about one batch."""

    token_N: Tensor
    """Token of each kept assignment, sorted by expert and, within an expert, by group and arrival; int64."""
    kept_per_expert_E: Tensor
    """Kept assignments of each expert, in the same order; int64; sums to N."""
    gate_N: Tensor
    """Gate of each kept assignment, in the logits' precision; differentiable, but for ``hash``, where it is 1."""
    tokens_per_expert_EG: Tensor
    """Tokens that chose each expert in each group, before capacity; int64; sums to A."""
    is_causal: bool
    """Whether tokens chose their experts; False: the experts chose, with a look at later tokens."""
    num_tokens: int
    """Tokens routed, T."""
    num_assignments: int
    """Assignments that were asked for, A; for ``expert_choice`` T: there a token is dropped that no expert took."""
    num_kept: int
    """Of these, those that were met: N; for ``expert_choice`` the tokens that some expert took."""
    num_slots: int
    """Slots of all experts and groups together, G·E·C."""
    aux_loss: Tensor
    """Load-balancing loss, unscaled, mean over groups; scalar; 1 when balanced. As all below float32 at least."""
    z_loss: Tensor
    """Mean squared logsumexp of the logits, unscaled; scalar; 0 for ``hash``, which has no logits."""
    mean_probs_E: Tensor
    """Mean router distribution of the batch; detached."""
    entropy: Tensor
    """Mean over tokens of the entropy of their distributions, in nats; scalar, detached."""
    confidence: Tensor
    """Mean over tokens of their largest probability; scalar, detached."""


def route(
    router_logits_TE: Tensor,
    *,
    spec: SparseFFNSpec,
    group_tokens: int,
    capacity_factor: float | None,
    choice_bias_E: Tensor | None = None,
) -> Routing:
    """Assign tokens to experts by their router probabilities.

    ``switch``, ``top_k``: every token goes to its k most probable experts, first come first served within a routing
    group: the assignments of an earlier token come before those of a later one, and an assignment whose expert already
    has C of its group is dropped. Gate: the probability; for ``top_k`` with ``normalize_gates`` divided by the sum of
    the k chosen ones, before anything is dropped.
    ``expert_choice``: every expert takes the C tokens of each group that are most probable for it; no token is sure of
    an expert, some have several, and what a token gets depends on later tokens.

    Auxiliary loss of a group: E · Σ_i f_i · P_i, with f_i the share of the assignments that went to expert i (before
    capacity, no gradient) and P_i its mean probability. z loss: mean of logsumexp(logits)².

    Probabilities, gates and choices are as precise as the logits: float32 in selective precision. Means over tokens are
    taken in float32 in any case.

    Args:
        router_logits_TE: Router logits; groups are runs of consecutive tokens.
        spec: The layer.
        group_tokens: Tokens routed together, T/G; must divide T.
        capacity_factor: Sets C; None: dropless.
        choice_bias_E: Added to the probabilities for the choice alone, not in the gate.

    Source:
        Switch Transformer eqs. (1)-(6), its N experts are our E; Shazeer et al. 2017 (arXiv:1701.06538) for top-k;
        Zhou et al. 2022 (arXiv:2202.09368) for expert choice; ST-MoE (arXiv:2202.08906) eq. (5) for the z loss; Wang et
        al. 2024 (arXiv:2408.15664) for the bias, which they add to sigmoid scores. Departure: arrival is token-major;
        implementations that serve all first choices before any second one let later tokens push out earlier ones.
    """
    num_tokens, num_experts = router_logits_TE.shape
    # Taken once for probabilities and z loss; log_softmax is slow on a CPU where there are few experts.
    logsumexp_T1 = router_logits_TE.logsumexp(dim=-1, keepdim=True)
    log_probs_TE = router_logits_TE - logsumexp_T1
    probs_TE = log_probs_TE.exp()
    wide = torch.promote_types(probs_TE.dtype, torch.float32)
    capacity = _capacity(spec, group_tokens=group_tokens, capacity_factor=capacity_factor)
    match spec.router:
        case "switch" | "top_k":
            score_TE = probs_TE if choice_bias_E is None else probs_TE.detach() + choice_bias_E
            if spec.top_k == 1:
                expert_TK = score_TE.max(dim=-1, keepdim=True).indices
            else:
                expert_TK = score_TE.topk(spec.top_k, dim=-1).indices
            gate_TK = probs_TE.gather(1, expert_TK)
            if spec.router == "top_k" and spec.normalize_gates:
                gate_TK = gate_TK / gate_TK.sum(dim=-1, keepdim=True)
            kept = _first_come_first_served(
                expert_TK, num_experts=num_experts, group_tokens=group_tokens, capacity=capacity
            )
            gate_N = gate_TK.flatten().index_select(0, kept.assignment_N)
            token_N = kept.assignment_N if spec.top_k == 1 else kept.assignment_N // spec.top_k
            kept_per_expert_E, count_EG = kept.kept_EG.sum(dim=1), kept.count_EG
            num_assignments, num_kept = num_tokens * spec.top_k, token_N.shape[0]
        case "expert_choice":
            probs_EGt = probs_TE.T.reshape(num_experts, -1, group_tokens)
            place_EGC = probs_EGt.detach().topk(capacity, dim=-1).indices.sort(dim=-1).values
            gate_N = probs_EGt.gather(2, place_EGC).flatten()
            first_token_G1 = torch.arange(0, num_tokens, group_tokens, device=probs_TE.device).unsqueeze(-1)
            token_N = (place_EGC + first_token_G1).flatten()
            count_EG = torch.full(place_EGC.shape[:2], capacity, device=probs_TE.device)
            kept_per_expert_E = count_EG.sum(dim=1)
            num_assignments, num_kept = num_tokens, int(torch.unique(token_N).shape[0])
        case "hash":
            raise AssertionError("a hash router has no logits; see route_by_hash")
        case _:
            assert_never(spec.router)
    mean_probs_GE = probs_TE.view(-1, group_tokens, num_experts).mean(dim=1, dtype=wide)
    return Routing(
        token_N=token_N,
        kept_per_expert_E=kept_per_expert_E,
        gate_N=gate_N,
        tokens_per_expert_EG=count_EG,
        is_causal=spec.is_causal,
        num_tokens=num_tokens,
        num_assignments=num_assignments,
        num_kept=num_kept,
        num_slots=count_EG.numel() * capacity,
        aux_loss=_aux_loss(count_EG, mean_probs_GE),
        z_loss=logsumexp_T1.square().mean(dtype=wide),
        mean_probs_E=mean_probs_GE.mean(dim=0).detach(),
        entropy=-(probs_TE * log_probs_TE).detach().sum(dim=-1, dtype=wide).mean(),
        confidence=probs_TE.detach().amax(dim=-1).mean(dtype=wide),
    )


def route_by_hash(
    expert_T: Tensor, *, spec: SparseFFNSpec, group_tokens: int, capacity_factor: float | None, dtype: torch.dtype
) -> Routing:
    """Assign every token to the expert that its id was given at random: routing that cannot learn.

    Its distribution is taken as certain: gate 1, entropy 0, and P of the auxiliary loss is the load itself.

    Args:
        expert_T: Expert of each token.
        spec: The layer.
        group_tokens: Tokens routed together; must divide T.
        capacity_factor: Sets C; None: dropless.
        dtype: Of the gates.

    Source:
        Roller et al. 2021 (arXiv:2106.04426), random hashing.
    """
    capacity = _capacity(spec, group_tokens=group_tokens, capacity_factor=capacity_factor)
    kept = _first_come_first_served(
        expert_T.unsqueeze(-1), num_experts=spec.num_experts, group_tokens=group_tokens, capacity=capacity
    )
    load_EG = kept.count_EG / group_tokens
    ones_N = torch.ones(kept.assignment_N.shape, dtype=dtype, device=expert_T.device)
    return Routing(
        token_N=kept.assignment_N,
        kept_per_expert_E=kept.kept_EG.sum(dim=1),
        gate_N=ones_N,
        tokens_per_expert_EG=kept.count_EG,
        is_causal=True,
        num_tokens=expert_T.shape[0],
        num_assignments=expert_T.shape[0],
        num_kept=kept.assignment_N.shape[0],
        num_slots=kept.count_EG.numel() * capacity,
        aux_loss=_aux_loss(kept.count_EG, load_EG.T),
        z_loss=load_EG.new_zeros(()),
        mean_probs_E=load_EG.mean(dim=1),
        entropy=load_EG.new_zeros(()),
        confidence=load_EG.new_ones(()),
    )


@dataclass(frozen=True, kw_only=True)
class _Kept:
    assignment_N: Tensor
    kept_EG: Tensor
    count_EG: Tensor


def _first_come_first_served(expert_TK: Tensor, *, num_experts: int, group_tokens: int, capacity: int) -> _Kept:
    """Line up each expert's assignments in order of arrival with one stable sort by (expert, group), and cut at C."""
    num_tokens, top_k = expert_TK.shape
    num_groups = num_tokens // group_tokens
    expert_A, device = expert_TK.flatten(), expert_TK.device
    segment_A = expert_A
    if num_groups > 1:
        group_A = torch.arange(num_groups, device=device).repeat_interleave(group_tokens * top_k)
        segment_A = expert_A * num_groups + group_A
    sorted_segment_A, order_A = torch.sort(segment_A, stable=True)
    count_EG = torch.bincount(segment_A, minlength=num_experts * num_groups).view(num_experts, num_groups)
    if capacity < group_tokens:
        start_A = (count_EG.flatten().cumsum(0) - count_EG.flatten())[sorted_segment_A]
        order_A = order_A[torch.arange(expert_A.shape[0], device=device) - start_A < capacity]
    return _Kept(assignment_N=order_A, kept_EG=count_EG.clamp(max=capacity), count_EG=count_EG)


def _capacity(spec: SparseFFNSpec, *, group_tokens: int, capacity_factor: float | None) -> int:
    """Slots per expert and group; never more than there are tokens, since no token goes to an expert twice."""
    capacity = expert_capacity(
        group_tokens, num_experts=spec.num_experts, capacity_factor=capacity_factor, top_k=spec.top_k
    )
    return min(capacity, group_tokens) if spec.router == "expert_choice" else capacity


def _aux_loss(count_EG: Tensor, mean_probs_GE: Tensor) -> Tensor:
    load_EG = count_EG / count_EG.sum(dim=0)
    return count_EG.shape[0] * (load_EG.T * mean_probs_GE).sum(dim=1).mean()
