"""What changed between two results of a sweep, against what can be computed by hand or with SciPy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from switchbench.caveats import Caveat
from switchbench.compare import (
    CHANGE_MEASURES,
    BaselineSweep,
    Rules,
    SweepChanges,
    compare_with_baseline,
    gather_configurations,
)
from switchbench.spec import RunSpec
from switchbench.store import SweepFolder, read_manifest, read_runs, read_timings
from tests.factories import Study, make_spec, write_study

DENSE = make_spec()
SPARSE = [make_spec(num_experts=experts) for experts in (2, 4, 8)]
ALL = [DENSE, *SPARSE]
Outcomes = Mapping[int, Sequence[float] | str | None]


def read(folder: SweepFolder) -> BaselineSweep:
    manifest = read_manifest(folder)
    configurations = gather_configurations(manifest, runs=read_runs(folder), timings=read_timings(folder))
    return BaselineSweep(folder=folder.path, name=manifest.sweep, configurations=configurations)


def compare(
    place: Path, *, then: Sequence[Study], now: Sequence[Study], rules: Rules = Rules(min_effect=0.001)
) -> SweepChanges:
    before = read(write_study(place / "then", then))
    after = read(write_study(place / "now", now))
    return compare_with_baseline(after.configurations, baseline=before, rules=rules)


def studies(values: Sequence[Sequence[float]], specs: Sequence[RunSpec] = ALL, **fields: Any) -> list[Study]:
    return [
        Study(spec, {seed: [2.0, value] for seed, value in enumerate(own)}, **fields)
        for spec, own in zip(specs, values, strict=True)
    ]


def random_qualities(generator: np.random.Generator, *, seeds: int = 4) -> np.ndarray:
    return 1.7 + 0.05 * generator.standard_normal((len(ALL), seeds))


def test_the_same_runs_are_identical_and_untested(tmp_path: Path):
    values = random_qualities(np.random.default_rng(1))
    changes = compare(tmp_path, then=studies(values), now=studies(values))
    assert [each.is_identical for each in changes.counterparts] == [True] * len(ALL)
    for each in changes.counterparts:
        nll = each.changed("nll")
        assert (nll.value, nll.verdict, nll.p_value, nll.ci95) == (0.0, "identical", None, None)
        assert each.changed("step_time_s").value == 0
        assert each.changed("peak_memory_bytes").ci95 is None
        assert [change.measure for change in each.changes] == list(CHANGE_MEASURES)
    assert changes.noise is None
    assert changes.added == changes.removed == ()


def test_one_bit_is_enough_not_to_be_identical(tmp_path: Path):
    values = random_qualities(np.random.default_rng(2))
    other = values.copy()
    other[1, 2] = np.nextafter(other[1, 2], 2)
    changes = compare(tmp_path, then=studies(values), now=studies(other))
    assert [each.is_identical for each in changes.counterparts] == [True, False, True, True]
    assert changes.counterparts[1].changed("nll").verdict == "equivalent"


def test_an_earlier_annealed_point_counts_as_well(tmp_path: Path):
    then = [Study(DENSE, {0: [2.0, 1.7]})]
    now = [Study(DENSE, {0: [2.1, 1.7]})]
    (only,) = compare(tmp_path, then=then, now=now).counterparts
    assert not only.is_identical
    assert (only.changed("nll").value, only.changed("nll").verdict) == (0.0, "equivalent")


def test_differences_are_paired_by_seed_and_judged_by_their_pooled_scatter(tmp_path: Path):
    """Seeds differ by 0.05 nats, repetitions by 0.001: a shift of 0.004 is seen in spite of the seeds."""
    generator = np.random.default_rng(3)
    then = random_qualities(generator)
    differences = 0.001 * generator.standard_normal(then.shape)
    differences[1] += 0.006
    differences[2] -= 0.006
    changes = compare(tmp_path, then=studies(then), now=studies(then + differences))
    pooled = float(differences.var(axis=1, ddof=1).mean())
    assert changes.noise is not None
    assert changes.noise.variance == pytest.approx(pooled)
    assert changes.noise.degrees_of_freedom == len(ALL) * 3
    found = [each.changed("nll") for each in changes.counterparts]
    assert [change.verdict for change in found][1:3] == ["worse", "better"]
    for i, change in enumerate(found):
        assert change.then == pytest.approx(then[i].mean())
        assert change.value == pytest.approx(differences[i].mean() / then[i].mean())
        assert change.contrast is not None
        own = float(differences[i].var(ddof=1)) / 4
        error2 = changes.noise.variances[changes.counterparts[i].now.config_id] / 4
        assert change.contrast.standard_error == pytest.approx(math.sqrt(max(own, error2)))
        t = change.contrast.value / change.contrast.standard_error
        assert change.p_value == pytest.approx(2 * stats.t.sf(abs(t), change.contrast.degrees_of_freedom), rel=1e-6)
    holm = sorted(change.p_value for change in found if change.p_value is not None)
    assert min(change.p_holm for change in found if change.p_holm is not None) == pytest.approx(4 * holm[0])


def test_perplexity_follows_from_nll(tmp_path: Path):
    generator = np.random.default_rng(4)
    then = random_qualities(generator)
    now = then + 0.01 + 0.001 * generator.standard_normal(then.shape)
    for i, each in enumerate(compare(tmp_path, then=studies(then), now=studies(now)).counterparts):
        nll, perplexity = each.changed("nll"), each.changed("perplexity")
        assert perplexity.value == pytest.approx(math.exp((now[i] - then[i]).mean()) - 1)
        assert (perplexity.verdict, perplexity.p_holm) == (nll.verdict, nll.p_holm)
        assert perplexity.ci95 is not None
        assert perplexity.ci95[0] < perplexity.value < perplexity.ci95[1]


def test_no_change_is_rarely_called_one(tmp_path: Path):
    """Of 60 made-up repetitions without a change, a wrong verdict in any configuration is rare: 5% are 3."""
    generator = np.random.default_rng(5)
    before, after = (read(write_study(tmp_path / side, studies(random_qualities(generator)))) for side in "ab")
    wrong = 0
    for _ in range(60):
        sides = []
        for side, scale in ((before, 0.0), (after, 0.01)):
            configurations = [
                _with_nll(each, [1.7 + 0.02 * seed + scale * generator.standard_normal() for seed in range(4)])
                for each in side.configurations
            ]
            sides.append(configurations)
        changes = compare_with_baseline(
            sides[1],
            baseline=BaselineSweep(folder=tmp_path, name="x", configurations=tuple(sides[0])),
            rules=Rules(min_effect=0.0),
        )
        wrong += any(each.changed("nll").verdict in ("better", "worse") for each in changes.counterparts)
    assert wrong <= 7


def _with_nll(configuration: Any, values: Sequence[float]) -> Any:
    ends = {
        seed: configuration.ends[seed].model_copy(update={"nll": value}) for seed, value in enumerate(values)
    }  # fmt: skip
    return replace(configuration, ends=ends, earlier={})


def test_one_seed_takes_the_noise_of_others_or_has_no_interval(tmp_path: Path):
    then = [Study(DENSE, {0: [1.7]}), Study(SPARSE[0], {0: [1.6], 1: [1.61], 2: [1.62]})]
    now = [Study(DENSE, {0: [1.9]}), Study(SPARSE[0], {0: [1.601], 1: [1.609], 2: [1.621]})]
    dense, _ = compare(tmp_path / "two", then=then, now=now).counterparts
    assert dense.changed("nll").ci95 is not None
    assert Caveat.NOISE_OF_OTHERS in dense.changed("nll").caveats
    (alone,) = compare(tmp_path / "one", then=then[:1], now=now[:1]).counterparts
    nll = alone.changed("nll")
    assert (nll.ci95, nll.p_value, nll.verdict) == (None, None, None)
    assert nll.value == pytest.approx(0.2 / 1.7)
    assert Caveat.SINGLE_SEED in nll.caveats


def test_runs_that_diverge_now_make_a_configuration_worse(tmp_path: Path):
    then = [Study(DENSE, {seed: [1.7 + 0.01 * seed] for seed in range(5)})]
    now = [Study(DENSE, dict.fromkeys(range(5), "diverged"))]
    (only,) = compare(tmp_path, then=then, now=now).counterparts
    nll = only.changed("nll")
    assert (nll.value, nll.verdict) == (None, "worse")
    assert nll.p_value == pytest.approx(stats.fisher_exact([[5, 0], [0, 5]]).pvalue)
    assert Caveat.DIVERGED_RUNS in nll.caveats


def test_times_memory_and_flops_are_ratios(tmp_path: Path):
    then = [Study(DENSE, {0: [1.7], 1: [1.7]}, step_time_s=0.02)]
    now = [
        Study(
            DENSE,
            {0: [1.7], 1: [1.7]},
            step_time_s=0.03,
            columns={"peak_memory_bytes": 270 * 2**20, "executed_train_flops": 1e12},
            timing_columns={"machine_id": "elsewhere", "timed_at": "2026-03-01T00:00:00+00:00"},
        )
    ]
    (only,) = compare(tmp_path, then=then, now=now).counterparts
    step = only.changed("step_time_s")
    assert step.value == pytest.approx(0.5)
    assert step.ci95 is not None
    assert step.ci95[0] > 0.4
    assert {Caveat.MIXED_MACHINES, Caveat.TIMED_APART, Caveat.CPU_TIMING} <= set(step.caveats)
    assert step.verdict is None
    assert only.changed("peak_memory_bytes").value == pytest.approx(0.5)
    flops = only.changed("executed_train_flops")
    assert flops.then is not None
    assert flops.value == pytest.approx(1e12 / flops.then - 1)
    assert (flops.ci95, flops.p_holm) == (None, None)


def test_configurations_of_one_side_are_listed(tmp_path: Path):
    values = random_qualities(np.random.default_rng(6))
    changes = compare(tmp_path, then=studies(values[:3], ALL[:3]), now=studies(values[1:], ALL[1:]))
    assert [each.config_id for each in changes.added] == [ALL[3].config_id]
    assert [each.config_id for each in changes.removed] == [ALL[0].config_id]
    assert [each.now.config_id for each in changes.counterparts] == [spec.config_id for spec in ALL[1:3]]


def test_other_specifications_are_matched_by_what_a_reader_tells_them_by(tmp_path: Path):
    then = [Study(make_spec(num_experts=e, train={"learning_rate": 1e-2}), {0: [1.7]}) for e in (2, 4)]
    now = [Study(make_spec(num_experts=e, train={"learning_rate": 2e-2}), {0: [1.6]}) for e in (2, 4, 8)]
    changes = compare(tmp_path, then=then, now=now)
    assert [each.differing for each in changes.counterparts] == [("train.learning_rate",)] * 2
    assert [each.now.config_id for each in changes.counterparts] == [study.spec.config_id for study in now[:2]]
    assert len(changes.added) == 1
    assert changes.counterparts[0].changed("nll").value == pytest.approx(-0.1 / 1.7)


def test_what_is_not_told_apart_is_not_matched(tmp_path: Path):
    then = [Study(make_spec(train={"learning_rate": rate}), {0: [1.7]}) for rate in (1e-2, 2e-2)]
    changes = compare(tmp_path, then=then, now=[Study(make_spec(train={"learning_rate": 3e-2}), {0: [1.6]})])
    assert (changes.counterparts, len(changes.added), len(changes.removed)) == ((), 1, 2)


def test_quality_on_other_text_is_not_compared(tmp_path: Path):
    other = DENSE.model_copy(update={"data_fingerprint": "fedcba987654"})
    (only,) = compare(
        tmp_path, then=[Study(DENSE, {0: [1.7], 1: [1.7]})], now=[Study(other, {0: [1.6], 1: [1.6]})]
    ).counterparts
    assert only.differing == ("data_fingerprint",)
    nll = only.changed("nll")
    assert (nll.value, nll.verdict) == (None, None)
    assert Caveat.MIXED_TEXT in nll.caveats
    assert only.changed("step_time_s").value == 0


def test_no_dropless_quality_nothing_to_compare(tmp_path: Path):
    spec = make_spec(num_experts=4, ffn={"router": "expert_choice"})
    (only,) = compare(tmp_path, then=[Study(spec, {0: [1.7]})], now=[Study(spec, {0: [1.6]})]).counterparts
    nll = only.changed("nll")
    assert (nll.then, nll.now, nll.value, nll.verdict) == (None, None, None, None)
    assert Caveat.NON_CAUSAL_ROUTING in nll.caveats
