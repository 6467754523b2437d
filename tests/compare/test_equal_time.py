import math
import statistics
from dataclasses import replace

import pytest
from factories import make_spec
from hypothesis import given
from hypothesis import strategies as st

from switchbench.caveats import Caveat
from switchbench.compare import MEASURES, Configuration, compare_at_equal_time
from switchbench.compare.equal_time import cut_curve
from tests.compare.made_up import make_configuration
from tests.compare.test_speedups import make_curve

DENSE, LARGE, SPARSE = make_spec(), make_spec(size="xs"), make_spec(num_experts=4, capacity_factor=2.0)
SEEDS = range(3)


def make_study(*, sparse_step_s: float = 0.015, dense_step_s: float = 0.02) -> list[Configuration]:
    return [
        make_configuration(DENSE, {s: [2.0, 1.8 + s / 100, 1.7] for s in SEEDS}, step_time_s=dense_step_s),
        make_configuration(SPARSE, {s: [1.9, 1.74, 1.66 - s / 100] for s in SEEDS}, step_time_s=sparse_step_s),
    ]


def nll_at(configuration: Configuration, seed: int, time_s: float) -> float:
    """By hand: the two annealed rows around a time, and a straight line in its logarithm."""
    assert configuration.timing is not None
    step_s = configuration.timing.step_time_s
    rows = [*configuration.earlier[seed], configuration.ends[seed]]
    times = [row.tokens_seen / row.batch_tokens * step_s for row in rows if row.tokens_seen]
    nlls = [row.nll for row in rows if row.nll]
    after = next(i for i, each in enumerate(times) if each >= time_s)
    weight = (math.log(time_s) - math.log(times[after - 1])) / (math.log(times[after]) - math.log(times[after - 1]))
    return nlls[after - 1] * (1 - weight) + nlls[after] * weight


def test_the_difference_is_between_rows_by_hand():
    dense, sparse = make_study()
    (found,) = compare_at_equal_time([dense, sparse], sweep="capacity")
    time_s = sparse.ends[0].tokens_seen / 4096 * 0.015  # type: ignore[operator]
    assert found.train_time_s == pytest.approx(time_s)
    differences = [sparse.ends[seed].nll - nll_at(dense, seed, time_s) for seed in SEEDS]  # type: ignore[operator]
    difference = found.measured("delta_nll")
    assert difference.value == pytest.approx(statistics.fmean(differences))
    assert difference.by_seed == {seed: pytest.approx(value) for seed, value in enumerate(differences)}
    assert (found.candidates, difference.matched_on) == (1, "iso_time")
    assert (difference.dense, difference.sparse) == (dense.config_id, sparse.config_id)
    assert [comparison.measure for comparison in found.comparisons] == list(MEASURES)
    assert difference.ci95 is not None
    target = statistics.fmean(nll_at(dense, seed, time_s) for seed in SEEDS)
    assert difference.target_nll == pytest.approx(target)
    speedup = found.measured("time_speedup").value
    assert speedup is not None
    at_target = [nll for nll in (nll_at_sparse(sparse, time_s / speedup),)]
    assert at_target == [pytest.approx(target)]
    bits = found.measured("delta_bits_per_byte")
    assert bits.value == pytest.approx(difference.value / math.log(2))  # a token is a byte
    assert bits.ci95 == pytest.approx([end / math.log(2) for end in difference.ci95])
    assert "CPU_TIMING" in difference.caveats  # its time is in every one of them
    assert Caveat.PICKED_BEST not in difference.caveats


def nll_at_sparse(sparse: Configuration, time_s: float) -> float:
    return statistics.fmean(nll_at(sparse, seed, time_s) for seed in SEEDS)


def test_the_best_dense_one_of_several_is_chosen():
    """The larger one has too few tokens for that time; with a faster step it is the better one."""
    dense, sparse = make_study()
    nlls = {seed: [1.75, 1.6, 1.5] for seed in SEEDS}
    slow = make_configuration(LARGE, nlls, step_time_s=0.2)
    fast = make_configuration(LARGE, nlls, step_time_s=0.02)
    (found,) = compare_at_equal_time([dense, slow, sparse], sweep="s")
    assert (found.dense.config_id, found.candidates) == (dense.config_id, 1)
    (found,) = compare_at_equal_time([dense, fast, sparse], sweep="s")
    assert (found.dense.config_id, found.candidates) == (fast.config_id, 2)
    assert found.dense_nll == pytest.approx(nll_at(fast, 0, found.train_time_s))
    assert Caveat.PICKED_BEST in found.measured("delta_nll").caveats


def test_a_dense_one_that_ended_before_may_be_the_best_still():
    """It took half of the time and is better than the one that was at it then; alone, it would say nothing."""
    dense, sparse = make_study()
    quick = make_configuration(LARGE, {seed: [1.75, 1.6, 1.5] for seed in SEEDS}, step_time_s=0.0075)
    (found,) = compare_at_equal_time([dense, quick, sparse], sweep="s")
    assert (found.dense.config_id, found.candidates) == (quick.config_id, 2)
    assert found.dense_nll == pytest.approx(1.5)
    assert {Caveat.ENDED_BEFORE, Caveat.PICKED_BEST} <= set(found.measured("delta_nll").caveats)
    (alone,) = compare_at_equal_time([quick, sparse], sweep="s")
    assert (alone.candidates, alone.measured("delta_nll").value) == (0, None)


@pytest.mark.parametrize("step_s", [0.0201, 0.0049])
def test_nothing_is_extrapolated(step_s: float):
    """The sparse run takes longer than the dense one's end, or less than its first annealed point."""
    (found,) = compare_at_equal_time(make_study(sparse_step_s=step_s), sweep="s")
    assert (found.candidates, found.dense_nll) == (0, None)
    for comparison in found.comparisons:
        assert comparison.value is None
        assert Caveat.OUTSIDE_RANGE in comparison.caveats


def test_as_long_as_the_dense_end_is_inside():
    (found,) = compare_at_equal_time(make_study(sparse_step_s=0.02), sweep="s")
    assert found.dense_nll == pytest.approx(1.7)


def test_without_times_or_on_other_text_or_batches_there_is_nothing_to_compare():
    dense, sparse = make_study()
    assert compare_at_equal_time([dense], sweep="s") == ()
    assert compare_at_equal_time([], sweep="s") == ()
    assert compare_at_equal_time([replace(dense, timing=None), sparse], sweep="s") == ()
    assert compare_at_equal_time([dense, replace(sparse, timing=None)], sweep="s") == ()
    other_text = replace(dense, spec=dense.spec | {"vocab_size": 512})
    assert compare_at_equal_time([other_text, sparse], sweep="s") == ()
    batches = make_spec(train={"batch_tokens": 8192})
    other_batch = make_configuration(batches, {0: [2.0, 1.8, 1.7]}, step_time_s=0.02)
    assert compare_at_equal_time([other_batch, sparse], sweep="s") == ()


@given(share=st.floats(0, 1), nlls=st.lists(st.floats(1, 3), min_size=3, max_size=3))
def test_a_cut_curve_is_the_curve_up_to_there(share: float, nlls: list[float]):
    curve = make_curve(*nlls)
    tokens = 100.0 * 4.0**share
    cut = cut_curve(curve, tokens=tokens)
    assert cut is not None
    assert cut[-1].tokens == pytest.approx(tokens)
    assert cut[-1].executed_flops == pytest.approx(8 * tokens)
    position = 2 * share
    before = min(int(position), 1)
    expected = nlls[before] + (position - before) * (nlls[before + 1] - nlls[before])
    assert cut[-1].nll == pytest.approx(expected, abs=1e-6)
    assert cut[:-1] == tuple(point for point in curve if point.tokens < cut[-1].tokens)
    assert cut_curve(curve, tokens=99.0) is None
    assert cut_curve(curve, tokens=401.0) is None
