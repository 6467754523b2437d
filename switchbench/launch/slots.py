"""Which cores and GPUs a run has for itself: shares of the machine that do not overlap."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from switchbench.errors import UsageError
from switchbench.launch.events import Listener, Warned
from switchbench.launch.locks import Lock
from switchbench.launch.messages import Machine
from switchbench.spec import Dispatch, ExecutionSpec


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines other than this one."""

    kind: Literal["ray", "slurm"]
    """What shares them out."""
    address: str | None = None
    """Of Ray: ``host:port`` of the head; None: the cluster that this machine is part of, or a new one of it alone."""
    slurm: Mapping[str, str] = field(default_factory=dict)
    """Of Slurm: options of ``sbatch``, such as ``partition``."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a sweep's runs are to be executed, as asked for."""

    workers: int | None = None
    """Runs side by side; None: as many as the cores allow, on GPUs one per GPU."""
    threads: int = 1
    """CPU threads of each."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda``."""
    dispatch: Dispatch = "auto"
    """How experts are computed."""
    per_gpu: int = 1
    """Runs that share a GPU."""
    checkpoint_every_s: float = 600.0
    """Least time between two checkpoints of a run."""
    keep_checkpoints: bool = False
    """Whether the final weights of every run are kept, beside those of runs that ask for it themselves."""
    cluster: Cluster | None = None
    """Where the runs are executed; None: on this machine."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What one run has for itself."""

    cores: tuple[int, ...]
    """Cores it is pinned to; empty: pinning is not supported here."""
    gpu: str | None
    """The GPU it sees, as in CUDA_VISIBLE_DEVICES; None: what the parent sees."""
    runs_per_gpu: int = 1
    """Runs that share the GPU."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the run's process."""
        return {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu}

    def execution(
        self, *, device: str, threads: int, dispatch: Dispatch, checkpoint: Path | None = None
    ) -> ExecutionSpec:
        """Say how a run is executed here.

        Args:
            device: ``cpu`` or ``cuda``.
            threads: CPU threads.
            dispatch: How experts are computed.
            checkpoint: File that takes the final weights; None: they are not kept.
        """
        return ExecutionSpec(
            device="cuda" if device == "cuda" else "cpu",
            threads=threads,
            cores=self.cores,
            runs_per_gpu=self.runs_per_gpu,
            dispatch=dispatch,
            checkpoint=None if checkpoint is None else str(checkpoint),
        )


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def resolve_workers(workers: int | None, *, threads: int) -> int:
    """Check the numbers of runs side by side and of threads against the cores, and fill in the default.

    Args:
        workers: Runs side by side; None: cores // threads.
        threads: CPU threads of each.

    Raises:
        UsageError: one of them is below 1, or together they need more cores than there are.
    """
    cores = len(usable_cores())
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, got {threads}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers must be at least 1, got {workers}")
    if threads > cores:
        raise UsageError(f"--threads {threads} is more than can be used here: {_cores(cores)}")
    if workers is not None and workers * threads > cores:
        raise UsageError(
            f"--workers {workers} with --threads {threads} needs {workers * threads} cores, and every run has its own: "
            f"{_cores(cores)} can be used here, so at most --workers {cores // threads}"
        )
    return cores // threads if workers is None else workers


@contextmanager
def claimed_cores(count: int, *, on_event: Listener) -> Iterator[tuple[int, ...]]:
    """Claim cores against other commands on this machine, by a lock for each, until the block ends.

    Args:
        count: How many are needed.
        on_event: Told if so many are not free.

    Yields:
        The usable cores, those first that are ours alone.
    """
    free: list[int] = []
    taken: list[int] = []
    with ExitStack() as claims:
        for core in usable_cores():
            lock = Lock(Path(tempfile.gettempdir()) / f"switchbench-core-{core}.lock")
            try:
                is_ours = len(free) < count and lock.try_acquire()
            except OSError:  # nobody can claim it, so nobody has
                is_ours = True
            (free if is_ours else taken).append(core)
            claims.callback(lock.release)
        if len(free) < count:
            text = f"{count - len(free)} of the {_cores(count)} asked for are in use by another switchbench command"
            on_event(Warned(text=f"{text}: both will be slower; --workers {max(len(free), 1)} would leave them alone"))
        yield (*free, *taken)


def share_out(
    machine: Machine, *, workers: int | None, threads: int, per_gpu: int = 1, cores: tuple[int, ...] | None = None
) -> list[Slot]:
    """Share cores and GPUs out, a slot for each run side by side; cores never overlap, GPUs only if asked to.

    Args:
        machine: The machine.
        workers: Number of slots; None: as many as there are shares.
        threads: CPU threads of each.
        per_gpu: Slots that share a GPU.
        cores: The usable cores, those to be taken first at the front; None: in their order.

    Raises:
        UsageError: there are fewer cores or places on GPUs than slots.
    """
    cores = usable_cores() if cores is None else cores
    can_pin = hasattr(os, "sched_setaffinity")
    count = resolve_workers(workers, threads=threads)
    if machine.device == "cuda":
        places = machine.gpu_count * per_gpu
        if workers is not None and workers > places:
            has = "every run has its own GPU" if per_gpu == 1 else f"{per_gpu} runs share a GPU"
            raise UsageError(f"--workers {workers}: {has}, and there are {machine.gpu_count}; see --per-gpu")
        count = min(count, places)
    # Round and round, so that a GPU is shared only once all have a run.
    gpus = _visible_gpus(machine) * per_gpu if machine.device == "cuda" else [None] * count
    # A GPU's driver has threads of its own: there a run gets its whole share of the cores.
    width = len(cores) // count if machine.device == "cuda" else threads
    return [
        Slot(
            cores=cores[index * width : (index + 1) * width] if can_pin else (),
            gpu=gpus[index],
            runs_per_gpu=per_gpu if machine.device == "cuda" else 1,
        )
        for index in range(count)
    ]


def _visible_gpus(machine: Machine) -> list[str | None]:
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return [*named] or [str(index) for index in range(machine.gpu_count)]


def _cores(count: int) -> str:
    return f"{count} core" if count == 1 else f"{count} cores"
