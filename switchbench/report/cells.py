"""The cells of the tables: a number as it is printed, with its spread, its interval and its doubts."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from switchbench import units
from switchbench.caveats import Caveat, in_order
from switchbench.compare import Comparison, Configuration, Pair, first_crossing, mean_curve
from switchbench.compare.pairs import timing_caveats
from switchbench.report.aggregates import (
    Mixtures,
    aggregate,
    example_row,
    quality_caveats,
    ratio_text,
    wall_clock_caveats,
)
from switchbench.report.elements import Cell
from switchbench.units import UNKNOWN

NOT_REACHED = "not reached"
"""What stands where the target quality was not reached, as in the paper's Table 1."""
REFERENCE = Cell(text="1x", value=1.0, is_reference=True)
"""The dense twin's own speed-up."""


def arithmetic_cell(
    configuration: Configuration, column: str, format_: Callable[[float], str], *, caveats: Sequence[str] = ()
) -> Cell:
    """A mean over seeds that differ by little or nothing: parameters, tokens, FLOPs."""
    found = aggregate(configuration, column)
    if found is None:
        return Cell(text=UNKNOWN)
    return Cell(text=format_(found.mean), value=found.mean, spread=found.sd, caveats=in_order(caveats))


def measured_cell(
    configuration: Configuration, column: str, format_: Callable[[float], str], *, caveats: Sequence[str] = ()
) -> Cell:
    """A mean over seeds with its standard deviation."""
    cell = arithmetic_cell(configuration, column, format_, caveats=caveats)
    return cell if not isinstance(cell.value, float) else replace(cell, text=spread_text(cell, format_))


def quality_cell(configuration: Configuration, column: str, mixtures: Mixtures) -> Cell:
    """A mean of nats or bits with its standard deviation, to the third decimal."""
    caveats = [*mixtures.quality, *quality_caveats(configuration)]
    return measured_cell(configuration, column, lambda value: f"{value:.3f}", caveats=caveats)


def perplexity_cell(configuration: Configuration, mixtures: Mixtures) -> Cell:
    """exp of the mean nll: perplexities are never averaged."""
    cell = quality_cell(configuration, "nll", mixtures)
    if not isinstance(cell.value, float):
        return cell
    perplexity = math.exp(min(cell.value, 700.0))
    return replace(cell, text=units.significant(perplexity), value=perplexity, spread=None)


def wall_clock_cell(configuration: Configuration, mixtures: Mixtures) -> Cell:
    """Training time of the runs."""
    caveats = [*mixtures.time, *wall_clock_caveats(configuration)]
    return measured_cell(configuration, "wall_clock_s", units.duration, caveats=caveats)


def peak_memory_cell(configuration: Configuration, mixtures: Mixtures) -> Cell:
    """The largest of the seeds: what must fit."""
    found = aggregate(configuration, "peak_memory_bytes")
    if found is None:
        return Cell(text=UNKNOWN)
    cell = Cell(text=UNKNOWN, value=found.largest, spread=found.sd, caveats=mixtures.time)
    return replace(cell, text=spread_text(cell, units.size))


def difference_cell(pair: Pair | None) -> Cell:
    """How much lower or higher the sparse configuration's nll is."""
    if pair is None:
        return Cell(text=UNKNOWN)
    comparison = pair.measured("delta_nll")
    if comparison.value is None:
        return Cell(text=UNKNOWN, caveats=comparison.caveats)
    text = f"{comparison.value:+.3f}"
    if comparison.ci95 is not None:
        text += f" [±{(comparison.ci95[1] - comparison.ci95[0]) / 2:.3f}]"
    return Cell(text=text, value=comparison.value, ci95=comparison.ci95, caveats=comparison.caveats)


def speedup_cell(comparison: Comparison | None, *, is_twin: bool) -> Cell:
    """A speed-up with its interval, or which bound it is, or that the quality was not reached."""
    if comparison is None:
        return REFERENCE if is_twin else Cell(text=UNKNOWN)
    if comparison.value is None:
        is_unreached = Caveat.NOT_REACHED in comparison.caveats
        return Cell(text=NOT_REACHED if is_unreached else UNKNOWN, caveats=comparison.caveats)
    sign = {"lower": "> ", "upper": "< ", None: ""}[comparison.bound]
    return Cell(
        text=sign + ratio_text(comparison.value, ci95=comparison.ci95),
        value=comparison.value,
        ci95=comparison.ci95,
        bound=comparison.bound,
        caveats=comparison.caveats,
    )


def ratio_cell(comparison: Comparison) -> Cell:
    """What a sparse configuration costs in terms of its twin, with its interval."""
    if comparison.value is None:
        return Cell(text=UNKNOWN, caveats=comparison.caveats)
    text = ratio_text(comparison.value, ci95=comparison.ci95)
    return Cell(text=text, value=comparison.value, ci95=comparison.ci95, caveats=comparison.caveats)


def time_to_target_cell(
    configuration: Configuration, pair: Pair | None, *, is_twin: bool, target_nll: float | None = None
) -> Cell:
    """Steps up to the target quality times the exclusive step time; the target of a dense twin is its own end.

    Args:
        configuration: The configuration.
        pair: The pair that it is the sparse side of; None: of none, in this row.
        is_twin: Whether it is the dense twin of another.
        target_nll: One target for all; None: each dense twin's own.
    """
    caveats: list[str] = list(timing_caveats([configuration.timing]))
    row = example_row(configuration)
    if pair is not None:
        caveats += [code for code in pair.measured("step_speedup").caveats if code != Caveat.CENSORED_SEEDS]
        if pair.target_nll is None:
            return Cell(text=UNKNOWN, caveats=in_order(caveats))
        if pair.crossing is None:
            return Cell(text=NOT_REACHED, caveats=in_order(caveats))
        tokens, is_bound = pair.crossing.tokens, pair.crossing.is_bound
    else:
        has_target = is_twin or target_nll is not None
        curve = mean_curve(list(configuration.curves.values())) if has_target and configuration.curves else ()
        own = first_crossing(curve, target_nll=curve[-1].nll if target_nll is None else target_nll) if curve else None
        if own is None and curve:
            return Cell(text=NOT_REACHED, caveats=in_order([*caveats, Caveat.NOT_REACHED]))
        if own is None:
            return Cell(text=UNKNOWN)
        tokens, is_bound = own.tokens, own.is_bound
    if configuration.timing is None:
        return Cell(text=UNKNOWN, caveats=in_order(caveats))
    seconds = tokens / row.batch_tokens * configuration.timing.step_time_s
    return Cell(
        text=f"{'< ' if is_bound else ''}{units.duration(seconds)}",
        value=seconds,
        bound="upper" if is_bound else None,
        caveats=in_order(caveats),
    )


def timed_cell(configuration: Configuration, column: str, format_: Callable[[float], str]) -> Cell:
    """A column of the exclusive timing."""
    caveats = in_order(timing_caveats([configuration.timing]))
    if configuration.timing is None:
        return Cell(text=UNKNOWN, caveats=caveats)
    value = float(getattr(configuration.timing, column))
    return Cell(text=format_(value), value=value, caveats=caveats)


def seeds_cell(configuration: Configuration) -> Cell:
    """How many runs went well, of how many."""
    finished, asked = len(configuration.finished), len(configuration.run_ids)
    text = str(finished) if finished == asked else f"{finished} of {asked}"
    return Cell(text=text, value=finished, caveats=in_order(configuration.caveats))


def spread_text(cell: Cell, format_: Callable[[float], str]) -> str:
    """``28.6 ± 0.4 s``: the spread takes the unit and the decimals of the number, where that is one number and a unit.

    Args:
        cell: A cell with a number and perhaps a spread.
        format_: How the number alone is printed.
    """
    assert isinstance(cell.value, float), "there is a number"
    text = format_(cell.value)
    if cell.spread is None or cell.value == 0:  # counts and shares that are 0 in every seed
        return text
    found = re.fullmatch(r"(-?[\d.]+)(\D*)", text)
    if found is None or float(found[1]) == 0:  # 1 min 15 s
        return f"{text} ± {format_(cell.spread)}"
    number, unit = found.groups()
    decimals = len(number.partition(".")[2])
    return f"{number} ± {cell.spread * float(number) / cell.value:.{decimals}f}{unit}"
