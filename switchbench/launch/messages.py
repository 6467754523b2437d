"""What processes tell the one that started them. No torch here: unpickling a message imports the module of its class.

A process sends pairs of a word and a value over its connection:

=================  ===========  =========================================================
``probe_machine``  ``machine``  ``Machine``, once
``run_worker``     ``progress`` ``Progress``, at most about five times a second
                   ``done``     ``RunResult``, once, as the last; without it the run failed
``try_shape``      ``ready``    None: warmed up, and going on until it is told to measure
                   ``times``    ``StepTimes``, once; then it goes on until the connection is closed
                   ``failed``   why not, in words
``time_config…``   ``progress`` share of the work that is done, from 0 to 1
                   ``timings``  list of ``TimingRecord``, once, as the last
=================  ===========  =========================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from switchbench.record import Progress, RunResult
from switchbench.spec import RunSpec

__all__ = ["Machine", "Progress", "RunResult", "StepTimes", "TimingItem"]

STEP_TIMES_SCHEMA: Literal[1] = 1
"""Version of a kept ``StepTimes``; a file of another one is as good as none."""


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


class StepTimes(BaseModel):
    """How long the parts of a run of one shape take, with as many runs side by side as the sweep has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    schema_version: Literal[1] = STEP_TIMES_SCHEMA
    """Version of this record."""
    step_time_s: float = Field(gt=0)
    """Median time of a step, batch and routing statistics included."""
    eval_time_per_token_s: float = Field(gt=0)
    """Median time of an evaluation, over its tokens: dropless and with limited experts, as far as the run has both."""
    build_time_s: float = Field(ge=0)
    """Time to build the model, and what the first steps take longer than others."""
    start_time_s: float = Field(ge=0)
    """Time from the start of the process to the building of the model."""
    cpu_share: float | None = Field(ge=0)
    """CPU time over wall-clock and threads; 1: had its cores to itself. None on a GPU."""
    device: Literal["cpu", "cuda"]
    """Where it was measured: what ``auto`` means here."""
    workers: int = Field(ge=1)
    """Processes side by side while it was measured."""
    measured_at_s: float
    """Seconds since 1970."""
