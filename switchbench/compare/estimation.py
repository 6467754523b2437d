"""The value of a measure from some of a pair's seeds, and its interval over all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import assert_never

from switchbench.caveats import Caveat
from switchbench.compare.configurations import Configuration
from switchbench.compare.curves import Curve, mean_curve
from switchbench.compare.intervals import jackknife_ci95
from switchbench.compare.measures import Measure
from switchbench.compare.speedups import Estimate, speedup_of_curves

SAME_FOR_ALL_SEEDS: tuple[Measure, ...] = ("step_time_ratio", "flops_ratio_provisioned")
"""Measures that no seed changes."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What the two configurations of a pair have to be measured by."""

    dense: Configuration
    """The dense twin."""
    sparse: Configuration
    """The sparse configuration."""
    dense_curves: dict[int, Curve]
    """The annealed points of the dense twin's runs that went well, by seed."""
    sparse_curves: dict[int, Curve]
    """The same of the sparse configuration."""
    target_nll: float | None = None
    """The quality that speed-ups are measured at, nats per token; None: that of the dense curve's end."""

    def dense_mean(self, seeds: Sequence[int]) -> Curve:
        """The dense twin's curve, a mean over some seeds."""
        return mean_curve([self.dense_curves[seed] for seed in seeds])

    def sparse_mean(self, seeds: Sequence[int]) -> Curve:
        """The sparse configuration's curve, a mean over some seeds."""
        return mean_curve([self.sparse_curves[seed] for seed in seeds])


def estimate(measure: Measure, sides: Sides, *, dense_seeds: Sequence[int], sparse_seeds: Sequence[int]) -> Estimate:
    """Estimate a measure from some of the seeds.

    Args:
        measure: The measure.
        sides: The pair.
        dense_seeds: The seeds of the dense twin; from none there is no value.
        sparse_seeds: The seeds of the sparse configuration.
    """
    if not dense_seeds:
        return Estimate(value=None)
    dense, sparse = sides.dense_mean(dense_seeds), sides.sparse_mean(sparse_seeds)
    speedup = partial(speedup_of_curves, dense, sparse, target_nll=sides.target_nll)
    match measure:
        case "delta_nll":
            return Estimate(value=sparse[-1].nll - dense[-1].nll)
        case "step_speedup" | "break_even_step_time_ratio":
            return speedup()
        case "time_speedup":
            return speedup(slowdown=_step_time_ratio(sides))
        case "flops_speedup_provisioned":
            return speedup(cost=lambda point: point.provisioned_flops)
        case "flops_speedup_executed":
            return speedup(cost=lambda point: point.executed_flops)
        case "step_time_ratio":
            return Estimate(value=_step_time_ratio(sides))
        case "flops_ratio_provisioned":
            return Estimate(value=_ratio(sparse[-1].provisioned_flops, dense[-1].provisioned_flops))
        case "peak_memory_ratio":
            peaks = _mean_peak(sides.sparse, sparse_seeds), _mean_peak(sides.dense, dense_seeds)
            return Estimate(value=_ratio(*peaks))
        case _:
            assert_never(measure)


def interval_of(
    measure: Measure, sides: Sides, *, seeds: Sequence[int], whole: Estimate
) -> tuple[tuple[float, float] | None, tuple[Caveat, ...]]:
    """Give a measure's interval over seeds, and the reason where there is none.

    It leaves out one seed at a time, on both sides: the target is as noisy as the curve that is to reach it. Where the
    target is not crossed without some seed, an interval over the other cases would leave out the worst, or the best.

    Args:
        measure: The measure.
        sides: The pair.
        seeds: All seeds that both sides have.
        whole: The estimate from all of them.
    """
    if whole.value is None or whole.bound is not None or len(seeds) < 2 or measure in SAME_FOR_ALL_SEEDS:
        return None, ()
    estimates = []
    for left_out in seeds:
        kept = [seed for seed in seeds if seed != left_out]
        each = estimate(measure, sides, dense_seeds=kept, sparse_seeds=kept)
        if each.value is None or each.bound is not None:
            return None, (Caveat.CENSORED_SEEDS,)
        estimates.append(each.value)
    if measure == "delta_nll":
        return jackknife_ci95(whole.value, leave_one_out=estimates), ()
    interval = jackknife_ci95(math.log(whole.value), leave_one_out=[math.log(value) for value in estimates])
    return interval and (math.exp(interval[0]), math.exp(interval[1])), ()


def each_seed(measure: Measure, sides: Sides, *, seeds: Sequence[int]) -> dict[int, float | None]:
    """Measure each seed on its own: a speed-up of its sparse curve to the common target, else both sides' own values.

    Args:
        measure: The measure.
        sides: The pair.
        seeds: All seeds that both sides have.
    """
    is_own = measure in ("delta_nll", "peak_memory_ratio")
    alone = {
        seed: estimate(measure, sides, dense_seeds=[seed] if is_own else seeds, sparse_seeds=[seed]) for seed in seeds
    }
    return {seed: each.value if each.is_exact else None for seed, each in alone.items()}


def _step_time_ratio(sides: Sides) -> float | None:
    """How many times the dense step a sparse step takes."""
    if sides.dense.timing is None or sides.sparse.timing is None:
        return None
    return sides.sparse.timing.step_time_s / sides.dense.timing.step_time_s


def _mean_peak(side: Configuration, seeds: Sequence[int]) -> float | None:
    peaks = [side.ends[seed].peak_memory_bytes for seed in seeds]
    known = [peak for peak in peaks if peak]
    return fmean(known) if len(known) == len(peaks) else None


def _ratio(sparse: float | None, dense: float | None) -> float | None:
    return sparse / dense if sparse and dense else None
