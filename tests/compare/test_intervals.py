import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchbench.compare.intervals import Contrast, add_errors, jackknife, ratio_interval, t_quantile_975


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 100])
def test_the_quantile_is_students(degrees: int):
    assert t_quantile_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_for_a_mean_the_interval_is_students(values: list[float]):
    mean, n = statistics.fmean(values), len(values)
    without = [statistics.fmean(values[:i] + values[i + 1 :]) for i in range(n)]
    half_width = stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n)
    found = jackknife(mean, leave_one_out=without)
    assert found is not None
    assert found.interval() == (pytest.approx(mean - half_width, abs=1e-7), pytest.approx(mean + half_width, abs=1e-7))


@pytest.mark.parametrize("without", [[], [1.0]])
def test_one_seed_has_no_interval(without: list[float]):
    assert jackknife(1.0, leave_one_out=without) is None


@given(
    value=st.floats(-3, 3),
    error=st.floats(0.01, 2),
    degrees=st.floats(1, 30),
    confidence=st.floats(0.5, 0.999),
    margin=st.floats(0.01, 5),
)
def test_p_values_and_intervals_agree(value: float, error: float, degrees: float, confidence: float, margin: float):
    """One interval decides both whether there is a difference and whether it is within the margin."""
    contrast = Contrast(value=value, standard_error=error, degrees_of_freedom=degrees)
    low, high = contrast.interval(confidence)
    if min(abs(low), abs(high)) > 1e-6:
        assert (contrast.p_difference() < 1 - confidence) == (not low < 0 < high)
    if min(abs(low + margin), abs(high - margin)) > 1e-6:
        assert (contrast.p_equivalence(margin) < 1 - confidence) == (-margin < low and high < margin)


def test_without_noise_everything_is_certain():
    assert Contrast(value=0.1, standard_error=0, degrees_of_freedom=1).p_difference() == 0
    assert Contrast(value=0.0, standard_error=0, degrees_of_freedom=1).p_difference() == 1
    assert Contrast(value=0.1, standard_error=0, degrees_of_freedom=1).p_equivalence(0.2) == 0
    assert Contrast(value=0.3, standard_error=0, degrees_of_freedom=1).p_equivalence(0.2) == 1


def test_errors_are_added_in_quadrature():
    """By hand; with degrees of freedom as in Welch's test of two samples."""
    found = add_errors(1.0, [(3.0, 4), (4.0, 9)])
    assert (found.value, found.standard_error) == (1.0, 5.0)
    assert found.degrees_of_freedom == pytest.approx(25**2 / (81 / 4 + 256 / 9))
    assert add_errors(1.0, [(0.0, 4), (0.0, 9)]).degrees_of_freedom == 4


@pytest.mark.parametrize("confidence", [0.95, 0.999999])
def test_the_interval_of_a_ratio_ends_where_numbers_do(confidence: float):
    """One degree of freedom at such a confidence: 636,619 standard errors, and e to that is no number."""
    narrow = Contrast(value=0.1, standard_error=0.01, degrees_of_freedom=5)
    assert ratio_interval(narrow, confidence) == pytest.approx(tuple(map(math.exp, narrow.interval(confidence))))
    wide = Contrast(value=0.1, standard_error=1e5, degrees_of_freedom=1)
    low, high = ratio_interval(wide, confidence)
    assert 0 < low < 1e-300
    assert 1e300 < high < math.inf
