"""Dense against sparse at equal quality: what a sweep's pairs of twins say, and how sure that is."""

from switchbench.compare.configurations import Configuration, gather_configurations, reference_machine
from switchbench.compare.curves import CurvePoint, first_crossing, mean_curve
from switchbench.compare.intervals import jackknife_ci95, t_quantile_975
from switchbench.compare.pairs import MEASURES, Comparison, Measure, Pair, compare_pairs

__all__ = [
    "MEASURES",
    "Comparison",
    "Configuration",
    "CurvePoint",
    "Measure",
    "Pair",
    "compare_pairs",
    "first_crossing",
    "gather_configurations",
    "jackknife_ci95",
    "mean_curve",
    "reference_machine",
    "t_quantile_975",
]
