"""The forms: their formulas, their gradients, and the way between internal parameters and those of the formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.laws import LAW_NAMES, LawName, form_named
from switchbench.laws.experts import saturates
from switchbench.laws.fit import bounds_of
from tests.laws.made_up import TYPICAL, grid, observed, plain_loss, typical_columns, unsaturated

FORMS = [(name, saturating) for name in LAW_NAMES for saturating in (True, False)]
forms = pytest.mark.parametrize(("name", "saturating"), FORMS, ids=lambda part: str(part))


def parameters_of(name: LawName, saturating: bool, factors: list[float]) -> dict[str, float]:
    """Typical parameters, each times a factor; exponents and saturation by less, so that losses stay plausible."""
    values = TYPICAL[name] if saturating else unsaturated(TYPICAL[name])
    return {
        key: value * (factor if key in ("A", "B", "a", "b") and name != "clark" else factor**0.2)
        for (key, value), factor in zip(values.items(), factors, strict=False)
    }


@forms
@settings(max_examples=15, deadline=None)
@given(factors=st.lists(st.floats(0.5, 2.0), min_size=11, max_size=11))
def test_a_form_is_its_formula(name: LawName, saturating: bool, factors: list[float]):
    law = form_named(name, saturating=saturating)
    values = parameters_of(name, saturating, factors)
    assert [parameter.name for parameter in law.parameters] == list(values)
    columns = typical_columns(law)
    center = observed(name, values, columns).center
    internal = law.internal(np.array([list(values.values())]), center)
    log_loss, _ = law.evaluate(internal, center.points(n=columns["n"], e=columns["e"], d=columns["d"]))
    expected = plain_loss(name, values, n=columns["n"], e=columns["e"], d=columns["d"])
    np.testing.assert_allclose(np.exp(log_loss[0]), expected, rtol=1e-12)
    np.testing.assert_allclose(law.natural(internal, center)[0], list(values.values()), rtol=1e-10)


@forms
@settings(max_examples=15, deadline=None)
@given(factors=st.lists(st.floats(0.5, 2.0), min_size=11, max_size=11))
def test_the_gradient_is_that_of_finite_differences(name: LawName, saturating: bool, factors: list[float]):
    law = form_named(name, saturating=saturating)
    values = parameters_of(name, saturating, factors)
    columns = typical_columns(law)
    center = observed(name, values, columns).center
    points = center.points(n=columns["n"], e=columns["e"], d=columns["d"])
    internal = law.internal(np.array([list(values.values())]), center)
    _, jacobian = law.evaluate(internal, points)
    for number in range(internal.shape[1]):
        step = 1e-6 * np.eye(internal.shape[1])[number]
        up, down = (law.evaluate(internal + sign * step, points)[0][0] for sign in (1, -1))
        np.testing.assert_allclose(jacobian[0, :, number], (up - down) / 2e-6, atol=2e-8)


@forms
def test_many_fits_at_once_are_each_its_own(name: LawName, saturating: bool):
    law = form_named(name, saturating=saturating)
    values = TYPICAL[name] if saturating else unsaturated(TYPICAL[name])
    columns = typical_columns(law)
    center = observed(name, values, columns).center
    points = center.points(n=columns["n"], e=columns["e"], d=columns["d"])
    first = law.internal(np.array([list(values.values())]), center)
    several = np.concatenate([first, first + 0.01, first - 0.02])
    together = law.evaluate(several, points)
    for i, alone in enumerate(several):
        log_loss, jacobian = law.evaluate(alone[None], points)
        np.testing.assert_array_equal(together[0][i], log_loss[0])
        np.testing.assert_array_equal(together[1][i], jacobian[0])


@forms
def test_published_parameters_are_within_the_bounds(name: LawName, saturating: bool):
    law = form_named(name, saturating=saturating)
    values = TYPICAL[name] if saturating else unsaturated(TYPICAL[name])
    internal = law.internal(np.array([list(values.values())]), observed(name, values, typical_columns(law)).center)
    lower, upper = bounds_of(law)
    assert np.all((lower < internal[0]) & (internal[0] < upper))


@forms
def test_what_a_form_says_of_itself(name: LawName, saturating: bool):
    law = form_named(name, saturating=saturating)
    assert law.name == name
    for parameter in law.parameters:
        assert parameter.name in law.formula
        assert parameter.unit
    assert law.uses_tokens == ("D" in law.formula.split(", ")[0].split("=")[1])
    assert law.uses_experts == ("Ê" in law.formula)
    assert law.source


def test_one_expert_is_dense():
    """With E = 1 the routed laws are the dense ones with the same coefficients, whatever the other parameters."""
    columns = grid(np.geomspace(1e7, 1e9, 5), tokens=[1e9, 1e10])
    routed, dense = TYPICAL["routed-data"], TYPICAL["chinchilla"]
    shared = {"E": routed["E0"], "A": routed["A"], "B": routed["B"], "alpha": routed["alpha"], "beta": routed["beta"]}
    assert list(shared) == list(dense)
    np.testing.assert_allclose(
        observed("routed-data", routed, columns).loss, observed("chinchilla", shared, columns).loss, rtol=1e-14
    )


@pytest.mark.parametrize(
    ("experts", "expected"),
    [([1, 8], False), ([1, 2, 4, 8], False), ([1, 16], False), ([1, 4, 16], False), ([1, 2, 4, 16], True)],
)
def test_when_saturation_can_be_seen(experts: list[int], expected: bool):
    """A span of 16 and four different numbers: three parameters (g, E_start, E_max) need three ratios."""
    assert saturates(np.array(experts, dtype=float)) == expected
