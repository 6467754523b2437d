"""Which runs are of one size."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.laws import Observations
from switchbench.laws.sizes import SAME_WITHIN, TWINS_WITHIN, sizes_of


def runs(n: list[float], e: list[float]) -> Observations:
    return Observations(n=np.array(n), e=np.array(e), loss=np.ones(len(n)))


def test_a_router_makes_no_size_of_its_own():
    found = sizes_of(runs([57600, 57900, 58400, 294000, 296000, 350000], [1, 4, 16, 1, 16, 16]))
    assert list(found.values) == [57600, 294000, 350000]
    assert list(found.index) == [0, 0, 0, 1, 1, 2]


def test_twins_of_several_sparse_models_are_one_size():
    found = sizes_of(runs([1000, 1010, 1100, 2000], [1, 1, 8, 1]))
    assert list(found.values) == [1000, 2000]
    assert list(found.index) == [0, 0, 0, 1]


def test_dense_runs_alone_are_as_many_sizes_as_there_are():
    assert sizes_of(runs([1000, 1001, 1002], [1, 1, 1])).number == 3
    assert sizes_of(runs([], [])).number == 0


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.tuples(st.floats(1e3, 1e5), st.sampled_from([1.0, 4.0, 16.0])), min_size=2, max_size=30))
def test_each_run_belongs_to_the_nearest_dense_size(rows: list[tuple[float, float]]):
    n, e = (list(column) for column in zip(*rows, strict=True))
    found = sizes_of(runs(n, e))
    if len(set(e)) == 1:
        assert sorted(set(n)) == list(found.values)
        return
    anchors: list[float] = []
    for size in sorted(size for size, experts in rows if experts == min(e)):
        if not anchors or size > SAME_WITHIN * anchors[-1]:
            anchors.append(size)
    for size, index in zip(n, found.index, strict=True):
        nearest = min(anchors, key=lambda anchor: abs(np.log(size / anchor)))
        is_twin = abs(np.log(size / nearest)) <= np.log(TWINS_WITHIN)
        assert found.values[index] == (nearest if is_twin else size)
