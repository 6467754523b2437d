"""The value of a measure from some of a pair's seeds, and its error over all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Literal, assert_never

from switchbench.caveats import Caveat
from switchbench.compare.configurations import Configuration
from switchbench.compare.curves import Curve, mean_curve
from switchbench.compare.intervals import Contrast, add_errors, jackknife
from switchbench.compare.measures import DIFFERENCES, Measure
from switchbench.compare.speedups import Estimate, speedup_of_curves
from switchbench.compare.step_times import step_time_contrast

Role = Literal["dense", "sparse"]
"""A side of a pair."""


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

    known: dict[tuple[Role, tuple[int, ...]], Curve] = field(default_factory=dict, compare=False, repr=False)
    """The means that were worked out so far: every measure asks for the same ones."""

    def dense_mean(self, seeds: Sequence[int]) -> Curve:
        """The dense twin's curve, a mean over some seeds."""
        return self._mean("dense", self.dense_curves, seeds)

    def sparse_mean(self, seeds: Sequence[int]) -> Curve:
        """The sparse configuration's curve, a mean over some seeds."""
        return self._mean("sparse", self.sparse_curves, seeds)

    def _mean(self, role: Role, curves: dict[int, Curve], seeds: Sequence[int]) -> Curve:
        key = (role, tuple(seeds))
        if key not in self.known:
            self.known[key] = mean_curve([curves[seed] for seed in seeds])
        return self.known[key]


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
    if measure == "delta_bits_per_byte":
        bits = _mean_bits(sides.sparse, sparse_seeds), _mean_bits(sides.dense, dense_seeds)
        return Estimate(value=None if bits[0] is None or bits[1] is None else bits[0] - bits[1])
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


def error_of(
    measure: Measure, sides: Sides, *, seeds: Sequence[int], whole: Estimate
) -> tuple[Contrast | None, tuple[Caveat, ...]]:
    """Give a measure with its error over seeds, and the reason where there is none.

    It leaves out one seed at a time, on both sides: the target is as noisy as the curve that is to reach it. Where the
    target is not crossed without some seed, an interval over the other cases would leave out the worst, or the best.
    The error of step times is added where they are in it. A bound has no other error, and it has none at all where it
    would not be on the same side of 1 without some seed.

    Args:
        measure: The measure.
        sides: The pair.
        seeds: All seeds that both sides have.
        whole: The estimate from all of them.

    Returns:
        The difference, or the logarithm of the ratio; and caveats.
    """
    steps = step_time_contrast(sides.dense.timing, sides.sparse.timing)
    if measure == "step_time_ratio":
        return steps if whole.value is not None else None, ()
    if whole.value is None or len(seeds) < 2 or measure == "flops_ratio_provisioned":
        return None, ()
    of_time = []
    if measure == "time_speedup" and steps is not None:
        of_time = [(steps.standard_error, steps.degrees_of_freedom)]
    estimates = []
    for left_out in seeds:
        kept = [seed for seed in seeds if seed != left_out]
        estimates.append(estimate(measure, sides, dense_seeds=kept, sparse_seeds=kept))
    if whole.bound is not None:
        sign = 1 if whole.bound == "lower" else -1
        is_sure = all(
            each.value is not None and each.bound in (whole.bound, None) and sign * math.log(each.value) > 0
            for each in (whole, *estimates)
        )
        return add_errors(math.log(whole.value), of_time or [(0.0, len(seeds) - 1.0)]) if is_sure else None, ()
    values = [each.value for each in estimates if each.value is not None and each.bound is None]
    if len(values) < len(seeds):
        return None, (Caveat.CENSORED_SEEDS,)
    if measure in DIFFERENCES:
        return jackknife(whole.value, leave_one_out=values), ()
    over_seeds = jackknife(math.log(whole.value), leave_one_out=[math.log(value) for value in values])
    assert over_seeds is not None, "there are two seeds or more"
    errors = [(over_seeds.standard_error, over_seeds.degrees_of_freedom), *of_time]
    return add_errors(over_seeds.value, errors), ()


def each_seed(measure: Measure, sides: Sides, *, seeds: Sequence[int]) -> dict[int, float | None]:
    """Measure each seed on its own: a speed-up of its sparse curve to the common target, else both sides' own values.

    Args:
        measure: The measure.
        sides: The pair.
        seeds: All seeds that both sides have.
    """
    is_own = measure in (*DIFFERENCES, "peak_memory_ratio")
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


def _mean_bits(side: Configuration, seeds: Sequence[int]) -> float | None:
    known = [bits for seed in seeds if (bits := side.ends[seed].bits_per_byte) is not None]
    return fmean(known) if len(known) == len(seeds) else None


def _ratio(sparse: float | None, dense: float | None) -> float | None:
    return sparse / dense if sparse and dense else None
