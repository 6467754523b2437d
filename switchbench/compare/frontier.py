"""The best quality that a budget buys, dense against sparse, over all configurations of a sweep; where they cross."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from switchbench.caveats import Caveat, in_order
from switchbench.compare.intervals import MOST_LOG, jackknife_ci95
from switchbench.compare.pairs import timing_caveats
from switchbench.compare.pool import RESOURCES, Member, Pool, Resource
from switchbench.compare.reach import Reach, Stretch, stretches_of


@dataclass(frozen=True, kw_only=True)
class FrontierStretch:
    """Budgets throughout which one side is better."""

    low: float
    """The smallest, in FLOPs, seconds or bytes."""
    high: float
    """The largest."""
    better: Literal["dense", "sparse"]
    """The side whose best configuration has the lower nll."""


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """How the best of each side compares along the budgets of one resource.

    The frontier of a side is the lowest nll of any of its configurations within a budget, means over seeds. Both are
    known from where the later of the two begins up to where the first of them ends; of memory, which no run takes more
    of as it goes on, up to the largest model. A configuration is chosen by the runs that score it: a group of many
    configurations looks a little better than one of few.
    """

    sweep: str
    """Name of the sweep."""
    resource: Resource
    """What the budgets are of."""
    low: float | None
    """The smallest budget at which both sides are known; None: they have none in common."""
    high: float | None
    """The largest."""
    stretches: tuple[FrontierStretch, ...]
    """Which side is better where; several where the two cross."""
    crossing: float | None
    """Where they cross; None where they do not, or more than once. Interpolated over the logarithm of the budget."""
    ci95: tuple[float, float] | None
    """95% interval of the crossing over seeds, left out one at a time on both sides; from its logarithms."""
    seeds: tuple[int, ...]
    """The seeds."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


def find_frontiers(pool: Pool, *, sweep: str) -> tuple[Frontier, ...]:
    """Compare the best of both sides along each resource; empty where a side has no configuration.

    Args:
        pool: What may be chosen.
        sweep: Name of the sweep.
    """
    if not pool.dense or not pool.sparse:
        return ()
    return tuple(_frontier(pool, resource, sweep=sweep) for resource in RESOURCES)


def common_range(sides: Sequence[Sequence[Reach]], resource: Resource) -> tuple[float, float] | None:
    """Give the budgets at which both sides are known; None where there are none.

    Args:
        sides: What the configurations of each side reach.
        resource: What the budgets are of.
    """
    if not all(sides):
        return None
    low = max(min(reach.costs[0] for reach in side) for side in sides)
    ends = [max(reach.costs[-1] for reach in side) for side in sides]
    high = max(ends) if resource == "peak_memory_bytes" else min(ends)
    return (low, high) if low < high else None


def reaches_of(side: Sequence[Member], resource: Resource, *, without: int | None = None) -> list[Reach]:
    """Give what each configuration of a side reaches, over all its seeds or without one.

    Args:
        side: The configurations.
        resource: What is paid with.
        without: The seed to leave out.
    """
    seeds = [[seed for seed in member.curves if seed != without] for member in side]
    found = [member.reach(resource, seeds=kept) for member, kept in zip(side, seeds, strict=True) if kept]
    return [reach for reach in found if reach is not None]


def _frontier(pool: Pool, resource: Resource, *, sweep: str) -> Frontier:
    seeds = tuple(dict.fromkeys(seed for member in pool.members for seed in member.curves))
    sides = [reaches_of(side, resource) for side in (pool.dense, pool.sparse)]
    span = common_range(sides, resource)
    stretches = _stretches(pool, resource)
    ci95, interval_caveats = _interval(pool, resource, seeds=seeds, stretches=stretches)
    return Frontier(
        sweep=sweep,
        resource=resource,
        low=None if span is None else span[0],
        high=None if span is None else span[1],
        stretches=tuple(
            FrontierStretch(low=each.low, high=each.high, better="dense" if each.is_first_better else "sparse")
            for each in stretches
        ),
        crossing=stretches[1].low if len(stretches) == 2 else None,
        ci95=ci95,
        seeds=seeds,
        caveats=in_order([*_caveats(pool, resource), *interval_caveats]),
    )


def _stretches(pool: Pool, resource: Resource, *, without: int | None = None) -> tuple[Stretch, ...]:
    dense, sparse = (reaches_of(side, resource, without=without) for side in (pool.dense, pool.sparse))
    span = common_range((dense, sparse), resource)
    return () if span is None else stretches_of(dense, sparse, low=span[0], high=span[1])


def _interval(
    pool: Pool, resource: Resource, *, seeds: Sequence[int], stretches: Sequence[Stretch]
) -> tuple[tuple[float, float] | None, list[str]]:
    """Give the interval of the only crossing, and the reason where there is none.

    Where a seed decides whether the two cross, an interval over the other cases would leave out the worst. Where a
    curve begins, nothing is interpolated: such a crossing is where a model is, and no seed moves it.
    """
    if len(seeds) < 2:
        return None, [Caveat.SINGLE_SEED]
    others = [_stretches(pool, resource, without=seed) for seed in seeds]
    shape = [stretch.is_first_better for stretch in stretches]
    if any([stretch.is_first_better for stretch in each] != shape for each in others):
        return None, [Caveat.CROSSING_VARIES]
    if len(stretches) != 2 or any(each[1].begins_with_jump for each in (stretches, *others)):
        return None, []
    logs = [math.log(each[1].low) for each in others]
    interval = jackknife_ci95(math.log(stretches[1].low), leave_one_out=logs)
    return interval and (math.exp(max(interval[0], -MOST_LOG)), math.exp(min(interval[1], MOST_LOG))), []


def _caveats(pool: Pool, resource: Resource) -> list[str]:
    """What is to be said of a frontier, whoever is best."""
    caveats: list[str] = []
    if any(len(side) > 1 for side in (pool.dense, pool.sparse)):
        caveats.append(Caveat.PICKED_BEST)
    if pool.diverged:
        caveats.append(Caveat.DIVERGED_RUNS)
    if any(Caveat.MISSING_RUNS in member.configuration.caveats for member in pool.members):
        caveats.append(Caveat.MISSING_RUNS)
    if resource == "train_time_s":
        caveats += timing_caveats([member.configuration.timing for member in pool.members])
    if resource == "peak_memory_bytes":
        machines = {row.machine_id for member in pool.members for row in member.configuration.finished.values()}
        caveats += [Caveat.MIXED_MACHINES] if len(machines) > 1 else []
    return caveats
