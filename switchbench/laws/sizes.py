"""Which runs are of one size: a sparse model and its dense twin are, though a router adds parameters to one of them."""

from dataclasses import dataclass

import numpy as np

from switchbench.laws.points import Floats, Indices, Observations

TWINS_WITHIN = 1.15
"""A sparse model within this factor of a dense one's parameters is of its size: the rest is its router."""
SAME_WITHIN = 1.02
"""Dense twins of several sparse models differ by less than this factor."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of runs."""

    values: Floats
    """Parameters of each size, ascending: those of its smallest dense runs, where it has any."""
    index: Indices
    """The size of each row."""

    @property
    def number(self) -> int:
        """How many sizes there are."""
        return len(self.values)


def sizes_of(observations: Observations) -> Sizes:
    """Find the sizes of runs.

    Where all runs have as many experts, every N is a size. Else the dense runs say which sizes there are, and sparse
    ones near them belong to them.

    Args:
        observations: The runs.
    """
    n, experts = observations.n, observations.experts
    if len(n) == 0 or np.ptp(experts) == 0:
        values, index = np.unique(n, return_inverse=True)
        return Sizes(values=values, index=index.reshape(-1))
    anchors: list[float] = []
    for size in np.unique(n[experts == experts.min()]):
        if not anchors or size > SAME_WITHIN * anchors[-1]:
            anchors.append(float(size))
    # The nearest is the one below or the one above the geometric mean of the two.
    middles = np.sqrt(np.array(anchors[1:]) * np.array(anchors[:-1]))
    anchor = np.array(anchors)[np.searchsorted(middles, n)]
    belongs = np.abs(np.log(n / anchor)) <= np.log(TWINS_WITHIN)
    values, index = np.unique(np.where(belongs, anchor, n), return_inverse=True)
    return Sizes(values=values, index=index.reshape(-1))
