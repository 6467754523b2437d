"""Tables as CSV in long form: a line per cell, with its number, its doubts and its unit in columns of their own."""

import csv
import io

from switchbench.report.elements import Cell, SweepReport, Table, one_line

CSV_COLUMNS = (
    "sweep", "table", "row", "config_id", "label", "column", "value", "unit", "text", "spread", "ci95_low", "ci95_high",
    "bound", "caveats",
)  # fmt: skip
"""Name of the sweep and key of the table; number of the row, from 1; the row's configuration, empty where there are
several, and its labels in words; key of the column; the number, unrounded, or the word, empty where it is unknown, and
its unit; what the other formats print; standard deviation over seeds; ends of the 95% interval; ``lower`` or ``upper``
where the value is a bound; codes of its caveats, with spaces between them."""


def csv_header() -> str:
    """Give the line that names the columns."""
    return _text([CSV_COLUMNS])


def csv_sweep(sweep: SweepReport) -> str:
    """Write the cells of all tables of a sweep, without the header.

    Args:
        sweep: The report of the sweep.
    """
    return "".join(csv_table(table, sweep=sweep.name) for table in sweep.tables)


def csv_table(table: Table, *, sweep: str) -> str:
    """Write the cells of a table, without the header.

    Args:
        table: The table.
        sweep: Name of its sweep.
    """
    lines = []
    for number, row in enumerate(table.rows, start=1):
        labels = [
            f"{one_line(column.header)} {cell.text}"
            for column, cell in zip(table.columns, row.cells, strict=True)
            if column.is_label
        ]
        for column, cell in zip(table.columns, row.cells, strict=True):
            named = (sweep, table.key, str(number), row.config_id or "", ", ".join(labels), column.key)
            lines.append((*named, _number(cell.value), column.unit or "", cell.text, *_doubts(cell)))
    return _text(lines)


def _doubts(cell: Cell) -> tuple[str, ...]:
    low, high = (None, None) if cell.ci95 is None else cell.ci95
    return _number(cell.spread), _number(low), _number(high), cell.bound or "", " ".join(cell.caveats)


def _number(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)


def _text(lines: list[tuple[str, ...]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
