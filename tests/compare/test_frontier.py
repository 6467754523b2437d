import itertools
import math
import random
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from factories import make_spec
from scipy import stats

from switchbench.caveats import Caveat
from switchbench.compare import Budget, Configuration, Resource, best_under, find_frontiers, least_of, pool_of
from tests.compare.made_up import Nlls, make_configuration

MIB = 2**20


def make_study(*, seed: int = 0, seeds: int = 4, noise: float = 0.01, step_times_s: Any = None) -> list[Configuration]:
    """Two dense sizes and three sparse configurations with noise of their own, better the more tokens they had."""
    rng = random.Random(seed)
    specs = [
        make_spec(),
        make_spec(size="xs"),
        make_spec(num_experts=4, capacity_factor=2.0),
        make_spec(num_experts=16, capacity_factor=2.0),
        make_spec(num_experts=4, capacity_factor=2.0, size="xs"),
    ]
    ends = [1.70, 1.60, 1.66, 1.64, 1.58]
    peaks = [100 * MIB, 180 * MIB, 120 * MIB, 160 * MIB, 220 * MIB]
    times_s = step_times_s or [0.02, 0.05, 0.025, 0.03, 0.06]
    found = []
    for spec, end, peak, time_s in zip(specs, ends, peaks, times_s, strict=True):
        nlls: Nlls = {
            number: [end + 0.3 + rng.gauss(0, noise), end + 0.12 + rng.gauss(0, noise), end + rng.gauss(0, noise)]
            for number in range(seeds)
        }
        found.append(make_configuration(spec, nlls, step_time_s=time_s, peak_memory_bytes=peak))
    return found


# The slow way


def cost_of(configuration: Configuration, row: Any, resource: Resource) -> float:
    if resource == "train_time_s":
        assert configuration.timing is not None
        return float(row.tokens_seen / row.batch_tokens * configuration.timing.step_time_s)
    return float(getattr(row, resource))


def slow_nll(configuration: Configuration, resource: Resource, amount: float, seeds: list[int]) -> float | None:
    """Seed by seed, the lowest of the points within the budget and of the line up to it; then the mean."""
    rows = {seed: [*configuration.earlier[seed], configuration.ends[seed]] for seed in seeds}
    count = len(next(iter(rows.values())))
    mean = [statistics.fmean(rows[seed][i].nll for seed in seeds) for i in range(count)]
    if resource == "peak_memory_bytes":
        fits = max(rows[seed][-1].peak_memory_bytes for seed in seeds) <= amount
        return min(mean) if fits else None
    costs = [statistics.fmean(cost_of(configuration, rows[seed][i], resource) for seed in seeds) for i in range(count)]
    within = [nll for cost, nll in zip(costs, mean, strict=True) if cost <= amount]
    for (c0, l0), (c1, l1) in itertools.pairwise(zip(costs, mean, strict=True)):
        if c0 <= amount < c1:
            within.append(l0 + (l1 - l0) * math.log(amount / c0) / math.log(c1 / c0))
    return min(within, default=None)


def slow_best(side: list[Configuration], resource: Resource, amount: float, without: int | None = None) -> float | None:
    values = [slow_nll(each, resource, amount, [seed for seed in each.ends if seed != without]) for each in side]
    return min((value for value in values if value is not None), default=None)


def sides_of(study: list[Configuration]) -> tuple[list[Configuration], list[Configuration]]:
    return [each for each in study if each.role == "dense"], [each for each in study if each.role == "sparse"]


# Under a budget


@pytest.mark.parametrize("resource", ["provisioned_train_flops", "executed_train_flops", "train_time_s"])
@pytest.mark.parametrize("share", [0.4, 0.7, 1.0, 5.0])
def test_each_seed_is_scored_by_what_the_others_pick(resource: Resource, share: float):
    """By hand: pick by the mean of the other seeds, score on this one, Student's interval of the differences."""
    study = make_study(noise=0.03)
    amount = share * cost_of(study[0], study[0].ends[0], resource)
    found = best_under([Budget(resource=resource, amount=amount)], pool_of(study), sweep="capacity")
    scores: dict[str, list[float]] = {}
    for side in sides_of(study):
        within = [each for each in side if slow_nll(each, resource, amount, list(each.ends)) is not None]
        for seed in range(4):
            others = [other for other in range(4) if other != seed]
            picked = min(within, key=lambda each: slow_nll(each, resource, amount, others))  # type: ignore[arg-type,return-value]
            nll = slow_nll(picked, resource, amount, [seed])
            assert nll is not None
            scores.setdefault(side[0].role, []).append(nll)
    assert found.dense is not None
    assert found.sparse is not None
    assert found.dense.nll == pytest.approx(statistics.fmean(scores["dense"]))
    assert found.sparse.nll == pytest.approx(statistics.fmean(scores["sparse"]))
    differences = [s - d for d, s in zip(scores["dense"], scores["sparse"], strict=True)]
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / 2
    half_width = stats.t.ppf(0.975, 3) * error
    assert found.delta_nll == pytest.approx(mean)
    assert found.ci95 == (pytest.approx(mean - half_width), pytest.approx(mean + half_width))
    assert found.seeds == (0, 1, 2, 3)


def test_the_winner_of_several_equal_ones_is_not_flattered():
    """Ten configurations that differ by noise alone: the lowest mean is too low, what is reported is not."""
    errors, naive = [], []
    for seed in range(60):
        rng = random.Random(seed)
        sparse = [
            make_configuration(
                make_spec(num_experts=4, capacity_factor=1 + i / 10), {s: [1.7 + rng.gauss(0, 0.02)] for s in range(4)}
            )
            for i in range(10)
        ]
        dense = make_configuration(make_spec(), {s: [1.7] for s in range(4)})
        budget = Budget(resource="peak_memory_bytes", amount=1e12)
        found = best_under([budget], pool_of([dense, *sparse]), sweep="capacity")
        assert found.sparse is not None
        errors.append(found.sparse.nll - 1.7)
        naive.append(min(statistics.fmean(row.nll for row in each.ends.values() if row.nll) for each in sparse) - 1.7)
    error_of_mean = statistics.stdev(errors) / math.sqrt(len(errors))
    assert abs(statistics.fmean(errors)) < 3 * error_of_mean
    assert statistics.fmean(naive) < -0.01


def test_several_budgets_hold_together():
    study = make_study(noise=0.0)
    pool = pool_of(study)
    flops = Budget(resource="provisioned_train_flops", amount=1e30)
    memory = Budget(resource="peak_memory_bytes", amount=130 * MIB)
    time = Budget(resource="train_time_s", amount=study[0].ends[0].tokens_seen / 4096 * 0.02)  # type: ignore[operator]
    alone = best_under([flops], pool, sweep="s")
    small = best_under([flops, memory], pool, sweep="s")
    short = best_under([flops, memory, time], pool, sweep="s")
    assert alone.sparse is not None
    assert small.sparse is not None
    assert short.sparse is not None
    assert alone.sparse.config_id == study[4].config_id
    assert (small.sparse.config_id, small.sparse.candidates) == (study[2].config_id, 1)
    assert small.sparse.nll == pytest.approx(1.66)
    assert short.sparse.nll == pytest.approx(slow_nll(study[2], "train_time_s", time.amount, [0, 1, 2, 3]))
    assert short.dense is not None
    assert short.delta_nll == pytest.approx(short.sparse.nll - 1.70)


def test_a_budget_below_all_points_has_no_answer():
    study = make_study()
    pool = pool_of(study)
    least = least_of(pool.dense, "provisioned_train_flops")
    assert least == pytest.approx(study[0].earlier[0][0].provisioned_train_flops)
    found = best_under([Budget(resource="provisioned_train_flops", amount=least * 0.99)], pool, sweep="s")
    assert (found.dense, found.sparse, found.delta_nll, found.ci95, found.better) == (None, None, None, None, None)


def test_one_seed_says_that_its_winner_was_picked_by_itself():
    found = best_under([Budget(resource="train_time_s", amount=1e9)], pool_of(make_study(seeds=1)), sweep="s")
    assert found.sparse is not None
    assert Caveat.PICKED_BEST in found.sparse.caveats
    assert Caveat.SINGLE_SEED in found.caveats
    assert found.delta_nll is not None
    assert (found.ci95, found.better) == (None, None)


def test_what_diverged_was_not_timed_or_has_no_nll_is_not_chosen():
    study = make_study(noise=0.0)
    best = study[4]
    ends = best.ends | {0: best.ends[0].model_copy(update={"status": "diverged", "nll": None})}
    for without in (replace(best, ends=ends), replace(best, timing=None), replace(best, ends={}, earlier={})):
        found = best_under([Budget(resource="train_time_s", amount=1e9)], pool_of([*study[:4], without]), sweep="s")
        assert found.sparse is not None
        assert found.sparse.config_id == study[3].config_id


def test_a_seed_without_an_nll_counts_for_nobody():
    study = make_study(noise=0.0)
    unknown = study[4].ends[0].model_copy(update={"nll": None})
    pool = pool_of([*study[:4], replace(study[4], ends=study[4].ends | {0: unknown})])
    found = best_under([Budget(resource="train_time_s", amount=1e9)], pool, sweep="s")
    assert found.seeds == (1, 2, 3)
    assert found.delta_nll == pytest.approx(-0.02)


def test_nothing_is_chosen_among_models_of_different_text():
    study = make_study()
    spec = study[0].spec | {"data_fingerprint": "ffffffffffff"}
    pool = pool_of([*study, replace(study[0], spec=spec)])
    assert pool.has_other_data
    assert (pool.dense, pool.sparse) == ((), ())
    assert find_frontiers(pool, sweep="s") == ()


# Along all budgets


@pytest.mark.parametrize("seed", range(4))
def test_stretches_and_crossings_are_what_a_fine_ruler_finds(seed: int):
    study = make_study(seed=seed, noise=0.02)
    dense, sparse = sides_of(study)
    for frontier in find_frontiers(pool_of(study), sweep="capacity"):
        assert frontier.low is not None
        assert frontier.high is not None
        for amount in np.geomspace(frontier.low * (1 + 1e-9), frontier.high * (1 - 1e-9), 120):
            bests = [slow_best(side, frontier.resource, float(amount)) for side in (dense, sparse)]
            assert bests[0] is not None
            assert bests[1] is not None
            (better,) = {each.better for each in frontier.stretches if each.low < amount < each.high}
            if abs(bests[0] - bests[1]) > 1e-6:
                assert better == ("dense" if bests[0] < bests[1] else "sparse")


def slow_crossing(
    sides: tuple[list[Configuration], ...], resource: Resource, *, between: tuple[float, float], without: int | None
) -> float:
    """Halve the range until it is tiny: the side that is better at its ends differs."""

    def difference(amount: float) -> float:
        dense, sparse = (slow_best(side, resource, amount, without) for side in sides)
        assert dense is not None
        assert sparse is not None
        return dense - sparse

    low, high = between
    sign = difference(low) > 0
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if (difference(middle) > 0) == sign else (low, middle)
    return low


def test_the_interval_of_a_crossing_leaves_out_one_seed_at_a_time():
    """A sparse model that starts worse and ends better than the dense one, paired by seed."""
    rng = random.Random(5)
    shift = [rng.gauss(0, 0.05) for _ in range(4)]
    specs = make_spec(), make_spec(num_experts=4, capacity_factor=1.0)
    study = [
        make_configuration(specs[0], {s: [2.0 + shift[s], 1.85 + shift[s], 1.75 + shift[s]] for s in range(4)}),
        make_configuration(
            specs[1], {s: [2.05 + shift[s], 1.86 + shift[s] + rng.gauss(0, 0.01), 1.7 + shift[s]] for s in range(4)}
        ),
    ]
    found = {frontier.resource: frontier for frontier in find_frontiers(pool_of(study), sweep="s")}
    frontier = found["provisioned_train_flops"]
    assert [stretch.better for stretch in frontier.stretches] == ["dense", "sparse"]
    assert frontier.crossing is not None
    low, high = frontier.low, frontier.high
    assert low is not None
    assert high is not None
    sides = sides_of(study)
    assert frontier.crossing == pytest.approx(
        slow_crossing(sides, frontier.resource, between=(low, high), without=None), rel=1e-6
    )
    logs = [math.log(slow_crossing(sides, frontier.resource, between=(low, high), without=seed)) for seed in range(4)]
    error = math.sqrt(3 / 4 * sum((value - statistics.fmean(logs)) ** 2 for value in logs))
    half_width = stats.t.ppf(0.975, 3) * error
    assert frontier.ci95 is not None
    assert frontier.ci95[0] == pytest.approx(frontier.crossing * math.exp(-half_width), rel=1e-4)
    assert frontier.ci95[1] == pytest.approx(frontier.crossing * math.exp(half_width), rel=1e-4)
    assert Caveat.PICKED_BEST not in frontier.caveats


def test_a_seed_that_decides_whether_they_cross_leaves_no_interval():
    specs = make_spec(), make_spec(num_experts=4, capacity_factor=1.0)
    dense = make_configuration(specs[0], {s: [2.0, 1.85, 1.75] for s in range(3)})
    sparse = make_configuration(specs[1], {0: [2.05, 1.9, 1.76], 1: [2.05, 1.9, 1.76], 2: [2.05, 1.9, 1.60]})
    (frontier, *_) = find_frontiers(pool_of([dense, sparse]), sweep="s")
    assert frontier.crossing is not None
    assert frontier.ci95 is None
    assert Caveat.CROSSING_VARIES in frontier.caveats


def test_one_that_is_better_throughout_crosses_nowhere():
    specs = make_spec(), make_spec(num_experts=4, capacity_factor=1.0)
    dense = make_configuration(specs[0], {s: [2.0, 1.85, 1.75] for s in range(2)})
    sparse = make_configuration(specs[1], {s: [1.9, 1.75, 1.65] for s in range(2)})
    for frontier in find_frontiers(pool_of([dense, sparse]), sweep="s"):
        if frontier.resource == "peak_memory_bytes":  # both take as much: there is no range
            assert (frontier.low, frontier.stretches) == (None, ())
            continue
        assert [stretch.better for stretch in frontier.stretches] == ["sparse"]
        assert (frontier.crossing, frontier.ci95) == (None, None)
        assert (frontier.stretches[0].low, frontier.stretches[0].high) == (frontier.low, pytest.approx(frontier.high))


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_sides_there_is_no_frontier(count: int):
    study = make_study()[:count]
    assert find_frontiers(pool_of(study), sweep="s") == ()
    found = best_under([Budget(resource="train_time_s", amount=1e9)], pool_of(study), sweep="s")
    assert (found.sparse, found.delta_nll) == (None, None)


def test_untimed_configurations_have_no_time():
    study = [replace(each, timing=None) for each in make_study()]
    found = {frontier.resource: frontier for frontier in find_frontiers(pool_of(study), sweep="s")}
    assert (found["train_time_s"].low, found["train_time_s"].stretches) == (None, ())
    assert Caveat.NOT_TIMED in found["train_time_s"].caveats
    assert found["provisioned_train_flops"].low is not None
