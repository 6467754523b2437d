"""What goes to another machine to have runs executed there, and what comes back; pickled, and gone after the command.

Rows always come back. Log and weights come back where the results folder is not there, which a mark in it tells.
"""

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from switchbench import __version__
from switchbench.launch.executor import Ended, Job
from switchbench.launch.preparation import WorkerFunctions
from switchbench.launch.slots import Setup
from switchbench.record import RunResult, Status, TimingRecord
from switchbench.store import SweepFolder
from switchbench.store.folder import write_atomically


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What every order of a command has in common."""

    sweep: str
    """Name of the sweep."""
    setup: Setup
    """How runs are executed; the device is ``cpu`` or ``cuda``."""
    functions: WorkerFunctions
    """What processes run."""
    cache_root: Path | None
    """Where prepared corpora are kept; None: the default place of the machine."""
    working_folder: Path
    """The command's, from which relative paths of text and results are seen."""
    mark: Path
    """A file in the results folder."""
    mark_content: str
    """What it says: a machine on which it says so shares the folder."""
    timeout_s: float | None = None
    """Longest time of an attempt."""
    memory_bytes: int | None = None
    """Most memory that an attempt may have for itself."""
    version: str = __version__
    """Version of this package in the command."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What comes back of an attempt at a run."""

    result: RunResult | None = None
    """Its rows; None: it ended without any."""
    status: Status = "killed"
    """How it ended, where it left no rows."""
    reason: str = ""
    """Why, in words."""
    log: bytes = b""
    """What it printed, where the results folder is not shared."""
    weights: bytes | None = None
    """Its final weights, likewise."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """What comes back of a timing pass."""

    records: list[TimingRecord] = field(default_factory=list)
    """The step times; none: it failed."""
    warnings: tuple[str, ...] = ()
    """What went wrong, in words."""


@contextmanager
def marked(folder: SweepFolder) -> Iterator[tuple[Path, str]]:
    """Leave a mark in a results folder by which another machine sees whether it shares the folder.

    Args:
        folder: The folder, which exists.

    Yields:
        The file, and what it says.
    """
    content = secrets.token_hex(8)
    mark = folder.path.resolve() / f".mark.{content}.tmp"
    mark.write_text(content, encoding="ascii")
    try:
        yield mark, content
    finally:
        mark.unlink(missing_ok=True)


def shares_folder(errand: Errand) -> bool:
    """Say whether the command's results folder is there on this machine.

    Args:
        errand: Holds the mark.
    """
    try:
        return errand.mark.read_text(encoding="ascii") == errand.mark_content
    except (OSError, ValueError):
        return False


def open_parcel(job: Job, parcel: Parcel) -> Ended:
    """Put log and weights where they belong, as far as they came back; give how the attempt ended.

    Args:
        job: The attempt.
        parcel: What came back of it.
    """
    with contextlib.suppress(OSError):  # a full disk is no reason to lose the rows
        if parcel.log:
            with job.log_path.open("ab") as log:
                log.write(parcel.log)
        if parcel.weights is not None and job.weights is not None:
            write_atomically(job.weights, parcel.weights)
    return Ended(job=job, result=parcel.result, status=parcel.status, reason=parcel.reason)
