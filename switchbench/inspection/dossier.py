"""Everything about one run: what it is, what it costs, how it ended; and what makes two runs two."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from switchbench.caveats import footnote_of
from switchbench.cost import Cost, cost_of
from switchbench.errors import ResultsFolderError
from switchbench.inspection.differences import Difference, chosen_fields, differences
from switchbench.inspection.search import KnownRun, find_run, known_runs
from switchbench.inspection.standing import end_of, heartbeat_json, labels_of
from switchbench.launch.claims import Heartbeat, read_claims
from switchbench.record import RunRecord, TimingRecord
from switchbench.spec import RunSpec
from switchbench.store import ManifestCell, ResultsFileWarning, SweepFolder, read_run, read_status, read_timings
from switchbench.sweep import describe_settings

DOSSIER_SCHEMA = 1
"""Version of the JSON objects."""


@dataclass(frozen=True, kw_only=True)
class Relative:
    """Another run that a run has to do with."""

    run_id: str
    """Its id."""
    label: str
    """It in words."""
    matched_on: str
    """What twins have in common, such as ``iso_flop``."""


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """Everything about one run."""

    run: KnownRun
    """The run."""
    label: str
    """It in words."""
    spec: Mapping[str, Any]
    """Its specification."""
    cost: Cost | None
    """What it takes by arithmetic; None: this version cannot read its specification."""
    twins: tuple[Relative, ...]
    """Of a dense run: the sparse runs whose twin it is; of a sparse run: its dense twins. All of the same seed."""
    status: str | None
    """How it ended; None: it has not."""
    rows: tuple[RunRecord, ...]
    """Its results: a row per annealed point, the last its end."""
    timings: tuple[TimingRecord, ...]
    """Step times of its configuration, alone on each machine."""
    heartbeat: Heartbeat | None
    """What was last heard of it; None: it is not running."""
    log_path: Path | None
    """Its log; None: there is none."""
    checkpoint: Path | None
    """Its final weights; None: they were not kept."""
    also_in: tuple[str, ...]
    """Other sweeps that have it."""
    nearest: Relative | None
    """Where the manifest no longer names it: the run there that is most like it."""
    changed: tuple[Difference, ...]
    """Fields in which that one differs: first this run's values, then those of today."""

    @property
    def seed(self) -> int | None:
        """Its seed."""
        seed = self.spec.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def end(self) -> RunRecord | None:
        """The row of its end."""
        return end_of(list(self.rows))

    @property
    def role(self) -> str:
        """The kind of its FFN."""
        return str(self.spec.get("model", {}).get("ffn", {}).get("kind", "dense"))

    def as_json(self) -> dict[str, Any]:
        """Give it as one JSON object."""
        cell, cost = self.run.cell, self.cost
        caveats = dict.fromkeys(code for row in self.rows for code in row.caveats)
        return {
            "schema_version": DOSSIER_SCHEMA,
            "run_id": self.run.run_id,
            "config_id": cell.config_id if cell else self.end and self.end.config_id,
            "label": self.label,
            "sweep": self.run.manifest.sweep,
            "results": str(self.run.folder.path),
            "also_in": list(self.also_in),
            "is_in_manifest": cell is not None,
            "role": self.role,
            "seed": self.seed,
            "settings": cell.settings if cell else None,
            "twins": [asdict(twin) for twin in self.twins],
            "spec": dict(self.spec),
            "not_default": chosen_fields(self.spec),
            "cost": None
            if cost is None
            else {
                "params_total": cost.parameters.total,
                "params_active": cost.parameters.active,
                "forward_flops_per_token": cost.forward_flops_per_token.total,
                "useful_train_flops": cost.train_flops.useful,
                "executed_train_flops": cost.train_flops.executed,
                "trained_flops": cost.trained_flops.useful,
                "estimated_memory_bytes": cost.memory.peak,
            },
            "state": "running" if self.heartbeat else None,
            "status": self.status,
            "reason": self.end.reason if self.end else None,
            "heartbeat": None if self.heartbeat is None else heartbeat_json(self.heartbeat),
            "caveats": {code: footnote_of(code) for code in caveats},
            "log": None if self.log_path is None else str(self.log_path),
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
            "rows": [row.model_dump(mode="json") for row in self.rows],
            "timings": [timing.model_dump(mode="json") for timing in self.timings],
            "nearest": None if self.nearest is None else {"run_id": self.nearest.run_id, "label": self.nearest.label},
            "changed": None if self.nearest is None else [difference_json(each) for each in self.changed],
        }


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two runs side by side."""

    runs: tuple[Dossier, Dossier]
    """The runs."""
    found: tuple[Difference, ...]
    """The fields in which they differ."""

    def as_json(self) -> dict[str, Any]:
        """Give it as one JSON object."""
        return {
            "schema_version": DOSSIER_SCHEMA,
            "runs": [
                {
                    "run_id": run.run.run_id,
                    "sweep": run.run.manifest.sweep,
                    "label": run.label,
                    "seed": run.seed,
                    "status": run.status,
                    "is_in_manifest": run.run.cell is not None,
                }
                for run in self.runs
            ],
            "differences": [difference_json(each) for each in self.found],
        }


def difference_json(difference: Difference) -> dict[str, Any]:
    """Give a difference as it stands in a JSON object."""
    return {
        "field": difference.field,
        "values": [difference.first, difference.second],
        "is_identity": difference.is_identity,
    }


def open_dossier(run_id: str, *, results: Path) -> Dossier:
    """Gather everything about a run.

    Args:
        run_id: Its id, or the start of it.
        results: A root of results, or the folder of one sweep.

    Raises:
        UsageError: there is no such run, or more than one; names those that may be meant.
        NothingToReportError: there is no sweep.
        ResultsFolderError: what is there cannot be read.
    """
    runs = known_runs(results)
    return _dossier(find_run(run_id, among=runs), among=runs)


def contrast(first: str, second: str, *, results: Path) -> Contrast:
    """Say in which fields two runs differ.

    Args:
        first: The id of a run, or the start of it.
        second: That of another one.
        results: A root of results, or the folder of one sweep.

    Raises:
        UsageError: there is no such run, or more than one; names those that may be meant.
        NothingToReportError: there is no sweep.
        ResultsFolderError: what is there cannot be read.
    """
    runs = known_runs(results)
    one, other = (_dossier(find_run(each, among=runs), among=runs) for each in (first, second))
    return Contrast(runs=(one, other), found=tuple(differences(one.spec, other.spec)))


def _dossier(run: KnownRun, *, among: Sequence[KnownRun]) -> Dossier:
    spec = run.spec()
    if spec is None:
        path = run.folder.runs / f"{run.run_id}.parquet"
        raise ResultsFolderError(
            f"{path} does not say what the run is, and the manifest no longer names it; `switchbench prune` removes it"
        )
    labels = labels_of(run.manifest)
    nearest = None if run.cell is not None else _nearest(spec, cells=run.manifest.cells)
    rows = read_run(run.folder, run.run_id)
    named = run.cell or end_of(rows)
    config_id = None if named is None else named.config_id
    log_path, checkpoint = run.folder.log_path(run.run_id), run.folder.checkpoint_path(run.run_id)
    return Dossier(
        run=run,
        label=labels[run.cell.config_id] if run.cell else _describe(spec, axes=run.manifest.axes),
        spec=spec,
        cost=_cost(spec),
        twins=() if run.cell is None else tuple(_twins(run.cell, cells=run.manifest.cells, labels=labels)),
        status=read_status(run.folder, run.run_id),
        rows=tuple(rows),
        timings=tuple(_timings(run.folder, config_id=config_id)),
        heartbeat=read_claims(run.folder).get(run.run_id),
        log_path=log_path if log_path.exists() else None,
        checkpoint=checkpoint if checkpoint.exists() else None,
        also_in=tuple(each.manifest.sweep for each in among if each.run_id == run.run_id and each.folder != run.folder),
        nearest=None
        if nearest is None
        else Relative(run_id=nearest.run_id, label=labels[nearest.config_id], matched_on=""),
        changed=() if nearest is None else tuple(differences(spec, nearest.spec)),
    )


def _cost(spec: Mapping[str, Any]) -> Cost | None:
    try:
        return cost_of(RunSpec.model_validate(spec))
    except ValidationError:  # of another version
        return None


def _timings(folder: SweepFolder, *, config_id: str | None) -> list[TimingRecord]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResultsFileWarning)  # what is wrong with other files is no matter of this run
        return [timing for timing in read_timings(folder) if timing.config_id == config_id]


def _nearest(spec: Mapping[str, Any], *, cells: Sequence[ManifestCell]) -> ManifestCell | None:
    """The cell of a manifest that differs from a specification in the fewest fields."""

    def distance(cell: ManifestCell) -> tuple[int, bool]:
        found = [each for each in differences(spec, cell.spec) if each.is_identity]
        return len(found), any(each.field == "seed" for each in found)

    return min(cells, key=distance, default=None)


def _twins(cell: ManifestCell, *, cells: Sequence[ManifestCell], labels: Mapping[str, str]) -> list[Relative]:
    return [
        Relative(run_id=other.run_id, label=labels[other.config_id], matched_on=baseline)
        for other in cells
        if other.seed == cell.seed
        for dense, sparse in ((cell, other), (other, cell))
        for baseline, config_ids in dense.twins.items()
        if sparse.config_id in config_ids
    ]


def _describe(spec: Mapping[str, Any], *, axes: Sequence[str]) -> str:
    values: dict[str, Any] = {}
    for path in axes:
        value: Any = spec
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            values[path] = value
    return describe_settings(values, role=str(spec.get("model", {}).get("ffn", {}).get("kind", "dense")))
