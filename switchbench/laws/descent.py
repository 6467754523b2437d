"""Descent: many fits at once, each by BFGS with an analytic gradient within bounds.

The inverse Hessian starts as that of Gauss and Newton (with Huber's weights), which knows the scale of every parameter:
there is nothing to tune. Where squares are summed it is taken anew in every step; elsewhere BFGS updates it. A fit
leaves the batch when nothing more is to be gained.
"""

from dataclasses import dataclass

import numpy as np

from switchbench.laws.law import Law
from switchbench.laws.losses import huber
from switchbench.laws.points import Floats, Indices, Mask, Points

LONGEST_STEP = 2.0
"""Internal parameters are logarithms and exponents: a longer step would leave the region that a gradient describes."""
SUFFICIENT = 1e-4
"""Share of the decrease that the gradient promises which a step must deliver (Armijo)."""
MOST_HALVINGS = 25
ROUNDING = 1e-32
"""Squared relative rounding of one row: less than this per row is not a decrease."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is minimized: for every fit, the weighted sum of the rows' losses."""

    law: Law
    """The form."""
    points: Points
    """Where the rows lie."""
    log_loss: Floats
    """ln of the observed loss: (rows,), the same for all fits, or (fits, rows)."""
    weights: Floats
    """How often each row counts: (rows,) or (fits, rows)."""
    turns_at: float
    """Where squares end and absolute values begin; see ``Loss``."""
    is_of_logarithms: bool = True
    """Whether residuals are of ln L; else of L."""

    def of(self, fits: Indices) -> "Problem":
        """Give the problem of some of the fits."""
        return Problem(
            law=self.law,
            points=self.points,
            log_loss=self.log_loss if self.log_loss.ndim == 1 else self.log_loss[fits],
            weights=self.weights if self.weights.ndim == 1 else self.weights[fits],
            turns_at=self.turns_at,
            is_of_logarithms=self.is_of_logarithms,
        )

    def of_rows(self, rows: Indices) -> "Problem":
        """Give the problem of some of the rows."""
        return Problem(
            law=self.law,
            points=self.points.take(rows),
            log_loss=self.log_loss[..., rows],
            weights=self.weights[..., rows],
            turns_at=self.turns_at,
            is_of_logarithms=self.is_of_logarithms,
        )

    def residuals(self, internal: Floats) -> tuple[Floats, Floats]:
        """Give the residuals, (fits, rows), and their Jacobian, (fits, rows, parameters)."""
        log_fit, jacobian = self.law.evaluate(internal, self.points)
        if self.is_of_logarithms:
            return log_fit - self.log_loss, jacobian
        fit = np.exp(log_fit)
        return fit - np.exp(self.log_loss), fit[:, :, None] * jacobian

    def value(self, internal: Floats) -> Floats:
        """Give the objective, (fits,)."""
        return np.asarray((self.weights * huber(self.residuals(internal)[0], turns_at=self.turns_at)[0]).sum(axis=1))

    def gradient(self, internal: Floats) -> tuple[Floats, Floats, Floats]:
        """Give the objective (fits,), its gradient (fits, parameters) and the rows' part of its curvature.

        The last, with shape (fits, rows, parameters), is the weighted Jacobian K with Gauss-Newton Hessian KᵀK.
        """
        residuals, jacobian = self.residuals(internal)
        losses, huber_weights = huber(residuals, turns_at=self.turns_at)
        weights = self.weights * huber_weights
        gradient = np.matmul((weights * residuals)[:, None, :], jacobian)[:, 0, :]
        return (self.weights * losses).sum(axis=1), gradient, np.sqrt(weights)[:, :, None] * jacobian


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Where descents ended."""

    internal: Floats
    """Internal parameters, (fits, parameters)."""
    value: Floats
    """The objective there, (fits,)."""
    steps: int
    """Steps of the longest."""
    has_converged: Mask
    """Whether nothing more was to be gained, (fits,)."""


def descend(
    problem: Problem,
    start: Floats,
    *,
    lower: Floats,
    upper: Floats,
    tolerance: float = 1e-14,
    most_steps: int = 400,
) -> Descent:
    """Minimize from one start per fit.

    Args:
        problem: What to minimize.
        start: (fits, parameters).
        lower: Least values, (fits, parameters); where they equal the greatest, a parameter is held.
        upper: Greatest values, (fits, parameters).
        tolerance: A fit is done when its next step promises less than this share of the objective.
        most_steps: Steps after which it ends in any case.
    """
    u = np.clip(start, lower, upper)
    state = _State.begin(problem, u, lower=lower, upper=upper)
    result_u, result_value = u.copy(), state.value.copy()
    has_converged = np.zeros(len(u), dtype=bool)
    alive = np.arange(len(u))
    is_squares = bool(np.isinf(problem.turns_at))
    floor = ROUNDING * len(problem.points.x)
    current, steps = problem.of(alive), 0
    while alive.size and steps < most_steps:
        steps += 1
        direction, promise = state.direction()
        is_flat = promise <= tolerance * state.value + floor
        # Before a fit is called done, Gauss and Newton have a last word on where it could still go.
        stale = is_flat & ~state.is_fresh
        if stale.any():
            state.refresh(stale)
            direction, promise = state.direction()
            is_flat = promise <= tolerance * state.value + floor
        moved = state.step(current, direction, promise, is_squares=is_squares)
        done = is_flat | ~moved
        result_u[alive], result_value[alive] = state.u, state.value
        if done.any():
            has_converged[alive[done]] = is_flat[done] | (state.damping[done] > 1e3)
            keep = np.flatnonzero(~done)
            alive, state = alive[keep], state.take(keep)
            current = problem.of(alive)
    return Descent(internal=result_u, value=result_value, steps=steps, has_converged=has_converged)


@dataclass(kw_only=True)
class _State:
    """Where the fits stand; changed in place, a step at a time."""

    u: Floats
    value: Floats
    gradient: Floats
    rows: Floats
    inverse: Floats
    damping: Floats
    is_fresh: Mask
    lower: Floats
    upper: Floats

    @classmethod
    def begin(cls, problem: Problem, u: Floats, *, lower: Floats, upper: Floats) -> "_State":
        value, gradient, rows = problem.gradient(u)
        fits, width = u.shape
        state = cls(
            u=u,
            value=value,
            gradient=gradient,
            rows=rows,
            inverse=np.empty((fits, width, width)),
            damping=np.full(fits, 1e-3),
            is_fresh=np.zeros(fits, dtype=bool),
            lower=np.broadcast_to(lower, u.shape),
            upper=np.broadcast_to(upper, u.shape),
        )
        state.refresh(np.ones(fits, dtype=bool))
        return state

    def take(self, keep: Indices) -> "_State":
        return _State(**{name: getattr(self, name)[keep] for name in self.__dataclass_fields__})

    def refresh(self, which: Mask) -> None:
        """Take Gauss and Newton's inverse Hessian, with a damping on the scale of each parameter."""
        rows = self.rows[which]
        hessian = np.matmul(rows.transpose(0, 2, 1), rows)
        scale = np.sqrt(np.maximum(np.einsum("fii->fi", hessian), 1e-300))
        hessian /= scale[:, :, None] * scale[:, None, :]
        free = self._free()[which]
        hessian *= free[:, :, None] & free[:, None, :]  # the others stay where they are: those that move need not wait
        width = hessian.shape[1]
        hessian[:, range(width), range(width)] += np.where(free, self.damping[which, None] + 1e-13, 1.0)
        self.inverse[which] = np.linalg.inv(hessian) / (scale[:, :, None] * scale[:, None, :])
        self.is_fresh[which] = True

    def _free(self) -> Mask:
        """Which parameters can move: not at a bound that the gradient leads across."""
        return ~(((self.u <= self.lower) & (self.gradient > 0)) | ((self.u >= self.upper) & (self.gradient < 0)))

    def direction(self) -> tuple[Floats, Floats]:
        """Where to go next, (fits, parameters), and the decrease that it promises, (fits,)."""
        free = self._free()
        gradient = np.where(free, self.gradient, 0.0)
        direction = -np.einsum("fij,fj->fi", self.inverse, gradient)
        direction = np.where(free, direction, 0.0)
        longest = np.abs(direction).max(axis=1)
        direction *= np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300))[:, None]
        return direction, -np.einsum("fi,fi->f", gradient, direction)

    def step(self, problem: Problem, direction: Floats, promise: Floats, *, is_squares: bool) -> Mask:
        """Go down along the direction, halving the step until it pays; say which fits moved."""
        fits = len(self.u)
        new_u, new_value = self.u.copy(), self.value.copy()
        pending, length, halvings = np.arange(fits), 1.0, np.zeros(fits)
        while pending.size and length > 0.5**MOST_HALVINGS:
            tried = np.clip(self.u[pending] + length * direction[pending], self.lower[pending], self.upper[pending])
            value = problem.of(pending).value(tried)
            gain = np.einsum("fi,fi->f", self.gradient[pending], tried - self.u[pending])
            pays = (value <= self.value[pending] + SUFFICIENT * gain) & (value < self.value[pending])
            taken = pending[pays]
            new_u[taken], new_value[taken] = tried[pays], value[pays]
            pending, length = pending[~pays], length / 2
            halvings[pending] += 1
        moved = np.ones(fits, dtype=bool)
        moved[pending] = False
        stuck_but_stale = ~moved & ~self.is_fresh
        old_u, old_gradient = self.u, self.gradient
        self.u = new_u
        self.value, self.gradient, self.rows = problem.gradient(new_u)
        easy = moved & (halvings == 0)
        self.damping = np.where(easy, np.maximum(self.damping / 10, 1e-15), self.damping * 4)
        if is_squares:
            self.refresh(np.ones(fits, dtype=bool))
        else:
            self._update(new_u - old_u, self.gradient - old_gradient, which=moved)
            self.refresh(stuck_but_stale)
        return moved | stuck_but_stale | (~moved & (self.damping < 1e3))

    def _update(self, step: Floats, change: Floats, *, which: Mask) -> None:
        """BFGS's update of the inverse Hessian, where the curvature along the step is positive."""
        curvature = np.einsum("fi,fi->f", step, change)
        which = which & (curvature > 1e-12 * np.linalg.norm(step, axis=1) * np.linalg.norm(change, axis=1))
        s, y, rho = step[which], change[which], 1 / curvature[which]
        inverse = self.inverse[which]
        hy = np.einsum("fij,fj->fi", inverse, y)
        cross = hy[:, :, None] * s[:, None, :]
        factor = rho * (1 + rho * np.einsum("fi,fi->f", y, hy))
        inverse += factor[:, None, None] * s[:, :, None] * s[:, None, :]
        inverse -= rho[:, None, None] * (cross + cross.transpose(0, 2, 1))
        self.inverse[which] = inverse
        self.is_fresh[which] = False
