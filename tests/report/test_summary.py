import re
from pathlib import Path
from typing import Any

import pytest
from factories import Study, make_spec, write_study

from switchbench.report import build_report
from switchbench.store import PrimaryPair

WIDER, EQUAL = make_spec(ffn={"d_ff": 300}), make_spec(size="xs")
DENSE, SPARSE, LARGE = make_spec(), make_spec(num_experts=4, capacity_factor=2.0), make_spec(num_experts=16)
ALIKE = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}
HALFWAY = {0: [1.9, 1.70, 1.63], 1: [1.9, 1.72, 1.65]}
"""0.07 nats better in both seeds, and at half of the tokens as good as the dense one at its end: 2x fewer steps."""


def summary(tmp_path: Path, *studies: Study, primary: PrimaryPair | None = None) -> str:
    write_study(tmp_path, studies, primary=primary)
    return build_report(tmp_path).sweeps[0].summary


def has(text: str, part: str) -> bool:
    return part in text


def begins(text: str, part: str) -> bool:
    """Whether it begins so after its verdict."""
    rest = re.sub(r"^(Verdict: \w+(, at 95% confidence)?|No verdict): ", "", text)
    assert rest != text
    return rest.lower().startswith(part.lower())


def test_sparse_wins_and_is_slower(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY, step_time_s=0.06))
    assert text == (
        "Verdict: sparse, at 95% confidence: at equal useful FLOPs per token the sparse configuration (4 experts, "
        "capacity factor 2) is 0.070 [0.070, 0.070] nats better than its dense twin after 2.40M tokens (2 seeds; "
        "p < 0.001); it needs 2.00x [2.00, 2.00] fewer "
        "steps for the twin's quality, but 1.50x [1.46, 1.54] the time on this CPU. Break-even step-time ratio: 2.00x "
        "[2.00, 2.00]; measured here: 3.00x [2.93, 3.08]. Smallest difference that such a sweep tells in four of five "
        "cases: less than 0.001 nats; 0.5% of the dense nll takes 2 seeds."
    )


def test_sparse_wins_and_is_faster_on_a_gpu(tmp_path: Path):
    gpu = {"device": "cuda"}
    text = summary(
        tmp_path,
        Study(DENSE, ALIKE, is_twin=True, timing_columns=gpu),
        Study(SPARSE, HALFWAY, step_time_s=0.025, timing_columns=gpu),
    )
    assert has(text, "it needs 2.00x [2.00, 2.00] fewer steps for the twin's quality and 1.60x [1.56, 1.64] less time.")


def test_the_best_of_several_is_the_one_that_gains_most_and_says_that_it_was_picked(tmp_path: Path):
    best = {seed: [nll - 0.01 for nll in nlls] for seed, nlls in HALFWAY.items()}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY), Study(LARGE, best))
    assert "the best sparse configuration (16 experts, capacity factor 1.25) is 0.080" in text
    assert has(text, "It is the best of 2, picked by the same runs that measure it, so expect a little less.")


@pytest.mark.parametrize("number", [1, 2])
def test_sparse_loses(tmp_path: Path, number: int):
    worse = {seed: [nll + 0.1 for nll in nlls] for seed, nlls in ALIKE.items()}
    worst = {seed: [nll + 0.2 for nll in nlls] for seed, nlls in ALIKE.items()}
    losers = [Study(SPARSE, worse), Study(LARGE, worst)][:number]
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), *losers)
    assert "(4 experts, capacity factor 2) is 0.100 [0.100, 0.100] nats worse" in text
    assert has(
        text, "(2 seeds; p < 0.001" + (" corrected for 2 pairs" if number == 2 else "") + "), and does not reach"
    )
    assert ("no sparse configuration is better than its dense twin" in text) == (number == 2)


def test_within_the_noise(tmp_path: Path):
    noisy = {0: [2.0, 1.8, 1.6], 1: [2.0, 1.8, 1.8]}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, noisy))
    assert begins(
        text, "At equal useful FLOPs per token the sparse configuration (4 experts, capacity factor 2) is 0.010 ["
    )
    assert text.startswith("Verdict: unresolved: ")
    assert has(text, "(2 seeds; p = 0.9")


def test_speed_that_seeds_do_not_settle_is_not_claimed(tmp_path: Path):
    """The two seeds cross far apart from each other, so that their interval is wide."""
    apart = {0: [1.9, 1.68, 1.60], 1: [1.9, 1.76, 1.68]}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, apart, step_time_s=0.03))
    steps, time, *_ = re.findall(r"[\d.]+x \[[\d.]+, [\d.]+\]", text)
    assert has(
        text,
        f"; it needs neither fewer nor more steps for the twin's quality as far as this sweep can tell ({steps}), and "
        f"is no faster or slower on this CPU as far as this sweep can tell ({time}).",
    )


def test_a_time_that_is_printed_as_1_is_no_gain(tmp_path: Path):
    studies = Study(DENSE, {0: ALIKE[0]}, is_twin=True), Study(SPARSE, {0: HALFWAY[0]}, step_time_s=0.04)
    text = summary(tmp_path, *studies)
    assert has(text, "2.00x fewer steps for the twin's quality, and is no faster or slower on this CPU as far as "
                         "this sweep can tell (1.00x).")  # fmt: skip


def test_a_speed_without_an_interval_says_so(tmp_path: Path):
    dense = {seed: [2.0, 1.8, 1.70] for seed in range(3)}
    sparse = {0: [1.9, 1.8, 1.701], 1: [1.9, 1.8, 1.701], 2: [1.9, 1.7, 1.60]}
    text = summary(tmp_path, Study(DENSE, dense, is_twin=True), Study(SPARSE, sparse))
    assert text.count("x (no interval)") == 3


# Runs that diverged or are missing


def test_lucky_seeds_of_a_configuration_that_diverged_are_not_the_best(tmp_path: Path):
    """Of four seeds one is left, and it beats all others."""
    four = {seed: [2.0, 1.8, 1.7 + seed / 100] for seed in range(4)}
    good = {seed: [nll - 0.05 for nll in nlls] for seed, nlls in four.items()}
    lucky = {0: [1.5, 1.4, 1.3], 1: "diverged", 2: "diverged", 3: "diverged"}
    text = summary(tmp_path, Study(DENSE, four, is_twin=True), Study(LARGE, lucky), Study(SPARSE, good))
    assert "the best sparse configuration (4 experts, capacity factor 2) is 0.050" in text
    assert "(4 seeds; p < 0.001" in text
    assert has(text, " 3 of 4 runs (16 experts, capacity factor 1.25) diverged, which counts as the worst.")


def test_a_configuration_that_diverged_does_not_win_by_the_others_losing(tmp_path: Path):
    lucky = {0: [1.5, 1.4, 1.3], 1: "diverged"}
    worse = {seed: [nll + 0.1 for nll in nlls] for seed, nlls in ALIKE.items()}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(LARGE, lucky), Study(SPARSE, worse))
    assert "no sparse configuration is better" in text
    assert has(text, " 1 of 2 runs (16 experts, capacity factor 1.25) diverged, which counts as the worst.")


def test_the_headline_counts_what_is_not_in_it(tmp_path: Path):
    dense = {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.72], 2: [2.0, 1.8, 1.71], 3: "crashed"}
    sparse = {0: [1.9, 1.7, 1.6], 1: [1.9, 1.7, 1.62], 2: "diverged", 3: None}
    text = summary(tmp_path, Study(DENSE, dense, is_twin=True), Study(SPARSE, sparse))
    assert "nats better than its dense twin after 2.40M tokens where it did not diverge" in text
    assert (
        "(2 of 4 seeds: 1 sparse run diverged, 1 sparse run failed or is missing, 1 dense run failed "
        "or is missing; p = 1.00)" in text
    )
    alone = summary(tmp_path / "1", Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, {0: HALFWAY[0], 1: "diverged"}))
    assert "(1 of 2 seeds, so the noise is unknown: 1 sparse run diverged)" in alone


def test_a_dense_twin_that_diverged_demotes_its_pairs(tmp_path: Path):
    small, large = make_spec(size="xs"), make_spec(size="xs", num_experts=4)
    much = {seed: [nll - 0.3 for nll in nlls] for seed, nlls in ALIKE.items()}
    text = summary(
        tmp_path,
        Study(small, {0: ALIKE[0], 1: "diverged"}, is_twin=True),
        Study(large, much),
        Study(DENSE, ALIKE, is_twin=True),
        Study(SPARSE, HALFWAY),
    )
    assert "(xxs, 4 experts, capacity factor 2) is 0.070" in text
    assert has(text, " 1 of 2 runs (xs, dense) diverged, which counts as the worst.")


def test_nothing_is_left_of_the_sparse_runs(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, {0: "diverged", 1: "diverged"}))
    assert begins(text, "No sparse configuration shares a seed that went well with its dense twin")
    assert has(text, " 2 of 2 runs (4 experts, capacity factor 2) diverged, which counts as the worst.")


def test_one_seed(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, {0: ALIKE[0]}, is_twin=True), Study(SPARSE, {0: HALFWAY[0]}))
    assert "is 0.070 nats better" in text
    assert "(one seed, so the noise is unknown)" in text


@pytest.mark.parametrize("doubt", [{"cpu_share": 0.5}, {"timed_at": "2026-02-01T00:00:00+00:00"}])
def test_a_time_in_doubt_says_so(tmp_path: Path, doubt: dict[str, Any]):
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY, timing_columns=doubt))
    assert has(text, " and 2.00x [1.95, 2.05] less time on this CPU (in doubt: see the footnotes).")


def test_a_bound(tmp_path: Path):
    early = {0: [1.6, 1.5, 1.4], 1: [1.6, 1.5, 1.4]}
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, early, step_time_s=0.2))
    assert has(
        text, "it needs more than 3.99x fewer steps for the twin's quality, but less than 2.51x the time on this CPU."
    )
    fast = summary(tmp_path / "2", Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, early))
    assert has(
        fast, "it needs more than 3.99x fewer steps for the twin's quality and more than 3.99x less time on this CPU."
    )


def test_a_single_annealed_point_does_not_pretend_to_know_the_speed(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, {0: [1.7], 1: [1.72]}, is_twin=True), Study(SPARSE, {0: [1.6], 1: [1.62]}))
    assert has(text, "; how much sooner it reaches the twin's quality needs an earlier annealed point.")


def test_no_step_times(tmp_path: Path):
    text = summary(tmp_path, Study(DENSE, ALIKE, is_twin=True, step_time_s=None), Study(SPARSE, HALFWAY))
    assert has(text, "its time is not known for want of step times.")


def test_nothing_to_compare(tmp_path: Path):
    assert summary(tmp_path / "a", Study(DENSE, ALIKE)) == (
        "No verdict: there are only dense configurations, so nothing is compared; the lowest nll is 1.710 (standard "
        "deviation over seeds 0.014), of dense."
    )
    assert summary(tmp_path / "b", Study(SPARSE, {0: [2.0, 1.9, 1.8]}), Study(LARGE, {0: [2.0, 1.9, 1.7]})) == (
        "No verdict: no sparse configuration has a dense twin, so nothing is compared; the lowest nll is 1.700 (one "
        "seed), of 16 experts, capacity factor 1.25."
    )
    assert summary(
        tmp_path / "c", Study(DENSE, {0: ALIKE[0], 1: None}, is_twin=True), Study(SPARSE, {0: "killed", 1: ALIKE[1]})
    ).startswith("No verdict: no sparse configuration shares a seed that went well with its dense twin")


# What was matched, and which pair is spoken of


def better_by(nats: float) -> dict[int, list[float]]:
    return {seed: [nll - nats for nll in nlls] for seed, nlls in ALIKE.items()}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["iso_flop"], "equal useful FLOPs per token"),
        (["iso_active_params"], "equal active parameters"),
        (["iso_total_params"], "equal total parameters"),
        (["iso_active_params", "iso_flop"], "equal useful FLOPs per token and active parameters"),
    ],
)
def test_the_headline_says_what_was_matched(tmp_path: Path, kinds: list[str], words: str):
    text = summary(tmp_path, Study(DENSE, ALIKE, twins={kind: [SPARSE] for kind in kinds}), Study(SPARSE, HALFWAY))
    assert begins(
        text, f"At {words} the sparse configuration (4 experts, capacity factor 2) is 0.070 [0.070, 0.070] nats"
    )
    assert text.lower().count("at equal") == 1


def test_a_sparse_configuration_is_told_against_all_its_twins(tmp_path: Path):
    """It beats the dense model of equal FLOPs and loses to the one with as many weights: both must be said."""
    text = summary(
        tmp_path,
        Study(EQUAL, better_by(0.2), twins={"iso_total_params": [SPARSE]}),
        Study(SPARSE, better_by(0.07)),
        Study(DENSE, ALIKE, twins={"iso_flop": [SPARSE]}),
    )
    assert begins(
        text,
        "At equal useful FLOPs per token the sparse configuration (xxs, 4 experts, capacity factor 2) is 0.070 "
        "[0.070, 0.070] nats better than its dense twin after 2.40M tokens (2 seeds; p < 0.001 corrected for "
        "2 pairs); it needs ",
    )
    assert has(
        text,
        ". At equal total parameters it is 0.130 [0.130, 0.130] nats worse than its dense twin (dense; 2 seeds; "
        "p < 0.001 corrected for 2 pairs).",
    )


def test_the_best_is_picked_among_pairs_that_are_matched_alike(tmp_path: Path):
    """Against a dense model that did badly 16 experts gain 0.3 nats, but that answers another question."""
    text = summary(
        tmp_path,
        Study(DENSE, ALIKE, twins={"iso_flop": [SPARSE, LARGE]}),
        Study(SPARSE, better_by(0.1)),
        Study(LARGE, better_by(0.05)),
        Study(EQUAL, better_by(-0.25), twins={"iso_total_params": [LARGE]}),
    )
    assert begins(text, "At equal useful FLOPs per token the best sparse configuration (xxs, 4 experts,")
    assert has(text, "It is the best of 2, picked by the same runs that measure it, so expect a little less.")


def test_the_primary_pair_is_the_one_that_is_spoken_of(tmp_path: Path):
    """Named before the runs, so nothing was picked by its result."""
    studies = [
        Study(DENSE, ALIKE, twins={"iso_flop": [SPARSE, LARGE], "iso_active_params": [SPARSE]}),
        Study(SPARSE, better_by(0.05)),
        Study(LARGE, better_by(0.1)),
        Study(WIDER, better_by(0.02), twins={"iso_active_params": [LARGE]}),
    ]
    for kind in ("iso_flop", "iso_active_params"):
        primary = PrimaryPair(sparse=SPARSE.config_id, dense=DENSE.config_id, matched_on=kind)
        text = summary(tmp_path / kind, *studies, primary=primary)
        assert begins(
            text,
            "At equal useful FLOPs per token and active parameters the primary sparse configuration (4 experts, "
            "capacity factor 2) is 0.050",
        )
        assert "expect a little less" not in text
    primary = PrimaryPair(sparse=LARGE.config_id, dense=WIDER.config_id, matched_on="iso_active_params")
    text = summary(tmp_path / "wider", *studies, primary=primary)
    assert begins(text, "At equal active parameters the primary sparse configuration (16 experts, capacity factor")
    assert "is 0.080 [0.080, 0.080] nats better" in text
    assert "At equal useful FLOPs per token it is 0.100 [0.100, 0.100] nats better than its dense twin" in text


def test_the_only_pair_is_not_called_primary(tmp_path: Path):
    primary = PrimaryPair(sparse=SPARSE.config_id, dense=DENSE.config_id, matched_on="iso_flop")
    studies = Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY)
    assert summary(tmp_path / "named", *studies, primary=primary) == summary(tmp_path / "unnamed", *studies)


def test_a_primary_pair_without_runs_is_said_and_not_replaced_in_silence(tmp_path: Path):
    primary = PrimaryPair(sparse=LARGE.config_id, dense=DENSE.config_id, matched_on="iso_flop")
    studies = [Study(DENSE, ALIKE, is_twin=True), Study(SPARSE, HALFWAY), Study(LARGE, {0: "crashed", 1: None})]
    text = summary(tmp_path, *studies, primary=primary)
    assert begins(
        text, "At equal useful FLOPs per token the sparse configuration (4 experts, capacity factor 2) is 0.070"
    )
    assert has(text, " The sweep's primary pair shares no seed that went well, so it is not compared. ")


def test_dense_twins_of_several_kinds_are_told_apart(tmp_path: Path):
    text = summary(
        tmp_path,
        Study(DENSE, ALIKE, twins={"iso_flop": [SPARSE]}),
        Study(SPARSE, better_by(0.05)),
        Study(LARGE, better_by(0.01)),
        Study(WIDER, {0: ALIKE[0], 1: "diverged"}, twins={"iso_active_params": [LARGE]}),
    )
    assert has(text, " 1 of 2 runs (dense of equal active parameters) diverged, which counts as the worst.")
