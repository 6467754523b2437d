"""The runs of a sweep by configuration: what the manifest asks for, and what is there."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from switchbench.caveats import Caveat
from switchbench.compare.curves import Curve, CurvePoint
from switchbench.record import RunRecord, TimingRecord
from switchbench.store import Manifest, ManifestCell

LARGEST_QUALITY = 1e6
"""Nats per token, or bits per byte, above which a run has diverged, whatever it says of itself: worse than any text."""


def is_quality(value: float | None) -> bool:
    """Whether a number can be the nll of a run, or its bits per byte: not below 0, not beyond all bounds, not NaN."""
    return value is not None and 0 <= value <= LARGEST_QUALITY


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A configuration of a sweep with its runs, one per seed."""

    config_id: str
    """Identity of the configuration."""
    role: Literal["sparse", "dense"]
    """The kind of its FFN."""
    twins: dict[str, tuple[str, ...]]
    """Configurations whose dense twin this is, by what the two have in common; see ``MATCHED_ON``."""
    settings: dict[str, Any]
    """The swept settings, by their path in the sweep file; without the seed."""
    spec: dict[str, Any]
    """The resolved specification of its first run, as stored in the manifest."""
    run_ids: dict[int, str]
    """The runs that the sweep asks for, by seed."""
    ends: dict[int, RunRecord]
    """The row of the end of each run that is there, by seed, failures included."""
    earlier: dict[int, tuple[RunRecord, ...]]
    """The rows of the earlier annealed points of each run, by seed, in the order of their tokens."""
    timing: TimingRecord | None
    """Its exclusive step time on the sweep's reference machine."""
    is_tuned_at_edge: bool = False
    """Whether its tuned values are at an edge of those that were tried."""

    @cached_property
    def finished(self) -> dict[int, RunRecord]:
        """The ends of the runs that went well, by seed: what means are taken over."""
        return {seed: row for seed, row in self.ends.items() if _went_well(row)}

    @cached_property
    def failed(self) -> dict[int, RunRecord]:
        """The ends of the runs that did not go well, diverged ones included, by seed."""
        return {seed: row for seed, row in self.ends.items() if not _went_well(row)}

    @cached_property
    def diverged(self) -> tuple[int, ...]:
        """Seeds whose run diverged: results, and bad ones. So are runs with an nll that is not finite, or enormous."""
        return tuple(seed for seed, row in self.failed.items() if row.status == "diverged" or _is_beyond_bounds(row))

    @property
    def missing(self) -> tuple[int, ...]:
        """Seeds of which there is no row."""
        return tuple(seed for seed in self.run_ids if seed not in self.ends)

    @cached_property
    def curves(self) -> dict[int, Curve]:
        """The annealed points of the runs that went well and have an nll at their end, by seed."""
        return {
            seed: curve_of((*self.earlier.get(seed, ()), end))
            for seed, end in self.finished.items()
            if end.nll is not None and end.tokens_seen is not None
        }

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """What is to be said of a mean over its runs."""
        caveats = []
        if len(self.finished) == 1:
            caveats.append(Caveat.SINGLE_SEED)
        if self.is_tuned_at_edge:
            caveats.append(Caveat.TUNED_AT_EDGE)
        if self.missing or len(self.failed) > len(self.diverged):
            caveats.append(Caveat.MISSING_RUNS)
        if self.diverged:
            caveats.append(Caveat.DIVERGED_RUNS)
        return tuple(caveats)


def gather_configurations(
    manifest: Manifest, *, runs: Sequence[RunRecord], timings: Sequence[TimingRecord]
) -> tuple[Configuration, ...]:
    """Put the runs of a sweep in order: the configurations as the manifest lists them, each with what is there of it.

    Rows of runs that the manifest does not list (any longer) are left out, and so are the tries of what is tuned.

    Args:
        manifest: What the sweep asks for.
        runs: All rows of the runs table.
        timings: All rows of the timings table.
    """
    cells: dict[str, list[ManifestCell]] = {}
    for cell in manifest.cells:
        if cell.role != "tuning":
            cells.setdefault(cell.config_id, []).append(cell)
    at_edge = {tuned.config_id for tuned in manifest.tuning if tuned.at_edge}
    ends = {row.run_id: row for row in runs if row.parent_run_id is None}
    earlier: dict[str, list[RunRecord]] = {}
    for row in sorted(runs, key=lambda row: row.anneal_fraction):
        if row.parent_run_id is not None:
            earlier.setdefault(row.parent_run_id, []).append(row)
    machine_id = reference_machine(timings, config_ids=cells)
    timing_of = {timing.config_id: timing for timing in timings if timing.machine_id == machine_id}
    return tuple(
        Configuration(
            config_id=config_id,
            role="dense" if members[0].role == "dense" else "sparse",
            twins=_twins(members),
            settings={path: value for path, value in members[0].settings.items() if path != "seed"},
            spec=members[0].spec,
            run_ids={cell.seed: cell.run_id for cell in members},
            ends={cell.seed: ends[cell.run_id] for cell in members if cell.run_id in ends},
            earlier={cell.seed: tuple(earlier.get(cell.run_id, ())) for cell in members},
            timing=timing_of.get(config_id),
            is_tuned_at_edge=config_id in at_edge,
        )
        for config_id, members in cells.items()
    )


def reference_machine(timings: Sequence[TimingRecord], *, config_ids: Iterable[str]) -> str | None:
    """Choose the machine whose step times are compared: the one that timed the most configurations, then the latest.

    Args:
        timings: All rows of the timings table.
        config_ids: The configurations that count.
    """
    wanted = set(config_ids)
    relevant = [timing for timing in timings if timing.config_id in wanted]
    numbers = Counter(timing.machine_id for timing in relevant)
    latest = {timing.machine_id: timing.timed_at for timing in sorted(relevant, key=lambda timing: timing.timed_at)}
    return max(numbers, key=lambda machine_id: (numbers[machine_id], latest[machine_id], machine_id), default=None)


def curve_of(rows: Sequence[RunRecord]) -> Curve:
    """Make a curve of the annealed rows of one run; rows without an nll are left out."""
    points = (
        CurvePoint(
            tokens=float(row.tokens_seen),
            nll=row.nll,
            provisioned_flops=row.provisioned_train_flops,
            executed_flops=row.executed_train_flops,
        )
        for row in rows
        if row.nll is not None and is_quality(row.nll) and row.tokens_seen
    )
    return tuple(sorted(points, key=lambda point: point.tokens))


def mixture_caveats(rows: Sequence[RunRecord]) -> tuple[Caveat, ...]:
    """What is to be said of rows that are compared although they were made differently: code, machines, execution."""
    caveats = []
    if len({(row.commit, row.torch_version) for row in rows}) > 1:
        caveats.append(Caveat.MIXED_CODE)
    if len({row.machine_id for row in rows}) > 1:
        caveats.append(Caveat.MIXED_MACHINES)
    if len({(row.device, row.threads, row.precision, row.allocator) for row in rows}) > 1:
        caveats.append(Caveat.MIXED_EXECUTION)
    return tuple(caveats)


def _went_well(row: RunRecord) -> bool:
    """Whether a run ended well: an nll that none can have is not one; without any it may have other measures."""
    return row.status == "ok" and (row.nll is None or is_quality(row.nll))


def _is_beyond_bounds(row: RunRecord) -> bool:
    return row.nll is not None and not row.nll <= LARGEST_QUALITY


def _twins(cells: Sequence[ManifestCell]) -> dict[str, tuple[str, ...]]:
    kinds = dict.fromkeys(kind for cell in cells for kind in cell.twins)
    return {kind: tuple(dict.fromkeys(twin for cell in cells for twin in cell.twins.get(kind, ()))) for kind in kinds}
