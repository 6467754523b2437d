"""Writing runs and timings: one Parquet file each, under its own name, so that no two writers ever meet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from switchbench.record import FINAL_STATUSES, RECORD_SCHEMA, RunRecord, StepRecord, TimingRecord
from switchbench.spec import RunSpec
from switchbench.store.folder import SweepFolder, write_atomically
from switchbench.store.reading import read_status
from switchbench.store.schemas import SCHEMA_VERSION_KEY, SPEC_KEY, Record, arrow_schema


def write_run(folder: SweepFolder, *, runs: Sequence[RunRecord], steps: Sequence[StepRecord], spec: RunSpec) -> bool:
    """Write what a run left, in place of what an earlier attempt left; a failure never takes the place of a result.

    The curve is written before the rows: where there is a row, there is its curve.

    Args:
        folder: The sweep's folder.
        runs: The row of the run's end (``parent_run_id`` None; exactly one) and those of its earlier annealed points.
        steps: The curve; may be empty where the run failed early.
        spec: The resolved specification, kept in the files' metadata.

    Returns:
        Whether it was written; False: a result was there, and this is a failure.

    Raises:
        ResultsFolderError: a file cannot be written.
    """
    ((run_id, status),) = ((row.run_id, row.status) for row in runs if row.parent_run_id is None)
    if status not in FINAL_STATUSES and read_status(folder, run_id) in FINAL_STATUSES:
        return False
    metadata = {SPEC_KEY: spec.model_dump_json().encode()}
    _write_table(folder.steps / f"{run_id}.parquet", steps, record=StepRecord, metadata=metadata)
    _write_table(folder.runs / f"{run_id}.parquet", runs, record=RunRecord, metadata=metadata)
    return True


def write_timing(folder: SweepFolder, record: TimingRecord) -> None:
    """Write the step time of one configuration on one machine, in place of an earlier one.

    Raises:
        ResultsFolderError: the file cannot be written.
    """
    path = folder.timings / f"{record.config_id}-{record.machine_id}.parquet"
    _write_table(path, [record], record=TimingRecord, metadata={})


def _write_table(path: Path, rows: Sequence[Record], *, record: type[Record], metadata: Mapping[bytes, bytes]) -> None:
    schema = arrow_schema(record).with_metadata({SCHEMA_VERSION_KEY: str(RECORD_SCHEMA).encode(), **metadata})
    table = pa.Table.from_pylist([row.model_dump() for row in rows], schema=schema)
    buffer = pa.BufferOutputStream()
    # Files of a few rows: dictionaries and statistics would only make them larger.
    # Checksums tell a damaged file from a result.
    pq.write_table(table, buffer, use_dictionary=False, write_statistics=False, write_page_checksum=True)
    write_atomically(path, buffer.getvalue().to_pybytes())
