"""What follows from a law: dense equivalents, optima, hold-outs, and what the data do not pin down."""

import numpy as np
import pytest

from switchbench.laws import (
    LAW_NAMES,
    Center,
    LawName,
    Observations,
    Place,
    compare_forms,
    compute_optimal,
    fit_law,
    form_named,
    hold_out_largest,
    judge,
    parse_loss,
    study_law,
)
from switchbench.laws.derived import log_dense_equivalent, points_at
from switchbench.laws.goodness import aicc, seed_spread
from switchbench.laws.identifiability import falls_apart, place_caveats
from switchbench.laws.optima import compute_multiplier
from tests.laws.made_up import TYPICAL, grid, observed, plain_loss, typical_columns, unsaturated

ROUTED_LAWS = [name for name in LAW_NAMES if form_named(name).uses_experts]


@pytest.mark.parametrize("name", ROUTED_LAWS)
def test_the_dense_equivalent_has_the_same_loss(name: LawName):
    law = form_named(name)
    fit = fit_law(observed(name, TYPICAL[name], typical_columns(law)), law=law)
    place = Place(n=3e8, e=64.0, d=2e10 if law.uses_tokens else None)
    gain = log_dense_equivalent(law, fit.internal[None], points_at(fit, place))[0]
    where = {"e": np.array([64.0]), "d": np.array([2e10])}
    sparse = plain_loss(name, TYPICAL[name], n=np.array([3e8]), **where)
    dense = plain_loss(name, TYPICAL[name], n=np.array([3e8 * np.exp(gain)]), **where | {"e": np.array([1.0])})
    assert dense[0] == pytest.approx(sparse[0], rel=1e-12)
    if name in ("routed", "routed-data"):
        p = TYPICAL[name]
        e_hat = 1 / (1 / (63 + 1 / (1 / p["E_start"] - 1 / p["E_max"])) + 1 / p["E_max"])
        assert np.exp(gain) == pytest.approx((e_hat / p["E_start"]) ** p["g"], rel=1e-7)


def test_a_loss_that_no_dense_model_reaches_has_no_equivalent():
    """Where experts make data go further, a sparse model may have a loss that these tokens give no dense one."""
    law, values = form_named("joint-moe"), TYPICAL["joint-moe"] | {"zeta": 0.0, "omega": -0.5}
    center = Center(log_n=19.0, log_d=23.0)
    internal = law.internal(np.array([list(values.values())]), center)
    points = center.points(n=np.array([1e9]), e=np.array([256.0]), d=np.array([1e8]))
    dense = center.points(n=np.array([1e300]), d=np.array([1e8]))
    assert law.evaluate(internal, points)[0] < law.evaluate(internal, dense)[0]
    assert np.isnan(log_dense_equivalent(law, internal, points)[0])


PUBLISHED_OPTIMA = {1: (1.7e9, 9.7e9), 8: (990e6, 17e9), 32: (669e6, 24.9e9)}
"""Of joint-moe under 6·N·D = 1e20, as printed by its authors, to about two digits; by experts: N, D."""


@pytest.mark.parametrize("e", PUBLISHED_OPTIMA)
def test_the_published_optima_of_joint_moe(e: int):
    law = form_named("joint-moe")
    center = Center(log_n=20.0, log_d=23.0)
    internal = law.internal(np.array([list(TYPICAL["joint-moe"].values())]), center)[0]
    found = compute_optimal(law, internal, center=center, compute=1e20, e=e)
    n, d = PUBLISHED_OPTIMA[e]
    assert (found.n, found.d) == (pytest.approx(n, rel=0.02), pytest.approx(d, rel=0.02))
    # Nothing on a fine grid is better.
    sizes = np.geomspace(1e8, 1e10, 4001)
    losses = plain_loss("joint-moe", TYPICAL["joint-moe"], n=sizes, e=np.full(4001, e), d=1e20 / (6 * sizes))
    assert found.loss == pytest.approx(losses.min(), rel=1e-7)
    assert found.loss <= losses.min() * (1 + 1e-14)


def test_the_optimum_of_chinchilla_is_the_formula():
    """N = G·(C/6)^(β/(α+β)) with G = (αA/(βB))^(1/(α+β))."""
    law, p = form_named("chinchilla"), TYPICAL["chinchilla"]
    center = Center(log_n=20.0, log_d=24.0)
    internal = law.internal(np.array([list(p.values())]), center)[0]
    found = compute_optimal(law, internal, center=center, compute=1e21)
    total = p["alpha"] + p["beta"]
    g = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / total)
    assert found.n == pytest.approx(g * (1e21 / 6) ** (p["beta"] / total), rel=1e-6)
    assert found.d == pytest.approx(1e21 / 6 / found.n)


def test_with_the_same_data_term_the_optimal_multiplier_is_the_one_at_fixed_tokens():
    """L = E0 + A·(N·m)^-α + B/D^β: a dense model of N·m, with m times the compute, is where the sparse one is."""
    law, p = form_named("routed-data"), TYPICAL["routed-data"]
    center = Center(log_n=19.0, log_d=23.0)
    internal = law.internal(np.array([list(p.values())]), center)
    points = center.points(n=np.array([1e8]), e=np.array([32.0]), d=np.array([1e9]))
    fixed = log_dense_equivalent(law, internal, points)
    optimal = compute_multiplier(law, internal, center=center, log_compute=np.log(6e17), e=32.0)
    np.testing.assert_allclose(optimal, fixed, rtol=1e-6)


def test_the_largest_size_is_predicted_by_the_others():
    rows = observed(
        "routed",
        TYPICAL["routed"],
        grid(np.geomspace(1e7, 1e9, 5), [1.0, 2.0, 8.0, 64.0, 512.0]),
        noise=0.002,
        generator=np.random.default_rng(0),
    )
    held = hold_out_largest(rows, law=form_named("routed"), loss=parse_loss("mse-log"))
    assert held is not None
    small, large = rows.take(rows.n < 5e8), rows.take(rows.n > 5e8)
    predicted = fit_law(small, law="routed").predict(n=large.n, e=large.e)
    errors = np.log(predicted) - np.log(large.loss)
    assert (held.rows, held.n) == (5, pytest.approx(1e9))
    assert held.rms_ln == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert held.mean_ln == pytest.approx(errors.mean())
    assert [gain.e for gain in held.gains] == [2, 8, 64, 512]
    last = held.gains[-1]
    assert last.observed == pytest.approx(large.loss[0] - large.loss[-1])
    assert last.predicted == pytest.approx(predicted[0] - predicted[-1])
    assert last.predicted_ln == pytest.approx(np.log(predicted[0] / predicted[-1]))


def test_leaving_out_each_size_in_turn():
    rows = observed(
        "routed",
        unsaturated(TYPICAL["routed"]),
        grid(np.geomspace(1e7, 1e9, 5), [1.0, 4.0, 8.0]),
        noise=0.003,
        generator=np.random.default_rng(2),
    )
    errors = []
    for size in np.unique(rows.n):
        held = rows.take(rows.n == size)
        predicted = fit_law(rows.take(rows.n != size), law="routed").predict(n=held.n, e=held.e)
        errors.extend(np.log(predicted) - held.log_loss)
    found = judge(fit_law(rows, law="routed")).leave_one_size_out_rms_ln
    assert found == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-4)


def test_aicc_by_hand():
    residuals = np.array([0.01, -0.02, 0.005, 0.0, 0.01, -0.01, 0.02, 0.0])
    expected = 8 * np.log(sum(r * r for r in residuals) / 8) + 2 * 3 + 2 * 3 * 4 / (8 - 3 - 1)
    assert aicc(residuals, num_parameters=2) == pytest.approx(expected)
    assert aicc(residuals, num_parameters=6) is None


def test_the_spread_of_seeds_is_pooled():
    rows = Observations(
        n=np.array([1e6, 1e6, 1e6, 2e6, 2e6, 4e6]), loss=np.exp([1.0, 1.1, 1.2, 0.9, 1.0, 0.8]), seed=np.arange(6)
    )
    assert seed_spread(rows) == pytest.approx(np.sqrt((0.01 + 0 + 0.01 + 0.0025 + 0.0025) / 3))
    assert seed_spread(rows.take(rows.n > 3e6)) is None


@pytest.mark.parametrize("name", ["routed", "clark"])
def test_the_form_that_made_the_runs_predicts_them_best(name: LawName):
    values = TYPICAL[name]
    columns = grid(np.geomspace(1e7, 1e9, 6), [1.0, 2.0, 8.0, 64.0, 512.0])
    rows = observed(name, values, columns, noise=0.0005, generator=np.random.default_rng(1))
    rivals = compare_forms(rows, loss=parse_loss("mse-log"))
    assert rivals[0].law == form_named(name)
    assert {rival.law.name for rival in rivals} == {"routed", "clark"}
    held = [rival.goodness.hold_out.rms_ln for rival in rivals if rival.goodness.hold_out]
    assert held == sorted(held)
    assert study_law(rows, law=None, resamples=0).fit.law == form_named(name)


def test_a_distribution_falls_apart_or_does_not():
    generator = np.random.default_rng(0)
    normal = generator.standard_normal(1000)
    assert not falls_apart(normal)
    assert not falls_apart(generator.uniform(size=1000))
    assert not falls_apart(generator.exponential(size=1000))
    assert falls_apart(np.where(generator.uniform(size=1000) < 0.3, normal + 8, normal))
    assert not falls_apart(np.full(1000, 2.0))


def codes(observations: Observations, law: LawName, **options: int) -> dict[str, tuple[str, ...]]:
    study = study_law(observations, law=law, resamples=options.get("resamples", 60))
    return {answer.quantity.name: answer.caveats for answer in study.parameters} | {"whole": study.caveats}


def test_caveats_of_a_good_fit_and_of_poor_ones():
    values, generator = unsaturated(TYPICAL["routed"]), np.random.default_rng(0)
    wide = grid(np.geomspace(1e6, 1e10, 12), [1.0, 4.0, 8.0], seeds=3)
    good = codes(observed("routed", values, wide, noise=0.0005, generator=generator), "routed")
    assert good == dict.fromkeys(["E0", "A", "alpha", "g", "whole"], ())
    narrow = grid(np.geomspace(1e6, 3e6, 4), [1.0, 4.0, 8.0])
    poor = codes(observed("routed", values, narrow, noise=0.03, generator=generator), "routed")
    assert {"UNIDENTIFIED", "NARROW_RANGE", "FEW_POINTS", "FEW_SIZES", "SINGLE_SEED"} <= set(poor["whole"])
    assert "UNIDENTIFIED" in poor["E0"]


def test_runs_of_different_lengths_under_a_law_that_ignores_them():
    columns = grid(np.geomspace(1e6, 1e9, 8), tokens=[1e9, 2e9])
    rows = observed("chinchilla", TYPICAL["chinchilla"], columns)
    assert "VARYING_SETTINGS" in codes(rows, "power")["whole"]


def test_a_floor_of_zero_is_at_its_bound():
    n = np.geomspace(1e7, 1e9, 30)
    noise = np.exp(0.002 * np.random.default_rng(1).standard_normal(30))
    rows = Observations(n=n, d=np.tile([1e9, 1e10, 1e11], 10), loss=(3e8 / n) ** 0.1 * noise)
    found = codes(rows, "chinchilla")
    assert "AT_BOUND" in found["whole"]


@pytest.mark.parametrize(
    ("place", "equivalent", "is_beyond"),
    [
        (Place(n=1e8, e=8.0), None, False),
        (Place(n=2e9, e=8.0), None, True),
        (Place(n=1e8, e=16.0), None, True),
        (Place(n=1e8, e=8.0), 5e8, False),
        (Place(n=1e8, e=8.0), 2e9, True),
        (Place(n=1e8, e=8.0), float("nan"), True),
        (None, None, False),
    ],
)
def test_beyond_the_data(place: Place | None, equivalent: float | None, is_beyond: bool):
    rows = Observations(n=np.array([1e7, 1e9, 1e9]), e=np.array([1.0, 1.0, 8.0]), loss=np.array([3.0, 2.0, 1.9]))
    found = place_caveats(rows, place, dense_equivalent=equivalent)
    assert (found == ["EXTRAPOLATED"]) == is_beyond
