"""Dense against sparse: what a sweep's pairs of twins say, how its costs grow, and how sure that is."""

from switchbench.compare.configurations import Configuration, gather_configurations, reference_machine
from switchbench.compare.curves import CurvePoint, first_crossing, mean_curve
from switchbench.compare.intervals import jackknife_ci95, t_quantile_975
from switchbench.compare.matches import MATCHED_ON, sort_kinds
from switchbench.compare.measures import MEASURES, RATIOS, SPEEDUPS, Comparison, Measure
from switchbench.compare.pairs import Pair, compare_pairs
from switchbench.compare.scaling import SCALING_COSTS, Scaling, ScalingCost, ScalingGroup, fit_scaling
from switchbench.compare.speedups import Estimate, speedup_of_curves

__all__ = [
    "MATCHED_ON",
    "MEASURES",
    "RATIOS",
    "SCALING_COSTS",
    "SPEEDUPS",
    "Comparison",
    "Configuration",
    "CurvePoint",
    "Estimate",
    "Measure",
    "Pair",
    "Scaling",
    "ScalingCost",
    "ScalingGroup",
    "compare_pairs",
    "first_crossing",
    "fit_scaling",
    "gather_configurations",
    "jackknife_ci95",
    "mean_curve",
    "reference_machine",
    "sort_kinds",
    "speedup_of_curves",
    "t_quantile_975",
]
