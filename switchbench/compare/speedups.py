"""How much cheaper one curve reaches a quality than another: a value, a bound where it is censored, or neither."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from switchbench.caveats import Caveat
from switchbench.compare.curves import Crossing, Curve, CurvePoint, first_crossing, is_monotone


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measure, estimated from some seeds."""

    value: float | None
    """The value; None: there is none."""
    bound: Literal["lower", "upper"] | None = None
    """``lower``: the true value is above ``value``; ``upper``: below it; None: it is a value."""
    caveats: tuple[Caveat, ...] = ()
    """What is to be said of it."""

    @property
    def is_exact(self) -> bool:
        """Whether it is a value and no bound."""
        return self.value is not None and self.bound is None


def tokens_of(point: Crossing | CurvePoint) -> float:
    """Count cost in tokens."""
    return point.tokens


def speedup_of_curves(
    dense: Curve,
    sparse: Curve,
    *,
    cost: Callable[[Crossing | CurvePoint], float | None] = tokens_of,
    target_nll: float | None = None,
    slowdown: float | None = 1.0,
    is_annealed: bool = True,
) -> Estimate:
    """Divide what the dense curve costs up to a quality by what the sparse one costs up to there: above 1, sparse wins.

    Both sides take their *first* crossing: a dense model that got worse at the end did not need its last tokens. A side
    that never reaches a target of the caller's costs more than its whole run, which bounds the ratio. The dense curve
    always reaches its own end; where the sparse one does not reach that, there is no value.

    Args:
        dense: The dense curve; at least one point with tokens. Points without any are left out.
        sparse: The sparse curve, likewise.
        cost: What of a crossing is its cost; by default its tokens.
        target_nll: The quality, nats per token; None: the dense curve's own at its end.
        slowdown: How much more the sparse side pays for one unit of cost; None: unknown, then there is no value.
        is_annealed: Whether every point is the end of a cooldown. Points in mid-schedule, as published curves are made
            of, drag the ratio toward 1, which the answer then says.

    Source:
        Switch Transformer, Figures 4-6, which are read off runs in mid-schedule.
    """
    dense, sparse = (tuple(point for point in curve if point.tokens > 0) for curve in (dense, sparse))
    target = dense[-1].nll if target_nll is None else target_nll
    crossings = [first_crossing(curve, target_nll=target) for curve in (dense, sparse)]
    caveats: tuple[Caveat, ...] = () if is_annealed else (Caveat.NOT_ANNEALED,)
    caveats += () if is_monotone(dense) and is_monotone(sparse) else (Caveat.NOT_MONOTONE,)
    is_unreached = [crossing is None for crossing in crossings]
    if all(is_unreached) or (is_unreached[1] and target_nll is None):
        return Estimate(value=None, caveats=(*caveats, Caveat.NOT_REACHED))
    passed_before = [crossing is not None and crossing.is_bound for crossing in crossings]
    if all(passed_before):  # one unknown amount over another
        return Estimate(value=None, caveats=(*caveats, Caveat.BOUND_ONLY))
    dense_cost, sparse_cost = (
        cost(curve[-1] if crossing is None else crossing)
        for curve, crossing in zip((dense, sparse), crossings, strict=True)
    )
    if any(is_unreached):
        caveats += (Caveat.NOT_REACHED,)
    if any(passed_before):
        caveats += (Caveat.BOUND_ONLY,)
    if dense_cost is None or not sparse_cost or slowdown is None or not math.isfinite(dense_cost / sparse_cost):
        return Estimate(value=None, caveats=caveats)
    value = dense_cost / sparse_cost / slowdown
    if passed_before[1] or is_unreached[0]:
        return Estimate(value=value, bound="lower", caveats=caveats)
    if passed_before[0] or is_unreached[1]:
        return Estimate(value=value, bound="upper", caveats=caveats)
    return Estimate(value=value, caveats=caveats)
