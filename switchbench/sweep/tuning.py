"""From the results of tries to the cells of a sweep: which values are tried, which are best, and what follows.

All of it follows from the file and the results alone, so that the same command comes to the same cells again. Every
configuration is tried with the same values: where the best one of any lies at the edge of the grid, the grid is
extended for all of them alike, and only once all tries have ended are the reported cells known.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from pydantic import ValidationError

from switchbench.spec import RunSpec
from switchbench.sweep.cells import Cell, Choice, Sweep, Try, Tuning
from switchbench.sweep.fields import value_at
from switchbench.sweep.pair import Primary

MAX_EXTENSIONS = 2
"""How often the grid is extended, by one value at each edge where a best value lies; what is best at an edge after that
is used, with a caveat."""
_DIGITS = 6
"""Significant digits of the values that extend a grid: 0.0018, not 0.0018000000000000002."""

Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class TryEnd:
    """How the run of a try ended."""

    status: str
    """``ok``, or how it failed."""
    nll: float | None
    """Its quality at the end of its schedule: dropless, or with capacity where there is no dropless one."""


def with_tuning(sweep: Sweep, *, grid: Grid, seeds: Sequence[int]) -> Sweep:
    """Make a sweep whose cells hold the first value to try into one that tunes first.

    Args:
        sweep: The sweep.
        grid: The values to try, by path; they multiply.
        seeds: The seeds of the tries.
    """
    tuning = Tuning(
        grid={path: tuple(values) for path, values in grid.items()},
        seeds=tuple(seeds),
        reported=sweep.cells,
        primary=sweep.primary,
    )
    return choose(replace(sweep, tuning=tuning), {})


def choose(sweep: Sweep, ends: Mapping[str, TryEnd]) -> Sweep:
    """Give a sweep as it stands after some of its tries: further tries, or what is reported with the best values.

    A try is as good as its mean over the seeds; one with a run that did not end well counts as worst; of equal ones the
    first is best. A configuration none of whose tries ended well has no reported cells.

    Args:
        sweep: The sweep; how far it had come does not matter.
        ends: How runs ended, by run_id, failures included; others than tries do not matter.

    Returns:
        The sweep with all tries as its cells, and either ``pending`` ones or, behind the tries, the reported ones.
    """
    tuning = sweep.tuning
    if tuning is None:
        return sweep
    configurations = {cell.spec.config_id: cell for cell in reversed(tuning.reported)}
    order = dict.fromkeys(cell.spec.config_id for cell in tuning.reported)
    grid: Grid = tuning.grid
    for extension in itertools.count():
        tries: list[Cell] = []
        choices: dict[str, Choice] = {}
        for config_id in order:
            cells = _tries(configurations[config_id], grid=grid, seeds=tuning.seeds)
            tries += itertools.chain.from_iterable(cells)
            choices[config_id] = _choice(configurations[config_id], cells, grid=grid, ends=ends)
        all_ended = all(cell.spec.run_id in ends for cell in tries)
        longer = _extended(grid, choices.values(), configurations.values())
        if not all_ended or extension == MAX_EXTENSIONS or longer == grid:
            break
        grid = longer
    if not all_ended:
        undecided = tuple(replace(each, chosen=None, at_edge=(), config_id=None) for each in choices.values())
        return replace(sweep, cells=tuple(tries), pending=tuning.reported, choices=undecided, primary=None)
    return replace(
        sweep,
        cells=(*tries, *_reported(tuning.reported, choices)),
        pending=(),
        choices=tuple(choices.values()),
        primary=_primary(tuning.primary, choices),
    )


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


def _tries(cell: Cell, *, grid: Grid, seeds: Sequence[int]) -> list[list[Cell]]:
    """The runs of all tries of a configuration, by try."""
    tries = []
    for combination in itertools.product(*grid.values()):
        spec = with_values(cell.spec, dict(zip(grid, combination, strict=True)))
        values = {path: value_at(spec, path) for path in grid}
        settings = _swept(cell, grid) | values
        tries.append(
            [
                Cell(
                    spec=spec.model_copy(update={"seed": seed}),
                    role="tuning",
                    twin_of=(),
                    settings=settings | {"seed": seed},
                )
                for seed in seeds
            ]
        )
    return tries


def _choice(cell: Cell, tries: Sequence[Sequence[Cell]], *, grid: Grid, ends: Mapping[str, TryEnd]) -> Choice:
    results = [_result(runs, grid=grid, ends=ends) for runs in tries]
    best = min((each for each in results if each.nll is not None), key=lambda each: each.nll or 0.0, default=None)
    return Choice(
        kind=cell.kind,
        settings=_swept(cell, grid),
        tries=tuple(results),
        chosen=None if best is None else best.values,
        at_edge=() if best is None else tuple(path for path in grid if _edge(cell.spec, path, best.values[path], grid)),
        config_id=None if best is None else with_values(cell.spec, best.values).config_id,
    )


def _result(runs: Sequence[Cell], *, grid: Grid, ends: Mapping[str, TryEnd]) -> Try:
    there = [ends[run.spec.run_id] for run in runs if run.spec.run_id in ends]
    known = [end.nll for end in there if end.status == "ok" and end.nll is not None and math.isfinite(end.nll)]
    return Try(
        values={path: runs[0].settings[path] for path in grid},
        run_ids=tuple(run.spec.run_id for run in runs),
        nll=fmean(known) if len(known) == len(runs) else None,
        failed=len(known) < len(there),
    )


def _swept(cell: Cell, grid: Grid) -> dict[str, Any]:
    return {path: value for path, value in cell.settings.items() if path != "seed" and path not in grid}


def _edge(spec: RunSpec, path: str, value: Any, grid: Grid) -> int:
    """At which edge of the grid a value is: -1, 1, or 0 for none.

    What is not ordered has no edges, and a value beyond which the field allows none (a weight decay of 0) is at none.
    """
    if not _is_ordered(grid[path]):
        return 0
    for edge, outermost in ((-1, min(grid[path])), (1, max(grid[path]))):
        if value == outermost:
            step = 1 if isinstance(value_at(spec, path), int) else math.ulp(value)
            return edge if _is_valid(spec, path, value + edge * step) else 0
    return 0


def _extended(grid: Grid, choices: Iterable[Choice], cells: Iterable[Cell]) -> dict[str, Sequence[Any]]:
    """The grid with a value more, by its own ratio, at each edge where a best value is."""
    specs = [cell.spec for cell in cells]
    longer = dict(grid)
    best = [choice.chosen for choice in choices if choice.chosen is not None]
    for path, values in grid.items():
        for edge in sorted({_edge(specs[0], path, each[path], grid) for each in best} - {0}):
            further = _further(values, edge=edge)
            if further is not None and all(_is_valid(spec, path, further) for spec in specs):
                longer[path] = (*longer[path], further)
    return longer


def _further(values: Sequence[Any], *, edge: int) -> float | None:
    """The value that goes on beyond an edge as the two outermost ones do; None: they have no ratio."""
    ordered = sorted(values, reverse=edge < 0)
    outermost, next_to_it = ordered[-1], ordered[-2]
    if outermost <= 0 or next_to_it <= 0:
        return None
    further = float(f"{outermost * outermost / next_to_it:.{_DIGITS}g}")
    return further if math.isfinite(further) and further not in values else None


def _is_ordered(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _is_valid(spec: RunSpec, path: str, value: Any) -> bool:
    try:
        with_values(spec, {path: value})
    except ValidationError:
        return False
    return True


def _reported(cells: Iterable[Cell], choices: Mapping[str, Choice]) -> list[Cell]:
    """The reported cells with the best values, and twins that refer to each other's new identities."""
    config_ids = {stand_in: choice.config_id for stand_in, choice in choices.items()}

    def renamed(stand_ins: Iterable[str]) -> tuple[str, ...]:
        return tuple(config_id for stand_in in stand_ins if (config_id := config_ids[stand_in]) is not None)

    reported = []
    for cell in cells:
        chosen = choices[cell.spec.config_id].chosen
        if chosen is None:
            continue
        settings = {path: value for path, value in cell.settings.items() if path != "seed"} | chosen
        reported.append(
            replace(
                cell,
                spec=with_values(cell.spec, chosen),
                twin_of=renamed(cell.twin_of),
                twins={baseline: renamed(stand_ins) for baseline, stand_ins in cell.twins.items()},
                settings=settings | {"seed": cell.spec.seed},
            )
        )
    return reported


def _primary(primary: Primary | None, choices: Mapping[str, Choice]) -> Primary | None:
    if primary is None:
        return None
    sparse, dense = choices[primary.sparse].config_id, choices[primary.dense].config_id
    return None if sparse is None or dense is None else replace(primary, sparse=sparse, dense=dense)
