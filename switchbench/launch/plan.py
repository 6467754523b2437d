"""The costed plan of a sweep: what will run and why, and what it takes, by arithmetic before anything is started."""

import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from switchbench.cost import Cost, cost_of
from switchbench.data.corpora import identify_corpus
from switchbench.errors import UsageError
from switchbench.launch.amendments import Amendment, compare_with_manifest
from switchbench.launch.tries import ends_of_tries
from switchbench.record import FINAL_STATUSES
from switchbench.spec import RunSpec
from switchbench.store import (
    Control,
    Manifest,
    ManifestCell,
    PrimaryPair,
    SweepFolder,
    TunedConfiguration,
    UnreadableFile,
    read_statuses,
    timed_configs,
    write_manifest,
)
from switchbench.sweep import Cell, CellFilter, Sweep, choose, describe_cell, load_sweep

Action = Literal["run", "retry", "rerun", "await", "skip", "leave"]
Again = Literal["failed", "early", "all"]
"""What is run again: what failed to execute; also what diverged or ran out of memory; or everything."""

PLAN_SCHEMA = 1
"""Version of the plan's JSON object."""


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One run of a sweep, what will be done about it, and what it takes."""

    cell: Cell
    """The run, with its role and its swept settings."""
    status: str | None
    """How it ended before; None: it has not run yet."""
    action: Action
    """``run`` (missing), ``retry`` (failed before), ``rerun`` (asked for), ``await`` (its tuned values are not known
    yet), ``skip`` (done), ``leave`` (filtered)."""
    reason: str
    """Why, in words."""
    cost: Cost
    """Parameters and FLOPs."""
    is_known: bool = True
    """Whether its tuned values are known; until then it has the first ones to try, and no identities."""

    @property
    def spec(self) -> RunSpec:
        """The run."""
        return self.cell.spec

    @property
    def label(self) -> str:
        """The run in words: role, swept settings, seed."""
        return f"{describe_cell(self.cell)}, seed {self.spec.seed}"

    @property
    def memory_bytes(self) -> int:
        """Estimated peak memory of the run, as its column ``peak_memory_bytes`` will tell it."""
        return self.cost.memory.peak

    def as_json(self) -> dict[str, Any]:
        """Give the plan's entry as it stands in ``cells`` of the JSON object; its identities if they are known."""
        is_known = self.is_known
        twins = self.cell.twins if is_known else {}
        return {
            "run_id": self.spec.run_id if is_known else None,
            "config_id": self.spec.config_id if is_known else None,
            "settings": self.cell.settings,
            "role": self.cell.role,
            "twin_of": list(self.cell.twin_of) if is_known else [],
            "twins": {matched_on: list(config_ids) for matched_on, config_ids in twins.items()},
            "seed": self.spec.seed,
            "action": self.action,
            "reason": self.reason,
            "params_total": self.cost.parameters.total,
            "params_active": self.cost.parameters.active,
            "useful_train_flops": self.cost.train_flops.useful,  # as in the column of this name
            "executed_train_flops": self.cost.train_flops.executed,
            "trained_flops": self.cost.trained_flops.useful,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep command will do."""

    sweep: Sweep
    """The sweep."""
    folder: SweepFolder
    """Where its results are kept."""
    cells: tuple[PlannedCell, ...]
    """All runs, in the order of the sweep."""
    untimed: tuple[str, ...]
    """Configurations (config_ids) that no machine has timed yet."""
    unreadable: tuple[UnreadableFile, ...]
    """Result files that cannot be read; their runs are missing."""
    again: Again = "failed"
    """What is run again."""
    only: CellFilter | None = None
    """Chooses the runs that this is about, the others being left alone; None: all of them."""
    amended: Amendment | None = None
    """What became of the file since the manifest was written; None: there is no manifest."""

    @property
    def chosen(self) -> tuple[PlannedCell, ...]:
        """The runs that this is about: all, or those that a filter chooses."""
        return tuple(cell for cell in self.cells if cell.action != "leave")

    @property
    def to_run(self) -> tuple[PlannedCell, ...]:
        """The runs that will be started, now or once their tuned values are known."""
        return tuple(cell for cell in self.chosen if cell.action != "skip")

    @property
    def to_start(self) -> tuple[PlannedCell, ...]:
        """Those that can be started now: tries before all others, which may depend on them."""
        known = tuple(cell for cell in self.to_run if cell.action != "await")
        return tuple(cell for cell in known if cell.cell.role == "tuning") or known

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.to_run and not self.untimed

    def totals(self) -> dict[str, Any]:
        """Sum up: numbers of cells by action, and training FLOPs.

        The FLOPs are those up to the last annealed points (``useful_``, ``executed_train_flops``), and those of all
        steps that are computed, every cooldown included (``trained_flops``), also of the runs to come alone.
        """
        actions = [cell.action for cell in self.cells]
        return {
            "cells": len(self.cells),
            "dropped_configurations": len(self.sweep.dropped),
            "run": actions.count("run"),
            "retry": actions.count("retry"),
            "rerun": actions.count("rerun"),
            "await": actions.count("await"),
            "skip": actions.count("skip"),
            "leave": actions.count("leave"),
            "configurations": len({cell.spec.config_id for cell in self.cells if cell.cell.role != "tuning"}),
            "tries": sum(cell.cell.role == "tuning" for cell in self.cells),
            "untimed_configurations": len(self.untimed),
            "useful_train_flops": sum(cell.cost.train_flops.useful for cell in self.cells),
            "executed_train_flops": sum(cell.cost.train_flops.executed for cell in self.cells),
            "trained_flops": sum(cell.cost.trained_flops.useful for cell in self.cells),
            "trained_flops_to_run": sum(cell.cost.trained_flops.useful for cell in self.to_run),
        }

    def as_json(self) -> dict[str, Any]:
        """Give the whole plan as one JSON object."""
        return {
            "schema_version": PLAN_SCHEMA,
            "sweep": self.sweep.name,
            "results": str(self.folder.path),
            "cells": [cell.as_json() for cell in self.cells],
            "dropped": [vars(each) for each in self.sweep.dropped],
            "amended": self.amended and vars(self.amended),
            "totals": self.totals(),
        }


def expand_sweep(path: Path | str, *, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep file and expand it into runs: grid, seeds and generated dense twins, fully resolved.

    Args:
        path: The sweep file.
        overrides: ``KEY=VALUE`` with paths from the file's root, as on the command line.

    Raises:
        SweepFileError: the file has problems; all of them are listed.
        CorpusError: a corpus cannot be found or read.
    """
    return load_sweep(Path(path), overrides=overrides, identify=identify_corpus)


def make_plan(
    sweep: Sweep,
    *,
    folder: SweepFolder,
    again: Again = "failed",
    only: CellFilter | None = None,
    over: Collection[str] = (),
) -> Plan:
    """Compare a sweep with the results that are there, and decide for every run whether it is started.

    Final results (``ok``, ``diverged``, ``oom``) are kept, and so are files that a newer version wrote. Failures of the
    execution (``killed``, ``crashed``, ``timeout``) are tried again. The best values of what is tuned are those that
    the results say; until all tries have ended, the runs that wait for them have the first value to try in their place.

    Args:
        sweep: The expanded sweep.
        folder: Where its results are kept; need not exist.
        again: What is run again.
        only: Chooses the runs that are started and timed; the others are left alone. None: all of them. Tries are
            always chosen: without all of them no value is known.
        over: Runs that this command is done with, however they ended.

    Raises:
        UsageError: the filter chooses none.
    """
    statuses, unreadable = read_statuses(folder)
    broken = {file.path.stem: file for file in unreadable}
    if sweep.tuning is not None:
        sweep = choose(sweep, ends_of_tries(sweep.tuning, folder=folder, unreadable=unreadable))
    cells: dict[str, PlannedCell] = {}
    for cell in sweep.cells:
        run_id = cell.spec.run_id
        if run_id in cells:  # the same run from two places of the sweep, such as the twin of two configurations
            continue
        action, reason = _decide(statuses.get(run_id), broken=broken.get(run_id), again=again)
        if run_id in over:
            action, reason = "skip", "ended"
        if only is not None and cell.role != "tuning" and not only.chooses(cell.spec):
            action, reason = "leave", "not chosen by --filter"
        cells[run_id] = PlannedCell(
            cell=cell, status=statuses.get(run_id), action=action, reason=reason, cost=cost_of(cell.spec)
        )
    known = list(cells)
    for cell in sweep.pending:
        is_left = only is not None and not _names_tuned(only, sweep) and not only.chooses(cell.spec)
        action, reason = ("leave", "not chosen by --filter") if is_left else ("await", "after tuning")
        cells[cell.spec.run_id] = PlannedCell(
            cell=cell, status=None, action=action, reason=reason, cost=cost_of(cell.spec), is_known=False
        )
    chosen = [cell for cell in cells.values() if cell.action != "leave" and cell.cell.role != "tuning"]
    if only is not None and not chosen:
        reported = [cell for cell in cells.values() if cell.cell.role != "tuning"]
        text, values = only.expression.text, only.describe_values(cell.spec for cell in reported)
        raise UsageError(f"--filter {text!r} chooses none of {len(reported)} runs: {values}. Nothing was started.")
    timed = timed_configs(folder)
    expected = {c.spec.config_id: None for c in chosen if c.status == "ok" or c.action != "skip"}
    return Plan(
        sweep=sweep,
        folder=folder,
        cells=tuple(cells.values()),
        untimed=tuple(config_id for config_id in expected if config_id not in timed),
        unreadable=tuple(
            file if file.path.stem in cells else replace(file, remedy="No run of this sweep needs it.")
            for file in unreadable
        ),
        again=again,
        only=only,
        amended=compare_with_manifest(folder, specs=[cells[run_id].spec for run_id in known]),
    )


def in_starting_order(cells: Sequence[PlannedCell]) -> list[PlannedCell]:
    """Order runs: first seeds before second ones, then the longest first.

    So an interrupted sweep has something to compare, and no long run is left over at the end.

    Args:
        cells: The runs.
    """
    seen: dict[str, int] = {}
    ranks = []
    for cell in cells:
        config_id = cell.spec.config_id
        ranks.append(seen.get(config_id, 0))
        seen[config_id] = seen.get(config_id, 0) + 1
    order = sorted(range(len(cells)), key=lambda i: (ranks[i], -cells[i].cost.trained_flops.useful))
    return [cells[i] for i in order]


def write_plan_manifest(plan: Plan) -> None:
    """Write the manifest: the expanded cells with their roles, those that are known so far.

    Args:
        plan: The plan.

    Raises:
        ResultsFolderError: the manifest cannot be written.
    """
    cells = [
        ManifestCell(
            run_id=planned.spec.run_id,
            config_id=planned.spec.config_id,
            seed=planned.spec.seed,
            role=planned.cell.role,
            twin_of=list(planned.cell.twin_of),
            twins=dict(planned.cell.twins),
            settings=planned.cell.settings,
            spec=planned.spec.model_dump(mode="json"),
        )
        for planned in plan.cells
        if planned.is_known
    ]
    sweep = plan.sweep
    write_manifest(
        plan.folder,
        Manifest(
            sweep=sweep.name,
            question=sweep.question,
            expected=sweep.expected,
            file=sweep.file,
            command=command_line(),
            axes=list(sweep.axes),
            primary=sweep.primary and PrimaryPair.model_validate(vars(sweep.primary)),
            min_effect=sweep.min_effect,
            confidence=sweep.confidence,
            controls=[Control.model_validate(vars(control)) for control in sweep.controls],
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            cells=cells,
            tuning=[TunedConfiguration.model_validate(asdict(choice)) for choice in sweep.choices],
            pending=len(sweep.pending),
        ),
    )


def command_line() -> str:
    """Give the command that was typed, quoted so that it can be pasted."""
    return shlex.join(["switchbench", *sys.argv[1:]])


def _names_tuned(only: CellFilter, sweep: Sweep) -> bool:
    """Whether a filter speaks of a value that is tuned."""
    grid = {} if sweep.tuning is None else sweep.tuning.grid
    return any(path.endswith(name) for name in only.expression.names for path in grid)


def _decide(status: str | None, *, broken: UnreadableFile | None, again: Again) -> tuple[Action, str]:
    if broken is not None and not broken.is_remade:
        return "skip", broken.reason
    if broken is not None:
        return "run", "its curve cannot be read" if broken.path.parent.name == "steps" else "its result cannot be read"
    if status is None:
        return "run", "no result yet"
    if again == "all" or (again == "early" and status in ("diverged", "oom")):
        return "rerun", f"{'done' if status == 'ok' else status} before, asked for again"
    if status in FINAL_STATUSES:
        return "skip", {"ok": "done", "diverged": "diverged: a result", "oom": "out of memory: final"}[status]
    return "retry", f"{status} before"
