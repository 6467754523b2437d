from pathlib import Path

import pytest
from factories import Study, make_spec, write_study

from switchbench.report import build_report

DENSE, SPARSE, LARGE = make_spec(), make_spec(num_experts=4, capacity_factor=2.0), make_spec(num_experts=16)
ALIKE = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}
HALFWAY = {0: [1.9, 1.70, 1.63], 1: [1.9, 1.72, 1.65]}
"""0.07 nats better in both seeds, and at half of the tokens as good as the dense one at its end: 2x fewer steps."""


def summary(tmp_path: Path, *studies: Study) -> str:
    write_study(tmp_path, studies)
    return build_report(tmp_path).sweeps[0].summary


def test_sparse_wins_and_is_slower(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY, step_time_s=0.06))
    assert text == (
        "At equal useful FLOPs per token the sparse configuration (4 experts, capacity factor 2) is 0.070 ± 0.000 nats "
        "better than its dense twin after 2.40M tokens (95% interval over 2 seeds); it needs 2.00x [2.00, 2.00] fewer "
        "steps for the twin's quality, but 1.50x [1.50, 1.50] the time on this CPU."
    )


def test_sparse_wins_and_is_faster_on_a_gpu(tmp_path: Path):
    gpu = {"device": "cuda"}
    text = summary(
        tmp_path,
        Study(DENSE, ALIKE, is_twin=True, timing_columns=gpu),
        Study(SPARSE, HALFWAY, step_time_s=0.025, timing_columns=gpu),
    )
    assert text.endswith(
        "it needs 2.00x [2.00, 2.00] fewer steps for the twin's quality and 1.60x [1.60, 1.60] less time."
    )


def test_the_best_of_several_is_the_one_that_gains_most_and_says_that_it_was_picked(tmp_path: Path):
    best = {seed: [nll - 0.01 for nll in nlls] for seed, nlls in HALFWAY.items()}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY), Study(LARGE, best))
    assert "the best sparse configuration (16 experts, capacity factor 1.25) is 0.080" in text
    assert text.endswith("It is the best of 2, picked by the same runs that measure it, so expect a little less.")


@pytest.mark.parametrize("number", [1, 2])
def test_sparse_loses(tmp_path: Path, number: int):
    worse = {seed: [nll + 0.1 for nll in nlls] for seed, nlls in ALIKE.items()}
    worst = {seed: [nll + 0.2 for nll in nlls] for seed, nlls in ALIKE.items()}
    losers = [Study(SPARSE, worse), Study(LARGE, worst)][:number]
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), *losers)
    assert "(4 experts, capacity factor 2) is 0.100 ± 0.000 nats worse" in text
    assert text.endswith("(95% interval over 2 seeds), and does not reach its quality.")
    assert ("no sparse configuration is better than its dense twin" in text) == (number == 2)


def test_within_the_noise(tmp_path: Path):
    noisy = {0: [2.0, 1.8, 1.6], 1: [2.0, 1.8, 1.8]}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, noisy))
    assert "it includes 0: this sweep does not tell the two apart" in text


def test_one_seed(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, {0: ALIKE[0]}, is_twin=True), Study(SPARSE, {0: HALFWAY[0]}))
    assert "is 0.070 nats better" in text
    assert "(one seed, so the noise is unknown)" in text


def test_a_bound(tmp_path: Path):
    early = {0: [1.6, 1.5, 1.4], 1: [1.6, 1.5, 1.4]}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, early, step_time_s=0.2))
    assert text.endswith(
        "it needs more than 3.99x fewer steps for the twin's quality, but less than 2.51x the time on this CPU."
    )
    fast = summary(tmp_path / "2", Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, early))
    assert fast.endswith(
        "it needs more than 3.99x fewer steps for the twin's quality and more than 3.99x less time on this CPU."
    )


def test_a_single_annealed_point_does_not_pretend_to_know_the_speed(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, {0: [1.7], 1: [1.72]}, is_twin=True), Study(SPARSE, {0: [1.6], 1: [1.62]}))
    assert text.endswith("; how much sooner it reaches the twin's quality needs an earlier annealed point.")


def test_no_step_times(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True, step_time_s=None), Study(SPARSE, HALFWAY))
    assert text.endswith("its time is not known for want of step times.")


def test_nothing_to_compare(tmp_path: Path):
    assert summary(tmp_path / "a", Study(DENSE, ALIKE)) == (
        "There are only dense configurations, so nothing is compared; the lowest nll is 1.710 (standard deviation over "
        "seeds 0.014), of dense."
    )
    assert summary(tmp_path / "b", Study(SPARSE, {0: [2.0, 1.9, 1.8]}), Study(LARGE, {0: [2.0, 1.9, 1.7]})) == (
        "No sparse configuration has a dense twin, so nothing is compared; the lowest nll is 1.700 (one seed), of "
        "16 experts, capacity factor 1.25."
    )
    assert summary(
        tmp_path / "c", Study(DENSE, {0: ALIKE[0], 1: None}, is_twin=True), Study(SPARSE, {0: "killed", 1: ALIKE[1]})
    ).startswith("No sparse configuration shares a seed that went well with its dense twin")
