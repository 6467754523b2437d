"""A finer grid of one field, for configurations that lack a field which others are tuned in as well.

Tuning a field of sparse layers alone multiplies the tries of sparse configurations. A dense one gets as many by more
values of a field that both have: they lie closer together than those of the file and, if need be, reach further.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

DIGITS = 6
"""Significant digits of the values that are added to a grid: 0.0018, not 0.0018000000000000002."""


def finer(
    grid: Sequence[float], *, start: Sequence[float] = (), number: int, is_allowed: Callable[[float], bool]
) -> tuple[float, ...] | None:
    """Give the values of a grid, and further ones between and beyond them until there are enough.

    They are added in turns: the middles of all neighbors, those that are furthest apart first, and among equals from
    the center of the grid outward; then a value beyond each edge, as far from it as the two outermost of the grid are
    from each other. Middles and distances are those of ratios, or of differences where a value is not above 0. What is
    there stays when more are asked for: the first values of a longer result are those of a shorter one.

    Args:
        grid: The values, at least two, in any order.
        start: What was tried before, which comes first.
        number: How many values there are to be; at least as many as those of ``grid`` and ``start``.
        is_allowed: Whether a value may be added.

    Returns:
        ``start``, ``grid`` and what is added, in this order, each once; None: so many different ones there cannot be.
    """
    found = list(dict.fromkeys((*start, *grid)))
    assert len(found) <= number
    is_geometric = min(found) > 0
    while len(found) < number:
        before = len(found)
        for value in _turn(sorted(found), grid=sorted(grid), is_geometric=is_geometric):
            if len(found) < number and value not in found and is_allowed(value):
                found.append(value)
        if len(found) == before:
            return None
    return tuple(found)


def beyond(outermost: float, *, grid: Sequence[float], edge: int, is_geometric: bool = True) -> float | None:
    """Give the value that goes on beyond an edge as the two outermost values of a grid do.

    Args:
        outermost: The value at the edge.
        grid: The values whose ratio, or difference, it keeps.
        edge: The edge: -1 or 1.
        is_geometric: Whether it keeps the ratio.

    Returns:
        The value; None: there is none, such as where one of the values is 0 and they have no ratio.
    """
    last, next_to_it = sorted(grid, reverse=edge < 0)[-1:-3:-1]
    if not is_geometric:
        value = outermost + (last - next_to_it)
    elif min(outermost, last, next_to_it) > 0:
        value = outermost * (last / next_to_it)
    else:
        return None
    rounded = _rounded(value)
    further = rounded if (rounded - outermost) * edge > 0 else value
    is_further = math.isfinite(further) and (further - outermost) * edge > 0 and (further > 0 or not is_geometric)
    return further if is_further else None


def _turn(found: Sequence[float], *, grid: Sequence[float], is_geometric: bool) -> Iterator[float]:
    """The values that a turn adds: middles, then what is beyond the edges."""

    def position(value: float) -> float:
        return math.log(value) if is_geometric else value

    center = (position(grid[0]) + position(grid[-1])) / 2

    def order(gap: tuple[float, float]) -> tuple[float, float]:
        low, high = position(gap[0]), position(gap[1])
        # Rounded, since gaps that are equal by the file's ratios differ in their last digits.
        return -_rounded(high - low, digits=3), _rounded(abs((low + high) / 2 - center), digits=3)

    for low, high in sorted(itertools.pairwise(found), key=order):
        middle = math.sqrt(low) * math.sqrt(high) if is_geometric else low / 2 + high / 2
        rounded = _rounded(middle)
        if low < rounded < high:
            yield rounded
        elif low < middle < high:
            yield middle
    for edge, outermost in ((-1, found[0]), (1, found[-1])):
        value = beyond(outermost, grid=grid, edge=edge, is_geometric=is_geometric)
        if value is not None:
            yield value


def _rounded(value: float, *, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")
