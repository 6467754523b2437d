"""How all figures look: colors, markers, sizes and fonts. Dense and sparse differ in color and in marker, everywhere.

The colors are Okabe and Ito's blue and vermilion, which people with any common color blindness tell apart; both have a
contrast of more than 3:1 on white and on near-black.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
import matplotlib.colors
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from switchbench.report.figures.elements import Width

INK = "#1b1b1f"
"""Text and axes; an SVG in a page has ``currentColor`` in its place."""
DENSE = "#0072b2"
"""Dense models."""
SPARSE = "#d55e00"
"""Sparse models."""
COLORS = {"dense": DENSE, "sparse": SPARSE}
"""By the kind of the FFN."""
MARKERS = {"dense": "o", "sparse": "D"}
"""By the kind of the FFN: circles and diamonds."""
SPARSE_MARKERS = ("D", "s", "^", "v", "P", "X")
"""What tells one sparse series from the next where a figure has several."""
FAINT = 0.7
"""Opacity of what stands back: values of single seeds, curves in mid-schedule."""
MOST_SHADES = 6
"""How many shades of a color are told apart."""
_MOST_INK = 0.6
MANY_POINTS = 150
"""Markers of one kind in a panel from which on they are an image in the SVG, not an element each."""
FONT_SIZE = 9.0
"""In units of the drawing, of which 72 are an inch and 96 pixels: 12 pixels."""
WIDTHS: dict[Width, float] = {"wide": 10.0, "narrow": 3.75}
"""Inches: 960 and 360 pixels."""


@contextlib.contextmanager
def figure_style(*, salt: str) -> Iterator[None]:
    """Draw and write in the house style, and leave matplotlib's settings as they were.

    Args:
        salt: Makes the ids of an SVG the same in each run.
    """
    settings: Any = {
        **seaborn.axes_style("ticks"),
        **seaborn.plotting_context("paper"),
        "axes.edgecolor": INK,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.grid.which": "major",
        "axes.labelcolor": INK,
        "axes.labelsize": FONT_SIZE,
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": FONT_SIZE,
        "axes.unicode_minus": True,
        "figure.dpi": 96,
        "figure.facecolor": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": FONT_SIZE,
        "grid.alpha": 0.15,
        "grid.color": INK,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "lines.markersize": 5.5,
        "savefig.facecolor": "none",
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": INK,
        "xtick.labelsize": FONT_SIZE - 0.5,
        "ytick.color": INK,
        "ytick.labelsize": FONT_SIZE - 0.5,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # Names in any script are text in the SVG; the font that measures them here need not have their letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def panels(width: Width, *, number: int, height: float = 3.1, across: int | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels, side by side or, where it is narrow, one below the other.

    Args:
        width: Which of the two.
        number: How many panels.
        height: Height of each, inches.
        across: How many stand side by side where it is wide; default: all.
    """
    columns = 1 if width == "narrow" else (across or number)
    rows = -(-number // columns)
    figure = Figure(figsize=(WIDTHS[width], height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(number)]
    return figure, axes


def lay_out(figure: Figure) -> None:
    """Find room for everything that is drawn so far, so that labels can be placed by it."""
    engine = figure.get_layout_engine()
    assert engine is not None, "figures have a layout"
    engine.execute(figure)


def panel_title(axes: Axes, text: str) -> None:
    """Write above a panel, at its left."""
    axes.set_title(text, loc="left", fontweight="bold")


def shades(color: str, number: int) -> list[str]:
    """Shades of one color, the purest last; the others have ink mixed in, so that none stands out less than it.

    In a page ink is light or dark as its text is, see ``svg.to_svg``.

    Args:
        color: The color.
        number: How many, up to ``MOST_SHADES``.
    """
    return [mixed(color, ink=share) for share in ink_shares(number)]


def ink_shares(number: int) -> list[float]:
    """How much ink each of several shades of a color has, most first."""
    return [_MOST_INK * (number - 1 - i) / max(number - 1, 1) for i in range(number)]


def mixed(color: str, *, ink: float) -> str:
    """Mix a color with ink.

    >>> mixed("#d55e00", ink=0.0), mixed("#d55e00", ink=0.5)
    ('#d55e00', '#783d10')
    """
    parts = zip(matplotlib.colors.to_rgb(color), matplotlib.colors.to_rgb(INK), strict=True)
    red, green, blue = ((1 - ink) * own + ink * dark for own, dark in parts)
    return str(matplotlib.colors.to_hex((red, green, blue)))
