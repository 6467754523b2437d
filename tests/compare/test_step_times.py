import math

import numpy as np
import pytest
from factories import make_spec, make_timing

from switchbench.compare.step_times import step_time_contrast

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)


def test_the_interval_of_a_ratio_of_medians_holds_what_it_says():
    """Steps scatter normally by 5% and 10%; 95% of 2000 intervals are to hold the true ratio of 1.2."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        timings = []
        for spec, mean, deviation in ((DENSE, 0.02, 0.05), (SPARSE, 0.024, 0.1)):
            q25, median, q75 = np.quantile(generator.normal(mean, deviation * mean, size=25), [0.25, 0.5, 0.75])
            quartiles = {"step_time_q25_s": float(q25), "step_time_q75_s": float(q75), "num_steps": 25}
            timings.append(make_timing(spec, step_time_s=float(median), **quartiles))
        contrast = step_time_contrast(*timings)
        assert contrast is not None
        low, high = contrast.interval()
        held += low <= math.log(1.2) <= high
    assert 0.93 <= held / 2000 <= 0.97


def test_what_was_not_timed_is_not_compared():
    assert step_time_contrast(None, make_timing(SPARSE, step_time_s=0.02)) is None


def test_steps_that_all_took_as_long_leave_no_doubt():
    same = {"step_time_q25_s": 0.02, "step_time_q75_s": 0.02}
    contrast = step_time_contrast(*(make_timing(spec, step_time_s=0.02, **same) for spec in (DENSE, SPARSE)))
    assert contrast is not None
    assert contrast.interval() == (pytest.approx(0), pytest.approx(0))
