import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench.compare import CurvePoint, first_crossing, mean_curve
from switchbench.compare.curves import Curve, is_monotone


def make_curve(tokens: Sequence[float], nll: Sequence[float], *, padding: float = 2.0) -> Curve:
    """A curve whose executed FLOPs are 10 per token, and the provisioned ones ``padding`` times that."""
    return tuple(
        CurvePoint(tokens=t, nll=value, provisioned_flops=10 * padding * t, executed_flops=10 * t)
        for t, value in zip(tokens, nll, strict=True)
    )


CURVE = make_curve([100, 200, 400], [3.0, 2.5, 2.0])


def test_halfway_between_two_points_is_their_geometric_mean():
    crossing = first_crossing(CURVE, target_nll=2.25)
    assert crossing is not None
    assert crossing.tokens == pytest.approx(math.sqrt(200 * 400))
    assert crossing.executed_flops == pytest.approx(10 * math.sqrt(200 * 400))
    assert crossing.provisioned_flops == pytest.approx(20 * math.sqrt(200 * 400))
    assert not crossing.is_bound


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_target_that_a_point_has_is_crossed_exactly_there(index: int):
    crossing = first_crossing(CURVE, target_nll=CURVE[index].nll)
    assert crossing is not None
    assert (crossing.tokens, crossing.executed_flops) == (CURVE[index].tokens, CURVE[index].executed_flops)
    assert not crossing.is_bound


def test_nothing_is_said_beyond_the_points():
    assert first_crossing(CURVE, target_nll=1.99) is None
    assert first_crossing((), target_nll=1.0) is None
    before = first_crossing(CURVE, target_nll=3.5)
    assert before is not None
    assert (before.tokens, before.is_bound) == (100, True)


def test_the_first_of_several_crossings_counts():
    curve = make_curve([100, 200, 400, 800], [3.0, 2.0, 2.6, 1.9])
    crossing = first_crossing(curve, target_nll=2.2)
    assert crossing is not None
    assert 100 < crossing.tokens < 200
    assert not is_monotone(curve)
    assert is_monotone(CURVE)


def test_a_run_whose_flops_were_not_recorded_still_has_tokens():
    points = [CurvePoint(tokens=t, nll=n, provisioned_flops=None, executed_flops=t) for t, n in ((10, 3.0), (20, 2.0))]
    crossing = first_crossing(tuple(points), target_nll=2.5)
    assert crossing is not None
    assert crossing.provisioned_flops is None
    assert crossing.executed_flops == pytest.approx(math.sqrt(200))


nlls = st.lists(st.floats(0.5, 6.0), min_size=1, max_size=6)


@given(nll=nlls, target=st.floats(0.4, 6.1))
def test_the_slow_and_obvious_way_finds_the_same_crossing(nll: list[float], target: float):
    """Walk along the curve in small steps of log(tokens) and stop at the first place that is good enough."""
    curve = make_curve([100.0 * 2**i for i in range(len(nll))], nll)
    crossing = first_crossing(curve, target_nll=target)

    walked = 100.0 if nll[0] <= target else None
    steps = 2000
    for i in range(len(nll) - 1):
        for k in range(1, steps + 1):
            here = nll[i + 1] if k == steps else nll[i] + (nll[i + 1] - nll[i]) * k / steps
            if walked is None and here <= target:
                walked = 100.0 * 2 ** (i + k / steps)
    assert (walked is None) == (crossing is None)
    if crossing is not None:
        assert crossing.tokens == pytest.approx(walked, rel=2 / steps)
        assert crossing.is_bound == (nll[0] < target)


@given(nll=nlls, target=st.floats(0.4, 6.1), scale=st.floats(0.01, 1000))
def test_more_tokens_move_a_crossing_in_proportion(nll: list[float], target: float, scale: float):
    tokens = [100.0 * 2**i for i in range(len(nll))]
    plain = first_crossing(make_curve(tokens, nll), target_nll=target)
    scaled = first_crossing(make_curve([scale * t for t in tokens], nll), target_nll=target)
    assert (plain is None) == (scaled is None)
    if plain is not None and scaled is not None:
        assert scaled.tokens == pytest.approx(scale * plain.tokens, rel=1e-9)


@given(nll=st.lists(st.floats(0.5, 6.0), min_size=2, max_size=6))
def test_a_crossing_lies_between_the_points_around_it(nll: list[float]):
    curve = make_curve([100.0 * 2**i for i in range(len(nll))], nll)
    crossing = first_crossing(curve, target_nll=min(nll))
    assert crossing is not None
    assert crossing.tokens == curve[nll.index(min(nll))].tokens
    assert crossing.executed_flops == curve[nll.index(min(nll))].executed_flops


def test_the_mean_is_over_the_token_counts_that_all_seeds_have():
    first, second = make_curve([100, 200, 400], [3.0, 2.5, 2.0]), make_curve([100, 400], [3.2, 2.2])
    mean = mean_curve([first, second])
    assert [(point.tokens, point.nll) for point in mean] == [(100, pytest.approx(3.1)), (400, pytest.approx(2.1))]
    assert mean[1].executed_flops == 4000
    assert mean_curve([first]) == first
