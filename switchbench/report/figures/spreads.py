"""Means over seeds with their 95% intervals, as figures draw them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from switchbench.compare import Configuration, t_quantile_975


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A mean over seeds."""

    mean: float
    """The mean."""
    ci95: tuple[float, float] | None
    """Its 95% interval; None: one seed."""
    values: tuple[float, ...]
    """What it is the mean of."""

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of its interval; the mean itself where there is none."""
        return self.ci95 or (self.mean, self.mean)

    def scaled(self, factor: float) -> "Spread":
        """The same in another unit."""
        ci95 = self.ci95 and (self.ci95[0] * factor, self.ci95[1] * factor)
        return Spread(mean=self.mean * factor, ci95=ci95, values=tuple(value * factor for value in self.values))


def spread_of(values: Sequence[float]) -> Spread:
    """Give the mean with Student's interval, ``mean ± t(n-1) · sd/√n``.

    Args:
        values: One per seed; at least one.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Spread(mean=mean, ci95=None, values=tuple(values))
    half_width = t_quantile_975(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Spread(mean=mean, ci95=(mean - half_width, mean + half_width), values=tuple(values))


def spread_over_seeds(configuration: Configuration, column: str) -> Spread | None:
    """Give the mean of a column over the seeds of a configuration that went well; None where no run has a value.

    Args:
        configuration: The configuration.
        column: A numeric field of ``RunRecord``.
    """
    values = [getattr(row, column) for row in configuration.finished.values()]
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return spread_of(known) if known else None


def means_text(numbers: Sequence[int], *, have_intervals: bool = True) -> str:
    """Say from how many seeds means are, and what is drawn around them.

    >>> means_text([4, 4]), means_text([1])
    ('means over 4 seeds with their 95% intervals', 'single runs, of one seed')

    Args:
        numbers: How many seeds each mean is over.
        have_intervals: Whether their intervals are drawn.
    """
    if max(numbers) == 1:
        return "single runs, of one seed"
    return f"means over {seeds_text(numbers)}" + (" with their 95% intervals" if have_intervals else "")


def seeds_text(numbers: Sequence[int]) -> str:
    """Say from how many seeds means are.

    >>> seeds_text([4, 4]), seeds_text([1]), seeds_text([2, 4])
    ('4 seeds', '1 seed', '2 to 4 seeds')
    """
    low, high = min(numbers), max(numbers)
    return ("1 seed" if high == 1 else f"{high} seeds") if low == high else f"{low} to {high} seeds"
