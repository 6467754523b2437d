"""What a figure is: a drawing at two widths with the words that go with it, or what it lacks to be drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import matplotlib.figure

Width = Literal["wide", "narrow"]
"""``wide``: panels side by side, for a page from 640 pixels on; ``narrow``: one below the other, for a phone."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a report, as a page shows it."""

    key: str
    """``quality``, ``parameters``, ``capacity``, ``expert_load``, ``frontier``, ``estimates``, ``seeds``,
    ``residuals``, ``scaling`` or ``specialization``."""
    title: str
    """What it shows, in a few words."""
    caption: str
    """How to read it, from how many seeds it is, and what to doubt; empty where it is missing."""
    alt: str
    """What it says to those who do not see it; also in the SVG as its label. Empty where it is missing."""
    svg: str | None
    """One ``<svg>`` element for pages from 640 pixels on, 960 at full size; None: there is too little data.

    Text, axes and grids take the ``color`` of where it stands (``currentColor``), on no background. The colors of
    dense and sparse are the CSS variables ``--figure-dense`` and ``--figure-sparse``, with defaults that serve on
    light and on dark. All its ids begin with its key and a hash of the sweep.
    """
    narrow_svg: str | None
    """The same with its panels one below the other, for a phone; 360 pixels."""
    missing: str | None
    """What is missing and what would supply it, a sentence or two; None: it is drawn."""
    caveats: tuple[str, ...] = ()
    """Codes of the reasons to distrust what it shows."""
    drawings: dict[Width, matplotlib.figure.Figure] = field(default_factory=dict, repr=False, compare=False)
    """What the SVGs were made of, for other formats."""


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """A figure before it is drawn."""

    key: str
    """As in ``Figure``."""
    title: str
    """As in ``Figure``."""
    draw: Callable[[Width], matplotlib.figure.Figure] | None = None
    """Draws it; None: there is too little data."""
    caption: str = ""
    """As in ``Figure``."""
    alt: str = ""
    """As in ``Figure``."""
    missing: str | None = None
    """As in ``Figure``."""
    caveats: tuple[str, ...] = ()
    """As in ``Figure``."""
