"""What a fit minimizes: a sum over rows, never a mean, so that its value does not depend on their number."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from switchbench.errors import UsageError
from switchbench.laws.points import Floats

LossKind = Literal["huber", "lad", "mse-log", "lsq"]
LOSS_KINDS: tuple[LossKind, ...] = get_args(LossKind)
DEFAULT_DELTA = 1e-3
"""Where Huber's loss turns from squares to absolute values, in nats of log loss: what Chinchilla's authors use."""
SMALLEST_DELTA = 1e-5
"""Absolute deviations are rounded off below this: differences in loss that nobody measures."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The deviation of one row, and what is summed over rows.

    With r = ln L̂ - ln L: ``huber`` r²/2 up to delta and delta·(|r| - delta/2) beyond; ``lad`` |r|; ``mse-log`` r²;
    ``lsq`` (L̂ - L)².
    """

    kind: LossKind
    """Which."""
    delta: float | None = None
    """Of ``huber``, where squares end; None for the others."""

    def __str__(self) -> str:
        return self.kind if self.delta is None else f"{self.kind}:{self.delta:g}"

    @property
    def is_squares(self) -> bool:
        """Whether it is a sum of squares."""
        return self.kind in ("mse-log", "lsq")

    @property
    def is_of_logarithms(self) -> bool:
        """Whether deviations are those of ln L."""
        return self.kind != "lsq"

    @property
    def turns_at(self) -> float:
        """Where squares end and absolute values begin; infinity for squares."""
        if self.is_squares:
            return float("inf")
        return SMALLEST_DELTA if self.delta is None else self.delta

    def scaled(self, smooth_sum: float) -> float:
        """Give the objective as it is defined, from the sum that the fitter minimizes."""
        if self.kind == "huber":
            return smooth_sum
        return 2 * smooth_sum if self.is_squares else smooth_sum / self.turns_at


def parse_loss(text: str) -> Loss:
    """Read a loss as it is written on the command line: ``huber:1e-3``, ``huber``, ``lad``, ``mse-log`` or ``lsq``.

    Raises:
        UsageError: it is none of these, or delta is out of range.
    """
    kind, _, given = text.partition(":")
    if kind not in LOSS_KINDS or (given and kind != "huber"):
        raise UsageError(
            f"--loss {text!r} is not known; it is one of huber:DELTA (such as huber:1e-3), {', '.join(LOSS_KINDS[1:])}"
        )
    if kind != "huber":
        return Loss(kind=kind)
    try:
        delta = float(given) if given else DEFAULT_DELTA
    except ValueError:
        delta = float("nan")
    if not SMALLEST_DELTA <= delta <= 1e3:
        raise UsageError(f"--loss {text!r}: delta is to be a number from {SMALLEST_DELTA:g} to 1000, such as 1e-3")
    return Loss(kind=kind, delta=delta)


DEFAULT_LOSS = Loss(kind="mse-log")
"""Squares of ln L: nothing is more precise where no run is an outlier, and intervals by formula exist for them."""
ROBUST_LOSS = Loss(kind="huber", delta=DEFAULT_DELTA)
"""Shown beside squares: where the two disagree, a few runs decide."""


def huber(residuals: Floats, *, turns_at: float) -> tuple[Floats, Floats]:
    """Give Huber's loss of residuals and the weight w with derivative = w·residual; in the squares' part w = 1."""
    size = np.abs(residuals)
    if np.isinf(turns_at):
        return residuals * residuals / 2, np.ones_like(residuals)
    weight = turns_at / np.maximum(size, turns_at)
    return weight * size * (size - weight * size / 2), weight
