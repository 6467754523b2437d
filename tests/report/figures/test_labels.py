import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench.report.figures.labels import spread_apart
from switchbench.report.figures.scales import log_ticks

PLACES = st.lists(st.floats(0, 100), min_size=1, max_size=8)


@given(PLACES, st.floats(0.1, 30))
def test_labels_keep_their_distance_their_order_and_their_panel(wanted: list[float], distance: float):
    found = spread_apart(wanted, distance=distance, low=0.0, high=100.0)
    possible = min(distance, 100.0 / max(len(wanted) - 1, 1))
    places = sorted(zip(wanted, found, strict=True))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in found)
    for (wanted_a, a), (wanted_b, b) in itertools.pairwise(sorted(places, key=lambda each: each[1])):
        assert b - a >= possible - 1e-6
        assert wanted_a <= wanted_b


@given(PLACES)
def test_labels_that_are_far_apart_stay_where_they_are(wanted: list[float]):
    far = sorted({round(each / 10) * 10.0 for each in wanted})
    assert spread_apart(far, distance=10.0, low=0.0, high=100.0) == pytest.approx(far)


def test_labels_move_no_further_than_they_must():
    """Pushed from a common place, they lie evenly around it; at the edge they are pushed inward alone."""
    assert spread_apart([50, 50, 50], distance=4.0, low=0.0, high=100.0) == pytest.approx([46, 50, 54])
    assert spread_apart([100, 99], distance=4.0, low=0.0, high=100.0) == pytest.approx([100, 96])
    assert spread_apart([10, 12, 60], distance=4.0, low=0.0, high=100.0) == pytest.approx([9, 13, 60])


@given(st.floats(1e-9, 1e15), st.floats(1.01, 1e9))
def test_ticks_of_logarithmic_axes(low: float, ratio: float):
    """They lie on the axis, in order, few enough to be read; and there are at least two wherever an axis is read."""
    ticks = log_ticks(low, low * ratio)
    assert ticks == sorted(ticks)
    assert all(low * (1 - 1e-9) <= tick <= low * ratio * (1 + 1e-9) for tick in ticks)
    assert 1 <= len(ticks) <= 8 or ratio < 1.5
    if ratio > 5:
        assert len(ticks) >= 2
