"""What is done about runs that fail, hang, grow, or belong to another command; with real processes that behave so."""

import dataclasses
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from switchbench.launch.claims import Claims, read_claims
from switchbench.launch.events import Event, RunElsewhere, RunEnded, RunProgressed, RunRetried, RunStarted, Warned
from switchbench.launch.executor import Job
from switchbench.launch.local import LocalExecutor
from switchbench.launch.plan import Plan, make_plan
from switchbench.launch.run import Outcome, WorkerFunctions
from switchbench.launch.scheduler import Policy
from switchbench.record import Progress, RunRecord
from switchbench.rows import describe_run
from switchbench.store import SweepFolder, read_runs, read_statuses, write_run
from tests.launch.conftest import FUNCTIONS
from tests.launch.stand_ins import DIVERGES, KILLED, RAISES, SILENT, WELL

PlanOf = Callable[..., Plan]
RunIt = Callable[..., Outcome]


def doing(name: str) -> WorkerFunctions:
    return dataclasses.replace(FUNCTIONS, run=f"tests.launch.stand_ins:{name}")


def starts_of(heard: list[Event], *, seed: int) -> int:
    return sum(isinstance(event, RunStarted) and event.cell.spec.seed == seed for event in heard)


def test_what_is_killed_is_tried_again_up_to_twice(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    plan = plan_of(seeds=[WELL, KILLED])
    outcome = run_it(plan, policy=Policy())
    assert starts_of(heard, seed=WELL) == 3
    assert starts_of(heard, seed=KILLED) == 9
    assert len(outcome.failed) == 3
    assert len(read_runs(plan.folder)) == 6


def test_the_third_attempt_may_succeed(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    outcome = run_it(plan_of(seeds=[WELL]), policy=Policy(), functions=doing("run_third_time_lucky"))
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    assert outcome.timed == 3
    texts = [event.text for event in heard if isinstance(event, RunRetried)]
    assert len(texts) == 6
    assert all("killed by SIGKILL" in text and "tried again" in text for text in texts)


def test_the_same_crash_twice_is_not_tried_a_third_time(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    outcome = run_it(plan_of(seeds=[WELL, RAISES, SILENT, DIVERGES]), policy=Policy())
    assert starts_of(heard, seed=RAISES) == starts_of(heard, seed=SILENT) == 6
    assert starts_of(heard, seed=DIVERGES) == 3  # a result
    assert len(outcome.failed) == 6


def test_out_of_memory_halves_the_micro_batch(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    plan = plan_of(seeds=[WELL])
    outcome = run_it(plan, functions=doing("run_in_small_pieces_only"))
    by_role = {end.cell.cell.role: end.status for end in outcome.ended}
    # A dense batch may be cut down to a sequence; all of a sparse one is a routing group here.
    assert by_role == {"dense": "ok", "sparse": "oom"}
    texts = [event.text for event in heard if isinstance(event, RunRetried)]
    assert [text.rpartition("in micro-batches of ")[2] for text in texts] == [
        f"{size} tokens" for size in (256, 128, 64)
    ]
    assert not make_plan(plan.sweep, folder=plan.folder).to_run  # final


def test_a_run_that_hangs_is_a_timeout(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[WELL, 7])
    policy = Policy(timeout_s=1.5, max_tries=1)
    outcome = run_it(plan, policy=policy, functions=doing("run_first_seed_only"))
    assert sorted(end.status for end in outcome.ended) == ["ok"] * 3 + ["timeout"] * 3
    assert {row.reason for row in read_runs(plan.folder) if row.status == "timeout"} == {"took longer than 1.50 s"}
    assert not multiprocessing.active_children()


def test_a_run_that_leaks_is_ended_and_the_others_go_on(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[7, WELL])
    outcome = run_it(plan, policy=Policy(memory_bytes=200 << 20), functions=doing("run_and_grow"))
    assert {end.status for end in outcome.ended if end.cell.spec.seed == WELL} == {"ok"}
    assert {end.status for end in outcome.ended if end.cell.spec.seed == 7} == {"oom"}
    assert all("the limit is 200 MiB" in (row.reason or "") for row in read_runs(plan.folder) if row.status == "oom")


def test_when_memory_runs_short_the_largest_run_is_ended(
    plan_of: PlanOf, run_it: RunIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchbench.launch.scheduler._memory_is_scarce", lambda: True)
    outcome = run_it(plan_of(seeds=[7]), functions=doing("run_and_grow"), workers=1)
    assert {end.status for end in outcome.ended} == {"oom"}
    assert all("the machine ran short" in (end.reason or "") for end in outcome.ended)


def test_fail_fast_starts_nothing_more(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    outcome = run_it(plan_of(seeds=[KILLED, WELL]), policy=Policy(max_tries=1, fail_fast=True), workers=1)
    assert [end.status for end in outcome.ended] == ["killed"]
    assert starts_of(heard, seed=WELL) == 0


def test_what_runs_tell_makes_nobody_look_at_their_memory_more_often(
    plan_of: PlanOf, run_it: RunIt, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Job] = []
    look = LocalExecutor.memory_bytes
    monkeypatch.setattr(LocalExecutor, "memory_bytes", lambda self, job: looks.append(job) or look(self, job))
    run_it(plan_of(seeds=[WELL]), functions=doing("run_and_chatter"), workers=1)
    assert sum(isinstance(event, RunProgressed) for event in heard) == 3003
    assert 0 < len(looks) < 300  # on the slowest machine; without a pause between looks there are thousands


@pytest.mark.parametrize(
    ("again", "seeds"), [("failed", {KILLED}), ("early", {KILLED, DIVERGES}), ("all", {KILLED, DIVERGES, WELL})]
)
def test_what_is_run_again(again: str, seeds: set[int], plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[WELL, KILLED, DIVERGES])
    run_it(plan)
    outcome = run_it(make_plan(plan.sweep, folder=plan.folder, again=again))
    assert {end.cell.spec.seed for end in outcome.ended} == seeds
    assert len(outcome.ended) == 3 * len(seeds)


def test_the_first_interrupt_lets_runs_keep_a_checkpoint(plan_of: PlanOf, run_it: RunIt) -> None:
    plan = plan_of(seeds=[WELL])
    with pytest.raises(KeyboardInterrupt):
        run_it(plan, functions=doing("run_until_asked_to_stop"), workers=1)
    (kept,) = plan.folder.checkpoints.iterdir()
    assert kept.read_bytes() == b"state"
    assert read_statuses(plan.folder) == ({}, [])  # no row: the run has not failed
    assert read_claims(plan.folder) == {}
    outcome = run_it(make_plan(plan.sweep, folder=plan.folder))
    assert len(outcome.ended) == 3
    assert not list(plan.folder.checkpoints.iterdir())


def test_the_second_interrupt_waits_for_nothing(plan_of: PlanOf, run_it: RunIt) -> None:
    start_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_it(plan_of(seeds=[WELL]), functions=doing("run_and_interrupt_twice"), workers=1)
    assert time.monotonic() - start_s < 20  # the grace period alone is 30
    assert not multiprocessing.active_children()


def test_runs_of_another_command_are_left_to_it(plan_of: PlanOf, run_it: RunIt, heard: list[Event]) -> None:
    """The other command ends one of its runs well, and dies over the other, which is then ours."""
    plan = plan_of(seeds=[WELL])
    plan.folder.create()
    done, dropped, ours = plan.to_run
    others = Claims(plan.folder, on_event=heard.append)
    assert others.try_claim(done.spec.run_id)
    assert others.try_claim(dropped.spec.run_id)

    def end_the_others(event: Event) -> None:
        heard.append(event)
        if isinstance(event, RunEnded) and event.cell.spec.run_id == ours.spec.run_id:
            row = RunRecord(**describe_run(done.spec, sweep="small"), status="ok", nll=1.5)
            write_run(plan.folder, runs=[row], steps=[], spec=done.spec)
            others.release(done.spec.run_id)
            others.release(dropped.spec.run_id)

    outcome = run_it(plan, on_event=end_the_others)
    assert {end.cell.spec.run_id for end in outcome.ended} == {dropped.spec.run_id, ours.spec.run_id}
    told = [(event.cell.spec.run_id, event.status) for event in heard if isinstance(event, RunElsewhere)]
    assert sorted(told, key=str) == sorted(
        [(done.spec.run_id, None), (dropped.spec.run_id, None), (done.spec.run_id, "ok")], key=str
    )


def test_a_claim_says_how_far_the_run_is(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    with Claims(folder, on_event=[].append) as claims:
        assert claims.try_claim("0123456789ab")
        claims._beaten_s.clear()  # as if some seconds had passed
        claims.beat("0123456789ab", progress=Progress(tokens_done=5, tokens_total=10, nll=2.5))
        (heartbeat,) = read_claims(folder).values()
        assert (heartbeat.tokens_done, heartbeat.tokens_total, heartbeat.nll) == (5, 10, 2.5)
        assert heartbeat.age_s(now_s=heartbeat.beat_s + 7) == 7
        assert heartbeat.age_s(now_s=heartbeat.beat_s - 3600) == 0  # a clock that was set back
        assert not Claims(folder, on_event=[].append).try_claim("0123456789ab")
    assert read_claims(folder) == {}
    assert list(folder.claims.iterdir()) == []


def test_without_locks_a_run_is_ours_and_that_is_told_once(tmp_path: Path, heard: list[Event]) -> None:
    (tmp_path / ".claims").write_text("a file in the way", encoding="utf-8")
    with Claims(SweepFolder(tmp_path), on_event=heard.append) as claims:
        assert claims.try_claim("0123456789ab")
        assert claims.try_claim("ba9876543210")
    (warning,) = heard
    assert isinstance(warning, Warned)
    assert "would train the same runs" in warning.text
