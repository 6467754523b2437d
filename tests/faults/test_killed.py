"""Processes that end, hang or are asked to stop, and two commands at once."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from switchbench.store import read_statuses
from tests.faults.conftest import Fault
from tests.faults.place import LONG, PATIENCE_S, Answer, Started, Sweep, assert_gone, started_runs

Completes = Callable[..., Answer]
Opens = Callable[[str], Fault]


@pytest.fixture
def long(tmp_path: Path, sweep_at: Callable[..., Sweep]) -> Sweep:
    """Three runs of some seconds."""
    return sweep_at(tmp_path / "place", words=LONG)


def run_of(worker: psutil.Process) -> str:
    (run_id,) = {Path(file.path).stem for file in worker.open_files() if file.path.endswith(".log")}
    return run_id


def test_a_worker_is_killed(long: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("kill -9 of a worker")
    command = long.start()
    worker = command.some_worker(long)
    run_id = run_of(worker)
    worker.kill()
    answer = command.answer()
    assert answer.code == 0, answer.err
    assert "killed by SIGKILL (sent from outside, or by the system when memory ran out); tried again (2 of 3)" in (
        answer.err
    )
    assert sorted(started_runs(answer).values()) == [1, 1, 2]
    assert long.results_by_run()[run_id]["status"] == "ok"
    row.survived = "all: the run was tried again at once, exit 0"
    assert_completes(long, row, kept=long.files())


def test_a_worker_is_killed_three_times(long: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("kill -9 of the same run's worker, three times")
    command = long.start("--workers", "1")
    run_id = run_of(command.some_worker(long))
    log = long.folder.log_path(run_id)
    killed: set[int] = set()
    while len(killed) < 3:
        command.wait_until(lambda: (worker := command.worker_of(log)) is not None and worker.pid not in killed)
        if (worker := command.worker_of(log)) is not None:
            killed.add(worker.pid)
            worker.kill()
    answer = command.answer()
    assert answer.code == 3, answer.err
    assert f"log: {log.relative_to(long.place)}" in answer.err
    statuses, _ = read_statuses(long.folder)
    assert statuses.pop(run_id) == "killed"
    assert set(statuses.values()) == {"ok"}
    assert long.planned() == {run_id: "retry"} | dict.fromkeys(statuses, "skip")
    row.survived = "the two others; the run is a row with its reason, exit 3"
    kept = {name: when for name, when in long.files().items() if Path(name).stem != run_id}
    assert_completes(long, row, kept=kept)


def test_the_command_is_killed(long: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("SIGKILL of the command itself")
    command = long.start()
    command.wait_for("] done     ")
    command.wait_until(lambda: len(long.files()) >= 1)
    family = command.descendants()
    assert len(family) >= 2
    command.process.kill()
    start_s = time.monotonic()
    code = command.answer().code
    assert_gone(family)
    took_s = time.monotonic() - start_s
    assert code == -signal.SIGKILL
    kept = long.files()
    assert len(kept) in (1, 2)
    assert {result["status"] for result in long.results_by_run().values()} == {"ok"}
    row.survived = f"{len(kept)} of 3 runs, whole; its {len(family)} processes were gone after {took_s:.1f} s"
    assert_completes(long, row, kept=kept)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_one_interrupt(
    number: signal.Signals, code: int, long: Sweep, fault: Opens, assert_completes: Completes
) -> None:
    row = fault("Ctrl-C" if number == signal.SIGINT else "SIGTERM of the command itself")
    command, family = under_way(long)
    if number == signal.SIGINT:
        os.killpg(command.process.pid, number)  # as from a terminal: all processes are told
    else:
        command.process.send_signal(number)
    answer = command.answer()
    assert answer.code == code
    assert_gone(family)
    kept = long.files()
    checkpoints = [path.name.partition(".")[0] for path in long.folder.checkpoints.glob("*.unfinished.safetensors")]
    assert checkpoints
    statuses, unreadable = read_statuses(long.folder)
    assert (set(statuses.values()) <= {"ok"}, unreadable) == (True, [])
    ending = answer.err[answer.err.index("Interrupted.") :].splitlines()
    assert ending[0].startswith(f"Interrupted. {len(kept)} of 3 runs are done and kept in results/small.")
    assert "sweep small.yaml 'sweep.seeds=[0]' base.train.tokens=2e5 --results results --no-calibrate" in ending[1]
    row.survived = f"{len(kept)} of 3 runs, {len(checkpoints)} checkpoints; exit {code}, the command to go on printed"
    assert_completes(long, row, kept=kept)
    resumes = {run_id: result["num_resumes"] for run_id, result in long.results_by_run().items()}
    assert {run_id for run_id, number in resumes.items() if number == 1} == set(checkpoints)
    row.afterwards += f"; {len(checkpoints)} went on from checkpoints, to the same nll to the bit"


def test_two_interrupts(long: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("Ctrl-C twice, the second while a worker is deaf")
    command = long.start()
    command.some_worker(long)
    family = command.descendants()
    worker = command.some_worker(long)
    worker.suspend()
    command.process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert command.process.poll() is None  # it waits for the worker
    start_s = time.monotonic()
    command.process.send_signal(signal.SIGINT)
    answer = command.answer()
    assert answer.code == 130
    assert time.monotonic() - start_s < 15  # the grace period alone is 30
    assert_gone(family)
    kept = long.files()
    assert "Interrupted." in answer.err
    row.survived = f"{len(kept)} of 3 runs; it ended at once, exit 130"
    assert_completes(long, row, kept=kept)


def under_way(sweep: Sweep) -> tuple[Started, list[psutil.Process]]:
    """A command whose runs are under way, in a group of processes of its own."""
    command = sweep.start(start_new_session=True)
    command.some_worker(sweep)
    time.sleep(1)
    return command, command.descendants()


def test_a_worker_hangs(long: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("SIGSTOP of a worker: it hangs")
    command = long.start("--timeout", "20s")
    worker = command.some_worker(long)
    worker.suspend()
    answer = command.answer()
    assert answer.code == 0, answer.err
    assert not worker.is_running()
    assert re.search(r"took longer than 20\.0 s; tried again \(2 of 3\)", answer.err)
    row.survived = "all: ended after --timeout and tried again, exit 0"
    assert_completes(long, row, kept=long.files())


def test_two_commands_share_the_work(
    tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault("two commands at once on one results folder")
    sweep = sweep_at(tmp_path / "place")
    slow = {"FAULT": "slow", "FAULT_SECONDS": "1"}
    commands = [sweep.start("--workers", "1", fault=slow) for _ in range(2)]
    answers = [command.answer() for command in commands]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    counts = started_runs(*answers)
    assert len(counts) == 6
    assert set(counts.values()) == {1}
    shares = [sum(started_runs(answer).values()) for answer in answers]
    assert min(shares) >= 1
    assert all("Traceback" not in answer.err for answer in answers)
    row.survived = f"all: {shares[0]} and {shares[1]} of 6 runs, none twice, both exit 0"
    assert_completes(sweep, row, kept=sweep.files())


def test_many_tiny_runs_with_workers_killed_now_and_then(
    tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault("200 tiny runs; a worker is killed three times, then the command")
    seeds = ",".join(str(seed) for seed in range(100))
    words = (f"sweep.seeds=[{seeds}]", "sweep.baselines=[]", "base.train.tokens=2048", "base.train.eval_points=1")
    sweep = sweep_at(tmp_path / "place", words=words)
    command = sweep.start()
    for number in range(1, 4):
        command.wait_until(lambda number=number: len(sweep.files()) >= 20 * number)  # type: ignore[misc]
        command.kill_some_worker(sweep)
    command.wait_until(lambda: len(sweep.files()) >= 80)
    family = command.descendants()
    command.process.kill()
    assert command.answer().code == -signal.SIGKILL
    assert_gone(family)
    kept = sweep.files()
    assert 80 <= len(kept) < 200
    row.survived = f"{len(kept)} of 200 runs, whole"
    start_s = time.monotonic()
    answer = assert_completes(sweep, row, kept=kept, has_nlls=False)
    assert time.monotonic() - start_s < PATIENCE_S
    assert f"{200 - len(kept)} runs started, 0 failed" in answer.out
