import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from switchbench.cost import cost_of, count_train_flops
from switchbench.errors import UsageError
from switchbench.launch.amendments import Amendment
from switchbench.launch.plan import Plan, make_plan, write_plan_manifest
from switchbench.record import RECORD_SCHEMA, RunRecord
from switchbench.rows import describe_run
from switchbench.store import read_manifest, write_run, write_timing
from switchbench.store.schemas import SCHEMA_VERSION_KEY
from switchbench.sweep import parse_filter
from tests.factories import make_timing

PlanOf = Callable[..., Plan]
ANEW = "The sweep's command trains its run anew"


def give_result(plan: Plan, index: int, *, status: str) -> None:
    plan.folder.create()
    spec = plan.cells[index].spec
    row = RunRecord(**describe_run(spec, sweep=plan.sweep.name), status=status, reason=None)
    write_run(plan.folder, runs=[row], steps=[], spec=spec)


def test_a_new_sweep_runs_everything_and_touches_nothing(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(seeds=[0, 1])
    assert [cell.action for cell in plan.cells] == ["run"] * 6
    assert len(plan.untimed) == 3
    assert not plan.is_done
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("status", "action", "reason"),
    [
        ("ok", "skip", "done"),
        ("diverged", "skip", "diverged: a result"),
        ("oom", "skip", "out of memory: final"),
        ("killed", "retry", "killed before"),
        ("crashed", "retry", "crashed before"),
        ("timeout", "retry", "timeout before"),
    ],
)
def test_what_is_final_and_what_is_tried_again(plan_of: PlanOf, status: str, action: str, reason: str) -> None:
    plan = plan_of(seeds=[0, 1])
    give_result(plan, 1, status=status)
    again = make_plan(plan.sweep, folder=plan.folder)
    assert (again.cells[1].action, again.cells[1].reason) == (action, reason)
    assert {cell.action for i, cell in enumerate(again.cells) if i != 1} == {"run"}


def test_a_corrupt_result_is_named_and_run_again(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    give_result(plan, 0, status="ok")
    path = plan.folder.runs / f"{plan.cells[0].spec.run_id}.parquet"
    path.write_bytes(path.read_bytes()[:100])
    again = make_plan(plan.sweep, folder=plan.folder)
    assert again.cells[0].action == "run"
    assert again.cells[0].reason == "its result cannot be read"
    assert [str(file) for file in again.unreadable] == [f"{path}: {again.unreadable[0].reason}. {ANEW}."]


def test_a_result_without_its_curve_is_run_again(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    give_result(plan, 0, status="ok")
    path = plan.folder.steps / f"{plan.cells[0].spec.run_id}.parquet"
    path.unlink()
    again = make_plan(plan.sweep, folder=plan.folder)
    assert (again.cells[0].action, again.cells[0].reason) == ("run", "its curve cannot be read")
    assert [str(file) for file in again.unreadable] == [f"{path}: it is missing. {ANEW}, and draws the curve with it."]


def test_what_a_newer_version_wrote_is_never_replaced(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    give_result(plan, 0, status="ok")
    path = plan.folder.runs / f"{plan.cells[0].spec.run_id}.parquet"
    metadata = {SCHEMA_VERSION_KEY: str(RECORD_SCHEMA + 1).encode()}
    pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(metadata), path)
    again = make_plan(plan.sweep, folder=plan.folder)
    assert again.cells[0].action == "skip"
    assert "schema version 2" in again.cells[0].reason
    assert str(again.unreadable[0]).endswith("Upgrade switchbench to read it.")
    assert [cell.action for cell in again.cells[1:]] == ["run", "run"]


def test_a_corrupt_file_that_no_run_needs_is_named_as_such(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    plan.folder.create()
    (plan.folder.runs / "copy.parquet").touch()
    (file,) = make_plan(plan.sweep, folder=plan.folder).unreadable
    assert str(file).endswith("copy.parquet: it is empty. No run of this sweep needs it.")


def test_a_sweep_is_done_when_all_runs_are_and_all_that_ended_well_are_timed(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    for index, status in enumerate(("ok", "diverged", "ok")):
        give_result(plan, index, status=status)
    again = make_plan(plan.sweep, folder=plan.folder)
    assert not again.to_run
    assert again.untimed == (plan.cells[0].spec.config_id, plan.cells[2].spec.config_id)
    for index in (0, 2):
        write_timing(plan.folder, make_timing(plan.cells[index].spec, step_time_s=0.1, sweep=plan.sweep.name))
    assert make_plan(plan.sweep, folder=plan.folder).is_done


def test_the_json_object_adds_up(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0, 1])
    give_result(plan, 0, status="ok")
    content = json.loads(json.dumps(make_plan(plan.sweep, folder=plan.folder).as_json()))
    cells, totals = content["cells"], content["totals"]
    assert totals["cells"] == len(cells) == 6
    assert (totals["run"], totals["retry"], totals["skip"]) == (5, 0, 1)
    for name in ("useful_train_flops", "executed_train_flops", "trained_flops"):
        assert totals[name] == sum(cell[name] for cell in cells)
    to_run = [cell for cell in cells if cell["action"] != "skip"]
    assert totals["trained_flops_to_run"] == sum(cell["trained_flops"] for cell in to_run)
    assert len({cell["run_id"] for cell in cells}) == 6


def test_a_cells_numbers_are_those_of_its_specification(plan_of: PlanOf) -> None:
    cell = plan_of(seeds=[3]).cells[0]
    entry, cost = cell.as_json(), cost_of(cell.spec)
    assert entry["settings"] == {"model.ffn.num_experts": 2, "seed": 3}
    assert entry["params_total"] == cost.parameters.total > entry["params_active"] == cost.parameters.active
    # As the column of that name at the run's end; in a bound nothing is dropped, and nothing is padded.
    last_point = count_train_flops(cell.spec, num_steps=cell.spec.train.anneal_points[-1].end_step)
    assert entry["useful_train_flops"] == last_point.useful
    assert entry["executed_train_flops"] == last_point.executed
    assert entry["trained_flops"] == cost.trained_flops.useful > entry["useful_train_flops"]


def test_the_manifest_holds_the_cells(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/switchbench", "sweep", "a file.yaml"])
    plan = plan_of(seeds=[0, 1])
    plan.folder.create()
    write_plan_manifest(plan)
    manifest = read_manifest(plan.folder)
    assert [cell.run_id for cell in manifest.cells] == [cell.spec.run_id for cell in plan.cells]
    sparse = {cell.config_id for cell in manifest.cells if cell.role == "sparse"}
    (dense,) = {cell.twin_of for cell in manifest.cells if cell.role == "dense"}
    assert set(dense) == sparse
    assert manifest.command == "switchbench sweep 'a file.yaml'"
    assert (manifest.sweep, manifest.question) == ("small", "Does the scheduler keep its word?")
    assert manifest.expected == "That it does.\n"


def test_a_filter_leaves_the_others_alone(plan_of: PlanOf) -> None:
    everything = plan_of(seeds=[0, 1])
    plan = make_plan(everything.sweep, folder=everything.folder, only=parse_filter("num_experts == 4 and seed == 1"))
    assert [cell.spec.run_id for cell in plan.cells] == [cell.spec.run_id for cell in everything.cells]
    (only,) = plan.chosen
    assert plan.to_run == (only,)
    assert (only.spec.seed, getattr(only.spec.model.ffn, "num_experts", 1)) == (1, 4)
    assert plan.untimed == (only.spec.config_id,)
    assert {key: plan.totals()[key] for key in ("cells", "run", "leave")} == {"cells": 6, "run": 1, "leave": 5}
    plan.folder.create()
    write_plan_manifest(plan)
    assert {cell.run_id for cell in read_manifest(plan.folder).cells} == {c.spec.run_id for c in everything.cells}
    give_result(plan, plan.cells.index(only), status="ok")
    again = make_plan(everything.sweep, folder=everything.folder, only=plan.only)
    assert not again.to_run
    assert again.untimed == (only.spec.config_id,)


def test_twins_come_along_only_where_the_filter_is_true_of_them(plan_of: PlanOf) -> None:
    everything = plan_of(seeds=[0])

    def roles(text: str) -> list[str]:
        plan = make_plan(everything.sweep, folder=everything.folder, only=parse_filter(text))
        return [cell.cell.role for cell in plan.chosen]

    assert roles("num_experts == 4") == ["sparse"]
    assert roles("num_experts == 4 or kind == 'dense'") == ["sparse", "dense"]
    assert roles("num_experts < 4") == ["sparse", "dense"]


def test_a_filter_that_chooses_nothing_says_what_there_is(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    with pytest.raises(UsageError, match=r"chooses none of 3 runs: num_experts is 2 or 4 or 1\. Nothing was started"):
        make_plan(plan.sweep, folder=plan.folder, only=parse_filter("num_experts > 99"))


def test_what_has_changed_in_the_file(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0, 1])
    assert plan.amended is None
    plan.folder.create()
    write_plan_manifest(plan)
    same = plan_of(seeds=[1, 0])
    assert same.amended == Amendment(added=0, kept=6, gone=0)
    assert same.amended.line() is None
    other = plan_of(seeds=[1, 2, 3])
    assert other.amended == Amendment(added=6, kept=3, gone=3)
    assert other.as_json()["amended"] == {"added": 6, "kept": 3, "gone": 3, "on_other_text": 0}
    plan.folder.manifest_path.write_text("{", encoding="utf-8")
    assert plan_of(seeds=[0]).amended is None
