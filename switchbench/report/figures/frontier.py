"""The best quality that a cost buys, dense against sparse, with laws through both frontiers and where they cross."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from switchbench.caveats import Caveat, in_order
from switchbench.compare.pool import pool_of
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.frontier_curves import BEYOND, COSTS, FEWEST, Panel, Side, frontier_panels
from switchbench.report.figures.labels import Label, label_at_right
from switchbench.report.figures.law import law_of
from switchbench.report.figures.scales import linear_scale, log_scale, plain, unit_for
from switchbench.report.figures.spreads import means_text
from switchbench.report.figures.style import COLORS, INK, MANY_POINTS, MARKERS, lay_out, panel_title, panels
from switchbench.units import significant

_TITLE = "The best that a budget buys"


def sketch_frontier(evidence: Evidence) -> Sketch:
    """The best of both sides along FLOPs and time.

    Args:
        evidence: What the figures are drawn from.
    """
    pool = pool_of(evidence.configurations)
    if pool.has_other_data:
        lacks = "The configurations were evaluated on different text, so that no quality is the best of all."
        return Sketch(key="frontier", title=_TITLE, missing=lacks)
    law = law_of(evidence)
    shown = frontier_panels(pool, sweep=evidence.sweep, law=law)
    if not shown:
        lacks = "It takes a dense and a sparse configuration with annealed points, none of whose runs diverged."
        return Sketch(key="frontier", title=_TITLE, missing=lacks)
    laws = [side.fitted for panel in shown for side in panel.sides if side.fitted is not None]
    seeds = [len(member.curves) for member in pool.members]
    sentences = [
        f"Markers: the annealed points of all configurations, {means_text(seeds, have_intervals=False)}. Thick: the "
        "lowest nll of any configuration within a cost, between its points."
    ]
    is_joint = law is not None and any(panel.is_joint for panel in shown)
    if law is not None and is_joint:
        sentences.append(
            f"Thin: the lowest nll that the law of loss of this sweep, {law.formula}, expects of any configuration "
            "within a cost"
            + (", with its 95% band" if any(each.ci95 is not None for each in laws) else "")
            + f"; dashed where that is extrapolated, up to {BEYOND:g} times the largest cost that was paid."
        )
    elif laws:
        sentences.append(
            "Thin: a power law of cost through the points on each frontier"
            + (" with its 95% band" if any(each.ci95 is not None for each in laws) else "")
            + f", dashed where it is extrapolated, up to {BEYOND:g} times the last point; nothing says that growth "
            "goes on like that."
        )
    if len(laws) < sum(len(panel.sides) for panel in shown):
        sentences.append(
            f"A law of cost takes {FEWEST} points on the frontier of each side; where there are fewer, none is drawn."
        )
    if any(panel.frontier.crossing is not None for panel in shown):
        sentences.append("The upright line is where the two cross, with its 95% interval where there is one.")
    unsure = [panel for panel in shown if Caveat.CROSSING_VARIES in panel.frontier.caveats]
    if unsure and len(unsure) < len(shown):  # a footnote to the whole figure would be wrong about the others
        sentences.append(
            f"Along the {COSTS[unsure[0].cost][1]} the better side changes at other places, or not at all, with one of "
            "the seeds left out, so that no interval is drawn there."
        )
    codes = [code for panel in shown for code in panel.frontier.caveats]
    caveats = [code for code in codes if code != Caveat.CROSSING_VARIES or len(unsure) == len(shown)]
    return Sketch(
        key="frontier",
        title=_TITLE,
        caption=" ".join(sentences),
        alt=" ".join(_in_words(panel) for panel in shown),
        draw=lambda width: _draw(shown, width=width),
        caveats=in_order(
            [*caveats, *([Caveat.EXTRAPOLATED] if laws else []), *(law.caveats if law is not None and is_joint else ())]
        ),
    )


def _in_words(panel: Panel) -> str:
    """Which side is better at which costs."""
    title, label, quantity = COSTS[panel.cost]
    stretches = panel.frontier.stretches
    if not stretches:
        return f"{title}: neither side is better anywhere."
    unit = unit_for(quantity, [stretch.high for stretch in stretches])
    parts = [
        f"{stretch.better} is better from {plain(float(significant(stretch.low / unit.size)))} to "
        f"{plain(float(significant(stretch.high / unit.size)))} {unit.name}"
        for stretch in stretches
    ]
    return f"Along the {label} {', '.join(parts)}."


def _draw(shown: Sequence[Panel], *, width: Width) -> Figure:
    figure, axes = panels(width, number=len(shown), height=3.4)
    for each, panel in zip(axes, shown, strict=True):
        _draw_panel(each, panel)
    lay_out(figure)
    for each, panel in zip(axes, shown, strict=True):
        scale = _unit(panel)[1]
        ends = [(side, side.fitted) for side in panel.sides]
        label_at_right(
            each,
            [
                Label(text=side.role, x=side.frontier[-1][0] / scale, y=side.frontier[-1][1], color=COLORS[side.role])
                if law is None
                else Label(text=side.role, x=law.costs[-1] / scale, y=law.nll[-1], color=COLORS[side.role])
                for side, law in ends
            ],
        )
    return figure


def _unit(panel: Panel) -> tuple[str, float]:
    unit = unit_for(COSTS[panel.cost][2], [cost for side in panel.sides for cost, _ in side.points])
    return unit.name, unit.size


def _draw_panel(axes: Axes, panel: Panel) -> None:
    title, label, _ = COSTS[panel.cost]
    name, scale = _unit(panel)
    panel_title(axes, title)
    axes.set_xlabel(f"{label} ({name})")
    axes.set_ylabel("held-out nll (nats/token)")
    laws = [side.fitted for side in panel.sides if side.fitted is not None]
    costs = [cost for side in panel.sides for cost, _ in side.points] + [cost for law in laws for cost in law.costs]
    log_scale(axes, "x", [cost / scale for cost in costs], format_=plain)
    nlls = [nll for side in panel.sides for _, nll in side.frontier] + [nll for law in laws for nll in law.nll]
    room = max(max(nlls) - min(nlls), 0.01)
    axes.set_ylim(min(nlls) - 0.08 * room, max(nlls) + 0.08 * room)
    linear_scale(axes, "y", format_=plain)
    for side in panel.sides:
        _draw_side(axes, side, end=max(cost for each in panel.sides for cost, _ in each.points), scale=scale)
    frontier = panel.frontier
    if frontier.crossing is not None:
        axes.axvline(frontier.crossing / scale, color=INK, linewidth=0.9)
        if frontier.ci95 is not None:
            axes.axvspan(*(bound / scale for bound in frontier.ci95), color=INK, alpha=0.1, linewidth=0)


def _draw_side(axes: Axes, side: Side, *, end: float, scale: float) -> None:
    color, marker = COLORS[side.role], MARKERS[side.role]
    costs, nlls = ([*each] for each in zip(*side.points, strict=True))
    axes.plot(
        [cost / scale for cost in costs],
        nlls,
        color=color,
        marker=marker,
        linestyle="",
        markersize=4,
        alpha=0.6,
        rasterized=len(costs) > MANY_POINTS,
        label=f"{side.role}, annealed points",
    )
    outline = side.outline(end)
    axes.plot(
        [cost / scale for cost, _ in outline],
        [nll for _, nll in outline],
        color=color,
        linewidth=2.4,
        label=f"{side.role}, frontier",
    )
    law = side.fitted
    if law is None:
        return
    for beyond in (False, True):
        kept = [i for i, cost in enumerate(law.costs) if (cost >= law.known_to if beyond else cost <= law.known_to)]
        axes.plot(
            [law.costs[i] / scale for i in kept],
            [law.nll[i] for i in kept],
            color=color,
            linewidth=1.0,
            linestyle="--" if beyond else "-",
            label=f"{side.role}, law, extrapolated" if beyond else f"{side.role}, law",
        )
    if law.ci95 is not None:
        low, high = zip(*law.ci95, strict=True)
        axes.fill_between([cost / scale for cost in law.costs], low, high, color=color, alpha=0.13, linewidth=0)
