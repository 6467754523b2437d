"""The best size and the best number of tokens for a training compute of 6·N·D, by arithmetic from a fitted law."""

from dataclasses import dataclass

import numpy as np

from switchbench.laws.law import Law
from switchbench.laws.points import Center, Floats, Points

GOLDEN = (np.sqrt(5.0) - 1) / 2
SECTIONS = 60
"""Golden sections of the range of sizes: to nine digits of ln N, less than the rounding of a loss can show."""
BISECTIONS = 50
WIDEST = 25.0
"""ln N is sought within this on either side of the middle of the data."""


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best use of a training compute."""

    n: float
    """Parameters that one token meets."""
    d: float
    """Training tokens."""
    loss: float
    """The loss to be expected, nats per token."""


def compute_optimal(law: Law, internal: Floats, *, center: Center, compute: float, e: float = 1.0) -> Optimum:
    """Split a training compute best between size and tokens: minimize L(N, E, D) with 6·N·D given.

    Args:
        law: A form that depends on N and D.
        internal: Its internal parameters, (parameters,).
        center: The middle of the data that these refer to.
        compute: 6·N·D, FLOPs.
        e: Experts.
    """
    assert law.uses_tokens, "without tokens all compute goes into the size"
    log_n, log_loss = best_sizes(law, internal[None], center=center, log_compute=np.log([compute]), e=e)
    n = float(np.exp(log_n[0]))
    return Optimum(n=n, d=compute / (6 * n), loss=float(np.exp(log_loss[0])))


def compute_multiplier(law: Law, internal: Floats, *, center: Center, log_compute: float, e: float) -> Floats:
    """Give ln of the compute that a dense model needs for the loss of a sparse one, over the sparse one's, (fits,).

    Both split their compute best between size and tokens. NaN where no dense model reaches the loss.

    Args:
        law: A form that depends on N, E and D.
        internal: Internal parameters, (fits, parameters).
        center: The middle of the data.
        log_compute: ln of the sparse model's 6·N·D.
        e: Its experts.
    """
    given = np.full(len(internal), log_compute)
    target = best_sizes(law, internal, center=center, log_compute=given, e=e)[1]
    low, high = given - WIDEST, given + WIDEST
    is_reached = best_sizes(law, internal, center=center, log_compute=high, e=1.0)[1] <= target
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_worse = best_sizes(law, internal, center=center, log_compute=middle, e=1.0)[1] > target
        low, high = np.where(is_worse, middle, low), np.where(is_worse, high, middle)
    return np.where(is_reached, (low + high) / 2 - log_compute, np.nan)


def best_sizes(
    law: Law, internal: Floats, *, center: Center, log_compute: Floats, e: float, most_log_n: float = np.inf
) -> tuple[Floats, Floats]:
    """Give ln N and ln L of the best split, (fits,) each, by golden sections.

    Args:
        law: A form that depends on N and D.
        internal: Internal parameters, (fits, parameters).
        center: The middle of the data.
        log_compute: ln of 6·N·D, (fits,).
        e: Experts.
        most_log_n: ln of the largest N allowed. Loss has one minimum along N, so that beyond it the limit is best.
    """
    experts = np.array([e])

    def loss_at(x: Floats) -> Floats:
        y = log_compute - np.log(6.0) - (x + center.log_n) - center.log_d
        return law.evaluate(internal, Points(x=x[:, None], e=experts, y=y[:, None]))[0][:, 0]

    low, high = np.full(len(internal), -WIDEST), np.full(len(internal), WIDEST)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss_at(left), loss_at(right)
    for _ in range(SECTIONS):
        goes_left = at_left < at_right
        low, high = np.where(goes_left, low, left), np.where(goes_left, right, high)
        new_left, new_right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        tried = loss_at(np.where(goes_left, new_left, new_right))
        at_left, at_right = np.where(goes_left, tried, at_right), np.where(goes_left, at_left, tried)
        left, right = new_left, new_right
    middle = np.minimum((low + high) / 2, most_log_n - center.log_n)
    return middle + center.log_n, loss_at(middle)
