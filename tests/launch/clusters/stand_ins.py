"""Stand-ins for the worker in tests of clusters, where a run's parent is the process that supervises it."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from switchbench.launch.messages import Machine, Progress, RunResult
from switchbench.record import RunRecord
from switchbench.rows import describe_run
from switchbench.spec import ExecutionSpec, RunSpec
from tests.launch import stand_ins
from tests.launch.stand_ins import WELL


def note_start(log_path: str, run_id: str) -> None:
    """Count the starts of a run in a file beside the logs."""
    with Path(log_path).with_name("starts").open("a", encoding="ascii") as file:
        file.write(f"{run_id}\n")


def run_and_say_where(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Take a second; the row says which process and machine settings it had."""
    note_start(rest["log_path"], spec.run_id)
    connection.send(("progress", Progress(tokens_done=1, tokens_total=4, nll=None)))
    time.sleep(1.0)
    print("said to the log")
    with Path(rest["log_path"]).open("a", encoding="utf-8") as log:
        log.write("trained well\n")
    if execution.checkpoint is not None:
        Path(execution.checkpoint).write_bytes(b"weights")
    row = RunRecord(
        **describe_run(spec, sweep=rest["sweep"]),
        status="ok",
        nll=1.5,
        machine=f"{os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}/{os.environ['MALLOC_TOP_PAD_']}",
        device_name=str(os.getpid()),
        device=execution.device,
        threads=execution.threads,
    )
    connection.send(("done", RunResult(runs=[row], steps=[])))


def run_once_released(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Go on when there is a file beside the logs that says so."""
    note_start(rest["log_path"], spec.run_id)
    connection.send(("progress", Progress(tokens_done=1, tokens_total=4, nll=None)))
    while not Path(rest["log_path"]).with_name("released").exists():
        time.sleep(0.02)
    stand_ins.run(connection, spec, execution, **rest)


def run_and_lose_supervisor(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """The first attempt kills the process that supervises it."""
    attempts = Path(rest["log_path"]).with_suffix(".attempts")
    is_first = not attempts.exists()
    attempts.touch()
    if is_first:
        parent = multiprocessing.parent_process()
        assert parent is not None
        assert parent.pid is not None
        os.kill(parent.pid, signal.SIGKILL)
        time.sleep(60)
    stand_ins.run(connection, spec, execution, **rest)


def run_until_asked_to_stop(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Keep a checkpoint when asked to stop, and end as a run does that was stopped."""
    asked = requests_to_stop()
    connection.send(("progress", Progress(tokens_done=1, tokens_total=4, nll=2.5)))
    stop_when(asked, execution)


def requests_to_stop() -> list[int]:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    return asked


def stop_when(asked: list[int], execution: ExecutionSpec) -> None:
    while not asked:
        time.sleep(0.02)
    Path(execution.unfinished or "").write_bytes(b"state")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def run_past_slurms_limit(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Have the job warned that its time is up, as Slurm does, and keep a checkpoint; the next attempt has one."""
    if Path(execution.unfinished or "").exists():
        stand_ins.run(connection, spec, execution, **rest)
        return
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    asked = requests_to_stop()
    os.kill(parent.pid, signal.SIGUSR2)
    stop_when(asked, execution)


def run_first_seed_only(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    if spec.seed != WELL:
        time.sleep(3600)
    stand_ins.run(connection, spec, execution, **rest)


def probe_gpu(connection: Connection, device: str) -> None:
    facts = {"machine": "a box", "machine_id": "bbbb1111cccc", "device": device}
    connection.send(("machine", Machine(machine_id="bbbb1111cccc", device=device, gpu_count=1, provenance=facts)))
