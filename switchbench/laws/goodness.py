"""How good a fit is: first where it matters, on sizes that it has not seen; R² last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from switchbench.errors import UnfittableError
from switchbench.laws.experts import saturates
from switchbench.laws.fit import LawFit, fit_law, refit
from switchbench.laws.forms import form_named
from switchbench.laws.identifiability import cells_of
from switchbench.laws.law import LAW_NAMES, Law, LawName
from switchbench.laws.losses import Loss
from switchbench.laws.points import Floats, Mask, Observations
from switchbench.laws.requirements import require_enough
from switchbench.laws.sizes import sizes_of

MOST_PARTS = 50
"""With more sizes than this, neighboring ones are left out together."""
ROWS_IN_PARTS = 500_000
"""Rows times parts at most, where there are more than five: with very many rows few parts say as much."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What experts gain over a dense model of the held-out size."""

    e: float
    """Experts."""
    predicted: float
    """As the law has it that was fitted without this size, nats."""
    observed: float
    """As it was, means over runs, nats."""
    predicted_ln: float
    """The same in ln L, the unit of the other deviations."""
    observed_ln: float
    """The same in ln L."""


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """The largest size, predicted by a fit without it."""

    n: float
    """The size, in parameters."""
    rows: int
    """Its runs."""
    rms_ln: float
    """Root of the mean square of ln L̂ - ln L."""
    mean_ln: float
    """Its mean: above 0, losses were predicted too high."""
    gains: tuple[Gain, ...]
    """Of each number of experts that the size has, where it has dense runs as well."""


@dataclass(frozen=True, kw_only=True)
class Goodness:
    """How good a fit is."""

    rms_ln: float
    """Root of the mean square of ln L̂ - ln L."""
    seed_sd_ln: float | None
    """Standard deviation of ln L between runs of one configuration, pooled; None: none was run twice."""
    leave_one_size_out_rms_ln: float | None
    """Root of the mean square of ln L̂ - ln L, each size predicted by a fit without it; None: too few sizes."""
    hold_out: HoldOut | None
    """The largest size, held out; None: without it nothing can be fitted."""
    aicc: float | None
    """Akaike's criterion, corrected for few rows, of normal errors in ln L; None: too few rows."""
    r2: float
    """Share of the variance of ln L that is explained: close to 1 for any curve that falls."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another form on the same rows."""

    law: Law
    """The form."""
    num_parameters: int
    """Its parameters."""
    goodness: Goodness
    """How good it is."""


def judge(fit: LawFit) -> Goodness:
    """Say how good a fit is."""
    rows = fit.observations
    residuals, width = fit.residuals, len(fit.internal)
    spread = float(((rows.log_loss - rows.log_loss.mean()) ** 2).sum())
    return Goodness(
        rms_ln=fit.rms,
        seed_sd_ln=seed_spread(rows),
        leave_one_size_out_rms_ln=_leave_one_size_out(fit),
        hold_out=hold_out_largest(rows, law=fit.law, loss=fit.loss),
        aicc=aicc(residuals, num_parameters=width),
        r2=1 - float((residuals**2).sum()) / spread,
    )


def hold_out_largest(observations: Observations, *, law: Law, loss: Loss) -> HoldOut | None:
    """Predict the runs of the largest size with a fit to all others.

    Args:
        observations: All runs.
        law: The form.
        loss: What is minimized.
    """
    sizes = sizes_of(observations)
    is_largest = sizes.index == sizes.number - 1
    held = observations.take(is_largest)
    try:
        fit = fit_law(observations.take(~is_largest), law=law, loss=loss)
    except UnfittableError:
        return None
    predicted = fit.predict(n=held.n, e=held.e, d=held.d)
    errors = np.log(predicted) - held.log_loss
    return HoldOut(
        n=float(sizes.values[-1]),
        rows=len(held),
        rms_ln=float(np.sqrt(np.mean(errors**2))),
        mean_ln=float(errors.mean()),
        gains=_gains(held, predicted),
    )


def aicc(residuals: Floats, *, num_parameters: int) -> float | None:
    """Give Akaike's criterion with its correction for few rows, n·ln(Σr²/n) + 2k + 2k(k+1)/(n-k-1).

    k counts the law's parameters and the variance. Only differences between forms on the same rows mean anything.

    Args:
        residuals: Of ln L.
        num_parameters: Of the law.

    Source:
        Hurvich and Tsai 1989.
    """
    n, k = len(residuals), num_parameters + 1
    squares = float((residuals**2).sum())
    if n - k - 1 <= 0 or squares <= 0:
        return None
    return n * float(np.log(squares / n)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def seed_spread(observations: Observations) -> float | None:
    """Give the standard deviation of ln L between runs of one configuration, pooled; None: none was run twice."""
    cells, counts = cells_of(observations)
    freedom = int((counts - 1).sum())
    if freedom == 0:
        return None
    means = np.bincount(cells, weights=observations.log_loss) / counts
    return float(np.sqrt(((observations.log_loss - means[cells]) ** 2).sum() / freedom))


def candidates(observations: Observations) -> list[Law]:
    """Give all forms that can be fitted to runs, with and without saturation of Ê where the runs can show it.

    A form that does not depend on what the runs differ in is none, unless no other can be fitted.
    """
    forms = _fittable(observations)
    varying_e = len(np.unique(observations.experts)) > 1
    varying_d = observations.d is not None and len(np.unique(observations.d)) > 1
    strict = [law for law in forms if law.uses_experts >= varying_e and law.uses_tokens >= varying_d]
    return strict or forms


def _fittable(observations: Observations) -> list[Law]:
    forms = []
    is_wide = saturates(observations.experts)
    for name in LAW_NAMES:
        for saturating in (True, False) if is_wide else (False,):
            law = form_named(name, saturating=saturating)
            if not law.uses_experts and saturating != is_wide:
                continue
            try:
                require_enough(law, observations)
            except UnfittableError:
                continue
            forms.append(law)
    return forms


def compare_forms(observations: Observations, *, loss: Loss, laws: Sequence[Law] | None = None) -> list[Rival]:
    """Fit several forms to the same runs, the best prediction of the largest size first.

    Where none can be held out, the one with the least AICc comes first.

    Args:
        observations: The runs.
        loss: What is minimized.
        laws: The forms; None: all that can be fitted.
    """
    rivals = []
    for law in candidates(observations) if laws is None else laws:
        fit = fit_law(observations, law=law, loss=loss)
        rivals.append(Rival(law=law, num_parameters=len(fit.internal), goodness=judge(fit)))
    return sorted(rivals, key=_rank)


def choose_law(rivals: Sequence[Rival]) -> Law:
    """Give the form that predicts the largest size best."""
    if not rivals:
        raise UnfittableError(
            "no law can be fitted to these rows: even the power law needs two sizes and two rows. Add runs, or check "
            "the columns and the filter."
        )
    return rivals[0].law


def law_of(name: LawName, observations: Observations) -> Law:
    """Give a form by name, Ê saturating where the runs can show it."""
    return form_named(name, saturating=saturates(observations.experts))


def _rank(rival: Rival) -> tuple[bool, float, float]:
    held, least = rival.goodness.hold_out, rival.goodness.aicc
    return held is None, held.rms_ln if held else 0.0, least if least is not None else np.inf


def _leave_one_size_out(fit: LawFit) -> float | None:
    sizes = sizes_of(fit.observations)
    index = sizes.index
    if sizes.number < 4:
        return None
    most = int(np.clip(ROWS_IN_PARTS // len(index), 5, MOST_PARTS))
    if sizes.number > most:
        index = index * most // sizes.number
    parts = int(index.max()) + 1
    weights = (index != np.arange(parts)[:, None]).astype(np.float64)
    found = refit(fit, weights=weights, tolerance=1e-10)
    errors = fit.log_predictions(found.internal)[index, np.arange(len(index))] - fit.observations.log_loss
    return float(np.sqrt(np.mean(errors**2)))


def _gains(held: Observations, predicted: Floats) -> tuple[Gain, ...]:
    """Compare gains at the tokens that most runs of the size share."""
    if held.d is not None:
        values, counts = np.unique(held.d, return_counts=True)
        chosen = held.d == values[len(values) - 1 - int(np.argmax(counts[::-1]))]
        held, predicted = held.take(chosen), predicted[chosen]
    is_dense = held.experts == 1
    if not is_dense.any():
        return ()
    gains = []
    for e in np.unique(held.experts[~is_dense]):
        rows = held.experts == e

        def gain(values: Floats, rows: Mask = rows) -> float:
            return float(values[is_dense].mean() - values[rows].mean())

        gains.append(
            Gain(
                e=float(e),
                predicted=gain(predicted),
                observed=gain(held.loss),
                predicted_ln=gain(np.log(predicted)),
                observed_ln=gain(held.log_loss),
            )
        )
    return tuple(gains)
