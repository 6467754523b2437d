"""The fitter: exact where data are exact, and never above what a patient search finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from switchbench.errors import UnfittableError, UsageError
from switchbench.laws import LAW_NAMES, LawName, Observations, fit_law, form_named, parse_loss, refit
from switchbench.laws.descent import descend
from switchbench.laws.fit import bounds_of
from switchbench.laws.losses import huber
from switchbench.laws.starts import non_negative
from tests.laws.made_up import TYPICAL, grid, observed, typical_columns, unsaturated

LOSSES = ("mse-log", "huber:1e-3", "lad", "lsq")


@st.composite
def exact_data(draw: st.DrawFn) -> tuple[LawName, dict[str, float], Observations]:
    """A law with parameters, and noise-free runs on a design that tells them apart.

    Sizes span a factor of 30 to 300, tokens of 64, and every term is a good part of the loss in the middle of the data.
    """
    name = draw(st.sampled_from(LAW_NAMES))
    saturating = draw(st.booleans())
    law = form_named(name, saturating=saturating)
    smallest, span = 10 ** draw(st.floats(4, 8)), draw(st.floats(30, 300))
    sizes = np.geomspace(smallest, smallest * span, draw(st.integers(4, 7)))
    experts = [1.0, 2.0, 8.0, 32.0, 64.0, 256.0, 512.0] if saturating else [1.0, 2.0, 4.0, 8.0]
    tokens = draw(st.floats(1e6, 1e10)) * np.array([1.0, 4.0, 16.0, 64.0])
    columns = grid(sizes, experts if law.uses_experts else [1.0], tokens if law.uses_tokens else [1.0])
    n0, d0 = np.exp(np.mean(np.log(sizes))), np.exp(np.mean(np.log(tokens)))
    share = st.floats(0.3, 2.0)
    alpha, beta = draw(st.floats(0.1, 0.5)), draw(st.floats(0.15, 0.6))
    g, floor = draw(st.floats(0.2, 0.9)), draw(st.floats(0.5, 2.5))
    a, b = draw(share) * n0**alpha, draw(share) * d0**beta
    shape = {"E_start": draw(st.floats(1.3, 5.0)), "E_max": draw(st.floats(80, 600))} if saturating else {}
    values: dict[str, float]
    match name:
        case "power":
            values = {"N_c": n0 * draw(st.floats(2, 4)) ** (1 / alpha), "alpha": alpha}
        case "chinchilla":
            values = {"E": floor, "A": a, "B": b, "alpha": alpha, "beta": beta}
        case "routed":
            values = {"E0": floor, "A": a, "alpha": alpha, "g": g, **shape}
        case "routed-data":
            values = {"E0": floor, "A": a, "alpha": alpha, "g": g, "B": b, "beta": beta, **shape}
        case "clark":
            slope = -draw(st.floats(0.04, 0.15))
            at_middle = np.log10(3) - slope * np.log10(n0)
            bend = draw(st.floats(0.004, 0.012))
            values = {"a": slope, "b": -0.12 - bend * np.log10(n0), "c": bend, "d": at_middle, **shape}
        case "joint-moe":
            delta, omega = -draw(st.floats(0.05, 0.25)), draw(st.floats(0.1, 0.5))
            values = {"a": a, "delta": delta, "alpha": -alpha, "gamma": draw(st.floats(0.001, 0.01)), "b": b}
            values |= {"omega": omega, "beta": -beta, "zeta": -draw(st.floats(0.005, 0.025)), "c": floor, **shape}
    return name, values, observed(name, values, columns)


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=40, deadline=None)
@given(data=exact_data())
def test_exact_data_give_the_law_back(loss: str, data: tuple[LawName, dict[str, float], Observations]):
    name, values, observations = data
    fit = fit_law(observations, law=form_named(name, saturating="E_start" in values), loss=parse_loss(loss))
    assert fit.has_converged
    assert fit.values == pytest.approx(values, rel=1e-8)
    assert fit.rms < 1e-12


def test_exact_data_far_from_any_unit_of_ours():
    """Sizes in billions instead of ones: the fit is the same but for the unit of A."""
    values = TYPICAL["routed"]
    columns = grid(np.geomspace(1e7, 1e9, 5), [1.0, 2.0, 8.0, 64.0, 512.0])
    ours = observed("routed", values, columns)
    theirs = Observations(n=ours.n / 1e9, e=ours.e, loss=ours.loss)
    fit = fit_law(theirs, law="routed")
    expected = values | {"A": values["A"] * 1e9 ** -values["alpha"]}
    assert fit.values == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("loss", LOSSES[:2])
@pytest.mark.parametrize("name", ["power", "chinchilla", "routed", "clark"])
def test_a_patient_search_finds_nothing_better(name: LawName, loss: str):
    """SciPy's BFGS, from many starts around the fit and around the truth, on noisy data."""
    values, generator = TYPICAL[name], np.random.default_rng(7)
    law = form_named(name)
    observations = observed(name, values, typical_columns(law), noise=0.004, generator=generator)
    fit = fit_law(observations, law=law, loss=parse_loss(loss))
    problem = fit.problem
    best = float(problem.value(fit.internal[None])[0])
    assert fit.loss.scaled(best) == fit.objective
    truth = law.internal(np.array([list(values.values())]), fit.center)[0]

    def value_and_gradient(internal: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, _ = problem.gradient(internal[None])
        return 1e4 * float(value[0]), 1e4 * gradient[0]

    for center in (fit.internal, truth):
        for _ in range(4):
            start = center + 0.1 * generator.standard_normal(len(center))
            found = optimize.minimize(value_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-9})
            assert found.fun / 1e4 >= best * (1 - 1e-9)
    if loss == "mse-log":  # smooth enough that the search must arrive
        assert found.fun / 1e4 == pytest.approx(best, rel=1e-6)


def test_the_objective_is_a_sum_as_the_losses_define_it():
    generator = np.random.default_rng(3)
    observations = observed(
        "power", TYPICAL["power"], grid(np.geomspace(1e6, 1e9, 40)), noise=0.01, generator=generator
    )
    for text in LOSSES:
        fit = fit_law(observations, law="power", loss=parse_loss(text))
        r = np.log(fit.predict(n=observations.n)) - np.log(observations.loss)
        by_hand = {
            "mse-log": sum(x * x for x in r),
            "huber:1e-3": sum(x * x / 2 if abs(x) <= 1e-3 else 1e-3 * (abs(x) - 5e-4) for x in r),
            "lad": sum(abs(x) for x in r),
            "lsq": sum((fit.predict(n=observations.n) - observations.loss) ** 2),
        }[text]
        assert fit.objective == pytest.approx(by_hand, rel=1e-3 if text == "lad" else 1e-9)


def test_outliers_move_squares_and_leave_absolute_values():
    observations = observed("power", TYPICAL["power"], grid(np.geomspace(1e6, 1e9, 40)))
    bad = observations.loss.copy()
    bad[[3, 20, 37]] *= [1.5, 1.2, 1.3]
    broken = Observations(n=observations.n, loss=bad)
    truth = TYPICAL["power"]["alpha"]
    fitted = {text: fit_law(broken, law="power", loss=parse_loss(text)).values["alpha"] for text in LOSSES}
    assert fitted["lad"] == pytest.approx(truth, rel=1e-3)
    assert fitted["huber:1e-3"] == pytest.approx(truth, rel=1e-2)
    assert abs(fitted["mse-log"] / truth - 1) > 0.02


def test_weights_count_rows():
    """A refit with weights is the fit to rows that are there as often."""
    observations = observed(
        "routed",
        unsaturated(TYPICAL["routed"]),
        grid(np.geomspace(1e6, 1e9, 6), [1.0, 4.0, 8.0]),
        noise=0.004,
        generator=np.random.default_rng(11),
    )
    fit = fit_law(observations, law="routed")
    weights = np.random.default_rng(0).integers(0, 3, size=(5, len(observations))).astype(float)
    found = refit(fit, weights=weights, tolerance=1e-14)
    for row, internal in zip(weights, found.internal, strict=True):
        repeated = observations.take(np.repeat(np.arange(len(observations)), row.astype(int)))
        alone = fit_law(repeated, law=fit.law)
        natural = fit.law.natural(internal[None], fit.center)[0]
        assert list(natural) == pytest.approx(list(alone.values.values()), rel=1e-5)
    assert found.has_converged.all()


def test_held_parameters_stay():
    observations = observed("routed", TYPICAL["routed"], typical_columns(form_named("routed")))
    fit = fit_law(observations, law="routed")
    held = np.full((1, 6), np.nan)
    held[0, 3] = 0.4
    found = refit(fit, weights=np.ones((1, len(observations))), held=held)
    assert found.internal[0, 3] == 0.4
    assert found.value[0] > 0


def test_a_descent_ends_at_a_bound_that_is_in_its_way():
    """Losses without a floor: E ends at its bound of a millionth of a nat, and everything else where it belongs."""
    columns = grid(np.geomspace(1e7, 1e9, 8))
    n = columns["n"]
    observations = Observations(n=n, e=np.repeat([1.0, 4.0], 4), loss=(1e9 / n) ** 0.3 * np.repeat([1.0, 0.9], 4))
    fit = fit_law(observations, law="routed")
    lower, _ = bounds_of(fit.law)
    assert fit.internal[0] == pytest.approx(lower[0], abs=0.7)
    assert fit.values["alpha"] == pytest.approx(0.3, rel=1e-5)


def test_a_descent_from_a_bad_start_arrives():
    observations = observed("chinchilla", TYPICAL["chinchilla"], typical_columns(form_named("chinchilla")))
    fit = fit_law(observations, law="chinchilla")
    lower, upper = (bound[None] for bound in bounds_of(fit.law))
    far = np.array([[np.log(0.1), np.log(5.0), np.log(0.01), np.log(1.0), np.log(0.05)]])
    found = descend(fit.problem, far, lower=lower, upper=upper)
    np.testing.assert_allclose(found.internal[0], fit.internal, atol=1e-8)


@given(
    rows=st.integers(2, 12),
    width=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_coefficients_that_are_not_negative(rows: int, width: int, seed: int):
    generator = np.random.default_rng(seed)
    a, b = generator.standard_normal((rows + width, width)), generator.standard_normal(rows + width)
    ours, error = non_negative((a.T @ a)[None], (a.T @ b)[None])
    theirs, norm = optimize.nnls(a, b)
    np.testing.assert_allclose(ours[0], theirs, atol=1e-6)
    assert error[0] + b @ b == pytest.approx(norm**2, abs=1e-8)


def test_hubers_loss_by_hand():
    values, weights = huber(np.array([0.0, 0.5, -1.0, 3.0]), turns_at=1.0)
    assert list(values) == [0.0, 0.125, 0.5, 2.5]
    assert list(weights) == pytest.approx([1.0, 1.0, 1.0, 1 / 3])


@pytest.mark.parametrize("text", ["huber:0", "huber:x", "huber:nan", "huber:-1", "l2", "lad:1", "", "mse-log:2"])
def test_losses_that_are_none(text: str):
    with pytest.raises(UsageError, match="--loss"):
        parse_loss(text)


def test_losses_as_they_are_written():
    assert [str(parse_loss(text)) for text in ("huber", "huber:0.02", "lad")] == ["huber:0.001", "huber:0.02", "lad"]


NONE = np.array([])
SIZES = np.geomspace(1e6, 1e8, 60)
FALLING = SIZES**-0.1


@pytest.mark.parametrize(
    ("law", "rows", "words"),
    [
        ("power", {"n": NONE, "loss": NONE}, "there are none"),
        ("power", {"n": np.array([1e6]), "loss": np.array([3.0])}, "there is 1"),
        ("routed", {"n": SIZES[:2], "loss": FALLING[:2], "e": np.array([1.0, 4.0])}, "there are 2"),
        ("power", {"n": SIZES, "loss": np.full(60, 3.0)}, "all 60 losses are equal"),
        ("power", {"n": np.full(60, 1e6), "loss": FALLING}, "different sizes"),
        ("routed", {"n": SIZES, "loss": FALLING}, "two different numbers of experts"),
        ("chinchilla", {"n": SIZES, "loss": FALLING}, "training tokens D"),
        ("chinchilla", {"n": SIZES, "loss": FALLING, "d": np.repeat([1e9, 2e9], 30)}, "at least 3 different numbers"),
        ("joint-moe", {"n": SIZES[:40], "loss": FALLING[:40], "e": np.ones(40), "d": SIZES[:40]}, "at least 50"),
    ],
)
def test_rows_that_do_not_determine_a_law(law: LawName, rows: dict[str, np.ndarray], words: str):
    with pytest.raises(UnfittableError, match=words):
        fit_law(Observations(**rows), law=law)
