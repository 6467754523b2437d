"""Reading a table of runs: a Parquet or CSV file, a folder of Parquet files, or a sweep's results."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from switchbench.errors import ResultsFolderError, TableError
from switchbench.store import SweepFolder, read_manifest

PARQUET = (".parquet", ".pq")
STORED = "fits.parquet"
"""Fits that are stored in a folder, which are no runs."""
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def read_table(path: Path) -> pa.Table:
    """Read a table.

    A sweep's folder stands for the rows of the runs that it asks for, without the tries of what it tunes. The files of
    a folder need not have the same columns: what a file lacks is null.

    Args:
        path: A file ``.parquet``, ``.csv`` or ``.tsv`` (or either with ``.gz``), or a folder.

    Raises:
        TableError: there is none, or it cannot be read; says why.
    """
    table = _read(path)
    repeated = sorted(name for name, count in Counter(table.column_names).items() if count > 1)
    if repeated:
        raise TableError(f"{path} has more than one column {repeated[0]!r}; rename one of them")
    return table


def _read(path: Path) -> pa.Table:
    if (path / "runs").is_dir():
        return _reported(SweepFolder(path), _read_folder(path / "runs"))
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise TableError(f"{path} does not exist; name a Parquet or CSV file, or a folder with a sweep's results")
    name = path.name.lower()
    if name.endswith(PARQUET):
        return _read_parquet(path)
    if name.endswith(CSV):
        return _read_csv(path, delimiter="\t" if ".tsv" in name else ",")
    raise TableError(f"{path} is of no kind that can be read; it ends in one of {', '.join((*PARQUET, *CSV))}")


def _read_folder(folder: Path) -> pa.Table:
    found = (file for file in folder.iterdir() if file.suffix in PARQUET and not file.name.startswith("."))
    files = sorted(file for file in found if file.name != STORED)
    if not files:
        sweeps = sorted(each.name for each in folder.iterdir() if (each / "runs").is_dir())
        hint = f"; it holds the sweeps {', '.join(sweeps)}: name {folder / sweeps[0]}, say" if sweeps else ""
        raise TableError(f"{folder} has no Parquet files{hint}")
    tables = [_read_parquet(file) for file in files]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise TableError(f"the files of {folder} do not fit together: {_first_line(error)}") from error


def _reported(folder: SweepFolder, table: pa.Table) -> pa.Table:
    """Leave out what the sweep no longer asks for, and what was only run for the choice of a value: its seeds and other
    values are not those of the study."""
    names = [name for name in ("run_id", "parent_run_id") if name in table.column_names]
    try:
        cells = read_manifest(folder).cells
    except ResultsFolderError:  # without a manifest, all that is there
        return table
    if not names:
        return table
    reported = {cell.run_id for cell in cells if cell.role != "tuning"}
    ids = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return table.filter(pa.array([not reported.isdisjoint(each) for each in ids], pa.bool_()))


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pa.parquet.ParquetFile(path) as file:
            return file.read()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TableError(f"{path} is no readable Parquet file: {_first_line(error)}") from error


def _read_csv(path: Path, *, delimiter: str) -> pa.Table:
    if path.stat().st_size == 0:
        raise TableError(f"{path} is empty")
    try:
        return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter=delimiter))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise TableError(f"{path} is no readable CSV file: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
