"""The best size and the best number of tokens for a training compute of 6·N·D, by arithmetic from a fitted law."""

from dataclasses import dataclass

import numpy as np

from switchbench.laws.law import Law
from switchbench.laws.points import Center, Floats, Points

STEPS = np.linspace(0.0, 1.0, 17)
"""Sizes that are tried at once, as shares of the range that is left."""
ROUNDS = 14
"""Of tries, each an eighth of the range before: to nine digits of ln N, less than the rounding of a loss can show."""
SECANTS = 50
CLOSE = 1e-10
"""ln of the compute is found once it moves by less."""
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

    def excess(log_budget: Floats) -> Floats:
        return best_sizes(law, internal, center=center, log_compute=log_budget, e=1.0)[1] - target

    low, high = given - WIDEST, given + WIDEST
    at_low, at_high = excess(low), excess(high)
    is_reached, middle, was_worse = (at_high <= 0) & (at_low >= 0), given, np.zeros(len(given))
    for _ in range(SECANTS):
        # Where the chord meets 0; an end that stays twice counts half (the Illinois rule), so that both ends move in.
        previous = middle
        with np.errstate(all="ignore"):
            middle = np.where(at_low > at_high, (low * at_high - high * at_low) / (at_high - at_low), (low + high) / 2)
        middle = np.clip(middle, low, high)
        at_middle = excess(middle)
        is_worse = np.where(at_middle > 0, 1, -1)
        half = np.where(is_worse == was_worse, 0.5, 1.0)
        low, at_low = np.where(is_worse > 0, (middle, at_middle), (low, half * at_low))
        high, at_high = np.where(is_worse > 0, (high, half * at_high), (middle, at_middle))
        was_worse = is_worse
        if np.abs(middle - previous)[is_reached].max(initial=0.0) < CLOSE:
            break
    return np.where(is_reached, middle - log_compute, np.nan)


def best_sizes(
    law: Law, internal: Floats, *, center: Center, log_compute: Floats, e: float, most_log_n: float = np.inf
) -> tuple[Floats, Floats]:
    """Give ln N and ln L of the best split, (fits,) each, on ever finer grids.

    Args:
        law: A form that depends on N and D.
        internal: Internal parameters, (fits, parameters).
        center: The middle of the data.
        log_compute: ln of 6·N·D, (fits,).
        e: Experts.
        most_log_n: ln of the largest N allowed. Loss has one minimum along N, so that beyond it the limit is best.
    """

    def loss_at(x: Floats) -> Floats:
        y = log_compute[:, None] - np.log(6.0) - (x + center.log_n) - center.log_d
        return law.evaluate(internal, Points(x=x, e=np.full(x.shape[1], e), y=y))[0]

    low, high = np.full(len(internal), -WIDEST), np.full(len(internal), WIDEST)
    for _ in range(ROUNDS):
        tried = low[:, None] + (high - low)[:, None] * STEPS
        least = np.argmin(loss_at(tried), axis=1)
        width = (high - low) / (len(STEPS) - 1)
        low, high = (
            np.maximum(low, low + (least - 1) * width),
            np.minimum(high, low + (least + 1) * width),
        )
    middle = np.minimum((low + high) / 2, most_log_n - center.log_n)
    return middle + center.log_n, loss_at(middle[:, None])[:, 0]
