"""Pairs of a sparse configuration and its dense twin, measured against each other at equal quality."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import Literal, assert_never, get_args

from switchbench.caveats import Caveat, in_order
from switchbench.compare.configurations import Configuration, mixture_caveats
from switchbench.compare.curves import Crossing, Curve, first_crossing, is_monotone, mean_curve
from switchbench.compare.intervals import jackknife_ci95
from switchbench.record import TimingRecord

Measure = Literal["delta_nll", "step_speedup", "time_speedup", "flops_speedup_provisioned", "flops_speedup_executed"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""What is measured of a pair; see ``Comparison``."""

MATCHED_ON = "iso_flop"
"""What twins have in common: the FLOPs per token of the feed-forward layers, router and padding aside."""

BUSY_BELOW = 0.9
"""A timed process that had less of its cores than this shared them with other work."""
LONGEST_PASS = timedelta(minutes=10)
"""Step times that are further apart were not taken in turns: their ratio is also that of the machine at two moments.

One pass stamps all its configurations when it ends.
"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure of one pair.

    ``delta_nll`` = nll_sparse - nll_dense at the end of training, nats per token: below 0, sparse is better.
    The speed-ups are cost_dense(q) / cost_sparse(q), above 1 where sparse wins, with cost(q) what a configuration's
    seed-mean curve has cost where it first reaches the target q, which is the dense twin's seed-mean nll at its end:

    * ``step_speedup``: steps, which is tokens, since twins share the batch;
    * ``time_speedup``: step_speedup · (step_time_dense / step_time_sparse), with exclusive step times;
    * ``flops_speedup_provisioned``, ``flops_speedup_executed``: training FLOPs, padding counted or not.

    Both sides take the same seeds, those that went well in both: a seed stands for the same order of the data and the
    same initial weights where the twins share them.

    Source:
        Switch Transformer, Figures 4-6 for the speed-ups. Departure: the paper reads them off runs in mid-schedule, we
        off annealed points; the paper gives no interval.
    """

    sweep: str
    """Name of the sweep."""
    dense: str
    """``config_id`` of the dense twin."""
    sparse: str
    """``config_id`` of the sparse configuration."""
    matched_on: str
    """What the two have in common."""
    measure: Measure
    """What is measured."""
    value: float | None
    """The value; None: there is none, and the caveats say why."""
    target_nll: float | None
    """The quality at which both sides' costs are compared, nats per token: the dense twin's mean nll at its end, over
    ``seeds``; None where there are none."""
    ci95: tuple[float, float] | None
    """95% interval over seeds, for speed-ups on a log scale; the step time's own spread is not in it."""
    bound: Literal["lower", "upper"] | None
    """``lower``: the true value is above ``value``; ``upper``: below it; None: it is a value."""
    seeds: tuple[int, ...]
    """The seeds that both sides have."""
    by_seed: dict[int, float | None]
    """Each seed on its own: its difference, or its sparse curve's speed-up to the pair's common target."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A sparse configuration and its dense twin."""

    dense: Configuration
    """The dense twin."""
    sparse: Configuration
    """The sparse configuration."""
    seeds: tuple[int, ...]
    """The seeds that went well in both."""
    target_nll: float | None
    """The quality that both sides are measured at; see ``Comparison``."""
    crossing: Crossing | None
    """Where the sparse configuration's mean curve reaches it; None: nowhere."""
    comparisons: tuple[Comparison, ...]
    """The measures, in the order of ``MEASURES``."""

    def measured(self, measure: Measure) -> Comparison:
        """Give one of the measures."""
        return self.comparisons[MEASURES.index(measure)]


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    value: float | None
    bound: Literal["lower", "upper"] | None = None
    caveats: tuple[Caveat, ...] = ()

    @property
    def is_exact(self) -> bool:
        return self.value is not None and self.bound is None


def compare_pairs(configurations: Sequence[Configuration], *, sweep: str) -> tuple[Pair, ...]:
    """Measure every sparse configuration against its dense twins, in the order of the sparse ones.

    Args:
        configurations: All configurations of a sweep.
        sweep: Its name.
    """
    return tuple(
        _compare(dense, sparse, sweep=sweep)
        for sparse in configurations
        if sparse.role == "sparse"
        for dense in configurations
        if sparse.config_id in dense.twin_of
    )


def timing_caveats(timings: Sequence[TimingRecord | None]) -> tuple[Caveat, ...]:
    """What is to be said of step times, or of what is made of several of them."""
    known = [timing for timing in timings if timing is not None]
    caveats = []
    if len(known) < len(timings):
        caveats.append(Caveat.NOT_TIMED)
    if any(timing.device == "cpu" for timing in known):
        caveats.append(Caveat.CPU_TIMING)
    if any(timing.cpu_share is not None and timing.cpu_share < BUSY_BELOW for timing in known):
        caveats.append(Caveat.BUSY_MACHINE)
    if not all(timing.trained_weights for timing in known):
        caveats.append(Caveat.UNTRAINED_TIMING)
    if len({(timing.commit, timing.torch_version) for timing in known}) > 1:
        caveats.append(Caveat.MIXED_CODE)
    if len({(timing.device_name, timing.threads, timing.allocator) for timing in known}) > 1:
        caveats.append(Caveat.MIXED_EXECUTION)
    moments = [datetime.fromisoformat(timing.timed_at) for timing in known]
    if moments and max(moments) - min(moments) > LONGEST_PASS:
        caveats.append(Caveat.TIMED_APART)
    return tuple(caveats)


def _compare(dense: Configuration, sparse: Configuration, *, sweep: str) -> Pair:
    sides = _Sides(dense=dense.curves, sparse=sparse.curves, step_time_ratio=_step_time_ratio(dense, sparse))
    seeds = tuple(seed for seed in sides.sparse if seed in sides.dense)
    target = fmean(sides.dense[seed][-1].nll for seed in seeds) if seeds else None
    common_caveats = _common_caveats(dense, sparse, seeds=seeds)

    def comparison(measure: Measure) -> Comparison:
        estimate = _estimate(measure, sides, dense_seeds=seeds, sparse_seeds=seeds)
        ci95, interval_caveats = _interval(measure, sides, seeds=seeds, estimate=estimate)
        caveats = {*common_caveats, *estimate.caveats, *interval_caveats}
        if measure == "time_speedup":
            caveats |= set(timing_caveats([dense.timing, sparse.timing]))
        alone = {
            seed: _estimate(
                measure, sides, dense_seeds=[seed] if measure == "delta_nll" else seeds, sparse_seeds=[seed]
            )
            for seed in seeds
        }
        return Comparison(
            sweep=sweep,
            dense=dense.config_id,
            sparse=sparse.config_id,
            matched_on=MATCHED_ON,
            measure=measure,
            value=estimate.value,
            target_nll=target,
            ci95=ci95,
            bound=estimate.bound,
            seeds=seeds,
            by_seed={seed: each.value if each.is_exact else None for seed, each in alone.items()},
            caveats=in_order(caveats),
        )

    return Pair(
        dense=dense,
        sparse=sparse,
        seeds=seeds,
        target_nll=target,
        crossing=None if target is None else first_crossing(sides.sparse_mean(seeds), target_nll=target),
        comparisons=tuple(comparison(measure) for measure in MEASURES),
    )


@dataclass(frozen=True, kw_only=True)
class _Sides:
    dense: dict[int, Curve]
    sparse: dict[int, Curve]
    step_time_ratio: float | None

    def dense_mean(self, seeds: Sequence[int]) -> Curve:
        return mean_curve([self.dense[seed] for seed in seeds])

    def sparse_mean(self, seeds: Sequence[int]) -> Curve:
        return mean_curve([self.sparse[seed] for seed in seeds])


def _estimate(measure: Measure, sides: _Sides, *, dense_seeds: Sequence[int], sparse_seeds: Sequence[int]) -> _Estimate:
    """Estimate a measure from some of the seeds."""
    if not dense_seeds:
        return _Estimate(value=None)
    dense, sparse = sides.dense_mean(dense_seeds), sides.sparse_mean(sparse_seeds)
    match measure:
        case "delta_nll":
            return _Estimate(value=sparse[-1].nll - dense[-1].nll)
        case "step_speedup":
            return _speedup(dense, sparse, cost=lambda crossing: crossing.tokens)
        case "time_speedup":
            return _speedup(dense, sparse, cost=lambda crossing: crossing.tokens, factor=sides.step_time_ratio)
        case "flops_speedup_provisioned":
            return _speedup(dense, sparse, cost=lambda crossing: crossing.provisioned_flops)
        case "flops_speedup_executed":
            return _speedup(dense, sparse, cost=lambda crossing: crossing.executed_flops)
        case _:
            assert_never(measure)


def _speedup(
    dense: Curve, sparse: Curve, *, cost: Callable[[Crossing], float | None], factor: float | None = 1.0
) -> _Estimate:
    """Divide what the dense curve costs up to its own final nll by what the sparse one costs up to there.

    Both sides take their *first* crossing: a dense model that got worse at the end did not need its last tokens.
    """
    target = dense[-1].nll
    dense_crossing, sparse_crossing = (first_crossing(curve, target_nll=target) for curve in (dense, sparse))
    caveats = () if is_monotone(dense) and is_monotone(sparse) else (Caveat.NOT_MONOTONE,)
    assert dense_crossing is not None, "a curve reaches its own last point"
    if sparse_crossing is None:
        return _Estimate(value=None, caveats=(*caveats, Caveat.NOT_REACHED))
    if dense_crossing.is_bound and sparse_crossing.is_bound:  # one unknown amount over another
        return _Estimate(value=None, caveats=(*caveats, Caveat.BOUND_ONLY))
    dense_cost, sparse_cost = cost(dense_crossing), cost(sparse_crossing)
    if dense_cost is None or not sparse_cost or factor is None:
        return _Estimate(value=None, caveats=caveats)
    value = dense_cost / sparse_cost * factor
    if sparse_crossing.is_bound:
        return _Estimate(value=value, bound="lower", caveats=(*caveats, Caveat.BOUND_ONLY))
    if dense_crossing.is_bound:
        return _Estimate(value=value, bound="upper", caveats=(*caveats, Caveat.BOUND_ONLY))
    return _Estimate(value=value, caveats=caveats)


def _interval(
    measure: Measure, sides: _Sides, *, seeds: Sequence[int], estimate: _Estimate
) -> tuple[tuple[float, float] | None, tuple[Caveat, ...]]:
    """Give a measure's interval over seeds, and the reason where there is none.

    It leaves out one seed at a time, on both sides: the target is as noisy as the curve that is to reach it. Where the
    target is not crossed without some seed, an interval over the other cases would leave out the worst, or the best.
    """
    if estimate.value is None or estimate.bound is not None or len(seeds) < 2:
        return None, ()
    estimates = []
    for left_out in seeds:
        kept = [seed for seed in seeds if seed != left_out]
        each = _estimate(measure, sides, dense_seeds=kept, sparse_seeds=kept)
        if each.value is None or each.bound is not None:
            return None, (Caveat.CENSORED_SEEDS,)
        estimates.append(each.value)
    if measure == "delta_nll":
        return jackknife_ci95(estimate.value, leave_one_out=estimates), ()
    interval = jackknife_ci95(math.log(estimate.value), leave_one_out=[math.log(value) for value in estimates])
    return interval and (math.exp(interval[0]), math.exp(interval[1])), ()


def _common_caveats(dense: Configuration, sparse: Configuration, *, seeds: Sequence[int]) -> tuple[str, ...]:
    """What is to be said of every measure of a pair."""
    rows = [side.ends[seed] for side in (dense, sparse) for seed in seeds]
    mixtures = [caveat for caveat in mixture_caveats(rows) if caveat != Caveat.MIXED_MACHINES]  # nll is no time
    caveats: list[str] = [*mixtures, *(code for row in rows for code in row.caveats)]
    caveats = [code for code in caveats if code != Caveat.EVALUATION_HEAVY]  # no measure is made of wall-clock time
    if any(Caveat.NON_CAUSAL_ROUTING in row.caveats for row in sparse.finished.values()):
        caveats.append(Caveat.NON_CAUSAL_ROUTING)
    if len(seeds) == 1:
        caveats.append(Caveat.SINGLE_SEED)
    for side in (dense, sparse):
        caveats += [caveat for caveat in side.caveats if caveat != Caveat.SINGLE_SEED]
    if set(dense.run_ids) != set(sparse.run_ids):
        caveats.append(Caveat.MISSING_RUNS)
    return in_order(caveats)


def _step_time_ratio(dense: Configuration, sparse: Configuration) -> float | None:
    if dense.timing is None or sparse.timing is None:
        return None
    return dense.timing.step_time_s / sparse.timing.step_time_s
