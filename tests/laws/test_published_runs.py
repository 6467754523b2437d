"""Published runs, and the figures that others and careful fits of ours find in them."""

import csv

import numpy as np
import pytest

from switchbench.laws import LawName, Observations, fit_law, hold_out_largest, parse_loss, study_law
from switchbench.laws.derived import Place, log_dense_equivalent, points_at
from tests.laws.made_up import SHARED_DATA, clark_observations

WORTH = {8: 2.007, 64: 5.136, 512: 10.12}
"""N_eff/N of S-Base, by experts."""


def averaged(observations: Observations) -> Observations:
    """The three dense runs of 130M as one."""
    keys = np.stack([observations.n, observations.experts])
    places, index = np.unique(keys, axis=1, return_inverse=True)
    means = np.bincount(index.reshape(-1), weights=observations.loss) / np.bincount(index.reshape(-1))
    return Observations(n=places[0], e=places[1], loss=means)


def test_the_least_squares_fits_of_61_runs():
    rows = clark_observations()
    routed, clark = (fit_law(rows, law=name) for name in ("routed", "clark"))
    assert routed.rms == pytest.approx(0.003561, rel=0.002)
    assert clark.rms / np.log(10) == pytest.approx(0.003203, rel=0.002)
    for e, worth in WORTH.items():
        gain = log_dense_equivalent(routed.law, routed.internal[None], points_at(routed, Place(n=1e8, e=e)))
        assert np.exp(gain[0]) == pytest.approx(worth, rel=0.01)


def test_the_fits_of_59_configurations():
    rows = averaged(clark_observations())
    assert len(rows) == 59
    clark = fit_law(rows, law="clark")
    assert clark.rms / np.log(10) == pytest.approx(0.00322, rel=0.002)
    expected = {"a": -0.0833, "b": -0.1202, "c": 0.01013, "d": 1.1168, "E_start": 2.20, "E_max": 229.6}
    assert clark.values == pytest.approx(expected, rel=0.003)
    routed = fit_law(rows, law="routed")
    assert routed.rms == pytest.approx(0.0036, rel=0.01)
    values = routed.values | {"A": routed.values["A"] / 1e8 ** routed.values["alpha"]}  # for N in units of 1e8
    expected = {"E0": 1.478, "A": 1.232, "alpha": 0.180, "g": 0.535, "E_start": 2.565, "E_max": 305.0}
    assert values == pytest.approx(expected, rel=0.003)


def test_the_dense_power_law():
    rows = averaged(clark_observations())
    dense = fit_law(rows.take(rows.experts == 1), law="power")
    assert dense.values["alpha"] == pytest.approx(0.0786, rel=0.003)
    assert dense.values["N_c"] == pytest.approx(3.568e13, rel=0.03)


@pytest.mark.parametrize(("law", "rms"), [("clark", 0.0207), ("routed", 0.0063)])
def test_holding_out_the_largest_runs(law: LawName, rms: float):
    rows = averaged(clark_observations())
    held = hold_out_largest(rows, law=fit_law(rows, law=law).law, loss=parse_loss("mse-log"))
    assert held is not None
    assert held.rms_ln == pytest.approx(rms, rel=0.01)
    gains = {gain.e: (gain.predicted_ln, gain.observed_ln) for gain in held.gains}
    if law == "routed":  # too much of many experts, too little of few
        assert gains[512] == (pytest.approx(0.125, abs=0.001), pytest.approx(0.115, abs=0.0006))
        assert gains[8] == (pytest.approx(0.041, abs=0.0006), pytest.approx(0.043, abs=0.0006))


def test_small_sizes_say_little_of_the_floor_and_much_of_the_experts():
    rows = averaged(clark_observations())
    small, all_sizes = (fit_law(part, law="routed") for part in (rows.take(rows.n < 6e7), rows))
    worth = [
        np.exp(log_dense_equivalent(fit.law, fit.internal[None], points_at(fit, Place(n=5e7, e=64.0)))[0])
        for fit in (small, all_sizes)
    ]
    assert worth[0] == pytest.approx(worth[1], rel=0.1)
    assert small.values["E0"] < 0.8 * all_sizes.values["E0"]


@pytest.mark.parametrize("corpus", ["c4_original", "rpj", "rw_original"])
def test_over_training_is_extrapolated(corpus: str):
    """Gadre et al.: the 6.9B run, far larger than all others, lies in its interval and near its value."""
    path = SHARED_DATA / "gadre_overtrain" / "gadre_104_runs.csv"
    if not path.exists():
        pytest.skip(f"needs the published runs of Gadre et al. at {path}")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == corpus]
    runs = Observations(
        n=np.array([float(row["N"]) for row in rows]),
        d=np.array([float(row["D"]) for row in rows]),
        loss=np.array([float(row["loss_c4_val"]) for row in rows]),
    )
    small, large = runs.take(runs.n < 5e9), runs.take(runs.n > 5e9)
    assert len(large) == 1
    assert large.d is not None
    place = Place(n=float(large.n[0]), d=float(large.d[0]))
    study = study_law(small, law="chinchilla", resamples=50, places=[place])
    assert study.fit.has_converged
    assert len(study.fit.minima) == 1
    answer = study.derived[-1]
    assert answer.caveats == ("EXTRAPOLATED",)
    assert answer.interval.value == pytest.approx(large.loss[0], rel=0.07)
    assert answer.interval.ci95 is not None
    assert answer.interval.ci95[0] < large.loss[0] < answer.interval.ci95[1]
    shuffled = small.take(np.random.default_rng(0).permutation(len(small)))
    assert fit_law(shuffled, law="chinchilla").values == pytest.approx(study.fit.values, rel=1e-6)
