"""The results as data frames: every column of the schema, in its order, whatever the files hold."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from switchbench.record import RunRecord, StepRecord, TimingRecord
from switchbench.store.folder import find_sweeps
from switchbench.store.reading import read_tables
from switchbench.store.schemas import Record, arrow_schema


def load_runs(results: str | Path, *, sweep: str | None = None) -> pd.DataFrame:
    """Load the runs: a row per annealed point, failed runs included; the columns are those of ``RunRecord``.

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
    return _load(results, part="runs", record=RunRecord, sweep=sweep)


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
    # A data frame's index and dtypes come from the schema, also where there is no row.
    frame: pd.DataFrame = pa.concat_tables([arrow_schema(record).empty_table(), *tables]).to_pandas()
    return frame
