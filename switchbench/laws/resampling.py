"""Which runs vary together, and resamples that keep them together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import fdtrc

from switchbench.laws.fit import LawFit, refit
from switchbench.laws.points import Floats, Indices, Observations
from switchbench.laws.sizes import sizes_of

FEW_GROUPS = 10
"""Below so many groups, drawing whole groups leaves out too much of the data; their residuals change sign instead."""
ROWS_PER_SIZE = 1.2
"""With more rows per size than this, rows of a size are a group."""
SEED_SIGNIFICANCE = 0.01
"""Below this probability, seeds are taken to shift all runs that share them."""
WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
"""Sizes of Webb's six weights; each also with the other sign."""
WORK_AT_MOST = 1e7
"""Rows times resamples that are fitted where nobody asked for a number of resamples."""
LEAST_RESAMPLES = 100

GroupBy = Literal["size", "seed", "row", "column"]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The rows that vary together."""

    by: GroupBy
    """What they share: their size, their seed, a column of the caller's, or nothing."""
    index: Indices
    """The group of each row, from 0."""
    reason: str
    """Why, in words."""
    seed_index: Indices | None = None
    """The seed of each row, where seeds shift all runs that share them as well."""

    @property
    def number(self) -> int:
        """How many groups there are."""
        return int(self.index.max()) + 1


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """Fits of resampled data."""

    method: Literal["pairs", "wild"]
    """``pairs``: whole groups are drawn, with replacement. ``wild``: all rows stay, and the residuals of each group are
    multiplied by one random weight."""
    internal: Floats
    """Internal parameters, (resamples, parameters)."""


def group_rows(observations: Observations, *, by: GroupBy | None = None) -> Grouping:
    """Say which rows vary together.

    Rows of one size share what the law gets wrong about that size, so they are a group where sizes repeat. Seeds are
    another where they shift all runs that share them, which an analysis of variance tells.

    Args:
        observations: The runs.
        by: What rows share; None: as the data have it.
    """
    rows = len(observations)
    if observations.group is not None and by in (None, "column"):
        return Grouping(by="column", index=_index(observations.group), reason="as asked for")
    if by == "row":
        return Grouping(by="row", index=np.arange(rows), reason="as asked for")
    if by == "seed" and observations.seed is not None:
        return Grouping(by="seed", index=_index(observations.seed), reason="as asked for")
    sizes = sizes_of(observations)
    number = sizes.number
    seeds = _index(observations.seed) if observations.seed is not None and _seeds_matter(observations) else None
    if by == "size":
        return Grouping(by="size", index=sizes.index, reason="as asked for", seed_index=seeds)
    if rows < ROWS_PER_SIZE * number:
        reason = f"{rows} rows have {number} sizes: hardly any share one"
        return Grouping(by="row", index=np.arange(rows), reason=reason, seed_index=seeds)
    reason = f"{rows} rows share {number} sizes, and with it what the law gets wrong about a size"
    if seeds is not None:
        reason += "; runs that share a seed are alike, too"
    return Grouping(by="size", index=sizes.index, reason=reason, seed_index=seeds)


def resample(
    fit: LawFit,
    *,
    grouping: Grouping,
    resamples: int,
    seed: int,
    on_progress: Callable[[float], None] | None = None,
) -> Resamples:
    """Fit resampled data.

    With ten groups or more, groups are drawn with replacement. With fewer the bootstrap is wild: losses are those of
    the fit, times ``exp(-w·r)`` with r the residuals, enlarged by sqrt(rows/(rows - parameters)), and w one of Webb's
    six weights per group.

    Args:
        fit: The fit.
        grouping: Which rows vary together.
        resamples: How many.
        seed: Of the generator.
        on_progress: Takes the share that is done.

    Source:
        Cameron, Gelbach and Miller 2008 for the wild cluster bootstrap; Webb 2014 for the weights.
    """
    generator = np.random.default_rng(seed)
    rows, groups = len(fit.observations), grouping.number
    if groups >= FEW_GROUPS:
        counts = generator.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
        weights = counts[:, grouping.index].astype(np.float64)
        found = refit(fit, weights=weights, on_progress=on_progress)
        return Resamples(method="pairs", internal=found.internal)
    signs = generator.choice(np.concatenate([-WEBB, WEBB]), size=(resamples, groups))
    larger = np.sqrt(rows / max(rows - len(fit.internal), 1))
    fitted = fit.log_predictions(fit.internal[None])
    log_loss = fitted - signs[:, grouping.index] * larger * fit.residuals
    found = refit(fit, weights=np.ones((resamples, rows)), log_loss=log_loss, on_progress=on_progress)
    return Resamples(method="wild", internal=found.internal)


def resamples_for(rows: int, *, asked: int | None, default: int = 1000) -> int:
    """How many resamples to take: as many as asked for; else the default, or fewer where rows are very many."""
    if asked is not None:
        return asked
    return int(max(LEAST_RESAMPLES, min(default, WORK_AT_MOST // max(rows, 1))))


def _seeds_matter(observations: Observations) -> bool:
    """Whether seeds shift all runs that share them: the F test of the seed beside the configuration, without weights.

    Source:
        Two-way analysis of variance without interaction; only configurations with at least two seeds count.
    """
    assert observations.seed is not None
    keys = np.stack([observations.n, observations.experts, np.ones(len(observations))])
    if observations.d is not None:
        keys[2] = observations.d
    _, cells = np.unique(keys, axis=1, return_inverse=True)
    cells = cells.reshape(-1)
    repeated = np.bincount(cells)[cells] > 1
    cells, seeds = _index(cells[repeated]), _index(observations.seed[repeated])
    y = observations.log_loss[repeated]
    if y.size == 0 or seeds.max() == 0 or cells.max() == 0:
        return False
    within = y - _means(y, cells)[cells]
    # Seeds as dummies, with the configurations' means taken out of them as well.
    dummies = (seeds[:, None] == np.arange(1, seeds.max() + 1)).astype(np.float64)
    dummies -= np.stack([_means(column, cells)[cells] for column in dummies.T], axis=1)
    effect, _, rank, _ = np.linalg.lstsq(dummies, within, rcond=None)
    left = float(((within - dummies @ effect) ** 2).sum())
    explained = float((within**2).sum()) - left
    freedom = len(y) - (cells.max() + 1) - rank
    if rank == 0 or freedom < 1 or left <= 0:
        return False
    return bool(fdtrc(rank, freedom, (explained / rank) / (left / freedom)) < SEED_SIGNIFICANCE)


def _means(values: Floats, groups: Indices) -> Floats:
    return np.bincount(groups, weights=values) / np.bincount(groups)


def _index(values: Floats | Indices) -> Indices:
    index: Indices = np.unique(values, return_inverse=True)[1].reshape(-1)
    return index
