"""The frontier of each side of a sweep along a cost, and a power law through it with its band.

Source:
    L = (C_c/C)^α of the best runs along the training compute C: Kaplan et al. 2020, "Scaling Laws for Neural Language
    Models", eq. (1.3). Departure: C is the provisioned training FLOPs or the training time of this machine; fitted to
    the annealed points on the frontier, with intervals that resample whole points.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from switchbench.compare.frontier import Frontier, find_frontiers, reaches_of
from switchbench.compare.pool import Member, Pool
from switchbench.compare.reach import Reach, best_at
from switchbench.errors import UnfittableError
from switchbench.laws import Observations, Place, fit_law, group_rows, intervals, prediction

Role = Literal["dense", "sparse"]
Cost = Literal["provisioned_train_flops", "train_time_s"]
COSTS: dict[Cost, tuple[str, str, Literal["flops", "time"]]] = {
    "provisioned_train_flops": ("Training FLOPs", "provisioned training FLOPs", "flops"),
    "train_time_s": ("Training time", "training time", "time"),
}
"""Title of the panel, label of its axis, and what is measured."""
FEWEST = 4
"""Points on a frontier from which on a law of two parameters is fitted to it."""
BEYOND = 3.0
"""How far a law is drawn beyond the last point that it was fitted to, as a factor of cost."""
_PLACES = 40


@dataclass(frozen=True, kw_only=True)
class FittedCurve:
    """A power law through a frontier."""

    costs: tuple[float, ...]
    """Where it is evaluated, ascending; beyond ``known_to`` it is extrapolated."""
    nll: tuple[float, ...]
    """What it says."""
    ci95: tuple[tuple[float, float], ...] | None
    """Its 95% band; None: the points do not give one."""
    known_to: float
    """The last point that it was fitted to."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """The configurations of one kind along one cost."""

    role: Role
    """Dense or sparse."""
    points: tuple[tuple[float, float], ...]
    """Cost and mean nll of all annealed points."""
    frontier: tuple[tuple[float, float], ...]
    """Cost and nll of the points that no cheaper point of this side is better than, ascending."""
    reaches: tuple[Reach, ...]
    """What each configuration reaches."""
    fitted: FittedCurve | None
    """The law; None: there are too few points on the frontier, of this side or the other."""

    def outline(self, end: float) -> tuple[tuple[float, float], ...]:
        """The frontier as a line up to a cost: the lowest nll of any configuration within each cost.

        Args:
            end: Where the line ends; past its last point a configuration stays as good as it was there.
        """
        costs = np.unique([*np.geomspace(self.points[0][0], end, _PLACES), *(cost for cost, _ in self.points)])
        line = ((float(cost), best_at(self.reaches, float(cost))) for cost in costs if cost <= end)
        return tuple((cost, nll) for cost, nll in line if nll is not None)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Both sides along one cost."""

    cost: Cost
    """Which."""
    sides: tuple[Side, Side]
    """Dense, then sparse."""
    frontier: Frontier
    """Which side is better where, and where they cross."""


def frontier_panels(pool: Pool, *, sweep: str) -> tuple[Panel, ...]:
    """Both sides along FLOPs and, where both are timed, along time.

    Args:
        pool: What may be chosen.
        sweep: Name of the sweep.
    """
    found = []
    for frontier in find_frontiers(pool, sweep=sweep):
        for cost in COSTS:
            if frontier.resource == cost and frontier.low is not None:
                sides = (_side("dense", pool.dense, cost), _side("sparse", pool.sparse, cost))
                if any(side.fitted is None for side in sides):  # one law alone would look like a comparison
                    sides = (replace(sides[0], fitted=None), replace(sides[1], fitted=None))
                found.append(Panel(cost=cost, sides=sides, frontier=frontier))
    return tuple(found)


def fit_frontier(points: Any) -> FittedCurve | None:
    """Fit a power law of cost to the points on a frontier; None where there are too few.

    Args:
        points: Cost and nll, ascending in cost.
    """
    if len(points) < FEWEST:
        return None
    costs, nll = (np.array(side, dtype=np.float64) for side in zip(*points, strict=True))
    rows = Observations(n=costs, loss=nll)
    try:
        fit = fit_law(rows, law="power")
    except UnfittableError:
        return None
    places = np.unique(np.append(np.geomspace(costs[0], BEYOND * costs[-1], _PLACES), costs[-1]))
    quantities = [prediction(Place(n=float(place))) for place in places]
    answers = intervals(fit, quantities, grouping=group_rows(rows, by="row"), resamples=None)
    bands = [answer.ci95 for answer in answers if answer.ci95 is not None]
    return FittedCurve(
        costs=tuple(map(float, places)),
        nll=tuple(answer.value for answer in answers),
        ci95=tuple(bands) if len(bands) == len(answers) else None,
        known_to=float(costs[-1]),
    )


def _side(role: Role, members: tuple[Member, ...], cost: Cost) -> Side:
    reaches = tuple(reaches_of(members, cost))
    points = sorted((c, nll) for reach in reaches for c, nll in zip(reach.costs, reach.nlls, strict=True))
    frontier: list[tuple[float, float]] = []
    for point in points:
        if not frontier or point[1] < frontier[-1][1]:
            frontier.append(point)
    return Side(
        role=role,
        points=tuple(points),
        frontier=tuple(frontier),
        reaches=reaches,
        fitted=fit_frontier(frontier),
    )
