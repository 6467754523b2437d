"""The results as data frames: every column of the schema, in its order, whatever the files hold."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from switchbench.record import RunRecord, StepRecord, TimingRecord
from switchbench.store.folder import find_sweeps
from switchbench.store.manifest import read_tries
from switchbench.store.reading import read_tables
from switchbench.store.schemas import Record, arrow_schema


def load_runs(results: str | Path, *, sweep: str | None = None) -> pd.DataFrame:
    """Load the runs: a row per annealed point, failed runs included; the columns are those of ``RunRecord``.

    One more, ``is_tuning``, tells the tries of what a sweep tunes: they are made for the choice of a value, and are not
    to be compared or fitted.

    Args:
        results: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name.

    Returns:
        The rows of all sweeps; the end of a run has no ``parent_run_id``. Unknown numbers are NaN, as in any frame.

    Raises:
        ResultsFolderError: there is no such folder or sweep.

    Warns:
        ResultsFileWarning: a file is passed over, or a column of it; the rest is loaded.
    """
    tables = [
        _with_tuning(table, tries=read_tries(folder))
        for folder in find_sweeps(Path(results), sweep=sweep)
        for _, table in read_tables(folder.runs, RunRecord)
    ]
    return _frame([_with_tuning(arrow_schema(RunRecord).empty_table(), tries=frozenset()), *tables])


def load_steps(results: str | Path, *, sweep: str | None = None) -> pd.DataFrame:
    """Load the curves: a row per evaluation; the columns are those of ``StepRecord``. See ``load_runs``."""
    return _load(results, part="steps", record=StepRecord, sweep=sweep)


def load_timings(results: str | Path, *, sweep: str | None = None) -> pd.DataFrame:
    """Load the step times: a row per configuration and machine, as in ``TimingRecord``. See ``load_runs``."""
    return _load(results, part="timings", record=TimingRecord, sweep=sweep)


def _load(results: str | Path, *, part: str, record: type[Record], sweep: str | None) -> pd.DataFrame:
    tables = [
        table
        for folder in find_sweeps(Path(results), sweep=sweep)
        for _, table in read_tables(folder.path / part, record)
    ]
    return _frame([arrow_schema(record).empty_table(), *tables])


def _with_tuning(table: pa.Table, *, tries: frozenset[str]) -> pa.Table:
    """Tell which rows are of tries: their own ends, and their earlier annealed points."""
    ids = zip(table.column("run_id").to_pylist(), table.column("parent_run_id").to_pylist(), strict=True)
    return table.append_column("is_tuning", pa.array([not tries.isdisjoint(each) for each in ids], pa.bool_()))


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    """One frame; its index and dtypes come from the first table's schema, also where there is no row."""
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame
