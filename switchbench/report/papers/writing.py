"""Where the tables for papers go: all of them on stdout, or a file per sweep and table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, assert_never, get_args

from switchbench.errors import ResultsFolderError
from switchbench.report.elements import Report, SweepReport, Table
from switchbench.report.papers.csv_cells import csv_header, csv_sweep, csv_table
from switchbench.report.papers.latex import latex_preamble, latex_sweep, latex_table
from switchbench.report.papers.markdown import markdown_sweep, markdown_table
from switchbench.store import as_utf8, write_atomically

PaperFormat = Literal["markdown", "csv", "latex"]
PAPER_FORMATS: tuple[PaperFormat, ...] = get_args(PaperFormat)
"""The formats."""
SUFFIXES: dict[PaperFormat, str] = {"markdown": ".md", "csv": ".csv", "latex": ".tex"}
"""How the files are called."""


def paper_text(report: Report, *, format_: PaperFormat) -> str:
    """Write all tables of all sweeps as one text.

    Args:
        report: The report.
        format_: How they are written.
    """
    match format_:
        case "markdown":
            return "\n".join(map(markdown_sweep, report.sweeps))
        case "csv":
            return csv_header() + "".join(map(csv_sweep, report.sweeps))
        case "latex":
            return latex_preamble() + "\n" + "\n".join(map(latex_sweep, report.sweeps))
        case _:
            assert_never(format_)


def write_papers(report: Report, *, format_: PaperFormat, output: Path) -> list[Path]:
    """Write each table into a file of its own; of several sweeps, each sweep's into a folder of its own.

    Args:
        report: The report.
        format_: How they are written.
        output: The folder; it is made where there is none.

    Returns:
        The files, in the order of the tables.

    Raises:
        ResultsFolderError: one cannot be written; says why and what to do.
    """
    paths = []
    for sweep in report.sweeps:
        folder = output if len(report.sweeps) == 1 else output / sweep.folder.path.resolve().name
        for path, text in _files(sweep, folder=folder, format_=format_):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(path, as_utf8(text))
            except (OSError, ResultsFolderError) as error:
                cause = error if isinstance(error, OSError) else error.__cause__
                reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
                raise ResultsFolderError(
                    f"The table {path} cannot be written: {reason}. Choose a folder that can be with --output DIR."
                ) from error
            paths.append(path)
    return paths


def _files(sweep: SweepReport, *, folder: Path, format_: PaperFormat) -> Iterator[tuple[Path, str]]:
    for table in sweep.tables:
        yield folder / f"{table.key}{SUFFIXES[format_]}", _table_text(table, sweep=sweep.name, format_=format_)


def _table_text(table: Table, *, sweep: str, format_: PaperFormat) -> str:
    match format_:
        case "markdown":
            return markdown_table(table) + "\n"
        case "csv":
            return csv_header() + csv_table(table, sweep=sweep)
        case "latex":
            return latex_preamble() + latex_table(table, sweep=sweep)
        case _:
            assert_never(format_)
