"""The frontier of each side of a sweep along a cost, and what a law expects of it, with its band.

Source:
    L = (C_c/C)^α of the best runs along the training compute C: Kaplan et al. 2020, "Scaling Laws for Neural Language
    Models", eq. (1.3). Departure: C is the provisioned training FLOPs or the training time of this machine; fitted to
    the annealed points on the frontier, with intervals that resample whole points. Where the sweep has a law of loss
    that knows tokens, the curves are that law's instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from switchbench.compare.frontier import Frontier, find_frontiers, reaches_of
from switchbench.compare.pool import Member, Pool
from switchbench.compare.reach import Reach, best_at
from switchbench.errors import UnfittableError
from switchbench.fitting.sweeps import matmul_parameters
from switchbench.laws import Interval, Observations, Place, fit_law, group_rows, intervals, prediction
from switchbench.laws.points import Floats
from switchbench.report.aggregates import example_row
from switchbench.report.figures.law import SweepLaw

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
    """What a law expects of a frontier."""

    costs: tuple[float, ...]
    """Where it is evaluated, ascending; beyond ``known_to`` it is extrapolated."""
    nll: tuple[float, ...]
    """What it says."""
    ci95: tuple[tuple[float, float], ...] | None
    """Its 95% band; None: the points do not give one."""
    known_to: float
    """The last cost of a point that it was fitted to."""


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
    is_joint: bool
    """Whether the laws of both sides are the sweep's one law of loss."""


def frontier_panels(pool: Pool, *, sweep: str, law: SweepLaw | None) -> tuple[Panel, ...]:
    """Both sides along FLOPs and, where both are timed, along time.

    Args:
        pool: What may be chosen.
        sweep: Name of the sweep.
        law: The law of loss of the sweep.
    """
    found = []
    for frontier in find_frontiers(pool, sweep=sweep):
        for cost in COSTS:
            if frontier.resource == cost and frontier.low is not None:
                sides = (_side("dense", pool.dense, cost), _side("sparse", pool.sparse, cost))
                members = (pool.dense, pool.sparse)
                expected = [None if law is None else expect_frontier(law, side, cost) for side in members]
                is_joint = all(curve is not None for curve in expected)
                curves = expected if is_joint else [fit_frontier(side.frontier) for side in sides]
                if all(curve is not None for curve in curves):  # one alone would look like a comparison
                    sides = (replace(sides[0], fitted=curves[0]), replace(sides[1], fitted=curves[1]))
                found.append(Panel(cost=cost, sides=sides, frontier=frontier, is_joint=is_joint))
    return tuple(found)


def expect_frontier(law: SweepLaw, members: Sequence[Member], cost: Cost) -> FittedCurve | None:
    """Say what the law of a sweep expects of the best configuration within each cost; None where it cannot.

    A configuration is trained for as many tokens as the cost allows, but for no more than the longest run was: as the
    frontier itself has it. Beyond the largest cost that was paid, that limit grows with the cost.

    Args:
        law: The law; one that does not know tokens says nothing of costs between the points.
        members: One side.
        cost: What is paid.
    """
    tokens = law.fit.observations.d
    if not law.fit.law.uses_tokens or tokens is None:
        return None
    low, high = float(tokens.min()), float(tokens.max())
    known = [member for member in members if member.configuration.config_id in law.config_ids]
    models = [(example_row(m.configuration), per_token) for m in known if (per_token := _cost_per_token(m, cost))]
    if not models:
        return None
    end = max(high * per_token for _, per_token in models)
    places = []
    costs = np.unique(np.append(np.geomspace(low * min(c for _, c in models), BEYOND * end, _PLACES), end))
    for paid in map(float, costs):
        most = high * max(paid / end, 1.0)
        affordable = [
            Place(
                n=float(matmul_parameters(row)),
                e=float(row.num_experts),
                d=max(low, min(paid / per_token, most)),  # less by rounding alone
            )
            for row, per_token in models
            if paid >= low * per_token * (1 - 1e-9)
        ]
        values = law.fit.predict(
            n=np.array([place.n for place in affordable]),
            e=np.array([place.e for place in affordable]),
            d=np.array([place.d for place in affordable]),
        )
        places.append(affordable[int(np.argmin(values))])
    answers = intervals(
        law.fit, [prediction(place) for place in places], grouping=group_rows(law.fit.observations), resamples=None
    )
    return _curve(costs, answers, known_to=end)


def _cost_per_token(member: Member, cost: Cost) -> float | None:
    """What a configuration's training costs per token; None where that is not known."""
    row, timing = example_row(member.configuration), member.configuration.timing
    if member.reach(cost, seeds=tuple(member.curves)) is None:
        return None
    if cost == "train_time_s":
        return None if timing is None else timing.step_time_s / row.batch_tokens
    return row.provisioned_train_flops / row.tokens_seen if row.provisioned_train_flops and row.tokens_seen else None


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
    return _curve(places, answers, known_to=float(costs[-1]))


def _curve(costs: Floats, answers: Sequence[Interval], *, known_to: float) -> FittedCurve:
    bands = [answer.ci95 for answer in answers if answer.ci95 is not None]
    return FittedCurve(
        costs=tuple(map(float, costs)),
        nll=tuple(answer.value for answer in answers),
        ci95=tuple(bands) if len(bands) == len(answers) else None,
        known_to=known_to,
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
        fitted=None,
    )
