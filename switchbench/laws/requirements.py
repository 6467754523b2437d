"""What runs must offer before a law can be fitted to them at all."""

import numpy as np

from switchbench.errors import UnfittableError
from switchbench.laws.law import Law
from switchbench.laws.points import Observations
from switchbench.laws.sizes import sizes_of

JOINT_FROM_ROWS = 50
"""Eleven parameters need as many runs as this."""
WIDEST_LOSSES, WIDEST_SIZES = 1e3, 1e15
"""Rows whose losses, or sizes, span more than this factor are not all runs of language models."""


def require_enough(law: Law, observations: Observations) -> None:
    """Refuse runs that leave parameters of a law without any meaning.

    Raises:
        UnfittableError: too few rows, or too few sizes, experts or tokens; says how many there are and what to do.
    """
    name, rows, parameters = law.name, len(observations), len(law.parameters)
    least = JOINT_FROM_ROWS if name == "joint-moe" else parameters
    if rows < least:
        raise UnfittableError(
            f"{name} has {parameters} parameters and needs at least {least} usable rows; there "
            f"{'is' if rows == 1 else 'are'} {rows if rows else 'none'}. Add runs, or fit a simpler law."
        )
    if np.ptp(observations.loss) == 0:
        raise UnfittableError(
            f"all {rows} losses are equal ({observations.loss[0]:g}): no law can be told apart from a constant. "
            "Check which column the loss is read from."
        )
    for what, values, widest in (
        ("losses", observations.loss, WIDEST_LOSSES),
        ("sizes N", observations.n, WIDEST_SIZES),
    ):
        low, high = float(values.min()), float(values.max())
        if high / widest > low:
            raise UnfittableError(
                f"the {what} reach from {low:.3g} to {high:.3g}, which no law of models does. Check which column they "
                "are read from, or leave out what is none with a filter."
            )
    sizes = sizes_of(observations).number
    least_sizes = 2 if name in ("power", "clark") else 3
    if sizes < least_sizes:
        extent = f"N from {observations.n.min():.3g} to {observations.n.max():.3g}"
        raise UnfittableError(
            f"{name} needs at least {least_sizes} different sizes N; the rows have {sizes} ({extent}; a sparse model "
            f"is of its dense twin's size). Add runs of other sizes{', or fit power' if sizes == 2 else ''}."
        )
    if law.uses_experts and len(np.unique(observations.experts)) < 2:
        raise UnfittableError(
            f"{name} needs at least two different numbers of experts; all rows have {observations.experts[0]:g}. "
            "Fit power or chinchilla, or name the column of experts."
        )
    if law.uses_tokens and observations.d is None:
        raise UnfittableError(f"{name} needs the training tokens D of every row; no column is known to hold them.")
    if law.uses_tokens and observations.d is not None and len(np.unique(observations.d)) < 3:
        tokens = len(np.unique(observations.d))
        raise UnfittableError(
            f"{name} needs at least 3 different numbers of training tokens D; the rows have {tokens}. "
            f"Fit {'routed' if law.uses_experts else 'power'}, or add runs of other lengths."
        )
