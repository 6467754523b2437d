"""Pairs of a sparse configuration and its dense twin, measured against each other at equal quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

from switchbench.caveats import OF_WALL_CLOCK, Caveat, in_order
from switchbench.compare.configurations import Configuration, mixture_caveats
from switchbench.compare.curves import Crossing, first_crossing
from switchbench.compare.estimation import Sides, each_seed, estimate, interval_of
from switchbench.compare.matches import Match, find_matches
from switchbench.compare.measures import MEASURES, Comparison, Measure
from switchbench.record import RunRecord, TimingRecord

BUSY_BELOW = 0.9
"""A timed process that had less of its cores than this shared them with other work."""
LONGEST_PASS = timedelta(minutes=10)
"""Step times that are further apart were not taken in turns: their ratio is also that of the machine at two moments.

One pass stamps all its configurations when it ends.
"""
_OF_RUNS = (Caveat.SINGLE_SEED, Caveat.MISSING_RUNS, Caveat.DIVERGED_RUNS)
"""What is to be said of any mean over runs, whatever the column."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A sparse configuration and its dense twin."""

    dense: Configuration
    """The dense twin."""
    sparse: Configuration
    """The sparse configuration."""
    matched_on: tuple[str, ...]
    """What the two have in common: one thing, or two where one twin is both."""
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


def compare_pairs(
    configurations: Sequence[Configuration], *, sweep: str, target_nll: float | None = None
) -> tuple[Pair, ...]:
    """Measure every sparse configuration against its dense twins, in the order of ``find_matches``.

    Args:
        configurations: All configurations of a sweep.
        sweep: Its name.
        target_nll: The quality that speed-ups are measured at; None: each dense twin's own at its end.
    """
    return tuple(_compare(match, sweep=sweep, target_nll=target_nll) for match in find_matches(configurations))


def compare_sides(match: Match, sides: Sides, *, sweep: str) -> Pair:
    """Measure the two sides of a match against each other, at the seeds that both have.

    Args:
        match: The two configurations.
        sides: What they are measured by: their curves, or parts of them.
        sweep: Name of the sweep.
    """
    dense, sparse = match.dense, match.sparse
    seeds = tuple(seed for seed in sides.sparse_curves if seed in sides.dense_curves)
    target = fmean(sides.dense_curves[seed][-1].nll for seed in seeds) if seeds else None
    if sides.target_nll is not None:
        target = sides.target_nll

    def comparison(measure: Measure) -> Comparison:
        whole = estimate(measure, sides, dense_seeds=seeds, sparse_seeds=seeds)
        ci95, interval_caveats = interval_of(measure, sides, seeds=seeds, whole=whole)
        return Comparison(
            sweep=sweep,
            dense=dense.config_id,
            sparse=sparse.config_id,
            matched_on="+".join(match.matched_on),
            measure=measure,
            value=whole.value,
            target_nll=target,
            ci95=ci95,
            bound=whole.bound,
            seeds=seeds,
            by_seed=each_seed(measure, sides, seeds=seeds),
            caveats=in_order([*_caveats(measure, match, seeds=seeds), *whole.caveats, *interval_caveats]),
        )

    return Pair(
        dense=dense,
        sparse=sparse,
        matched_on=match.matched_on,
        seeds=seeds,
        target_nll=target,
        crossing=None if target is None or not seeds else first_crossing(sides.sparse_mean(seeds), target_nll=target),
        comparisons=tuple(comparison(measure) for measure in MEASURES),
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


def _compare(match: Match, *, sweep: str, target_nll: float | None) -> Pair:
    dense, sparse = match.dense, match.sparse
    sides = Sides(
        dense=dense,
        sparse=sparse,
        dense_curves=dense.curves,
        sparse_curves=sparse.curves,
        target_nll=target_nll,
    )
    return compare_sides(match, sides, sweep=sweep)


def _caveats(measure: Measure, match: Match, *, seeds: Sequence[int]) -> tuple[str, ...]:
    """What is to be said of a measure of a pair, whatever its value."""
    common = _common_caveats(match, seeds=seeds)
    timing = timing_caveats([match.dense.timing, match.sparse.timing])
    if not seeds:  # then nothing is measured, and the reason is that of quality
        return common
    match measure:
        case "time_speedup":
            return (*common, *timing)
        case "step_time_ratio":
            return timing
        case "flops_ratio_provisioned":
            return ()
        case "peak_memory_ratio":
            of_runs = [code for code in common if code in _OF_RUNS]
            return (*of_runs, *mixture_caveats(_rows(match, seeds=seeds)))
        case _:
            return common


def _common_caveats(match: Match, *, seeds: Sequence[int]) -> tuple[str, ...]:
    """What is to be said of every measure of a pair that quality is in."""
    dense, sparse = match.dense, match.sparse
    rows = _rows(match, seeds=seeds)
    mixtures = [caveat for caveat in mixture_caveats(rows) if caveat != Caveat.MIXED_MACHINES]  # nll is no time
    caveats: list[str] = [*mixtures, *(code for row in rows for code in row.caveats)]
    caveats = [code for code in caveats if code not in OF_WALL_CLOCK]  # no measure is made of wall-clock time
    if any(Caveat.NON_CAUSAL_ROUTING in row.caveats for row in sparse.finished.values()):
        caveats.append(Caveat.NON_CAUSAL_ROUTING)
    if len(seeds) == 1:
        caveats.append(Caveat.SINGLE_SEED)
    for side in (dense, sparse):
        caveats += [caveat for caveat in side.caveats if caveat != Caveat.SINGLE_SEED]
    if set(dense.run_ids) != set(sparse.run_ids):
        caveats.append(Caveat.MISSING_RUNS)
    return in_order(caveats)


def _rows(match: Match, *, seeds: Sequence[int]) -> list[RunRecord]:
    return [side.ends[seed] for side in (match.dense, match.sparse) for seed in seeds]
