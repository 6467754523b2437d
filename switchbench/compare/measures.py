"""What is measured of a pair, and one measure of one pair: a value with its interval, or the reason for none."""

from dataclasses import dataclass
from typing import Literal, get_args

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
]
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""What is measured of a pair; see ``Comparison``."""

SPEEDUPS: tuple[Measure, ...] = MEASURES[1:6]
"""Dense over sparse at equal quality: above 1, sparse wins."""
RATIOS: tuple[Measure, ...] = MEASURES[6:]
"""Sparse over dense, whatever the quality: above 1, sparse costs more."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure of one pair.

    ``delta_nll`` = nll_sparse - nll_dense at the end of training, nats per token: below 0, sparse is better.
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

    Both sides take the same seeds, those that went well in both: a seed stands for the same order of the data and the
    same initial weights where the twins share them.

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
    ``iso_flop+iso_active_params`` where one twin is both."""
    measure: Measure
    """What is measured."""
    value: float | None
    """The value; None: there is none, and the caveats say why."""
    target_nll: float | None
    """The quality at which both sides' costs are compared, nats per token: the dense twin's mean nll at its end, over
    ``seeds``; None where there are none."""
    ci95: tuple[float, float] | None
    """95% interval over seeds, for speed-ups and ratios on a log scale; the step time's own spread is not in it. None
    too for what no seed changes: step time, timed once, and FLOPs by arithmetic."""
    bound: Literal["lower", "upper"] | None
    """``lower``: the true value is above ``value``; ``upper``: below it; None: it is a value."""
    seeds: tuple[int, ...]
    """The seeds that both sides have."""
    by_seed: dict[int, float | None]
    """Each seed on its own: its difference or ratio, or its sparse curve's speed-up to the pair's common target."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""
