"""The best model under a budget: published optima, and a search over all models that fit."""

import numpy as np
import pytest

from switchbench.errors import UsageError
from switchbench.laws import (
    Budget,
    BudgetAnswer,
    LawFit,
    Observations,
    best_under_budget,
    fit_law,
    group_rows,
    resample,
    total_parameters,
)
from tests.laws.made_up import TYPICAL, grid, observed, plain_loss, unsaturated

SHARE = 0.3


def answer(fit: LawFit, budget: Budget, *, total: np.ndarray | None = None, resamples: int = 0) -> BudgetAnswer:
    grouping = group_rows(fit.observations)
    drawn = resample(fit, grouping=grouping, resamples=resamples, seed=0) if resamples else None
    return best_under_budget(
        fit,
        budget,
        total=total_parameters(fit.observations, total),
        grouping=grouping,
        resamples=drawn,
        method="cluster_t",
    )


def fit_to(name: str, experts: list[float], *, noise: float = 0.0) -> LawFit:
    values = TYPICAL[name] if len(experts) > 3 else unsaturated(TYPICAL[name])  # type: ignore[index]
    columns = grid(np.geomspace(1e7, 2e9, 6), experts, (1e9, 6e9, 4e10, 3e11))
    generator = np.random.default_rng(0)
    return fit_law(observed(name, values, columns, noise=noise, generator=generator), law=name)  # type: ignore[arg-type]


def test_the_published_optima_of_joint_moe_from_runs_that_follow_it():
    """Printed by its authors, to about two digits: N and D under 1e20 FLOPs, by experts."""
    found = answer(fit_to("joint-moe", [1.0, 2.0, 8.0, 32.0, 128.0]), Budget(flops=1e20))
    options = {option.e: (option.n.value, option.d.value) for option in found.options}
    for e, (n, d) in {1: (1.7e9, 9.7e9), 8: (990e6, 17e9), 32: (669e6, 24.9e9)}.items():
        assert options[e] == (pytest.approx(n, rel=0.02), pytest.approx(d, rel=0.02))
    assert all(option.n.value * option.d.value * 6 == pytest.approx(1e20) for option in found.options)


@pytest.mark.parametrize("memory", [None, 4e10, 4e11])
def test_nothing_that_fits_is_better(memory: float | None):
    experts = [1.0, 8.0, 32.0, 128.0]
    fit = fit_to("routed-data", experts)
    total = fit.observations.n * (1 + SHARE * (fit.observations.experts - 1))
    budget = Budget(flops=1e21, memory_bytes=memory)
    found = answer(fit, budget, total=total)
    n = np.geomspace(1e7, 1e11, 40_001)
    for option in found.options:
        sizes = n if memory is None else n[16 * n * (1 + SHARE * (option.e - 1)) <= memory]
        losses = plain_loss(
            "routed-data", TYPICAL["routed-data"], n=sizes, e=np.full(len(sizes), option.e), d=1e21 / (6 * sizes)
        )
        assert option.loss.value == pytest.approx(losses.min(), rel=1e-5)
        assert option.n.value == pytest.approx(sizes[np.argmin(losses)], rel=2e-3)
        assert option.is_memory_bound == (memory is not None and np.argmin(losses) == len(sizes) - 1)
        assert option.total_params == pytest.approx(option.n.value * (1 + SHARE * (option.e - 1)))
        assert option.memory_bytes == pytest.approx(16 * option.total_params)
        assert memory is None or option.memory_bytes <= memory * (1 + 1e-9)
    assert found.best.loss.value == min(option.loss.value for option in found.options)
    if memory == 4e10:  # so little memory that experts leave too little of each
        assert found.best.e < 128


def test_doubt_is_given_with_the_optimum():
    fit = fit_to("routed-data", [1.0, 4.0, 8.0], noise=0.003)
    found = answer(fit, Budget(flops=1e20), resamples=60)
    for option in found.options:
        assert option.n.ci95 is not None
        assert option.n.ci95[0] < option.n.value < option.n.ci95[1]
        assert option.loss.ci95 is not None
        assert option.caveats == ()
    assert sum(option.best_share or 0.0 for option in found.options) == pytest.approx(1)
    beyond = answer(fit, Budget(flops=1e25)).options
    assert all(option.caveats == ("EXTRAPOLATED",) for option in beyond)
    assert all(option.best_share is None for option in beyond)
    # At the limit of the memory, the size is known.
    bound = answer(fit, Budget(flops=1e22, memory_bytes=1e9), resamples=60).options[0]
    assert bound.is_memory_bound
    assert bound.n.value == pytest.approx(1e9 / 16)
    assert bound.n.ci95 is None


def test_a_law_without_tokens_spends_all_on_size():
    columns = grid(np.geomspace(1e7, 1e9, 6), [1.0, 4.0, 8.0])
    rows = observed("routed", unsaturated(TYPICAL["routed"]), columns)
    with pytest.raises(UsageError, match="--columns d="):
        answer(fit_law(rows, law="routed"), Budget(flops=1e20))
    known = Observations(n=rows.n, e=rows.e, loss=rows.loss, d=np.full(len(rows), 2e10))
    found = answer(fit_law(known, law="routed"), Budget(flops=1e20))
    assert found.fixed_d == 2e10
    assert [option.n.value for option in found.options] == pytest.approx([1e20 / 6 / 2e10] * 3)
    assert found.best.e == 8


def test_all_parameters_follow_from_those_of_the_runs():
    n, e = np.array([1e6, 1e6, 1e8, 1e8, 1e8]), np.array([1.0, 8.0, 1.0, 8.0, 64.0])
    rows = Observations(n=n, e=e, loss=np.linspace(3, 2, 5))
    total = n * np.where(n > 1e7, 1.1 + 0.3 * (e - 1), 1.5 + 0.4 * (e - 1))
    found = total_parameters(rows, total)
    assert (found.base, found.per_expert, found.is_measured) == (pytest.approx(1.1), pytest.approx(0.3), True)
    total[2:] = np.nan  # of the larger ones nothing is known
    found = total_parameters(rows, total)
    assert (found.base, found.per_expert) == (pytest.approx(1.5), pytest.approx(0.4))
    for unknown in (None, np.full(5, np.nan)):
        found = total_parameters(rows, unknown)
        assert (found.base, found.per_expert, found.is_measured) == (1, pytest.approx(1 / 3), False)
