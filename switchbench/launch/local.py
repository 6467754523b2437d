"""Runs a plan on this machine: a process per run, on cores or a GPU of its own; a failed run is a row, not the end."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from switchbench.launch.estimates import Estimates, measured_estimates
from switchbench.launch.events import (
    Listener,
    RunEnded,
    RunProgressed,
    RunStarted,
    SweepStarted,
    Ticked,
    Warned,
)
from switchbench.launch.forkserver import describe_death, end_processes, start_process, warm_server
from switchbench.launch.limits import Limits, memory_warning
from switchbench.launch.locks import on_this_machine, only_command
from switchbench.launch.messages import Machine, RunResult
from switchbench.launch.plan import Plan, PlannedCell, in_starting_order, make_plan, write_plan_manifest
from switchbench.launch.preparation import WorkerFunctions, prepare_corpora, probe_machine
from switchbench.launch.slots import Setup, Slot, claimed_cores, resolve_workers, share_out
from switchbench.launch.timing_pass import time_untimed, weights_path
from switchbench.record import FINAL_STATUSES, RunRecord
from switchbench.rows import failed_run
from switchbench.store import timed_configs, write_run

TICK_S = 1.0
"""Longest time without an event."""
EXIT_PATIENCE_S = 10.0
"""How long a process that has sent its result may take to exit."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep command did."""

    plan: Plan
    """The plan as it stood when the work began; another command may have changed it after it was made."""
    ended: tuple[RunEnded, ...] = ()
    """The runs that were started, in the order in which they ended."""
    timed: int = 0
    """Configurations that were timed."""

    @property
    def failed(self) -> tuple[RunEnded, ...]:
        """The runs that left no result; the next command tries them again."""
        return tuple(end for end in self.ended if end.status not in FINAL_STATUSES)


@dataclass(kw_only=True)
class _Running:
    cell: PlannedCell
    slot: Slot
    process: BaseProcess
    connection: Connection
    log_path: Path
    keeps_weights: bool
    started: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    is_silent: bool = False
    """Whether the connection has ended."""
    result: RunResult | None = None


def run_plan(
    plan: Plan,
    *,
    on_event: Listener,
    setup: Setup = Setup(),
    is_timed: bool = True,
    limits: Limits = Limits(),
    cache_root: Path | None = None,
    functions: WorkerFunctions = WorkerFunctions(),
) -> Outcome:
    """Write the manifest, run what is missing, then time what is untimed. Starts nothing when nothing is left to do.

    One command at a time runs a sweep. Commands of different sweeps train side by side, on cores of their own as far as
    there are enough; a timing pass waits until nobody trains.

    Args:
        plan: The plan.
        on_event: Told what happens.
        setup: How the runs are executed.
        is_timed: Whether the time is estimated before the first run; step times that are not known are measured.
        limits: What the runs may take; the time is checked here, all else where the plan was made.
        cache_root: Where prepared corpora and step times are kept; None: the default place.
        functions: What the processes run.

    Raises:
        UsageError: there are not that many cores or GPUs, there is no GPU, another command is running the sweep, or
            the estimated time is over the limit.
        ResultsFolderError: the results cannot be written; running runs were ended, and what is finished is kept.
        CorpusError: a corpus cannot be prepared.
        SwitchbenchError: processes cannot be started.
        KeyboardInterrupt: Ctrl-C; running runs were ended, and what is finished is kept.
    """
    resolve_workers(setup.workers, threads=setup.threads)
    plan.folder.create()
    with only_command(plan.folder, on_event=on_event):
        if not plan.is_done:
            plan = make_plan(plan.sweep, folder=plan.folder)  # another command may have ended since
        if plan.is_done:
            write_plan_manifest(plan)
            return Outcome(plan=plan)
        with on_this_machine(alone=False, on_event=on_event) as beside_others, warm_server(preload=functions.preload):
            prepare_corpora(plan, cache_root=cache_root, on_event=on_event)
            machine = probe_machine(functions, device=setup.device, on_event=on_event)
            cores_needed = resolve_workers(setup.workers, threads=setup.threads) * setup.threads
            with claimed_cores(cores_needed, on_event=on_event) as cores:
                slots = share_out(machine, workers=setup.workers, threads=setup.threads, cores=cores)
                estimates = measured_estimates(
                    plan,
                    setup=setup,
                    machine=machine,
                    slots=slots,
                    is_timed=is_timed and (bool(plan.to_run) or limits.hours is not None),
                    cache_root=cache_root,
                    on_event=on_event,
                    functions=functions,
                )
                limits.check_time(estimates)
                if (warning := memory_warning(estimates)) is not None:
                    on_event(Warned(text=warning))
                write_plan_manifest(plan)  # only now: a request that cannot be met leaves what was there
                ended = _Scheduler(
                    estimates,
                    machine=machine,
                    slots=slots,
                    setup=setup,
                    cache_root=cache_root,
                    on_event=on_event,
                    function=functions.run,
                ).run()
            beside_others.release()  # before the wait to be alone, or two commands would wait for each other
            timed = time_untimed(
                plan,
                machine=machine,
                execution=slots[0].execution(device=machine.device, threads=setup.threads, dispatch=setup.dispatch),
                environment=slots[0].environment,
                cache_root=cache_root,
                on_event=on_event,
                function=functions.time,
            )
    return Outcome(plan=plan, ended=tuple(ended), timed=timed)


class _Scheduler:
    """Keeps the slots busy until every run has ended."""

    def __init__(
        self,
        estimates: Estimates,
        *,
        machine: Machine,
        slots: list[Slot],
        setup: Setup,
        cache_root: Path | None,
        on_event: Listener,
        function: str,
    ) -> None:
        plan = estimates.plan
        self._sweep = plan.sweep.name
        self._folder = plan.folder
        self._estimates = estimates
        self._machine = machine
        self._setup = setup
        self._cache_root = cache_root
        self._on_event = on_event
        self._function = function
        self._waiting = deque(in_starting_order(plan.to_run))
        self._free = deque(slots)
        self._running: list[_Running] = []
        self._without_need_of_weights = timed_configs(plan.folder, machine_id=machine.machine_id) | {
            cell.spec.config_id
            for cell in plan.cells
            if cell.status == "ok" and weights_path(plan.folder, cell.spec.run_id).exists()
        }
        """Configurations that are timed already, or have a run that keeps its weights for that."""

    def run(self) -> list[RunEnded]:
        """Run everything."""
        ended: list[RunEnded] = []
        if self._waiting:
            started = SweepStarted(
                cells=tuple(self._waiting),
                workers=len(self._free),
                threads=self._setup.threads,
                device=self._machine.device,
                estimated_s=self._estimates.run_seconds,
            )
            self._on_event(started)
        while self._waiting or self._running:
            while self._waiting and self._free:
                self._start(self._waiting.popleft(), self._free.popleft())
            ready = self._wait()
            for run in list(self._running):
                if run.connection in ready:
                    self._listen(run)
                if run.result is not None or run.process.sentinel in ready:
                    ended.append(self._finish(run))
                    self._running.remove(run)
                    self._free.append(run.slot)
            self._on_event(Ticked())
        return ended

    def _start(self, cell: PlannedCell, slot: Slot) -> None:
        run_id, config_id = cell.spec.run_id, cell.spec.config_id
        keeps_weights = config_id not in self._without_need_of_weights
        if keeps_weights:
            self._without_need_of_weights.add(config_id)
        checkpoint = weights_path(self._folder, run_id) if keeps_weights else None
        log_path = self._folder.log_path(run_id)
        process, connection = start_process(
            self._function,
            cell.spec,
            slot.execution(
                device=self._machine.device,
                threads=self._setup.threads,
                dispatch=self._setup.dispatch,
                checkpoint=checkpoint,
            ),
            environment=slot.environment,
            sweep=self._sweep,
            log_path=str(log_path),
            cache_root=None if self._cache_root is None else str(self._cache_root),
        )
        self._running.append(
            _Running(
                cell=cell,
                slot=slot,
                process=process,
                connection=connection,
                log_path=log_path,
                keeps_weights=keeps_weights,
            )
        )
        self._on_event(RunStarted(cell=cell))

    def _wait(self) -> set[object]:
        connections = [run.connection for run in self._running if not run.is_silent]
        return set(wait([*connections, *(run.process.sentinel for run in self._running)], timeout=TICK_S))

    def _listen(self, run: _Running) -> None:
        try:
            while run.result is None and run.connection.poll():
                kind, value = run.connection.recv()
                if kind == "done":
                    run.result = value
                else:
                    self._on_event(
                        RunProgressed(
                            cell=run.cell,
                            tokens_done=value.tokens_done,
                            tokens_total=value.tokens_total,
                            nll=value.nll,
                        )
                    )
        except (EOFError, OSError):  # also a message that breaks off in the middle
            run.is_silent = True

    def _finish(self, run: _Running) -> RunEnded:
        self._listen(run)  # a process may end right after its last message
        run.process.join(EXIT_PATIENCE_S)
        end_processes([run.process])
        if run.result is None:
            status, reason = describe_death(run.process.exitcode, log_path=run.log_path)
            row = failed_run(run.cell.spec, sweep=self._sweep, status=status, reason=reason)
            run.result = RunResult(runs=[row], steps=[])
        known: dict[str, object] = {
            **self._machine.provenance,
            "started_at": run.started_at,
            "threads": self._setup.threads,
            "precision": run.cell.spec.train.precision,
        }
        expected: dict[str, object] = {
            "estimated_time_s": self._estimates.seconds(run.cell),
            "estimated_peak_memory_bytes": run.cell.memory_bytes,
        }
        rows = [_filled_in(row, known | (expected if row.parent_run_id is None else {})) for row in run.result.runs]
        end = next(row for row in rows if row.parent_run_id is None)
        if not write_run(self._folder, runs=rows, steps=run.result.steps, spec=run.cell.spec):
            self._on_event(Warned(text=f"{run.cell.label}: the result that was there is kept"))
        if run.keeps_weights and end.status != "ok":
            self._without_need_of_weights.discard(run.cell.spec.config_id)  # the next seed keeps its own
            weights_path(self._folder, run.cell.spec.run_id).unlink(missing_ok=True)
        run.connection.close()
        event = RunEnded(
            cell=run.cell,
            status=end.status,
            reason=end.reason,
            nll=end.nll,
            seconds=time.monotonic() - run.started,
            log_path=str(run.log_path),
        )
        self._on_event(event)
        return event


def _filled_in(row: RunRecord, known: Mapping[str, object]) -> RunRecord:
    """Fill in what the process of a run could not tell, because it died or failed early."""
    return row.model_copy(update={name: value for name, value in known.items() if getattr(row, name) is None})
