"""Axes with units: where their ticks stand, and what is written at them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from switchbench import units

Side = Literal["x", "y"]
_WIDE_RANGE = 60.0
"""Largest over smallest value from which only the powers of ten are marked, or (below) 1, 2 and 5 of each."""
_NARROW_RANGE = 3.0
"""Below this a scale is marked in even steps."""


def log_scale(
    axes: Axes, side: Side, values: Sequence[float], *, format_: Callable[[float], str], margin: float = 0.06
) -> None:
    """Make an axis logarithmic around some positive values, with a few round ticks.

    Args:
        axes: The panel.
        side: Which axis.
        values: What is shown.
        format_: Writes a tick; no exponents and no typesetting.
        margin: Share of the length that is left free at either end.
    """
    low, high = min(values), max(values)
    room = (high / low) ** margin if high > low else 1.2
    limits = (low / room, high * room)
    axis = axes.xaxis if side == "x" else axes.yaxis
    (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    (axes.set_xlim if side == "x" else axes.set_ylim)(*limits)
    axis.set_major_locator(FixedLocator(log_ticks(*limits)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_(value)))
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float) -> list[float]:
    """Choose round values between two positive ones, about three to seven of them.

    >>> log_ticks(90, 2100), log_ticks(0.5, 2e6), log_ticks(21, 26.0)
    ([100.0, 200.0, 500.0, 1000.0, 2000.0], [1.0, 100.0, 10000.0, 1000000.0], [22.0, 24.0, 26.0])
    """
    if high / low < _NARROW_RANGE:
        ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in ticks if low <= tick <= high]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    multiples = (1, 2, 5) if high / low < _WIDE_RANGE else (1,)
    every = max(1, math.ceil((last - first) / 6)) if multiples == (1,) else 1
    ticks_by_size = (
        m * 10.0**exponent for exponent in range(first - first % every, last + 1, every) for m in multiples
    )
    return [tick for tick in ticks_by_size if low <= tick <= high]


def linear_scale(axes: Axes, side: Side, *, format_: Callable[[float], str], ticks: int = 5) -> None:
    """Mark a linear axis at a few round values.

    Args:
        axes: The panel.
        side: Which axis.
        format_: Writes a tick.
        ticks: About how many.
    """
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_(value)))


def plain(value: float) -> str:
    """Write a number as short as it is.

    >>> plain(1.50), plain(2000.0), plain(0.05)
    ('1.5', '2000', '0.05')
    """
    return f"{value:.10g}"


def count(value: float) -> str:
    """Write a count at a tick.

    >>> count(200_000.0), count(1_500_000.0), count(20.0)
    ('200k', '1.5M', '20')
    """
    return _short(units.count(value))


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The unit of an axis."""

    name: str
    """As it stands in the axis's label."""
    size: float
    """How many of the base unit it is."""


_UNITS = {
    "time": ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "memory": ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "byte")),
    "flops": (
        (1e21, "ZFLOP"), (1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"),
        (1e3, "kFLOP"), (1.0, "FLOP"),
    ),
}  # fmt: skip


def unit_for(quantity: Literal["time", "memory", "flops"], values: Sequence[float]) -> Unit:
    """Choose a unit in which the largest of some values is at least 1.

    >>> unit_for("time", [0.02, 0.5]).name, unit_for("memory", [3e6]).name, unit_for("flops", [2e11, 3e12]).name
    ('ms', 'MiB', 'TFLOP')

    Args:
        quantity: What is shown.
        values: In seconds, bytes or FLOPs.
    """
    largest = max(values)
    size, name = next((each for each in _UNITS[quantity] if largest >= each[0]), _UNITS[quantity][-1])
    return Unit(name=name, size=size)


def _short(text: str) -> str:
    """Drop the zeros at the end of a number's decimals."""
    number = text.rstrip("kMBT")
    return text if "." not in number else number.rstrip("0").rstrip(".") + text[len(number) :]
