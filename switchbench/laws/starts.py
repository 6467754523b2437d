"""Where to begin a fit: variable projection.

On a grid over the exponents (and over the shape of Ê) the coefficients follow by least squares, none of them negative;
the best few points of the grid are the starts. What follows is a descent, so a coarse grid will do.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from switchbench.laws.experts import expert_gain
from switchbench.laws.forms import Chinchilla, Clark, JointMoe, Power, Routed, RoutedData
from switchbench.laws.law import Law
from switchbench.laws.points import Floats, Indices, Points

MOST_STARTS = 6
MOST_ROWS = 2000
"""Rows that the grid looks at; more say no more about where to begin."""
LEAST_SHARE = 0.02
"""A coefficient that least squares would make 0 starts at this share of the loss: from 0 no gradient leads away."""
_EXPONENTS = (0.03, 0.06, 0.1, 0.16, 0.25, 0.35, 0.5, 0.8, 1.2)
_FEW_EXPONENTS = (0.05, 0.12, 0.25, 0.45, 0.9)
_GAINS = (-0.2, 0.15, 0.35, 0.6, 0.9)
_SHAPES = tuple(itertools.product((0.7, 2.0, 6.0), (60.0, 300.0, 3000.0)))


def find_starts(law: Law, points: Points, log_loss: Floats) -> Floats:
    """Give starts for a fit, best first, (starts, parameters).

    Args:
        law: The form.
        points: Where the rows lie.
        log_loss: ln of the observed losses, (rows,).
    """
    if len(log_loss) > MOST_ROWS:
        rows = spread_rows(len(log_loss))
        points, log_loss = points.take(rows), log_loss[rows]
    match law:
        case Power():
            return _power(points, log_loss)
        case Clark():
            return _clark(points, log_loss, shapes=_shapes(law.saturating))
        case Chinchilla():
            grid = np.array(list(itertools.product(_EXPONENTS, _EXPONENTS)))
            by_size, by_data = np.exp(-grid[:, :1] * points.x), np.exp(-grid[:, 1:] * points.y)
            sizes, best = _project([np.ones_like(by_size), by_size, by_data], log_loss)
            return np.column_stack([np.log(sizes), np.log(grid[best])])
        case Routed():
            grid = _grid(_EXPONENTS, _GAINS, shapes=_shapes(law.saturating))
            by_size = _by_size(grid, points)
            sizes, best = _project([np.ones_like(by_size), by_size], log_loss)
            return np.column_stack([np.log(sizes), np.log(grid[best, 0]), grid[best, 1:]])
        case RoutedData():
            return _routed_data(points, log_loss, saturating=law.saturating)
        case JointMoe():
            return _joint_moe(points, log_loss, saturating=law.saturating)
        case _:
            raise TypeError(law)


def spread_rows(number: int) -> Indices:
    """Give the rows that are looked at where they are very many, spread evenly over the table."""
    return np.unique(np.linspace(0, number - 1, min(number, MOST_ROWS)).round().astype(np.intp))


def _power(points: Points, log_loss: Floats) -> Floats:
    slope = np.polyfit(points.x, log_loss, 1)[0]
    return np.array([[log_loss.mean(), np.log(max(-slope, 1e-3))]])


def _clark(points: Points, log_loss: Floats, *, shapes: Floats) -> Floats:
    gain = expert_gain(points, shapes).h
    x = np.broadcast_to(points.x, gain.shape)
    basis = np.stack([x, gain, x * gain, np.ones_like(x)], axis=2)
    linear = np.matmul(np.linalg.pinv(basis), log_loss)
    errors = ((np.einsum("frk,fk->fr", basis, linear) - log_loss) ** 2).sum(axis=1)
    best = np.argsort(errors)[:MOST_STARTS]
    return np.column_stack([linear[best], shapes[best]])


def _routed_data(points: Points, log_loss: Floats, *, saturating: bool) -> Floats:
    grid = _grid(_FEW_EXPONENTS, _GAINS, shapes=_shapes(saturating))
    by_size = _by_size(grid, points)
    by_data = np.exp(-np.array(_FEW_EXPONENTS)[:, None] * points.y)
    pairs = np.array(list(itertools.product(range(len(grid)), range(len(by_data)))))
    # Of rows that are many the pairs would fill the memory: the products below are all that is needed of them.
    sizes, best = _project_products(by_size, by_data, pairs, log_loss)
    chosen, beta = grid[pairs[best, 0]], np.array(_FEW_EXPONENTS)[pairs[best, 1]]
    floor, a, b = np.log(sizes).T
    return np.column_stack([floor, a, np.log(chosen[:, 0]), chosen[:, 1], b, np.log(beta), chosen[:, 2:]])


def _joint_moe(points: Points, log_loss: Floats, *, saturating: bool) -> Floats:
    """The starts of ``routed-data``, what experts gain shared out between the two terms, exponents bent either way."""
    starts = []
    for floor, a, log_alpha, g, b, log_beta, *shape in _routed_data(points, log_loss, saturating=saturating)[:3]:
        alpha, beta = np.exp(log_alpha), np.exp(log_beta)
        for share, gamma, zeta in itertools.product((0.0, 0.5, 1.0), (-0.01, 0.01), (-0.02, 0.02)):
            by_gain = -alpha * g * (1 - share), -alpha * g * share * np.exp(a - b)
            starts.append([a, by_gain[0], -alpha, gamma, b, by_gain[1], -beta, zeta, floor, *shape])
    return np.array(starts)


def _shapes(saturating: bool) -> Floats:
    return np.log(np.array(_SHAPES)) if saturating else np.empty((1, 0))


def _grid(exponents: Sequence[float], gains: Sequence[float], *, shapes: Floats) -> Floats:
    rows = [[alpha, g, *shape] for alpha, g, shape in itertools.product(exponents, gains, shapes)]
    return np.array(rows)


def _by_size(grid: Floats, points: Points) -> Floats:
    gain = expert_gain(points, grid[:, 2:]).h
    return np.exp(-grid[:, :1] * (points.x + grid[:, 1:2] * gain))


def _project(terms: Sequence[Floats], log_loss: Floats) -> tuple[Floats, Indices]:
    """Fit the coefficients of terms, each (grid, rows); give those of the best, and which these are."""
    relative = np.stack(terms, axis=2) * np.exp(-log_loss)[:, None]
    gram = np.matmul(relative.transpose(0, 2, 1), relative)
    return _best(gram, relative.sum(axis=1), log_loss=log_loss)


def _project_products(by_size: Floats, by_data: Floats, pairs: Indices, log_loss: Floats) -> tuple[Floats, Indices]:
    """Fit ``c0 + c1·by_size + c2·by_data`` for pairs of rows of the two."""
    inverse = np.exp(-log_loss)
    one, size, data = inverse, by_size * inverse, by_data * inverse
    i, j = pairs.T
    gram = np.empty((len(pairs), 3, 3))
    gram[:, 0, 0] = one @ one
    gram[:, 0, 1] = gram[:, 1, 0] = (size @ one)[i]
    gram[:, 0, 2] = gram[:, 2, 0] = (data @ one)[j]
    gram[:, 1, 1] = (size * size).sum(axis=1)[i]
    gram[:, 2, 2] = (data * data).sum(axis=1)[j]
    gram[:, 1, 2] = gram[:, 2, 1] = (size @ data.T)[i, j]
    target = np.stack([np.full(len(pairs), one.sum()), size.sum(axis=1)[i], data.sum(axis=1)[j]], axis=1)
    return _best(gram, target, log_loss=log_loss)


def _best(gram: Floats, target: Floats, *, log_loss: Floats) -> tuple[Floats, Indices]:
    coefficients, errors = non_negative(gram, target)
    best = np.argsort(errors, kind="stable")[:MOST_STARTS]
    return np.maximum(coefficients[best], LEAST_SHARE * float(np.exp(log_loss.mean()))), best


def non_negative(gram: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Solve many small least-squares problems with no coefficient below 0, by trying every set of free ones.

    Args:
        gram: AᵀA of each, (problems, k, k).
        target: Aᵀb of each, (problems, k).

    Returns:
        The coefficients, (problems, k), and their squared errors but for the constant bᵀb, (problems,).
    """
    problems, width = target.shape
    best, errors = np.zeros((problems, width)), np.zeros(problems)
    scale = np.sqrt(np.einsum("pii->pi", gram))
    gram, target = gram / (scale[:, :, None] * scale[:, None, :]), target / scale
    for size in range(1, width + 1):
        for free in itertools.combinations(range(width), size):
            part = gram[:, free][:, :, free] + 1e-12 * np.eye(size)
            solution = np.linalg.solve(part, target[:, free, None])[:, :, 0]
            error = -(solution * target[:, free]).sum(axis=1)
            better = (solution >= 0).all(axis=1) & (error < errors)
            errors[better] = error[better]
            best[better] = 0.0
            best[np.ix_(better, free)] = solution[better]
    return best / scale, errors
