"""What twins are matched on, in words, and where a table has to say it."""

from collections.abc import Sequence

from switchbench.compare import Pair
from switchbench.report.elements import Cell, Column
from switchbench.units import UNKNOWN

MATCHED_ON_COLUMN = Column(key="matched_on", header="matched\non", is_label=True)
"""What a pair has in common, or what a dense configuration shares with the sparse ones whose twin it is."""

_ALONE = {"iso_flop": "FLOPs", "iso_active_params": "active params", "iso_total_params": "total params"}
_TOGETHER = {"iso_flop": "FLOPs", "iso_active_params": "active", "iso_total_params": "total"}
_IN_FULL = {
    "iso_flop": "useful FLOPs per token",
    "iso_active_params": "active parameters",
    "iso_total_params": "total parameters",
}


def shows_matches(pairs: Sequence[Pair]) -> bool:
    """Whether a table must say what twins are matched on: not where all are of equal FLOPs, which is the usual."""
    return any(pair.matched_on != ("iso_flop",) for pair in pairs)


def matched_on_cell(kinds: Sequence[str]) -> Cell:
    """Name ways to match in a table.

    >>> matched_on_cell(["iso_active_params"]).text, matched_on_cell(["iso_flop", "iso_active_params"]).text
    ('active params', 'FLOPs, active')
    """
    names = _ALONE if len(kinds) == 1 else _TOGETHER
    return Cell(text=", ".join(names.get(kind, kind) for kind in kinds) or UNKNOWN, value="+".join(kinds) or None)


def equal_in(kinds: Sequence[str]) -> str:
    """Say in a sentence what twins have in common.

    >>> equal_in(["iso_flop", "iso_active_params"]), equal_in(["iso_total_params"])
    ('equal useful FLOPs per token and active parameters', 'equal total parameters')
    """
    return f"equal {' and '.join(_IN_FULL.get(kind, kind) for kind in kinds)}"
