"""Quality along the training tokens, annealed points only, and where it crosses a target.

A point in mid-schedule is worse than an annealed one after the same tokens, so a crossing read off it would drag every
speed-up toward 1. Between annealed points nll is taken as linear in log(tokens); beyond them nothing is said.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One annealed point."""

    tokens: float
    """Training tokens up to this point."""
    nll: float
    """Held-out nats per token."""
    provisioned_flops: float | None
    """Training FLOPs up to this point with all slots computed; None: not recorded."""
    executed_flops: float | None
    """Training FLOPs up to this point that were really computed; None: not recorded."""


Curve = tuple[CurvePoint, ...]
"""Annealed points in the order of their tokens."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where a curve reaches a target for the first time, and what it has cost until there."""

    tokens: float
    """Training tokens."""
    provisioned_flops: float | None
    """Training FLOPs with all slots computed."""
    executed_flops: float | None
    """Training FLOPs that were really computed."""
    is_bound: bool
    """Whether the target was passed before the first annealed point: then these are that point's, and upper bounds."""


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average curves over seeds, at the token counts that all of them have.

    Args:
        curves: One curve per seed; at least one.
    """
    shared = set.intersection(*({point.tokens for point in curve} for curve in curves))
    columns = zip(*([point for point in curve if point.tokens in shared] for curve in curves), strict=True)
    return tuple(
        CurvePoint(
            tokens=points[0].tokens,
            nll=fmean(point.nll for point in points),
            provisioned_flops=_mean_or_none([point.provisioned_flops for point in points]),
            executed_flops=_mean_or_none([point.executed_flops for point in points]),
        )
        for points in columns
    )


def first_crossing(curve: Curve, *, target_nll: float) -> Crossing | None:
    """Find where a curve reaches a target for the first time; None where it never does: nothing is extrapolated.

    With the first annealed point at or below the target at tokens t1 and nll l1, and the one before it at t0 and l0,
    ``tokens = t0 · (t1/t0)^w`` with ``w = (l0 - target)/(l0 - l1)``; FLOPs are linear in tokens between the two.
    A curve that rises again afterwards has still reached the target.

    Args:
        curve: The annealed points.
        target_nll: Nats per token; a lower nll is better.

    Source:
        Speed-up at equal quality as in Switch Transformer, Figures 4-6, where it is read off runs in mid-schedule.
        The authors do not say how they interpolate; nll is close to linear in log(tokens) over a factor of 2.
    """
    if not curve:
        return None
    if curve[0].nll <= target_nll:
        return _at(curve[0], is_bound=curve[0].nll < target_nll)
    for before, after in itertools.pairwise(curve):
        if after.nll == target_nll:
            return _at(after, is_bound=False)
        if after.nll < target_nll:
            weight = (before.nll - target_nll) / (before.nll - after.nll)
            tokens = before.tokens * (after.tokens / before.tokens) ** weight
            share = (tokens - before.tokens) / (after.tokens - before.tokens)
            return Crossing(
                tokens=tokens,
                provisioned_flops=_between(before.provisioned_flops, after.provisioned_flops, share=share),
                executed_flops=_between(before.executed_flops, after.executed_flops, share=share),
                is_bound=False,
            )
    return None


def is_monotone(curve: Curve) -> bool:
    """Whether quality never got worse from one annealed point to the next."""
    return all(after.nll <= before.nll for before, after in itertools.pairwise(curve))


def _at(point: CurvePoint, *, is_bound: bool) -> Crossing:
    return Crossing(
        tokens=point.tokens,
        provisioned_flops=point.provisioned_flops,
        executed_flops=point.executed_flops,
        is_bound=is_bound,
    )


def _between(before: float | None, after: float | None, *, share: float) -> float | None:
    return None if before is None or after is None else before + share * (after - before)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if len(known) == len(values) else None
