"""Measures step times for estimates: trials of the shapes, as many side by side as the sweep has runs."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from switchbench.launch.events import Listener, Preparing, Warned
from switchbench.launch.forkserver import describe_death, end_processes, start_process
from switchbench.launch.messages import StepTimes
from switchbench.launch.slots import Setup, Slot
from switchbench.launch.step_times import BUSY_SHARE, keep_step_times
from switchbench.spec import RunSpec
from switchbench.units import percent

TICK_S = 0.5
"""Longest time without an event."""
EXIT_PATIENCE_S = 10.0
"""How long a process that has ended its connection may take to exit."""
DOING = "measuring step times for the estimate"
"""What is being done, in words."""


def calibrate(
    shapes: Sequence[RunSpec],
    *,
    setup: Setup,
    device: str,
    slots: Sequence[Slot],
    cache_root: Path | None,
    on_event: Listener,
    function: str,
) -> dict[str, StepTimes]:
    """Measure the step times of shapes, and keep them.

    Args:
        shapes: From ``shape_of``, each once.
        setup: How the sweep's runs are to be executed.
        device: ``cpu`` or ``cuda``.
        slots: What the runs have for themselves; all of them are used all the time.
        cache_root: Where step times are kept; None: the default place.
        on_event: Told how far it is, and which shapes could not be measured.
        function: What the processes run, as ``package.module:function``.

    Returns:
        The step times by the shapes' ``config_id``; without those that could not be measured.

    Raises:
        SwitchbenchError: processes cannot be started.
    """
    measured: dict[str, StepTimes] = {}
    for first in range(0, len(shapes), len(slots)):
        group = shapes[first : first + len(slots)]
        tell = partial(on_event, Preparing(what=DOING, fraction=first / len(shapes)))
        tell()
        # Where shapes are fewer than slots some are tried twice: the others must not have the machine for themselves.
        trials = [
            _start(group[index % len(group)], slot, setup=setup, device=device, workers=len(slots), function=function)
            for index, slot in enumerate(slots)
        ]
        try:
            _wait_for(trials, on_tick=tell)
            for trial in trials:
                with suppress(OSError):  # one that has ended is noticed below
                    trial.connection.send("measure")
            _wait_for(trials, on_tick=tell)
        finally:
            for trial in trials:
                trial.connection.close()
            end_processes([trial.process for trial in trials])
        for shape in group:
            results = [trial for trial in trials if trial.shape is shape]
            times = _merged([trial.times for trial in results if trial.times is not None])
            if times is None:
                on_event(Warned(text=f"no estimate of the time for {describe_shape(shape)}: {results[0].failure}"))
                continue
            measured[shape.config_id] = times
            keep_step_times(shape, times, setup=setup, cache_root=cache_root)
    on_event(Preparing(what=DOING, fraction=1.0))
    shares = [times.cpu_share for times in measured.values() if times.cpu_share is not None]
    if shares and min(shares) < BUSY_SHARE:
        on_event(
            Warned(
                text="the machine was busy while step times were measured: a trial got as little as "
                f"{percent(min(shares))} of its cores. The estimate holds while it is as busy, and for an hour"
            )
        )
    return measured


def describe_shape(shape: RunSpec) -> str:
    """Put a shape into words."""
    ffn = shape.model.ffn
    experts = f"{ffn.num_experts} experts" if ffn.kind == "sparse" else "a dense model"
    return f"{experts} of size {shape.model.size_name}, {shape.train.batch_tokens} tokens a step"


@dataclass(kw_only=True)
class _Trial:
    shape: RunSpec
    process: BaseProcess
    connection: Connection
    times: StepTimes | None = None
    failure: str | None = None
    """Why there are no times, in words."""


def _start(shape: RunSpec, slot: Slot, *, setup: Setup, device: str, workers: int, function: str) -> _Trial:
    process, connection = start_process(
        function,
        shape,
        slot.execution(device=device, threads=setup.threads, dispatch=setup.dispatch),
        environment=slot.environment,
        started_s=time.monotonic(),
        workers=workers,
    )
    return _Trial(shape=shape, process=process, connection=connection)


def _wait_for(trials: Sequence[_Trial], *, on_tick: Callable[[], None]) -> None:
    """Take the next message of each trial; one that failed has no more."""
    for trial in trials:
        if trial.failure is not None:
            continue
        try:
            while not trial.connection.poll(TICK_S):
                on_tick()
            kind, value = trial.connection.recv()
        except (EOFError, OSError):
            trial.process.join(EXIT_PATIENCE_S)
            _, trial.failure = describe_death(trial.process.exitcode)
            continue
        if kind == "times":
            trial.times = value
        elif kind == "failed":
            trial.failure = value


def _merged(times: Sequence[StepTimes]) -> StepTimes | None:
    """Take the mean of trials of one shape; None where there is none."""
    if not times:
        return None
    shares = [each.cpu_share for each in times if each.cpu_share is not None]
    means = {
        name: statistics.fmean(getattr(each, name) for each in times)
        for name in ("step_time_s", "eval_time_per_token_s", "build_time_s", "start_time_s")
    }
    return times[0].model_copy(update={**means, "cpu_share": min(shares) if shares else None})
