"""The sweep language: from a YAML file to checked runs.

A file is read in steps, and the problems of all steps are reported at once:

``source``     the text, places in it, and the problems found
``document``   YAML text to a tree whose keys and values know their places
``overrides``  KEY=VALUE settings are put into the tree
``fields``     the table of fields, read off the specifications; ``values`` checks one value
``outline``    the tree to base, axes, seeds and baselines: every key known, every value good on its own
``expand``     the grid multiplied, every cell checked as a whole, equal ones merged
``cells``      the seeds and the dense twins of ``twins`` added, in the order to run and to read
"""

from switchbench.sweep.cells import Cell, Sweep, describe_cell
from switchbench.sweep.load import load_sweep

__all__ = ["Cell", "Sweep", "describe_cell", "load_sweep"]
