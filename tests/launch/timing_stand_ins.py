"""Stand-ins for the timing pass; a module of their own, since each run's process imports the one of its function."""

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from switchbench.launch.messages import TimingItem
from switchbench.spec import ExecutionSpec
from tests.factories import make_timing


def measure(
    connection: Connection,
    items: list[TimingItem],
    execution: ExecutionSpec,
    sweep: str,
    log_path: str,
    cache_root: str | None,
) -> None:
    records = []
    for number, item in enumerate(items, start=1):
        connection.send(("progress", number / len(items)))
        has_weights = item.checkpoint is not None and Path(item.checkpoint).read_bytes() == b"weights"
        records.append(make_timing(item.spec, step_time_s=0.01, sweep=sweep, trained_weights=has_weights))
    connection.send(("timings", records))


def measure_and_die(connection: Connection, items: list[TimingItem], execution: ExecutionSpec, **rest: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
