import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import make_timing

from switchbench.launch.events import Event, Preparing, RunStarted, SweepStarted, TimingProgressed, Warned
from switchbench.launch.locks import MACHINE_LOCK_NAME, Lock
from switchbench.launch.plan import Plan, make_plan
from switchbench.launch.run import Outcome
from switchbench.launch.slots import claimed_cores
from switchbench.store import read_runs, write_timing
from tests.launch.stand_ins import MACHINE_ID, WELL

PlanOf = Callable[..., Plan]
RunIt = Callable[..., Outcome]


def is_free(path: Path, *, is_shared: bool = False) -> bool:
    """Whether another command would get the lock now."""
    lock = Lock(path)
    try:
        return lock.try_acquire(is_shared=is_shared)
    finally:
        lock.release()


@pytest.mark.parametrize(("held_shared", "wanted_shared"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_lock_is_shared_only_if_both_want_that(tmp_path: Path, held_shared: bool, wanted_shared: bool) -> None:
    lock = Lock(tmp_path / "lock")
    assert lock.try_acquire(is_shared=held_shared)
    assert is_free(lock.path, is_shared=wanted_shared) == (held_shared and wanted_shared)
    lock.release()
    lock.release()
    assert is_free(lock.path)


def test_a_file_that_its_holder_removed_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened before the holder removed it, locked after the holder gave it back: the next one locks a new file."""
    really_lock = fcntl.flock

    def be_overtaken(descriptor: int, how: int) -> None:
        (tmp_path / "lock").unlink()
        really_lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", be_overtaken)
    late = Lock(tmp_path / "lock")
    assert not late.try_acquire()
    monkeypatch.undo()
    assert late.try_acquire()


def test_another_users_lock_file_is_locked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open everything, so the refusal is injected."""
    really_open = os.open

    def refuse_to_write(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return really_open(path, flags, *rest)

    (tmp_path / "lock").touch()
    monkeypatch.setattr(os, "open", refuse_to_write)
    lock = Lock(tmp_path / "lock")
    assert lock.try_acquire()
    assert not is_free(lock.path)
    lock.release()


def test_what_another_command_finished_meanwhile_is_not_done_twice(
    plan_of: PlanOf, run_it: RunIt, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[WELL])
    run_it(plan)
    heard.clear()
    outcome = run_it(plan)  # planned before the other one ended
    assert not outcome.ended
    assert outcome.plan.is_done
    assert not heard


def test_training_shares_the_machine_and_timing_does_not(
    plan_of: PlanOf, run_it: RunIt, machine_of_our_own: Path
) -> None:
    lock_path = machine_of_our_own / MACHINE_LOCK_NAME
    seen: dict[type, set[tuple[bool, bool]]] = {}

    def look(event: Event) -> None:
        state = (is_free(lock_path, is_shared=True), is_free(lock_path))
        seen.setdefault(type(event), set()).add(state)

    run_it(plan_of(seeds=[WELL]), on_event=look)
    assert seen[RunStarted] == {(True, False)}
    assert seen[TimingProgressed] == {(False, False)}
    assert is_free(lock_path)


def test_the_timing_pass_waits_for_other_runs_and_then_looks_what_is_left(
    plan_of: PlanOf, run_it: RunIt, machine_of_our_own: Path, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[WELL])
    others_training = Lock(machine_of_our_own / MACHINE_LOCK_NAME)
    assert others_training.try_acquire(is_shared=True)

    def end_the_wait(event: Event) -> None:
        heard.append(event)
        if event == Preparing(what="waiting for other runs on this machine"):
            for cell in plan.cells[1:]:
                write_timing(plan.folder, make_timing(cell.spec, step_time_s=0.1, machine_id=MACHINE_ID))
            others_training.release()

    assert run_it(plan, on_event=end_the_wait).timed == 1
    assert make_plan(plan.sweep, folder=plan.folder).is_done


def test_training_waits_for_another_sweeps_timing_pass(
    plan_of: PlanOf, run_it: RunIt, machine_of_our_own: Path, heard: list[Event]
) -> None:
    others_timing = Lock(machine_of_our_own / MACHINE_LOCK_NAME)
    assert others_timing.try_acquire()

    def end_the_wait(event: Event) -> None:
        heard.append(event)
        others_timing.release()

    run_it(plan_of(seeds=[WELL]), on_event=end_the_wait)
    assert heard[0] == Preparing(what="waiting for a timing pass on this machine")
    assert any(isinstance(event, SweepStarted) for event in heard)


def test_without_a_place_for_locks_the_sweep_goes_on(
    plan_of: PlanOf, run_it: RunIt, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Lock, *, is_shared: bool = False) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(Lock, "try_acquire", refuse)
    assert len(run_it(plan_of(seeds=[WELL])).ended) == 3
    warnings = [event.text for event in heard if isinstance(event, Warned)]
    assert len(warnings) == 3  # of the runs, of training, of the timing pass
    assert all("No locks available" in text for text in warnings)


def test_commands_side_by_side_use_cores_of_their_own(
    plan_of: PlanOf, run_it: RunIt, machine_of_our_own: Path, monkeypatch: pytest.MonkeyPatch, heard: list[Event]
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    plan = plan_of(seeds=[WELL])
    with claimed_cores(1, on_event=heard.append) as cores:
        assert cores == (0, 1, 2)
        run_it(plan, workers=1)
    assert {row.machine for row in read_runs(plan.folder)} == {"(1,)"}
    assert not any(isinstance(event, Warned) for event in heard)


def test_too_few_free_cores_are_told(monkeypatch: pytest.MonkeyPatch, heard: list[Event]) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    with claimed_cores(2, on_event=heard.append), claimed_cores(3, on_event=heard.append) as cores:
        assert cores == (2, 0, 1)
    (warning,) = heard
    assert isinstance(warning, Warned)
    assert warning.text.startswith("2 of the 3 cores asked for are in use by another switchbench command")
    with claimed_cores(3, on_event=heard.append) as cores:
        assert cores == (0, 1, 2)
    assert len(heard) == 1
