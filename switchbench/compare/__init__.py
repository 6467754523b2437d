"""Dense against sparse: what a sweep's pairs of twins say, how its costs grow, and how sure that is."""

from switchbench.compare.baselines import BaselineSweep, Counterpart, SweepChanges, compare_with_baseline
from switchbench.compare.budgets import BestUnderBudget, Budget, Choice, best_under, least_of
from switchbench.compare.changes import CHANGE_MEASURES, Change, ChangeMeasure, ChangeVerdict
from switchbench.compare.configurations import Configuration, gather_configurations, reference_machine
from switchbench.compare.controls import ControlResult, compare_controls
from switchbench.compare.curves import CurvePoint, first_crossing, mean_curve
from switchbench.compare.equal_time import ISO_TIME, EqualTime, compare_at_equal_time
from switchbench.compare.frontier import Frontier, FrontierStretch, common_range, find_frontiers, reaches_of
from switchbench.compare.intervals import Contrast, t_quantile_975
from switchbench.compare.judgements import Rules, SweepVerdict, judge_comparisons, judge_pairs, judge_sweep
from switchbench.compare.matches import MATCHED_ON, sort_kinds
from switchbench.compare.measures import DIFFERENCES, MEASURES, RATIOS, SPEEDUPS, Comparison, Measure
from switchbench.compare.pairs import Pair, compare_pairs
from switchbench.compare.pool import RESOURCES, Pool, Resource, pool_of
from switchbench.compare.scaling import SCALING_COSTS, Scaling, ScalingCost, ScalingGroup, fit_scaling
from switchbench.compare.speedups import Estimate, speedup_of_curves
from switchbench.compare.verdicts import Verdict

__all__ = [
    "CHANGE_MEASURES",
    "DIFFERENCES",
    "ISO_TIME",
    "MATCHED_ON",
    "MEASURES",
    "RATIOS",
    "RESOURCES",
    "SCALING_COSTS",
    "SPEEDUPS",
    "BaselineSweep",
    "BestUnderBudget",
    "Budget",
    "Change",
    "ChangeMeasure",
    "ChangeVerdict",
    "Choice",
    "Comparison",
    "Configuration",
    "Contrast",
    "ControlResult",
    "Counterpart",
    "CurvePoint",
    "EqualTime",
    "Estimate",
    "Frontier",
    "FrontierStretch",
    "Measure",
    "Pair",
    "Pool",
    "Resource",
    "Rules",
    "Scaling",
    "ScalingCost",
    "ScalingGroup",
    "SweepChanges",
    "SweepVerdict",
    "Verdict",
    "best_under",
    "common_range",
    "compare_at_equal_time",
    "compare_controls",
    "compare_pairs",
    "compare_with_baseline",
    "find_frontiers",
    "first_crossing",
    "fit_scaling",
    "gather_configurations",
    "judge_comparisons",
    "judge_pairs",
    "judge_sweep",
    "least_of",
    "mean_curve",
    "pool_of",
    "reaches_of",
    "reference_machine",
    "sort_kinds",
    "speedup_of_curves",
    "t_quantile_975",
]
