"""Intervals and tests of what is estimated with an error that follows Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.special import stdtr, stdtrit

MOST_LOG = 700.0
"""Logarithms of ratios that are shown are at most this, either way: e to that is just below the largest number."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How far one side is from the other, with its error: ``(value - truth) / standard_error`` follows Student's t."""

    value: float
    """The difference, or the logarithm of a ratio: 0 where both sides are alike."""
    standard_error: float
    """Its standard error."""
    degrees_of_freedom: float
    """Degrees of freedom of the standard error."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Give the two-sided interval ``value ± t · standard_error``.

        >>> [round(end, 3) for end in Contrast(value=1.0, standard_error=0.5, degrees_of_freedom=3).interval()]
        [-0.591, 2.591]
        """
        half_width = float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2)) * self.standard_error
        return self.value - half_width, self.value + half_width

    def p_difference(self) -> float:
        """Give the two-sided p-value of no difference: below 1 - c where the interval at confidence c leaves out 0."""
        return 2 * self._tail(abs(self.value))

    def p_equivalence(self, margin: float) -> float:
        """Give the p-value of a difference of ``margin`` or more: below 1 - c where the interval lies within ±margin.

        Twice the larger of two one-sided p-values, so that one and the same interval decides both questions.

        Source:
            Two one-sided tests (Schuirmann 1987). Departure: doubled, as the usual ones take the interval at 1 - 2α.
        """
        return min(1.0, 2 * self._tail(margin - abs(self.value)))

    def _tail(self, distance: float) -> float:
        """Probability of an error beyond a distance."""
        if self.standard_error == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(stdtr(self.degrees_of_freedom, -distance / self.standard_error))


def ratio_interval(contrast: Contrast, confidence: float = 0.95) -> tuple[float, float]:
    """Give the interval of a ratio whose logarithm is known; its ends lie within e^±``MOST_LOG``.

    One degree of freedom at a confidence of 0.999999 makes it wider than numbers go: then it says nothing all the same.

    >>> ratio_interval(Contrast(value=0.0, standard_error=1.0, degrees_of_freedom=1), 0.9999)[1] > 1e300
    True
    """
    low, high = contrast.interval(confidence)
    return math.exp(max(low, -MOST_LOG)), math.exp(min(high, MOST_LOG))


def t_quantile_975(degrees_of_freedom: int) -> float:
    """Give the 97.5% quantile of Student's t, the factor of a two-sided 95% interval.

    >>> round(t_quantile_975(1), 3), round(t_quantile_975(3), 3)
    (12.706, 3.182)
    """
    return float(stdtrit(degrees_of_freedom, 0.975))


def jackknife(estimate: float, *, leave_one_out: Sequence[float]) -> Contrast | None:
    """Give an estimate's error from the estimates that leave out one seed at a time; None from fewer than two seeds.

    ``standard_error² = (n-1)/n · Σ (x_(i) - mean)²`` with n - 1 degrees of freedom, x_(i) the estimate without seed i.
    For a mean of n values this is ``sd/√n``. It serves as well for what is no mean, such as the crossing of a mean
    curve, and where both sides of a pair vary with the seed it takes in the noise of both.

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
    return Contrast(value=estimate, standard_error=standard_error, degrees_of_freedom=n - 1)


def jackknife_ci95(estimate: float, *, leave_one_out: Sequence[float]) -> tuple[float, float] | None:
    """Give the 95% interval of ``jackknife``; None from fewer than two seeds."""
    found = jackknife(estimate, leave_one_out=leave_one_out)
    return None if found is None else found.interval()


def add_errors(value: float, errors: Sequence[tuple[float, float]]) -> Contrast:
    """Give a value the independent errors of its parts.

    Standard errors are added in quadrature, ``(Σ s²)² / Σ (s⁴/df)`` degrees of freedom (Welch and Satterthwaite).

    Args:
        value: The value.
        errors: Standard error and degrees of freedom of each part; at least one.
    """
    variance = math.fsum(error**2 for error, _ in errors)
    spread = math.fsum(error**4 / degrees for error, degrees in errors)
    degrees_of_freedom = variance**2 / spread if spread > 0 else min(degrees for _, degrees in errors)
    return Contrast(value=value, standard_error=math.sqrt(variance), degrees_of_freedom=degrees_of_freedom)
