"""From the results of tries to the cells of a sweep: which values are tried, which are best, and what follows.

All of it follows from the file and the results alone, so that the same command comes to the same cells again. Every
configuration is tried equally often, with the same values or, where it lacks a tuned field, with more of another one:
where the best value of any lies at an edge of what it was tried with, the grids are extended for all of them alike, and
only once all tries have ended are the reported cells known.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from switchbench.sweep.cells import Cell, Choice, Sweep, Try, Tuning
from switchbench.sweep.controls import Control
from switchbench.sweep.fields import value_at
from switchbench.sweep.grids import Grid, edge_of, extended, first_grids, with_values
from switchbench.sweep.pair import Primary

MAX_EXTENSIONS = 2
"""How often the grids are extended, by one value at each edge where a best value lies; what is best at an edge after
that is used, with a caveat."""


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
        controls=sweep.controls,
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
    grids = first_grids(tuning.grid, (cell.spec for cell in configurations.values()))
    assert grids is not None  # which was checked when the file was read
    specs = {config_id: cell.spec for config_id, cell in configurations.items()}
    for extension in itertools.count():
        tries: list[Cell] = []
        choices: dict[str, Choice] = {}
        for config_id in order:
            cell = configurations[config_id]
            grid = grids.of(cell.kind)
            cells = _tries(cell, grid=grid, seeds=tuning.seeds)
            tries += itertools.chain.from_iterable(cells)
            choices[config_id] = _choice(cell, cells, grid=grid, ends=ends)
        all_ended = all(cell.spec.run_id in ends for cell in tries)
        if not all_ended or extension == MAX_EXTENSIONS:
            break
        longer = extended(grids, choices=choices, specs=specs)
        if longer == grids:
            break
        grids = longer
    if not all_ended:
        undecided = tuple(replace(each, chosen=None, at_edge=(), config_id=None) for each in choices.values())
        return replace(sweep, cells=tuple(tries), pending=tuning.reported, choices=undecided, primary=None, controls=())
    return replace(
        sweep,
        cells=(*tries, *_reported(tuning.reported, choices)),
        pending=(),
        choices=tuple(choices.values()),
        primary=_primary(tuning.primary, choices),
        controls=_controls(tuning.controls, choices),
    )


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
    chosen = {} if best is None else best.values
    return Choice(
        kind=cell.kind,
        settings=_swept(cell, grid),
        tries=tuple(results),
        chosen=None if best is None else best.values,
        at_edge=tuple(path for path, value in chosen.items() if edge_of(cell.spec, path, value, grid)),
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


def _controls(controls: Iterable[Control], choices: Mapping[str, Choice]) -> tuple[Control, ...]:
    found = []
    for control in controls:
        a, b = choices[control.a].config_id, choices[control.b].config_id
        if a is not None and b is not None:
            found.append(replace(control, a=a, b=b))
    return tuple(found)
