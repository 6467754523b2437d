"""What happens while a sweep runs, as told to whoever watches: the live display, plain lines, a test."""

from collections.abc import Callable
from dataclasses import dataclass

from switchbench.launch.plan import PlannedCell


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """Something has to be ready before the first run can start."""

    what: str
    """What is being done, in words."""
    fraction: float | None = None
    """Share that is done; None: not known."""


@dataclass(frozen=True, kw_only=True)
class SweepStarted:
    """The first run is about to start."""

    cells: tuple[PlannedCell, ...]
    """The runs to come, in the order in which they will start."""
    workers: int
    """Runs side by side."""
    threads: int
    """CPU threads of each."""
    device: str
    """``cpu`` or ``cuda``."""
    estimated_s: float | None = None
    """Estimated wall-clock of all of them; None: not known."""


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run's process was started."""

    cell: PlannedCell
    """The run."""


@dataclass(frozen=True, kw_only=True)
class RunProgressed:
    """A run told how far it is."""

    cell: PlannedCell
    """The run."""
    tokens_done: int
    """Tokens trained so far, cooldowns included."""
    tokens_total: int
    """Tokens of the whole run, cooldowns included."""
    nll: float | None
    """Latest held-out nll, nats per token; None: not evaluated yet."""


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """A run ended, and its row is stored."""

    cell: PlannedCell
    """The run."""
    status: str
    """How it ended; see ``RunRecord.status``."""
    reason: str | None
    """Why, if not ``ok``."""
    nll: float | None
    """Final held-out nll, nats per token."""
    seconds: float
    """Time from its start to its end."""
    log_path: str
    """File with what the run printed."""


@dataclass(frozen=True, kw_only=True)
class RunRetried:
    """A run failed and will be tried again."""

    cell: PlannedCell
    """The run."""
    text: str
    """Why, and how."""


@dataclass(frozen=True, kw_only=True)
class RunElsewhere:
    """Another command is running a run, or has ended it."""

    cell: PlannedCell
    """The run."""
    status: str | None
    """How it ended; None: it is running there."""


@dataclass(frozen=True, kw_only=True)
class TimingProgressed:
    """The exclusive timing pass is under way."""

    configurations: int
    """Configurations to time."""
    fraction: float
    """Share that is done."""


@dataclass(frozen=True, kw_only=True)
class TimingEnded:
    """The exclusive timing pass is over, and its records are stored."""

    configurations: int
    """Configurations that were timed."""


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something went wrong that does not stop the sweep."""

    text: str
    """What, in words."""


@dataclass(frozen=True, kw_only=True)
class Ticked:
    """Nothing happened for a moment; sent at least about once a second."""


Event = (
    Preparing
    | SweepStarted
    | RunStarted
    | RunProgressed
    | RunEnded
    | RunRetried
    | RunElsewhere
    | TimingProgressed
    | TimingEnded
    | Warned
    | Ticked
)
Listener = Callable[[Event], None]
