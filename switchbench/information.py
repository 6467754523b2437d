"""Entropy and mutual information from counts, in nats, without the bias that counting alone brings.

Axes: X, Y what is counted together.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.ArrayLike
"""How often each case, or pair of cases, was seen."""


def entropy(counts: Counts) -> float:
    """Entropy of what was counted: -Σ p·ln p + (K - 1)/(2n), K cases that were seen, n observations.

    Args:
        counts: Of any shape; not all of them 0.

    Returns:
        Nats.

    Source:
        Miller 1955, after Madow: the mean error of the plain estimate, to first order in 1/n.

    >>> round(entropy([50, 50]), 4), entropy([7, 0])
    (0.6981, 0.0)
    """
    seen = np.asarray(counts, dtype=np.float64)
    seen = seen[seen > 0]
    total = seen.sum()
    assert total > 0, "something was counted"
    share = seen / total
    return float(-(share * np.log(share)).sum() + (len(seen) - 1) / (2 * total))


def mutual_information(counts_XY: Counts) -> float:
    """What one says about the other: H(X) + H(Y) - H(X, Y), each by ``entropy``.

    Args:
        counts_XY: How often each pair was seen.

    Returns:
        Nats; where the two have nothing to do with each other, 0 on average, and so below 0 as often as above.

    >>> round(mutual_information([[500, 0], [0, 500]]), 3), round(mutual_information([[250, 250], [250, 250]]), 4)
    (0.694, -0.0005)
    """
    table = np.asarray(counts_XY)
    return entropy(table.sum(axis=1)) + entropy(table.sum(axis=0)) - entropy(table)
