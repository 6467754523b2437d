"""Step times: warm-up excluded, median and interquartile range. Pure Python; the synchronize call is an argument."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class TimeSummary:
    """The distribution of repeated timings of one thing, in seconds."""

    median_s: float
    """Median."""
    q25_s: float
    """First quartile."""
    q75_s: float
    """Third quartile."""
    count: int
    """Number of timings, warm-up excluded."""


def summarize(times_s: Sequence[float]) -> TimeSummary:
    """Summarize timings by their median and quartiles (inclusive method: the extremes are the 0 and 1 quantiles).

    >>> summarize([3.0, 1.0, 2.0])
    TimeSummary(median_s=2.0, q25_s=1.5, q75_s=2.5, count=3)

    Raises:
        ValueError: no timing was given.
    """
    if not times_s:
        raise ValueError("no timings to summarize")
    if len(times_s) == 1:
        return TimeSummary(median_s=times_s[0], q25_s=times_s[0], q75_s=times_s[0], count=1)
    q25, median, q75 = statistics.quantiles(times_s, n=4, method="inclusive")
    return TimeSummary(median_s=median, q25_s=q25, q75_s=q75, count=len(times_s))


@dataclass
class Stopwatch:
    """Collects the times of named parts.

    Args:
        synchronize: Called before every reading of the clock; waits until the device has done what was asked of it.
        clock: Returns seconds; only differences are used.
    """

    synchronize: Callable[[], None]
    clock: Callable[[], float] = time.perf_counter
    times_s: dict[str, list[float]] = field(default_factory=dict)
    """The collected times of each part, in the order they were taken."""

    @contextmanager
    def part(self, name: str, *, keep: bool = True) -> Iterator[None]:
        """Time the block and file it under a name, unless it is a warm-up (``keep=False``)."""
        self.synchronize()
        start = self.clock()
        yield
        self.synchronize()
        elapsed = self.clock() - start
        if keep:
            self.times_s.setdefault(name, []).append(elapsed)
