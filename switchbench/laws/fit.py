"""The fitter: starts by variable projection, then a descent, absolute values approached from squares."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from switchbench.laws.descent import Descent, Problem, descend
from switchbench.laws.experts import saturates
from switchbench.laws.forms import form_named
from switchbench.laws.law import Law, LawName
from switchbench.laws.losses import DEFAULT_LOSS, Loss
from switchbench.laws.points import Center, Floats, Observations, Points
from switchbench.laws.requirements import require_enough
from switchbench.laws.starts import find_starts, spread_rows

ANNEALED_FROM = (2e-2, 5e-3)
"""Huber's delta on the way to its own value."""
SAME_MINIMUM = 1e-6
"""Minima whose ln L̂ differ by less, in all rows, are the same: what else differs in them does not matter."""
MOST_MINIMA = 4
RIVAL = 10.0
"""A minimum is kept beside the best where n·ln(objective/best) is below this: it may win in a resample."""
RESAMPLES_AT_ONCE = 128
"""Fits per batch at most."""
NUMBERS_AT_ONCE = 200_000
"""Numbers in a batch's Jacobian at most: more would not stay in the processor's cache."""
RESAMPLE_TOLERANCE = 1e-8
"""Share of the objective that a resample's fit may miss: a hundredth of a standard error at most."""


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """A law fitted to runs."""

    law: Law
    """The form."""
    observations: Observations
    """The runs."""
    center: Center
    """The middle of the data, which internal parameters refer to."""
    loss: Loss
    """What was minimized."""
    internal: Floats
    """Internal parameters, (parameters,)."""
    objective: float
    """What was minimized, as ``Loss`` defines it."""
    has_converged: bool
    """Whether nothing more was to be gained."""
    minima: Floats
    """All minima that were found, best first, (minima, parameters)."""
    minima_objectives: Floats
    """Their objectives."""

    @property
    def values(self) -> dict[str, float]:
        """The parameters as they stand in the formula, by name."""
        natural = self.law.natural(self.internal[None], self.center)[0]
        return {parameter.name: float(value) for parameter, value in zip(self.law.parameters, natural, strict=True)}

    @property
    def points(self) -> Points:
        """Where the fitted rows lie."""
        rows = self.observations
        return self.center.points(n=rows.n, e=rows.e, d=rows.d)

    @property
    def problem(self) -> Problem:
        """What was minimized, with every row once."""
        return Problem(
            law=self.law,
            points=self.points,
            log_loss=self.observations.log_loss,
            weights=np.ones(len(self.observations)),
            turns_at=self.loss.turns_at,
            is_of_logarithms=self.loss.is_of_logarithms,
        )

    @property
    def residuals(self) -> Floats:
        """ln L̂ - ln L of each row."""
        return np.asarray(self.log_predictions(self.internal[None])[0] - self.observations.log_loss)

    @property
    def rms(self) -> float:
        """Root of the mean square of the residuals of ln L."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    def log_predictions(self, internal: Floats) -> Floats:
        """Give ln L̂ of the fitted rows for other parameters, (fits, rows)."""
        return self.law.evaluate(internal, self.points)[0]

    def predict(self, *, n: Floats, e: Floats | None = None, d: Floats | None = None) -> Floats:
        """Give the expected loss, nats per token.

        Args:
            n: Parameters that one token meets.
            e: Experts; None: dense.
            d: Training tokens; None: the middle of the data.
        """
        points = self.center.points(n=n, e=e, d=d)
        return np.asarray(np.exp(self.law.evaluate(self.internal[None], points)[0][0]))


def fit_law(
    observations: Observations, *, law: Law | LawName, loss: Loss = DEFAULT_LOSS, start: Floats | None = None
) -> LawFit:
    """Fit a law.

    Args:
        observations: The runs.
        law: The form, or its name: then Ê saturates where the runs' experts can show it.
        loss: What to minimize.
        start: Internal parameters to start at as well, (starts, parameters).

    Raises:
        UnfittableError: the runs do not determine the law: too few, or of too few sizes, experts or tokens.
    """
    form = form_named(law, saturating=saturates(observations.experts)) if isinstance(law, str) else law
    require_enough(form, observations)
    center = observations.center
    points = center.points(n=observations.n, e=observations.e, d=observations.d)
    starts = find_starts(form, points, observations.log_loss)
    if start is not None:
        starts = np.concatenate([start, starts])
    problem = Problem(
        law=form,
        points=points,
        log_loss=observations.log_loss,
        weights=np.ones(len(observations)),
        turns_at=float("inf"),
        is_of_logarithms=loss.is_of_logarithms,
    )
    # Where rows are very many, some of them say as well which start leads to the least minimum.
    some = problem.of_rows(spread_rows(len(observations)))
    found = _descend(some, starts, tolerance=1e-6, most_steps=60)
    found = _descend(problem, _different(found, some), tolerance=1e-16)
    for delta in _annealing(loss):
        found = _descend(replace(problem, turns_at=delta), _different(found, problem), tolerance=1e-13)
    kept = _different(found, problem)
    order = [int(np.flatnonzero((found.internal == row).all(axis=1))[0]) for row in kept]
    return LawFit(
        law=form,
        observations=observations,
        center=center,
        loss=loss,
        internal=kept[0],
        objective=loss.scaled(float(found.value[order[0]])),
        has_converged=bool(found.has_converged[order[0]]),
        minima=kept,
        minima_objectives=np.array([loss.scaled(float(found.value[i])) for i in order]),
    )


def refit(
    fit: LawFit,
    *,
    weights: Floats,
    log_loss: Floats | None = None,
    held: Floats | None = None,
    tolerance: float = RESAMPLE_TOLERANCE,
    on_progress: Callable[[float], None] | None = None,
) -> Descent:
    """Fit again, many times at once, from where a fit ended.

    Args:
        fit: The fit.
        weights: How often each row counts in each refit, (refits, rows).
        log_loss: Other losses, (refits, rows); None: the observed ones.
        held: (refits, parameters) internal parameters that are held where they are no NaN.
        tolerance: Share of the objective that may be missed.
        on_progress: Takes the share that is done, from 0 to 1.

    Returns:
        The best of the descents from each of the fit's minima.
    """
    number, width = len(weights), len(fit.internal)
    internal, value, converged, steps = np.empty((number, width)), np.full(number, np.inf), np.zeros(number, bool), 0
    lower, upper = bounds_of(fit.law)
    batch = int(np.clip(NUMBERS_AT_ONCE // (weights.shape[1] * width), 1, RESAMPLES_AT_ONCE))
    for first in range(0, number, batch):
        rows = slice(first, min(first + batch, number))
        problem = Problem(
            law=fit.law,
            points=fit.points,
            log_loss=fit.observations.log_loss if log_loss is None else log_loss[rows],
            weights=weights[rows],
            turns_at=fit.loss.turns_at,
            is_of_logarithms=fit.loss.is_of_logarithms,
        )
        shape = (rows.stop - rows.start, width)
        low, high = np.broadcast_to(lower, shape), np.broadcast_to(upper, shape)
        if held is not None:
            is_free = np.isnan(held[rows])
            low, high = np.where(is_free, low, held[rows]), np.where(is_free, high, held[rows])
        for minimum in fit.minima[:MOST_MINIMA]:
            found = descend(
                problem, np.broadcast_to(minimum, shape), lower=low, upper=high, tolerance=tolerance, most_steps=150
            )
            steps = max(steps, found.steps)
            better = np.flatnonzero(found.value < value[rows])
            internal[first + better], value[first + better] = found.internal[better], found.value[better]
            converged[first + better] = found.has_converged[better]
        if on_progress is not None:
            on_progress(rows.stop / number)
    return Descent(internal=internal, value=value, steps=steps, has_converged=converged)


def bounds_of(law: Law) -> tuple[Floats, Floats]:
    """Give the least and greatest internal parameters of a law, (parameters,) each."""
    lower, upper = zip(*(parameter.internal_bounds for parameter in law.parameters), strict=True)
    return np.array(lower), np.array(upper)


def _descend(problem: Problem, starts: Floats, *, tolerance: float, most_steps: int = 400) -> Descent:
    lower, upper = bounds_of(problem.law)
    shape = starts.shape
    return descend(
        problem,
        starts,
        lower=np.broadcast_to(lower, shape),
        upper=np.broadcast_to(upper, shape),
        tolerance=tolerance,
        most_steps=most_steps,
    )


def _annealing(loss: Loss) -> list[float]:
    """The values of Huber's delta on the way to the loss's own; none for squares."""
    if loss.is_squares:
        return []
    last = loss.turns_at
    steps = [delta for delta in ANNEALED_FROM if delta > last]
    while steps and steps[-1] / last > 10:
        steps.append(steps[-1] / 5)
    return [*steps, last]


def _different(found: Descent, problem: Problem) -> Floats:
    """The minima that differ, best first, without those that are far worse than the best."""
    kept: list[int] = []
    best, curves = found.value.min(), problem.law.evaluate(found.internal, problem.points)[0]
    for i in np.argsort(found.value, kind="stable"):
        is_rival = not kept or found.value[i] <= best * np.exp(RIVAL / len(problem.points.x))
        if is_rival and all(np.abs(curves[i] - curves[other]).max() > SAME_MINIMUM for other in kept):
            kept.append(int(i))
    return found.internal[kept[:MOST_MINIMA]]
