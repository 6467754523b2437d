"""What the data do not pin down, and which caveats follow from it."""

from dataclasses import dataclass

import numpy as np

from switchbench.caveats import Caveat
from switchbench.laws.derived import Place
from switchbench.laws.fit import LawFit, bounds_of, refit
from switchbench.laws.intervals import Interval
from switchbench.laws.parameters import Parameter
from switchbench.laws.points import Floats, Indices, Observations
from switchbench.laws.resampling import FEW_GROUPS, Grouping, Resamples

PROFILE_FACTOR = 2.0
"""Parameters are held at this multiple of their value, and at its inverse, while the others are fitted again."""
LIKELIHOOD_RATIO = 3.84
"""The 95% quantile of chi-squared with one degree of freedom: what n·ln(objective ratio) must exceed."""
BOUND_SHARE = 0.05
"""Share of the resamples that may end at a bound."""
NARROW = 4.0
"""Sizes, or tokens, within this factor."""
ROWS_PER_PARAMETER = 5
ASHMAN = 4.0
"""Two parts of a distribution are two where their means are this far apart, in units of their spread; the halves of a
normal distribution have 2.7, of a uniform one 3.5."""
LEAST_PART = 0.1
"""Share of the resamples that the smaller part must have."""
EDGE = 1e-6
"""Nearer to a bound than this, a parameter is at it."""


@dataclass(frozen=True, kw_only=True)
class ParameterDoubt:
    """What is known of how well one parameter is pinned down."""

    at_bound: bool
    """Whether the fit has it at a bound."""
    at_bound_share: float | None
    """Share of the resamples that have it at a bound; None: no resamples."""
    rms_ratio_at_half: float
    """The deviation, over the least one, where the parameter is half its value and the others follow."""
    rms_ratio_at_double: float
    """The same at twice its value."""
    is_bimodal: bool
    """Whether the resamples fall into two parts."""
    caveats: tuple[Caveat, ...]
    """What follows."""


@dataclass(frozen=True, kw_only=True)
class Identifiability:
    """How well the data pin down a law."""

    parameters: tuple[ParameterDoubt, ...]
    """Its parameters, in their order."""
    condition_number: float
    """Of the Jacobian with its columns scaled to length 1: 1 where parameters are independent."""
    caveats: tuple[Caveat, ...]
    """What is to be said of the whole fit."""


def doubt(
    fit: LawFit, *, intervals: list[Interval], grouping: Grouping, resamples: Resamples | None
) -> Identifiability:
    """Find out what the data do not pin down.

    Args:
        fit: The fit.
        intervals: Those of its parameters.
        grouping: Which rows vary together.
        resamples: Fits of resampled data; None: none.
    """
    lower, upper = bounds_of(fit.law)
    is_edge = (fit.internal <= lower + EDGE) | (fit.internal >= upper - EDGE)
    shares = None
    if resamples is not None:
        at_edge = (resamples.internal <= lower + EDGE) | (resamples.internal >= upper - EDGE)
        shares = at_edge.mean(axis=0)
    ratios = profile(fit)
    rows, least_loss = len(fit.observations), float(fit.observations.loss.min())
    doubts = []
    for i, (parameter, interval) in enumerate(zip(fit.law.parameters, intervals, strict=True)):
        column = None if resamples is None or is_edge[i] else resamples.internal[:, i]
        share = None if shares is None else float(shares[i])
        is_bimodal = column is not None and (share or 0.0) < BOUND_SHARE and falls_apart(column)
        caveats = []
        is_flat = 2 * rows * np.log(ratios[i].min()) < LIKELIHOOD_RATIO
        if is_flat or _is_wide(interval, parameter=parameter, least_loss=least_loss):
            caveats.append(Caveat.UNIDENTIFIED)
        if is_edge[i] or (share is not None and share > BOUND_SHARE):
            caveats.append(Caveat.AT_BOUND)
        if is_bimodal:
            caveats.append(Caveat.BIMODAL)
        doubts.append(
            ParameterDoubt(
                at_bound=bool(is_edge[i]),
                at_bound_share=share,
                rms_ratio_at_half=float(ratios[i, 0]),
                rms_ratio_at_double=float(ratios[i, 1]),
                is_bimodal=is_bimodal,
                caveats=tuple(caveats),
            )
        )
    jacobian = fit.problem.residuals(fit.internal[None])[1][0]
    scale = np.linalg.norm(jacobian, axis=0)
    return Identifiability(
        parameters=tuple(doubts),
        condition_number=float(np.linalg.cond(jacobian / np.where(scale > 0, scale, 1.0))),
        caveats=tuple(_whole(fit, doubts=doubts, grouping=grouping)),
    )


def profile(fit: LawFit) -> Floats:
    """Give how much worse a fit is with a parameter held at half and at twice its value, (parameters, 2).

    As the root of the ratio of the objectives: the ratio of rms deviations where squares are summed. Slopes of either
    sign are held likewise.
    """
    width = len(fit.internal)
    held = np.full((width, 2, width), np.nan)
    for i, parameter in enumerate(fit.law.parameters):
        for side, factor in enumerate((1 / PROFILE_FACTOR, PROFILE_FACTOR)):
            value = fit.internal[i]
            held[i, side, i] = value + np.log(factor) if parameter.is_positive else value * factor
    flat = held.reshape(2 * width, width)
    weights = np.ones((2 * width, len(fit.observations)))
    found = refit(fit, weights=weights, held=flat, tolerance=1e-8).value
    best = float(fit.problem.value(fit.internal[None])[0])
    ratio = np.maximum(found, best) / max(best, 1e-300)
    return np.sqrt(np.clip(ratio, 1.0, 1e12)).reshape(width, 2)


def falls_apart(values: Floats) -> bool:
    """Whether values fall into two parts: Ashman's D of the best split in two is above 4, both parts large.

    Source:
        Ashman, Bird and Zepf 1994; the split is the one with the least squares within.
    """
    values = np.sort(values)
    n = len(values)
    least = int(np.ceil(LEAST_PART * n))
    if n < 20 or values[0] == values[-1]:
        return False
    values = (values - values.mean()) / values.std()
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    left = np.arange(least, n - least + 1)
    right = n - left
    means = sums[left - 1] / left, (sums[-1] - sums[left - 1]) / right
    variances = (
        squares[left - 1] / left - means[0] ** 2,
        (squares[-1] - squares[left - 1]) / right - means[1] ** 2,
    )
    best = int(np.argmin(left * variances[0] + right * variances[1]))
    spread = np.sqrt(max(variances[0][best], 0) + max(variances[1][best], 0))
    return bool(np.sqrt(2) * abs(means[1][best] - means[0][best]) > ASHMAN * spread)


def place_caveats(observations: Observations, place: Place | None, *, dense_equivalent: float | None) -> list[Caveat]:
    """What is to be said of a quantity at a place: whether it lies beyond the data.

    Args:
        observations: The runs of the fit.
        place: Where; None: nowhere.
        dense_equivalent: N̄, where the quantity is made of it; to be within the sizes of the dense runs.
    """
    if place is None:
        return []
    outside = _is_outside(place.n, observations.n) or _is_outside(place.e, observations.experts)
    if place.d is not None and observations.d is not None:
        outside = outside or _is_outside(place.d, observations.d)
    if dense_equivalent is not None:
        dense = observations.n[observations.experts == 1]
        is_known = dense.size > 0 and np.isfinite(dense_equivalent)
        outside = outside or not is_known or _is_outside(dense_equivalent, dense)
    return [Caveat.EXTRAPOLATED] if outside else []


def _whole(fit: LawFit, *, doubts: list[ParameterDoubt], grouping: Grouping) -> list[Caveat]:
    rows = fit.observations
    caveats = [caveat for each in doubts for caveat in each.caveats]
    if len(rows) < ROWS_PER_PARAMETER * len(fit.internal):
        caveats.append(Caveat.FEW_POINTS)
    ranges = [rows.n] + ([rows.d] if fit.law.uses_tokens and rows.d is not None else [])
    if any(values.max() < NARROW * values.min() for values in ranges):
        caveats.append(Caveat.NARROW_RANGE)
    if grouping.number < FEW_GROUPS and grouping.by == "size":
        caveats.append(Caveat.FEW_SIZES)
    if not has_replicates(rows):
        caveats.append(Caveat.SINGLE_SEED)
    ignored = [
        values for values, is_used in ((rows.d, fit.law.uses_tokens), (rows.e, fit.law.uses_experts)) if not is_used
    ]
    if any(values is not None and values.max() > 1.01 * values.min() for values in ignored):
        caveats.append(Caveat.VARYING_SETTINGS)
    if len(fit.minima) > 1:
        caveats.append(Caveat.BIMODAL)
    if not fit.has_converged:
        caveats.append(Caveat.NOT_CONVERGED)
    return caveats


def has_replicates(observations: Observations) -> bool:
    """Whether any configuration was run more than once."""
    return bool(cells_of(observations)[1].max(initial=0) > 1)


def cells_of(observations: Observations) -> tuple[Indices, Indices]:
    """Give the configuration of each row, from 0, and the number of rows of each configuration."""
    tokens = np.ones(len(observations)) if observations.d is None else observations.d
    keys = np.stack([observations.n, observations.experts, tokens])
    _, cells, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    return cells.reshape(-1), counts


def _is_wide(interval: Interval, *, parameter: Parameter, least_loss: float) -> bool:
    """Whether an interval leaves open what the parameter is about.

    A floor: where between 0 and the least loss it lies, so half of the reducible part of that. Other positive ones:
    their size, to a factor of two. Slopes: their sign.
    """
    if interval.ci95 is None:
        return False
    low, high = interval.ci95
    if parameter.is_floor:
        return high - low >= least_loss - interval.value
    if parameter.is_positive:
        return low <= interval.value / PROFILE_FACTOR or high >= interval.value * PROFILE_FACTOR
    return high - low >= 2 * abs(interval.value)


def _is_outside(value: float, values: Floats) -> bool:
    return not values.min() * (1 - 1e-9) <= value <= values.max() * (1 + 1e-9)
