"""The back-test: by hand on made-up runs, and on the published ones of three routers."""

import csv

import numpy as np
import pytest

from switchbench.laws import Observations, backtest, fit_law, form_named, parse_loss
from tests.laws.made_up import SHARED_DATA, TYPICAL, grid, observed, unsaturated

SQUARES = parse_loss("mse-log")
FOLLOWS = unsaturated(TYPICAL["routed"])


def made_up(*, sizes: int = 6, noise: float = 0.002) -> Observations:
    columns = grid(np.geomspace(1e7, 1e9, sizes), [1.0, 4.0, 8.0], seeds=2)
    return observed("routed", FOLLOWS, columns, noise=noise, generator=np.random.default_rng(3))


def slow_twin(rows: Observations) -> list[tuple[float, float, float, float]]:
    """Of each held-out size: N, what was recommended, what was best, and the regret."""
    trials = []
    sizes = np.unique(rows.n)
    for i in range(len(sizes) - 1, 2, -1):
        fit = fit_law(rows.take(rows.n < sizes[i]), law=form_named("routed", saturating=False))
        held = rows.take(rows.n == sizes[i])
        means = {float(e): float(held.loss[held.experts == e].mean()) for e in np.unique(held.experts)}
        predicted = {e: float(fit.predict(n=sizes[i : i + 1], e=np.array([e]))[0]) for e in means}
        recommended, best = min(predicted, key=predicted.__getitem__), min(means, key=means.__getitem__)
        trials.append((float(sizes[i]), recommended, best, means[recommended] - means[best]))
    return trials


def test_every_size_is_recommended_from_the_smaller_ones():
    rows = made_up(noise=0.1)  # with so much noise, the best is not always what the law has it
    found = backtest(rows, law=form_named("routed", saturating=False), loss=SQUARES)
    expected = slow_twin(rows)
    assert [(t.n, t.recommended_e, t.best_e) for t in found.trials] == [each[:3] for each in expected]
    regrets = [each[3] for each in expected]
    assert [t.regret for t in found.trials] == pytest.approx(regrets, abs=1e-9)
    assert found.not_best == sum(each[1] != each[2] for each in expected) > 0
    assert found.mean_regret == pytest.approx(np.mean(regrets))
    assert found.worst_regret == pytest.approx(max(regrets))
    assert [t.fitted_rows for t in found.trials] == [30, 24, 18]


def test_a_reversal_at_the_largest_size_is_a_wrong_recommendation():
    """Experts stop paying at the largest size, which nothing smaller tells."""
    rows = made_up(noise=0.0005)
    turned = np.where((rows.n == rows.n.max()) & (rows.experts > 1), rows.loss + 0.5, rows.loss)
    found = backtest(
        Observations(n=rows.n, e=rows.e, loss=turned), law=form_named("routed", saturating=False), loss=SQUARES
    )
    largest = found.trials[0]
    assert (largest.recommended_e, largest.best_e) == (8, 1)
    assert not largest.is_right_kind
    assert largest.predicted_gain > 0 > largest.observed_gain
    assert largest.regret == pytest.approx(-largest.observed_gain)
    assert (found.wrong_kind, found.not_best) == (1, 1)
    assert found.gain_bias is not None
    assert found.gain_bias > 0.1
    assert all(trial.is_right_kind for trial in found.trials[1:])


def test_where_there_is_nothing_to_choose_there_is_no_trial():
    rows = made_up()
    law = form_named("routed", saturating=False)
    for part in (rows.take(rows.experts == 1), rows.take(rows.experts > 1), rows.take(rows.n < 5e7)):
        found = backtest(part, law=law, loss=SQUARES)
        assert found.trials == ()
        assert found.mean_regret is found.worst_regret is found.gain_error_rms is found.gain_bias is None
    # The largest size has no dense run: the next one is the first to be held out.
    part = rows.take((rows.n < rows.n.max()) | (rows.experts > 1))
    assert [t.n for t in backtest(part, law=law, loss=SQUARES).trials] == sorted(set(rows.n[rows.n < 9e8]))[:2:-1]


def test_a_chosen_law_is_chosen_without_the_held_out_size():
    found = backtest(made_up(sizes=7, noise=0.0003), law=None, loss=SQUARES)
    assert len(found.trials) >= 4
    assert {trial.law.name for trial in found.trials} <= {"routed", "clark"}
    assert found.trials[0].law.name == "routed"


@pytest.mark.parametrize("router", ["S-Base", "RL-R", "Hash"])
def test_the_published_runs_of_three_routers(router: str):
    """Recommendations for the 1.3B models, from the smaller ones; the figures are those of two fits made elsewhere."""
    path = SHARED_DATA / "clark_routed" / "clark_final_223.csv"
    if not path.exists():
        pytest.skip(f"needs the published runs of Clark et al. at {path}")
    with path.open(encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (float(row["routing_frequency"]), float(row["k"]), float(row["flop_increase"])) == (0.5, 1, 1)
            and (row["router_type"] == "Dense" or (row["router_type"] == router and row["seed"] == "42"))
        ]
    columns = {"n": "dense_parameter_count", "e": "num_experts", "loss": "loss_validation"}
    runs = Observations(**{name: np.array([float(row[column]) for row in rows]) for name, column in columns.items()})
    found = backtest(runs, law=form_named("routed"), loss=SQUARES)
    assert len(found.trials) >= 3
    assert found.wrong_kind == 0
    assert found.worst_regret is not None
    assert found.worst_regret < 0.01
    largest = found.trials[0]
    assert largest.n == pytest.approx(1.31e9, rel=0.01)
    gains = {gain.e: (gain.predicted_ln, gain.observed_ln) for gain in largest.gains}
    if router == "S-Base":
        assert gains[512] == (pytest.approx(0.125, abs=0.001), pytest.approx(0.115, abs=0.0006))
        assert gains[8] == (pytest.approx(0.041, abs=0.0006), pytest.approx(0.043, abs=0.0006))
    most = max(gains)
    assert gains[most][0] > gains[most][1] > 0  # the gain of many experts is promised too high, for every router


def test_very_many_rows_take_few_trials():
    rows = made_up(sizes=8)
    copies = 200_001 // (3 * len(rows)) + 1
    many = Observations(n=np.tile(rows.n, copies), e=np.tile(rows.experts, copies), loss=np.tile(rows.loss, copies))
    assert len(backtest(many, law=form_named("routed", saturating=False), loss=SQUARES).trials) == 2
