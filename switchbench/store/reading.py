"""Reading what runs left. A file that cannot be read is named, and the rest is read.

The schema is that of the records, never that of the first file: a column that an older file lacks is filled with its
default, one that only a newer file has is left out and named. Nothing here imports pandas.
"""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from switchbench.record import FINAL_STATUSES, RECORD_SCHEMA, RunRecord, StepRecord, TimingRecord
from switchbench.store.folder import SweepFolder
from switchbench.store.schemas import SCHEMA_VERSION_KEY, SPEC_KEY, Record, arrow_schema

_Row = TypeVar("_Row", RunRecord, StepRecord, TimingRecord)

IDENTITY: dict[type[Record], tuple[str, ...]] = {
    RunRecord: ("run_id",),
    StepRecord: ("run_id",),
    TimingRecord: ("config_id", "machine_id"),
}
"""Columns that say what a file of each table is about: two files about the same thing are one too many."""

BATCH = 32
"""Files whose columns become rows in one go; of more, memory would hold every table, and holes after them."""
_MAKE_ANEW: dict[type[Record], str] = {
    RunRecord: "The sweep's command trains its run anew.",
    StepRecord: "The sweep's command trains its run anew, and draws the curve with it.",
    TimingRecord: "The sweep's command measures its configuration anew.",
}
"""What becomes of a file of each table that cannot be read."""
_UPGRADE = "Upgrade switchbench to read it."


class ResultsFileWarning(UserWarning):
    """A file among the results was passed over, or a part of it was."""


@dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """A file among the results that is none."""

    path: Path
    """The file."""
    reason: str
    """What is wrong with it."""
    remedy: str
    """What to do, or what will become of it; a sentence."""
    is_remade: bool = True
    """Whether the sweep's command puts another in its place; not if a newer version or another tool wrote it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}. {self.remedy}"


class _Unreadable(Exception):
    """Why a file cannot be read, and what to do; None: what is usual for its table."""

    def __init__(self, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


def read_runs(folder: SweepFolder) -> list[RunRecord]:
    """The rows of all runs of a sweep, in the order of the files' names; warns of every file that is passed over."""
    return _read_records(folder.runs, RunRecord)


def read_steps(folder: SweepFolder) -> list[StepRecord]:
    """The curves of all runs of a sweep, in the order of the files' names; warns of every file that is passed over."""
    return _read_records(folder.steps, StepRecord)


def read_timings(folder: SweepFolder) -> list[TimingRecord]:
    """The step times of a sweep, in the order of the files' names; warns of every file that is passed over."""
    return _read_records(folder.timings, TimingRecord)


def read_statuses(folder: SweepFolder) -> tuple[dict[str, str], list[UnreadableFile]]:
    """How each run ended, by its ``run_id``, and the files that cannot be read: their runs count as not done.

    Every file is read whole, so that what a report would pass over does not count as done; a result without its curve
    does not either.
    """
    statuses: dict[str, str] = {}
    unreadable = []
    for path in parquet_files(folder.runs):
        try:
            ends = _ends(path)
        except _Unreadable as reason:
            unreadable.append(_described(path, reason, record=RunRecord))
            continue
        curve = folder.steps / path.name
        try:
            if ends.keys() & {path.stem} and ends[path.stem] in FINAL_STATUSES:
                _read_table(curve, StepRecord)
            statuses |= ends
        except _Unreadable as reason:
            unreadable.append(_described(curve, reason, record=StepRecord))
    return statuses, unreadable


def read_status(folder: SweepFolder, run_id: str, *, with_curve: bool = False) -> str | None:
    """How one run ended; None where no file says so.

    Args:
        folder: The sweep's folder.
        run_id: The run.
        with_curve: Whether a result without a curve that can be read counts as none.
    """
    try:
        status = _ends(folder.runs / f"{run_id}.parquet").get(run_id)
        if with_curve and status in FINAL_STATUSES:
            _read_table(folder.steps / f"{run_id}.parquet", StepRecord)
    except _Unreadable:
        return None
    return status


def read_run(folder: SweepFolder, run_id: str) -> list[RunRecord]:
    """The rows of one run, the last its own end; none where no file can be read.

    Args:
        folder: The sweep's folder.
        run_id: The run.
    """
    return _read_file(folder.runs / f"{run_id}.parquet", RunRecord)


def read_curve(folder: SweepFolder, run_id: str) -> list[StepRecord]:
    """The curve of one run; none where no file can be read.

    Args:
        folder: The sweep's folder.
        run_id: The run.
    """
    return _read_file(folder.steps / f"{run_id}.parquet", StepRecord)


def read_spec(folder: SweepFolder, run_id: str) -> dict[str, Any] | None:
    """The specification of a run as it stands in the metadata of its result; None where there is none to be read.

    Args:
        folder: The sweep's folder.
        run_id: The run.
    """
    try:
        file = pa.BufferReader((folder.runs / f"{run_id}.parquet").read_bytes())
        content = json.loads((pq.read_schema(file).metadata or {})[SPEC_KEY])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return content if isinstance(content, dict) else None


def timed_configs(folder: SweepFolder, *, machine_id: str | None = None) -> set[str]:
    """The configurations that have a step time, of one machine or of any; unreadable files count as not there."""
    timed = set()
    for path in parquet_files(folder.timings):
        try:
            table = _read_table(path, TimingRecord)
        except _Unreadable:
            continue
        rows = zip(table.column("config_id").to_pylist(), table.column("machine_id").to_pylist(), strict=True)
        timed |= {config_id for config_id, machine in rows if machine_id in (None, machine)}
    return timed


def read_tables(folder: Path, record: type[Record]) -> Iterator[tuple[Path, pa.Table]]:
    """Read the files of one table, each brought to the record's schema.

    Yields:
        The file and its rows, with all columns of the schema in their order.

    Warns:
        ResultsFileWarning: a file is passed over, or a column of it; names the file, the reason and what to do.
    """
    seen: dict[tuple[str, ...], Path] = {}
    for path in parquet_files(folder):
        try:
            table = _read_table(path, record)
            identities = _identities(table, record=record)
            for identity in sorted(identities & seen.keys()):
                repeated = f"it repeats {' on '.join(identity)}, which {seen[identity].name} holds"
                raise _Unreadable(repeated, remedy="Delete one of the two.")
            seen |= dict.fromkeys(identities, path)
        except _Unreadable as reason:
            _warn_of(_described(path, reason, record=record))
            continue
        yield path, table


def parquet_files(folder: Path) -> list[Path]:
    """The result files in a folder, without what is being written.

    Shorter names come first, so that a copy (``abc (1).parquet``) follows its original.
    """
    if not folder.is_dir():
        return []
    files = (path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    return sorted(files, key=lambda path: (len(path.name), path.name))


def _read_records(folder: Path, record: type[_Row]) -> list[_Row]:
    records: list[_Row] = []
    tables = read_tables(folder, record)
    while batch := list(islice(tables, BATCH)):
        # File by file, this would take as long as reading them.
        rows = iter(pa.concat_tables([table for _, table in batch]).to_pylist())
        for path, table in batch:
            try:
                records += [record.model_validate(row) for row in list(islice(rows, table.num_rows))]
            except ValidationError as error:
                first = error.errors()[0]
                column = first["loc"][0] if first["loc"] else "a row"
                reason = f"{column} is {first.get('input')!r}: {first['msg']}"
                _warn_of(UnreadableFile(path=path, reason=reason, remedy=_UPGRADE))
    return records


def _read_file(path: Path, record: type[_Row]) -> list[_Row]:
    """The rows of one file; none where it cannot be read."""
    try:
        return [record.model_validate(row) for row in _read_table(path, record).to_pylist()]
    except (_Unreadable, ValidationError):
        return []


def _ends(path: Path) -> dict[str, str]:
    """How the runs of a file ended: one, by its ``run_id``."""
    table = _read_table(path, RunRecord)
    rows = zip(*(table.column(name).to_pylist() for name in ("run_id", "parent_run_id", "status")), strict=True)
    ends = {run_id: status for run_id, parent, status in rows if parent is None}
    if not ends:
        raise _Unreadable("it has no row for the end of a run")
    return ends


def _read_table(path: Path, record: type[Record]) -> pa.Table:
    """Read a file whole, which checks the values against their checksums, and bring it to the record's schema."""
    try:
        # One small file at a time: starting threads would take longer than reading it. It is opened here, since pyarrow
        # takes no path whose bytes are not UTF-8.
        with pq.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
            metadata = table.schema.metadata or {}
    except FileNotFoundError as error:
        raise _Unreadable("it is missing") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        size = path.stat().st_size if path.exists() else None
        raise _Unreadable(
            "it is empty" if size == 0 else f"it is no readable Parquet file ({_first_line(error)})"
        ) from error
    version = metadata.get(SCHEMA_VERSION_KEY, b"")
    if not version.isdigit():
        raise _Unreadable("switchbench did not write it", remedy="Move it elsewhere.")
    if int(version) > RECORD_SCHEMA:
        newer = f"it has schema version {int(version)}, and this switchbench reads up to {RECORD_SCHEMA}"
        raise _Unreadable(newer, remedy=_UPGRADE)
    return _aligned(table, record=record, path=path)


def _aligned(table: pa.Table, *, record: type[Record], path: Path) -> pa.Table:
    schema = arrow_schema(record)
    if table.schema.equals(schema):  # nearly always
        return table
    present = set(table.column_names)
    extra = [name for name in table.column_names if name not in record.model_fields]
    if extra:
        warnings.warn(
            f"{path} has columns that this version of switchbench does not know and leaves out: {', '.join(extra)}. "
            "Upgrade switchbench to see them.",
            ResultsFileWarning,
            stacklevel=2,
        )
    columns = []
    for field in schema:
        default = record.model_fields[field.name]
        if field.name in present:
            column = table.column(field.name)
            try:
                columns.append(column if column.type == field.type else column.cast(field.type))
            except pa.ArrowException as error:
                raise _Unreadable(f"its column {field.name} is not {field.type} ({_first_line(error)})") from error
        elif default.is_required():
            raise _Unreadable(f"it has no column {field.name}")
        elif default.default is None:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            columns.append(pa.repeat(pa.scalar(default.default, field.type), table.num_rows))
    return pa.table(columns, schema=schema)


def _identities(table: pa.Table, *, record: type[Record]) -> set[tuple[str, ...]]:
    return set(zip(*(table.column(name).to_pylist() for name in IDENTITY[record]), strict=True))


def _described(path: Path, reason: _Unreadable, *, record: type[Record]) -> UnreadableFile:
    remedy = reason.remedy or _MAKE_ANEW[record]
    return UnreadableFile(path=path, reason=str(reason), remedy=remedy, is_remade=reason.remedy is None)


def _warn_of(file: UnreadableFile) -> None:
    warnings.warn(f"{file.path} is passed over: {file.reason}. {file.remedy}", ResultsFileWarning, stacklevel=2)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
