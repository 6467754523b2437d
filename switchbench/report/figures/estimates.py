"""What was estimated before the runs against what was then measured: time and peak memory of every run."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from switchbench.caveats import in_order
from switchbench.compare.configurations import mixture_caveats
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.scales import log_scale, plain, unit_for
from switchbench.report.figures.style import COLORS, FAINT, INK, MANY_POINTS, MARKERS, panel_title, panels

_TITLE = "Estimate against reality"
BAND = 0.15
"""Half width of the band about what was measured, as a share of it."""
_COLUMNS: dict[Literal["time", "memory"], tuple[str, str]] = {
    "time": ("estimated_time_s", "run_time_s"),
    "memory": ("estimated_peak_memory_bytes", "peak_memory_bytes"),
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Time or memory of the runs that have both numbers."""

    quantity: Literal["time", "memory"]
    """Which."""
    points: dict[str, tuple[tuple[float, float], ...]]
    """Measured and estimated, in seconds or bytes, by the kind of the FFN."""

    @property
    def errors(self) -> list[float]:
        """Of every run |estimate/measurement - 1|."""
        return [abs(estimated / measured - 1) for each in self.points.values() for measured, estimated in each]


def sketch_estimates(evidence: Evidence) -> Sketch:
    """Estimated against measured time and memory.

    Args:
        evidence: What the figures are drawn from.
    """
    shown = estimate_panels(evidence)
    if not shown:
        lacks = "No run has both an estimate and a measurement; switchbench sweep notes estimates before it starts."
        return Sketch(key="estimates", title=_TITLE, missing=lacks)
    counts = [
        f"{sum(error <= BAND for error in panel.errors)} of {len(panel.errors)} runs in {panel.quantity} (median error "
        f"{100 * statistics.median(panel.errors):.1f}%)"
        for panel in shown
    ]
    rows = [row for configuration in evidence.configurations for row in configuration.finished.values()]
    return Sketch(
        key="estimates",
        title=_TITLE,
        caption=f"Each marker is a run that went well: on the line, its estimate was exact; in the band, within "
        f"{100 * BAND:.0f}% of what was measured. Times are of whole runs, evaluations included, as they ran side by "
        "side.",
        alt=f"Within {100 * BAND:.0f}%: {' and '.join(counts)}.",
        draw=lambda width: _draw(shown, width=width),
        caveats=in_order(mixture_caveats(rows)),
    )


def estimate_panels(evidence: Evidence) -> tuple[Panel, ...]:
    """Time and memory, where any run has both numbers.

    Args:
        evidence: What the figures are drawn from.
    """
    found = []
    for quantity, (estimated, measured) in _COLUMNS.items():
        points: dict[str, list[tuple[float, float]]] = {}
        for configuration in evidence.configurations:
            for row in configuration.finished.values():
                values = getattr(row, measured), getattr(row, estimated)
                if all(values):
                    points.setdefault(configuration.role, []).append((float(values[0]), float(values[1])))
        if points:
            found.append(Panel(quantity=quantity, points={role: tuple(each) for role, each in points.items()}))
    return tuple(found)


def _draw(shown: Sequence[Panel], *, width: Width) -> Figure:
    figure, axes = panels(width, number=len(shown), height=3.4)
    for each, panel in zip(axes, shown, strict=True):
        _draw_panel(each, panel)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    values = [value for each in panel.points.values() for point in each for value in point]
    unit = unit_for(panel.quantity, values)
    name = "time of the run" if panel.quantity == "time" else "peak memory"
    panel_title(axes, "Time" if panel.quantity == "time" else "Peak memory")
    scaled = [value / unit.size for value in (min(values) / (1 + BAND), max(values) * (1 + BAND))]
    for side in ("x", "y"):
        log_scale(axes, "x" if side == "x" else "y", scaled, format_=plain)
    axes.set_xlabel(f"measured {name} ({unit.name})")
    axes.set_ylabel(f"estimated {name} ({unit.name})")
    low, high = axes.get_xlim()
    axes.plot([low, high], [low, high], color=INK, linewidth=0.8)
    below, above = ([end * (1 + sign * BAND) for end in (low, high)] for sign in (-1, 1))
    axes.fill_between([low, high], below, above, color=INK, alpha=0.1, linewidth=0)
    for role in COLORS:
        points = panel.points.get(role, ())
        if points:
            measured, estimated = ([value / unit.size for value in side] for side in zip(*points, strict=True))
            axes.plot(
                measured,
                estimated,
                color=COLORS[role],
                marker=MARKERS[role],
                linestyle="",
                alpha=FAINT,
                rasterized=len(points) > MANY_POINTS,
                label=role,
            )
    axes.text(0.03, 0.97, "estimate too high", transform=axes.transAxes, ha="left", va="top", alpha=0.7)
    axes.text(0.97, 0.03, "estimate too low", transform=axes.transAxes, ha="right", va="bottom", alpha=0.7)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92), frameon=False, handletextpad=0.2)
