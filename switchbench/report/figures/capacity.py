"""What a larger capacity factor buys: quality, dropped tokens, executed FLOPs and step time, a panel for each."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from switchbench.caveats import Caveat, in_order
from switchbench.compare import Configuration
from switchbench.compare.pairs import timing_caveats
from switchbench.report.aggregates import capacity_text, example_row, setting_text, swept_paths
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.labels import Label, label_at_right, name_of, names_of, what_differs
from switchbench.report.figures.scales import linear_scale, plain, unit_for
from switchbench.report.figures.spreads import Spread, means_text, spread_over_seeds
from switchbench.report.figures.style import DENSE, SPARSE, SPARSE_MARKERS, lay_out, panel_title, panels, shades

_TITLE = "What capacity buys"
_MOST_SERIES = 5
"""More than these are not told apart."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Sparse configurations that differ in their capacity factor alone."""

    name: str
    """What they have in common that others have not."""
    members: tuple[Configuration, ...]
    """The configurations, from the smallest capacity factor to dropless."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One quantity against the capacity factor."""

    title: str
    """Which quantity."""
    label: str
    """Label of its axis, with its unit."""
    value: Callable[[Configuration], Spread | None]
    """The quantity of a configuration, in that unit."""
    other: Callable[[Configuration], Spread | None] | None = None
    """What is drawn hollow and dashed beside it."""
    from_zero: bool = False
    """Whether its axis begins at 0."""


def sketch_capacity(evidence: Evidence) -> Sketch:
    """Quality, dropped tokens, FLOPs and step time against the capacity factor.

    Args:
        evidence: What the figures are drawn from.
    """
    found = capacity_series(evidence)
    if not found:
        lacks = "It takes sparse configurations that differ in their capacity factor: sweep model.ffn.capacity_factor."
        return Sketch(key="capacity", title=_TITLE, missing=lacks)
    series = _named([each for each in found if _leads(each, evidence)] + [s for s in found if not _leads(s, evidence)])
    members = [configuration for each in series for configuration in each.members]
    shown = capacity_panels([*members, *_twins(evidence, members)])
    timings = [configuration.timing for configuration in members if configuration.timing is not None]
    left_out = "" if len(series) == len(found) else f" {len(series)} of {len(found)} lines are shown."
    hollow = [
        "the nll where evaluation, too, drops what an expert has no room for",
        "the FLOPs of all slots, filled or not",
    ]
    sentences = [
        f"Values are {means_text([len(each.finished) for each in members])}; step times are medians with the middle "
        f"half of the steps.{left_out} Hollow: {', and '.join(hollow)}."
    ]
    if _twins(evidence, members):
        sentences.append("Blue: the dense twin.")
    caveats = [*(code for each in members for code in each.caveats), *timing_caveats(timings)]
    best = min(members, key=lambda each: _nll(each))
    return Sketch(
        key="capacity",
        title=_TITLE,
        caption=" ".join(sentences),
        alt=f"Capacity factors {', '.join(_factors(members))}: the lowest nll is {_nll(best):.3f} nats per token, of "
        f"{name_of(best, among=evidence.configurations)}.",
        draw=lambda width: _draw(series, shown, evidence, width=width),
        caveats=in_order(code for code in caveats if code != Caveat.NOT_TIMED),
    )


def capacity_series(evidence: Evidence) -> tuple[Series, ...]:
    """The sparse configurations by all but their capacity factor, where there are several factors; longest first.

    Args:
        evidence: What the figures are drawn from.
    """

    paths = swept_paths(evidence.configurations)

    def others(configuration: Configuration) -> str:
        row = example_row(configuration)
        settings = [setting_text(configuration, path) for path in paths]
        return json.dumps([row.model_size, *settings, row.num_experts])

    groups: dict[str, dict[float, Configuration]] = {}
    for configuration in evidence.configurations:
        if configuration.role == "sparse" and math.isfinite(_nll(configuration)):
            groups.setdefault(others(configuration), {}).setdefault(_factor(configuration), configuration)
    several = [group for group in groups.values() if len(group) > 1]
    names = names_of([next(iter(group.values())) for group in several], among=evidence.configurations)
    series = [
        Series(
            name=re.sub(r", (CF [\d.e+-]+|dropless)", "", name),
            members=tuple(group[factor] for factor in sorted(group)),
        )
        for group, name in zip(several, names, strict=True)
    ]
    return tuple(sorted(series, key=lambda each: -len(each.members)))


def _leads(series: Series, evidence: Evidence) -> bool:
    """Whether the pair that the report is about is among them: that is shown in any case."""
    return evidence.leading is not None and evidence.leading.sparse in series.members


def _named(found: Sequence[Series]) -> tuple[Series, ...]:
    """As many as can be told apart, named by what they differ in."""
    shown = found[:_MOST_SERIES]
    names = what_differs([each.name for each in shown])
    return tuple(replace(each, name=name) for each, name in zip(shown, names, strict=True))


def capacity_panels(shown: Sequence[Configuration]) -> tuple[Panel, ...]:
    """The four quantities, those that anything is known of.

    Args:
        shown: All configurations that are drawn.
    """
    flops = [row.provisioned_train_flops for each in shown for row in each.finished.values()]
    times = [each.timing.step_time_s for each in shown if each.timing is not None]
    flop_unit = unit_for("flops", [value for value in flops if value] or [1.0])
    time_unit = unit_for("time", times or [1.0])

    def step_time(configuration: Configuration) -> Spread | None:
        timing = configuration.timing
        if timing is None:
            return None
        median, low, high = timing.step_time_s, timing.step_time_q25_s, timing.step_time_q75_s
        return Spread(mean=median, ci95=(low, high), values=(median,)).scaled(1 / time_unit.size)

    def column(name: str, factor: float = 1.0) -> Callable[[Configuration], Spread | None]:
        def value(configuration: Configuration) -> Spread | None:
            spread = spread_over_seeds(configuration, name)
            return None if spread is None else spread.scaled(factor)

        return value

    found = (
        Panel(title="Quality", label="held-out nll (nats/token)", value=column("nll"), other=column("nll_capacity")),
        Panel(
            title="Dropped tokens",
            label="dropped in training (%)",
            value=column("dropped_token_fraction", 100.0),
            from_zero=True,
        ),
        Panel(
            title="FLOPs",
            label=f"executed training FLOPs ({flop_unit.name})",
            value=column("executed_train_flops", 1 / flop_unit.size),
            other=column("provisioned_train_flops", 1 / flop_unit.size),
        ),
        Panel(title="Step time", label=f"step time ({time_unit.name})", value=step_time),
    )
    return tuple(panel for panel in found if any(panel.value(each) is not None for each in shown))


def _nll(configuration: Configuration) -> float:
    spread = spread_over_seeds(configuration, "nll")
    return math.inf if spread is None else spread.mean


def _factor(configuration: Configuration) -> float:
    factor = example_row(configuration).capacity_factor
    return math.inf if factor is None else factor  # dropless is the largest capacity there is


def _factors(members: Sequence[Configuration]) -> list[str]:
    ordered = sorted(members, key=_factor)
    return list(dict.fromkeys(capacity_text(example_row(each)) for each in ordered))


def _twins(evidence: Evidence, members: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """The dense twins of some configurations; none where there are several, since a line of each would say little."""
    ids = {each.config_id for each in members}
    twins = {pair.dense.config_id: pair.dense for pair in evidence.pairs if pair.sparse.config_id in ids}
    return tuple(twins.values()) if len(twins) == 1 else ()


def _draw(series: Sequence[Series], shown: Sequence[Panel], evidence: Evidence, *, width: Width) -> Figure:
    figure, axes = panels(width, number=len(shown), height=2.5, across=2)
    members = [configuration for each in series for configuration in each.members]
    places = {text: float(i) for i, text in enumerate(_factors(members))}
    labels = [
        _draw_panel(each, panel, series, _twins(evidence, members), places=places)
        for panel, each in zip(shown, axes, strict=True)
    ]
    lay_out(figure)
    for each, of_panel in zip(axes, labels, strict=True):
        label_at_right(each, of_panel)
    return figure


def _draw_panel(
    axes: Axes, panel: Panel, series: Sequence[Series], twins: Sequence[Configuration], *, places: dict[str, float]
) -> list[Label]:
    panel_title(axes, panel.title)
    axes.set_xlabel("capacity factor")
    axes.set_ylabel(panel.label)
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
    names = list(places)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, i: names[i or 0]))
    linear_scale(axes, "y", format_=plain)
    labels = []
    for twin in twins:
        spread = panel.value(twin)
        if spread is not None:
            axes.axhline(spread.mean, color=DENSE, linewidth=1.2)
            axes.axhspan(*spread.ends, color=DENSE, alpha=0.15, linewidth=0)
            labels.append(Label(text="dense", x=len(places) - 0.6, y=spread.mean, color=DENSE))
    for i, (each, color) in enumerate(zip(series, shades(SPARSE, len(series)), strict=True)):
        shift = (i - (len(series) - 1) / 2) * 0.08  # intervals at the same factor stand side by side
        for value, is_hollow in ((panel.other, True), (panel.value, False)):
            points = [
                (places[capacity_text(example_row(c))] + shift, s) for c in each.members if value and (s := value(c))
            ]
            if not points:
                continue
            x, y = [place for place, _ in points], [spread.mean for _, spread in points]
            axes.errorbar(
                x,
                y,
                yerr=[[s.mean - s.ends[0] for _, s in points], [s.ends[1] - s.mean for _, s in points]],
                color=color,
                marker=SPARSE_MARKERS[i],
                markerfacecolor="none" if is_hollow else color,
                linestyle=":" if is_hollow else "-",
                linewidth=1.0 if is_hollow else 1.6,
                elinewidth=1.0,
                capsize=2,
                label=f"{each.name}, hollow" if is_hollow else each.name,
            )
        if points:
            labels.append(Label(text=each.name, x=x[-1], y=y[-1], color=color))
    if panel.from_zero:
        axes.set_ylim(bottom=0.0)
    return labels
