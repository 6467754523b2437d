"""What is measured of a pair, and one measure of one pair: a value with its interval, or the reason for none."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from switchbench.compare.intervals import Contrast, ratio_interval
from switchbench.compare.verdicts import Verdict

Measure = Literal[
    "delta_nll",
    "step_speedup",
    "time_speedup",
    "flops_speedup_provisioned",
    "flops_speedup_executed",
    "break_even_step_time_ratio",
    "step_time_ratio",
    "flops_ratio_provisioned",
    "peak_memory_ratio",
    "delta_bits_per_byte",
]
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""What is measured of a pair; see ``Comparison``."""

DIFFERENCES: tuple[Measure, ...] = ("delta_nll", "delta_bits_per_byte")
"""Sparse less dense at the end of training: below 0, sparse wins."""
SPEEDUPS: tuple[Measure, ...] = MEASURES[1:6]
"""Dense over sparse at equal quality: above 1, sparse wins."""
RATIOS: tuple[Measure, ...] = MEASURES[6:9]
"""Sparse over dense, whatever the quality: above 1, sparse costs more."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure of one pair.

    ``delta_nll`` = nll_sparse - nll_dense at the end of training, nats per token: below 0, sparse is better; and
    ``delta_bits_per_byte`` likewise, which compares across tokenizers, too. Both are contrasts of quality ~
    configuration + seed, fitted to all runs of the sweep, with the noise of the whole sweep: see ``Effects``.
    The speed-ups are cost_dense(q) / cost_sparse(q), above 1 where sparse wins, with cost(q) what a configuration's
    seed-mean curve has cost where it first reaches the target q, which is the dense twin's seed-mean nll at its end:

    * ``step_speedup``: steps, which is tokens, since twins share the batch;
    * ``time_speedup``: step_speedup · (step_time_dense / step_time_sparse), with exclusive step times;
    * ``flops_speedup_provisioned``, ``flops_speedup_executed``: training FLOPs, padding counted or not;
    * ``break_even_step_time_ratio``: the tokens speed-up, read the other way round: sparse takes less time to the
      target wherever its step takes less than this many times the dense step, on whatever machine.

    The ratios are cost_sparse / cost_dense over the same training, below 1 where sparse is cheaper:

    * ``step_time_ratio``: exclusive step times of this machine, to be held against the break-even ratio;
    * ``flops_ratio_provisioned``: training FLOPs, padding counted;
    * ``peak_memory_ratio``: peak memory, means over seeds.

    Quality is the dropless nll throughout, which no capacity enters, so that models may be compared whatever
    ``eval_capacity_factor`` they have; ``nll_capacity``, where it does, is shown and never compared.

    Speed-ups and ratios take the same seeds on both sides, those that went well in both: a seed stands for the same
    order of the data and the same initial weights where the twins share them. Their errors are of the jackknife over
    seeds, on a log scale, and where time is in it those of the step times as well.

    Differences and speed-ups have a verdict, see ``judge_comparisons``; ratios of cost have none, since what is cheaper
    may be worse.

    Source:
        Switch Transformer, Figures 4-6 for the speed-ups. Departure: the paper reads them off runs in mid-schedule, we
        off annealed points; the paper gives no interval.
    """

    sweep: str
    """Name of the sweep."""
    dense: str
    """``config_id`` of the dense twin."""
    sparse: str
    """``config_id`` of the sparse configuration."""
    matched_on: str
    """What the two have in common: ``iso_flop``, ``iso_active_params`` or ``iso_total_params``; or
    ``iso_flop+iso_active_params`` where one twin is both; ``iso_time``: no twin, but the best dense configuration
    after as much training time, interpolated: see ``EqualTime``."""
    measure: Measure
    """What is measured."""
    value: float | None
    """The value; None: there is none, and the caveats say why."""
    target_nll: float | None
    """The quality at which both sides' costs are compared, nats per token: the dense twin's mean nll at its end, over
    ``seeds``; None where there are none."""
    ci95: tuple[float, float] | None
    """95% interval, not corrected for the number of pairs; for speed-ups and ratios on a log scale. None too for
    FLOPs by arithmetic."""
    standard_error: float | None
    """Standard error of the difference, or of the logarithm of the ratio; None: there is no interval. That of a bound
    is the step times' alone, and None too where another seed left out would put it on the other side of 1."""
    degrees_of_freedom: float | None
    """Of the standard error."""
    bound: Literal["lower", "upper"] | None
    """``lower``: the true value is above ``value``; ``upper``: below it; None: it is a value."""
    seeds: tuple[int, ...]
    """The seeds that both sides have."""
    by_seed: dict[int, float | None]
    """Each seed on its own: its difference or ratio, or its sparse curve's speed-up to the pair's common target."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""
    verdict: Verdict | None = None
    """Which side wins, at the report's confidence; None: there is nothing to judge, and the caveats say why, or it is a
    ratio of costs."""
    p_value: float | None = None
    """Two-sided p-value of no difference, not corrected; None: nothing was tested."""
    p_holm: float | None = None
    """The same, corrected for the number of pairs by Holm's method, but for the primary pair's."""
    resolvable: float | None = None
    """The smallest difference, or ratio above 1, that this pair would have been told by with a power of 80%, at the
    level that it is sure to be tested at; None: there is no interval."""

    @property
    def gain(self) -> Contrast | None:
        """How much better sparse is, above 0: the difference turned around, or the logarithm of the speed-up."""
        if self.value is None or self.standard_error is None or self.degrees_of_freedom is None:
            return None
        return Contrast(
            value=-self.value if self.measure in DIFFERENCES else math.log(self.value),
            standard_error=self.standard_error,
            degrees_of_freedom=self.degrees_of_freedom,
        )

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Give the interval at another confidence than 95%, of ratios clamped as in ``ratio_interval``; None: none."""
        gain = self.gain
        if gain is None or self.ci95 is None:
            return None
        if self.measure not in DIFFERENCES:
            return ratio_interval(gain, confidence)
        low, high = gain.interval(confidence)
        return -high, -low
