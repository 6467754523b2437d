"""Limits on what a sweep may take. A sweep that is over one of them is refused before anything is started."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from switchbench.errors import UsageError
from switchbench.launch.estimates import Estimates
from switchbench.launch.plan import Plan, PlannedCell
from switchbench.quantities import parse_flops, parse_size
from switchbench.spec import Dispatch
from switchbench.spec.dispatch import GROUPED_ALIGNMENT_BYTES, possible_backends
from switchbench.sweep import describe_cell
from switchbench.units import duration, flops, percent, size

SHOWN_CONFIGURATIONS = 5
"""Configurations that a refusal names; it counts the others."""
NOTHING_STARTED = "Nothing was started; `--dry-run` without limits shows all runs."
SMALLER = "  lower base.train.tokens, train fewer seeds such as sweep.seeds=[0], or raise the limit"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the runs that will be started may take; those whose results are kept do not count. None: no limit."""

    hours: float | None = None
    """Wall-clock of the whole command, in hours, the timing pass included."""
    flops: float | None = None
    """Training FLOPs of all runs together, every cooldown included."""
    memory_bytes: int | None = None
    """Peak memory of a run."""

    @classmethod
    def parse(cls, *, hours: float | None, flops: str | None, memory: str | None) -> "Limits":
        """Read limits as they are typed.

        Args:
            hours: Hours.
            flops: Such as ``1e15`` or ``2.5PFLOP``.
            memory: Such as ``8GiB`` or ``500MB``.

        Raises:
            UsageError: one of them is no number of its kind, or not above 0.
        """
        if hours is not None and not hours > 0:
            raise UsageError(f"--max-hours must be above 0, got {hours:g}")
        return cls(
            hours=hours,
            flops=None if flops is None else parse_flops(flops, name="--max-flops"),
            memory_bytes=None if memory is None else parse_size(memory, name="--max-memory"),
        )

    def check_costs(self, plan: Plan) -> None:
        """Check what arithmetic tells: FLOPs and memory.

        Args:
            plan: The plan.

        Raises:
            UsageError: a limit is exceeded; says by what, by how much, and what to do.
        """
        problems = [*self._problems_of_memory(plan), *self._problems_of_flops(plan)]
        if problems:
            raise UsageError("\n".join([*problems, NOTHING_STARTED]))

    def check_time(self, estimates: Estimates) -> None:
        """Check the estimated time.

        Args:
            estimates: What the plan is expected to take.

        Raises:
            UsageError: the limit is exceeded, or the time is not known; says by how much, and what to do.
        """
        plan = estimates.plan
        if self.hours is None or plan.is_done:
            return
        seconds = estimates.seconds_in_all
        if seconds is None:
            raise UsageError(
                "--max-hours: the time of this sweep could not be estimated, since not every shape could be measured; "
                "nothing was started. See the warnings above, or leave --max-hours out"
            )
        limit_s = 3600 * self.hours
        if seconds > limit_s:
            over = f"{duration(seconds - limit_s)} ({percent(seconds / limit_s - 1)}) over"
            heading = f"--max-hours {self.hours:g}: what is left of this sweep takes about {duration(seconds)}, {over}"
            costs = [(cell, estimates.seconds(cell) or 0.0) for cell in plan.to_run]
            raise UsageError("\n".join([heading, *_largest(costs, words=duration), SMALLER, NOTHING_STARTED]))

    def _problems_of_flops(self, plan: Plan) -> list[str]:
        costs = [(cell, cell.cost.trained_flops.useful) for cell in plan.to_run]
        total = sum(cost for _, cost in costs)
        if self.flops is None or total <= self.flops:
            return []
        over = f"{flops(total - self.flops)} ({percent(total / self.flops - 1)}) over"
        heading = f"--max-flops {flops(self.flops)}: the runs to come take {flops(total)} of training, {over}"
        return [heading, *_largest(costs, words=flops), SMALLER]

    def _problems_of_memory(self, plan: Plan) -> list[str]:
        limit = self.memory_bytes
        costs = [(cell, cell.memory_bytes) for cell in plan.to_run]
        over = [(cell, cost) for cell, cost in costs if limit is not None and cost > limit]
        if not over:
            return []
        heading = f"--max-memory {size(limit)}: {len(over)} of {_runs(len(costs))} to come may need more"
        return [heading, *_largest(over, words=size), "  lower base.train.batch_tokens or the size, or raise the limit"]


def check_dispatch(plan: Plan, *, dispatch: Dispatch) -> None:
    """Check that a backend that was asked for can compute all runs that will be started.

    Args:
        plan: The plan.
        dispatch: How experts are to be computed.

    Raises:
        UsageError: it cannot; names the configurations, why, and what can.
    """
    impossible = {
        cell.spec.config_id: cell
        for cell in plan.to_run
        if dispatch != "auto" and dispatch not in possible_backends(cell.spec)
    }
    if not impossible:
        return
    lines = [
        f"--dispatch {dispatch} cannot compute every run: it takes rows of a multiple of "
        f"{GROUPED_ALIGNMENT_BYTES} bytes"
    ]
    for cell in impossible.values():
        model, precision = cell.spec.model, cell.spec.train.precision
        lines.append(
            f"  {describe_cell(cell.cell)}: d_model {model.d_model} and d_ff {model.ffn.d_ff} in {precision}; "
            f"possible: auto, {', '.join(possible_backends(cell.spec))}"
        )
    raise UsageError("\n".join([*lines, "Nothing was started."]))


def memory_warning(estimates: Estimates) -> str | None:
    """Warn of runs that do not fit into the free memory side by side; None: they do, or it is a GPU's memory.

    Args:
        estimates: What the plan is expected to take.
    """
    needed, free = estimates.memory_bytes_side_by_side, psutil.virtual_memory().available
    if needed is None or needed <= free or estimates.device == "cuda":
        return None
    return (
        f"{_runs(min(estimates.workers, len(estimates.plan.to_run)))} side by side may need {size(needed)}, and "
        f"{size(free)} are free: runs may be killed; use fewer --workers"
    )


def _largest(costs: Sequence[tuple[PlannedCell, float]], *, words: Callable[[float], str]) -> list[str]:
    """Name the configurations whose runs cost most, a line each."""
    by_configuration: dict[str, list[tuple[PlannedCell, float]]] = {}
    for cell, cost in costs:
        by_configuration.setdefault(cell.spec.config_id, []).append((cell, cost))
    ranked = sorted(by_configuration.values(), key=lambda entries: -entries[0][1])
    lines = []
    for entries in ranked[:SHOWN_CONFIGURATIONS]:
        cell, cost = entries[0]
        each = f", each of {len(entries)} seeds" if len(entries) > 1 else ""
        lines.append(f"  {describe_cell(cell.cell)}: {words(cost)}{each}")
    if len(ranked) > SHOWN_CONFIGURATIONS:
        lines.append(f"  and {len(ranked) - SHOWN_CONFIGURATIONS} more configurations")
    return lines


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
