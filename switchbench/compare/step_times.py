"""The ratio of two exclusive step times, with the error that the scatter of the steps leaves in it."""

import math

from switchbench.compare.intervals import Contrast, add_errors
from switchbench.record import TimingRecord

IQR_OF_NORMAL = 1.349
"""The distance between the quartiles of a normal distribution, in standard deviations."""
MEDIAN_OVER_MEAN = math.sqrt(math.pi / 2)
"""How much larger the standard error of a median is than that of a mean, where steps scatter normally."""
IQR_EFFICIENCY = 0.37
"""The degrees of freedom that the quartiles of n values tell their spread by, as a share of n - 1."""


def step_time_contrast(dense: TimingRecord | None, sparse: TimingRecord | None) -> Contrast | None:
    """Compare step times: ``ln(sparse/dense)`` of the medians; None where one was not timed.

    A median's standard error is ``1.2533 · IQR/1.349 / √n``, and that of its logarithm the same over the median. What
    the machine did from one minute to the next is in it only as far as the steps were taken in turns.

    Args:
        dense: The dense twin's timing.
        sparse: The sparse configuration's.
    """
    if dense is None or sparse is None:
        return None
    return add_errors(math.log(sparse.step_time_s / dense.step_time_s), [_error_of(dense), _error_of(sparse)])


def log_error(median_s: float, *, q25_s: float, q75_s: float, num_steps: int) -> tuple[float, float]:
    """Give the standard error of the logarithm of a median step time, and its degrees of freedom.

    Args:
        median_s: The median.
        q25_s: First quartile.
        q75_s: Third quartile.
        num_steps: Steps that were timed.
    """
    error = MEDIAN_OVER_MEAN * (q75_s - q25_s) / IQR_OF_NORMAL / math.sqrt(num_steps)
    return error / median_s, max(1.0, IQR_EFFICIENCY * (num_steps - 1))


def _error_of(timing: TimingRecord) -> tuple[float, float]:
    return log_error(
        timing.step_time_s,
        q25_s=timing.step_time_q25_s,
        q75_s=timing.step_time_q75_s,
        num_steps=timing.num_steps,
    )
