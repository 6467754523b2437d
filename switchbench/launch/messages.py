"""What processes tell the process that started them. No torch here: unpickling a message imports the module of its class.

A process sends pairs of a word and a value over its connection:

=================  ===========  =========================================================
``probe_machine``  ``machine``  ``Machine``, once
``run_worker``     ``progress`` ``Progress``, at most about five times a second
                   ``done``     ``RunResult``, once, as the last; without it the run failed
``time_config…``   ``progress`` share of the work that is done, from 0 to 1
                   ``timings``  list of ``TimingRecord``, once, as the last
=================  ===========  =========================================================
"""

from dataclasses import dataclass

from switchbench.record import RunRecord, StepRecord
from switchbench.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the scheduler must know of the machine before the first run."""

    machine_id: str
    """Hash of the machine's facts, as in the records."""
    device: str
    """Device that ``auto`` means here: ``cpu`` or ``cuda``."""
    gpu_count: int
    """Visible GPUs."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    tokens_done: int
    """Tokens trained so far, cooldowns included."""
    tokens_total: int
    """Tokens of the whole run, cooldowns included."""
    nll: float | None
    """Latest held-out nll in nats per token; None: not evaluated yet."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run left."""

    runs: list[RunRecord]
    """A row per annealed point that was reached, the run's own row last."""
    steps: list[StepRecord]
    """The curve."""


@dataclass(frozen=True, kw_only=True)
class TimingItem:
    """A configuration to be timed."""

    spec: RunSpec
    """The run whose weights are used."""
    run_id: str
    """Its identity."""
    checkpoint: str | None
    """File with its final weights; None: they are gone, and fresh ones are used."""
