"""Intervals: the standard errors against slow and obvious ones, groups, and resamples."""

import numpy as np
import pytest
from scipy import linalg, stats

from switchbench.laws import (
    LawFit,
    Observations,
    Quantity,
    fit_law,
    form_named,
    group_rows,
    intervals,
    parameter_quantities,
    parse_loss,
    resample,
)
from switchbench.laws.derived import derived_quantities
from switchbench.laws.intervals import choose_method, cluster_robust, evaluate, jackknife
from switchbench.laws.points import Floats, Indices
from switchbench.laws.resampling import Grouping, resamples_for
from tests.laws.made_up import TYPICAL, grid, observed, unsaturated


def noisy(
    *, sizes: int = 6, seeds: int = 2, noise: float = 0.004, size_misfit: float = 0.003, draw: int = 0
) -> Observations:
    columns = grid(np.geomspace(1e6, 3e8, sizes), [1.0, 4.0, 8.0], seeds=seeds)
    generator = np.random.default_rng(draw)
    values = unsaturated(TYPICAL["routed"])
    return observed("routed", values, columns, noise=noise, size_misfit=size_misfit, generator=generator)


def quantities_of(fit: LawFit) -> list[Quantity]:
    return [*parameter_quantities(fit.law), *derived_quantities(fit)]


def slow_cluster_robust(fit: LawFit, quantities: list[Quantity], index: Indices) -> tuple[list[float], list[float]]:
    """CR2 and Satterthwaite's degrees of freedom with whole matrices, as the papers write them."""
    residuals, jacobian = (array[0] for array in fit.problem.residuals(fit.internal[None]))
    bread = np.linalg.inv(jacobian.T @ jacobian)
    hat = jacobian @ bread @ jacobian.T
    away = np.eye(len(residuals)) - hat
    groups = [index == group for group in np.unique(index)]
    adjusts = [linalg.fractional_matrix_power(away[np.ix_(inside, inside)], -0.5).real for inside in groups]
    errors, freedom = [], []
    for quantity in quantities:
        gradient = np.array(
            [
                (quantity.evaluate(fit, fit.internal[None] + h) - quantity.evaluate(fit, fit.internal[None] - h))[0]
                / 2e-5
                for h in 1e-5 * np.eye(len(fit.internal))
            ]
        )
        forms = np.array(
            [
                gradient @ bread @ jacobian[inside].T @ adjust @ away[inside]
                for inside, adjust in zip(groups, adjusts, strict=True)
            ]
        )
        errors.append(float(np.sqrt(((forms @ residuals) ** 2).sum())))
        gamma = forms @ forms.T
        freedom.append(float(np.trace(gamma) ** 2 / (gamma**2).sum()))
    return errors, freedom


@pytest.mark.parametrize("draw", range(3))
def test_cluster_robust_errors_are_those_of_whole_matrices(draw: int):
    observations = noisy(draw=draw)
    fit = fit_law(observations, law="routed")
    grouping = group_rows(observations)
    assert (grouping.by, grouping.number) == ("size", 6)
    quantities = quantities_of(fit)
    errors, freedom = cluster_robust(fit, quantities, grouping=grouping)
    slow_errors, slow_freedom = slow_cluster_robust(fit, quantities, grouping.index)
    np.testing.assert_allclose(errors, slow_errors, rtol=1e-4)
    np.testing.assert_allclose(freedom, slow_freedom, rtol=1e-4)


def test_of_a_straight_line_the_errors_are_students():
    """Rows on their own, a power law, no misfit: nearly the errors of a linear regression, nearly n - 2 of freedom."""
    columns = grid(np.geomspace(1e6, 1e9, 35))
    observations = observed("power", TYPICAL["power"], columns, noise=0.01, generator=np.random.default_rng(5))
    fit = fit_law(observations, law="power")
    grouping = group_rows(observations)
    assert grouping.by == "row"
    (_, alpha) = parameter_quantities(fit.law)
    line = stats.linregress(np.log(observations.n), observations.log_loss)
    errors, freedom = cluster_robust(fit, [alpha], grouping=grouping)
    assert errors[0] * fit.values["alpha"] == pytest.approx(line.stderr, rel=0.3)
    assert 15 < freedom[0] <= 33


def test_the_jackknife_leaves_out_a_group_at_a_time():
    observations = noisy(draw=4)
    fit = fit_law(observations, law="routed")
    grouping = group_rows(observations)
    quantities = quantities_of(fit)
    errors, freedom = jackknife(fit, quantities, grouping=grouping)
    without = []
    for group in range(grouping.number):
        part = fit_law(observations.take(grouping.index != group), law=fit.law)
        # At the same center, so that quantities are asked of the same internal parameters.
        natural = np.array([list(part.values.values())])
        without.append(evaluate(fit, quantities, fit.law.internal(natural, fit.center))[0])
    slow = np.sqrt(5 / 6 * ((np.array(without) - np.mean(without, axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(errors, slow, rtol=1e-4)
    assert set(freedom) == {5.0}


@pytest.mark.parametrize(
    ("sizes", "loss", "expected"),
    [
        (3, "mse-log", "jackknife_t"),
        (6, "mse-log", "cluster_t"),
        (6, "huber", "jackknife_t"),
        (120, "lad", "percentile"),
    ],
)
def test_which_interval_serves(sizes: int, loss: str, expected: str):
    observations = noisy(sizes=sizes, seeds=1)
    fit = fit_law(observations, law="routed", loss=parse_loss(loss))
    assert choose_method(fit, group_rows(observations)) == expected


def test_intervals_hold_their_values_and_keep_positive_what_is_positive():
    observations = noisy(sizes=4)
    fit = fit_law(observations, law="routed")
    grouping = group_rows(observations)
    drawn = resample(fit, grouping=grouping, resamples=100, seed=1)
    assert drawn.method == "wild"
    for quantity, interval in zip(
        quantities_of(fit), intervals(fit, quantities_of(fit), grouping=grouping, resamples=drawn), strict=True
    ):
        assert interval.ci95 is not None
        assert interval.bootstrap_ci95 is not None
        assert interval.se is not None
        low, high = interval.ci95
        assert low < interval.value < high
        assert low > 0 or not quantity.is_log


def test_without_freedom_there_is_no_interval():
    observations = noisy(sizes=3, seeds=1).take(np.array([0, 3, 6, 7]))
    fit = fit_law(observations, law="routed")
    found = intervals(fit, quantities_of(fit), grouping=group_rows(observations, by="row"), resamples=None)
    assert all(each.ci95 is None and each.se is None for each in found)


def test_a_parameter_at_its_bound_leaves_the_others_their_intervals():
    n = np.repeat(np.geomspace(1e7, 1e9, 6), 3)
    e = np.tile([1.0, 4.0, 8.0], 6)
    generator = np.random.default_rng(2)
    loss = (1e9 / n) ** 0.3 * np.tile([1.0, 0.9, 0.85], 6) * np.exp(0.01 * generator.standard_normal(18))
    observations = Observations(n=n, e=e, loss=loss * (n / 1e8) ** -0.02)
    fit = fit_law(observations, law="routed")
    bound = np.log(1e-6)
    pinned = LawFit(**{**fit.__dict__, "internal": np.concatenate([[bound], fit.internal[1:]])})
    errors, _ = cluster_robust(pinned, parameter_quantities(fit.law), grouping=group_rows(observations))
    assert errors[0] == 0
    assert np.all(errors[1:] > 0)


def test_whole_groups_are_drawn():
    """The mean of a group's weights is one per group, and all of its rows have the same."""
    columns = grid(np.geomspace(1e6, 1e9, 12), [1.0, 4.0, 8.0])
    values = unsaturated(TYPICAL["routed"])
    generator = np.random.default_rng(0)
    exact = observed("routed", values, columns)
    fit = fit_law(exact, law="routed")
    assert resample(fit, grouping=group_rows(exact), resamples=20, seed=3).internal == pytest.approx(
        np.tile(fit.internal, (20, 1)), abs=1e-6
    )
    noisy_rows = observed("routed", values, columns, noise=0.01, generator=generator)
    fit = fit_law(noisy_rows, law="routed")
    first, again, other = (
        resample(fit, grouping=group_rows(noisy_rows), resamples=30, seed=seed).internal for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_percentile_bootstrap_by_hand():
    """Each resample is the fit to the rows of the drawn groups."""
    columns = grid(np.geomspace(1e6, 1e9, 12), [1.0, 4.0, 8.0])
    rows = observed("routed", unsaturated(TYPICAL["routed"]), columns, noise=0.01, generator=np.random.default_rng(1))
    fit = fit_law(rows, law="routed")
    grouping = group_rows(rows)
    drawn = resample(fit, grouping=grouping, resamples=4, seed=9)
    counts = np.random.default_rng(9).multinomial(12, np.full(12, 1 / 12), size=4)
    for count, internal in zip(counts, drawn.internal, strict=True):
        taken = np.concatenate([np.tile(np.flatnonzero(grouping.index == g), c) for g, c in enumerate(count)])
        alone = fit_law(rows.take(taken.astype(np.intp)), law=fit.law)
        natural = fit.law.natural(internal[None], fit.center)[0]
        assert list(natural) == pytest.approx(list(alone.values.values()), rel=1e-3)


def slow_seed_test(observations: Observations) -> float:
    """The F test of two nested regressions with a dummy for every configuration, and for every seed."""
    assert observations.seed is not None
    keys = [f"{n} {e}" for n, e in zip(observations.n, observations.experts, strict=True)]
    cells = np.array([[key == other for other in sorted(set(keys))] for key in keys], dtype=float)
    seeds = np.array([[seed == other for other in np.unique(observations.seed)] for seed in observations.seed], float)
    y = observations.log_loss

    def left(x: Floats) -> tuple[float, int]:
        solution, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
        return float(((y - x @ solution) ** 2).sum()), int(rank)

    (without, rank_without), (both, rank_both) = left(cells), left(np.hstack([cells, seeds]))
    explained, freedom = rank_both - rank_without, len(y) - rank_both
    return float(stats.f.sf((without - both) / explained / (both / freedom), explained, freedom))


@pytest.mark.parametrize("shift", [0.0, 0.02])
def test_seeds_are_groups_where_they_shift_runs(shift: float):
    observations = noisy(seeds=3, draw=6)
    assert observations.seed is not None
    shifted = Observations(
        n=observations.n,
        e=observations.e,
        loss=observations.loss * np.exp(shift * (observations.seed == 1)),
        seed=observations.seed,
    )
    grouping = group_rows(shifted)
    assert (grouping.seed_index is not None) == (slow_seed_test(shifted) < 0.01) == (shift > 0)
    if shift:
        assert "seed" in grouping.reason
        fit = fit_law(shifted, law="routed")
        quantities = parameter_quantities(fit.law)
        alone = Grouping(by="size", index=grouping.index, reason="")
        by_seed = Grouping(by="seed", index=shifted.seed.astype(np.intp), reason="")
        parts = [cluster_robust(fit, quantities, grouping=each)[0] ** 2 for each in (alone, by_seed)]
        np.testing.assert_allclose(cluster_robust(fit, quantities, grouping=grouping)[0] ** 2, sum(parts), rtol=1e-9)


def test_groups_as_asked_for():
    observations = noisy(sizes=5, seeds=2)
    assert group_rows(observations, by="row").number == len(observations)
    assert group_rows(observations, by="seed").number == 2
    assert group_rows(observations, by="size").number == 5
    named = Observations(n=observations.n, e=observations.e, loss=observations.loss, group=np.arange(30) // 10)
    assert (group_rows(named).by, group_rows(named).number) == ("column", 3)


@pytest.mark.parametrize(
    ("rows", "asked", "expected"),
    [(61, None, 1000), (20_000, None, 500), (100_000, None, 100), (10**7, None, 100), (100_000, 2000, 2000)],
)
def test_how_many_resamples(rows: int, asked: int | None, expected: int):
    assert resamples_for(rows, asked=asked) == expected


def test_the_law_of_a_form_without_experts_has_no_worth_of_them():
    columns = grid(np.geomspace(1e7, 1e9, 6), tokens=[1e9, 1e10, 1e11])
    fit = fit_law(observed("chinchilla", TYPICAL["chinchilla"], columns), law=form_named("chinchilla"))
    assert [quantity.measure for quantity in derived_quantities(fit)] == ["prediction"]
