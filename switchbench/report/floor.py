"""What lies below the nll: the known entropy of generated text, and the nll of text that was trained on."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from switchbench.caveats import in_order
from switchbench.compare import Configuration
from switchbench.record import RunRecord
from switchbench.report.aggregates import quality_caveats
from switchbench.report.cells import quality_cell, seeds_cell, spread_text
from switchbench.report.contents import Contents, configuration_table, groups_of
from switchbench.report.elements import Cell, Column, Table
from switchbench.units import UNKNOWN

_OF_GENERATED_TEXT = (
    "The text is generated: the floor is the generator's own nll on the same held-out tokens, which no model beats but "
    "by chance. Such text favors sparse models by construction, since most of what there is to learn is a table to be "
    "stored, which is what more parameters at equal compute are for: an excess is no forecast for other text."
)
_OF_REPEATED_TEXT = (
    "Seen text: training text that was scored as the held-out text is, dropless and without noise. The gap is the "
    "over-fitting; text that was seen once has none but for its being another text."
)


def floor_table(contents: Contents) -> Table | None:
    """Set the nll against the known floor; None where none is known.

    Args:
        contents: What the tables of a sweep are drawn from.
    """

    def excess(row: RunRecord) -> float | None:
        return None if row.nll is None or row.nll_floor is None else row.nll - row.nll_floor

    columns = (
        Column(key="nll", header="nll", unit="nats/token"),
        Column(key="nll_floor", header="known\nfloor", unit="nats/token"),
        Column(key="nll_excess", header="excess", unit="nats/token"),
        Column(key="seeds", header="seeds"),
    )
    rows = [row for configuration in contents.configurations for row in configuration.finished.values()]
    if all(excess(row) is None for row in rows):
        return None
    return configuration_table(
        "floor",
        "Above the known floor",
        columns,
        contents,
        groups=groups_of(contents),
        cells=lambda configuration: _cells(configuration, contents, "nll_floor", excess),
        notes=(_OF_GENERATED_TEXT,),
    )


def overfitting_table(contents: Contents) -> Table | None:
    """Set the nll of held-out text against that of text that was trained on; None where no text was seen twice.

    Args:
        contents: What the tables of a sweep are drawn from.
    """

    def gap(row: RunRecord) -> float | None:
        return None if row.nll is None or row.train_text_nll is None else row.nll - row.train_text_nll

    columns = (
        Column(key="nll", header="held-out\nnll", unit="nats/token"),
        Column(key="train_text_nll", header="seen\ntext", unit="nats/token"),
        Column(key="overfitting", header="gap", unit="nats/token"),
        Column(key="seeds", header="seeds"),
    )
    rows = [row for configuration in contents.configurations for row in configuration.finished.values()]
    if not any(gap(row) is not None and (row.epochs or 0) > 1 for row in rows):
        return None
    return configuration_table(
        "overfitting",
        "Over-fitting",
        columns,
        contents,
        groups=groups_of(contents),
        cells=lambda configuration: _cells(configuration, contents, "train_text_nll", gap),
        notes=(_OF_REPEATED_TEXT,),
    )


def _cells(
    configuration: Configuration, contents: Contents, column: str, difference: Callable[[RunRecord], float | None]
) -> tuple[Cell, ...]:
    """The nll, what lies below it, the difference over the seeds that have both, and their number."""
    known = [value for row in configuration.finished.values() if (value := difference(row)) is not None]
    return (
        quality_cell(configuration, "nll", contents.mixtures),
        quality_cell(configuration, column, contents.mixtures),
        _mean_cell(known, caveats=(*contents.mixtures.quality, *quality_caveats(configuration))),
        seeds_cell(configuration),
    )


def _mean_cell(values: Sequence[float], *, caveats: Sequence[str]) -> Cell:
    if not values:
        return Cell(text=UNKNOWN)
    mean, spread = math.fsum(values) / len(values), statistics.stdev(values) if len(values) > 1 else None
    cell = Cell(text=UNKNOWN, value=mean, spread=spread, caveats=in_order(caveats))
    return replace(cell, text=spread_text(cell, lambda value: f"{value:.3f}"))
