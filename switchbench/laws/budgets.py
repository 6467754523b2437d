"""The best size, number of experts and number of tokens under a FLOPs and a memory budget, by arithmetic from a fit.

Compute is 6·N·D. Memory is bytes per parameter times all parameters, N·(base + per_expert·(E - 1)): each expert beyond
the first adds the same share of what one token meets. Activations are not in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from switchbench.caveats import Caveat, in_order
from switchbench.errors import UsageError
from switchbench.laws.derived import Measure, Place, Quantity
from switchbench.laws.fit import LawFit
from switchbench.laws.identifiability import place_caveats
from switchbench.laws.intervals import Interval, IntervalMethod, evaluate, intervals
from switchbench.laws.optima import WIDEST, best_sizes
from switchbench.laws.points import Floats, Mask, Observations
from switchbench.laws.resampling import Grouping, Resamples

BYTES_PER_PARAMETER = 16.0
"""A float32 weight, its gradient and AdamW's two moments."""
USUAL_SHARE = 1 / 3
"""What an expert adds, over what one token meets, where every other feed-forward layer is sparse and d_ff = 4 d_model:
half of the two thirds of the weights that are in feed-forward layers."""


@dataclass(frozen=True, kw_only=True)
class TotalParameters:
    """All parameters of a model, N·(base + per_expert·(E - 1))."""

    base: float
    """Of a dense model, over N: what N leaves out, such as an embedding table."""
    per_expert: float
    """What each expert beyond the first adds, over N."""
    is_measured: bool
    """Whether the two are those of the runs; else ``USUAL_SHARE``."""

    def over_n(self, e: float) -> float:
        """Give all parameters over N."""
        return self.base + self.per_expert * (e - 1)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What training may take."""

    flops: float
    """6·N·D at most."""
    memory_bytes: float | None = None
    """Bytes at most; None: any."""
    bytes_per_parameter: float = BYTES_PER_PARAMETER
    """Bytes that every parameter takes, be it of an expert or not."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """The best model with a number of experts."""

    e: float
    """Experts; 1: dense."""
    n: Interval
    """Parameters that one token meets."""
    d: Interval
    """Training tokens."""
    loss: Interval
    """The loss to be expected, nats per token."""
    total_params: float
    """All its parameters."""
    memory_bytes: float
    """What these take."""
    is_memory_bound: bool
    """Whether a larger model would be better, and does not fit."""
    best_share: float | None
    """Share of the resamples in which it is the best of all options; None: no resamples."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


@dataclass(frozen=True, kw_only=True)
class BudgetAnswer:
    """What to train under a budget."""

    budget: Budget
    """What training may take."""
    total: TotalParameters
    """How all parameters follow from N and E."""
    fixed_d: float | None
    """The tokens that all options are trained on, where the law does not depend on them; None: each on the best."""
    options: tuple[Option, ...]
    """The best model with each number of experts that the runs have, fewest experts first."""

    @property
    def best(self) -> Option:
        """The option with the least loss."""
        return min(self.options, key=lambda option: option.loss.value)


def total_parameters(observations: Observations, total: Floats | None) -> TotalParameters:
    """Find out how all parameters follow from N and E.

    Args:
        observations: The runs.
        total: All parameters of each, NaN where not known; None: of none.
    """
    n, extra = observations.n, observations.experts - 1
    if total is None or not np.isfinite(total).any():
        return TotalParameters(base=1.0, per_expert=USUAL_SHARE, is_measured=False)
    # Tables and routers take a smaller share of larger models, which are nearer to what is asked for.
    is_known = np.isfinite(total)
    is_large = is_known & (n >= n[is_known].max() / 2)
    is_dense, is_sparse = is_known & (extra == 0), is_known & (extra > 0)
    base = _median(total / n, is_large & is_dense, is_dense)
    per_expert = _median((total / n - base) / np.maximum(extra, 1), is_large & is_sparse, is_sparse)
    if per_expert <= 0:  # all are dense
        per_expert = USUAL_SHARE
    return TotalParameters(base=base, per_expert=per_expert, is_measured=bool(is_sparse.any() or not extra.any()))


def best_under_budget(
    fit: LawFit,
    budget: Budget,
    *,
    total: TotalParameters,
    grouping: Grouping,
    resamples: Resamples | None,
    method: IntervalMethod,
) -> BudgetAnswer:
    """Give the best model with each number of experts that the runs have, under a budget.

    Where the law does not depend on tokens, all are trained on as many as the runs were.

    Args:
        fit: The fit.
        budget: What training may take.
        total: How all parameters follow from N and E.
        grouping: Which rows vary together.
        resamples: Fits of resampled data; None: none.
        method: The kind of interval.

    Raises:
        UsageError: the law does not depend on tokens, and the rows do not say how many there were.
    """
    rows, fixed_d = fit.observations, None
    if not fit.law.uses_tokens:
        if rows.d is None:
            raise UsageError(
                f"--budget: {fit.law.name} does not depend on training tokens, and no column is known to hold them: "
                "name it with --columns d=COLUMN, or a number as d=1e9 where all runs had as many"
            )
        fixed_d = float(rows.d.max())
    experts = [float(e) for e in np.unique(rows.experts)] if fit.law.uses_experts else [1.0]
    quantities = [each for e in experts for each in _quantities(e, budget=budget, total=total, fixed_d=fixed_d)]
    found = intervals(fit, quantities, grouping=grouping, resamples=resamples, method=method)
    shares = _best_shares(fit, quantities[2::3], resamples)
    return BudgetAnswer(
        budget=budget,
        total=total,
        fixed_d=fixed_d,
        options=tuple(
            _option(fit, e, found[3 * i : 3 * i + 3], budget=budget, total=total, best_share=shares[i])
            for i, e in enumerate(experts)
        ),
    )


def _option(
    fit: LawFit,
    e: float,
    found: Sequence[Interval],
    *,
    budget: Budget,
    total: TotalParameters,
    best_share: float | None,
) -> Option:
    n, d, loss = found
    caveats = place_caveats(fit.observations, Place(n=n.value, e=e, d=d.value), dense_equivalent=None)
    is_unbounded = abs(np.log(n.value) - fit.center.log_n) > WIDEST - 0.1
    most = _most_n(e, budget=budget, total=total)
    return Option(
        e=e,
        n=n,
        d=d,
        loss=loss,
        total_params=n.value * total.over_n(e),
        memory_bytes=n.value * total.over_n(e) * budget.bytes_per_parameter,
        is_memory_bound=n.value >= most * (1 - 1e-9),
        best_share=best_share,
        caveats=in_order([*caveats, *([Caveat.AT_BOUND] if is_unbounded else [])]),
    )


def _quantities(
    e: float, *, budget: Budget, total: TotalParameters, fixed_d: float | None
) -> tuple[Quantity, Quantity, Quantity]:
    """N, D and the loss of the best model with so many experts."""
    most, log_flops = _most_n(e, budget=budget, total=total), float(np.log(budget.flops))

    def best(fit: LawFit, internal: Floats) -> tuple[Floats, Floats, Floats]:
        if fixed_d is None:
            log_n, log_loss = best_sizes(
                fit.law,
                internal,
                center=fit.center,
                log_compute=np.full(len(internal), log_flops),
                e=e,
                most_log_n=float(np.log(most)),
            )
            return log_n, log_flops - np.log(6.0) - log_n, log_loss
        n = min(budget.flops / (6 * fixed_d), most)
        points = fit.center.points(n=np.array([n]), e=np.array([e]))
        same = np.ones(len(internal))
        return np.log(n) * same, np.log(fixed_d) * same, fit.law.evaluate(internal, points)[0][:, 0]

    return (
        _quantity("optimal_params", "parameters", lambda fit, internal: best(fit, internal)[0]),
        _quantity("optimal_tokens", "tokens", lambda fit, internal: best(fit, internal)[1]),
        _quantity("prediction", "nats per token", lambda fit, internal: best(fit, internal)[2]),
    )


def _quantity(measure: Measure, unit: str, evaluate: Callable[[LawFit, Floats], Floats]) -> Quantity:
    return Quantity(measure=measure, name=measure, unit=unit, is_log=True, evaluate=evaluate)


def _most_n(e: float, *, budget: Budget, total: TotalParameters) -> float:
    if budget.memory_bytes is None:
        return float("inf")
    return budget.memory_bytes / (budget.bytes_per_parameter * total.over_n(e))


def _best_shares(fit: LawFit, losses: Sequence[Quantity], resamples: Resamples | None) -> list[float] | list[None]:
    if resamples is None:
        return [None] * len(losses)
    best = np.argmin(evaluate(fit, losses, resamples.internal), axis=1)
    return [float(np.mean(best == i)) for i in range(len(losses))]


def _median(values: Floats, *choices: Mask) -> float:
    """Give the median of the first choice of rows that has any; 1 where none has."""
    chosen = next((values[choice] for choice in choices if choice.any()), np.ones(1))
    return float(np.median(chosen))
