"""Intervals on parameters and on what is made of them.

Which kind serves was decided by simulation, on grids of 3 to 150 sizes with and without misfit of the sizes (see
``tests/laws/test_coverage.py``): percentiles of a bootstrap cover too little (90% to 93%) even with 48 groups, and
Student's t with one degree of freedom per group takes no account of sizes that decide alone. So: up to three groups,
the jackknife; below 100, cluster-robust standard errors with the degrees of freedom that the design really has; from
100 on, percentiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from switchbench.laws.derived import Quantity
from switchbench.laws.fit import LawFit, bounds_of, refit
from switchbench.laws.points import Floats, Indices, Mask
from switchbench.laws.resampling import Grouping, Resamples

IntervalMethod = Literal["percentile", "cluster_t", "jackknife_t"]
PERCENTILES_FROM = 100
"""Groups from which percentiles cover as often as they say."""
JACKKNIFE_UP_TO = 3
"""With so few sizes a law of three parameters meets them whatever they are; only leaving one out shows the doubt."""
FULL_LEVERAGE = 1e-6
"""A direction of which a group leaves less than this to the others says nothing of the noise."""
NOTHING = 1e-18
"""Squared relative spread that is rounding."""
STEP = 1e-5
"""Step of numerical derivatives, in internal parameters."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and how sure it is."""

    value: float
    """The value; NaN where it is not defined."""
    ci95: tuple[float, float] | None
    """95% interval; None: there is none."""
    se: float | None
    """Standard error in the value's own unit."""
    bootstrap_ci95: tuple[float, float] | None
    """Percentiles of the bootstrap, whatever ``ci95`` is."""
    bootstrap_se: float | None
    """Standard deviation over the resamples."""


def choose_method(fit: LawFit, grouping: Grouping) -> IntervalMethod:
    """Choose the kind of interval that covers as often as it says."""
    if grouping.number >= PERCENTILES_FROM:
        return "percentile"
    if grouping.number <= JACKKNIFE_UP_TO or not fit.loss.is_squares:
        return "jackknife_t"
    return "cluster_t"


def intervals(
    fit: LawFit,
    quantities: Sequence[Quantity],
    *,
    grouping: Grouping,
    resamples: Resamples | None,
    method: IntervalMethod | None = None,
) -> list[Interval]:
    """Give the values of quantities with their intervals.

    Args:
        fit: The fit.
        quantities: What is asked of it.
        grouping: Which rows vary together.
        resamples: Fits of resampled data; None: no percentiles.
        method: Which kind; None: the one that covers. Percentiles without resamples are replaced by ``cluster_t``.
    """
    method = method or choose_method(fit, grouping)
    if method == "percentile" and resamples is None:
        method = "cluster_t" if fit.loss.is_squares else "jackknife_t"
    values = evaluate(fit, quantities, fit.internal[None])[0]
    drawn = None if resamples is None else evaluate(fit, quantities, resamples.internal)
    has_freedom = len(fit.observations) > len(fit.internal) and grouping.number > 1
    errors, freedom = np.full(len(values), np.nan), np.full(len(values), np.nan)
    if has_freedom and method == "cluster_t":
        errors, freedom = cluster_robust(fit, quantities, grouping=grouping)
    elif has_freedom and method == "jackknife_t":
        errors, freedom = jackknife(fit, quantities, grouping=grouping)
    answers = []
    for i, quantity in enumerate(quantities):
        column = None if drawn is None else drawn[:, i][np.isfinite(drawn[:, i])]
        percentiles, spread = _percentiles(column, quantity)
        value = quantity.natural(values[i])
        # An error of 0 is that of a parameter held at its bound, and no certainty.
        if method == "percentile" or not (np.isfinite(errors[i]) and errors[i] > 0):
            ci95, error = (percentiles, spread) if method == "percentile" else (None, None)
        else:
            half = stdtrit(freedom[i], 0.975) * errors[i]
            low, high = quantity.natural(values[i] - half), quantity.natural(values[i] + half)
            low = max(low, 0.0) if quantity.is_floor else low
            ci95 = (low, high) if np.isfinite(low) and np.isfinite(high) else None
            error = float(errors[i] * (abs(value) if quantity.is_log else 1.0))
        answers.append(Interval(value=value, ci95=ci95, se=error, bootstrap_ci95=percentiles, bootstrap_se=spread))
    return answers


def evaluate(fit: LawFit, quantities: Sequence[Quantity], internal: Floats) -> Floats:
    """Give quantities on their scale (the logarithm where that is it), (fits, quantities)."""
    with np.errstate(all="ignore"):
        return np.column_stack([quantity.evaluate(fit, internal) for quantity in quantities])


def jackknife(fit: LawFit, quantities: Sequence[Quantity], *, grouping: Grouping) -> tuple[Floats, Floats]:
    """Give standard errors from leaving out a group at a time, and their degrees of freedom, groups - 1."""
    groups = grouping.number
    weights = (grouping.index != np.arange(groups)[:, None]).astype(np.float64)
    left_out = evaluate(fit, quantities, refit(fit, weights=weights, tolerance=1e-10).internal)
    spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    # Where every group has a parameter to itself, leaving it out moves nothing, and says nothing.
    spread = np.where(spread > NOTHING * (1 + left_out.mean(axis=0) ** 2), spread, np.nan)
    return np.sqrt((groups - 1) / groups * spread), np.full(len(quantities), groups - 1.0)


def cluster_robust(fit: LawFit, quantities: Sequence[Quantity], *, grouping: Grouping) -> tuple[Floats, Floats]:
    """Give cluster-robust standard errors (CR2) and the degrees of freedom that they really have.

    With J the Jacobian, J = QR and Q_g the rows of group g: the residuals of each group are multiplied by
    (I - Q_g Q_gᵀ)^-½, which makes the variance unbiased where rows are independent, and Satterthwaite's degrees of
    freedom are those of the resulting quadratic form. Parameters at a bound are held. Where seeds shift runs as well,
    the variance is that over the groups plus that over the seeds.

    Source:
        Bell and McCaffrey 2002; Pustejovsky and Tipton 2018, for nonlinear fits by the delta method.
    """
    problem = fit.problem
    residuals, jacobian = (array[0] for array in problem.residuals(fit.internal[None]))
    lower, upper = bounds_of(fit.law)
    free = (fit.internal > lower) & (fit.internal < upper)
    basis, triangle = np.linalg.qr(jacobian[:, free])
    if basis.shape[1] == 0 or np.abs(np.diag(triangle)).min() < 1e-12 * np.abs(np.diag(triangle)).max():
        return np.full(len(quantities), np.nan), np.full(len(quantities), np.nan)
    gradients = _gradients(fit, quantities, free=free)
    directions = np.linalg.solve(triangle.T, gradients.T).T
    variance, freedom = _robust(basis, residuals, grouping.index, directions)
    if grouping.seed_index is not None:
        other, other_freedom = _robust(basis, residuals, grouping.seed_index, directions)
        with np.errstate(all="ignore"):
            freedom = (variance + other) ** 2 / (variance**2 / freedom + other**2 / other_freedom)
        variance = variance + other
    return np.sqrt(variance), freedom


def _robust(basis: Floats, residuals: Floats, index: Indices, directions: Floats) -> tuple[Floats, Floats]:
    """Give the variance and the degrees of freedom along directions in the basis, (quantities,) each."""
    width, groups = basis.shape[1], int(index.max()) + 1
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(groups))
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)[order]
    leverage = np.add.reduceat(products, starts).reshape(groups, width, width)
    scores = np.add.reduceat((basis * residuals[:, None])[order], starts)
    share, vectors = np.linalg.eigh(leverage)
    left = 1 - np.clip(share, 0.0, 1.0)
    scaled = np.where(left > FULL_LEVERAGE, 1 / np.sqrt(np.maximum(left, FULL_LEVERAGE)), 0.0)
    rotated = np.einsum("qi,gij->gqj", directions, vectors)
    sums = np.einsum("gqj,gj,gj->gq", rotated, scaled, np.einsum("gij,gi->gj", vectors, scores))
    size = np.einsum("gqj,gj->gq", rotated**2, np.clip(share, 0, 1) * scaled**2)
    shadow = np.einsum("gqj,gj,gij->gqi", rotated, np.clip(share, 0, 1) * scaled, vectors)
    overlap = np.einsum("gqi,gqk->qik", shadow, shadow)
    trace = (size - (shadow**2).sum(axis=2)).sum(axis=0)
    squares = (size**2 - 2 * size * (shadow**2).sum(axis=2)).sum(axis=0) + (overlap**2).sum(axis=(1, 2))
    with np.errstate(all="ignore"):
        return (sums**2).sum(axis=0), np.where(squares > 0, trace**2 / squares, np.nan)


def _gradients(fit: LawFit, quantities: Sequence[Quantity], *, free: Mask) -> Floats:
    """Give the derivatives of quantities by the free internal parameters, (quantities, free)."""
    steps = STEP * np.eye(len(fit.internal))[free]
    up, down = (evaluate(fit, quantities, fit.internal + sign * steps) for sign in (1, -1))
    return ((up - down) / (2 * STEP)).T


def _percentiles(column: Floats | None, quantity: Quantity) -> tuple[tuple[float, float] | None, float | None]:
    if column is None or len(column) < 2:
        return None, None
    low, high = (quantity.natural(float(value)) for value in np.percentile(column, [2.5, 97.5]))
    spread = float(np.std(np.exp(np.minimum(column, 700.0)) if quantity.is_log else column, ddof=1))
    return (low, high), spread
