"""The values that sparse and dense configurations are tried with: as many combinations for one as for the other."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from switchbench.spec import RunSpec
from switchbench.sweep.cells import Choice
from switchbench.sweep.fields import FIELDS, KINDS, value_at
from switchbench.sweep.refinement import beyond, finer

Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Grids:
    """What configurations are tried with: all combinations of the values of the fields that they have."""

    grid: Grid
    """The values of each tuned field, by path: those of sparse configurations, where there are any."""
    refined: str | None = None
    """The field that dense ones have more values of, since they lack one that sparse ones are tuned in; None: none."""
    finer: tuple[float, ...] = ()
    """These values."""

    def of(self, kind: str) -> Grid:
        """The grid of configurations of a kind."""
        own = {path: values for path, values in self.grid.items() if kind in FIELDS[path].kinds}
        return own | {self.refined: self.finer} if self.refined in own and kind == "dense" else own


def lacking(grid: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """The tuned fields that configurations of one of these kinds do not have.

    Args:
        grid: The tuned fields.
        kinds: The kinds of configurations that there are.
    """
    return [path for path in grid if not FIELDS[path].kinds.issuperset(kinds)]


def first_grids(grid: Grid, specs: Iterable[RunSpec]) -> Grids | None:
    """Give the grids before any is extended.

    Args:
        grid: The values that the file gives, by path.
        specs: All configurations.

    Returns:
        The grids; None: configurations lack a field and have none whose values could be more, or not as many more.
    """
    specs = list(specs)
    if not lacking(grid, {spec.model.ffn.kind for spec in specs}):
        return Grids(grid=grid)
    shared = (path for path in grid if FIELDS[path].kinds.issuperset(KINDS) and is_ordered(grid[path]))
    refined = next(shared, None)
    return None if refined is None else _refined(Grids(grid=grid, refined=refined), specs=specs)


def extended(grids: Grids, *, choices: Mapping[str, Choice], specs: Mapping[str, RunSpec]) -> Grids:
    """Give the grids with a value more, by the file's own ratio, at each edge where a best value is.

    Sparse and dense configurations get equally many tries more, whosever best value it is.

    Args:
        grids: The grids.
        choices: What each configuration's best values are, by the same keys as ``specs``.
        specs: All configurations.

    Returns:
        The grids; the same ones where there is no such edge, or nothing beyond it.
    """
    longer = dict(grids.grid)
    dense = list(grids.finer)
    for path, values in grids.grid.items():
        having = [spec for spec in specs.values() if spec.model.ffn.kind in FIELDS[path].kinds]
        for edge in (-1, 1):
            at_it = {
                choice.kind
                for key, choice in choices.items()
                if choice.chosen is not None
                and path in choice.chosen
                and edge_of(specs[key], path, choice.chosen[path], grids.of(choice.kind)) == edge
            }
            further = _beyond(values, grid=values, edge=edge, path=path, specs=having) if at_it else None
            if further is None:
                continue
            if path == grids.refined and "dense" in at_it:
                denser = _beyond(dense, grid=values, edge=edge, path=path, specs=having)
                if denser is None:
                    continue
                dense.append(denser)
            longer[path] = (*longer[path], further)
    if longer == grids.grid or grids.refined is None:
        return replace(grids, grid=longer)
    return _refined(replace(grids, grid=longer, finer=tuple(dense)), specs=specs.values()) or grids


def edge_of(spec: RunSpec, path: str, value: Any, grid: Grid) -> int:
    """At which edge of a grid a value is: -1, 1, or 0 for none.

    What is not ordered has no edges, and a value beyond which the field allows none (a weight decay of 0) is at none.

    Args:
        spec: A configuration with the field.
        path: The field.
        value: Its value.
        grid: The grid that it was tried with.
    """
    if not is_ordered(grid[path]):
        return 0
    for edge, outermost in ((-1, min(grid[path])), (1, max(grid[path]))):
        if value == outermost:
            step = 1 if isinstance(value_at(spec, path), int) else math.ulp(value)
            return edge if _is_valid(spec, path, value + edge * step) else 0
    return 0


def is_ordered(values: Sequence[Any]) -> bool:
    """Whether values are numbers, so that there are others between and beyond them."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def with_values(spec: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    """Give a run with other values of some fields.

    Args:
        spec: The run.
        values: The values, by path.

    Raises:
        pydantic.ValidationError: that is no valid run.
    """
    content = spec.model_dump()
    for path, value in values.items():
        *sections, name = path.split(".")
        inner = content
        for section in sections:
            inner = inner[section]
        inner[name] = value
    return RunSpec.model_validate(content)


def _refined(grids: Grids, *, specs: Iterable[RunSpec]) -> Grids | None:
    """The grids with enough values of the refined field, those that there are already included."""
    refined = grids.refined
    assert refined is not None
    dense = [spec for spec in specs if spec.model.ffn.kind == "dense"]
    times = math.prod(len(grids.grid[path]) for path in lacking(grids.grid, KINDS))
    values = finer(
        grids.grid[refined],
        start=grids.finer,
        number=len(grids.grid[refined]) * times,
        is_allowed=lambda value: all(_is_valid(spec, refined, value) for spec in dense),
    )
    return None if values is None else replace(grids, finer=values)


def _beyond(
    values: Sequence[Any], *, grid: Sequence[Any], edge: int, path: str, specs: Iterable[RunSpec]
) -> float | None:
    """The value beyond an edge of some values, by a grid's own ratio; None: it has none, or the field ends before."""
    outermost = min(values) if edge < 0 else max(values)
    further = beyond(outermost, grid=grid, edge=edge)
    is_there = further is not None and all(_is_valid(spec, path, further) for spec in specs)
    return further if is_there else None


def _is_valid(spec: RunSpec, path: str, value: Any) -> bool:
    try:
        with_values(spec, {path: value})
    except ValidationError:
        return False
    return True
