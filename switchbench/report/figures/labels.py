"""Direct labels: beside what they name, shortened where they are long, and moved apart where they would overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Annotation

from switchbench.compare import Configuration
from switchbench.report.aggregates import describe_all
from switchbench.report.figures.style import FONT_SIZE

LONGEST = 30
"""Characters of a label, from which on it is shortened."""
_LINE = 1.25 * FONT_SIZE
"""Distance between two labels that stand one below the other, in points."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of a point."""

    text: str
    """What it says."""
    x: float
    """Where the point is, in the panel's data."""
    y: float
    """Likewise."""
    color: Any
    """Color of what it names."""


def shortened(text: str, *, longest: int = LONGEST) -> str:
    """Cut a text that is too long for a label.

    >>> shortened("16 experts, CF 2"), shortened("a" * 200, longest=6)
    ('16 experts, CF 2', 'aaaaa…')
    """
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def name_of(configuration: Configuration, *, among: Sequence[Configuration]) -> str:
    """Say in a few words what tells a configuration from the others; a capacity factor is a CF, a learning rate an lr.

    Args:
        configuration: The configuration.
        among: All configurations of the sweep.
    """
    return names_of([configuration], among=among)[0]


def names_of(configurations: Sequence[Configuration], *, among: Sequence[Configuration]) -> list[str]:
    """Say of several configurations what tells each from the others, as ``name_of`` does.

    Args:
        configurations: The configurations.
        among: All configurations of the sweep.
    """
    names = describe_all(configurations, among=among)
    return [
        names[each.config_id].replace("capacity factor", "CF").replace("learning rate", "lr") for each in configurations
    ]


def what_differs(names: Sequence[str]) -> list[str]:
    """Leave out of names what all of them have in common, so that a short label still tells them apart.

    >>> what_differs(["xs, 4 experts, CF 1", "xs, 16 experts, CF 1"]), what_differs(["dense"])
    (['4 experts', '16 experts'], ['dense'])
    """
    parts = [name.split(", ") for name in names]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    return [
        ", ".join(part for part in each if part not in common) or name for each, name in zip(parts, names, strict=True)
    ]


def spread_apart(wanted: Sequence[float], *, distance: float, low: float, high: float) -> list[float]:
    """Move values apart so that neighbors keep a distance, each as near to its place as that allows.

    >>> spread_apart([5.0, 5.0, 9.0], distance=2.0, low=0.0, high=20.0)
    [4.0, 6.0, 9.0]

    Args:
        wanted: Where they would be, in any order.
        distance: The least distance.
        low: Below this there is no room.
        high: Nor above this; where there is too little room, the distance is what fits.
    """
    if not wanted:
        return []
    distance = min(distance, (high - low) / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[tuple[float, int]] = []  # the center of each block of values that touch, and their number
    for i in order:
        center, number = min(max(wanted[i], low), high), 1
        while blocks and center - (number - 1) / 2 * distance < blocks[-1][0] + ((blocks[-1][1] + 1) / 2) * distance:
            before, size = blocks.pop()
            center = (center * number + before * size) / (number + size)
            number += size
            half = (number - 1) / 2 * distance
            center = min(max(center, low + half), high - half)
        blocks.append((center, number))
    places = [center + (k - (number - 1) / 2) * distance for center, number in blocks for k in range(number)]
    result = [0.0] * len(wanted)
    for place, i in zip(places, order, strict=True):
        result[i] = place
    return result


def label_at_right(axes: Axes, labels: Sequence[Label]) -> list[Annotation]:
    """Write labels right of a panel, at the heights of what they name, moved apart, and joined by a thin line.

    Args:
        axes: The panel; its limits are final.
        labels: The labels.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None, "a panel is in a figure"
    points = 72.0 / figure.dpi
    bottom, top = (axes.bbox.y0 * points, axes.bbox.y1 * points)
    heights = [float(axes.transData.transform((label.x, label.y))[1]) * points for label in labels]
    places = spread_apart(heights, distance=_LINE, low=bottom + FONT_SIZE / 2, high=top - FONT_SIZE / 2)
    drawn = []
    for label, place in zip(labels, places, strict=True):
        drawn.append(
            axes.annotate(
                shortened(label.text),
                xy=(label.x, label.y),
                xytext=(1.02, (place - bottom) / (top - bottom)),
                textcoords="axes fraction",
                color=label.color,
                va="center",
                ha="left",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": label.color, "alpha": 0.5, "linewidth": 0.6, "shrinkB": 3},
            )
        )
    return drawn
