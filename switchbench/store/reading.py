"""Reading what runs left. A file that cannot be read is named, and the rest is read.

The schema is that of the records, never that of the first file: a column that an older file lacks is filled with its
default, one that only a newer file has is left out and named. Nothing here imports pandas.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from switchbench.record import RECORD_SCHEMA, RunRecord, StepRecord, TimingRecord
from switchbench.store.folder import SweepFolder
from switchbench.store.schemas import SCHEMA_VERSION_KEY, Record, arrow_schema

_Row = TypeVar("_Row", RunRecord, StepRecord, TimingRecord)

IDENTITY: dict[type[Record], tuple[str, ...]] = {
    RunRecord: ("run_id",),
    StepRecord: ("run_id",),
    TimingRecord: ("config_id", "machine_id"),
}
"""Columns that say what a file of each table is about: two files about the same thing are one too many."""


_MAKE_ANEW = "Delete it and run the sweep's command again to make it anew."
_UPGRADE = "Upgrade switchbench to read it."


class ResultsFileWarning(UserWarning):
    """A file among the results was passed over, or a part of it was."""


@dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """A file among the results that is none."""

    path: Path
    """The file."""
    reason: str
    """What is wrong with it, and what to do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class _Unreadable(Exception):
    """Why a file cannot be read, and what to do."""

    def __init__(self, reason: str, *, remedy: str = _MAKE_ANEW) -> None:
        super().__init__(f"{reason}. {remedy}")


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
    """How each run ended, by its ``run_id``, and the files that do not say: their runs count as not done."""
    statuses: dict[str, str] = {}
    unreadable = []
    for path in parquet_files(folder.runs):
        try:
            table = _read_file(path, columns=("run_id", "parent_run_id", "status"))
            rows = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
            ends = {run_id: status for run_id, parent, status in rows if parent is None}
            if not ends:
                raise _Unreadable("it has no row for the end of a run")
            statuses |= ends
        except _Unreadable as reason:
            unreadable.append(UnreadableFile(path=path, reason=str(reason)))
    return statuses, unreadable


def timed_configs(folder: SweepFolder, *, machine_id: str | None = None) -> set[str]:
    """The configurations that have a step time, of one machine or of any; unreadable files count as not there."""
    timed = set()
    for path in parquet_files(folder.timings):
        try:
            table = _read_file(path, columns=("config_id", "machine_id"))
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
            table = _aligned(_read_file(path), record=record, path=path)
            identities = _identities(table, record=record)
            for identity in sorted(identities & seen.keys()):
                repeated = f"it repeats {' on '.join(identity)}, which {seen[identity].name} holds"
                raise _Unreadable(repeated, remedy="Delete one of the two.")
            seen |= dict.fromkeys(identities, path)
        except _Unreadable as reason:
            _warn_of(path, reason)
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
    for path, table in read_tables(folder, record):
        try:
            records += [record.model_validate(row) for row in table.to_pylist()]
        except ValidationError as error:
            first = error.errors()[0]
            column = first["loc"][0] if first["loc"] else "a row"
            _warn_of(path, f"{column} is {first.get('input')!r}: {first['msg']}. {_UPGRADE}")
    return records


def _read_file(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file, or some columns of it in the order asked for."""
    try:
        # One small file at a time: starting threads would take longer than reading it.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns=columns, use_threads=False)
            metadata = file.schema_arrow.metadata or {}
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
    absent = [name for name in columns or () if name not in table.column_names]
    if absent:
        raise _Unreadable(f"it has no column {', '.join(absent)}")
    return table if columns is None else table.select(columns)


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
            try:
                columns.append(table.column(field.name).cast(field.type))
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


def _warn_of(path: Path, reason: object) -> None:
    warnings.warn(f"{path} is passed over: {reason}", ResultsFileWarning, stacklevel=2)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
