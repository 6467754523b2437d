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
    return add_errors(math.log(sparse.step_time_s / dense.step_time_s), [_log_error(dense), _log_error(sparse)])


def _log_error(timing: TimingRecord) -> tuple[float, float]:
    """The standard error of the logarithm of a step time, and its degrees of freedom."""
    deviation = (timing.step_time_q75_s - timing.step_time_q25_s) / IQR_OF_NORMAL
    error = MEDIAN_OVER_MEAN * deviation / math.sqrt(timing.num_steps)
    return error / timing.step_time_s, max(1.0, IQR_EFFICIENCY * (timing.num_steps - 1))
