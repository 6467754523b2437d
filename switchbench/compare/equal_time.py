"""Every sparse configuration against the best dense one at the same training time, interpolated and never trained.

A measured time must not enter what a run is, so there is no twin of equal time. But a dense run with several annealed
points has been trained for any time between them, as far as log-linear interpolation tells.
"""

import itertools
import math
from collections.abc import Sequence
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


@dataclass(frozen=True, kw_only=True)
class EqualTime:
    """A sparse configuration and the best dense one after as much training time."""

    sparse: Configuration
    """The sparse configuration, at its end."""
    dense: Configuration
    """The dense one that is best after that time; where none has points around it, the one that comes nearest."""
    train_time_s: float
    """Training time of the sparse runs: steps times the exclusive step time."""
    sparse_nll: float | None
    """Nats per token, mean over the seeds that both have; None where there is no dense one."""
    dense_nll: float | None
    """The same of the dense one after that time."""
    candidates: int
    """Dense configurations with annealed points both before and after that time."""
    comparisons: tuple[Comparison, ...]
    """The measures. ``delta_nll`` is at equal time, the target of the speed-ups is the dense nll there."""

    def measured(self, measure: str) -> Comparison:
        """Give one of the measures."""
        return next(comparison for comparison in self.comparisons if comparison.measure == measure)


def compare_at_equal_time(
    configurations: Sequence[Configuration], *, sweep: str, target_nll: float | None = None
) -> tuple[EqualTime, ...]:
    """Compare every sparse configuration that was timed to the best dense one of the same text and batch.

    The dense one is the best by the mean over the seeds that it shares with the sparse one.

    Args:
        configurations: All configurations of a sweep.
        sweep: Its name.
        target_nll: The quality that speed-ups are measured at; None: the dense one's after the sparse one's time.
    """
    usable = [each for each in configurations if each.curves and each.timing is not None]
    found = []
    for sparse in usable:
        dense = [
            each
            for each in usable
            if each.role == "dense"
            and (text_of(each), batch_tokens_of(each)) == (text_of(sparse), batch_tokens_of(sparse))
            and each.curves.keys() & sparse.curves.keys()
        ]
        if sparse.role == "sparse" and dense:
            found.append(_compare(sparse, dense, sweep=sweep, target_nll=target_nll))
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
    sparse: Configuration, dense: Sequence[Configuration], *, sweep: str, target_nll: float | None
) -> EqualTime:
    tokens = fmean(curve[-1].tokens for curve in sparse.curves.values())
    time_s = tokens * _time_per_token(sparse)
    cut = {each.config_id: _cut_curves(each, sparse, time_s=time_s) for each in dense}
    candidates = [each for each in dense if cut[each.config_id]]

    def nll(each: Configuration) -> float:
        return fmean(curve[-1].nll for curve in cut[each.config_id].values())

    best = min(candidates, key=nll, default=None) or min(dense, key=lambda each: _distance(each, time_s=time_s))
    curves = cut[best.config_id]
    sides = Sides(dense=best, sparse=sparse, dense_curves=curves, sparse_curves=sparse.curves, target_nll=target_nll)
    pair = compare_sides(Match(dense=best, sparse=sparse, matched_on=(ISO_TIME,)), sides, sweep=sweep)
    caveats: list[str] = list(timing_caveats([best.timing, sparse.timing]))
    if not candidates:
        caveats.append(Caveat.OUTSIDE_RANGE)
    elif len(candidates) > 1:
        caveats.append(Caveat.PICKED_BEST)
    return EqualTime(
        sparse=sparse,
        dense=best,
        train_time_s=time_s,
        sparse_nll=fmean(sparse.curves[seed][-1].nll for seed in pair.seeds) if pair.seeds else None,
        dense_nll=nll(best) if curves else None,
        candidates=len(candidates),
        comparisons=tuple(
            replace(comparison, caveats=in_order([*comparison.caveats, *caveats])) for comparison in pair.comparisons
        ),
    )


def _cut_curves(dense: Configuration, sparse: Configuration, *, time_s: float) -> dict[int, Curve]:
    """The curves of a dense configuration up to a time, at the seeds that it shares; none where one ends before."""
    tokens = time_s / _time_per_token(dense)
    cut = {seed: cut_curve(curve, tokens=tokens) for seed, curve in dense.curves.items() if seed in sparse.curves}
    kept = {seed: curve for seed, curve in cut.items() if curve is not None}
    return kept if len(kept) == len(cut) else {}


def _distance(dense: Configuration, *, time_s: float) -> float:
    """How far, as the logarithm of a ratio, the times of a dense configuration's points are from a time."""
    times = [point.tokens * _time_per_token(dense) for curve in dense.curves.values() for point in curve]
    return min(abs(math.log(time / time_s)) for time in times)


def _time_per_token(configuration: Configuration) -> float:
    assert configuration.timing is not None, "only what was timed is compared"
    return configuration.timing.step_time_s / batch_tokens_of(configuration)


def _between(before: float | None, after: float | None, *, share: float) -> float | None:
    return None if before is None or after is None else before + share * (after - before)
