"""The noise of a sweep: quality ~ configuration + seed over all its runs, with one variance or with moderated ones.

Runs that share a seed share the order of their data and, where they have it, their initial weights, so a seed shifts
all of them alike, and what is left is the noise that a comparison has to beat. A pair's own few seeds say little about
that noise; all runs of the sweep together say much more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, digamma, polygamma

from switchbench.compare.intervals import Contrast

SMALLEST_VARIANCE = 1e-5
"""Share of the median below which a variance counts as this much in the search for the prior, as in limma."""
NEGLIGIBLE = 1e-8
"""Weights and degrees of freedom below this are rounding errors."""
LEAST_FREEDOM = 2.0
"""Degrees of freedom of a pair's own error, if there are as many in the whole sweep."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The quality of one run."""

    config_id: str
    """Its configuration."""
    block: str
    """What it shares with other runs: the seed, of the same repetition and on the same data."""
    value: float
    """Its quality, such as its nll."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The variance of the residuals."""

    variance: float
    """Pooled over all configurations."""
    degrees_of_freedom: int
    """Residual degrees of freedom."""
    variances: dict[str, float]
    """What each configuration is judged by, by ``config_id``: the pooled variance or, where the configurations' own
    differ by more than chance, its own drawn toward a prior one."""
    own_degrees_of_freedom: dict[str, float]
    """The share of each configuration in the degrees of freedom."""
    prior_degrees_of_freedom: float
    """How many degrees of freedom the prior variance counts for; infinite: one variance for all."""
    homogeneity_p: float | None
    """Bartlett's test of equal variances; None: there are no two variances that could differ."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """A sweep's runs, and what they say about configurations and about the noise."""

    noise: Noise | None
    """The noise; None: there are too few runs to tell."""
    rows: dict[str, list[int]]
    """The rows of each configuration, by ``config_id``."""
    values: _Floats
    """The quality of each row."""
    blocks: _Floats
    """Rows x blocks, 1 where the row is of the block."""
    centered: _Floats
    """The same less the mean of the row's configuration."""
    inverse: _Floats
    """Blocks x blocks, the pseudo-inverse of ``centered.T @ centered``."""

    def contrast(self, sparse: str, dense: str) -> Contrast | None:
        """Compare two configurations by least squares: sparse less dense; None where nothing tells the noise.

        With w the weights of the rows, ``value = Σ w·y`` and ``standard_error² = Σ w²·variance``: where every
        configuration has every seed, the mean difference and the two variances over the number of seeds.

        Variances that are drawn together make noisy configurations look less noisy than they are, and a pair of them
        would be told apart too often. So where the pair's own differences by seed scatter more than that, their error
        counts, with the n - 1 degrees of freedom of a paired t test over n seeds; of two seeds with 2, since one would
        make any of them undecidable, and is not needed: they are told apart in 5% with 2.

        Args:
            sparse: ``config_id`` of the one.
            dense: ``config_id`` of the other.
        """
        if self.noise is None or sparse not in self.rows or dense not in self.rows:
            return None
        weights = np.zeros(len(self.values))
        weights[self.rows[sparse]] = 1 / len(self.rows[sparse])
        weights[self.rows[dense]] = -1 / len(self.rows[dense])
        tilt = weights @ self.blocks
        tilt[np.abs(tilt) < NEGLIGIBLE] = 0  # both sides have the same seeds
        unseen = tilt - tilt @ self.inverse @ (self.centered.T @ self.centered)
        if np.abs(unseen).max(initial=0.0) > NEGLIGIBLE:  # no chain of shared seeds leads from one to the other
            return None
        shift = self.centered @ (self.inverse @ tilt)
        weights -= shift
        of_sparse, of_dense = (float(self.values[self.rows[side]].mean()) for side in (sparse, dense))
        variances = np.zeros(len(self.values))
        for config_id, rows in self.rows.items():
            variances[rows] = self.noise.variances[config_id]
        freedom = min(self.noise.own_degrees_of_freedom[sparse], self.noise.own_degrees_of_freedom[dense])
        degrees = min(self.noise.prior_degrees_of_freedom + freedom, float(self.noise.degrees_of_freedom))
        error2 = float(weights**2 @ variances)
        differences = self._differences(sparse, dense)
        if len(differences) > 1 and (own := float(np.var(differences, ddof=1)) / len(differences)) > error2:
            error2, degrees = own, min(degrees, max(LEAST_FREEDOM, len(differences) - 1.0))
        return Contrast(
            value=of_sparse - of_dense - float(shift @ self.values),
            standard_error=math.sqrt(error2),
            degrees_of_freedom=max(1.0, degrees),
        )

    def _differences(self, sparse: str, dense: str) -> list[float]:
        """The pair's own differences, one per block that both have."""
        values, others = (
            {int(self.blocks[row].argmax()): float(self.values[row]) for row in self.rows[side]}
            for side in (sparse, dense)
        )
        return [value - others[block] for block, value in values.items() if block in others]


def fit_effects(observations: Sequence[Observation]) -> Effects:
    """Fit the model by least squares; runs may be missing.

    Source:
        Moderated variances: Smyth 2004, "Linear models and empirical Bayes methods" (limma); prior degrees of freedom
        by the moments of the variances' logarithms. Departure: see ``Effects.contrast``.
    """
    config_ids = list(dict.fromkeys(each.config_id for each in observations))
    blocks = {block: column for column, block in enumerate(dict.fromkeys(each.block for each in observations))}
    rows: dict[str, list[int]] = {config_id: [] for config_id in config_ids}
    indicators = np.zeros((len(observations), len(blocks)))
    for row, each in enumerate(observations):
        rows[each.config_id].append(row)
        indicators[row, blocks[each.block]] = 1
    values = np.array([each.value for each in observations])
    centered, residuals = indicators.copy(), values.copy()
    for members in rows.values():
        centered[members] -= indicators[members].mean(axis=0)
        residuals[members] -= values[members].mean()
    inverse: _Floats = np.zeros((0, 0))
    if blocks:
        inverse = np.linalg.pinv(centered.T @ centered, hermitian=True).astype(np.float64)
    residuals -= centered @ (inverse @ (centered.T @ residuals))
    rank = round(float(np.trace(inverse @ (centered.T @ centered))))
    degrees_of_freedom = len(observations) - len(rows) - rank
    # What is left of each row's degree of freedom once its configuration's and its block's share are taken out.
    freedom = 1 - np.einsum("ij,jk,ik->i", centered, inverse, centered)
    for members in rows.values():
        freedom[members] -= 1 / len(members)
    return Effects(
        noise=None
        if degrees_of_freedom < 1
        else _noise(
            {config_id: float(residuals[members] @ residuals[members]) for config_id, members in rows.items()},
            {config_id: float(freedom[members].sum()) for config_id, members in rows.items()},
            degrees_of_freedom=degrees_of_freedom,
        ),
        rows=rows,
        values=values,
        blocks=indicators,
        centered=centered,
        inverse=inverse,
    )


def _noise(squares: dict[str, float], freedom: dict[str, float], *, degrees_of_freedom: int) -> Noise:
    """Pool the variances, or moderate them.

    Args:
        squares: Sum of squared residuals of each configuration.
        freedom: Its share in the degrees of freedom.
        degrees_of_freedom: All of them.
    """
    pooled = sum(squares.values()) / degrees_of_freedom
    known = [config_id for config_id, own in freedom.items() if own > NEGLIGIBLE]
    own_variances = np.array([squares[config_id] / freedom[config_id] for config_id in known])
    own_freedom = np.array([freedom[config_id] for config_id in known])
    prior_variance, prior_freedom = pooled, math.inf
    if pooled > 0 and len(known) > 1:
        prior_variance, prior_freedom = _prior(own_variances, own_freedom, pooled=pooled)
    variances = dict.fromkeys(squares, prior_variance)
    if math.isfinite(prior_freedom):
        for config_id in known:
            total = prior_freedom + freedom[config_id]
            variances[config_id] = (prior_freedom * prior_variance + squares[config_id]) / total
    return Noise(
        variance=pooled,
        degrees_of_freedom=degrees_of_freedom,
        variances=variances,
        own_degrees_of_freedom=freedom,
        prior_degrees_of_freedom=prior_freedom,
        homogeneity_p=_bartlett_p(own_variances, own_freedom),
    )


def _prior(variances: _Floats, freedom: _Floats, *, pooled: float) -> tuple[float, float]:
    """Find the scaled inverse chi-square distribution that the true variances would come from: its s0² and d0.

    The logarithms of the variances scatter by ``trigamma(f/2)`` if the true ones are alike; what they scatter beyond
    that is ``trigamma(d0/2)``. Where they do not, d0 is infinite and s0² the pooled variance.
    """
    least = SMALLEST_VARIANCE * float(np.median(variances))
    if least == 0:  # of half of the configurations all runs are alike: there are no logarithms to look at
        return pooled, math.inf
    logs = np.log(np.maximum(variances, least))
    logs = logs - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(np.var(logs, ddof=1) - polygamma(1, freedom / 2).mean())
    if not excess > 0:
        return pooled, math.inf
    half = _inverse_trigamma(excess)
    return float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half


def _inverse_trigamma(value: float) -> float:
    """Solve ``trigamma(x) = value``, by Newton's method on 1/trigamma, which is nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < NEGLIGIBLE * x:
            break
    return x


def _bartlett_p(variances: _Floats, freedom: _Floats) -> float | None:
    """Test whether variances are equal, by Bartlett's statistic; None where they cannot differ."""
    if len(variances) < 3 or not (variances > 0).all():  # the residuals of two are each other's mirror image
        return None
    total = freedom.sum()
    pooled = float(freedom @ variances / total)
    statistic = total * math.log(pooled) - float(freedom @ np.log(variances))
    correction = 1 + (float((1 / freedom).sum()) - 1 / total) / (3 * (len(variances) - 1))
    return float(chdtrc(len(variances) - 1, max(0.0, statistic / correction)))
