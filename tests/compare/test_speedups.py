import csv
import gzip
import itertools
import math
from pathlib import Path

import pytest
from factories import make_spec

from switchbench.caveats import Caveat
from switchbench.compare import CurvePoint, compare_pairs, speedup_of_curves
from switchbench.compare.curves import Curve
from tests.compare.made_up import make_configuration

CLARK = Path(__file__).resolve().parents[3] / "shared" / "data" / "clark_routed" / "curves.csv.gz"
TOKENS_PER_STEP = 524_288


def make_curve(*nlls: float, first: float = 100.0, factor: float = 2.0) -> Curve:
    """A curve whose tokens grow by a factor from point to point, at 10 provisioned and 8 executed FLOPs per token."""
    tokens = [first * factor**i for i in range(len(nlls))]
    return tuple(
        CurvePoint(tokens=t, nll=nll, provisioned_flops=10 * t, executed_flops=8 * t)
        for t, nll in zip(tokens, nlls, strict=True)
    )


def test_a_target_of_ones_own_is_read_on_both_sides():
    """1.9 lies halfway (in log tokens) between 100 and 200 on the one, between 200 and 400 on the other."""
    found = speedup_of_curves(make_curve(2.2, 2.0, 1.8), make_curve(2.0, 1.8, 1.7), target_nll=1.9)
    assert found.value == pytest.approx(2.0)
    assert (found.bound, found.caveats) == (None, ())


@pytest.mark.parametrize(
    ("dense", "sparse", "bound", "value", "codes"),
    [
        ((2.2, 2.0, 1.9), (2.1, 1.9, 1.7), "lower", 400 / math.sqrt(200 * 400), {"NOT_REACHED"}),
        ((2.1, 1.9, 1.7), (2.2, 2.0, 1.9), "upper", math.sqrt(200 * 400) / 400, {"NOT_REACHED"}),
        ((2.2, 2.0, 1.9), (1.7, 1.6, 1.5), "lower", 4.0, {"NOT_REACHED", "BOUND_ONLY"}),
        ((1.7, 1.6, 1.5), (2.2, 2.0, 1.9), "upper", 0.25, {"NOT_REACHED", "BOUND_ONLY"}),
        ((2.2, 2.0, 1.9), (2.2, 2.0, 1.9), None, None, {"NOT_REACHED"}),
        ((1.7, 1.6, 1.5), (1.7, 1.6, 1.5), None, None, {"BOUND_ONLY"}),
    ],
)
def test_what_is_censored_is_a_bound_of_what_is_known(
    dense: tuple[float, ...], sparse: tuple[float, ...], bound: str | None, value: float | None, codes: set[str]
):
    found = speedup_of_curves(make_curve(*dense), make_curve(*sparse), target_nll=1.8)
    assert (found.bound, set(found.caveats)) == (bound, codes)
    assert found.value == (None if value is None else pytest.approx(value))


def test_a_target_moves_the_speedups_of_all_pairs_and_nothing_else():
    specs = make_spec(), make_spec(num_experts=4, capacity_factor=2.0)
    nlls = {0: [2.2, 2.0, 1.8], 1: [2.21, 2.0, 1.81]}, {0: [2.0, 1.8, 1.7], 1: [2.0, 1.79, 1.7]}
    sides = [
        make_configuration(specs[0], nlls[0], twin_of=(specs[1].config_id,)),
        make_configuration(specs[1], nlls[1], step_time_s=0.03),
    ]
    (own,) = compare_pairs(sides, sweep="capacity")
    (given,) = compare_pairs(sides, sweep="capacity", target_nll=1.9)
    assert own.measured("delta_nll").value == given.measured("delta_nll").value
    assert given.target_nll == 1.9
    steps = given.measured("step_speedup")
    mean = [sum(point) / 2 for point in zip(*nlls[0].values(), strict=True)]
    mean_sparse = [sum(point) / 2 for point in zip(*nlls[1].values(), strict=True)]
    tokens = [point.tokens for point in sides[0].curves[0]]
    assert steps.value == pytest.approx(reach(tokens, mean, 1.9) / reach(tokens, mean_sparse, 1.9))
    assert steps.ci95 is not None
    assert given.measured("time_speedup").value == pytest.approx(steps.value / 1.5)
    assert {comparison.target_nll for comparison in given.comparisons} == {1.9}


def reach(tokens: list[float], nlls: list[float], target: float) -> float:
    """Walk along the curve in small steps of log(tokens) until the target is reached."""
    for (t0, l0), (t1, l1) in itertools.pairwise(zip(tokens, nlls, strict=True)):
        if l1 <= target < l0:
            steps = 1_000_000
            for i in range(steps + 1):
                if l0 + (l1 - l0) * i / steps <= target:
                    return t0 * (t1 / t0) ** (i / steps)
    raise AssertionError("it is reached")


# Published curves


@pytest.fixture(scope="module")
def published() -> list[dict[str, str]]:
    if not CLARK.exists():
        pytest.skip(f"Clark's published curves are not at {CLARK}")
    with gzip.open(CLARK, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_curve(published: list[dict[str, str]], **chosen: str) -> list[tuple[float, float, float]]:
    """Step, loss and forward FLOPs of a step of one of the published runs."""
    usual = {"routing_frequency": "0.5", "k": "1", "flop_increase": "1.0", "seed": "42", "model_size_label": "25M"}
    rows = [row for row in published if all(row[name] == value for name, value in (usual | chosen).items())]
    return [(float(row["step"]), float(row["loss_validation"]), float(row["flops_per_step"])) for row in rows]


def published_curve(rows: list[tuple[float, float, float]]) -> Curve:
    return tuple(
        CurvePoint(
            tokens=step * TOKENS_PER_STEP, nll=loss, provisioned_flops=3 * flops * step, executed_flops=3 * flops * step
        )
        for step, loss, flops in rows
    )


def steps_until(rows: list[tuple[float, float, float]], target: float) -> tuple[float, bool]:
    """By hand: the first evaluation at or below the target, and a straight line in log(step) from the one before.

    Whether it is only a bound: the first evaluation in training is below the target already.
    """
    trained = [(step, loss) for step, loss, _ in rows if step > 0]
    place = next(i for i, (_, loss) in enumerate(trained) if loss <= target)
    if place == 0:
        return trained[0][0], True
    (before, above), (step, loss) = trained[place - 1], trained[place]
    share = (above - target) / (above - loss)
    return math.exp(math.log(before) * (1 - share) + math.log(step) * share), False


@pytest.mark.parametrize("router", ["S-Base", "RL-R", "Hash"])
@pytest.mark.parametrize("experts", ["8", "64", "512"])
def test_the_speedup_on_published_curves_is_that_of_the_raw_table(
    published: list[dict[str, str]], router: str, experts: str
):
    """Each router of 25M against dense 25M at the dense run's final loss."""
    dense = read_curve(published, router_type="Dense", num_experts="1")
    sparse = read_curve(published, router_type=router, num_experts=experts)
    curves = published_curve(dense), published_curve(sparse)
    steps, is_bound = steps_until(sparse, dense[-1][1])
    found = speedup_of_curves(*curves, is_annealed=False)
    assert found == speedup_of_curves(*curves, target_nll=dense[-1][1], is_annealed=False)
    assert found.value == pytest.approx(dense[-1][0] / steps, rel=1e-9)
    assert found.bound == ("lower" if is_bound else None)
    assert set(found.caveats) == {Caveat.NOT_ANNEALED, *([Caveat.BOUND_ONLY] if is_bound else [])}
    in_flops = speedup_of_curves(*curves, cost=lambda point: point.executed_flops, is_annealed=False)
    assert in_flops.value is not None
    if not is_bound:  # between two evaluations FLOPs are linear in steps, and a router adds to those of the dense model
        assert in_flops.value == pytest.approx(found.value * dense[-1][2] / sparse[-1][2], rel=1e-9)
    if (router, experts) == ("S-Base", "64"):  # the evaluations after 10,000 and 20,000 steps are on either side
        assert 249_000 / 20_000 < found.value < 249_000 / 10_000


def test_published_curves_are_censored_where_a_quality_is_not_reached(published: list[dict[str, str]]):
    """Dense 25M never gets as good as 64 experts do: more than the ratio of its whole run to where they got there."""
    dense = published_curve(read_curve(published, router_type="Dense", num_experts="1"))
    sparse = published_curve(read_curve(published, router_type="S-Base", num_experts="64"))
    found = speedup_of_curves(dense, sparse, target_nll=2.8, is_annealed=False)
    assert found.bound == "lower"
    assert set(found.caveats) == {Caveat.NOT_ANNEALED, Caveat.NOT_REACHED}
    swapped = speedup_of_curves(sparse, dense, is_annealed=False)
    assert (swapped.value, swapped.bound) == (None, None)
    assert Caveat.NOT_REACHED in swapped.caveats


TABLE_1 = {
    "T5-Base": (-1.731, None, 1600),
    "T5-Large": (-1.550, 131.1, 470),
    "Switch-Base, CF 2": (-1.554, 72.8, 860),
    "Switch-Base, CF 1.25": (-1.553, 65.0, 910),
    "Switch-Base, CF 1": (-1.561, 62.8, 1000),
}
"""Of Switch Transformer, Table 1: negative log perplexity at 100k steps, hours to -1.50, examples per second."""


@pytest.mark.parametrize("sparse", ["Switch-Base, CF 2", "Switch-Base, CF 1.25", "Switch-Base, CF 1"])
def test_break_even_and_step_times_of_the_papers_table_give_its_hours(sparse: str):
    """Examples to -1.50 are hours times examples per second: their ratio is the break-even, the hours' the speed-up."""
    rate = {name: row[2] for name, row in TABLE_1.items()}
    hours = {name: row[1] for name, row in TABLE_1.items()}

    def curve(name: str) -> Curve:
        taken = hours[name]
        assert taken is not None
        return tuple(
            CurvePoint(tokens=share * taken * 3600 * rate[name], nll=nll, provisioned_flops=None, executed_flops=None)
            for share, nll in ((0.5, 1.7), (1.0, 1.5), (1.5, 1.45))
        )

    slowdown = rate["T5-Large"] / rate[sparse]
    break_even = speedup_of_curves(curve("T5-Large"), curve(sparse), target_nll=1.5)
    in_time = speedup_of_curves(curve("T5-Large"), curve(sparse), target_nll=1.5, slowdown=slowdown)
    dense_hours, sparse_hours = hours["T5-Large"], hours[sparse]
    assert dense_hours is not None
    assert sparse_hours is not None
    assert break_even.value is not None
    assert in_time.value == pytest.approx(dense_hours / sparse_hours)
    assert (break_even.value > slowdown) == (in_time.value > 1)
    assert rate["T5-Base"] / rate["Switch-Base, CF 1"] == pytest.approx(1 / 0.625)


def test_t5_base_does_not_reach_what_switch_base_reaches_in_the_papers_table():
    """At 100k steps it is at -1.731: of its speed-up only a bound is known, more than all its steps over theirs."""
    dense = make_curve(1.9, 1.8, 1.731, first=25_000)
    sparse = make_curve(1.7, 1.6, 1.561, first=25_000)
    found = speedup_of_curves(dense, sparse, target_nll=1.6)
    assert (found.value, found.bound) == (pytest.approx(2.0), "lower")
    assert Caveat.NOT_REACHED in found.caveats
