import dataclasses
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from switchbench.errors import CorpusError, ResultsFolderError, SwitchbenchError, UsageError
from switchbench.launch import local, run
from switchbench.launch.events import (
    Event,
    Preparing,
    RunEnded,
    RunProgressed,
    RunStarted,
    SweepStarted,
    TimingEnded,
    TimingProgressed,
    Warned,
)
from switchbench.launch.locks import MACHINE_LOCK_NAME, Lock
from switchbench.launch.plan import Plan, in_starting_order, make_plan
from switchbench.launch.run import Outcome, WorkerFunctions, run_plan
from switchbench.store import read_manifest, read_runs, read_statuses, timed_configs
from tests.launch.conftest import FUNCTIONS
from tests.launch.stand_ins import DIVERGES, KILLED, MACHINE_ID, RAISES, SILENT, WELL

PlanOf = Callable[..., Plan]
RunIt = Callable[..., Outcome]


def stand_in(**names: str) -> WorkerFunctions:
    modules = {"run": "stand_ins", "probe": "stand_ins", "time": "timing_stand_ins"}
    return dataclasses.replace(
        FUNCTIONS, **{role: f"tests.launch.{modules[role]}:{name}" for role, name in names.items()}
    )


def statuses_by_seed(plan: Plan) -> dict[int, set[str]]:
    statuses, _ = read_statuses(plan.folder)
    by_seed: dict[int, set[str]] = {}
    for cell in plan.cells:
        by_seed.setdefault(cell.spec.seed, set()).add(statuses[cell.spec.run_id])
    return by_seed


@pytest.fixture
def ended_badly(plan_of: PlanOf, run_it: RunIt, capfd: pytest.CaptureFixture[str]) -> tuple[Plan, Outcome]:
    """A sweep of three configurations, in which one seed each ends well, is killed, raises, goes silent, diverges."""
    plan = plan_of(seeds=[WELL, KILLED, RAISES, SILENT, DIVERGES])
    return plan, run_it(plan)


def test_runs_that_fail_are_rows_and_the_others_finish(ended_badly: tuple[Plan, Outcome]) -> None:
    plan, outcome = ended_badly
    assert statuses_by_seed(plan) == {
        WELL: {"ok"},
        KILLED: {"killed"},
        RAISES: {"crashed"},
        SILENT: {"crashed"},
        DIVERGES: {"diverged"},
    }
    assert len(outcome.ended) == 15
    assert Counter(end.cell.spec.seed for end in outcome.failed) == {KILLED: 3, RAISES: 3, SILENT: 3}
    reasons = {row.seed: row.reason for row in read_runs(plan.folder)}
    assert reasons[WELL] is None
    assert reasons[KILLED] == "killed by SIGKILL (sent from outside, or by the system when memory ran out)"
    assert reasons[RAISES] == "ended without a result, exit code 1: the last thing it said"
    assert reasons[SILENT] == "ended without a result, exit code 0: the last thing it said"
    assert reasons[DIVERGES] == "nll is not finite"


def test_the_next_command_runs_only_what_failed(ended_badly: tuple[Plan, Outcome], run_it: RunIt) -> None:
    plan, _ = ended_badly
    again = make_plan(plan.sweep, folder=plan.folder)
    outcome = run_it(again)
    assert {end.cell.spec.seed for end in outcome.ended} == {KILLED, RAISES, SILENT}
    assert {cell.action for cell in again.to_run} == {"retry"}


def test_what_is_told(ended_badly: tuple[Plan, Outcome], heard: list[Event]) -> None:
    plan, outcome = ended_badly
    kinds = [type(event) for event in heard]
    assert kinds.count(SweepStarted) == kinds.count(TimingEnded) == 1
    assert kinds.count(RunStarted) == kinds.count(RunEnded) == len(plan.cells)
    assert kinds.index(Preparing) < kinds.index(SweepStarted) < kinds.index(RunStarted) < kinds.index(RunEnded)
    assert kinds.index(TimingProgressed) > max(i for i, kind in enumerate(kinds) if kind is RunEnded)
    assert tuple(event for event in heard if isinstance(event, RunEnded)) == outcome.ended
    progress = [event for event in heard if isinstance(event, RunProgressed)]
    assert {(event.tokens_done, event.tokens_total, event.nll) for event in progress} == {(1, 4, None)}


def test_failed_runs_say_where_and_when(ended_badly: tuple[Plan, Outcome]) -> None:
    plan, _ = ended_badly
    failed = [row for row in read_runs(plan.folder) if row.status in ("killed", "crashed")]
    assert len(failed) == 9
    for row in failed:
        assert (row.machine, row.machine_id, row.device, row.threads) == ("a box", MACHINE_ID, "cpu", 1)
        assert (row.commit, row.precision) == ("4cae576", "float32")
        assert datetime.fromisoformat(row.started_at or "").tzinfo is not None


def test_runs_side_by_side_have_cores_of_their_own(
    plan_of: PlanOf, run_it: RunIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    plan = plan_of(seeds=[WELL])
    run_it(plan)
    assert {row.machine for row in read_runs(plan.folder)} == {"(0,)", "(1,)", "(2,)"}


def test_the_server_imports_once_for_all_runs(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[WELL])
    run_it(plan)
    assert {row.device_name for row in read_runs(plan.folder)} == {"preloaded"}


def test_never_more_runs_than_workers(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    run_it(plan_of(seeds=[WELL, KILLED]), workers=1)
    order = [type(event) for event in heard if isinstance(event, RunStarted | RunEnded)]
    assert order == [RunStarted, RunEnded] * 6


def test_first_seeds_come_first_then_the_longest(plan_of: PlanOf) -> None:
    order = in_starting_order(plan_of(seeds=[5, 6]).cells)
    assert [cell.spec.seed for cell in order] == [5, 5, 5, 6, 6, 6]
    lengths = [cell.cost.trained_flops.useful for cell in order]
    assert lengths[:3] == sorted(lengths[:3], reverse=True) == lengths[3:]
    assert len(set(lengths)) == 3


def test_everything_is_timed_once_with_the_first_seeds_weights(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[WELL, 7])
    assert run_it(plan).timed == 3
    timings = [pq.read_table(path).to_pylist()[0] for path in plan.folder.timings.glob("*.parquet")]
    first_runs = {cell.spec.run_id for cell in plan.cells if cell.spec.seed == WELL}
    assert {timing["run_id"] for timing in timings} == first_runs
    assert all(timing["trained_weights"] for timing in timings)
    assert not list(plan.folder.checkpoints.iterdir())


def test_step_times_are_written_before_another_command_may_measure(plan_of: PlanOf, run_it: RunIt) -> None:
    """Or one that has waited would not know of them, and measure all again, without the weights that are gone."""
    was_free: list[bool] = []

    def try_to_measure(event: Event) -> None:
        if isinstance(event, TimingEnded):
            lock = Lock(Path(tempfile.gettempdir()) / MACHINE_LOCK_NAME)
            was_free.append(lock.try_acquire())
            lock.release()

    plan = plan_of(seeds=[WELL])
    run_it(plan, on_event=try_to_measure)
    assert was_free == [False]


def test_when_the_first_seed_fails_a_later_ones_weights_are_timed(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[KILLED, WELL])
    run_it(plan, workers=1)
    timings = [pq.read_table(path).to_pylist()[0] for path in plan.folder.timings.glob("*.parquet")]
    assert len(timings) == 3
    assert all(timing["trained_weights"] for timing in timings)


def test_a_timing_process_that_dies_costs_nothing_but_the_timings(
    plan_of: PlanOf, run_it: RunIt, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[WELL])
    outcome = run_it(plan, functions=stand_in(time="measure_and_die"))
    (warning,) = [event for event in heard if isinstance(event, Warned)]
    assert "killed by SIGKILL" in warning.text
    assert outcome.timed == 0
    assert not outcome.failed
    again = make_plan(plan.sweep, folder=plan.folder)
    assert not again.to_run
    assert run_it(again).timed == 3
    assert timed_configs(plan.folder, machine_id=MACHINE_ID) == {cell.spec.config_id for cell in plan.cells}


def test_when_nothing_is_left_nothing_is_started(
    plan_of: PlanOf, run_it: RunIt, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(seeds=[WELL])
    run_it(plan)
    heard.clear()
    monkeypatch.setattr(run, "warm_server", None)
    again = make_plan(plan.sweep, folder=plan.folder)
    assert again.is_done
    assert run_it(again) == Outcome(plan=again)
    assert not heard
    assert len(read_manifest(plan.folder).cells) == 3


def test_results_that_cannot_be_written_stop_the_sweep(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    plan = plan_of(seeds=[WELL, 7])
    with pytest.raises(ResultsFolderError, match=r"Cannot write .*runs"):
        run_it(plan, functions=stand_in(run="run_with_results_gone"), workers=1)
    assert sum(isinstance(event, RunStarted) for event in heard) == 1
    assert not multiprocessing.active_children()


def test_a_results_folder_beneath_a_file_is_refused_before_anything_starts(
    plan_of: PlanOf, run_it: RunIt, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[WELL])
    plan.folder.path.parent.write_text("a file", encoding="utf-8")
    with pytest.raises(ResultsFolderError, match="is not a folder"):
        run_it(plan)
    assert not heard


def test_ctrl_c_ends_the_runs_and_keeps_what_is_finished(plan_of: PlanOf, run_it: RunIt) -> None:
    def interrupt_after_the_first_run(event: Event) -> None:
        if isinstance(event, RunEnded):
            raise KeyboardInterrupt

    plan = plan_of(seeds=[WELL, 7])
    functions = stand_in(run="run_first_seed_only")
    with pytest.raises(KeyboardInterrupt):
        run_it(plan, functions=functions, workers=2, on_event=interrupt_after_the_first_run)
    assert not multiprocessing.active_children()
    statuses, _ = read_statuses(plan.folder)
    assert list(statuses.values()) == ["ok"]


def test_what_is_doubtful_about_the_text_is_told(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    run_it(plan_of(seeds=[WELL]))
    assert not [event for event in heard if isinstance(event, Warned)]
    corpus = Path(plan_of(seeds=[WELL]).cells[0].spec.data.path or "")
    for path in corpus.iterdir():
        if path.name >= "part02":
            path.unlink()
    (corpus / "cover.png").write_bytes(b"\0")
    run_it(plan_of(seeds=[WELL]))
    assert [event.text for event in heard if isinstance(event, Warned)] == [
        f"left out of {corpus}: 1 with other suffixes (.png)",
        f"the held-out part of {corpus} is cut from the end of 2 of its 2 files, since there are too few whole files: "
        "it may resemble the training part",
    ]


def test_a_device_that_is_not_there_leaves_the_manifest_alone(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[WELL])
    run_it(plan)
    before = plan.folder.manifest_path.read_bytes()
    with pytest.raises(UsageError, match="there is no GPU here"):
        run_it(plan_of(seeds=[WELL, 7]), functions=stand_in(probe="probe_and_find_no_gpu"))
    assert plan.folder.manifest_path.read_bytes() == before


def test_a_cache_that_cannot_be_written_leaves_no_manifest(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(seeds=[WELL])
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(CorpusError, match="cannot write the cache folder"):
        run_plan(plan, on_event=[].append, cache_root=tmp_path / "file", functions=FUNCTIONS)
    assert not plan.folder.manifest_path.exists()


def test_a_first_process_that_cannot_start(plan_of: PlanOf, run_it: RunIt, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SwitchbenchError, match=r"PyTorch could not be started: .* exit code 1"):
        run_it(plan_of(seeds=[WELL]), functions=stand_in(probe="probe_and_raise"))


def test_a_process_that_does_not_exit_after_its_result(
    plan_of: PlanOf, run_it: RunIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "EXIT_PATIENCE_S", 0.1)
    plan = plan_of(seeds=[WELL])
    outcome = run_it(plan, functions=stand_in(run="run_and_hang_at_exit"))
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    assert not multiprocessing.active_children()


def test_nobody_waits_for_a_process_that_has_sent_its_result(
    plan_of: PlanOf, run_it: RunIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "EXIT_PATIENCE_S", 120.0)
    plan = plan_of(seeds=[WELL])
    still_there: list[int] = []

    def release_after_two(event: Event) -> None:
        if isinstance(event, RunEnded):
            still_there.append(len(multiprocessing.active_children()))
            if len(still_there) == 2:
                (plan.folder.logs / "released").touch()

    functions = stand_in(run="run_and_stay_until_released")
    outcome = run_it(plan, functions=functions, workers=2, is_timed=False, on_event=release_after_two)
    assert still_there[:2] == [2, 2]  # both have told their results, and are there
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    assert not multiprocessing.active_children()
