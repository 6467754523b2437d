"""What a comparison could have resolved, and how many seeds it would take to resolve more."""

import math

from scipy.special import chdtri, nctdtrinc, stdtrit

from switchbench.compare.intervals import Contrast

POWER = 0.8
"""How often a difference of the size that is called resolvable would be told."""
FAR_OUT = 1000.0
"""Quantiles beyond which noncentral t is taken at its limit, which the search for it would take forever to reach."""
MOST_SEEDS = 10_000
"""More seeds than this are not counted: nobody will run them."""


def smallest_resolvable(contrast: Contrast, *, alpha: float) -> float:
    """Give the smallest difference that would be told from none with a probability of ``POWER``.

    ``δ · standard_error`` with the noncentrality δ at which noncentral t exceeds Student's quantile that often.

    Args:
        contrast: The comparison, for its error.
        alpha: The level that it is tested at, two-sided.
    """
    return _noncentrality(contrast.degrees_of_freedom, alpha=alpha) * contrast.standard_error


def seeds_needed(contrast: Contrast, *, margin: float, alpha: float, seeds: int, sweep_seeds: int) -> int | None:
    """Count the seeds that it would take to resolve a difference of ``margin`` with a probability of ``POWER``.

    The variance is taken to be what it was; degrees of freedom grow with the seeds of the whole sweep.

    Args:
        contrast: The comparison, for its error.
        margin: The difference.
        alpha: The level that it is tested at, two-sided.
        seeds: The seeds that it was made from.
        sweep_seeds: The most seeds that any configuration of the sweep has, which the degrees of freedom come from.

    Returns:
        The number; None: more than ``MOST_SEEDS``, or a margin of nothing.
    """
    if margin <= 0:
        return None
    degrees_per_seed = contrast.degrees_of_freedom / max(1, sweep_seeds - 1)

    def suffices(number: int) -> bool:
        noncentrality = _noncentrality(degrees_per_seed * (number - 1), alpha=alpha)
        return bool(noncentrality * contrast.standard_error * (seeds / number) ** 0.5 <= margin)

    if not suffices(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _noncentrality(degrees_of_freedom: float, *, alpha: float) -> float:
    quantile = float(stdtrit(degrees_of_freedom, 1 - alpha / 2))
    if quantile > FAR_OUT:  # the noise of the standard error is all that counts
        return quantile * math.sqrt(float(chdtri(degrees_of_freedom, 1 - POWER)) / degrees_of_freedom)
    return float(nctdtrinc(degrees_of_freedom, 1 - POWER, quantile))
