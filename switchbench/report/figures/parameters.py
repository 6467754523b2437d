"""Quality against total parameters at fixed FLOPs: what weights buy that cost no computation."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from switchbench import units
from switchbench.caveats import in_order
from switchbench.compare import Configuration
from switchbench.report.aggregates import capacity_text, example_row, setting_name, setting_text, swept_paths
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.labels import Label, label_at_right, what_differs
from switchbench.report.figures.scales import count, linear_scale, log_scale, plain
from switchbench.report.figures.spreads import Spread, means_text, spread_over_seeds
from switchbench.report.figures.style import DENSE, MARKERS, SPARSE, SPARSE_MARKERS, lay_out, panels, shades

_TITLE = "Quality against total parameters at fixed FLOPs"
SAME_FLOPS = 1.1
"""Largest over smallest useful training FLOPs within a group: routers differ with the number of experts."""
_MOST_LINES = 6
"""More lines are not told apart."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration."""

    configuration: Configuration
    """The configuration."""
    params: int
    """All its weights."""
    flops: float
    """Its useful training FLOPs."""
    nll: Spread
    """Its final nll over the seeds."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A dense model and the sparse ones of about the same useful training FLOPs that differ in experts alone."""

    name: str
    """What tells it from the others."""
    dense: tuple[Point, ...]
    """The dense models."""
    sparse: tuple[Point, ...]
    """The sparse ones, in the order of their parameters."""

    @property
    def points(self) -> tuple[Point, ...]:
        """All of them, in the order of their parameters."""
        return tuple(sorted((*self.dense, *self.sparse), key=lambda point: point.params))


def sketch_parameters(evidence: Evidence) -> Sketch:
    """The final nll against all parameters, a line for each amount of training FLOPs.

    Args:
        evidence: What the figures are drawn from.
    """
    found = iso_flop_lines(evidence)
    if not found:
        lacks = (
            "It takes two models of different total parameters whose useful training FLOPs are equal within "
            f"{100 * (SAME_FLOPS - 1):.0f}%: a sparse configuration with an iso_flop baseline, or several numbers of "
            "experts."
        )
        return Sketch(key="parameters", title=_TITLE, missing=lacks)
    lines = chosen_lines(found, evidence)
    points = [point for line in lines for point in line.points]
    best = min(points, key=lambda point: point.nll.mean)
    left_out = "" if len(lines) == len(found) else f" {len(lines)} of {len(found)} lines are shown."
    return Sketch(
        key="parameters",
        title=_TITLE,
        caption="Held-out nll at the end of training; lower is better. A line joins models whose useful training FLOPs "
        f"are equal within {100 * (SAME_FLOPS - 1):.0f}%, from the dense one (circle) to those with more and more "
        f"experts. Values are {means_text([len(point.nll.values) for point in points])}; those of the same size stand "
        f"side by side. Slots that stay empty are not counted as FLOPs here.{left_out}",
        alt=f"From {units.count(min(p.params for p in points))} to {units.count(max(p.params for p in points))} "
        f"parameters; the lowest nll is {best.nll.mean:.3f} nats per token at {units.count(best.params)}.",
        draw=lambda width: _draw(lines, width=width),
        caveats=in_order(code for point in points for code in point.configuration.caveats),
    )


def iso_flop_lines(evidence: Evidence) -> tuple[Line, ...]:
    """Configurations by useful training FLOPs, and the sparse ones further by all that is not their experts.

    Args:
        evidence: What the figures are drawn from.
    """
    points = sorted(filter(None, map(_point, evidence.configurations)), key=lambda point: point.flops)
    groups: list[list[Point]] = []
    for point in points:
        if groups and point.flops <= groups[-1][0].flops * SAME_FLOPS:
            groups[-1].append(point)
        else:
            groups.append([point])
    settings = [path for path in swept_paths(evidence.configurations) if not path.startswith("train.tokens")]
    several = len([group for group in groups if len(group) > 1]) > 1
    lines = []
    for group in groups:
        dense = tuple(point for point in group if point.configuration.role == "dense")
        kinds: dict[str, list[Point]] = {}
        for point in group:
            if point.configuration.role == "sparse":
                kinds.setdefault(_kind(point, settings), []).append(point)
        for members in kinds.values():
            name = _name(members[0], settings, flops=group[0].flops if several else None, alone=len(kinds) == 1)
            line = Line(name=name, dense=dense, sparse=tuple(sorted(members, key=lambda point: point.params)))
            if len({point.params for point in line.points}) > 1:
                lines.append(line)
    return tuple(lines)


def chosen_lines(found: Sequence[Line], evidence: Evidence) -> tuple[Line, ...]:
    """As many as can be told apart, named by what they differ in: that of the leading pair, then those of lowest nll.

    Args:
        found: All lines.
        evidence: What the figures are drawn from.
    """

    def rank(line: Line) -> tuple[bool, float]:
        leads = evidence.leading is not None and any(
            point.configuration is evidence.leading.sparse for point in line.points
        )
        return not leads, min(point.nll.mean for point in line.points)

    best = sorted(found, key=rank)[:_MOST_LINES]
    shown = [line for line in found if line in best]
    return tuple(
        replace(line, name=name) for line, name in zip(shown, what_differs([line.name for line in shown]), strict=True)
    )


def _point(configuration: Configuration) -> Point | None:
    row = example_row(configuration)
    nll = spread_over_seeds(configuration, "nll")
    if nll is None or row.useful_train_flops is None or not math.isfinite(row.useful_train_flops):
        return None
    return Point(configuration=configuration, params=row.params_total, flops=row.useful_train_flops, nll=nll)


def _kind(point: Point, settings: Sequence[str]) -> str:
    row = example_row(point.configuration)
    values = [setting_text(point.configuration, path) for path in settings]
    return json.dumps([row.model_size, row.router, row.capacity_factor, *values])


def _name(point: Point, settings: Sequence[str], *, flops: float | None, alone: bool) -> str:
    row = example_row(point.configuration)
    words = [] if flops is None else [units.flops(flops)]
    if not alone:
        words.append("dropless" if row.capacity_factor is None else f"CF {capacity_text(row)}")
        words += [f"{setting_name(path)} {setting_text(point.configuration, path)}" for path in settings]
    return ", ".join(words) or "sparse"


def _draw(lines: Sequence[Line], *, width: Width) -> Figure:
    figure, (axes,) = panels(width, number=1, height=3.6)
    points = [point for line in lines for point in line.points]
    log_scale(axes, "x", [point.params for point in points], format_=count)
    linear_scale(axes, "y", format_=plain)
    axes.set_xlabel("total parameters")
    axes.set_ylabel("held-out nll (nats/token)")
    labels = []
    step = (axes.get_xlim()[1] / axes.get_xlim()[0]) ** 0.006  # intervals at the same size stand side by side
    for i, (line, color) in enumerate(zip(lines, shades(SPARSE, len(lines)), strict=True)):
        places = {p.configuration.config_id: p.params * (step**i if p in line.sparse else 1.0) for p in line.points}
        axes.plot(list(places.values()), [p.nll.mean for p in line.points], color=color, linewidth=1.0)
        for members, shown, marker in ((line.dense, DENSE, MARKERS["dense"]), (line.sparse, color, SPARSE_MARKERS[i])):
            if members:
                axes.errorbar(
                    [places[point.configuration.config_id] for point in members],
                    [point.nll.mean for point in members],
                    yerr=[
                        [point.nll.mean - point.nll.ends[0] for point in members],
                        [point.nll.ends[1] - point.nll.mean for point in members],
                    ],
                    color=shown,
                    marker=marker,
                    linestyle="",
                    capsize=2,
                    label=line.name if members is line.sparse else "dense",
                )
        last = line.points[-1]
        labels.append(Label(text=line.name, x=last.params, y=last.nll.mean, color=color))
    firsts = {point.configuration.config_id: point for line in lines for point in line.dense}
    if len(firsts) == 1:
        (point,) = firsts.values()
        axes.annotate("dense", (point.params, point.nll.mean), (8, 4), textcoords="offset points", color=DENSE)
    lay_out(figure)
    label_at_right(axes, labels)
    return figure
