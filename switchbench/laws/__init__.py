"""Laws of loss: functional forms, an exact fit, and how sure it is.

Arithmetic alone: rows come as arrays (``Observations``), and nothing is read or printed here.
"""

from switchbench.laws.backtest import Backtest, Trial, backtest
from switchbench.laws.budgets import Budget, BudgetAnswer, Option, TotalParameters, best_under_budget, total_parameters
from switchbench.laws.derived import (
    Place,
    Quantity,
    derived_quantities,
    log_dense_equivalent,
    parameter_quantities,
    prediction,
)
from switchbench.laws.fit import LawFit, fit_law, refit
from switchbench.laws.forms import form_named
from switchbench.laws.goodness import Goodness, Rival, compare_forms, hold_out_largest, judge
from switchbench.laws.intervals import Interval, intervals
from switchbench.laws.law import LAW_NAMES, Law, LawName
from switchbench.laws.losses import Loss, parse_loss
from switchbench.laws.optima import Optimum, compute_optimal
from switchbench.laws.points import Center, Observations
from switchbench.laws.resampling import Grouping, group_rows, resample
from switchbench.laws.study import FitStudy, study_law

__all__ = [
    "LAW_NAMES",
    "Backtest",
    "Budget",
    "BudgetAnswer",
    "Center",
    "FitStudy",
    "Goodness",
    "Grouping",
    "Interval",
    "Law",
    "LawFit",
    "LawName",
    "Loss",
    "Observations",
    "Optimum",
    "Option",
    "Place",
    "Quantity",
    "Rival",
    "TotalParameters",
    "Trial",
    "backtest",
    "best_under_budget",
    "compare_forms",
    "compute_optimal",
    "derived_quantities",
    "fit_law",
    "form_named",
    "group_rows",
    "hold_out_largest",
    "intervals",
    "judge",
    "log_dense_equivalent",
    "parameter_quantities",
    "parse_loss",
    "prediction",
    "refit",
    "resample",
    "study_law",
    "total_parameters",
]
