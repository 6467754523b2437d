"""Controls: what is compared within and between repetitions, by which noise, and what came out."""

import math

import numpy as np
import pytest
from factories import make_spec
from scipy import stats

from switchbench.compare import Configuration, ControlResult, Rules, compare_controls
from switchbench.compare.controls import fit_noise
from switchbench.compare.effects import Observation
from switchbench.store import Control
from tests.compare.made_up import make_configuration

WIDE, HALF, AGAIN = (
    make_spec(ffn={"d_ff": d_ff}, train={"replicate": replicate}) for d_ff, replicate in ((128, 0), (64, 0), (128, 1))
)
NOISE = [0.006, -0.004, 0.001, -0.003]
SEEDS = [0.01, -0.01, 0.004, 0.002]
OTHER_SEEDS = [-0.008, 0.006, 0.003, -0.006]


def runs(level: float, *, seeds: list[float] = SEEDS, noise: float = 0.0, last: str | None = None) -> dict:
    nll = {seed: [2.0, level + shift + noise * NOISE[seed]] for seed, shift in enumerate(seeds)}
    return nll


def configured(spec, level: float, **options) -> Configuration:
    return make_configuration(spec, runs(level, **options))


def results(configurations: list[Configuration], *controls: Control, **rules) -> list[ControlResult]:
    return list(compare_controls(controls, configurations=configurations, rules=Rules(**rules)))


def control(a, b, expect=None, name: str = "x") -> Control:
    return Control(name=name, a=a.config_id, b=b.config_id, expect=expect)


def test_within_a_repetition_the_seeds_drop_out():
    wide, half = configured(WIDE, 1.60, noise=0.5), configured(HALF, 1.65, noise=-0.5)
    (result,) = results([wide, half], control(WIDE, HALF, "a"))
    differences = [wide.ends[seed].nll - half.ends[seed].nll for seed in range(4)]
    paired = stats.ttest_1samp(differences, 0)
    assert result.is_paired
    assert result.value == pytest.approx(np.mean(differences))
    assert result.p_value == pytest.approx(paired.pvalue, rel=1e-6)
    assert result.ci95 == pytest.approx(tuple(paired.confidence_interval()))
    assert (result.verdict, result.came_out) == ("a better", True)


def test_between_repetitions_two_means_are_compared_as_those_of_two_samples():
    wide, again = configured(WIDE, 1.60), configured(AGAIN, 1.61, seeds=OTHER_SEEDS)
    (result,) = results([wide, again], control(WIDE, AGAIN, "none"))
    samples = [[row.nll for row in side.ends.values()] for side in (wide, again)]
    test = stats.ttest_ind(*samples)
    assert not result.is_paired
    assert result.value == pytest.approx(np.mean(samples[0]) - np.mean(samples[1]))
    assert result.p_value == pytest.approx(test.pvalue, rel=1e-6)
    assert result.interval == pytest.approx(tuple(test.confidence_interval()))
    assert (result.verdict, result.came_out) == ("unresolved", True)


def test_an_old_row_is_of_the_first_repetition():
    wide = make_configuration(WIDE, runs(1.6, noise=1.0), replicate=None)
    (result,) = results([wide, configured(HALF, 1.65)], control(WIDE, HALF))
    assert result.is_paired


def test_the_outcome_is_held_against_what_was_expected():
    wide, half, again = configured(WIDE, 1.60), configured(HALF, 1.65, noise=0.1), configured(AGAIN, 1.60, noise=0.1)
    far = configured(make_spec(ffn={"d_ff": 64}, train={"replicate": 1}), 1.9, noise=0.1)
    expected = {
        ("a", WIDE, HALF): True, ("b", WIDE, HALF): False, ("none", WIDE, HALF): False, (None, WIDE, HALF): None,
        ("b", HALF, WIDE): True, ("none", WIDE, AGAIN): True, ("a", WIDE, AGAIN): False,
        ("none", WIDE, make_spec(ffn={"d_ff": 64}, train={"replicate": 1})): False,
    }  # fmt: skip
    for (expect, a, b), came_out in expected.items():
        (result,) = results([wide, half, again, far], control(a, b, expect))
        assert result.came_out is came_out, (expect, result)


def test_a_difference_that_does_not_matter_is_equivalent():
    (result,) = results(
        [configured(WIDE, 1.60), configured(AGAIN, 1.601)], control(WIDE, AGAIN, "none"), min_effect=0.05
    )
    assert (result.verdict, result.came_out) == ("equivalent", True)


def test_controls_are_corrected_for_their_number_and_held_to_the_files_confidence():
    sides = [configured(WIDE, 1.60), configured(HALF, 1.605, noise=1.0), configured(AGAIN, 1.60, seeds=OTHER_SEEDS)]
    (alone,) = results(sides, control(WIDE, HALF))
    both = results(sides, control(WIDE, HALF), control(WIDE, AGAIN, name="y"))
    assert alone.p_holm == alone.p_value == both[0].p_value
    assert both[0].p_holm == pytest.approx(2 * both[0].p_value)
    (sure,) = results(sides, control(WIDE, HALF), confidence=0.999)
    assert sure.confidence == 0.999
    assert sure.ci95 == alone.ci95
    assert sure.interval[1] - sure.interval[0] > 1.5 * (alone.interval[1] - alone.interval[0])


def test_what_is_not_there_is_not_judged():
    wide = configured(WIDE, 1.60)
    (result,) = results([wide, make_configuration(HALF, {})], control(WIDE, HALF, "a"))
    assert (result.value, result.verdict, result.came_out) == (None, None, None)
    assert results([wide], control(WIDE, HALF, "a")) == []
    (single,) = results([make_configuration(spec, {0: [2.0, 1.6]}) for spec in (WIDE, HALF)], control(WIDE, HALF, "a"))
    assert (single.value, single.interval, single.verdict, single.came_out) == (0.0, None, "unresolved", False)
    assert "SINGLE_SEED" in single.caveats


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_variance_that_runs_share_is_known_by_fewer_degrees_of_freedom_than_there_are_runs(share: float):
    """The degrees of freedom of an estimated variance are, by definition, 2·mean² over the variance of the estimate."""
    generator = np.random.default_rng(0)
    configurations, repetitions, seeds = 10, 2, 4

    def draw(number: int) -> np.ndarray:
        shared = generator.normal(size=(number, 1, repetitions, seeds)) * math.sqrt(share)
        own = generator.normal(size=(number, configurations, repetitions, seeds)) * math.sqrt(1 - share)
        return shared + own

    variances = draw(20_000).var(axis=-1, ddof=1).mean(axis=(1, 2))
    truth = 2 * variances.mean() ** 2 / variances.var()
    found = []
    for table in draw(40):
        observations = [
            Observation(config_id=f"{c}/{r}", block=f"{seed}/{r}", value=float(table[c, r, seed]))
            for c, r, seed in np.ndindex(table.shape)
        ]
        found.append(fit_noise(observations).degrees_of_freedom_apart)
    assert np.median(found) == pytest.approx(truth, rel=0.2)


def test_noise_that_is_all_of_one_kind_needs_no_correction():
    values = [1.0, 1.2, 1.1, 1.4]
    observations = [
        Observation(config_id=name, block=f"{seed}/{name}", value=value + shift)
        for name, shift in (("a", 0.0), ("b", 0.1))
        for seed, value in enumerate(values)
    ]
    found, _ = fit_noise(observations).contrast("a", "b")
    assert found is not None
    assert found.degrees_of_freedom == 6
    assert found.standard_error == pytest.approx(math.sqrt(2 * np.var(values, ddof=1) / 4))
