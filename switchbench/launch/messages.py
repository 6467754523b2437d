"""What processes tell the one that started them. No torch here: unpickling a message imports the module of its class.

A process sends pairs of a word and a value over its connection:

=================  ===========  =========================================================
``probe_machine``  ``machine``  ``Machine``, once
``run_worker``     ``progress`` ``Progress``, at most about five times a second
                   ``done``     ``RunResult``, once, as the last; without it the run failed
``time_config…``   ``progress`` share of the work that is done, from 0 to 1
                   ``timings``  list of ``TimingRecord``, once, as the last
=================  ===========  =========================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass

from switchbench.record import Progress, RunResult
from switchbench.spec import RunSpec

__all__ = ["Machine", "Progress", "RunResult", "TimingItem"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the scheduler must know of the machine before the first run."""

    machine_id: str
    """Hash of the machine's facts, as in the records."""
    device: str
    """Device that ``auto`` means here: ``cpu`` or ``cuda``."""
    gpu_count: int
    """Visible GPUs."""
    provenance: Mapping[str, str | None]
    """Columns of the records that are the same for every run here: the machine and the versions."""


@dataclass(frozen=True, kw_only=True)
class TimingItem:
    """A configuration to be timed."""

    spec: RunSpec
    """The run whose weights are used."""
    run_id: str
    """Its identity."""
    checkpoint: str | None
    """File with its final weights; None: they are gone, and fresh ones are used."""
