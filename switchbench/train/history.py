"""What happened along a path of steps: routing statistics of a window, and the path's running totals.

Axes: L sparse layers, E experts, P parts of a sequence, S positions.
"""

import functools
import math
import operator
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from switchbench.model.dispatch import computed_slots
from switchbench.model.router import Routing
from switchbench.spec import Backend

POSITION_PARTS = 8
"""Equal parts of a sequence for which dropping is recorded."""


@dataclass(frozen=True, kw_only=True)
class RoutingSums:
    """What the routers decided, summed over steps."""

    tokens_per_expert_LE: Tensor
    """Tokens that chose each expert, before capacity."""
    kept_by_position_LP: Tensor
    """Assignments that were met, by position in the sequence, in P equal parts."""
    assignments_by_position_LP: Tensor
    """Assignments that were asked for, likewise."""
    mean_probs_LE: Tensor
    """Mean router distribution, one per step."""
    per_step_L: dict[str, Tensor]
    """Means over groups and tokens, one per step: entropy, confidence, both losses, and the spread of the load."""
    group_load_min_L: Tensor
    """Smallest share of a balanced load that an expert had in one group; a minimum, not a sum."""
    group_load_max_L: Tensor
    """Largest share of a balanced load that an expert had in one group; a maximum, not a sum."""

    @classmethod
    def of_micro_batch(cls, routings: tuple[Routing, ...], *, seq_len: int) -> "RoutingSums":
        """Take the decisions of one micro-batch, which may be a whole batch.

        Args:
            routings: One per sparse layer; at least one.
            seq_len: Positions per sequence, S.
        """
        num_parts = min(POSITION_PARTS, seq_len)
        part_S = torch.arange(seq_len, device=routings[0].token_N.device) * num_parts // seq_len
        positions_P = torch.bincount(part_S, minlength=num_parts)
        kept, asked, load = [], [], []
        for routing in routings:
            token = routing.token_N if routing.is_causal else torch.unique(routing.token_N)
            kept.append(torch.bincount(part_S[token % seq_len], minlength=num_parts))
            asked.append(positions_P * (routing.num_assignments // seq_len))
            load_EG = routing.tokens_per_expert_EG
            load.append(load_EG * (load_EG.shape[0] / load_EG.sum(dim=0)))
        return cls(
            tokens_per_expert_LE=torch.stack([routing.tokens_per_expert_EG.sum(dim=1) for routing in routings]),
            kept_by_position_LP=torch.stack(kept),
            assignments_by_position_LP=torch.stack(asked),
            mean_probs_LE=torch.stack([routing.mean_probs_E for routing in routings]),
            per_step_L={
                "router_entropy": torch.stack([routing.entropy for routing in routings]),
                "router_confidence": torch.stack([routing.confidence for routing in routings]),
                "aux_loss": torch.stack([routing.aux_loss.detach() for routing in routings]),
                "router_z_loss": torch.stack([routing.z_loss.detach() for routing in routings]),
                "expert_load_cv": torch.stack([load_EG.std(dim=0, correction=0).mean() for load_EG in load]),
                "expert_load_max_over_mean": torch.stack([load_EG.amax(dim=0).mean() for load_EG in load]),
            },
            group_load_min_L=torch.stack([load_EG.min() for load_EG in load]),
            group_load_max_L=torch.stack([load_EG.max() for load_EG in load]),
        )

    @classmethod
    def of_step(cls, parts: Sequence["RoutingSums"]) -> "RoutingSums":
        """Join the micro-batches of one step, which are equally long: what the step would have given as a whole.

        Args:
            parts: One per micro-batch; at least one.
        """
        total = functools.reduce(operator.add, parts)
        return replace(
            total,
            mean_probs_LE=total.mean_probs_LE / len(parts),
            per_step_L={name: values_L / len(parts) for name, values_L in total.per_step_L.items()},
        )

    def __add__(self, other: Self) -> "RoutingSums":
        return RoutingSums(
            tokens_per_expert_LE=self.tokens_per_expert_LE + other.tokens_per_expert_LE,
            kept_by_position_LP=self.kept_by_position_LP + other.kept_by_position_LP,
            assignments_by_position_LP=self.assignments_by_position_LP + other.assignments_by_position_LP,
            mean_probs_LE=self.mean_probs_LE + other.mean_probs_LE,
            per_step_L={name: value + other.per_step_L[name] for name, value in self.per_step_L.items()},
            group_load_min_L=torch.minimum(self.group_load_min_L, other.group_load_min_L),
            group_load_max_L=torch.maximum(self.group_load_max_L, other.group_load_max_L),
        )

    def columns(self, *, num_steps: int) -> dict[str, Tensor]:
        """Give the routing columns of a ``StepRecord``, each with the layers as its first axis.

        Args:
            num_steps: Steps that were summed.
        """
        load_LE = self.tokens_per_expert_LE / self.tokens_per_expert_LE.sum(dim=1, keepdim=True)
        mean_probs_LE = self.mean_probs_LE / num_steps
        return {
            "expert_load": load_LE,
            "expert_load_cv_pooled": load_LE.std(dim=1, correction=0) / load_LE.mean(dim=1),
            "group_load_min": self.group_load_min_L,
            "group_load_max": self.group_load_max_L,
            "dead_expert_fraction": (self.tokens_per_expert_LE == 0).float().mean(dim=1),
            "dropped_by_position": 1 - self.kept_by_position_LP / self.assignments_by_position_LP,
            "entropy_of_mean": -torch.xlogy(mean_probs_LE, mean_probs_LE).sum(dim=1),
            **{name: values_L / num_steps for name, values_L in self.per_step_L.items()},
        }


@dataclass(kw_only=True)
class Window:
    """What happened in a stretch of steps."""

    num_steps: int = 0
    """Steps in the window."""
    nll_sum: float = 0.0
    """Sum of the training nll."""
    gradient_norm_sum: float = 0.0
    """Sum of the gradient norms."""
    routing: RoutingSums | None = None
    """Routing statistics; None for a dense model or an empty window."""

    def __add__(self, other: Self) -> "Window":
        parts = [window.routing for window in (self, other) if window.routing is not None]
        return Window(
            num_steps=self.num_steps + other.num_steps,
            nll_sum=self.nll_sum + other.nll_sum,
            gradient_norm_sum=self.gradient_norm_sum + other.gradient_norm_sum,
            routing=parts[0] + parts[1] if len(parts) == 2 else (parts[0] if parts else None),
        )

    @property
    def train_nll(self) -> float | None:
        """Mean training nll; None in an empty window."""
        return self.nll_sum / self.num_steps if self.num_steps else None

    @property
    def gradient_norm(self) -> float | None:
        """Mean gradient norm; None in an empty window or where it was not finite."""
        mean = self.gradient_norm_sum / self.num_steps if self.num_steps else math.nan
        return mean if math.isfinite(mean) else None

    @property
    def routing_columns(self) -> dict[str, Tensor]:
        """The routing columns of a ``StepRecord``; empty where there was no routing."""
        return {} if self.routing is None else self.routing.columns(num_steps=self.num_steps)


@dataclass(kw_only=True)
class Path:
    """The steps from the start to here: along the trunk, and possibly into a cooldown."""

    step: int = 0
    """Steps taken."""
    train_time_s: float = 0.0
    """Time of these steps."""
    step_times_s: list[float] = field(default_factory=list)
    """Mean step time of each stretch between two looks at the clock."""
    kept: list[int] = field(default_factory=list)
    """Assignments of each step that were met, summed over layers."""
    assignments: list[int] = field(default_factory=list)
    """Assignments of each step that were asked for, T·top_k per layer."""
    filled: list[int] = field(default_factory=list)
    """Slots of each step that were filled."""
    computed: list[int] = field(default_factory=list)
    """Slots of each step that were multiplied, filled or not."""
    slots: list[int] = field(default_factory=list)
    """Slots of each step."""
    window: Window = field(default_factory=Window)
    """The stretch since the previous point of the curve."""
    since_branch: Window = field(default_factory=Window)
    """The closed windows since the cooldown began; add ``window`` for all of it."""

    def add_routings(
        self,
        routings: tuple[Routing, ...],
        *,
        seq_len: int,
        backend: Backend | None = None,
        num_micro_batches: int = 1,
    ) -> None:
        """Add what the routers decided in one step.

        Args:
            routings: One per sparse layer, micro-batch after micro-batch.
            seq_len: Positions per sequence, S.
            backend: What computed the experts; None for a dense model.
            num_micro_batches: Micro-batches of the step.
        """
        if routings:
            num_layers = len(routings) // num_micro_batches
            micro_batches = (routings[first : first + num_layers] for first in range(0, len(routings), num_layers))
            parts = [RoutingSums.of_micro_batch(micro_batch, seq_len=seq_len) for micro_batch in micro_batches]
            step = RoutingSums.of_step(parts)
            self.window.routing = step if self.window.routing is None else self.window.routing + step
        self.kept.append(sum(routing.num_kept for routing in routings))
        self.assignments.append(sum(routing.num_assignments for routing in routings))
        self.filled.append(sum(routing.token_N.shape[0] for routing in routings))
        self.computed.append(sum(computed_slots(routing, backend=backend or "loop") for routing in routings))
        self.slots.append(sum(routing.num_slots for routing in routings))

    def add_steps(self, nlls: list[float], *, gradient_norms: list[float], time_s: float) -> None:
        """Add a stretch of steps.

        Args:
            nlls: Training nll of each.
            gradient_norms: Global gradient norm of each.
            time_s: What they took together.
        """
        self.step += len(nlls)
        self.train_time_s += time_s
        self.step_times_s.append(time_s / len(nlls))
        self.window.num_steps += len(nlls)
        self.window.nll_sum += sum(nlls)
        self.window.gradient_norm_sum += sum(gradient_norms)

    def branch(self) -> "Path":
        """Copy the path so far, to go on as a cooldown while the trunk stays as it is."""
        return replace(
            self,
            step_times_s=list(self.step_times_s),
            kept=list(self.kept),
            assignments=list(self.assignments),
            filled=list(self.filled),
            computed=list(self.computed),
            slots=list(self.slots),
            window=Window(),
            since_branch=Window(),
        )

    def close_window(self) -> None:
        """Begin a new window at a point of the curve."""
        self.since_branch = self.since_branch + self.window
        self.window = Window()

    def dropped_token_fraction(self, *, last_steps: int | None = None) -> float | None:
        """Share of assignments that were dropped, over all or the last steps; None for a dense model or no steps."""
        first = 0 if last_steps is None else len(self.kept) - last_steps
        assignments = sum(self.assignments[first:])
        return 1 - sum(self.kept[first:]) / assignments if assignments else None

    def capacity_utilization(self, *, last_steps: int) -> float | None:
        """Share of the E·C slots that were filled over the last steps; None for a dense model or no steps."""
        first = len(self.kept) - last_steps
        slots = sum(self.slots[first:])
        return sum(self.filled[first:]) / slots if slots else None

    @property
    def step_time_s(self) -> float | None:
        """Median step time; None before the first step."""
        return statistics.median(self.step_times_s) if self.step_times_s else None
