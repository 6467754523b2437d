"""What stands in for the worker in tests of the scheduler: real processes that behave badly, or well without torch.

What a run does is decided by its seed, which is the same in every configuration.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from switchbench.launch.messages import Machine, Progress, RunResult, StepTimes
from switchbench.record import RunRecord
from switchbench.rows import describe_run
from switchbench.spec import ExecutionSpec, RunSpec

MACHINE_ID = "aaaa0000bbbb"
WELL, KILLED, RAISES, SILENT, DIVERGES = range(5)
"""Seeds, and what a run with that seed does."""


def make_step_times(**fields: Any) -> StepTimes:
    """Step times of a made-up machine: 0.01 s a step."""
    values = {"step_time_s": 0.01, "eval_time_per_token_s": 1e-5, "build_time_s": 0.02, "start_time_s": 0.03}
    rest = {"cpu_share": 1.0, "device": "cpu", "workers": 2, "measured_at_s": time.time()}
    return StepTimes.model_validate(values | rest | fields)


def run(
    connection: Connection, spec: RunSpec, execution: ExecutionSpec, sweep: str, log_path: str, cache_root: str | None
) -> None:
    Path(log_path).write_text("started\nthe last thing it said\n", encoding="utf-8")
    connection.send(("progress", Progress(tokens_done=1, tokens_total=4, nll=None)))
    match spec.seed:
        case 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case 2:
            raise ValueError("the run raises this on purpose")
        case 3:
            os._exit(0)
    status = "diverged" if spec.seed == DIVERGES else "ok"
    if execution.checkpoint is not None:
        Path(execution.checkpoint).write_bytes(b"weights")
    row = RunRecord(
        **describe_run(spec, sweep=sweep),
        status=status,
        reason=None if status == "ok" else "nll is not finite",
        nll=1.5 if status == "ok" else None,
        machine=repr(execution.cores),
        device_name="preloaded" if "zipapp" in sys.modules else "not preloaded",
    )
    connection.send(("done", RunResult(runs=[row], steps=[])))


def run_and_hang_at_exit(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    threading.Thread(target=time.sleep, args=(3600,)).start()
    run(connection, spec, execution, **rest)


def run_and_stay_until_released(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Send the result, and exit when there is a file beside the log that says so."""
    run(connection, spec, execution, **rest)
    while not Path(rest["log_path"]).with_name("released").exists():
        time.sleep(0.02)


def run_until_ended(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    connection.send(("progress", Progress(tokens_done=1, tokens_total=4, nll=2.5)))
    time.sleep(3600)


def run_first_seed_only(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    (run if spec.seed == 0 else run_until_ended)(connection, spec, execution, **rest)


def run_with_results_gone(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    runs = Path(rest["log_path"]).parents[1] / "runs"
    runs.rmdir()
    runs.write_text("a file where the folder was", encoding="utf-8")
    run(connection, spec, execution, **rest)


def try_shape(
    connection: Connection,
    shape: RunSpec,
    execution: ExecutionSpec,
    *,
    started_s: float,
    workers: int,
    cpu_share: float = 1.0,
) -> None:
    connection.send(("ready", None))
    assert connection.recv() == "measure"
    connection.send(("times", make_step_times(workers=workers, cpu_share=cpu_share)))
    connection.poll(60)


def try_shape_on_a_busy_machine(connection: Connection, shape: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    try_shape(connection, shape, execution, cpu_share=0.25, **rest)


def try_small_shapes_only(connection: Connection, shape: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    if getattr(shape.model.ffn, "num_experts", 1) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    try_shape(connection, shape, execution, **rest)


def probe(connection: Connection, device: str) -> None:
    facts = {"machine": "a box", "machine_id": MACHINE_ID, "device": "cpu", "commit": "4cae576"}
    connection.send(("machine", Machine(machine_id=MACHINE_ID, device="cpu", gpu_count=0, provenance=facts)))


def probe_and_find_no_gpu(connection: Connection, device: str) -> None:
    connection.send(("error", f"device '{device}' was asked for, but there is no GPU here"))


def probe_and_raise(connection: Connection, device: str) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the process is about to end
    raise ImportError("no torch")


def facts(connection: Connection) -> None:
    connection.send(
        {
            "modules": set(sys.modules),
            "environment": dict(os.environ),
            "pid": os.getpid(),
            "interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        }
    )


def sleep(connection: Connection, seconds: float) -> None:
    connection.send(os.getpid())
    time.sleep(seconds)


def sleep_deaf(connection: Connection, seconds: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(connection, seconds)


def run_and_interrupt_parent(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    if not any((Path(rest["log_path"]).parents[1] / "runs").glob("*.parquet")):
        run(connection, spec, execution, **rest)
        return
    os.kill(parent.pid, signal.SIGINT)
    time.sleep(60)


def run_third_time_lucky(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Killed twice, each time with another last word."""
    tries = Path(rest["log_path"]).with_suffix(".tries")
    number = len(tries.read_text(encoding="ascii")) if tries.exists() else 0
    tries.write_text("x" * (number + 1), encoding="ascii")
    if number < 2:
        os.kill(os.getpid(), signal.SIGKILL)
    run(connection, spec, execution, **rest)


def run_in_small_pieces_only(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Out of memory with more than 64 tokens at a time."""
    if (execution.micro_batch_tokens or spec.train.batch_tokens) <= 64:
        run(connection, spec, execution, **rest)
        return
    row = RunRecord(**describe_run(spec, sweep=rest["sweep"]), status="oom", reason="out of memory")
    connection.send(("done", RunResult(runs=[row], steps=[])))


def run_and_grow(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    if spec.seed == WELL:
        run(connection, spec, execution, **rest)
        return
    leak = []
    while True:
        leak.append(bytearray(os.urandom(1 << 20)) * 8)
        time.sleep(0.02)


def run_until_asked_to_stop(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Interrupts the command, and keeps a checkpoint when it is asked to stop."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGINT)
    while not asked:
        time.sleep(0.02)
    Path(execution.unfinished or "").write_bytes(b"state")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def run_and_interrupt_twice(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Is deaf to requests; the command must not wait for it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    for _ in range(2):
        os.kill(parent.pid, signal.SIGINT)
        time.sleep(2)
    time.sleep(3600)


def run_and_chatter(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Tells of its progress a thousand times within a second."""
    for number in range(1000):
        connection.send(("progress", Progress(tokens_done=number, tokens_total=1000, nll=2.5)))
        time.sleep(0.001)
    run(connection, spec, execution, **rest)
