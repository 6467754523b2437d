"""A sweep that tunes, stage by stage, with stand-ins for the worker whose quality depends on the learning rate."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from switchbench.launch.events import Event, RunEnded, SweepStarted, Warned
from switchbench.launch.plan import Plan, expand_sweep, make_plan
from switchbench.launch.run import Outcome
from switchbench.launch.scheduler import Policy
from switchbench.store import SweepFolder, read_manifest, read_runs
from switchbench.sweep import parse_filter
from tests.launch.conftest import FUNCTIONS
from tests.launch.text import write_sweep

RunIt = Callable[..., Outcome]
TUNED = replace(FUNCTIONS, run="tests.launch.tuning_stand_ins:run_by_learning_rate")
"""Best: 2e-2 for the sparse configurations, 1e-2 for the dense one."""
BEST = {2: 2e-2, 4: 2e-2, None: 1e-2}


@pytest.fixture
def tuned_plan(tmp_path: Path) -> Callable[..., Plan]:
    """Plans the small sweep with one reported seed and a learning rate that is tuned."""
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")

    def tuned_plan(rates: str = "[5e-3, 1e-2, 2e-2, 4e-2]", **options: Any) -> Plan:
        overrides = ["sweep.seeds=[0]", f"sweep.tune.train.learning_rate={rates}", "sweep.tune_seeds=[7]"]
        sweep = expand_sweep(tmp_path / "small.yaml", overrides=overrides)
        return make_plan(sweep, folder=SweepFolder(tmp_path / "results" / sweep.name), **options)

    return tuned_plan


def chosen(plan: Plan) -> dict[Any, float]:
    return {
        cell.cell.settings.get("model.ffn.num_experts"): cell.spec.train.learning_rate
        for cell in plan.cells
        if cell.cell.role != "tuning"
    }


def check_manifest(plan: Plan) -> None:
    """It says what was tried, and what is reported."""
    manifest = read_manifest(plan.folder)
    assert [cell.role for cell in manifest.cells] == ["tuning"] * 12 + ["sparse", "sparse", "dense"]
    assert {row.run_id for row in read_runs(plan.folder)} == {cell.run_id for cell in manifest.cells}
    assert manifest.pending == 0
    assert [each.config_id for each in manifest.tuning] == [cell.config_id for cell in manifest.cells[12:]]
    tries = {cell.run_id: cell.spec["train"]["learning_rate"] for cell in manifest.cells if cell.role == "tuning"}
    for tuned in manifest.tuning:
        best = min(tuned.tries, key=lambda each: each.nll or 0)
        assert tuned.chosen == best.values
        for each in tuned.tries:
            assert [tries[run_id] for run_id in each.run_ids] == list(each.values.values())


def test_tries_come_first_and_what_is_reported_has_the_best_values(
    tuned_plan: Callable[..., Plan], run_it: RunIt, heard: list[Event]
) -> None:
    plan = tuned_plan()
    assert (len(plan.to_start), len(plan.to_run), len(plan.untimed)) == (12, 15, 3)
    outcome = run_it(plan, functions=TUNED)
    ends = [event.cell.cell.role for event in heard if isinstance(event, RunEnded)]
    assert set(ends[:12]) == {"tuning"}
    assert sorted(ends[12:]) == ["dense", "sparse", "sparse"]
    assert [len(event.cells) for event in heard if isinstance(event, SweepStarted)] == [12, 3]
    assert chosen(outcome.plan) == BEST
    assert (len(outcome.ended), outcome.failed, outcome.timed) == (15, (), 3)
    assert not list(plan.folder.checkpoints.iterdir())  # tries keep no weights
    again = tuned_plan()
    assert again.is_done
    assert chosen(again) == BEST
    check_manifest(plan)


def test_an_edge_adds_tries_and_earlier_ones_are_kept(tuned_plan: Callable[..., Plan], run_it: RunIt) -> None:
    plan = tuned_plan("[5e-3, 1e-2]")
    outcome = run_it(plan, functions=TUNED)
    tries = [cell for cell in outcome.plan.cells if cell.cell.role == "tuning"]
    assert {cell.spec.train.learning_rate for cell in tries} == {5e-3, 1e-2, 2e-2, 4e-2}
    assert chosen(outcome.plan) == BEST
    assert len(outcome.ended) == 12 + 3
    wider = tuned_plan("[5e-3, 1e-2, 2e-2, 4e-2, 8e-2]")
    assert {cell.spec.train.learning_rate for cell in wider.to_start} == {8e-2}
    assert len(wider.to_start) == 3


def test_a_command_that_stops_in_the_middle_is_completed_by_the_next(
    tuned_plan: Callable[..., Plan], run_it: RunIt
) -> None:
    ends = 5
    left = [ends]

    def stop_in_time(event: Event) -> None:
        left[0] -= isinstance(event, RunEnded)
        if left[0] == 0:
            raise KeyboardInterrupt

    plan = tuned_plan()
    with pytest.raises(KeyboardInterrupt):
        run_it(plan, functions=TUNED, on_event=stop_in_time)
    assert read_manifest(plan.folder).pending == 3
    rest = tuned_plan()
    done = 15 - len(rest.to_run)
    assert ends <= done < 15
    outcome = run_it(rest, functions=TUNED)
    assert len(outcome.ended) == 15 - done
    assert chosen(outcome.plan) == BEST


def test_tries_that_fail_count_as_worst_and_are_tried_again(
    tuned_plan: Callable[..., Plan], run_it: RunIt, heard: list[Event]
) -> None:
    dies = replace(FUNCTIONS, run="tests.launch.tuning_stand_ins:run_by_learning_rate_but_die_at_the_best")
    outcome = run_it(tuned_plan(), functions=dies)
    assert len(outcome.failed) == 3
    assert chosen(outcome.plan) == {2: 1e-2, 4: 1e-2, None: 2e-2}
    again = tuned_plan()
    assert [(cell.action, cell.cell.role) for cell in again.to_start] == [("retry", "tuning")] * 3
    outcome = run_it(again, functions=TUNED)
    assert chosen(outcome.plan) == BEST
    assert len(outcome.ended) == 3 + 3
    forced = run_it(tuned_plan(again="all"), functions=TUNED)
    assert len(forced.ended) == 15  # every stage once more, and once only


def test_what_has_no_try_that_ended_well_has_no_runs_and_that_is_told(
    tuned_plan: Callable[..., Plan], run_it: RunIt, heard: list[Event]
) -> None:
    plan = tuned_plan()
    outcome = run_it(
        plan, functions=replace(FUNCTIONS, run="tests.launch.tuning_stand_ins:run_by_learning_rate_dense_only")
    )
    assert chosen(outcome.plan) == {None: 1e-2}
    warnings = [event.text for event in heard if isinstance(event, Warned)]
    assert [text.partition(":")[0] for text in warnings] == ["2 experts", "4 experts"]
    assert outcome.plan.cells[-1].cell.twin_of == ()
    assert [each.config_id is None for each in read_manifest(plan.folder).tuning] == [True, True, False]


def test_with_fail_fast_nothing_follows_a_try_that_failed(tuned_plan: Callable[..., Plan], run_it: RunIt) -> None:
    dies = replace(FUNCTIONS, run="tests.launch.tuning_stand_ins:run_by_learning_rate_but_die_at_the_best")
    outcome = run_it(tuned_plan(), functions=dies, workers=1, policy=Policy(max_tries=1, fail_fast=True))
    assert len(outcome.failed) == 1
    assert {end.cell.cell.role for end in outcome.ended} == {"tuning"}


def test_a_filter_chooses_reported_runs_and_keeps_all_tries(tuned_plan: Callable[..., Plan], run_it: RunIt) -> None:
    plan = tuned_plan(only=parse_filter("num_experts == 4"))
    assert [cell.action for cell in plan.cells[12:]] == ["leave", "await", "leave"]
    assert all(cell["run_id"] is None for cell in plan.as_json()["cells"][12:])
    by_rate = tuned_plan(only=parse_filter("learning_rate == 2e-2"))
    assert [cell.action for cell in by_rate.cells[12:]] == ["await"] * 3
    outcome = run_it(plan, functions=TUNED)
    assert [end.cell.cell.role for end in outcome.ended] == ["tuning"] * 12 + ["sparse"]


def test_a_plan_of_what_waits_has_costs_and_no_identities(tuned_plan: Callable[..., Plan]) -> None:
    plan = tuned_plan()
    cells = plan.as_json()["cells"]
    waiting = [cell for cell in cells if cell["action"] == "await"]
    assert [(cell["run_id"], cell["config_id"], cell["twin_of"]) for cell in waiting] == [(None, None, [])] * 3
    assert all(cell["trained_flops"] > 0 for cell in waiting)
    totals = plan.totals()
    assert (totals["cells"], totals["tries"], totals["run"], totals["await"], totals["configurations"]) == (
        15, 12, 12, 3, 3,
    )  # fmt: skip
    assert totals["trained_flops_to_run"] == sum(cell["trained_flops"] for cell in cells)
