import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchbench.compare import jackknife_ci95, t_quantile_975


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 100])
def test_the_quantile_is_students(degrees: int):
    assert t_quantile_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


@given(values=st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_for_a_mean_the_interval_is_students(values: list[float]):
    mean, n = statistics.fmean(values), len(values)
    without = [statistics.fmean(values[:i] + values[i + 1 :]) for i in range(n)]
    half_width = stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n)
    assert jackknife_ci95(mean, leave_one_out=without) == (
        pytest.approx(mean - half_width, abs=1e-7),
        pytest.approx(mean + half_width, abs=1e-7),
    )


@pytest.mark.parametrize("without", [[], [1.0]])
def test_one_seed_has_no_interval(without: list[float]):
    assert jackknife_ci95(1.0, leave_one_out=without) is None
