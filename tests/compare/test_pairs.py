import math
import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import Study, make_spec, write_study
from scipy import stats

from switchbench.caveats import OF_WALL_CLOCK, Caveat
from switchbench.compare import (
    DIFFERENCES,
    MEASURES,
    RATIOS,
    SPEEDUPS,
    Configuration,
    compare_pairs,
    gather_configurations,
)
from switchbench.compare.step_times import step_time_contrast
from switchbench.record import TimingRecord
from switchbench.store import read_manifest, read_runs, read_timings
from tests.compare.made_up import make_configuration, make_pair

DENSE, SPARSE = make_spec(), make_spec(num_experts=4, capacity_factor=2.0)


# By hand


def test_one_pair_by_hand():
    """Sparse reaches 1.7 exactly halfway (in log tokens) between half of the tokens and all of them: at 0.5·√2."""
    pair = make_pair(
        {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.7]}, {0: [1.9, 1.74, 1.66], 1: [1.9, 1.74, 1.66]}, step_time_s=0.03
    )
    assert pair.target_nll == pytest.approx(1.7)
    assert pair.measured("delta_nll").value == pytest.approx(-0.04)
    points = SPARSE.train.anneal_points
    speedup = points[2].end_step / math.sqrt(points[1].end_step * points[2].end_step)
    assert pair.measured("step_speedup").value == pytest.approx(speedup)
    assert pair.measured("time_speedup").value == pytest.approx(speedup * 0.02 / 0.03)
    for measure in ("provisioned", "executed"):
        dense_end, sparse_end = (
            getattr(side.ends[0], f"{measure}_train_flops") / side.ends[0].tokens_seen
            for side in (pair.dense, pair.sparse)
        )
        expected = speedup * dense_end / sparse_end
        assert pair.measured(f"flops_speedup_{measure}").value == pytest.approx(expected)
    assert pair.measured("flops_speedup_provisioned").value < pair.measured("flops_speedup_executed").value
    for comparison in pair.comparisons:
        assert (comparison.sweep, comparison.matched_on) == ("capacity", "iso_flop")
        assert (comparison.dense, comparison.sparse) == (DENSE.config_id, SPARSE.config_id)
        assert comparison.seeds == (0, 1)
        assert comparison.bound is None
    assert [comparison.measure for comparison in pair.comparisons] == list(MEASURES)
    assert pair.measured("time_speedup").caveats == ("CPU_TIMING",)
    assert pair.measured("step_speedup").caveats == ()


def test_the_loss_difference_is_paired_by_seed():
    """Seeds that move both sides alike widen neither: Student's interval of the differences."""
    dense, sparse = {0: [1.70], 1: [1.80], 2: [1.90]}, {0: [1.65], 1: [1.76], 2: [1.84]}
    comparison = make_pair(dense, sparse).measured("delta_nll")
    differences = [-0.05, -0.04, -0.06]
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(3)
    half_width = stats.t.ppf(0.975, 2) * error
    assert comparison.value == pytest.approx(mean)
    assert comparison.ci95 == (pytest.approx(mean - half_width), pytest.approx(mean + half_width))
    assert comparison.by_seed == {seed: pytest.approx(value) for seed, value in enumerate(differences)}


def test_one_seed_has_no_interval_and_says_so():
    """Where seeds matter at all: step times have an error of their own, and FLOPs are arithmetic."""
    for comparison in make_pair({0: [2.0, 1.8, 1.7]}, {0: [1.9, 1.7, 1.6]}).comparisons:
        assert comparison.value is not None
        assert (comparison.ci95 is None) == (comparison.measure != "step_time_ratio")
        varies = comparison.measure not in ("step_time_ratio", "flops_ratio_provisioned")
        assert ("SINGLE_SEED" in comparison.caveats) == varies


# Not reached, passed before, not monotone


def test_a_quality_that_is_not_reached_has_no_value():
    pair = make_pair({0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.7]}, {0: [2.1, 1.9, 1.8], 1: [2.1, 1.9, 1.79]})
    assert pair.crossing is None
    assert pair.measured("delta_nll").value == pytest.approx(0.095)
    for measure in SPEEDUPS:
        assert pair.measured(measure).value is None
        assert pair.measured(measure).ci95 is None
        assert "NOT_REACHED" in pair.measured(measure).caveats
    for measure in (*DIFFERENCES, *RATIOS):
        assert pair.measured(measure).value is not None
        assert "NOT_REACHED" not in pair.measured(measure).caveats


def test_a_quality_that_is_passed_before_the_first_annealed_point_gives_a_bound():
    pair = make_pair({0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.7]}, {0: [1.6, 1.5, 1.4], 1: [1.6, 1.5, 1.4]})
    comparison = pair.measured("step_speedup")
    points = SPARSE.train.anneal_points
    assert comparison.value == points[-1].end_step / points[0].end_step
    assert (comparison.bound, comparison.ci95) == ("lower", None)
    assert "BOUND_ONLY" in comparison.caveats
    assert comparison.by_seed == {0: None, 1: None}
    assert pair.crossing is not None
    assert pair.crossing.is_bound


def test_a_single_annealed_point_can_only_say_as_much():
    better, worse = make_pair({0: [1.7]}, {0: [1.6]}), make_pair({0: [1.7]}, {0: [1.8]})
    assert better.measured("step_speedup").value == 1.0
    assert better.measured("step_speedup").bound == "lower"
    assert worse.measured("step_speedup").value is None
    assert "NOT_REACHED" in worse.measured("step_speedup").caveats


def test_a_dense_model_that_got_worse_is_measured_where_it_was_that_good_first():
    """Its end is reached between the first two points already; its last tokens must not count as needed."""
    pair = make_pair({0: [2.0, 1.7, 1.85]}, {0: [2.0, 1.7, 1.6]})
    assert pair.measured("step_speedup").value == 1.0
    assert "NOT_MONOTONE" in pair.measured("step_speedup").caveats
    assert "NOT_MONOTONE" not in pair.measured("delta_nll").caveats
    late = make_pair({0: [1.6, 1.7, 1.8]}, {0: [2.0, 1.9, 1.8]})
    assert late.measured("step_speedup").bound == "upper"
    assert late.measured("step_speedup").value == pytest.approx(0.25, rel=0.01)
    both = make_pair({0: [1.6, 1.7, 1.8]}, {0: [1.7, 1.75, 1.8]}).measured("step_speedup")
    assert (both.value, both.bound) == (None, None)
    assert {"NOT_MONOTONE", "BOUND_ONLY"} <= set(both.caveats)


def test_no_interval_where_a_seed_alone_decides_whether_the_target_is_reached():
    """Without seed 2 the sparse side stays above the dense one; an interval over the rest would be too good."""
    pair = make_pair(
        {seed: [2.0, 1.8, 1.70] for seed in range(3)},
        {0: [1.9, 1.8, 1.701], 1: [1.9, 1.8, 1.701], 2: [1.9, 1.7, 1.60]},
    )
    comparison = pair.measured("step_speedup")
    assert comparison.value is not None
    assert comparison.ci95 is None
    assert "CENSORED_SEEDS" in comparison.caveats
    assert pair.measured("delta_nll").ci95 is not None


# Missing things


def test_both_sides_take_the_seeds_that_both_have():
    dense = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72], 2: [2.0, 1.8, 9.0]}
    pair = make_pair(dense, {0: [1.9, 1.7, 1.65], 1: [1.9, 1.7, 1.66]})
    assert pair.seeds == (0, 1)
    assert pair.target_nll == pytest.approx(1.71)
    assert {comparison.target_nll for comparison in pair.comparisons} == {pair.target_nll}
    assert pair.measured("delta_nll").value == pytest.approx(-0.055)
    for measure in ("delta_nll", *SPEEDUPS, "peak_memory_ratio"):
        assert "MISSING_RUNS" in pair.measured(measure).caveats


def test_no_seed_in_common_compares_nothing():
    pair = make_pair({0: [1.7]}, {1: [1.6]})
    assert {comparison.value for comparison in pair.comparisons} == {None}
    assert all("MISSING_RUNS" in comparison.caveats for comparison in pair.comparisons)
    assert (pair.target_nll, pair.crossing) == (None, None)


def test_failed_and_diverged_runs_are_left_out_and_counted(tmp_path: Path):
    studies = [
        Study(DENSE, {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.7], 2: [2.0, 1.8, 1.7]}, is_twin=True),
        Study(SPARSE, {0: [1.9, 1.7, 1.6], 1: "diverged", 2: "crashed"}),
    ]
    folder = write_study(tmp_path, studies)
    found = gather_configurations(read_manifest(folder), runs=read_runs(folder), timings=read_timings(folder))
    (pair,) = compare_pairs(found, sweep="capacity")
    assert pair.seeds == (0,)
    assert pair.measured("delta_nll").caveats == ("SINGLE_SEED", "MISSING_RUNS", "DIVERGED_RUNS")


@pytest.mark.parametrize("untimed", ["dense", "sparse"])
def test_without_a_step_time_there_is_no_time_speedup(untimed: str):
    sides = {"dense": DENSE, "sparse": SPARSE}
    pair, *_ = compare_pairs(
        [
            make_configuration(
                spec,
                {0: [2.0, 1.8, 1.7 - 0.1 * (name == "sparse")]},
                twin_of=(SPARSE.config_id,) if name == "dense" else (),
                step_time_s=None if name == untimed else 0.02,
            )
            for name, spec in sides.items()
        ],
        sweep="capacity",
    )
    assert pair.measured("time_speedup").value is None
    assert "NOT_TIMED" in pair.measured("time_speedup").caveats
    assert pair.measured("step_speedup").value is not None
    assert "NOT_TIMED" not in pair.measured("step_speedup").caveats


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"device": "cuda"}, None),
        ({"trained_weights": False}, "UNTRAINED_TIMING"),
        ({"commit": "fffffff"}, "MIXED_CODE"),
        ({"threads": 2}, "MIXED_EXECUTION"),
        ({"allocator": "raised thresholds"}, "MIXED_EXECUTION"),
        ({"cpu_share": 0.89}, "BUSY_MACHINE"),
        ({"cpu_share": 0.9}, None),
        ({"timed_at": "2026-01-01T00:20:00+00:00"}, None),
        ({"timed_at": "2026-01-01T00:20:01+00:00"}, "TIMED_APART"),
        ({"timed_at": "2025-12-31T23:00:00+00:00"}, "TIMED_APART"),
    ],
)
def test_step_times_bring_their_caveats(change: dict[str, Any], code: str | None):
    dense = make_configuration(DENSE, {0: [2.0, 1.8, 1.7]}, twin_of=(SPARSE.config_id,))
    sparse = make_configuration(SPARSE, {0: [1.9, 1.7, 1.6]})
    changed = timing_with(sparse, **change)
    (pair,) = compare_pairs([timing_with(dense, device="cuda"), timing_with(changed, device="cuda")], sweep="capacity")
    assert set(pair.measured("time_speedup").caveats) == {"SINGLE_SEED"} | ({code} if code else set())
    assert pair.measured("step_speedup").caveats == ("SINGLE_SEED",)


def timing_with(side: Configuration, **change: Any) -> Configuration:
    assert isinstance(side.timing, TimingRecord)
    return replace(side, timing=side.timing.model_copy(update=change))


@pytest.mark.parametrize("caveat", OF_WALL_CLOCK)
def test_what_lengthens_the_wall_clock_alone_is_no_doubt_of_any_measure(caveat: Caveat):
    """No measure is made of wall-clock time."""
    pair = make_pair({0: [2.0, 1.8, 1.7]}, {0: [1.9, 1.7, 1.6]}, caveats=[caveat, "CUT_FILES"])
    for comparison in pair.comparisons:
        assert caveat not in comparison.caveats
        assert ("CUT_FILES" in comparison.caveats) == (comparison.measure not in RATIOS)  # costs are those of any text


def test_the_rows_own_caveats_and_mixtures_are_passed_on():
    pair = make_pair({0: [1.7]}, {0: [1.6]}, caveats=["REPEATED_DATA", "FROM_THE_FUTURE"], commit="fffffff")
    assert pair.measured("delta_nll").caveats == ("SINGLE_SEED", "REPEATED_DATA", "MIXED_CODE", "FROM_THE_FUTURE")


def test_a_dense_twin_of_several_and_configurations_without_a_twin():
    others = [make_spec(num_experts=experts) for experts in (8, 16)]
    dense = make_configuration(DENSE, {0: [1.7]}, twin_of=(others[1].config_id, others[0].config_id, "not there"))
    found = [make_configuration(spec, {0: [1.6]}) for spec in (SPARSE, *others)]
    pairs = compare_pairs([dense, *found], sweep="capacity")
    assert [pair.sparse.config_id for pair in pairs] == [spec.config_id for spec in others]
    assert compare_pairs(found, sweep="capacity") == ()
    assert compare_pairs([dense], sweep="capacity") == ()


# What a step may cost and does cost


def test_the_break_even_is_the_step_speedup_read_the_other_way_round():
    """A sparse step that takes just as many times the dense step makes the time speed-up 1, and time is what counts."""
    dense, sparse = {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.72]}, {0: [1.9, 1.7, 1.65], 1: [1.9, 1.71, 1.65]}
    break_even, steps = (
        make_pair(dense, sparse).measured(measure) for measure in ("break_even_step_time_ratio", "step_speedup")
    )
    assert break_even.value is not None
    assert break_even.value > 1.1
    assert (break_even.value, break_even.ci95, break_even.by_seed) == (steps.value, steps.ci95, steps.by_seed)
    assert "CPU_TIMING" not in break_even.caveats
    at_par = make_pair(dense, sparse, step_time_s=0.02 * break_even.value)
    assert at_par.measured("step_time_ratio").value == pytest.approx(break_even.value)
    assert at_par.measured("time_speedup").value == pytest.approx(1)


def test_ratios_of_cost_by_hand():
    """Sparse over dense; memory has Student's interval over seeds in logarithms, step times their own, FLOPs none."""
    peaks = {0: 300.0, 1: 360.0}
    dense = make_configuration(DENSE, {0: [1.7], 1: [1.7]}, twin_of=(SPARSE.config_id,), peak_memory_bytes=200)
    sparse = make_configuration(SPARSE, {0: [1.6], 1: [1.6]}, step_time_s=0.05)
    ends = {seed: row.model_copy(update={"peak_memory_bytes": peaks[seed]}) for seed, row in sparse.ends.items()}
    (pair,) = compare_pairs([dense, replace(sparse, ends=ends)], sweep="s")
    step_time, flops, memory = (pair.measured(measure) for measure in RATIOS)
    assert (step_time.value, step_time.caveats) == (pytest.approx(2.5), ("CPU_TIMING",))
    contrast = step_time_contrast(pair.dense.timing, pair.sparse.timing)
    assert contrast is not None
    assert step_time.ci95 == tuple(math.exp(end) for end in contrast.interval())
    provisioned = [side.ends[0].provisioned_train_flops for side in (pair.sparse, pair.dense)]
    assert flops.value == pytest.approx(provisioned[0] / provisioned[1])
    assert (flops.ci95, flops.caveats) == (None, ())
    assert memory.value == pytest.approx(330 / 200)
    assert memory.by_seed == {0: pytest.approx(1.5), 1: pytest.approx(1.8)}
    half_width = stats.t.ppf(0.975, 1) * math.log(1.8 / 1.5) / 2
    assert memory.ci95 == (pytest.approx(1.65 * math.exp(-half_width)), pytest.approx(1.65 * math.exp(half_width)))


def test_what_is_not_recorded_gives_no_ratio():
    pair = make_pair({0: [1.7]}, {0: [1.6]}, peak_memory_bytes=None, provisioned_train_flops=None, step_time_s=None)
    assert [pair.measured(measure).value for measure in RATIOS] == [None, None, None]
    assert "NOT_TIMED" in pair.measured("step_time_ratio").caveats


def test_memory_of_different_machines_says_so():
    pair = make_pair({0: [1.7], 1: [1.7]}, {0: [1.6], 1: [1.6]}, machine_id="other")
    assert pair.measured("peak_memory_ratio").caveats == ("MIXED_MACHINES",)
    assert pair.measured("delta_nll").caveats == ()


def test_measures_are_those_that_were_promised():
    assert MEASURES == (
        "delta_nll", "step_speedup", "time_speedup", "flops_speedup_provisioned", "flops_speedup_executed",
        "break_even_step_time_ratio", "step_time_ratio", "flops_ratio_provisioned", "peak_memory_ratio",
        "delta_bits_per_byte",
    )  # fmt: skip
    assert {*DIFFERENCES, *SPEEDUPS, *RATIOS} == set(MEASURES)


# The noise of the sweep, and that of the step times


def test_the_noise_of_other_pairs_counts():
    """Alone the pair's two seeds leave one degree of freedom; with eight configurations there are seven."""
    generator = random.Random(0)
    others = [make_spec(num_experts=2 + number) for number in range(6)]
    noise = {spec.config_id: {seed: [1.6 + generator.gauss(0, 0.01)] for seed in range(2)} for spec in others}
    pair = [
        make_configuration(DENSE, {0: [1.700], 1: [1.712]}, twin_of=(SPARSE.config_id,)),
        make_configuration(SPARSE, {0: [1.645], 1: [1.643]}),
    ]
    (alone,) = compare_pairs(pair, sweep="s")
    (among,) = compare_pairs([*pair, *(make_configuration(each, noise[each.config_id]) for each in others)], sweep="s")
    narrow, wide = among.measured("delta_nll"), alone.measured("delta_nll")
    assert (wide.degrees_of_freedom, narrow.degrees_of_freedom) == (1, 7)
    assert narrow.value == pytest.approx(-0.062)
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.ci95 is not None
    assert wide.ci95 is not None
    assert narrow.ci95[1] < 0 < wide.ci95[1]
    bits = among.measured("delta_bits_per_byte")
    assert bits.value == pytest.approx(-0.062 / math.log(2))
    assert bits.ci95 == tuple(pytest.approx(end / math.log(2)) for end in narrow.ci95)


def test_a_single_seed_takes_the_noise_of_the_others_and_says_so():
    many = [
        make_configuration(
            make_spec(num_experts=experts), {seed: [1.6 + 0.01 * (seed == experts)] for seed in range(3)}
        )
        for experts in (2, 8)
    ]
    pair = [
        make_configuration(DENSE, {0: [1.7]}, twin_of=(SPARSE.config_id,)),
        make_configuration(SPARSE, {0: [1.6]}),
    ]
    (found,) = compare_pairs([*pair, *many], sweep="s")
    assert found.measured("delta_nll").ci95 is not None
    assert found.measured("delta_nll").caveats == ("NOISE_OF_OTHERS",)
    assert found.measured("step_speedup").caveats[0] == "SINGLE_SEED"


def test_the_scatter_of_the_steps_is_in_the_interval_of_the_time_speedup():
    dense, sparse = {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.72]}, {0: [1.9, 1.7, 1.65], 1: [1.9, 1.71, 1.65]}
    pair = make_pair(dense, sparse)
    steps, time, ratio = (pair.measured(name) for name in ("step_speedup", "time_speedup", "step_time_ratio"))
    assert None not in (steps.standard_error, time.standard_error, ratio.standard_error)
    assert time.standard_error == pytest.approx(math.hypot(steps.standard_error, ratio.standard_error))  # type: ignore[arg-type]
    assert pair.measured("break_even_step_time_ratio").standard_error == steps.standard_error


def test_tokens_of_different_tokenizers_are_compared_in_bits_per_byte_alone():
    pair = make_pair({0: [1.7], 1: [1.72]}, {0: [3.6], 1: [3.7]}, tokenizer="gpt2", bits_per_byte=2.3)
    for measure in ("delta_nll", *SPEEDUPS):
        assert pair.measured(measure).value is None
        assert "MIXED_TOKENIZERS" in pair.measured(measure).caveats
    bits = pair.measured("delta_bits_per_byte")
    assert bits.value == pytest.approx(2.3 - 1.71 / math.log(2))
    assert bits.ci95 is not None
    assert bits.caveats == ()
