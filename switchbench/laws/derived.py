"""What people use of a fitted law, for many fits at once: what experts are worth, and what loss to expect.

N̄, the dense-equivalent parameters, solve L(N̄, 1, D) = L(N, E, D). Costs count 6·N·D, so that at the same D a dense
model of N̄ costs N̄/N times what the sparse one does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from switchbench.laws.fit import LawFit
from switchbench.laws.law import Law
from switchbench.laws.optima import compute_multiplier
from switchbench.laws.parameters import Parameter
from switchbench.laws.points import Floats, Points
from switchbench.laws.sizes import sizes_of

Measure = Literal[
    "parameter",
    "n_eff_over_n",
    "dense_equivalent_params",
    "compute_multiplier_fixed_tokens",
    "compute_multiplier_optimal",
    "prediction",
    "crossover_params",
    "optimal_params",
    "optimal_tokens",
]
WIDEST = 60.0
"""ln N̄/N is sought within this on either side."""
BISECTIONS = 64


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a quantity is asked for."""

    n: float
    """Parameters that one token meets."""
    e: float = 1.0
    """Experts."""
    d: float | None = None
    """Training tokens; None: the law does not depend on them."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number that follows from a fit."""

    measure: Measure
    """What it is."""
    name: str
    """The parameter's name; elsewhere the measure's."""
    unit: str
    """Its unit."""
    is_log: bool
    """Whether its doubt is symmetric in its logarithm; then ``evaluate`` gives that."""
    evaluate: Callable[[LawFit, Floats], Floats]
    """Gives it for internal parameters (fits, parameters): (fits,)."""
    place: Place | None = None
    """Where; None: it has no place."""
    is_floor: bool = False
    """Whether it is a loss that nothing takes away: not below 0."""

    def natural(self, value: float) -> float:
        """Give the value in its unit."""
        with np.errstate(over="ignore"):
            return float(np.exp(value)) if self.is_log else float(value)


def parameter_quantities(law: Law) -> list[Quantity]:
    """The parameters as they stand in the formula."""
    return [_parameter(parameter, number=i) for i, parameter in enumerate(law.parameters)]


def derived_quantities(fit: LawFit) -> list[Quantity]:
    """What people use of a fit, for every number of experts that the runs have.

    What experts are worth, at the size in the middle, where dense runs of the same loss are likelier to be among the
    runs; the loss and N̄ at the largest size.
    """
    law, rows = fit.law, fit.observations
    sizes = sizes_of(rows)
    middle, largest = float(sizes.values[(sizes.number - 1) // 2]), float(sizes.values[-1])
    tokens = None
    if rows.d is not None and law.uses_tokens:
        tokens = float(rows.d[sizes.index == sizes.number - 1].max())
    experts = np.unique(rows.experts) if law.uses_experts else np.ones(1)
    places = [Place(n=largest, e=float(e), d=tokens) for e in experts]
    sparse = [place for place in places if place.e > 1]
    in_the_middle = [replace(place, n=middle) for place in sparse]
    quantities = [worth_of_experts(place, measure="n_eff_over_n") for place in in_the_middle]
    quantities += [worth_of_experts(place, measure="compute_multiplier_fixed_tokens") for place in in_the_middle]
    if law.uses_tokens:
        quantities += [optimal_multiplier(place) for place in in_the_middle]
    quantities += [worth_of_experts(place, measure="dense_equivalent_params") for place in sparse]
    if law.name == "clark":
        quantities.append(
            Quantity(
                measure="crossover_params",
                name="crossover_params",
                unit="parameters",
                is_log=True,
                evaluate=_clark_crossover,
            )
        )
    return quantities + [prediction(place) for place in places]


def prediction(place: Place) -> Quantity:
    """The loss that the law expects at a place: of the law, not of a single run, which scatters around it."""

    def evaluate(fit: LawFit, internal: Floats) -> Floats:
        return fit.law.evaluate(internal, points_at(fit, place))[0][:, 0]

    return Quantity(
        measure="prediction", name="prediction", unit="nats per token", is_log=True, evaluate=evaluate, place=place
    )


def worth_of_experts(place: Place, *, measure: Measure) -> Quantity:
    """N̄/N, N̄, or the same as a ratio of costs."""

    def evaluate(fit: LawFit, internal: Floats) -> Floats:
        gain = log_dense_equivalent(fit.law, internal, points_at(fit, place))
        return gain + np.log(place.n) if measure == "dense_equivalent_params" else gain

    unit = "parameters" if measure == "dense_equivalent_params" else "1"
    return Quantity(measure=measure, name=measure, unit=unit, is_log=True, evaluate=evaluate, place=place)


def optimal_multiplier(place: Place) -> Quantity:
    """Dense over sparse training compute at equal loss, both with their compute split best between N and D."""

    def evaluate(fit: LawFit, internal: Floats) -> Floats:
        assert place.d is not None
        return compute_multiplier(
            fit.law, internal, center=fit.center, log_compute=float(np.log(6 * place.n * place.d)), e=place.e
        )

    name: Measure = "compute_multiplier_optimal"
    return Quantity(measure=name, name=name, unit="1", is_log=True, evaluate=evaluate, place=place)


def points_at(fit: LawFit, place: Place) -> Points:
    """Give one place to evaluate the law at."""
    d = None if place.d is None or not fit.law.uses_tokens else np.array([place.d])
    return fit.center.points(n=np.array([place.n]), e=np.array([place.e]), d=d)


def log_dense_equivalent(law: Law, internal: Floats, points: Points) -> Floats:
    """Give ln(N̄/N) at one place, (fits,); NaN where no dense model of any size reaches the loss.

    By bisection, since ln L falls in ln N for every dense model: a form needs no formula of its own for it.
    """
    target = law.evaluate(internal, points)[0][:, 0]
    dense = replace(points, e=np.ones_like(points.e))

    def loss_at(shift: Floats) -> Floats:
        return law.evaluate(internal, replace(dense, x=points.x + shift[:, None]))[0][:, 0]

    low, high = np.full(len(internal), -WIDEST), np.full(len(internal), WIDEST)
    is_reached = (loss_at(high) <= target) & (loss_at(low) >= target)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_worse = loss_at(middle) > target
        low, high = np.where(is_worse, middle, low), np.where(is_worse, high, middle)
    return np.where(is_reached, (low + high) / 2, np.nan)


def _parameter(parameter: Parameter, *, number: int) -> Quantity:
    is_log = parameter.is_positive and not parameter.is_floor

    def evaluate(fit: LawFit, internal: Floats) -> Floats:
        values = fit.law.natural(internal, fit.center)[:, number]
        return np.log(values) if is_log else values

    return Quantity(
        measure="parameter",
        name=parameter.name,
        unit=parameter.unit,
        is_log=is_log,
        evaluate=evaluate,
        is_floor=parameter.is_floor,
    )


def _clark_crossover(fit: LawFit, internal: Floats) -> Floats:
    """ln of the N at which experts stop paying: b + c·log10 N = 0."""
    values = fit.law.natural(internal, fit.center)
    return np.asarray(-values[:, 1] / values[:, 2] * np.log(10.0))
