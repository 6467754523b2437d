"""The exclusive timing pass: after the runs, every configuration is timed alone on the machine, with trained weights.

Exclusive means: one process, and a lock of the machine against the training and the timing passes of other commands. A
configuration is timed with the weights of its first seed that ended well and kept them; those that nobody else asked
for are deleted once the timing is stored.
"""

from collections.abc import Mapping
from pathlib import Path

from switchbench.launch.events import Listener, Ticked, TimingEnded, TimingProgressed, Warned
from switchbench.launch.forkserver import describe_death, end_processes, start_process
from switchbench.launch.locks import on_this_machine
from switchbench.launch.messages import Machine, TimingItem
from switchbench.launch.plan import Plan
from switchbench.record import TimingRecord
from switchbench.spec import ExecutionSpec
from switchbench.store import SweepFolder, read_statuses, timed_configs, write_timing

TICK_S = 1.0
"""Longest time without an event."""
EXIT_PATIENCE_S = 10.0
"""How long the process may take to exit once it has sent its result."""


def time_untimed(
    plan: Plan,
    *,
    machine: Machine,
    execution: ExecutionSpec,
    environment: Mapping[str, str],
    cache_root: Path | None,
    on_event: Listener,
    function: str,
) -> int:
    """Time the configurations that have a run that ended well and no timing on this machine.

    Args:
        plan: The plan whose runs have ended.
        machine: The machine.
        execution: Device, threads and cores, as in the runs.
        environment: Variables of the process.
        cache_root: Where prepared corpora are kept; None: the default place.
        on_event: Told what happens.
        function: What the process runs, as ``package.module:function``.

    Returns:
        The number of configurations that were timed. When the process dies it is fewer than there were; that is told
        as a warning, and the next command tries again.

    Raises:
        ResultsFolderError: a timing cannot be written.
    """
    if not choose_items(plan, machine_id=machine.machine_id):
        return 0
    with on_this_machine(alone=True, on_event=on_event):
        items = choose_items(plan, machine_id=machine.machine_id)  # the wait may have been long
        records = measure_items(
            items,
            execution=execution,
            environment=environment,
            sweep=plan.sweep.name,
            log_path=plan.folder.log_path("timing"),
            cache_root=cache_root,
            on_event=on_event,
            function=function,
        )
        keep_timings(plan, records, on_event=on_event)  # while alone: whoever waited chooses what is timed by them
    return len(records)


def measure_items(
    items: list[TimingItem],
    *,
    execution: ExecutionSpec,
    environment: Mapping[str, str],
    sweep: str,
    log_path: Path,
    cache_root: Path | None,
    on_event: Listener,
    function: str,
) -> list[TimingRecord]:
    """Measure step times in a process of its own; whoever calls this has the machine alone.

    Args:
        items: What to time.
        execution: Device, threads and cores, as in the runs.
        environment: Variables of the process.
        sweep: Name of the sweep.
        log_path: File that takes the process's output.
        cache_root: Where prepared corpora are kept; None: the default place.
        on_event: Told what happens.
        function: What the process runs, as ``package.module:function``.

    Returns:
        A record per item; none when the process dies, which is told as a warning.
    """
    if not items:
        return []
    on_event(TimingProgressed(configurations=len(items), fraction=0.0))
    process, connection = start_process(
        function,
        items,
        execution,
        environment=environment,
        sweep=sweep,
        log_path=str(log_path),
        cache_root=None if cache_root is None else str(cache_root),
    )
    records: list[TimingRecord] | None = None
    try:
        while records is None:
            if not connection.poll(TICK_S):
                on_event(Ticked())
                continue
            kind, value = connection.recv()
            if kind == "timings":
                records = value
            else:
                on_event(TimingProgressed(configurations=len(items), fraction=value))
    except (EOFError, OSError):  # the process has ended
        pass
    process.join(EXIT_PATIENCE_S)
    end_processes([process])
    connection.close()
    if records is None:
        _, reason = describe_death(process.exitcode, log_path=log_path)
        on_event(Warned(text=f"the step times were not measured: the process {reason}. Log: {log_path}"))
        return []
    return records


def keep_timings(plan: Plan, records: list[TimingRecord], *, on_event: Listener) -> None:
    """Write step times, and delete the weights that were there for them alone.

    Args:
        plan: The plan.
        records: The step times.
        on_event: Told that they are there.

    Raises:
        ResultsFolderError: one cannot be written.
    """
    for record in records:
        write_timing(plan.folder, record)
    _delete_weights(plan.folder, plan=plan, config_ids={record.config_id for record in records})
    if records:
        on_event(TimingEnded(configurations=len(records)))


def choose_items(plan: Plan, *, machine_id: str | None) -> list[TimingItem]:
    """Choose what to time: a run for every configuration that ended well and is not timed on a machine.

    Args:
        plan: The plan.
        machine_id: The machine; None: any.
    """
    statuses, _ = read_statuses(plan.folder)
    timed = timed_configs(plan.folder, machine_id=machine_id)
    chosen: dict[str, TimingItem] = {}
    for cell in plan.chosen:
        run_id, config_id = cell.spec.run_id, cell.spec.config_id
        if cell.cell.role == "tuning" or config_id in timed or statuses.get(run_id) != "ok":
            continue
        weights = find_weights(plan.folder, run_id)
        if config_id not in chosen or (weights is not None and chosen[config_id].checkpoint is None):
            checkpoint = None if weights is None else str(weights)
            chosen[config_id] = TimingItem(spec=cell.spec, run_id=run_id, checkpoint=checkpoint)
    return list(chosen.values())


def find_weights(folder: SweepFolder, run_id: str) -> Path | None:
    """Find a run's final weights; None: they are not there."""
    places = (folder.checkpoint_path(run_id), folder.timing_weights_path(run_id))
    return next((path for path in places if path.exists()), None)


def _delete_weights(folder: SweepFolder, *, plan: Plan, config_ids: set[str]) -> None:
    for cell in plan.cells:
        if cell.spec.config_id in config_ids:
            folder.timing_weights_path(cell.spec.run_id).unlink(missing_ok=True)
