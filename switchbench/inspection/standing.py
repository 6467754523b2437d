"""How sweeps stand: what is done, running, failed and missing, from the manifest and the files beside it."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from switchbench.errors import NothingToReportError, ResultsFolderError
from switchbench.launch.claims import Heartbeat, read_claims
from switchbench.record import RunRecord
from switchbench.store import (
    Manifest,
    ManifestCell,
    SweepFolder,
    UnreadableFile,
    find_sweeps,
    read_manifest,
    read_run,
    read_statuses,
    timed_configs,
)
from switchbench.sweep import describe_settings

STANDING_SCHEMA = 1
"""Version of the JSON object."""
State = Literal["done", "running", "failed", "diverged", "oom", "missing"]
STATES: tuple[State, ...] = get_args(State)
_STATE_OF: dict[str | None, State] = {"ok": "done", "diverged": "diverged", "oom": "oom", None: "missing"}
FIRST_STEPS = "start one with `switchbench sweep FILE`; `switchbench init` writes a file to start from"


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """How one run stands."""

    cell: ManifestCell
    """The run, as the manifest names it."""
    state: State
    """Where it is; every run is in one state."""
    status: str | None
    """How it ended last; None: it has not yet."""
    reason: str | None
    """Why it did not end well; None: it did, or nothing is said."""
    log_path: Path | None
    """Its log; None: there is none."""
    checkpoint: Path | None
    """Its final weights; None: they were not kept."""
    heartbeat: Heartbeat | None
    """What was last heard of it; None: it is not running."""


@dataclass(frozen=True, kw_only=True)
class SweepStanding:
    """How one sweep stands."""

    folder: SweepFolder
    """Its folder."""
    manifest: Manifest
    """What it asks for."""
    runs: tuple[RunStanding, ...]
    """Its runs, in the order of the manifest."""
    timed: frozenset[str]
    """The config_ids of those of its configurations that have a step time, of any machine."""
    unreadable: tuple[UnreadableFile, ...]
    """Result files that cannot be read."""
    num_strangers: int
    """Runs whose results are there and that the manifest no longer names."""
    num_running_strangers: int
    """Runs that a command is running and that the manifest no longer names, since the file was amended meanwhile."""

    @property
    def labels(self) -> dict[str, str]:
        """The configurations in words, by config_id, each with words of its own."""
        return labels_of(self.manifest)

    def counts(self) -> dict[str, int]:
        """Count the runs: ``cells`` in all, and those in every state, which add up to it; then the configurations.

        Runs that wait for tuned values are missing, and are not listed: what they are is not known yet.
        """
        states = Counter(run.state for run in self.runs)
        return {
            "cells": len(self.runs) + self.manifest.pending,
            **{state: states[state] for state in STATES},
            "missing": states["missing"] + self.manifest.pending,
            "configurations": len({run.cell.config_id for run in self.runs if run.cell.role != "tuning"}),
            "timed": len(self.timed),
            "checkpoints": sum(run.checkpoint is not None for run in self.runs),
            "not_in_manifest": self.num_strangers,
            "running_not_in_manifest": self.num_running_strangers,
        }

    def as_json(self) -> dict[str, Any]:
        """Give it as it stands in ``sweeps`` of the JSON object."""
        labels = self.labels
        return {
            "sweep": self.manifest.sweep,
            "question": self.manifest.question,
            "results": str(self.folder.path),
            "file": self.manifest.file,
            "command": self.manifest.command,
            "counts": self.counts(),
            "timed_configurations": sorted(self.timed),
            "runs": [_run_json(run, label=labels[run.cell.config_id]) for run in self.runs],
            "unreadable": [
                {"path": str(file.path), "reason": file.reason, "remedy": file.remedy} for file in self.unreadable
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Survey:
    """How all sweeps of a folder stand."""

    results: Path
    """The folder."""
    sweeps: tuple[SweepStanding, ...]
    """The sweeps, in the order of their names."""
    damaged: Mapping[str, str]
    """What is wrong with the manifests that cannot be read, by the path of the sweep's folder."""

    def as_json(self) -> dict[str, Any]:
        """Give it as one JSON object."""
        return {
            "schema_version": STANDING_SCHEMA,
            "results": str(self.results),
            "sweeps": [sweep.as_json() for sweep in self.sweeps],
            "damaged": dict(self.damaged),
        }


def survey(results: Path, *, sweep: str | None = None) -> Survey:
    """Look how the sweeps of a folder stand; commands may be running them meanwhile.

    Args:
        results: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name.

    Raises:
        NothingToReportError: there is no sweep; says what to run.
        ResultsFolderError: there is none of that name, ``results`` is a file, or no manifest can be read.
    """
    folders = sweeps_in(results, sweep=sweep)
    standings, damaged = [], {}
    for folder in folders:
        try:
            manifest = read_manifest(folder)
        except ResultsFolderError as error:
            damaged[str(folder.path)] = str(error)
            continue
        standings.append(stand(folder, manifest))
    if not standings:
        raise ResultsFolderError("\n".join(damaged.values()))
    return Survey(results=results, sweeps=tuple(standings), damaged=damaged)


def sweeps_in(results: Path, *, sweep: str | None = None) -> list[SweepFolder]:
    """Find the sweeps of a folder: at least one.

    Args:
        results: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name.

    Raises:
        NothingToReportError: there is no sweep; says what to run.
        ResultsFolderError: there is none of that name, or ``results`` is a file.
    """
    if not results.exists():
        raise NothingToReportError(f"There are no results at {results}: {FIRST_STEPS}")
    folders = find_sweeps(results, sweep=sweep)
    if not folders:
        raise NothingToReportError(f"There is no sweep in {results}: {FIRST_STEPS}")
    return folders


def stand(folder: SweepFolder, manifest: Manifest) -> SweepStanding:
    """Look how one sweep stands.

    Args:
        folder: Its folder.
        manifest: What it asks for.
    """
    claims = read_claims(folder)  # before the results: what ends in between is still called running, never missing
    statuses, unreadable = read_statuses(folder)
    config_ids = {cell.config_id for cell in manifest.cells}
    run_ids = {cell.run_id for cell in manifest.cells}
    return SweepStanding(
        folder=folder,
        manifest=manifest,
        runs=tuple(
            _stand_of(cell, folder=folder, status=statuses.get(cell.run_id), heartbeat=claims.get(cell.run_id))
            for cell in manifest.cells
        ),
        timed=frozenset(timed_configs(folder) & config_ids),
        unreadable=tuple(
            file if file.path.stem in run_ids else replace(file, remedy="No run of this sweep needs it.")
            for file in unreadable
        ),
        num_strangers=len(statuses.keys() - run_ids),
        num_running_strangers=len(claims.keys() - run_ids),
    )


def end_of(rows: list[RunRecord]) -> RunRecord | None:
    """The row of a run's end among its rows."""
    return next((row for row in rows if row.parent_run_id is None), None)


def labels_of(manifest: Manifest) -> dict[str, str]:
    """Put the configurations of a manifest into words, by config_id; what would be told alike gets its id.

    Args:
        manifest: The manifest.
    """
    labels = {
        cell.config_id: f"{'try of ' * (cell.role == 'tuning')}{describe_settings(cell.settings, role=cell.kind)}"
        for cell in manifest.cells
    }
    twins = {cell.config_id: sorted(cell.twins) for cell in manifest.cells}
    for make_distinct in (lambda config_id: " and ".join(twins[config_id]), lambda config_id: config_id):
        often = Counter(labels.values())
        labels = {
            config_id: f"{label} ({make_distinct(config_id)})"
            if often[label] > 1 and make_distinct(config_id)
            else label
            for config_id, label in labels.items()
        }
    return labels


def _stand_of(
    cell: ManifestCell, *, folder: SweepFolder, status: str | None, heartbeat: Heartbeat | None
) -> RunStanding:
    state: State = "running" if heartbeat is not None else _STATE_OF.get(status, "failed")
    end = None if status in (None, "ok") else end_of(read_run(folder, cell.run_id))
    log_path, checkpoint = folder.log_path(cell.run_id), folder.checkpoint_path(cell.run_id)
    return RunStanding(
        cell=cell,
        state=state,
        status=status,
        reason=None if end is None else end.reason,
        log_path=log_path if log_path.exists() else None,
        checkpoint=checkpoint if checkpoint.exists() else None,
        heartbeat=heartbeat,
    )


def _run_json(run: RunStanding, *, label: str) -> dict[str, Any]:
    cell = run.cell
    return {
        "run_id": cell.run_id,
        "config_id": cell.config_id,
        "label": label,
        "role": cell.role,
        "seed": cell.seed,
        "settings": cell.settings,
        "state": run.state,
        "status": run.status,
        "reason": run.reason,
        "log": None if run.log_path is None else str(run.log_path),
        "checkpoint": None if run.checkpoint is None else str(run.checkpoint),
        "heartbeat": None if run.heartbeat is None else heartbeat_json(run.heartbeat),
    }


def heartbeat_json(heartbeat: Heartbeat) -> dict[str, Any]:
    """Give what was last heard of a run, with its age and the share of its tokens that is done.

    Args:
        heartbeat: What was heard.
    """
    now_s = time.time()
    return asdict(heartbeat) | {"age_s": heartbeat.age_s(now_s=now_s), "fraction": fraction_done(heartbeat)}


def fraction_done(heartbeat: Heartbeat) -> float | None:
    """The share of a run's tokens that is done; None: not known yet."""
    return heartbeat.tokens_done / heartbeat.tokens_total if heartbeat.tokens_total else None
