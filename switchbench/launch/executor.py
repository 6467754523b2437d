"""Where runs are executed, as the scheduler sees it: this machine, a Ray cluster or Slurm behind one small face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from switchbench.launch.plan import PlannedCell
from switchbench.record import Progress, RunResult, Status


@dataclass(frozen=True, kw_only=True)
class Job:
    """One attempt at one run."""

    cell: PlannedCell
    """The run."""
    log_path: Path
    """File that takes what it prints."""
    weights: Path | None
    """File that takes its final weights; None: they are not kept."""
    unfinished: Path
    """File that takes its state on the way."""
    micro_batch_tokens: int | None = None
    """Tokens of a micro-batch; None: the whole batch at once."""

    @property
    def run_id(self) -> str:
        """The run's identity."""
        return self.cell.spec.run_id


@dataclass(frozen=True, kw_only=True)
class Told:
    """A run told how far it is."""

    job: Job
    """The attempt."""
    progress: Progress
    """How far."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An attempt is over."""

    job: Job
    """The attempt."""
    result: RunResult | None = None
    """Its rows; None: it ended without any."""
    status: Status = "killed"
    """How it ended, where it left no rows."""
    reason: str = ""
    """Why, in words."""


class Executor(Protocol):
    """Executes attempts, as many side by side as it has room for."""

    device: str
    """``cpu`` or ``cuda``."""

    @property
    def num_slots(self) -> int:
        """Attempts side by side; of a cluster, as far as is known now."""

    def has_room(self) -> bool:
        """Whether another attempt can be started now."""

    def start(self, job: Job) -> None:
        """Start an attempt.

        Raises:
            SwitchbenchError: the system does not let us.
        """

    def news(self, *, timeout_s: float) -> Sequence[Told | Ended]:
        """Give what has happened since the last call; waits for something, but no longer than this."""

    def memory_bytes(self, job: Job) -> int | None:
        """Give the memory that an attempt has for itself; None: not known here."""

    def known_columns(self, job: Job) -> Mapping[str, object]:
        """Give the columns of its row that an attempt could not tell itself, because it died."""

    def stop(self, jobs: Sequence[Job]) -> None:
        """Ask attempts to keep a checkpoint and stop; each then comes as ``Ended`` without a result."""

    def end(self, job: Job) -> None:
        """End an attempt at once; nothing more is told of it."""
