"""The table of sparse configurations against the best dense one after as much training time."""

from collections.abc import Sequence

from switchbench import units
from switchbench.compare import EqualTime
from switchbench.report.cells import ratio_cell, speedup_cell
from switchbench.report.contents import Contents, label_cells, label_columns
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.units import UNKNOWN

_HOW_TO_READ = (
    "Each sparse configuration at its end against the dense one that is best after as much training time, steps times "
    "the exclusive step time: interpolated between annealed points over the logarithm of time, never extrapolated and "
    "never trained."
)


def equal_time_table(found: Sequence[EqualTime], contents: Contents) -> Table | None:
    """Draw the comparisons at equal time; None where no dense configuration was trained for such a time.

    Args:
        found: The comparisons.
        contents: What the tables of the sweep are drawn from.
    """
    if not any(each.candidates for each in found):
        return None
    columns = (
        *label_columns(contents),
        Column(key="train_time_s", header="training\ntime", unit="s"),
        Column(key="nll", header="nll", unit="nats/token"),
        Column(key="dense", header="best dense then"),
        Column(key="dense_nll", header="nll\n(dense)", unit="nats/token"),
        Column(key="delta_nll", header="sparse vs\ndense", unit="nats/token"),
        Column(key="verdict", header="verdict"),
        Column(key="time_speedup", header="time\nspeed-up"),
        Column(key="peak_memory_ratio", header="peak\nmemory"),
    )
    rows = [
        Row(config_id=each.sparse.config_id, cells=label_cells(each.sparse, contents) + _cells(each, contents))
        for each in found
    ]
    return Table(
        key="equal_time", title="At equal training time", columns=columns, rows=tuple(rows), notes=(_HOW_TO_READ,)
    )


def _cells(found: EqualTime, contents: Contents) -> tuple[Cell, ...]:
    difference = found.measured("delta_nll")
    time = Cell(text=units.duration(found.train_time_s), value=found.train_time_s)
    if difference.value is None or found.sparse_nll is None or found.dense_nll is None:
        unknown = Cell(text=UNKNOWN)
        return (time, unknown, unknown, unknown, Cell(text=UNKNOWN, caveats=difference.caveats), *[unknown] * 3)
    text = f"{difference.value:+.3f}"
    if difference.ci95 is not None:
        text += f" [±{(difference.ci95[1] - difference.ci95[0]) / 2:.3f}]"
    return (
        time,
        Cell(text=f"{found.sparse_nll:.3f}", value=found.sparse_nll),
        Cell(text=contents.names[found.dense.config_id], value=found.dense.config_id),
        Cell(text=f"{found.dense_nll:.3f}", value=found.dense_nll),
        Cell(text=text, value=difference.value, ci95=difference.ci95, caveats=difference.caveats),
        Cell(text=difference.verdict or UNKNOWN, value=difference.verdict),
        speedup_cell(found.measured("time_speedup"), is_twin=False),
        ratio_cell(found.measured("peak_memory_ratio")),
    )
