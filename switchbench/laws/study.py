"""A law fitted to runs with everything that is to be said of it: intervals, what follows from it, and its caveats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from switchbench.caveats import in_order
from switchbench.laws.backtest import Backtest, backtest
from switchbench.laws.derived import (
    Place,
    Quantity,
    derived_quantities,
    parameter_quantities,
    prediction,
    worth_of_experts,
)
from switchbench.laws.fit import LawFit, fit_law
from switchbench.laws.goodness import Goodness, Rival, choose_law, compare_forms, judge, law_of
from switchbench.laws.identifiability import Identifiability, doubt, place_caveats
from switchbench.laws.intervals import Interval, IntervalMethod, choose_method, evaluate, intervals
from switchbench.laws.law import LawName
from switchbench.laws.losses import DEFAULT_LOSS, ROBUST_LOSS, Loss
from switchbench.laws.points import Observations
from switchbench.laws.requirements import require_enough
from switchbench.laws.resampling import GroupBy, Grouping, Resamples, group_rows, resample, resamples_for

MOST_ROWS_FOR_RIVALS = 5000
"""Beside the form that was asked for, others are fitted to no more rows than this: they would take the longest."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A number that follows from a fit, and how sure it is."""

    quantity: Quantity
    """What it is."""
    interval: Interval
    """Its value and interval."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


@dataclass(frozen=True, kw_only=True)
class FitStudy:
    """A fit with everything that is to be said of it."""

    fit: LawFit
    """The fit."""
    beside: LawFit | None
    """The same law with the other kind of loss: absolute values beside squares, and squares beside anything else; None:
    nothing was to be fitted beside."""
    grouping: Grouping
    """Which rows vary together."""
    method: IntervalMethod
    """The kind of interval."""
    resamples: Resamples | None
    """Fits of resampled data; None: none were asked for."""
    parameters: tuple[Answer, ...]
    """The law's parameters, in their order."""
    derived: tuple[Answer, ...]
    """What people use of them."""
    goodness: Goodness
    """How good the fit is."""
    identifiability: Identifiability
    """What the data do not pin down."""
    rivals: tuple[Rival, ...]
    """All forms that can be fitted to these rows, the best prediction of the largest size first; none where nothing was
    to be fitted beside, or rows are very many."""
    is_chosen: bool
    """Whether the form was chosen among them."""
    backtest: Backtest
    """How recommendations of this kind would have done; with a chosen form, it is chosen anew in every trial."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust the whole fit."""


def study_law(
    observations: Observations,
    *,
    law: LawName | None,
    loss: Loss = DEFAULT_LOSS,
    group_by: GroupBy | None = None,
    resamples: int | None = None,
    seed: int = 0,
    places: Sequence[Place] = (),
    is_alone: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> FitStudy:
    """Fit a law, and find out how sure everything about it is.

    Args:
        observations: The runs.
        law: The form; None: the one that predicts the largest size best.
        loss: What to minimize.
        group_by: Which rows vary together; None: as the data have it.
        resamples: Of the bootstrap, 0 for none; None: 1000, or fewer where rows are very many.
        seed: Of the bootstrap's generator.
        places: Where to predict the loss besides.
        is_alone: Whether nothing is fitted beside a law that was asked for: no other form, and no other kind of loss.
        on_progress: Takes the share of the resamples that is done.

    Raises:
        UnfittableError: the runs do not determine the law.
    """
    rivals: list[Rival] = []
    if law is not None:
        require_enough(law_of(law, observations), observations)
    is_large = len(observations) > MOST_ROWS_FOR_RIVALS
    if law is None or not (is_large or is_alone):
        rivals = compare_forms(observations, loss=loss)
    if law is None and not rivals and len(observations) > 1:
        require_enough(law_of("power", observations), observations)  # which says what these rows lack
    form = choose_law(rivals) if law is None else law_of(law, observations)
    fit = fit_law(observations, law=form, loss=loss)
    grouping = group_rows(observations, by=group_by)
    number = resamples_for(len(observations), asked=resamples)
    drawn = None
    if number >= 2 and grouping.number > 1:
        drawn = resample(fit, grouping=grouping, resamples=number, seed=seed, on_progress=on_progress)
    method = choose_method(fit, grouping)
    if method == "percentile" and drawn is None:
        method = "cluster_t" if loss.is_squares else "jackknife_t"
    own = parameter_quantities(form)
    derived = [*derived_quantities(fit), *(prediction(place) for place in places)]
    found = intervals(fit, [*own, *derived], grouping=grouping, resamples=drawn, method=method)
    known = doubt(fit, intervals=found[: len(own)], grouping=grouping, resamples=drawn)
    other = ROBUST_LOSS if loss.is_squares else DEFAULT_LOSS
    return FitStudy(
        fit=fit,
        beside=None if is_alone else fit_law(observations, law=form, loss=other),
        grouping=grouping,
        method=method,
        resamples=drawn,
        parameters=tuple(
            Answer(quantity=quantity, interval=interval, caveats=in_order(each.caveats))
            for quantity, interval, each in zip(own, found, known.parameters, strict=False)
        ),
        derived=tuple(
            Answer(quantity=quantity, interval=interval, caveats=_caveats_of(fit, quantity))
            for quantity, interval in zip(derived, found[len(own) :], strict=True)
        ),
        goodness=judge(fit),
        identifiability=known,
        rivals=tuple(rivals),
        is_chosen=law is None,
        backtest=backtest(observations, law=form if law is not None or is_large else None, loss=loss),
        caveats=in_order(known.caveats),
    )


def _caveats_of(fit: LawFit, quantity: Quantity) -> tuple[str, ...]:
    place = quantity.place
    equivalent = None
    if place is not None and quantity.measure not in ("prediction", "parameter"):
        n_bar = worth_of_experts(place, measure="dense_equivalent_params")
        equivalent = float(np.exp(evaluate(fit, [n_bar], fit.internal[None])[0, 0]))
    caveats = place_caveats(fit.observations, place, dense_equivalent=equivalent)
    if quantity.measure == "crossover_params":
        value = float(np.exp(evaluate(fit, [quantity], fit.internal[None])[0, 0]))
        caveats = place_caveats(fit.observations, Place(n=value), dense_equivalent=None)
    return in_order(caveats or [])
