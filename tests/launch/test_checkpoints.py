"""Final weights that are kept for good, and those that are there for the timing pass alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from switchbench.errors import SweepFileError
from switchbench.inspection.standing import survey
from switchbench.launch.checkpoints import unkept_line
from switchbench.launch.events import Event
from switchbench.launch.plan import Plan, expand_sweep, make_plan
from switchbench.launch.run import Outcome, run_plan
from switchbench.launch.scheduler import Policy
from switchbench.launch.slots import Setup
from tests.launch.conftest import FUNCTIONS
from tests.launch.stand_ins import DIVERGES, KILLED, WELL
from tests.specs import tiny_run

PlanOf = Callable[..., Plan]


@pytest.fixture
def run_and_keep(corpus_cache: Path, heard: list[Event]) -> Callable[[Plan], Outcome]:
    def run_and_keep(plan: Plan) -> Outcome:
        setup = Setup(keep_checkpoints=True)
        policy = Policy(max_tries=1)
        return run_plan(
            plan, on_event=heard.append, setup=setup, policy=policy, cache_root=corpus_cache, functions=FUNCTIONS
        )

    return run_and_keep


def kept(plan: Plan) -> set[str]:
    """The runs with a checkpoint; there is nothing else in that folder."""
    names = {path.name for path in plan.folder.checkpoints.iterdir()}
    assert all(name.count(".") == 1 for name in names)
    return {name.removesuffix(".safetensors") for name in names}


def test_runs_that_end_well_keep_their_weights_after_the_timing_pass(
    plan_of: PlanOf, run_and_keep: Callable[[Plan], Outcome]
) -> None:
    plan = plan_of(seeds=[WELL, KILLED, DIVERGES, 7])
    assert run_and_keep(plan).timed == 3
    assert kept(plan) == {cell.spec.run_id for cell in plan.cells if cell.spec.seed in (WELL, 7)}
    (standing,) = survey(plan.folder.path).sweeps
    assert standing.counts()["checkpoints"] == 6
    assert {run.cell.run_id for run in standing.runs if run.checkpoint is not None} == kept(plan)


def test_the_file_can_ask_for_it_without_changing_what_the_runs_are(
    tmp_path: Path, plan_of: PlanOf, run_it: Callable[..., Outcome]
) -> None:
    plain = plan_of(seeds=[WELL])
    sweep = expand_sweep(tmp_path / "small.yaml", overrides=["sweep.seeds=[0]", "base.train.keep_checkpoint=true"])
    plan = make_plan(sweep, folder=plain.folder)
    ids = [cell.spec.run_id for cell in plan.cells]
    assert ids == [cell.spec.run_id for cell in plain.cells]
    run_it(plan)
    assert kept(plan) == set(ids)


def test_runs_that_were_done_before_are_named_and_force_trains_them_again(
    plan_of: PlanOf, run_it: Callable[..., Outcome], run_and_keep: Callable[[Plan], Outcome]
) -> None:
    run_it(plan_of(seeds=[WELL]))
    before = plan_of(seeds=[WELL])
    assert unkept_line(before, keeps_all=False) is None
    line = unkept_line(before, keeps_all=True)
    assert line is not None
    assert line.startswith("3 runs were done before and kept no checkpoint; --force trains them again")
    assert not kept(before)
    run_and_keep(make_plan(before.sweep, folder=before.folder, again="all"))
    assert kept(before) == {cell.spec.run_id for cell in before.cells}
    assert unkept_line(plan_of(seeds=[WELL]), keeps_all=True) is None


def test_a_kept_checkpoint_is_replaced_when_its_run_is_trained_again(
    plan_of: PlanOf, run_it: Callable[..., Outcome]
) -> None:
    """Else it would be another training's than the result beside it."""
    run_it(plan_of(seeds=[WELL]))
    plan = plan_of(seeds=[WELL])
    path = plan.folder.checkpoint_path(plan.cells[0].spec.run_id)
    path.write_bytes(b"of an earlier training")
    run_it(make_plan(plan.sweep, folder=plan.folder, again="all"))
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize("axis", ["grid.train.keep_checkpoint=[true, false]", "zip=[{train.keep_checkpoint: true}]"])
def test_it_cannot_vary_within_a_sweep(tmp_path: Path, plan_of: PlanOf, axis: str) -> None:
    plan_of(seeds=[WELL])
    with pytest.raises(SweepFileError, match=r"train.keep_checkpoint cannot vary: .* the same run. Set it in base"):
        expand_sweep(tmp_path / "small.yaml", overrides=[f"sweep.{axis}"])


def test_it_is_no_part_of_the_identity() -> None:
    plain, kept = tiny_run(), tiny_run(train={"keep_checkpoint": True})
    assert (kept.run_id, kept.config_id) == (plain.run_id, plain.config_id)
