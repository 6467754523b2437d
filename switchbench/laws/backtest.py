"""A back-test: would the law have recommended the right model, had only smaller ones been run?

The largest size is held out, the law fitted to all smaller ones, and of the runs that the size really has, dense and
sparse at the same tokens, the one with the least predicted loss is recommended. Then the next size takes its place, as
long as anything can be fitted to what is smaller.
"""

from dataclasses import dataclass

import numpy as np

from switchbench.errors import UnfittableError
from switchbench.laws.goodness import Gain, candidates, choose_law, compare_forms, hold_out_largest
from switchbench.laws.law import Law
from switchbench.laws.losses import Loss
from switchbench.laws.points import Observations
from switchbench.laws.sizes import sizes_of

MOST_TRIALS = 20
"""With more sizes than this, only the largest are held out."""
ROWS_IN_TRIALS = 200_000
"""Rows times trials at most, where there are more than two: with very many rows few trials say as much."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One size, held out with everything larger."""

    n: float
    """The size, in parameters."""
    law: Law
    """The form that was fitted to the smaller sizes."""
    fitted_rows: int
    """Runs of these."""
    rms_ln: float
    """Root of the mean square of ln L̂ - ln L of the size's runs."""
    recommended_e: float
    """Experts that were recommended; 1: dense."""
    best_e: float
    """Experts that really had the least loss, means over runs."""
    predicted_gain: float
    """What the recommended model was to gain over the dense one, nats; 0 where that is dense."""
    observed_gain: float
    """What it did gain, nats."""
    regret: float
    """Its loss minus that of the best model, nats: 0 where it is that."""
    gains: tuple[Gain, ...]
    """Of each number of experts that the size has: predicted and observed."""

    @property
    def is_best(self) -> bool:
        """Whether nothing else was better."""
        return self.recommended_e == self.best_e

    @property
    def is_right_kind(self) -> bool:
        """Whether dense was recommended where dense was better, and sparse where sparse was."""
        return (self.recommended_e == 1) == (self.best_e == 1)


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """How a way of recommending would have done."""

    trials: tuple[Trial, ...]
    """The sizes that were held out, the largest first; none: no size has dense and sparse runs, or too few remain."""

    @property
    def wrong_kind(self) -> int:
        """How often the other kind was better."""
        return sum(not trial.is_right_kind for trial in self.trials)

    @property
    def not_best(self) -> int:
        """How often anything else was better: the other kind, or another number of experts."""
        return sum(not trial.is_best for trial in self.trials)

    @property
    def mean_regret(self) -> float | None:
        """Mean regret, nats; None: no trial."""
        return float(np.mean([trial.regret for trial in self.trials])) if self.trials else None

    @property
    def worst_regret(self) -> float | None:
        """Largest regret, nats."""
        return max((trial.regret for trial in self.trials), default=None)

    @property
    def gain_error_rms(self) -> float | None:
        """Root of the mean square of predicted minus observed gain over dense, all experts of all trials, nats."""
        errors = [gain.predicted - gain.observed for trial in self.trials for gain in trial.gains]
        return float(np.sqrt(np.mean(np.square(errors)))) if errors else None

    @property
    def gain_bias(self) -> float | None:
        """Mean of predicted minus observed gain, nats: above 0, experts were promised to gain more than they did."""
        errors = [gain.predicted - gain.observed for trial in self.trials for gain in trial.gains]
        return float(np.mean(errors)) if errors else None


def backtest(observations: Observations, *, law: Law | None, loss: Loss) -> Backtest:
    """Hold out each of the largest sizes in turn, and recommend a model of it by a law fitted to the smaller ones.

    Args:
        observations: All runs.
        law: The form; None: chosen anew for every trial, by how it predicts the largest of the sizes that are left.
        loss: What is minimized.
    """
    if not (observations.experts == 1).any() or (observations.experts == 1).all():
        return Backtest(trials=())
    sizes = sizes_of(observations)
    trials = []
    most = int(np.clip(ROWS_IN_TRIALS // len(observations), 2, MOST_TRIALS))
    for size in range(sizes.number - 1, max(sizes.number - 1 - most, 0), -1):
        trial = _trial(
            observations.take(sizes.index <= size), smaller=observations.take(sizes.index < size), law=law, loss=loss
        )
        if trial is not None:
            trials.append(trial)
    return Backtest(trials=tuple(trials))


def _trial(known: Observations, *, smaller: Observations, law: Law | None, loss: Loss) -> Trial | None:
    """Hold out the largest of the known sizes; None where the rest cannot be fitted, or there is nothing to choose."""
    if law is None:
        try:
            law = choose_law(compare_forms(smaller, loss=loss)) if candidates(smaller) else None
        except UnfittableError:
            law = None
    held = None if law is None else hold_out_largest(known, law=law, loss=loss)
    if law is None or held is None or not held.gains or not (smaller.experts == 1).any():
        return None
    predicted = {1.0: 0.0} | {gain.e: gain.predicted for gain in held.gains}
    observed = {1.0: 0.0} | {gain.e: gain.observed for gain in held.gains}
    recommended, best = max(predicted, key=predicted.__getitem__), max(observed, key=observed.__getitem__)
    return Trial(
        n=held.n,
        law=law,
        fitted_rows=len(smaller),
        rms_ln=held.rms_ln,
        recommended_e=recommended,
        best_e=best,
        predicted_gain=predicted[recommended],
        observed_gain=observed[recommended],
        regret=observed[best] - observed[recommended],
        gains=held.gains,
    )
