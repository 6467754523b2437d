import math
from dataclasses import replace
from typing import Any

import pytest
from factories import make_spec

from switchbench.compare import (
    DIFFERENCES,
    RATIOS,
    SPEEDUPS,
    Comparison,
    Configuration,
    Pair,
    Rules,
    SweepVerdict,
    compare_pairs,
    judge_pairs,
    judge_sweep,
)
from switchbench.record import TimingRecord
from switchbench.store import PrimaryPair
from tests.compare.made_up import Nlls, make_configuration

DENSE, FOUR, EIGHT, SIXTEEN = make_spec(), *(make_spec(num_experts=experts) for experts in (4, 8, 16))
GOOD = {seed: [2.0, 1.8, 1.70 + 0.01 * seed] for seed in range(4)}
NOISE = {0: 0.004, 1: -0.004, 2: 0.003, 3: -0.003}


def shifted(by: float, *, sign: int = 1) -> Nlls:
    """Another quality, with noise of its own: 0.004 nats with three degrees of freedom."""
    return {seed: [*nlls[:2], nlls[2] + by + sign * NOISE[seed]] for seed, nlls in GOOD.items()}


def judged(
    *sides: Configuration,
    rules: Rules = Rules(),
) -> tuple[tuple[Pair, ...], SweepVerdict]:
    pairs = judge_pairs(compare_pairs(sides, sweep="s"), rules=rules)
    return pairs, judge_sweep(pairs, configurations=sides, rules=rules)


def sweep_of(four: Nlls, **options: Any) -> tuple[Configuration, Configuration]:
    """A dense configuration and one of 4 experts."""
    return (
        make_configuration(DENSE, GOOD, twin_of=(FOUR.config_id, EIGHT.config_id, SIXTEEN.config_id)),
        make_configuration(FOUR, four, **options),
    )


def pair_of(four: Nlls, **options: Any) -> Pair:
    (pair,), _ = judged(*sweep_of(four, **options))
    return pair


@pytest.mark.parametrize(
    ("shift", "verdict"), [(-0.05, "sparse"), (0.05, "dense"), (0.0, "equivalent"), (-0.005, "unresolved")]
)
def test_the_verdict_in_quality(shift: float, verdict: str):
    """The interval is ± 0.0065; 0.5% of the dense nll is 0.0086."""
    pair = pair_of(shifted(shift))
    assert [pair.measured(measure).verdict for measure in DIFFERENCES] == [verdict] * 2
    _, found = judged(*sweep_of(shifted(shift)))
    assert found.verdict == verdict


def test_the_smallest_effect_and_the_confidence_are_a_choice():
    sides = sweep_of(shifted(-0.05))
    assert judged(*sides, rules=Rules(min_effect=0.05))[1].verdict == "equivalent"
    assert judged(*sides, rules=Rules(confidence=0.99999))[1].verdict == "unresolved"


def test_costs_have_no_verdict_and_speedups_have():
    pair = pair_of(shifted(-0.1))
    assert [pair.measured(measure).verdict for measure in RATIOS] == [None] * 3
    for measure in ("step_speedup", "break_even_step_time_ratio", "flops_speedup_provisioned"):
        comparison = pair.measured(measure)  # type: ignore[arg-type]
        assert comparison.ci95 is not None
        assert comparison.ci95[0] > 1
        assert comparison.verdict == "sparse"
        assert comparison.resolvable is not None
        assert comparison.resolvable > 1


def test_time_has_a_verdict_of_its_own():
    """The same quality for twice, and for three times, the time of a step."""
    fast, slow = pair_of(shifted(-0.1), step_time_s=0.01), pair_of(shifted(-0.1), step_time_s=0.06)
    assert (fast.measured("time_speedup").verdict, slow.measured("time_speedup").verdict) == ("sparse", "dense")
    assert slow.measured("step_speedup").verdict == "sparse"


@pytest.mark.parametrize("doubt", [{"cpu_share": 0.5}, {"threads": 2}, {"timed_at": "2026-02-01T00:00:00+00:00"}, None])
def test_where_step_times_are_in_doubt_time_has_no_verdict(doubt: dict[str, Any] | None):
    dense, sparse = sweep_of(shifted(-0.1), step_time_s=0.01)
    assert isinstance(sparse.timing, TimingRecord)
    timing = None if doubt is None else sparse.timing.model_copy(update=doubt)
    (pair,), _ = judged(dense, replace(sparse, timing=timing))
    assert pair.measured("time_speedup").verdict is None
    assert pair.measured("step_speedup").verdict == "sparse"


def test_a_bound_wins_where_it_is_beyond_1_whatever_seed_is_left_out():
    early = {seed: [1.6, 1.55, 1.5] for seed in GOOD}
    pair = pair_of(early, step_time_s=0.02)
    assert pair.measured("step_speedup").bound == "lower"
    assert (pair.measured("step_speedup").verdict, pair.measured("time_speedup").verdict) == ("sparse", "sparse")
    assert pair.measured("step_speedup").ci95 is None
    slow = pair_of(early, step_time_s=0.2)  # more than 4 times fewer steps, each of them ten times as long
    assert slow.measured("time_speedup").verdict == "unresolved"


def test_what_is_not_reached_is_lost_in_steps_where_it_is_lost_in_quality():
    pair = pair_of(shifted(0.05))
    assert "NOT_REACHED" in pair.measured("step_speedup").caveats
    assert pair.measured("step_speedup").verdict == "dense"
    assert pair.measured("flops_speedup_executed").verdict is None


def test_one_seed_resolves_nothing():
    (pair,), verdict = judged(
        make_configuration(DENSE, {0: [1.7]}, twin_of=(FOUR.config_id,)), make_configuration(FOUR, {0: [1.5]})
    )
    assert pair.measured("delta_nll").verdict == verdict.verdict == "unresolved"
    assert (pair.measured("delta_nll").p_value, verdict.seeds_needed, verdict.noise) == (None, None, None)


def test_expert_choice_and_mixed_tokenizers_have_no_verdict_in_nll():
    """A look at later tokens, or other tokens, are no comparison."""
    choice = make_spec(num_experts=4, ffn={"router": "expert_choice"})
    sides = [make_configuration(DENSE, GOOD, twin_of=(choice.config_id,)), make_configuration(choice, GOOD)]
    (pair,), verdict = judged(*sides)
    assert verdict.verdict is None
    assert {comparison.verdict for comparison in pair.comparisons} == {None}
    mixed = pair_of(shifted(1.0), tokenizer="gpt2", bits_per_byte=1.0)
    assert {mixed.measured(measure).verdict for measure in ("delta_nll", *SPEEDUPS)} == {None}
    assert mixed.measured("delta_bits_per_byte").verdict == "sparse"


def test_a_sweep_that_names_a_pair_speaks_of_it_and_corrects_the_others():
    four, eight, sixteen = (
        make_configuration(spec, shifted(by, sign=sign))
        for spec, by, sign in ((FOUR, -0.012, 1), (EIGHT, -0.012, -1), (SIXTEEN, -0.05, -1))
    )
    dense, _ = sweep_of(GOOD)
    primary = PrimaryPair(sparse=FOUR.config_id, dense=DENSE.config_id, matched_on="iso_flop")
    pairs, verdict = judged(dense, four, eight, sixteen, rules=Rules(primary=primary))
    differences = [pair.measured("delta_nll") for pair in pairs]
    assert differences[0].p_holm == differences[0].p_value
    assert differences[2].p_holm == pytest.approx(2 * (differences[2].p_value or math.nan))
    assert verdict.pair is pairs[0]
    assert (verdict.is_primary, verdict.candidates) == (True, 1)

    pairs, verdict = judged(dense, four, eight, sixteen)
    assert verdict.pair is pairs[2]
    assert (verdict.is_primary, verdict.candidates, verdict.tested) == (False, 3, 3)
    smallest = pairs[2].measured("delta_nll")
    assert smallest.p_holm == pytest.approx(3 * (smallest.p_value or math.nan))


def test_the_best_pair_is_one_that_is_better_for_sure():
    """Eight experts gain most, but with one seed that diverged."""
    lucky: Nlls = {0: [1.9, 1.7, 1.2]}
    eight = make_configuration(EIGHT, lucky)
    bad = make_configuration(EIGHT, {seed: [None] for seed in (1, 2, 3)}, status="diverged")  # type: ignore[misc]
    eight = replace(eight, run_ids=eight.run_ids | bad.run_ids, ends=eight.ends | bad.ends)
    dense, four = sweep_of(shifted(-0.05))
    pairs, verdict = judged(dense, four, eight)
    assert verdict.pair is pairs[0]
    assert verdict.verdict == "sparse"
    assert pairs[1].measured("delta_nll").verdict == "unresolved"


def test_all_runs_of_one_side_diverged():
    dense, _ = sweep_of(GOOD)
    bad = make_configuration(FOUR, {seed: [None] for seed in GOOD}, status="diverged")  # type: ignore[misc]
    (pair,), verdict = judged(dense, bad)
    assert pair.measured("delta_nll").value is None
    assert pair.measured("delta_nll").verdict == verdict.verdict == "dense"
    assert pair.measured("step_speedup").verdict is None


def test_a_sweep_without_pairs_has_no_verdict():
    assert judged(make_configuration(DENSE, GOOD))[1].verdict is None
    assert judged()[1].pair is None


def test_other_confidences_have_intervals_of_their_own():
    difference = pair_of(shifted(-0.05)).measured("delta_nll")
    assert difference.interval(0.95) == pytest.approx(difference.ci95)
    wide = difference.interval(0.99)
    assert wide is not None
    assert difference.ci95 is not None
    assert wide[0] < difference.ci95[0] < difference.ci95[1] < wide[1]
    steps: Comparison = pair_of(shifted(-0.1)).measured("step_speedup")
    assert steps.interval(0.95) == pytest.approx(steps.ci95)


def test_at_equal_time_the_two_of_the_primary_pair_are_another_question():
    """It is one among all sparse configurations that are compared at equal time, so that it is corrected like them."""
    (pair, *_), _ = judged(*sweep_of(shifted(-0.05)))
    comparison = pair.measured("delta_nll")
    rules = Rules(primary=PrimaryPair(sparse=comparison.sparse, dense=comparison.dense, matched_on="iso_flop"))
    assert rules.is_primary(comparison)
    assert rules.is_primary(replace(comparison, matched_on="iso_flop+iso_active_params"))
    assert not rules.is_primary(replace(comparison, matched_on="iso_time"))
