"""Every sparse configuration against the best dense one at the same training time, interpolated and never trained.

A measured time must not enter what a run is, so there is no twin of equal time. But a dense run with several annealed
points has been trained for any time between them, as far as log-linear interpolation tells.
"""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from switchbench.caveats import Caveat, in_order
from switchbench.compare.configurations import Configuration
from switchbench.compare.curves import Curve, CurvePoint
from switchbench.compare.estimation import Sides
from switchbench.compare.matches import Match
from switchbench.compare.measures import Comparison
from switchbench.compare.pairs import compare_sides, timing_caveats
from switchbench.compare.pool import batch_tokens_of, text_of

ISO_TIME = "iso_time"
"""What such comparisons are matched on."""
Curves = Mapping[str, dict[int, Curve]]
"""The annealed points of every configuration, by its id and by seed."""


@dataclass(frozen=True, kw_only=True)
class EqualTime:
    """A sparse configuration and the best dense one after as much training time."""

    sparse: Configuration
    """The sparse configuration, at its end."""
    dense: Configuration
    """The dense one that is best within that time; where none was trained for so long, the one that comes nearest."""
    train_time_s: float
    """Training time of the sparse runs: steps times the exclusive step time."""
    sparse_nll: float | None
    """Nats per token, mean over the seeds that both have; None where there is no dense one."""
    dense_nll: float | None
    """The same of the dense one after that time."""
    candidates: int
    """Dense configurations that it was chosen from: those with annealed points on both sides of that time, and those
    that ended before it; 0 where there are only such, since nothing is known then of dense models after that time."""
    comparisons: tuple[Comparison, ...]
    """The measures. ``delta_nll`` is at equal time, the target of the speed-ups is the dense nll there."""

    def measured(self, measure: str) -> Comparison:
        """Give one of the measures."""
        return next(comparison for comparison in self.comparisons if comparison.measure == measure)


def compare_at_equal_time(
    configurations: Sequence[Configuration], *, sweep: str, target_nll: float | None = None
) -> tuple[EqualTime, ...]:
    """Compare every sparse configuration that was timed to the best dense one of the same text and batch.

    The dense one is the best by the mean over the seeds that it shares with the sparse one. One that ended before may
    be the best still, in less time.

    Args:
        configurations: All configurations of a sweep.
        sweep: Its name.
        target_nll: The quality that speed-ups are measured at; None: the dense one's after the sparse one's time.
    """
    curves = {each.config_id: each.curves for each in configurations}
    usable = [each for each in configurations if curves[each.config_id] and each.timing is not None]
    found = []
    for sparse in usable:
        dense = [
            each
            for each in usable
            if each.role == "dense"
            and (text_of(each), batch_tokens_of(each)) == (text_of(sparse), batch_tokens_of(sparse))
            and curves[each.config_id].keys() & curves[sparse.config_id].keys()
        ]
        if sparse.role == "sparse" and dense:
            found.append(_compare(sparse, dense, curves, sweep=sweep, target_nll=target_nll))
    return tuple(found)


def cut_curve(curve: Curve, *, tokens: float) -> Curve | None:
    """End a curve after some tokens, with a point between two annealed ones; None outside of them.

    nll is linear in log(tokens), FLOPs are linear in tokens.

    Args:
        curve: The annealed points.
        tokens: Where it is to end.
    """
    for point in curve:
        if math.isclose(point.tokens, tokens, rel_tol=1e-9):
            return (*(each for each in curve if each.tokens < point.tokens), point)
    for before, after in itertools.pairwise(curve):
        if before.tokens < tokens < after.tokens:
            weight = math.log(tokens / before.tokens) / math.log(after.tokens / before.tokens)
            share = (tokens - before.tokens) / (after.tokens - before.tokens)
            point = CurvePoint(
                tokens=tokens,
                nll=before.nll + weight * (after.nll - before.nll),
                provisioned_flops=_between(before.provisioned_flops, after.provisioned_flops, share=share),
                executed_flops=_between(before.executed_flops, after.executed_flops, share=share),
            )
            return (*(each for each in curve if each.tokens < tokens), point)
    return None


def _compare(
    sparse: Configuration, dense: Sequence[Configuration], curves_of: Curves, *, sweep: str, target_nll: float | None
) -> EqualTime:
    own = curves_of[sparse.config_id]
    tokens = fmean(curve[-1].tokens for curve in own.values())
    time_s = tokens * _time_per_token(sparse)
    cut = {
        each.config_id: _cut_curves(each, curves_of[each.config_id], seeds=own.keys(), time_s=time_s) for each in dense
    }
    spanning = [each for each in dense if cut[each.config_id]]
    for each in dense:
        ends_s = [curve[-1].tokens * _time_per_token(each) for curve in curves_of[each.config_id].values()]
        if spanning and not cut[each.config_id] and max(ends_s) < time_s:
            cut[each.config_id] = {seed: curve for seed, curve in curves_of[each.config_id].items() if seed in own}
    candidates = [each for each in dense if cut[each.config_id]]

    def nll(each: Configuration) -> float:
        return fmean(curve[-1].nll for curve in cut[each.config_id].values())

    best = min(candidates, key=nll, default=None) or min(
        dense, key=lambda each: _distance(each, curves_of[each.config_id], time_s=time_s)
    )
    curves = cut[best.config_id]
    sides = Sides(dense=best, sparse=sparse, dense_curves=curves, sparse_curves=own, target_nll=target_nll)
    pair = compare_sides(Match(dense=best, sparse=sparse, matched_on=(ISO_TIME,)), sides, sweep=sweep)
    caveats: list[str] = list(timing_caveats([best.timing, sparse.timing]))
    if not candidates:
        caveats.append(Caveat.OUTSIDE_RANGE)
    elif len(candidates) > 1:
        caveats += [Caveat.PICKED_BEST] if best in spanning else [Caveat.PICKED_BEST, Caveat.ENDED_BEFORE]
    return EqualTime(
        sparse=sparse,
        dense=best,
        train_time_s=time_s,
        sparse_nll=fmean(own[seed][-1].nll for seed in pair.seeds) if pair.seeds else None,
        dense_nll=nll(best) if curves else None,
        candidates=len(candidates),
        comparisons=tuple(
            replace(comparison, caveats=in_order([*comparison.caveats, *caveats]))
            for comparison in _with_bits(pair.comparisons, sparse)
        ),
    )


def _with_bits(comparisons: Sequence[Comparison], sparse: Configuration) -> list[Comparison]:
    """Give the difference in bits per byte, too: of the same text and tokens, it is that in nats times a constant."""
    (nats,) = (each for each in comparisons if each.measure == "delta_nll")
    (row, *_) = sparse.finished.values()
    if nats.value is None or row.bits_per_byte is None or not row.nll:
        return list(comparisons)
    factor = row.bits_per_byte / row.nll
    bits = replace(
        nats,
        measure="delta_bits_per_byte",
        value=nats.value * factor,
        ci95=nats.ci95 and (nats.ci95[0] * factor, nats.ci95[1] * factor),
        standard_error=None if nats.standard_error is None else nats.standard_error * factor,
        by_seed={seed: None if value is None else value * factor for seed, value in nats.by_seed.items()},
    )
    return [bits if each.measure == bits.measure else each for each in comparisons]


def _cut_curves(
    dense: Configuration, curves: dict[int, Curve], *, seeds: Collection[int], time_s: float
) -> dict[int, Curve]:
    """The curves of a dense configuration up to a time, at the seeds that it shares; none where one ends before."""
    tokens = time_s / _time_per_token(dense)
    cut = {seed: cut_curve(curve, tokens=tokens) for seed, curve in curves.items() if seed in seeds}
    kept = {seed: curve for seed, curve in cut.items() if curve is not None}
    return kept if len(kept) == len(cut) else {}


def _distance(dense: Configuration, curves: dict[int, Curve], *, time_s: float) -> float:
    """How far, as the logarithm of a ratio, the times of a dense configuration's points are from a time."""
    times = [point.tokens * _time_per_token(dense) for curve in curves.values() for point in curve]
    return min(abs(math.log(time / time_s)) for time in times)


def _time_per_token(configuration: Configuration) -> float:
    assert configuration.timing is not None, "only what was timed is compared"
    return configuration.timing.step_time_s / batch_tokens_of(configuration)


def _between(before: float | None, after: float | None, *, share: float) -> float | None:
    return None if before is None or after is None else before + share * (after - before)
