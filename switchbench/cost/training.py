"""Training FLOPs of a run: 3 x forward.

Three figures (they differ in the experts alone):
  useful       every token meets its top_k experts: nothing dropped, no padding;
  provisioned  all E·C slots are computed, filled or not: what static shapes cost on an accelerator;
  executed     what the recorded dispatch really computed: the kept assignments, or all slots where it pads.
"""

from dataclasses import dataclass

from switchbench.cost.flops import count_forward_flops
from switchbench.spec import RunSpec, SparseFFNSpec, expert_capacity

TRAIN_OVER_FORWARD = 3
"""Training FLOPs over forward FLOPs: the backward pass multiplies twice for each forward multiplication."""


@dataclass(frozen=True, kw_only=True)
class TrainFlops:
    """Training FLOPs of a number of steps; see the module's docstring for the three figures."""

    useful: float
    """Nothing dropped, no padding."""
    provisioned: float
    """All E·C slots computed."""
    executed: float
    """What the dispatch really computed."""


def count_train_flops(spec: RunSpec, *, num_steps: int, computed_share: float = 1.0) -> TrainFlops:
    """Count the training FLOPs of a number of steps.

    Args:
        spec: The run.
        num_steps: Optimizer steps.
        computed_share: From ``computed_share``; 1 is what is known before the run.
    """
    forward = count_forward_flops(spec.model, vocab_size=spec.vocab_size, seq_len=spec.data.seq_len)
    tokens = float(num_steps) * spec.train.batch_tokens
    experts = TRAIN_OVER_FORWARD * forward.routed_experts * tokens
    useful = TRAIN_OVER_FORWARD * forward.total * tokens
    provisioned = useful - experts + experts * provisioned_over_useful(spec)
    executed = useful - experts + experts * computed_share
    return TrainFlops(useful=useful, provisioned=provisioned, executed=executed)


def computed_share(spec: RunSpec, *, computed_slots: int, num_steps: int) -> float:
    """Give the computed slots over the T·top_k assignments per layer that no dropping would fill; 1 for a dense model.

    Args:
        spec: The run.
        computed_slots: Slots that were computed, over all layers and steps: the filled ones, or all where padded.
        num_steps: Steps.
    """
    if not isinstance(spec.model.ffn, SparseFFNSpec):
        return 1.0
    per_step = len(spec.model.sparse_layers) * spec.train.batch_tokens * spec.model.ffn.top_k
    return computed_slots / (num_steps * per_step)


def provisioned_over_useful(spec: RunSpec) -> float:
    """Give the slots over the assignments, E·C/(T·top_k): the capacity factor that rounding really gives.

    An expert of ``expert_choice`` has no more slots than there are tokens.

    1 for a dense model, and for a dropless one, whose kernels have no static shapes to fill.
    """
    ffn = spec.model.ffn
    if not isinstance(ffn, SparseFFNSpec) or ffn.capacity_factor is None:
        return 1.0
    group = spec.routing_group_tokens
    capacity = expert_capacity(group, num_experts=ffn.num_experts, capacity_factor=ffn.capacity_factor, top_k=ffn.top_k)
    if ffn.router == "expert_choice":
        capacity = min(capacity, group)
    return capacity * ffn.num_experts / (group * ffn.top_k)
