"""The best quality that a cost buys, and where the best of one group of curves passes the best of another.

Between annealed points nll is linear in log(cost), as along a curve; what was reached for less still counts; before the
first point nothing is known, and past the last one the quality stays what it was: nobody has to spend a whole budget.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The best nll within each cost, of one configuration."""

    costs: tuple[float, ...]
    """Costs in increasing order; at least one."""
    nlls: tuple[float, ...]
    """The best nll within each of them, nats per token; never increasing."""

    def at(self, cost: float) -> float | None:
        """Give the best nll within a cost; None below the first point."""
        after = bisect_right(self.costs, cost)
        if after == 0:
            return None
        if after == len(self.costs):
            return self.nlls[-1]
        x0, x1 = (math.log(self.costs[i]) for i in (after - 1, after))
        y0, y1 = self.nlls[after - 1], self.nlls[after]
        return y0 + (y1 - y0) * (math.log(cost) - x0) / (x1 - x0)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A range of costs throughout which one group is better."""

    low: float
    """Where it begins."""
    high: float
    """Where it ends."""
    is_first_better: bool
    """Whether the first of the two groups is the better one."""
    begins_with_jump: bool
    """Whether it begins since another curve has its first point there, so that nothing is interpolated."""


def reach_of(points: Iterable[tuple[float, float]]) -> Reach | None:
    """Make the reach of a curve; None without a point.

    Args:
        points: Cost and nll of each point, all finite, costs above 0, in any order.
    """
    costs: list[float] = []
    nlls: list[float] = []
    before = (0.0, math.inf)
    for cost, nll in sorted(points):
        if cost == before[0]:
            continue
        if not costs or nll <= nlls[-1]:
            if costs and before[1] > nlls[-1] > nll:  # it had got worse, and passes its best so far on the way down
                share = (before[1] - nlls[-1]) / (before[1] - nll)
                costs.append(before[0] * (cost / before[0]) ** share)
                nlls.append(nlls[-1])
            costs.append(cost)
            nlls.append(nll)
        before = (cost, nll)
    return Reach(costs=tuple(costs), nlls=tuple(nlls)) if costs else None


def best_at(reaches: Iterable[Reach], cost: float) -> float | None:
    """Give the best nll of several curves within a cost; None where none of them has a point so low."""
    return min((nll for reach in reaches if (nll := reach.at(cost)) is not None), default=None)


def stretches_of(first: Sequence[Reach], second: Sequence[Reach], *, low: float, high: float) -> tuple[Stretch, ...]:
    """Divide a range of costs by which of two groups of curves has the better best.

    Between two neighboring points of all curves every curve is a line over log(cost), so that the best of a group is
    the lower edge of a few lines; between the kinks of both edges their difference is a line, too, with one zero.
    Where the two are equal, the range belongs to the stretch before it.

    Args:
        first: Curves of the first group.
        second: Curves of the second group; at ``low`` each group has one.
        low: Where the range begins.
        high: Where it ends.
    """
    stretches: list[Stretch] = []
    for piece in _pieces(first, second, low=low, high=high):
        if stretches and stretches[-1].is_first_better == piece.is_first_better:
            last = stretches.pop()
            piece = replace(piece, low=last.low, begins_with_jump=last.begins_with_jump)
        elif stretches:
            stretches[-1] = replace(stretches[-1], high=piece.low)
        stretches.append(piece)
    return tuple(stretches)


def _pieces(first: Sequence[Reach], second: Sequence[Reach], *, low: float, high: float) -> Iterator[Stretch]:
    """Give ranges within which one and the same group is better, in their order."""
    inner = {cost for reach in (*first, *second) for cost in reach.costs if low < cost < high}
    difference_before = 0.0
    for start, end in itertools.pairwise(sorted({low, high, *inner})):
        lines = [_lines(group, start=start, end=end) for group in (first, second)]
        kinks = sorted({0.0, 1.0, *_kinks(lines[0]), *_kinks(lines[1])})
        for t0, t1 in itertools.pairwise(kinks):
            d0, d1 = (_edge(lines[0], t) - _edge(lines[1], t) for t in (t0, t1))
            cuts = [t0, t0 + (t1 - t0) * d0 / (d0 - d1), t1] if d0 * d1 < 0 else [t0, t1]
            for (c0, c1), sign in zip(itertools.pairwise(cuts), (d0 or d1, d1), strict=False):
                if sign:
                    yield Stretch(
                        low=start * (end / start) ** c0,
                        high=start * (end / start) ** c1,
                        is_first_better=sign < 0,
                        begins_with_jump=c0 == t0 == 0.0 and d0 * difference_before < 0,
                    )
            difference_before = d1


_Line = tuple[float, float]
"""A curve over a range of costs: its nll where the range begins and where it ends, a line over log(cost)."""


def _lines(group: Sequence[Reach], *, start: float, end: float) -> list[_Line]:
    there = [reach for reach in group if reach.costs[0] <= start]
    return [(start_nll, end_nll) for reach in there for start_nll, end_nll in [(reach.at(start), reach.at(end))]]  # type: ignore[misc]


def _edge(lines: Sequence[_Line], t: float) -> float:
    """The lowest line, at a share of the range."""
    return min(start + t * (end - start) for start, end in lines)


def _kinks(lines: Sequence[_Line]) -> Iterator[float]:
    """Give the shares of the range at which another line becomes the lowest: the one that falls more, ever steeper."""
    t, (start, end) = 0.0, min(lines)
    while True:
        steeper = [line for line in lines if line[1] - line[0] < end - start]
        meetings = [((other[0] - start) / ((end - start) - (other[1] - other[0])), other) for other in steeper]
        t, (start, end) = min(
            ((meeting, other) for meeting, other in meetings if meeting >= t),
            key=lambda found: (found[0], found[1][1] - found[1][0]),
            default=(1.0, (start, end)),
        )
        if t >= 1.0:
            return
        yield t
