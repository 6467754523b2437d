import math
import random
from typing import Any

import numpy as np
import pytest
from factories import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from switchbench.compare import SCALING_COSTS, Configuration, Scaling, fit_scaling
from switchbench.compare.scaling import COSTLESS, EXPERTS, SHAPE, CostPoint, fit_power_law
from switchbench.cost.memory import count_memory
from switchbench.spec import RunSpec
from tests.compare.made_up import make_configuration

NLLS = {0: [1.7], 1: [1.7]}
SIZES = ("xxs", "xs", "s")


def on_lines(lines: dict[str, list[tuple[int, float]]]) -> list[CostPoint]:
    return [CostPoint(line=line, params=n, cost=cost) for line, points in lines.items() for n, cost in points]


def made_up(spec: RunSpec, *, step_time_s: float | None = 0.02, **columns: Any) -> Configuration:
    return make_configuration(spec, NLLS, step_time_s=step_time_s, **columns)


def sparse(num_experts: int, *, size: str = "xxs", **changes: Any) -> RunSpec:
    return make_spec(num_experts=num_experts, size=size, **changes)


def params(spec: RunSpec) -> int:
    return made_up(spec).ends[0].params_total


def found(scaling: tuple[Scaling, ...], group: str, cost: str) -> Scaling:
    (each,) = [each for each in scaling if (each.group, each.cost) == (group, cost)]
    return each


# The fit


def test_an_exact_power_law_is_found_whatever_the_factors_of_its_lines():
    points = on_lines({"a": [(n, 3.0 * n**0.4) for n in (10, 20, 80)], "b": [(n, 700.0 * n**0.4) for n in (5, 50)]})
    law = fit_power_law(points)
    assert law.exponent == pytest.approx(0.4, abs=1e-12)
    assert law.ci95 == pytest.approx((0.4, 0.4), abs=1e-6)


@st.composite
def lines(draw: st.DrawFn) -> list[CostPoint]:
    sizes = st.lists(st.integers(100, 10**9), min_size=3, max_size=5, unique=True)
    costs = st.floats(1e-3, 1e12)
    drawn = {str(i): [(n, draw(costs)) for n in draw(sizes)] for i in range(draw(st.integers(1, 4)))}
    return on_lines(drawn)


@settings(max_examples=100, deadline=None)
@given(points=lines())
def test_the_fit_is_that_of_a_regression_with_a_constant_per_line(points: list[CostPoint]):
    """The slow, obvious twin: a design matrix with a column per line, and the textbook's covariance of it."""
    names = sorted({point.line for point in points})
    design = np.array([[math.log(p.params), *(float(p.line == name) for name in names)] for p in points])
    logs = np.array([math.log(point.cost) for point in points])
    solution = np.linalg.lstsq(design, logs, rcond=None)[0]
    residuals = logs - design @ solution
    freedom = len(points) - design.shape[1]
    covariance = residuals @ residuals / freedom * np.linalg.inv(design.T @ design)
    half_width = stats.t.ppf(0.975, freedom) * math.sqrt(covariance[0, 0])
    law = fit_power_law(points)
    scale = 1e-6 * (1 + abs(solution[0]) + half_width)
    assert law.exponent == pytest.approx(solution[0], abs=scale)
    assert law.ci95 == pytest.approx((solution[0] - half_width, solution[0] + half_width), abs=scale)


@pytest.mark.parametrize("num_lines", [1, 3])
def test_the_interval_covers_the_truth_as_often_as_it_says(num_lines: int):
    """4000 made-up sweeps of three numbers of experts per shape, step times with 5% noise; 95% ± 3 standard errors."""
    source, covered, number = random.Random(7), 0, 4000
    for _ in range(number):
        drawn = {
            str(line): [(n, (line + 1) * n**0.2 * math.exp(source.gauss(0, 0.05))) for n in (70, 170, 570)]
            for line in range(num_lines)
        }
        low, high = fit_power_law(on_lines(drawn)).ci95
        covered += low <= 0.2 <= high
    assert abs(covered / number - 0.95) < 3 * math.sqrt(0.95 * 0.05 / number)


# Which models are on a line


def test_the_settings_that_are_told_apart_exist():
    """A setting that is renamed must not turn models that are alike into different ones, or different ones into one."""
    spec = sparse(4).model_dump(mode="json")
    for path in (*COSTLESS, *SHAPE, *EXPERTS):
        value: Any = spec
        for part in path.split("."):
            assert part in value, path
            value = value[part]


def test_dense_models_by_size_and_sparse_ones_by_experts():
    dense = [made_up(make_spec(size=size)) for size in SIZES]
    routed = [made_up(sparse(experts, size=size)) for size in SIZES for experts in (2, 8, 32)]
    scaling = fit_scaling([*dense, *routed])
    assert [(each.group, each.cost) for each in scaling] == [
        (group, cost) for group in ("dense_by_size", "sparse_by_experts", "sparse_all") for cost in SCALING_COSTS
    ]
    assert [found(scaling, group, "step_time_s").configurations for group in ("dense_by_size", "sparse_all")] == [3, 9]
    by_experts = found(scaling, "sparse_by_experts", "useful_train_flops_per_token")
    assert by_experts.exponent is not None
    assert 0 < by_experts.exponent < 0.05
    assert (by_experts.n_min, by_experts.n_max) == (params(sparse(2)), params(sparse(32, size="s")))
    by_size = found(scaling, "dense_by_size", "useful_train_flops_per_token")
    assert by_size.exponent is not None
    assert 0.8 < by_size.exponent < 1.0


def test_the_training_state_is_in_proportion_to_the_parameters():
    scaling = fit_scaling([made_up(sparse(experts)) for experts in (2, 8, 32)])
    state = found(scaling, "sparse_by_experts", "training_state_bytes")
    assert state.exponent == pytest.approx(1.0, abs=1e-9)
    assert state.per_added_param == pytest.approx(16)
    assert state.is_exact
    memory = count_memory(sparse(8))  # the second entry
    assert memory.weights + memory.gradients + memory.optimizer == 16 * params(sparse(8))


def test_the_costs_are_those_of_the_rows():
    """Second entries: FLOPs of the whole training over its tokens, and fits to the columns themselves."""
    experts = (2, 8, 32)
    memory = {2: (60, 80), 8: (90, 90), 32: (190, 210)}
    times = {2: 0.020, 8: 0.022, 32: 0.035}
    configurations = []
    for number in experts:
        configuration = made_up(sparse(number), step_time_s=times[number])
        for seed, peak in enumerate(memory[number]):
            end = configuration.ends[seed].model_copy(update={"peak_memory_bytes": peak * 2**20})
            configuration.ends[seed] = end
        configurations.append(configuration)
    scaling = fit_scaling(configurations)
    sizes = [math.log(params(sparse(number))) for number in experts]
    ends = [configuration.ends[0] for configuration in configurations]
    expected = {
        "step_time_s": list(times.values()),
        "peak_memory_bytes": [70, 90, 200],
        "useful_train_flops_per_token": [(row.useful_train_flops or 0) / (row.tokens_seen or 1) for row in ends],
        "provisioned_train_flops_per_token": [
            (row.provisioned_train_flops or 0) / (row.tokens_seen or 1) for row in ends
        ],
    }
    for cost, values in expected.items():
        slope = stats.linregress(sizes, np.log(values)).slope
        assert found(scaling, "sparse_by_experts", cost).exponent == pytest.approx(slope), cost
    peak = found(scaling, "sparse_by_experts", "peak_memory_bytes")
    added = (200 - 70) * 2**20 / (params(sparse(32)) - params(sparse(2)))
    assert peak.per_added_param == pytest.approx(added)


def test_models_that_cost_the_same_are_one_point():
    """Otherwise a sweep over learning rates would multiply its certainty without another model."""
    experts, rates = (2, 8, 32), (1e-3, 5e-3, 2e-2)
    once = fit_scaling([made_up(sparse(number)) for number in experts])
    thrice = fit_scaling(
        [made_up(sparse(number, train={"learning_rate": rate})) for number in experts for rate in rates]
    )
    assert thrice == once


def test_models_that_differ_otherwise_have_lines_of_their_own():
    """Half the batch takes half the time: as points of one line they would hide what experts cost."""
    batches = {2048: 0.02, 4096: 0.04}
    configurations = [
        made_up(sparse(experts, train={"batch_tokens": batch}), step_time_s=seconds * params(sparse(experts)) ** 0.3)
        for experts in (2, 8, 32)
        for batch, seconds in batches.items()
    ]
    time = found(fit_scaling(configurations), "sparse_by_experts", "step_time_s")
    assert time.exponent == pytest.approx(0.3)
    assert time.configurations == 6


def test_a_model_that_has_none_to_be_compared_with_is_left_out():
    others = [made_up(sparse(experts)) for experts in (2, 8, 32)]
    lonely = made_up(sparse(4, size="s"))
    alone, beside = fit_scaling(others), fit_scaling([*others, lonely])
    assert found(beside, "sparse_by_experts", "step_time_s") == found(alone, "sparse_by_experts", "step_time_s")


def test_runs_that_failed_are_left_out():
    good = [made_up(sparse(experts)) for experts in (2, 8, 32)]
    failed = made_up(sparse(128), status="oom", peak_memory_bytes=2**40)
    assert fit_scaling([*good, failed]) == fit_scaling(good)
    assert fit_scaling([failed]) == ()
    assert fit_scaling([]) == ()


# Doubts


def test_two_sizes_are_no_line():
    scaling = fit_scaling([made_up(make_spec(size=size)) for size in ("xxs", "xs")])
    for each in scaling:
        assert (each.exponent, each.ci95) == (None, None)
        assert "FEW_POINTS" in each.caveats
        assert each.configurations == 2
    assert found(scaling, "dense_by_size", "training_state_bytes").per_added_param == pytest.approx(16)


def test_one_model_is_not_even_two():
    (first, *_) = scaling = fit_scaling([made_up(make_spec())])
    assert (first.configurations, first.n_min, first.n_max, first.per_added_param) == (0, None, None, None)
    assert all("FEW_POINTS" in each.caveats for each in scaling)


def test_all_sparse_models_take_three_shapes():
    groups = {each.group for each in fit_scaling([made_up(sparse(n, size=s)) for n in (2, 8, 32) for s in SIZES[:2]])}
    assert groups == {"sparse_by_experts"}


def test_two_numbers_of_experts_at_two_shapes_are_enough_for_one_slope():
    scaling = fit_scaling([made_up(sparse(n, size=s)) for n in (2, 32) for s in SIZES[:2]])
    assert found(scaling, "sparse_by_experts", "step_time_s").exponent is not None


@pytest.mark.parametrize(("experts", "is_narrow"), [((4, 6, 8), True), ((2, 8, 32), False)])
def test_a_narrow_range_is_said(experts: tuple[int, ...], is_narrow: bool):
    """Among models that are alike: that other shapes are far larger does not widen it."""
    scaling = fit_scaling([made_up(sparse(number, size=size)) for number in experts for size in ("xxs", "s")])
    for each in scaling:
        assert ("NARROW_RANGE" in each.caveats) == is_narrow


def test_step_times_bring_their_doubts_along():
    known = [made_up(sparse(experts)) for experts in (2, 8)]
    scaling = fit_scaling([*known, made_up(sparse(32), step_time_s=None)])
    time = found(scaling, "sparse_by_experts", "step_time_s")
    assert time.caveats == ("CPU_TIMING", "NOT_TIMED", "FEW_POINTS")
    assert found(scaling, "sparse_by_experts", "useful_train_flops_per_token").caveats == ()


def test_memory_of_different_machines_is_said():
    configurations = [made_up(sparse(experts), machine_id=f"machine {experts}") for experts in (2, 8, 32)]
    scaling = fit_scaling(configurations)
    assert found(scaling, "sparse_by_experts", "peak_memory_bytes").caveats == ("MIXED_MACHINES",)
    assert found(scaling, "sparse_by_experts", "training_state_bytes").caveats == ()


@pytest.mark.parametrize(("dropped", "is_said"), [(0.0, False), (0.05, False), (0.9, True)])
def test_a_model_that_dropped_many_of_its_tokens_flatters_itself(dropped: float, is_said: bool):
    """A twentieth of the experts' tokens is less than a twentieth of all FLOPs."""
    good = [made_up(sparse(experts), dropped=0.0) for experts in (2, 8)]
    scaling = fit_scaling([*good, made_up(sparse(32), dropped=dropped)])
    for each in scaling:
        is_measured = each.cost in ("step_time_s", "peak_memory_bytes")
        assert ("DROPPED_TOKENS" in each.caveats) == (is_said and is_measured)
