"""What was estimated before the runs against what was then measured: time and peak memory."""

import math
import statistics
from collections.abc import Callable, Sequence

from switchbench import units
from switchbench.compare import Configuration
from switchbench.record import RunRecord
from switchbench.report.cells import seeds_cell
from switchbench.report.contents import Contents, configuration_table, groups_of
from switchbench.report.elements import Cell, Column, EstimateErrors, Table
from switchbench.units import UNKNOWN

_TIME = ("estimated_time_s", "run_time_s")
_MEMORY = ("estimated_peak_memory_bytes", "peak_memory_bytes")
"""The columns of what was estimated and of what was measured."""


def estimate_errors(configurations: Sequence[Configuration]) -> EstimateErrors | None:
    """Compare the estimates of all runs that went well with what was measured; None where nothing was estimated.

    Args:
        configurations: All configurations of a sweep.
    """
    rows = [row for configuration in configurations for row in configuration.finished.values()]
    times, memories = _known(rows, _TIME), _known(rows, _MEMORY)
    if not times and not memories:
        return None
    return EstimateErrors(
        time_runs=len(times),
        median_absolute_time_error=_median_absolute_error(times),
        memory_runs=len(memories),
        median_absolute_memory_error=_median_absolute_error(memories),
    )


def estimates_table(contents: Contents) -> Table | None:
    """Build the table of estimates against reality; None where nothing was estimated.

    Args:
        contents: What the tables of a sweep are drawn from.
    """
    errors = estimate_errors(contents.configurations)
    if errors is None:
        return None
    caveats = contents.mixtures.time

    def cells(configuration: Configuration) -> tuple[Cell, ...]:
        return (
            *_compared(configuration, _TIME, units.duration, caveats=caveats),
            *_compared(configuration, _MEMORY, units.size, caveats=caveats),
            seeds_cell(configuration),
        )

    columns = (
        Column(key="estimated_time_s", header="estimated\ntime", unit="s"),
        Column(key="run_time_s", header="measured\ntime", unit="s"),
        Column(key="time_error", header="time\nerror"),
        Column(key="estimated_peak_memory_bytes", header="estimated\nmemory", unit="byte"),
        Column(key="peak_memory_bytes", header="measured\nmemory", unit="byte"),
        Column(key="memory_error", header="memory\nerror"),
        Column(key="seeds", header="seeds"),
    )
    return configuration_table(
        "estimates",
        "Estimate against reality",
        columns,
        contents,
        groups=groups_of(contents),
        cells=cells,
        notes=(_in_words(errors),),
    )


def _known(rows: Sequence[RunRecord], columns: tuple[str, str]) -> list[tuple[float, float]]:
    """What was estimated and what was measured, of the runs that have both."""
    pairs = [(getattr(row, columns[0]), getattr(row, columns[1])) for row in rows]
    return [(float(estimated), float(measured)) for estimated, measured in pairs if estimated and measured]


def _median_absolute_error(pairs: Sequence[tuple[float, float]]) -> float | None:
    return statistics.median(abs(estimated / measured - 1) for estimated, measured in pairs) if pairs else None


def _compared(
    configuration: Configuration, columns: tuple[str, str], format_: Callable[[float], str], *, caveats: tuple[str, ...]
) -> tuple[Cell, Cell, Cell]:
    """The means over the seeds that have both, and the error of the one against the other."""
    pairs = _known(list(configuration.finished.values()), columns)
    if not pairs:
        return Cell(text=UNKNOWN), Cell(text=UNKNOWN), Cell(text=UNKNOWN)
    estimated, measured = (math.fsum(values) / len(pairs) for values in zip(*pairs, strict=True))
    error = estimated / measured - 1
    return (
        Cell(text=format_(estimated), value=estimated),
        Cell(text=format_(measured), value=measured, caveats=caveats),
        Cell(text=f"{100 * error:+.1f}%", value=error, caveats=caveats),
    )


def _in_words(errors: EstimateErrors) -> str:
    parts = []
    for name, runs, error in (
        ("time", errors.time_runs, errors.median_absolute_time_error),
        ("memory", errors.memory_runs, errors.median_absolute_memory_error),
    ):
        if error is not None:
            parts.append(f"{100 * error:.1f}% of the {name} over {runs} {'run' if runs == 1 else 'runs'}")
    return (
        f"The estimates' median absolute error is {' and '.join(parts)}. A positive error is an estimate that was too "
        "high. Times are of whole runs, evaluations included, as they ran side by side; rows are means over seeds."
    )
