"""Counts what happens in a sweep, and estimates what is left: what both displays show."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from switchbench.launch.events import (
    Event,
    Preparing,
    RunElsewhere,
    RunEnded,
    RunProgressed,
    RunRetried,
    RunStarted,
    SweepStarted,
    Ticked,
    TimingEnded,
    TimingProgressed,
    Warned,
)
from switchbench.launch.plan import PlannedCell
from switchbench.record import FINAL_STATUSES

MIN_SECONDS = 3.0
"""Before that, an estimate of the time left would be a guess."""


@dataclass(kw_only=True)
class RunningRun:
    """A run that is under way."""

    cell: PlannedCell
    """The run."""
    seconds: Callable[[], float]
    """Gives the time since its start."""
    tokens_done: int = 0
    """Tokens trained so far, cooldowns included."""
    fraction: float = 0.0
    """Share of its tokens that is trained."""
    nll: float | None = None
    """Latest held-out nll, nats per token."""

    @property
    def tokens_per_second(self) -> float | None:
        """Mean rate so far, evaluations included."""
        seconds = self.seconds()
        return self.tokens_done / seconds if self.tokens_done and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time to its end."""
        return _seconds_left(self.seconds(), done=self.fraction, left=1 - self.fraction)


class Tally:
    """The state of a sweep as far as it can be seen from the events.

    Args:
        clock: Returns seconds; only differences are used.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._estimated_s: float | None = None
        self._left: dict[str, float] = {}
        """FLOPs of the runs that have not ended."""
        self._computed = 0.0
        """FLOPs that the ended runs really took."""
        self.total = 0
        """Runs of this command."""
        self.ended = 0
        """Runs that have ended, well or not."""
        self.failed = 0
        """Those of them that left no result."""
        self.running: dict[str, RunningRun] = {}
        """The runs under way, by run_id."""
        self.preparing: Preparing | None = None
        """What is being prepared; None: nothing."""
        self.timing: TimingProgressed | None = None
        """How far the timing pass is; None: not under way."""

    def take(self, event: Event) -> None:
        """Take notice of an event."""
        match event:
            case Preparing():
                self.preparing = event
            case SweepStarted():
                self.preparing = None
                self._started = self._clock()
                self._estimated_s = event.estimated_s
                self._left = {cell.spec.run_id: cell.cost.trained_flops.useful for cell in event.cells}
                self._computed = 0.0
                self.total = self.ended + len(event.cells)  # where values are tuned there is one stage after another
            case RunStarted():
                self.running[event.cell.spec.run_id] = RunningRun(cell=event.cell, seconds=self._stopwatch())
            case RunProgressed():
                run = self.running[event.cell.spec.run_id]
                run.fraction = event.tokens_done / event.tokens_total
                run.tokens_done, run.nll = event.tokens_done, event.nll
            case RunEnded():
                run = self.running.pop(event.cell.spec.run_id)
                flops = self._left.pop(event.cell.spec.run_id)
                self._computed += flops * (1.0 if event.status == "ok" else run.fraction)
                self.ended += 1
                self.failed += event.status not in FINAL_STATUSES
            case RunRetried():
                self.running.pop(event.cell.spec.run_id)
            case RunElsewhere(status=None):
                pass
            case RunElsewhere():
                self._left.pop(event.cell.spec.run_id)
                self.total -= 1
            case TimingProgressed():
                self.preparing, self.timing = None, event
            case TimingEnded():
                self.preparing, self.timing = None, None
            case Warned() | Ticked():
                pass
            case _:
                assert_never(event)

    @property
    def fraction(self) -> float:
        """Share of all runs' FLOPs that is done with: computed, or given up by a run that failed."""
        left, computed = self._work()
        return computed / (left + computed) if left + computed else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the last run, from the FLOPs so far, and before there are any from the estimate.

        None: too early to tell, and nothing was estimated.
        """
        left, computed = self._work()
        seconds = self._clock() - self._started
        seen = _seconds_left(seconds, done=computed, left=left)
        return max(self._estimated_s - seconds, 0.0) if seen is None and self._estimated_s is not None else seen

    def _work(self) -> tuple[float, float]:
        """FLOPs that are left, and FLOPs that are computed."""
        under_way = sum(self._left[run_id] * run.fraction for run_id, run in self.running.items())
        return sum(self._left.values()) - under_way, self._computed + under_way

    def _stopwatch(self) -> Callable[[], float]:
        started = self._clock()
        return lambda: self._clock() - started


def _seconds_left(seconds: float, *, done: float, left: float) -> float | None:
    return None if seconds < MIN_SECONDS or done <= 0 else seconds * left / done
