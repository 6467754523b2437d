"""Pairs of a sparse configuration and its dense twin, measured against each other at equal quality."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import fmean
from typing import Literal

from switchbench.caveats import OF_WALL_CLOCK, Caveat, in_order
from switchbench.compare.configurations import Configuration, is_quality, mixture_caveats
from switchbench.compare.curves import Crossing, first_crossing
from switchbench.compare.effects import Effects, Observation, fit_effects
from switchbench.compare.estimation import Sides, each_seed, error_of, estimate
from switchbench.compare.intervals import Contrast, ratio_interval
from switchbench.compare.matches import Match, find_matches
from switchbench.compare.measures import DIFFERENCES, MEASURES, Comparison, Measure
from switchbench.compare.speedups import Estimate
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
    effects = fit_qualities(configurations)
    return tuple(
        _compare(match, sweep=sweep, target_nll=target_nll, effects=effects) for match in find_matches(configurations)
    )


def fit_qualities(configurations: Sequence[Configuration]) -> dict[Measure, Effects]:
    """Fit quality ~ configuration + seed to all runs that went well, by the measure of its differences.

    Args:
        configurations: All configurations of a sweep.
    """

    return {
        "delta_nll": fit_effects(observe_qualities(configurations, "nll")),
        "delta_bits_per_byte": fit_effects(observe_qualities(configurations, "bits_per_byte")),
    }


def observe_qualities(
    configurations: Sequence[Configuration], column: Literal["nll", "bits_per_byte"]
) -> list[Observation]:
    """Take the quality of all runs that went well and have one.

    Runs share the order of their data, and initial weights, where they have the seed, the repetition and the data in
    common: a seed stands for other random numbers in every repetition.

    Args:
        configurations: All configurations of a sweep.
        column: The quality.
    """
    return [
        Observation(config_id=each.config_id, block=f"{seed}/{row.replicate or 0} {row.data_fingerprint}", value=value)
        for each in configurations
        for seed, row in each.finished.items()
        if is_quality(value := getattr(row, column))
    ]


def compare_sides(match: Match, sides: Sides, *, sweep: str, effects: dict[Measure, Effects] | None = None) -> Pair:
    """Measure the two sides of a match against each other, at the seeds that both have.

    Args:
        match: The two configurations.
        sides: What they are measured by: their curves, or parts of them.
        sweep: Name of the sweep.
        effects: The sweep's model of each quality, which differences are taken from; None: where the curves end is not
            where the runs do, so that these are the pair's own, and there is none in bits per byte.
    """
    dense, sparse = match.dense, match.sparse
    seeds = tuple(seed for seed in sides.sparse_curves if seed in sides.dense_curves)
    target = fmean(sides.dense_curves[seed][-1].nll for seed in seeds) if seeds else None
    if sides.target_nll is not None:
        target = sides.target_nll

    def comparison(measure: Measure) -> Comparison:
        shared = seeds if measure != "delta_bits_per_byte" else _seeds_with_bits(match)
        whole = estimate(measure, sides, dense_seeds=shared, sparse_seeds=shared)
        contrast: Contrast | None = None
        reasons: tuple[Caveat, ...] = ()
        if measure in DIFFERENCES and effects is not None and shared:
            contrast = effects[measure].contrast(sparse.config_id, dense.config_id)
            whole = whole if contrast is None else replace(whole, value=contrast.value)
        elif measure == "delta_bits_per_byte" and effects is None:
            whole = Estimate(value=None)
        else:
            contrast, reasons = error_of(measure, sides, seeds=shared, whole=whole)
        caveats = [*_caveats(measure, match, seeds=shared), *whole.caveats, *reasons]
        if measure in DIFFERENCES and len(shared) == 1 and contrast is not None:
            caveats = [Caveat.NOISE_OF_OTHERS if code == Caveat.SINGLE_SEED else code for code in caveats]
        return Comparison(
            sweep=sweep,
            dense=dense.config_id,
            sparse=sparse.config_id,
            matched_on="+".join(match.matched_on),
            measure=measure,
            value=whole.value,
            target_nll=target,
            ci95=None if contrast is None or whole.bound is not None else _interval(measure, contrast),
            standard_error=None if contrast is None else contrast.standard_error,
            degrees_of_freedom=None if contrast is None else contrast.degrees_of_freedom,
            bound=whole.bound,
            seeds=shared,
            by_seed=each_seed(measure, sides, seeds=shared),
            caveats=in_order(caveats),
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


def _compare(match: Match, *, sweep: str, target_nll: float | None, effects: dict[Measure, Effects]) -> Pair:
    dense, sparse = match.dense, match.sparse
    is_comparable = not _mixes_tokenizers(match)
    sides = Sides(
        dense=dense,
        sparse=sparse,
        dense_curves=dense.curves if is_comparable else {},
        sparse_curves=sparse.curves if is_comparable else {},
        target_nll=target_nll,
    )
    return compare_sides(match, sides, sweep=sweep, effects=effects)


def _interval(measure: Measure, contrast: Contrast) -> tuple[float, float]:
    return contrast.interval() if measure in DIFFERENCES else ratio_interval(contrast)


def _seeds_with_bits(match: Match) -> tuple[int, ...]:
    """The seeds that both sides have bits per byte of."""
    known = [
        {seed for seed, row in side.finished.items() if is_quality(row.bits_per_byte)}
        for side in (match.dense, match.sparse)
    ]
    return tuple(seed for seed in match.sparse.finished if seed in known[0] & known[1])


def _mixes_tokenizers(match: Match) -> bool:
    """Whether a token of one side is not a token of the other."""
    rows = (*match.dense.finished.values(), *match.sparse.finished.values())
    return len({(row.tokenizer, row.vocab_size) for row in rows}) > 1


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
        case "delta_bits_per_byte":
            return tuple(code for code in common if code != Caveat.MIXED_TOKENIZERS)
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
    if _mixes_tokenizers(match):
        caveats.append(Caveat.MIXED_TOKENIZERS)
    if len(seeds) == 1:
        caveats.append(Caveat.SINGLE_SEED)
    for side in (dense, sparse):
        caveats += [caveat for caveat in side.caveats if caveat != Caveat.SINGLE_SEED]
    if set(dense.run_ids) != set(sparse.run_ids):
        caveats.append(Caveat.MISSING_RUNS)
    return in_order(caveats)


def _rows(match: Match, *, seeds: Sequence[int]) -> list[RunRecord]:
    return [side.ends[seed] for side in (match.dense, match.sparse) for seed in seeds]
