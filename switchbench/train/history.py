"""What happened along a path of steps: routing statistics of a window, and the path's running totals.

Axes: L sparse layers, E experts.
"""

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from switchbench.model.router import Routing


@dataclass(kw_only=True)
class Window:
    """Routing and training statistics summed over a stretch of steps."""

    num_steps: int = 0
    """Steps in the window."""
    nll_sum: float = 0.0
    """Sum of the training nll."""
    gradient_norm_sum: float = 0.0
    """Sum of the gradient norms."""
    tokens_per_expert_LE: Tensor | None = None
    """Tokens that chose each expert, before capacity."""
    entropy_L: Tensor | None = None
    """Sum over steps of the routers' mean token entropy."""
    aux_loss_L: Tensor | None = None
    """Sum over steps of the load-balancing loss."""

    def add_routings(self, routings: tuple[Routing, ...]) -> None:
        """Add what the routers decided in one step."""
        if routings:
            self.tokens_per_expert_LE = _sum(
                self.tokens_per_expert_LE, torch.stack([routing.tokens_per_expert_E for routing in routings])
            )
            self.entropy_L = _sum(self.entropy_L, torch.stack([routing.entropy for routing in routings]))
            self.aux_loss_L = _sum(self.aux_loss_L, torch.stack([routing.aux_loss.detach() for routing in routings]))

    def __add__(self, other: Self) -> "Window":
        return Window(
            num_steps=self.num_steps + other.num_steps,
            nll_sum=self.nll_sum + other.nll_sum,
            gradient_norm_sum=self.gradient_norm_sum + other.gradient_norm_sum,
            tokens_per_expert_LE=_sum(self.tokens_per_expert_LE, other.tokens_per_expert_LE),
            entropy_L=_sum(self.entropy_L, other.entropy_L),
            aux_loss_L=_sum(self.aux_loss_L, other.aux_loss_L),
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
    def expert_load_LE(self) -> Tensor | None:
        """Share of the tokens that chose each expert, f of eq. (5); None for a dense model."""
        if self.tokens_per_expert_LE is None:
            return None
        return self.tokens_per_expert_LE / self.tokens_per_expert_LE.sum(dim=1, keepdim=True)

    @property
    def router_entropy_L(self) -> Tensor | None:
        """Mean entropy of the tokens' router distributions, nats, per layer."""
        return None if self.entropy_L is None else self.entropy_L / self.num_steps

    @property
    def aux_loss_mean_L(self) -> Tensor | None:
        """Mean load-balancing loss, unscaled, per layer."""
        return None if self.aux_loss_L is None else self.aux_loss_L / self.num_steps

    @property
    def expert_load_cv(self) -> float | None:
        """Coefficient of variation of the load, mean over layers; 0 when balanced."""
        load_LE = self.expert_load_LE
        if load_LE is None:
            return None
        return float((load_LE.std(dim=1, correction=0) / load_LE.mean(dim=1)).mean())

    @property
    def dead_expert_fraction(self) -> float | None:
        """Share of experts that no token chose, mean over layers."""
        if self.tokens_per_expert_LE is None:
            return None
        return float((self.tokens_per_expert_LE == 0).float().mean())


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
    """Kept assignments of each step, summed over layers."""
    assignments: list[int] = field(default_factory=list)
    """Assignments of each step, T·top_k per layer."""
    slots: list[int] = field(default_factory=list)
    """Slots of each step."""
    window: Window = field(default_factory=Window)
    """The stretch since the previous point of the curve."""
    since_branch: Window = field(default_factory=Window)
    """The closed windows since the cooldown began; add ``window`` for all of it."""

    def add_routings(self, routings: tuple[Routing, ...]) -> None:
        """Add what the routers decided in one step."""
        self.window.add_routings(routings)
        self.kept.append(sum(routing.kept_tokens_N.shape[0] for routing in routings))
        self.assignments.append(sum(routing.num_tokens for routing in routings))
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
        return sum(self.kept[first:]) / slots if slots else None

    @property
    def step_time_s(self) -> float | None:
        """Median step time; None before the first step."""
        return statistics.median(self.step_times_s) if self.step_times_s else None


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
