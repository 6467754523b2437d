import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchbench.compare.effects import Observation, fit_effects


def observe(table: dict[str, list[float | None]]) -> list[Observation]:
    """The runs of a table, one row of seeds per configuration; None: there is no such run."""
    return [
        Observation(config_id=config_id, block=str(seed), value=value)
        for config_id, values in table.items()
        for seed, value in enumerate(values)
        if value is not None
    ]


def test_two_configurations_are_compared_as_students_paired_test_does():
    table = {"dense": [1.70, 1.80, 1.90, 1.74], "sparse": [1.65, 1.76, 1.84, 1.73]}
    contrast = fit_effects(observe(table)).contrast("sparse", "dense")
    expected = stats.ttest_rel(table["sparse"], table["dense"])
    interval = expected.confidence_interval(0.95)
    assert contrast is not None
    assert contrast.p_difference() == pytest.approx(expected.pvalue)
    assert contrast.interval() == (pytest.approx(interval.low), pytest.approx(interval.high))


@given(seed=st.integers(0, 10_000), num_missing=st.integers(0, 8))
def test_runs_may_be_missing(seed: int, num_missing: int):
    """Against the normal equations with a column per configuration and seed."""
    generator = random.Random(seed)
    table: dict[str, list[float | None]] = {str(i): [generator.gauss(i, 1) + 3 * j for j in range(4)] for i in range(5)}
    for i, j in generator.sample(list(itertools.product(range(5), range(4))), num_missing):
        table[str(i)][j] = None
    observations = observe(table)
    effects = fit_effects(observations)
    names = dict.fromkeys([*(each.config_id for each in observations), *(f"s{each.block}" for each in observations)])
    columns = {name: column for column, name in enumerate(names)}
    design = np.zeros((len(observations), len(columns)))
    for row, each in enumerate(observations):
        design[row, [columns[each.config_id], columns[f"s{each.block}"]]] = 1
    values = np.array([each.value for each in observations])
    solution, _, rank, _ = np.linalg.lstsq(design, values)
    degrees = len(observations) - rank
    if effects.noise is None:
        assert degrees == 0
        return
    assert effects.noise.degrees_of_freedom == degrees
    assert effects.noise.variance * degrees == pytest.approx(float(((values - design @ solution) ** 2).sum()))
    assert sum(effects.noise.own_degrees_of_freedom.values()) == pytest.approx(degrees)
    chosen = np.zeros(len(columns))
    there = [name for name in columns if not name.startswith("s")]
    chosen[columns[there[0]]], chosen[columns[there[-1]]] = 1, -1
    normal = np.linalg.pinv(design.T @ design)
    contrast = effects.contrast(there[0], there[-1])
    if not np.allclose(chosen @ normal @ (design.T @ design), chosen):
        assert contrast is None
        return
    assert contrast is not None
    assert contrast.value == pytest.approx(float(chosen @ solution))
    if math.isinf(effects.noise.prior_degrees_of_freedom):
        least = math.sqrt(effects.noise.variance * float(chosen @ normal @ chosen))
        assert contrast.standard_error >= least * (1 - 1e-9)
        assert 1 <= contrast.degrees_of_freedom <= degrees


def test_the_noise_of_a_pair_is_that_of_the_whole_sweep():
    """By hand: residuals ±0.01 in two configurations, none in the others, (4 - 1)(2 - 1) degrees of freedom."""
    table: dict[str, list[float | None]] = {"a": [1.0, 1.0], "b": [2.0, 2.0], "c": [3.01, 2.99], "d": [3.99, 4.01]}
    effects = fit_effects(observe(table))
    assert effects.noise is not None
    assert effects.noise.degrees_of_freedom == 3
    assert effects.noise.variance == pytest.approx(4e-4 / 3)


def test_a_pair_that_is_noisier_than_the_sweep_is_judged_by_its_own_differences():
    generator = random.Random(0)
    table = {str(i): [generator.gauss(0, 0.01) for _ in range(4)] for i in range(12)}
    table |= {"wild": [0.3, -0.3, 0.2, -0.2]}
    contrast = fit_effects(observe(table)).contrast("wild", "0")  # type: ignore[arg-type]
    assert contrast is not None
    differences = [wild - calm for wild, calm in zip(table["wild"], table["0"], strict=True)]
    assert contrast.standard_error == pytest.approx(float(np.std(differences, ddof=1)) / 2)
    assert contrast.degrees_of_freedom <= 6


def test_a_single_seed_is_judged_by_the_noise_of_the_others():
    table: dict[str, list[float | None]] = {
        "a": [1.0, 1.1, 1.2], "b": [1.01, 1.08, 1.2], "c": [0.9, None, None], "d": [1.0, None, None],
    }  # fmt: skip
    effects = fit_effects(observe(table))
    contrast = effects.contrast("c", "d")
    assert effects.noise is not None
    assert contrast is not None
    assert contrast.value == pytest.approx(-0.1)
    assert contrast.standard_error == pytest.approx(math.sqrt(2 * effects.noise.variance))


def test_without_degrees_of_freedom_or_shared_seeds_nothing_is_compared():
    assert fit_effects(observe({"a": [1.0], "b": [2.0]})).contrast("a", "b") is None
    assert fit_effects([]).contrast("a", "b") is None
    apart: dict[str, list[float | None]] = {
        "a": [1.0, 1.1, None, None], "b": [1.0, 1.2, None, None], "c": [None, None, 1.0, 1.3],
    }  # fmt: skip
    effects = fit_effects(observe(apart))
    assert effects.contrast("a", "b") is not None
    assert effects.contrast("a", "c") is None
    assert effects.contrast("a", "not there") is None


def test_equal_losses_have_no_noise():
    contrast = fit_effects(observe({"a": [1.5, 1.5, 1.5], "b": [1.5, 1.5, 1.5]})).contrast("a", "b")
    assert contrast is not None
    assert (contrast.standard_error, contrast.p_difference()) == (0, 1)


def test_homogeneity_is_tested_as_bartlett_did():
    """With all runs in one block there is nothing but configurations."""
    groups = {"a": [1.0, 1.1, 1.3], "b": [2.0, 2.5, 2.9, 3.0], "c": [0.5, 0.51, 0.53]}
    observations = [
        Observation(config_id=name, block="0", value=value) for name, values in groups.items() for value in values
    ]
    noise = fit_effects(observations).noise
    assert noise is not None
    assert noise.homogeneity_p == pytest.approx(stats.bartlett(*groups.values()).pvalue)


def test_variances_that_differ_are_drawn_toward_their_prior():
    """True variances are scaled inverse chi-square: s0² = 4, 6 degrees of freedom; 3000 configurations tell that."""
    generator = np.random.default_rng(0)
    true = 4 * 6 / generator.chisquare(6, size=3000)
    values = generator.normal(size=(3000, 4)) * np.sqrt(true)[:, None]
    noise = fit_effects(observe({str(i): list(row) for i, row in enumerate(values.tolist())})).noise
    assert noise is not None
    assert noise.prior_degrees_of_freedom == pytest.approx(6, rel=0.15)
    errors = {
        name: float(np.mean(np.abs(np.log(np.array(variances) / true))))
        for name, variances in {
            "moderated": list(noise.variances.values()),
            "pooled": [noise.variance] * 3000,
            "own": list(values.var(axis=1, ddof=1)),
        }.items()
    }
    assert errors["moderated"] < min(errors["pooled"], errors["own"])


def test_variances_that_are_alike_are_pooled():
    table: dict[str, list[float | None]] = {str(i): [0.01 * i, 0.02 - 0.01 * (i % 2)] for i in range(6)}
    noise = fit_effects(observe(table)).noise
    assert noise is not None
    assert math.isinf(noise.prior_degrees_of_freedom)
    assert set(noise.variances.values()) == {noise.variance}
