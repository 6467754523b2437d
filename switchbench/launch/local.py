"""Runs on this machine: a process per run, on cores or a GPU of its own, forked from a warm server."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from switchbench.launch.executor import Ended, Job, Told
from switchbench.launch.forkserver import describe_death, start_process
from switchbench.launch.messages import Machine
from switchbench.launch.slots import Setup, Slot
from switchbench.record import RunResult

EXIT_PATIENCE_S = 10.0
"""How long a process that has sent its result may take to exit."""


@dataclass(kw_only=True)
class _Running:
    job: Job
    slot: Slot
    process: BaseProcess
    connection: Connection
    is_silent: bool = False
    """Whether the connection has ended."""
    result: RunResult | None = None
    gone_by_s: float = 0.0
    """Once its result is there: when it must have exited."""


class LocalExecutor:
    """Executes attempts in processes of this machine.

    Args:
        slots: What each attempt has for itself; one slot for each attempt side by side.
        setup: How runs are executed.
        machine: This machine.
        sweep: Name of the sweep, for the rows.
        cache_root: Where prepared corpora are kept; None: the default place.
        function: What the processes run, as ``package.module:function``.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        setup: Setup,
        machine: Machine,
        sweep: str,
        cache_root: Path | None,
        function: str,
    ) -> None:
        self.device, self.num_slots = machine.device, len(slots)
        self._free, self._running, self._leaving = deque(slots), list[_Running](), list[_Running]()
        self._setup, self._machine, self._sweep = setup, machine, sweep
        self._cache_root, self._function = cache_root, function

    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    def start(self, job: Job) -> None:
        """Start a process in a free slot."""
        slot = self._free.popleft()
        execution = slot.execution(
            device=self.device, threads=self._setup.threads, dispatch=self._setup.dispatch, checkpoint=job.weights
        )
        process, connection = start_process(
            self._function,
            job.cell.spec,
            replace(
                execution,
                micro_batch_tokens=job.micro_batch_tokens,
                unfinished=str(job.unfinished),
                checkpoint_every_s=self._setup.checkpoint_every_s,
            ),
            environment=slot.environment,
            sweep=self._sweep,
            log_path=str(job.log_path),
            cache_root=None if self._cache_root is None else str(self._cache_root),
        )
        self._running.append(_Running(job=job, slot=slot, process=process, connection=connection))

    def news(self, *, timeout_s: float) -> list[Told | Ended]:
        """Give what the processes have told, and which have ended.

        An attempt has ended with its result; its slot is free once its process has exited, too.
        """
        if not self._running and not self._leaving:
            time.sleep(timeout_s)
        self._free_slots_of_the_gone()
        connections = [run.connection for run in self._running if not run.is_silent]
        sentinels = [run.process.sentinel for run in (*self._running, *self._leaving)]
        ready = set(wait([*connections, *sentinels], timeout=timeout_s))
        news: list[Told | Ended] = []
        for run in list(self._running):
            if run.connection in ready:
                news += self._listen(run)
            if run.result is None and run.process.sentinel in ready:
                news += self._listen(run)  # a process may end right after its last message
            if run.result is not None or run.process.sentinel in ready:
                news.append(self._ended(run))
        self._free_slots_of_the_gone()
        return news

    def close(self) -> None:
        """Wait until processes that have sent their results have exited."""
        for run in self._leaving:
            run.process.join(max(run.gone_by_s - time.monotonic(), 0.0))
            run.gone_by_s = -math.inf
        self._free_slots_of_the_gone()

    def memory_bytes(self, job: Job) -> int | None:
        """Give the memory that the attempt's process has for itself, without what it shares, such as the library."""
        for run in self._running:
            if run.job is job and run.process.pid is not None:
                with contextlib.suppress(psutil.Error):  # it has just ended, or such figures are not for us
                    return int(psutil.Process(run.process.pid).memory_full_info().uss)
        return None

    def known_columns(self, job: Job) -> Mapping[str, object]:
        """Give the machine's columns."""
        return self._machine.provenance

    def stop(self, jobs: Sequence[Job]) -> None:
        """Ask the processes with a signal, which they take between two steps."""
        for run in self._running:
            if run.job in jobs:
                run.process.terminate()

    def end(self, job: Job) -> None:
        """Kill the process."""
        for run in list(self._running):
            if run.job is job:
                run.process.kill()
                run.process.join()
                self._remove(run)

    def _listen(self, run: _Running) -> list[Told | Ended]:
        told: list[Told | Ended] = []
        try:
            while run.result is None and run.connection.poll():
                kind, value = run.connection.recv()
                if kind == "done":
                    run.result = value
                else:
                    told.append(Told(job=run.job, progress=value))
        except (EOFError, OSError):  # also a message that breaks off in the middle
            run.is_silent = True
        return told

    def _ended(self, run: _Running) -> Ended:
        if run.result is not None:
            run.gone_by_s = time.monotonic() + EXIT_PATIENCE_S
            self._running.remove(run)
            self._leaving.append(run)
            return Ended(job=run.job, result=run.result)
        run.process.join()
        self._remove(run)
        status, reason = describe_death(run.process.exitcode, log_path=run.job.log_path)
        return Ended(job=run.job, status=status, reason=reason)

    def _free_slots_of_the_gone(self) -> None:
        """Take back the slots of processes that have exited after their results; end those that do not exit."""
        for run in list(self._leaving):
            if run.process.is_alive() and time.monotonic() < run.gone_by_s:
                continue
            run.process.kill()
            run.process.join()
            run.connection.close()
            self._leaving.remove(run)
            self._free.append(run.slot)

    def _remove(self, run: _Running) -> None:
        run.connection.close()
        self._running.remove(run)
        self._free.append(run.slot)
