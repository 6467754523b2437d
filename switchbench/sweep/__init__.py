"""The sweep language: from a YAML file to checked runs.

A file is read in steps, and the problems of all steps are reported at once:

``source``     the text, places in it, and the problems found
``document``   YAML text to a tree whose keys and values know their places
``parents``    the tree merged into those of the files that it extends
``overrides``  KEY=VALUE settings are put into the tree
``fields``     the table of fields, read off the specifications; ``values`` checks one value
``outline``    the tree to base, ``axes``, ``formulas``, seeds, baselines, the primary ``pair`` and the ``controls``,
               named by a ``selection`` of values: every key known, and every value good on its own
``expand``     the axes multiplied, values derived from ``names``, constraints met; ``resolve`` checks whole cells
``tune``       what is tuned, and on which seeds
``cells``      the seeds and the dense twins added (``twins``, ``shapes``), in the order to run and to read
``tuning``     tries in place of what is tuned, as many for dense as for sparse cells (``grids``, ``refinement``), and
               from their results the cells with the best values

Beside this: ``filters`` chooses cells, ``inventory`` says what a file comes to, ``schema`` what it may hold,
``starter`` writes one to start from.
"""

from switchbench.sweep.cells import Cell, Choice, Sweep, Try, Tuning, describe_cell, describe_settings
from switchbench.sweep.controls import Control
from switchbench.sweep.filters import CellFilter, parse_filter
from switchbench.sweep.formulas import Dropped
from switchbench.sweep.inventory import dropped_lines, inventory_json, inventory_line
from switchbench.sweep.load import load_sweep
from switchbench.sweep.pair import Primary
from switchbench.sweep.schema import file_schema
from switchbench.sweep.starter import write_starter
from switchbench.sweep.tuning import MAX_EXTENSIONS, TryEnd, choose

__all__ = [
    "MAX_EXTENSIONS",
    "Cell",
    "CellFilter",
    "Choice",
    "Control",
    "Dropped",
    "Primary",
    "Sweep",
    "Try",
    "TryEnd",
    "Tuning",
    "choose",
    "describe_cell",
    "describe_settings",
    "dropped_lines",
    "file_schema",
    "inventory_json",
    "inventory_line",
    "load_sweep",
    "parse_filter",
    "write_starter",
]
