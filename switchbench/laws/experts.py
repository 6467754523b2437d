"""What a number of experts is worth: E itself, or the saturating Ê."""

from dataclasses import dataclass

import numpy as np

from switchbench.laws.points import Floats, Points

SATURATES_FROM = 16.0
"""Experts must span this factor before their saturation can be seen."""
SATURATES_FROM_VALUES = 4
"""So many different numbers of experts pin down g, E_start and E_max: as many ratios as parameters."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """h = ln(Ê/Ê(1)) with its derivatives, each of shape (fits, rows)."""

    h: Floats
    """ln(Ê/Ê(1)); 0 where dense."""
    by_shape: tuple[Floats, ...]
    """Derivatives with respect to the saturation's two internal parameters; none where Ê = E."""


def saturates(e: Floats) -> bool:
    """Whether runs show saturation: whether their experts span a factor of 16, with at least four different numbers.

    Args:
        e: Experts of each run, 1 where dense.

    Source:
        The factor: below it, one exponent serves as well. Four: with fewer, the data are met whatever E_max is.
    """
    values = np.unique(e)
    return len(values) >= SATURATES_FROM_VALUES and bool(values[-1] / values[0] >= SATURATES_FROM)


def expert_gain(points: Points, shape: Floats) -> Gain:
    """Compute h = ln(Ê/Ê(1)).

    ``1/Ê = 1/(E - 1 + s) + 1/E_max`` with ``1/s = 1/E_start - 1/E_max``, so that Ê(1) = E_start and Ê → E_max.

    Args:
        points: Where.
        shape: (fits, 2): ln s and ln E_max, which are free of each other, while E_start < E_max. (fits, 0): Ê = E.

    Source:
        Clark et al. 2022 (2202.01169), eq. (10), with s for their 1/(1/E_start - 1/E_max).
    """
    if shape.shape[1] == 0:
        return Gain(h=np.broadcast_to(np.log(points.e), (len(shape), len(points.e))), by_shape=())
    s, e_max = np.exp(shape[:, 0:1]), np.exp(shape[:, 1:2])
    reach = points.e_values - 1 + s
    log_inverse, log_inverse_of_one = np.log(1 / reach + 1 / e_max), np.log(1 / s + 1 / e_max)
    share, share_of_one = 1 / (1 + reach / e_max), 1 / (1 + s / e_max)
    values = (
        log_inverse_of_one - log_inverse,
        share * s / reach - share_of_one,
        (1 - share) - (1 - share_of_one),
    )
    h, by_s, by_e_max = (value[:, points.e_index] for value in values)
    return Gain(h=h, by_shape=(by_s, by_e_max))


def natural_shape(shape: Floats) -> Floats:
    """Give E_start and E_max, (fits, 2), from the internal ln s and ln E_max."""
    if shape.shape[1] == 0:
        return shape
    e_max = np.exp(shape[:, 1])
    return np.stack([1 / (np.exp(-shape[:, 0]) + 1 / e_max), e_max], axis=1)


def internal_shape(natural: Floats) -> Floats:
    """Give ln s and ln E_max, (fits, 2), from E_start and E_max."""
    if natural.shape[1] == 0:
        return natural
    e_start, e_max = natural[:, 0], natural[:, 1]
    return np.stack([-np.log(1 / e_start - 1 / e_max), np.log(e_max)], axis=1)


def log_e_of_one(shape: Floats) -> Floats:
    """Give ln Ê(1), (fits,): ln E_start, or 0 where Ê = E."""
    return np.zeros(len(shape)) if shape.shape[1] == 0 else np.log(natural_shape(shape)[:, 0])


def with_expert_formula(formula: str, *, saturating: bool) -> str:
    """Say after a law's formula what Ê is in it."""
    text = "1/Ê = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max" if saturating else "Ê = E"
    return f"{formula}, {text}"
