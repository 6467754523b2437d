"""What the parameters of laws are, and how the sums of terms that laws consist of are evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from switchbench.laws.points import Floats


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a law.

    The fitter moves the internal parameter: a coefficient as its term's size in the middle of the data, and the
    logarithm of whatever is positive.
    """

    name: str
    """Name in the formula."""
    unit: str
    """Its unit; N counts parameters, D tokens."""
    lower: float
    """Least internal value, before the logarithm."""
    upper: float
    """Greatest internal value, before the logarithm."""
    is_positive: bool = True
    """Whether the fitter moves its logarithm."""
    is_floor: bool = False
    """Whether it is the loss that nothing takes away: its doubt reaches down to 0, where a logarithm has no end."""

    @property
    def internal_bounds(self) -> tuple[float, float]:
        """The range of the internal parameter."""
        if self.is_positive:
            return float(np.log(self.lower)), float(np.log(self.upper))
        return self.lower, self.upper


def floor_of_loss(name: str) -> Parameter:
    """The loss that no size and no data take away, in nats; 0 but for the logarithm."""
    return Parameter(name=name, unit="nats per token", lower=1e-6, upper=1e3, is_floor=True)


def coefficient(name: str, *, unit: str) -> Parameter:
    """A coefficient, bounded by its term's size in the middle of the data, in nats."""
    return Parameter(name=name, unit=unit, lower=1e-6, upper=1e3)


def exponent(name: str) -> Parameter:
    """A positive exponent: 0.001 is all but no dependence, 5 steeper than anything known."""
    return Parameter(name=name, unit="1", lower=1e-3, upper=5.0)


def slope(name: str) -> Parameter:
    """An exponent of either sign."""
    return Parameter(name=name, unit="1", lower=-5.0, upper=5.0, is_positive=False)


SATURATION = (
    Parameter(name="E_start", unit="experts", lower=1e-2, upper=1e3),
    Parameter(name="E_max", unit="experts", lower=2.0, upper=1e7),
)
"""E_start and E_max; internally s = 1/(1/E_start - 1/E_max), and E_max."""


def sum_of_terms(
    terms: Sequence[Floats], derivatives: Sequence[Mapping[int, Floats]], *, num_parameters: int
) -> tuple[Floats, Floats]:
    """Evaluate ``ln Σ exp(t_k)`` and its derivatives, with no overflow.

    Args:
        terms: ln of each term, (fits, rows).
        derivatives: Of each term, by the number of the parameter, (fits, rows) or what broadcasts to it.
        num_parameters: All parameters of the law.

    Returns:
        ln of the sum, (fits, rows), and its Jacobian, (fits, rows, parameters).
    """
    largest = terms[0] if len(terms) == 1 else np.maximum.reduce(terms)
    shares = [np.exp(term - largest) for term in terms]
    total = shares[0] if len(shares) == 1 else np.add.reduce(shares)
    log_sum = largest + np.log(total)
    jacobian = np.zeros((*log_sum.shape, num_parameters))
    for share, of_term in zip(shares, derivatives, strict=True):
        for number, derivative in of_term.items():
            jacobian[:, :, number] += share / total * derivative
    return log_sum, jacobian
