"""What a plan is expected to take: time of each run and of all, and memory, next to what arithmetic says of it.

Time of a run = building + computed steps (every cooldown) · step time + evaluated tokens · evaluation time per token,
with step times that were measured on this machine for the run's shape. Time of a sweep = the runs one after the other
on as many workers as there are, in the order in which they start, and then the timing pass.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from switchbench.cost import count_memory, count_train_flops
from switchbench.data.cache import default_cache_root, find_prepared
from switchbench.launch.calibration import DOING, calibrate, describe_shape
from switchbench.launch.events import Listener, Preparing, Warned
from switchbench.launch.forkserver import warm_server
from switchbench.launch.locks import on_this_machine
from switchbench.launch.messages import Machine, StepTimes
from switchbench.launch.plan import Plan, PlannedCell, in_starting_order
from switchbench.launch.preparation import WorkerFunctions, prepare_corpora, probe_machine
from switchbench.launch.rounds import STEPS_PER_CONFIGURATION
from switchbench.launch.slots import Setup, Slot, claimed_cores, resolve_workers, share_out
from switchbench.launch.step_times import read_step_times, shape_of
from switchbench.spec import RunSpec
from switchbench.units import duration, flops, size

LONGEST_TRIAL_S = 60.0
"""Trials that would take longer on a CPU are left out."""
STEPS_OF_A_TRIAL = 5
"""What a trial takes at least, evaluations included, in training steps."""
CPU_FLOPS_PER_SECOND = 6e10
"""What a core does in a training step, roughly: enough to tell seconds from minutes."""


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What a plan is expected to take, as far as it is known."""

    plan: Plan
    """The plan."""
    workers: int
    """Runs side by side."""
    device: str | None
    """``cpu`` or ``cuda``; None: not known yet, since nothing was measured."""
    times: Mapping[str, StepTimes]
    """Step times by the ``config_id`` of the shape."""
    held_out_tokens: Mapping[str, int]
    """Held-out tokens of each corpus, by its fingerprint."""

    def seconds(self, cell: PlannedCell) -> float | None:
        """Time of a run, as its column ``run_time_s`` will tell it; None: not known.

        Args:
            cell: A run of the plan.
        """
        spec = cell.spec
        times, held_out = self.times.get(shape_of(spec).config_id), self.held_out_tokens.get(spec.data_fingerprint)
        if times is None or held_out is None:
            return None
        steps_s = spec.train.trained_steps * times.step_time_s
        return times.build_time_s + steps_s + evaluated_tokens(spec, held_out) * times.eval_time_per_token_s

    @property
    def is_complete(self) -> bool:
        """Whether the time of all that will be done is known."""
        return all(self.seconds(cell) is not None for cell in self.plan.to_run) and not _missing(self)

    @property
    def run_seconds(self) -> float | None:
        """Wall-clock of all runs that will be started; None: that of one is not known."""
        ordered = in_starting_order(self.plan.to_run)
        seconds = [(self.seconds(cell), self.times.get(shape_of(cell.spec).config_id)) for cell in ordered]
        known = [time_s + times.start_time_s for time_s, times in seconds if time_s is not None and times is not None]
        return makespan(known, workers=self.workers) if len(known) == len(ordered) else None

    @property
    def timing_seconds(self) -> float | None:
        """Wall-clock of the timing pass; None: that of a configuration is not known."""
        times = [self.times.get(shape_of(spec).config_id) for spec in _untimed(self.plan)]
        known = [each.build_time_s + STEPS_PER_CONFIGURATION * each.step_time_s for each in times if each is not None]
        return sum(known) if len(known) == len(times) else None

    @property
    def seconds_in_all(self) -> float | None:
        """Wall-clock of the whole command; None: not known."""
        runs, timing = self.run_seconds, self.timing_seconds
        return None if runs is None or timing is None else runs + timing

    @property
    def memory_bytes(self) -> int | None:
        """Peak memory of the largest run that will be started; None: there is no run."""
        return max((cell.memory_bytes for cell in self.plan.to_run), default=None)

    @property
    def memory_bytes_side_by_side(self) -> int | None:
        """The same of the largest runs that can be side by side, together."""
        largest = sorted((cell.memory_bytes for cell in self.plan.to_run), reverse=True)[: self.workers]
        return sum(largest) if largest else None

    def totals(self) -> dict[str, Any]:
        """Give the sums as they stand in ``totals`` of the plan's JSON object."""
        return {
            "estimated_seconds": self.run_seconds,
            "estimated_seconds_timing": self.timing_seconds,
            "estimated_memory_bytes": self.memory_bytes,
            "estimated_memory_bytes_side_by_side": self.memory_bytes_side_by_side,
        }

    def as_json(self) -> dict[str, Any]:
        """Give the costed plan as one JSON object."""
        content = self.plan.as_json()
        for entry, cell in zip(content["cells"], self.plan.cells, strict=True):
            entry |= {"estimated_seconds": self.seconds(cell), "estimated_memory_bytes": cell.memory_bytes}
        content["totals"] |= self.totals()
        return content


def evaluated_tokens(spec: RunSpec, held_out_tokens: int) -> int:
    """Count the held-out tokens that a run's evaluations score: at its regular points some, at annealed ones all.

    Args:
        spec: The run.
        held_out_tokens: Tokens of the held-out part.
    """
    train, seq_len = spec.train, spec.data.seq_len
    points = {round(i * train.num_steps / train.eval_points) for i in range(1, train.eval_points)}
    num_regular = 1 + sum(0 < step < train.num_steps for step in points)  # and the one before the first step
    windows = (held_out_tokens - 1) // seq_len
    regular_windows = min(windows, max(1, train.regular_eval_tokens // seq_len))
    return seq_len * (num_regular * regular_windows + len(train.anneal_points) * windows)


def makespan(times_s: Sequence[float], *, workers: int) -> float:
    """Give the time until all of a list of jobs are done, when each starts as soon as a worker is free.

    >>> makespan([3.0, 2.0, 2.0, 1.0], workers=2)
    4.0
    """
    free_at_s = [0.0] * workers
    for time_s in times_s:
        heapq.heapreplace(free_at_s, free_at_s[0] + time_s)
    return max(free_at_s)


def estimate_plan(
    plan: Plan,
    *,
    setup: Setup,
    is_timed: bool = True,
    on_event: Listener,
    cache_root: Path | None = None,
    functions: WorkerFunctions = WorkerFunctions(),
) -> Estimates:
    """Estimate what a plan takes; where step times are missing, measure them. Starts nothing where none are.

    Args:
        plan: The plan.
        setup: How its runs are to be executed.
        is_timed: Whether the time is estimated.
        on_event: Told what happens.
        cache_root: Where step times and prepared corpora are kept; None: the default place.
        functions: What the processes run.

    Raises:
        UsageError: there are not that many GPUs, or there is none.
        CorpusError: a corpus cannot be prepared.
        SwitchbenchError: processes cannot be started.
    """
    known = known_estimates(plan, setup=setup, is_timed=is_timed, cache_root=cache_root)
    if not is_timed or known.is_complete:
        return known
    tell = _as_one_task(on_event)
    prepare_corpora(plan, cache_root=cache_root, on_event=tell)
    if not _missing(known):
        return known_estimates(plan, setup=setup, cache_root=cache_root)
    with on_this_machine(alone=False, on_event=on_event), warm_server(preload=functions.preload):
        machine = probe_machine(functions, device=setup.device, on_event=tell)
        with claimed_cores(known.workers * setup.threads, on_event=on_event) as cores:
            slots = share_out(machine, workers=setup.workers, threads=setup.threads, per_gpu=setup.per_gpu, cores=cores)
            return measured_estimates(
                plan,
                setup=setup,
                machine=machine,
                slots=slots,
                cache_root=cache_root,
                on_event=tell,
                functions=functions,
            )


def measured_estimates(
    plan: Plan,
    *,
    setup: Setup,
    machine: Machine,
    slots: Sequence[Slot],
    is_timed: bool = True,
    cache_root: Path | None,
    on_event: Listener,
    functions: WorkerFunctions,
) -> Estimates:
    """Estimate what a plan takes, with the corpora prepared and the fork server at hand.

    Args:
        plan: The plan.
        setup: How its runs are to be executed.
        machine: The machine.
        slots: What each run side by side has for itself.
        is_timed: Whether the time is estimated.
        cache_root: Where step times and prepared corpora are kept; None: the default place.
        on_event: Told what happens.
        functions: What the processes run.

    Raises:
        SwitchbenchError: processes cannot be started.
    """
    known = known_estimates(plan, setup=setup, is_timed=is_timed, cache_root=cache_root)
    missing = _missing(known) if is_timed else []
    tried = [
        shape
        for shape in missing
        if _is_quick(shape, threads=setup.threads, machine=machine, on_event=on_event)
        and _fits(shape, slots=slots, machine=machine, on_event=on_event)
    ]
    times = dict(known.times)
    if tried:
        times |= calibrate(
            tried,
            setup=setup,
            device=machine.device,
            slots=slots,
            cache_root=cache_root,
            on_event=on_event,
            function=functions.calibrate,
        )
    return replace(known, workers=len(slots), device=machine.device, times=times)


def known_estimates(plan: Plan, *, setup: Setup, is_timed: bool = True, cache_root: Path | None = None) -> Estimates:
    """Give what is known without starting or measuring anything.

    Args:
        plan: The plan.
        setup: How its runs are to be executed.
        is_timed: Whether the time is estimated.
        cache_root: Where step times and prepared corpora are kept; None: the default place.
    """
    workers = resolve_workers(setup.workers, threads=setup.threads)
    device = None if setup.device == "auto" else setup.device
    if not is_timed:
        return Estimates(plan=plan, workers=workers, device=device, times={}, held_out_tokens={})
    shapes = _shapes(cell.spec for cell in plan.cells)
    times = read_step_times(shapes.values(), setup=setup, cache_root=cache_root)
    for each in times.values():
        workers, device = each.workers, each.device
    fingerprints = dict.fromkeys(cell.spec.data_fingerprint for cell in plan.cells)
    corpora = {name: find_prepared(cache_root or default_cache_root(), name) for name in fingerprints}
    held_out_tokens = {name: corpus.num_held_out_tokens for name, corpus in corpora.items() if corpus is not None}
    return Estimates(plan=plan, workers=workers, device=device, times=times, held_out_tokens=held_out_tokens)


def _missing(estimates: Estimates) -> list[RunSpec]:
    """Shapes of the work to come that have no step times."""
    plan = estimates.plan
    needed = _shapes([*(cell.spec for cell in plan.to_run), *_untimed(plan)])
    return [shape for shape_id, shape in needed.items() if shape_id not in estimates.times]


def _is_quick(shape: RunSpec, *, threads: int, machine: Machine, on_event: Listener) -> bool:
    """Say whether a trial of a shape ends soon enough; one on a CPU may be of a run that is meant for a GPU."""
    step_flops = count_train_flops(shape, num_steps=1).executed
    seconds = STEPS_OF_A_TRIAL * step_flops / (CPU_FLOPS_PER_SECOND * threads)
    if machine.device == "cpu" and seconds > LONGEST_TRIAL_S:
        text = f"a step is {flops(step_flops)}, and a trial would take about {duration(seconds)} here"
        on_event(Warned(text=f"no estimate of the time for {describe_shape(shape)}: {text}"))
        return False
    return True


def _fits(shape: RunSpec, *, slots: Sequence[Slot], machine: Machine, on_event: Listener) -> bool:
    """Say whether trials of a shape fit into the free memory; a plan is not worth that the system kills for memory."""
    needed, free = len(slots) * count_memory(shape).peak, psutil.virtual_memory().available
    if machine.device == "cpu" and needed > free:
        text = f"{size(needed)} for {len(slots)} side by side, and {size(free)} are free"
        on_event(Warned(text=f"no estimate of the time for {describe_shape(shape)}: trials would need {text}"))
        return False
    return True


def _shapes(specs: Iterable[RunSpec]) -> dict[str, RunSpec]:
    shapes = (shape_of(spec) for spec in specs)
    return {shape.config_id: shape for shape in shapes}


def _untimed(plan: Plan) -> list[RunSpec]:
    """A run of every configuration that no machine has timed."""
    return list({cell.spec.config_id: cell.spec for cell in plan.cells if cell.spec.config_id in plan.untimed}.values())


def _as_one_task(on_event: Listener) -> Listener:
    """Tell of all preparations under one name: outside a sweep they are one task, and without a terminal one line."""
    return lambda event: on_event(replace(event, what=DOING) if isinstance(event, Preparing) else event)
