"""Intervals over seeds."""

import math
from collections.abc import Sequence
from statistics import fmean

from scipy.special import stdtrit


def t_quantile_975(degrees_of_freedom: int) -> float:
    """Give the 97.5% quantile of Student's t, the factor of a two-sided 95% interval.

    >>> round(t_quantile_975(1), 3), round(t_quantile_975(3), 3)
    (12.706, 3.182)
    """
    return float(stdtrit(degrees_of_freedom, 0.975))


def jackknife_ci95(estimate: float, *, leave_one_out: Sequence[float]) -> tuple[float, float] | None:
    """Give a 95% interval from the estimates that leave out one seed at a time; None from fewer than two seeds.

    ``estimate ± t(n-1) · sqrt((n-1)/n · Σ (x_(i) - mean)²)``, with x_(i) the estimate without seed i. For a mean of n
    values this is Student's interval ``mean ± t(n-1) · sd/√n``. It serves as well for what is no mean, such as the
    crossing of a mean curve, and where both sides of a pair vary with the seed it takes in the noise of both.

    Args:
        estimate: The estimate from all seeds.
        leave_one_out: The estimates without each of the seeds.

    Source:
        Tukey's jackknife with Student's t, as in Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), §11.
    """
    n = len(leave_one_out)
    if n < 2:
        return None
    center = fmean(leave_one_out)
    standard_error = math.sqrt((n - 1) / n * math.fsum((value - center) ** 2 for value in leave_one_out))
    half_width = t_quantile_975(n - 1) * standard_error
    return estimate - half_width, estimate + half_width
