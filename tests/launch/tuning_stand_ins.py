"""What stands in for the worker in tests of tuning: runs whose quality depends on their learning rate."""

import math
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from switchbench.launch.messages import RunResult
from switchbench.record import RunRecord
from switchbench.rows import describe_run
from switchbench.spec import ExecutionSpec, RunSpec


def run_by_learning_rate(connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any) -> None:
    """Is best at 2e-2 where sparse, at 1e-2 where dense."""
    best = 1e-2 if spec.model.ffn.kind == "dense" else 2e-2
    _end_with(connection, spec, execution, nll=2 + abs(math.log(spec.train.learning_rate / best)), **rest)


def run_by_learning_rate_but_die_at_the_best(
    connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any
) -> None:
    best = 1e-2 if spec.model.ffn.kind == "dense" else 2e-2
    if spec.train.learning_rate == best:
        os.kill(os.getpid(), signal.SIGKILL)
    distance = math.log(spec.train.learning_rate / best) * (1 if spec.model.ffn.kind == "dense" else -1)
    _end_with(connection, spec, execution, nll=2 + abs(distance) - 0.1 * (distance > 0), **rest)


def run_by_learning_rate_dense_only(
    connection: Connection, spec: RunSpec, execution: ExecutionSpec, **rest: Any
) -> None:
    if spec.model.ffn.kind == "sparse":
        _end_with(connection, spec, execution, nll=None, **rest)
    else:
        run_by_learning_rate(connection, spec, execution, **rest)


def _end_with(
    connection: Connection, spec: RunSpec, execution: ExecutionSpec, *, nll: float | None, sweep: str, **rest: Any
) -> None:
    """End, diverged without an nll; keep weights as a run does."""
    if execution.checkpoint is not None:
        Path(execution.checkpoint).write_bytes(b"weights")
    values = describe_run(spec, sweep=sweep)
    status = "diverged" if nll is None else "ok"
    row = RunRecord(**values, status=status, reason=None if nll else "nll is not finite", nll=nll)
    connection.send(("done", RunResult(runs=[row], steps=[])))
