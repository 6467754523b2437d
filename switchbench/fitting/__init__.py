"""`switchbench fit`: from a table of runs, ours or a stranger's, to a law with its doubts."""

from switchbench.fitting.backtests import backtest_words
from switchbench.fitting.document import fit_json
from switchbench.fitting.request import FitRequest, TableFit, fit_table
from switchbench.fitting.storage import folder_of, signed_json, store_fit
from switchbench.fitting.sweeps import SweepFit, fit_sweep
from switchbench.fitting.tables import print_fit

__all__ = [
    "FitRequest",
    "SweepFit",
    "TableFit",
    "backtest_words",
    "fit_json",
    "fit_sweep",
    "fit_table",
    "folder_of",
    "print_fit",
    "signed_json",
    "store_fit",
]
