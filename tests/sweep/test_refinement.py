"""The finer grid of dense configurations: equally many tries, whatever is tuned and wherever a best value lies."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.spec import RunSpec
from switchbench.sweep.cells import Choice
from switchbench.sweep.fields import FIELDS
from switchbench.sweep.grids import Grids, edge_of, extended, first_grids, with_values
from switchbench.sweep.refinement import beyond, finer
from tests.factories import make_spec

SPECS = {spec.config_id: spec for spec in (make_spec(num_experts=4), make_spec())}
RATE = "train.learning_rate"
SHARED = {  # with what a value must be
    RATE: lambda value: value > 0,
    "train.weight_decay": lambda value: value >= 0,
    "train.warmup_fraction": lambda value: 0 <= value < 0.8,
}
OF_SPARSE = ["model.ffn.aux_loss_weight", "model.ffn.router_init_scale", "model.ffn.router_jitter"]


def axis(path: str) -> st.SearchStrategy[list[float]]:
    numbers = st.floats(1e-6, 0.79, allow_subnormal=False) | st.integers(1, 7).map(lambda number: number / 10)
    if path not in (RATE, "model.ffn.router_init_scale"):
        numbers |= st.just(0.0)
    return st.lists(numbers, min_size=2, max_size=4, unique=True)


@st.composite
def tuned_grids(draw: st.DrawFn) -> dict[str, list[float]]:
    shared = draw(st.lists(st.sampled_from(sorted(SHARED)), min_size=1, max_size=2, unique=True))
    own = draw(st.lists(st.sampled_from(OF_SPARSE), min_size=1, max_size=2, unique=True))
    return {path: draw(axis(path)) for path in draw(st.permutations([*shared, *own]))}


def combinations(grids: Grids, kind: str) -> list[tuple[float, ...]]:
    return list(itertools.product(*grids.of(kind).values()))


@settings(max_examples=60, deadline=None)
@given(grid=tuned_grids(), picks=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=2))
def test_sparse_and_dense_get_equally_many_different_tries_the_given_and_earlier_values_among_them(grid, picks):
    grids = first_grids(grid, SPECS.values())
    assert grids is not None
    assert grids == first_grids(grid, SPECS.values())
    before: dict[str, set[tuple[float, ...]]] = {"sparse": set(), "dense": set()}
    for pick in [*picks, None]:
        tried = {kind: combinations(grids, kind) for kind in before}
        assert len(tried["sparse"]) == len(tried["dense"])
        for kind, each in tried.items():
            assert len(set(each)) == len(each)
            assert set(each) >= before[kind] | set(
                itertools.product(*(values for path, values in grid.items() if kind in FIELDS[path].kinds))
            )
            before[kind] = set(each)
        for path, is_good in SHARED.items():
            assert all(is_good(value) for value in grids.of("dense").get(path, ()))
        if pick is not None:  # wherever the best values are
            choices = {
                key: chosen(spec, grids, tried[spec.model.ffn.kind][index % len(tried["sparse"])])
                for (key, spec), index in zip(SPECS.items(), pick, strict=True)
            }
            grids = extended(grids, choices=choices, specs=SPECS)


def chosen(spec: RunSpec, grids: Grids, best: tuple[float, ...]) -> Choice:
    kind = spec.model.ffn.kind
    values = dict(zip(grids.of(kind), best, strict=True))
    return Choice(kind=kind, settings={}, tries=(), chosen=values, at_edge=(), config_id=None)


def test_a_best_value_at_an_edge_of_its_own_grid_gives_both_kinds_a_value_beyond_theirs():
    grid = {RATE: [0.01, 0.02, 0.04], OF_SPARSE[0]: [0.01, 0.1]}
    grids = first_grids(grid, SPECS.values())
    assert grids is not None
    middles = [0.0141421, 0.0282843]
    assert grids.of("dense") == {RATE: (0.01, 0.02, 0.04, *middles, 0.005)}
    sparse, dense = SPECS.values()
    assert edge_of(sparse, RATE, 0.01, grids.of("sparse")) == edge_of(dense, RATE, 0.005, grids.of("dense")) == -1
    assert edge_of(dense, RATE, 0.01, grids.of("dense")) == 0

    def after(of_sparse: tuple[float, float], of_dense: float) -> Grids:
        choices = [chosen(sparse, grids, of_sparse), chosen(dense, grids, (of_dense,))]
        return extended(grids, choices=dict(zip(SPECS, choices, strict=True)), specs=SPECS)

    assert after((0.02, 0.1), 0.01).grid[OF_SPARSE[0]] == (0.01, 0.1, 1.0)
    assert len(after((0.02, 0.1), 0.01).finer) == 9
    lower = after((0.04, 0.01), 0.005)  # sparse at the upper edge, dense at the lower one
    assert lower.grid == {RATE: (0.01, 0.02, 0.04, 0.005, 0.08), OF_SPARSE[0]: (0.01, 0.1, 0.001)}
    assert set(lower.finer) >= {*grids.finer, 0.0025, 0.08}
    assert len(lower.finer) == 15


def exactly(count: int, number: int) -> list[Fraction]:
    """Where values are, in steps of the grid from its first one."""
    found = [Fraction(index) for index in range(count)]
    center = Fraction(count - 1, 2)
    while len(found) < number:
        gaps = list(itertools.pairwise(sorted(found)))
        gaps.sort(key=lambda gap: (gap[0] - gap[1], abs((gap[0] + gap[1]) / 2 - center)))
        found += [(low + high) / 2 for low, high in gaps] + [min(found) - 1, max(found) + 1]
    return found[:number]


@given(count=st.integers(2, 5), times=st.integers(1, 8), ratio=st.sampled_from([2.0, 3.0, 10.0]))
def test_values_are_added_as_in_exact_arithmetic(count, times, ratio):
    grid = [0.001 * ratio**step for step in range(count)]
    added = finer(grid, number=count * times, is_allowed=lambda value: True)
    assert added is not None
    assert added == pytest.approx([0.001 * ratio ** float(step) for step in exactly(count, count * times)], rel=1e-5)
    linear = finer(range(count), number=count * times, is_allowed=lambda value: True)
    assert linear == pytest.approx(list(map(float, exactly(count, count * times))), rel=1e-5)


@given(
    grid=st.lists(st.integers(1, 10**6).map(lambda number: number / 1000), min_size=2, max_size=5, unique=True),
    number=st.integers(5, 60),
)
def test_a_longer_result_begins_with_a_shorter_one_and_all_of_it_is_allowed(grid, number):
    longer = finer(grid, number=number, is_allowed=lambda value: value >= min(grid))
    assert longer is not None
    assert longer[: len(grid)] == tuple(grid)
    assert min(longer) == min(grid)
    assert len(set(longer)) == number
    shorter = finer(grid, number=max(len(grid), number // 2), is_allowed=lambda value: value >= min(grid))
    assert shorter == longer[: max(len(grid), number // 2)]


def test_where_there_are_not_enough_different_numbers_there_is_no_finer_grid():
    assert finer([1.0, math.nextafter(1.0, 2)], number=4, is_allowed=lambda value: False) is None


def test_beyond_an_edge_it_goes_on_by_the_ratio_of_the_grid():
    assert beyond(0.02, grid=[0.02, 0.005, 0.01], edge=1) == 0.04
    assert beyond(0.003, grid=[3e-3, 5e-3, 1e-2], edge=-1) == 0.0018
    assert beyond(0.1, grid=[0.0, 0.1], edge=1) is None
    assert beyond(1e308, grid=[1e306, 1e308], edge=1) is None
    assert beyond(0.1, grid=[0.0, 0.1], edge=1, is_geometric=False) == 0.2


def test_a_finer_grid_is_of_the_first_field_of_numbers_that_both_kinds_have():
    grid = {OF_SPARSE[0]: [0, 1], "train.betas": [[0.9, 0.95], [0.9, 0.99]], "train.weight_decay": [0, 1], RATE: [1, 2]}
    grids = first_grids(grid, SPECS.values())
    assert grids is not None
    assert grids.refined == "train.weight_decay"
    assert grids.of("dense")["train.weight_decay"] == (0, 1, 0.5, 2)  # none below 0
    for values in grids.of("dense")["train.weight_decay"]:
        with_values(make_spec(), {"train.weight_decay": values})
    assert first_grids({path: grid[path] for path in list(grid)[:2]}, SPECS.values()) is None
    assert first_grids(grid, [make_spec(num_experts=4)]) == Grids(grid=grid)
