"""Where a law is evaluated: parameters, experts and tokens, in centered logarithms.

Logarithms are taken around the middle of the data, so that the coefficients and the exponents of a law can be told
apart numerically: ``x = ln(N / N0)``, ``y = ln(D / D0)`` with N0 and D0 the geometric means of the fitted rows.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Center:
    """The middle of the data."""

    log_n: float
    """ln N0, N in parameters."""
    log_d: float
    """ln D0, D in tokens; 0 where the tokens are not known."""

    def points(self, *, n: Floats, e: Floats | None = None, d: Floats | None = None) -> "Points":
        """Place runs around this center.

        Args:
            n: Parameters that one token meets.
            e: Experts; None: dense, one each.
            d: Training tokens; None: not known, taken as D0.
        """
        n = np.asarray(n, dtype=np.float64)
        experts = np.ones_like(n) if e is None else np.asarray(e, dtype=np.float64)
        y = np.zeros_like(n) if d is None else np.log(np.asarray(d, dtype=np.float64)) - self.log_d
        return Points(x=np.log(n) - self.log_n, e=experts, y=y)


@dataclass(frozen=True, kw_only=True)
class Points:
    """Places at which a law is evaluated, one per run."""

    x: Floats
    """ln(N / N0), shape (rows,)."""
    e: Floats
    """Experts, shape (rows,)."""
    y: Floats
    """ln(D / D0), shape (rows,)."""
    e_values: Floats = field(init=False)
    """The different numbers of experts, ascending."""
    e_index: Indices = field(init=False)
    """Which of them each row has."""

    def __post_init__(self) -> None:
        values, index = np.unique(self.e, return_inverse=True)
        object.__setattr__(self, "e_values", values)
        object.__setattr__(self, "e_index", index.reshape(-1))

    def take(self, rows: Indices) -> "Points":
        """Give some of the places."""
        return Points(x=self.x[rows], e=self.e[rows], y=self.y[rows])


@dataclass(frozen=True, kw_only=True)
class Observations:
    """The runs that a law is fitted to."""

    n: Floats
    """Parameters that one token meets, N; positive."""
    loss: Floats
    """Held-out loss in nats per token; positive."""
    e: Floats | None = None
    """Experts, E, 1 where dense; None: all are dense."""
    d: Floats | None = None
    """Training tokens, D; None: not known, or the same for all."""
    seed: NDArray[np.int64] | None = None
    """Seeds; None: not known."""
    group: NDArray[np.int64] | None = None
    """The group that each row is resampled with, where the caller names one."""

    def __post_init__(self) -> None:
        for name in ("n", "loss", "e", "d"):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.asarray(values, dtype=np.float64)
            assert values.shape == np.shape(self.n), name
            assert np.all(np.isfinite(values) & (values > 0)), f"{name} is to be positive and finite"
            object.__setattr__(self, name, values)
        assert self.e is None or np.all(self.e >= 1), "a dense model has one expert"

    def __len__(self) -> int:
        return len(self.n)

    @property
    def experts(self) -> Floats:
        """Experts of each row, with 1 where nothing is known."""
        return np.ones(len(self)) if self.e is None else self.e

    @property
    def log_loss(self) -> Floats:
        """ln of the loss."""
        return np.log(self.loss)

    @property
    def center(self) -> Center:
        """The geometric means of N and D."""
        return Center(
            log_n=float(np.mean(np.log(self.n))),
            log_d=0.0 if self.d is None else float(np.mean(np.log(self.d))),
        )

    def take(self, rows: Indices | Mask) -> "Observations":
        """Give some of the rows."""
        return Observations(
            n=self.n[rows],
            loss=self.loss[rows],
            e=None if self.e is None else self.e[rows],
            d=None if self.d is None else self.d[rows],
            seed=None if self.seed is None else self.seed[rows],
            group=None if self.group is None else self.group[rows],
        )
