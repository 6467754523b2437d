"""How costs grow with all parameters: dense models by their size, sparse ones by their experts at one shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from switchbench.caveats import in_order
from switchbench.compare import Scaling, ScalingCost
from switchbench.compare.scaling import EXPERTS, SHAPE, cost_lines
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.scales import Unit, count, log_scale, plain, unit_for
from switchbench.report.figures.style import COLORS, INK, MARKERS, panel_title, panels

_TITLE = "How costs grow with all parameters"
_COSTS: dict[ScalingCost, tuple[str, str]] = {
    "useful_train_flops_per_token": ("FLOPs", "useful training FLOPs/token"),
    "step_time_s": ("Step time", "step time"),
    "peak_memory_bytes": ("Peak memory", "peak memory"),
}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Models whose cost grows by one exponent: dense ones by size, or sparse ones by experts."""

    role: str
    """``dense`` or ``sparse``."""
    lines: tuple[tuple[tuple[int, float], ...], ...]
    """Parameters and cost of the models on each line, smallest first."""
    fit: Scaling | None
    """The fitted exponent; None: there are too few models."""

    @property
    def text(self) -> str:
        """The exponent as it stands in the panel."""
        assert self.fit is not None
        assert self.fit.exponent is not None
        low, high = self.fit.ci95 or (self.fit.exponent, self.fit.exponent)
        return f"{self.role}: exponent {self.fit.exponent:.2f} [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One cost."""

    title: str
    """Which."""
    label: str
    """Label of its axis, with its unit."""
    unit: Unit
    """That unit."""
    groups: tuple[Group, ...]
    """Dense models by size and sparse ones by experts, as far as there are any."""


def sketch_scaling(evidence: Evidence) -> Sketch:
    """FLOPs per token, step time and peak memory against all parameters.

    Args:
        evidence: What the figures are drawn from.
    """
    shown = scaling_panels(evidence)
    if not shown:
        lacks = (
            "It takes three models that differ in size alone: three sizes of a dense model, or three numbers of "
            "experts at the same shape."
        )
        return Sketch(key="scaling", title=_TITLE, missing=lacks)
    groups = [(panel, group) for panel in shown for group in panel.groups]
    return Sketch(
        key="scaling",
        title=_TITLE,
        caption="Both axes are logarithmic: an exponent of 1 is growth in proportion, as the dotted line has it, 0 "
        "none at all. Dense models grow by their shape, sparse ones by their experts alone, a line for each shape; "
        "lines of one kind share the exponent, whose 95% interval is in brackets. Means over seeds.",
        alt=" ".join(
            f"{panel.title}: {'; '.join(group.text for group in panel.groups if group.fit is not None)}."
            for panel in shown
        ),
        draw=lambda width: _draw(shown, width=width),
        caveats=in_order(code for _, group in groups if group.fit is not None for code in group.fit.caveats),
    )


def scaling_panels(evidence: Evidence) -> tuple[Panel, ...]:
    """The costs for which at least one exponent is fitted.

    Args:
        evidence: What the figures are drawn from.
    """
    found = []
    for cost, (title, label) in _COSTS.items():
        groups = []
        for role, name, grows_by in (("dense", "dense_by_size", SHAPE), ("sparse", "sparse_by_experts", EXPERTS)):
            members = [each for each in evidence.configurations if each.role == role]
            lines = cost_lines(cost, members, grows_by=grows_by)
            fits = [each for each in evidence.scaling if (each.group, each.cost) == (name, cost)]
            if lines:
                groups.append(
                    Group(
                        role=role,
                        lines=tuple(tuple(sorted((p.params, p.cost) for p in points)) for points in lines.values()),
                        fit=next((fit for fit in fits if fit.exponent is not None), None),
                    )
                )
        if any(group.fit is not None for group in groups):
            costs = [value for group in groups for line in group.lines for _, value in line]
            quantity = {"step_time_s": "time", "peak_memory_bytes": "memory"}.get(cost, "flops")
            unit = unit_for(quantity, costs)  # type: ignore[arg-type]
            found.append(Panel(title=title, label=f"{label} ({unit.name})", unit=unit, groups=tuple(groups)))
    return tuple(found)


def _draw(shown: Sequence[Panel], *, width: Width) -> Figure:
    figure, axes = panels(width, number=len(shown), height=3.3)
    for each, panel in zip(axes, shown, strict=True):
        _draw_panel(each, panel)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    panel_title(axes, panel.title)
    points = [point for group in panel.groups for line in group.lines for point in line]
    costs = [cost / panel.unit.size for _, cost in points]
    log_scale(axes, "x", [params for params, _ in points], format_=count)
    log_scale(axes, "y", [min(costs) / (max(costs) / min(costs)) ** 0.28, max(costs)], format_=plain)
    axes.set_xlabel("total parameters")
    axes.set_ylabel(panel.label)
    for i, group in enumerate(panel.groups):
        color, marker = COLORS[group.role], MARKERS[group.role]
        for line in group.lines:
            params, values = zip(*line, strict=True)
            scaled = [value / panel.unit.size for value in values]
            axes.plot(params, scaled, color=color, marker=marker, linestyle="", label=group.role)
            if group.fit is not None and group.fit.exponent is not None:
                axes.plot(params, _fitted(params, scaled, exponent=group.fit.exponent), color=color, linewidth=1.2)
        if group.fit is not None:
            y = 0.1 - 0.08 * i
            axes.text(0.98, y, group.text, transform=axes.transAxes, color=color, ha="right", va="bottom")
    first = min(points)
    ends = axes.get_xlim()
    axes.plot(
        ends,
        [first[1] / panel.unit.size * end / first[0] for end in ends],
        color=INK,
        linewidth=0.9,
        linestyle=":",
        scaley=False,
        label="in proportion",
    )


def _fitted(params: Sequence[int], costs: Sequence[float], *, exponent: float) -> list[float]:
    """The power law of a line: its factor is that of its own points, the exponent that of all lines."""
    factor = fmean(math.log(cost) - exponent * math.log(n) for n, cost in zip(params, costs, strict=True))
    return [math.exp(factor + exponent * math.log(n)) for n in params]
