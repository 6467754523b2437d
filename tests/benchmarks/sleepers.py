"""What stands in for runs in the measurement of a sweep's overhead; imports nothing that a run has not imported."""

import json
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from switchbench.record import Progress, RunRecord, RunResult
from switchbench.rows import describe_run
from switchbench.spec import ExecutionSpec, RunSpec

SECONDS_VARIABLE = "SLEEP_SECONDS"


def sleep(
    connection: Connection, spec: RunSpec, execution: ExecutionSpec, sweep: str, log_path: str, cache_root: str | None
) -> None:
    """Stand in for a run: tell of progress as often as one does, and note when it began and ended."""
    begin_s = time.monotonic()
    seconds = float(os.environ[SECONDS_VARIABLE])
    while (taken_s := time.monotonic() - begin_s) < seconds:
        progress = Progress(tokens_done=int(1000 * taken_s / seconds), tokens_total=1000, nll=2.0)
        connection.send(("progress", progress))
        time.sleep(min(0.2, seconds - taken_s))
    row = RunRecord(**describe_run(spec, sweep=sweep), status="ok", nll=2.0)
    end_s = time.monotonic()
    note = {"begin_s": begin_s, "end_s": end_s, "slot": str(execution.cores)}
    Path(log_path).write_text(json.dumps(note), encoding="ascii")
    connection.send(("done", RunResult(runs=[row], steps=[])))


def time_nothing(connection: Connection, *arguments: object, **keywords: object) -> None:
    """Stand in for the timing pass, which is no part of this."""
    connection.send(("timings", []))
