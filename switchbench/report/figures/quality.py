"""Quality against steps, training FLOPs and wall-clock time of one pair, with the speed-up as a horizontal distance.

Source:
    Switch Transformer, Figures 4-6. Departure: the points are annealed ones, and the wall-clock is that of exclusive
    step times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from switchbench.caveats import Caveat
from switchbench.compare import Comparison, Configuration, CurvePoint, Measure, Pair, first_crossing, mean_curve
from switchbench.compare.curves import Crossing
from switchbench.report.aggregates import describe, example_row, ratio_text
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.labels import Label, label_at_right
from switchbench.report.figures.scales import count, linear_scale, log_scale, plain, unit_for
from switchbench.report.figures.spreads import Spread, means_text, spread_of
from switchbench.report.figures.style import COLORS, FAINT, INK, MARKERS, lay_out, panel_title, panels
from switchbench.report.matches import equal_in

Role = Literal["dense", "sparse"]
_TITLE = "Quality against what it costs"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One configuration of the pair along one cost."""

    role: Role
    """Dense or sparse."""
    costs: tuple[float, ...]
    """What its annealed points have cost."""
    nll: tuple[Spread, ...]
    """Their nll over the seeds."""
    schedule: tuple[tuple[float, float], ...]
    """Cost and mean nll in mid-schedule."""
    crossing: float | None
    """What it has cost where the mean reaches the target; None: nowhere."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Quality along one cost."""

    title: str
    """Which cost."""
    label: str
    """Label of its axis, with its unit."""
    ticks: Callable[[float], str]
    """Writes its ticks."""
    dense: Side
    """The dense twin."""
    sparse: Side
    """The sparse configuration."""
    speedup: Comparison
    """The speed-up along this cost."""


def sketch_quality(evidence: Evidence) -> Sketch:
    """Quality against steps, training FLOPs and wall-clock of the leading pair.

    Args:
        evidence: What the figures are drawn from.
    """
    pair = evidence.leading
    if pair is None or pair.target_nll is None:
        lacks = "It takes a sparse configuration and its dense twin with a seed in common whose runs both went well."
        return Sketch(key="quality", title=_TITLE, missing=lacks)
    shown = quality_panels(evidence, pair)
    name = describe(pair.sparse, among=evidence.configurations)
    steps = pair.measured("step_speedup")
    has_schedule = any(len(side.schedule) > 1 for panel in shown for side in (panel.dense, panel.sparse))
    sentences = [
        f"Held-out nll (negative log-likelihood) of {name} and of its dense twin, matched on "
        f"{equal_in(pair.matched_on)}; lower is better. Markers: annealed points, at which the learning rate has come "
        f"down to 0, {means_text([len(pair.seeds)])}"
        + ("; thin lines: the same runs in mid-schedule, which no speed-up is read off." if has_schedule else "."),
        f"Arrow: the speed-up at the quality that the dense twin ends with, {pair.target_nll:.3f} nats per token"
        + ("; the bar at its tip is its 95% interval." if steps.ci95 is not None else "."),
        "FLOPs count all slots of the experts, filled or not. Wall-clock time is steps times the step time that was "
        "measured with the machine to itself."
        if len(shown) == 3
        else "FLOPs count all slots of the experts, filled or not. Against wall-clock time nothing is shown: step "
        "times of both are missing, which the sweep's command measures.",
    ]
    caveats = dict.fromkeys(code for panel in shown for code in panel.speedup.caveats)
    return Sketch(
        key="quality",
        title=_TITLE,
        caption=" ".join(sentences),
        alt=f"{name} against its dense twin at {pair.target_nll:.3f} nats per token: "
        + "; ".join(f"in {panel.label} {speedup_text(panel.speedup)}" for panel in shown),
        draw=lambda width: _draw(shown, pair, width=width),
        caveats=tuple(caveats),
    )


def quality_panels(evidence: Evidence, pair: Pair) -> tuple[Panel, ...]:
    """What each panel shows: steps, provisioned training FLOPs and, where both are timed, wall-clock.

    Args:
        evidence: What the figures are drawn from.
        pair: A pair with seeds in common.
    """
    batch = float(example_row(pair.sparse).batch_tokens), float(example_row(pair.dense).batch_tokens)
    batches = dict(zip((pair.sparse.config_id, pair.dense.config_id), batch, strict=True))

    def panel(
        title: str,
        label: str,
        measure: Measure,
        cost: Callable[[Configuration, CurvePoint | Crossing], float | None],
        *,
        quantity: Literal["time", "flops"] | None = None,
    ) -> Panel | None:
        sides = [_side(configuration, pair, evidence, cost=cost) for configuration in (pair.dense, pair.sparse)]
        if any(side is None for side in sides):
            return None
        dense, sparse = (side for side in sides if side is not None)
        unit = None if quantity is None else unit_for(quantity, [*dense.costs, *sparse.costs])
        return Panel(
            title=title,
            label=label if unit is None else f"{label} ({unit.name})",
            ticks=count if unit is None else lambda value: plain(value / unit.size),
            dense=dense,
            sparse=sparse,
            speedup=pair.measured(measure),
        )

    def seconds(configuration: Configuration, point: CurvePoint | Crossing) -> float | None:
        timing = configuration.timing
        return None if timing is None else point.tokens / batches[configuration.config_id] * timing.step_time_s

    found = (
        panel("Steps", "training steps", "step_speedup", lambda c, point: point.tokens / batches[c.config_id]),
        panel(
            "Training FLOPs",
            "provisioned training FLOPs",
            "flops_speedup_provisioned",
            lambda _, point: point.provisioned_flops,
            quantity="flops",
        ),
        panel("Wall-clock", "wall-clock time", "time_speedup", seconds, quantity="time"),
    )
    return tuple(each for each in found if each is not None)


def speedup_text(speedup: Comparison) -> str:
    """A speed-up as it stands at its arrow, or why there is none."""
    if speedup.value is None:
        return "target not reached" if Caveat.NOT_REACHED in speedup.caveats else "no speed-up to be read"
    bound = {"lower": "> ", "upper": "< ", None: ""}[speedup.bound]
    return f"speed-up {bound}{ratio_text(speedup.value, ci95=speedup.ci95)}"


def _side(
    configuration: Configuration,
    pair: Pair,
    evidence: Evidence,
    *,
    cost: Callable[[Configuration, CurvePoint | Crossing], float | None],
) -> Side | None:
    """One side along one cost; None where that is not known."""
    curves = [configuration.curves[seed] for seed in pair.seeds]
    mean = mean_curve(curves)
    costs = [cost(configuration, point) for point in mean]
    known = [value for value in costs if value is not None]
    if not mean or len(known) < len(costs):
        return None
    by_tokens = [{point.tokens: point.nll for point in curve} for curve in curves]
    assert pair.target_nll is not None, "the pair has seeds in common"
    crossing = first_crossing(mean, target_nll=pair.target_nll)
    per_token = known[-1] / mean[-1].tokens
    return Side(
        role=configuration.role,
        costs=tuple(known),
        nll=tuple(spread_of([nll[point.tokens] for nll in by_tokens]) for point in mean),
        schedule=tuple((tokens * per_token, nll) for tokens, nll in _schedule(configuration, pair.seeds, evidence)),
        crossing=None if crossing is None else cost(configuration, crossing),
    )


def _schedule(configuration: Configuration, seeds: Sequence[int], evidence: Evidence) -> list[tuple[float, float]]:
    """Tokens and nll along the trunk, means over the seeds, where all of them were evaluated."""
    nlls: dict[int, list[float]] = {}
    for seed in seeds:
        for step in evidence.curves.get(configuration.ends[seed].run_id, ()):
            if step.phase == "trunk" and step.nll is not None and step.tokens_seen:
                nlls.setdefault(step.tokens_seen, []).append(step.nll)
    return [(float(tokens), fmean(values)) for tokens, values in sorted(nlls.items()) if len(values) == len(seeds)]


def _draw(shown: Sequence[Panel], pair: Pair, *, width: Width) -> Figure:
    figure, axes = panels(width, number=len(shown))
    for panel, each in zip(shown, axes, strict=True):
        _draw_panel(each, panel, target=pair.target_nll or 0.0)
    lay_out(figure)
    for panel, each in zip(shown, axes, strict=True):
        label_at_right(
            each,
            [
                Label(text=side.role, x=side.costs[-1], y=side.nll[-1].mean, color=COLORS[side.role])
                for side in (panel.dense, panel.sparse)
            ],
        )
    return figure


def _draw_panel(axes: Axes, panel: Panel, *, target: float) -> None:
    panel_title(axes, f"{panel.title}\n{speedup_text(panel.speedup)}")
    ends = [end for side in (panel.dense, panel.sparse) for spread in side.nll for end in spread.ends]
    low, high = min([*ends, target]), max([*ends, target])
    room = max(high - low, 0.01)
    axes.set_ylim(low - 0.12 * room, high + 0.12 * room)
    log_scale(axes, "x", [*panel.dense.costs, *panel.sparse.costs], format_=panel.ticks, margin=0.12)
    linear_scale(axes, "y", format_=plain)
    axes.set_xlabel(panel.label)
    axes.set_ylabel("held-out nll (nats/token)")
    for side in (panel.dense, panel.sparse):
        color, marker = COLORS[side.role], MARKERS[side.role]
        if len(side.schedule) > 1:
            axes.plot(*zip(*side.schedule, strict=True), color=color, linewidth=0.8, alpha=FAINT)
        means = [spread.mean for spread in side.nll]
        errors = [[spread.mean - spread.ends[0] for spread in side.nll], [s.ends[1] - s.mean for s in side.nll]]
        axes.errorbar(side.costs, means, yerr=errors, color=color, marker=marker, capsize=2, label=side.role)
    _draw_speedup(axes, panel, target=target)


def _draw_speedup(axes: Axes, panel: Panel, *, target: float) -> None:
    axes.axhline(target, color=INK, linewidth=0.8, linestyle=":", alpha=FAINT)
    start, end = panel.dense.crossing, panel.sparse.crossing
    if panel.speedup.value is not None and start is not None and end is not None:
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
        axes.annotate("", xy=(end, target), xytext=(start, target), arrowprops=arrow)
        if panel.speedup.ci95 is not None:
            fast, slow = start / panel.speedup.ci95[1], start / panel.speedup.ci95[0]
            axes.plot([fast, slow], [target, target], color=INK, linewidth=5, alpha=0.3, solid_capstyle="butt")
