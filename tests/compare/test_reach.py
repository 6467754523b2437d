import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.compare.reach import Reach, best_at, reach_of, stretches_of

COSTS = st.integers(1, 40).map(float)
NLLS = st.integers(10, 30).map(lambda tenths: tenths / 10)
POINTS = st.lists(st.tuples(COSTS, NLLS), min_size=1, max_size=5, unique_by=lambda point: point[0])


def slow_best(points: list[tuple[float, float]], cost: float) -> float | None:
    """Look at many costs up to this one, each on the line between its two neighbors, and keep the best."""
    points = sorted(points)
    if cost < points[0][0]:
        return None
    looked_at = np.unique([*np.geomspace(points[0][0], cost, 4001), *(c for c, _ in points if c <= cost), cost])
    logs, nlls = np.log([c for c, _ in points]), [nll for _, nll in points]
    return float(np.min(np.interp(np.log(looked_at), logs, nlls)))


def test_between_points_nll_is_linear_in_log_cost_and_past_the_last_it_stays():
    reach = reach_of([(4.0, 1.6), (1.0, 2.0)])
    assert reach is not None
    assert reach.at(0.5) is None
    assert reach.at(1.0) == 2.0
    assert reach.at(2.0) == pytest.approx(1.8)
    assert reach.at(400.0) == 1.6


def test_a_curve_that_rises_keeps_its_best():
    """From 1.8 it rises to 1.9 and falls to 1.7: it is back at 1.8 halfway down, in log cost."""
    reach = reach_of([(1.0, 2.0), (2.0, 1.8), (4.0, 1.9), (8.0, 1.7)])
    assert reach is not None
    assert reach.at(4.0) == 1.8
    assert reach.costs[2] == pytest.approx(math.sqrt(32.0))
    assert reach.at(8.0) == 1.7
    assert reach_of([]) is None


@given(points=POINTS, cost=st.floats(0.5, 60.0))
@settings(deadline=None, max_examples=150)
def test_the_best_within_a_cost_is_what_looking_everywhere_finds(points: list[tuple[float, float]], cost: float):
    reach = reach_of(points)
    assert reach is not None
    assert all(later <= earlier for earlier, later in zip(reach.nlls, reach.nlls[1:], strict=False))
    found, expected = reach.at(cost), slow_best(points, cost)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == pytest.approx(expected, abs=2e-3)


@given(first=st.lists(POINTS, min_size=1, max_size=3), second=st.lists(POINTS, min_size=1, max_size=3))
@settings(deadline=None, max_examples=200)
def test_every_cost_lies_in_a_stretch_of_the_better_group(
    first: list[list[tuple[float, float]]], second: list[list[tuple[float, float]]]
):
    """At any cost not too close to a crossing, the stretch that it lies in names the side with the lower best."""
    groups = [[reach for points in group if (reach := reach_of(points)) is not None] for group in (first, second)]
    low = max(min(reach.costs[0] for reach in group) for group in groups)
    high = 50.0
    stretches = stretches_of(groups[0], groups[1], low=low, high=high)
    for before, after in itertools.pairwise(stretches):
        assert before.high == after.low
        assert before.is_first_better != after.is_first_better
    for cost in np.geomspace(low, high, 301):
        bests = [best_at(group, float(cost)) for group in groups]
        assert bests[0] is not None
        assert bests[1] is not None
        difference = bests[0] - bests[1]
        if abs(difference) > 1e-9:
            (at,) = {s.is_first_better for s in stretches if s.low < cost < s.high} or {difference < 0}
            assert at == (difference < 0)


@given(first=st.lists(POINTS, min_size=1, max_size=3), second=st.lists(POINTS, min_size=1, max_size=3))
@settings(deadline=None, max_examples=100)
def test_where_nothing_jumps_the_two_are_equal_at_a_crossing(
    first: list[list[tuple[float, float]]], second: list[list[tuple[float, float]]]
):
    groups = [[reach for points in group if (reach := reach_of(points)) is not None] for group in (first, second)]
    low = max(min(reach.costs[0] for reach in group) for group in groups)
    for stretch in stretches_of(groups[0], groups[1], low=low, high=50.0)[1:]:
        bests = [best_at(group, stretch.low * (1 + 1e-12)) for group in groups]
        just_before = [best_at(group, stretch.low * (1 - 1e-9)) for group in groups]
        assert None not in bests
        is_equal = bests[0] == pytest.approx(bests[1], abs=1e-6)
        if stretch.begins_with_jump:
            assert just_before != pytest.approx(bests, abs=1e-6)
        else:
            assert is_equal or just_before[0] == pytest.approx(just_before[1], abs=1e-6)


def test_two_lines_cross_where_a_ruler_says():
    """2.0 to 1.6 against 1.9 to 1.7 over a factor of 16: equal halfway, at 4."""
    steep = Reach(costs=(1.0, 16.0), nlls=(2.0, 1.6))
    flat = Reach(costs=(1.0, 16.0), nlls=(1.9, 1.7))
    one, two = stretches_of([steep], [flat], low=1.0, high=16.0)
    assert (one.is_first_better, two.is_first_better) == (False, True)
    assert one.high == two.low == pytest.approx(4.0)
    assert not two.begins_with_jump


def test_a_curve_that_begins_better_makes_a_jump():
    """The second group's other curve begins at 4, and is better from its first point on."""
    first = Reach(costs=(1.0,), nlls=(1.8,))
    second = Reach(costs=(1.0,), nlls=(1.9,)), Reach(costs=(4.0,), nlls=(1.7,))
    one, two = stretches_of([first], second, low=1.0, high=16.0)
    assert (one.is_first_better, two.is_first_better) == (True, False)
    assert (two.low, two.begins_with_jump) == (4.0, True)
