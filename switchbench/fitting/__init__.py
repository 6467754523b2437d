"""`switchbench fit`: from a table of runs, ours or a stranger's, to a law with its doubts."""

from switchbench.fitting.document import fit_json
from switchbench.fitting.request import FitRequest, TableFit, fit_table
from switchbench.fitting.tables import print_fit

__all__ = ["FitRequest", "TableFit", "fit_json", "fit_table", "print_fit"]
