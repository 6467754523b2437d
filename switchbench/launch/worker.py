"""What runs in a process of its own: one run, a look at the machine, a trial of a shape, or the exclusive timing pass.

Each function is called in a fresh process with its end of a connection; ``launch/messages.py`` says what it sends.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from switchbench.data.corpora import open_prepared_corpus
from switchbench.device import machine_facts, resolve_device
from switchbench.errors import UsageError
from switchbench.launch.exclusive import measure_configurations
from switchbench.launch.messages import Machine, Progress, RunResult, TimingItem
from switchbench.launch.trial import Trial
from switchbench.rows import failed_run
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.train import train_run
from switchbench.train.provenance import machine_provenance
from switchbench.train.run import RunStoppedError

SECONDS_BETWEEN_MESSAGES = 0.2


def probe_machine(connection: Connection, device: str) -> None:
    """Send what the scheduler must know of the machine.

    Args:
        connection: Takes one ``machine`` message, or one ``error`` with a text where the device is not there.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    try:
        facts = machine_facts(resolve_device(device))
    except UsageError as error:
        connection.send(("error", str(error)))
        return
    machine = Machine(
        machine_id=facts.machine_id,
        device=facts.device,
        gpu_count=facts.gpu_count,
        provenance=machine_provenance(facts),
    )
    connection.send(("machine", machine))


def try_shape(
    connection: Connection, shape: RunSpec, execution: ExecutionSpec, *, started_s: float, workers: int
) -> None:
    """Train a model of a shape on random tokens: until told to measure, then until the connection is closed.

    Args:
        connection: Takes one ``ready``, answered once all trials side by side are; then one ``times``, or ``failed``.
        shape: From ``shape_of``.
        execution: Device, threads and cores, as in the runs.
        started_s: ``time.monotonic`` of the parent when it started this process.
        workers: Trials side by side.
    """
    with _output_to(Path(os.devnull)):
        _pin(execution.cores)
        try:
            trial = Trial(shape, execution, start_time_s=time.monotonic() - started_s, workers=workers)
            connection.send(("ready", None))
            _go_on(trial, until_told=connection)
            connection.send(("times", trial.measure()))
            _go_on(trial, until_told=connection)
        except (EOFError, BrokenPipeError):  # the parent has what it wants
            return
        except Exception as error:
            connection.send(("failed", f"{type(error).__name__}: {error}"))


def run_worker(
    connection: Connection, spec: RunSpec, execution: ExecutionSpec, sweep: str, log_path: str, cache_root: str | None
) -> None:
    """Train one run and send its rows; an exception becomes a row with status ``crashed`` and a traceback in the log.

    Args:
        connection: Takes ``progress`` messages and one ``done``.
        spec: The run.
        execution: Device, threads, cores, and the file for the final weights.
        sweep: Name of the sweep.
        log_path: File that takes this process's output.
        cache_root: Folder of prepared corpora; None: the default.
    """
    with _output_to(Path(log_path)):
        print(f"run {spec.run_id} of sweep {sweep}: {spec.model_dump_json()}", flush=True)
        _pin(execution.cores)
        should_stop = _when_terminated()
        try:
            corpus = open_prepared_corpus(
                spec.data_fingerprint, cache_root=Path(cache_root) if cache_root is not None else None
            )
            result = train_run(
                spec,
                execution,
                sweep=sweep,
                corpus=corpus,
                on_progress=_throttled(connection),
                should_stop=should_stop,
            )
        except RunStoppedError:
            print("stopped; the next command goes on from here", flush=True)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)  # end as what was asked for has ended it
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
            result = RunResult(runs=[failed_run(spec, sweep=sweep, status="crashed", reason=reason)], steps=[])
        end = result.runs[-1]
        print(f"{end.status}: nll {end.nll}" if end.reason is None else f"{end.status}: {end.reason}", flush=True)
        connection.send(("done", result))


def time_configurations(
    connection: Connection,
    items: list[TimingItem],
    execution: ExecutionSpec,
    sweep: str,
    log_path: str,
    cache_root: str | None,
) -> None:
    """Measure step times, alone on the machine, and send them.

    Args:
        connection: Takes ``progress`` messages (a share of the work) and one ``timings``.
        items: What to time.
        execution: Device, threads and cores, as in the runs.
        sweep: Name of the sweep.
        log_path: File that takes this process's output.
        cache_root: Folder of prepared corpora; None: the default.
    """
    with _output_to(Path(log_path)):
        _pin(execution.cores)
        records = measure_configurations(
            items,
            execution,
            sweep=sweep,
            cache_root=Path(cache_root) if cache_root is not None else None,
            on_progress=lambda share: connection.send(("progress", share)),
        )
        connection.send(("timings", records))


def _throttled(connection: Connection) -> Callable[[Progress], None]:
    """Send progress, but no more often than people can read it."""
    last_sent_s = float("-inf")

    def send(progress: Progress) -> None:
        nonlocal last_sent_s
        if time.monotonic() - last_sent_s >= SECONDS_BETWEEN_MESSAGES:
            last_sent_s = time.monotonic()
            connection.send(("progress", progress))

    return send


def _go_on(trial: Trial, *, until_told: Connection) -> None:
    while not until_told.poll():  # true as well once it is closed
        trial.step()
    until_told.recv()


def _when_terminated() -> Callable[[], bool]:
    """Take the request to end as one to stop between two steps: give the function that says whether there was one."""
    requests: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: requests.append(number))
    return lambda: bool(requests)


def _pin(cores: tuple[int, ...]) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send this process's standard output and error to a file, those of libraries in C too."""
    with path.open("a", encoding="utf-8") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
        yield
        sys.stdout.flush()
        sys.stderr.flush()
