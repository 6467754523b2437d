"""How far seeds are apart: the final quality of every run, by configuration, with a line for each seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from switchbench.caveats import in_order
from switchbench.compare import Configuration
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.labels import name_of, names_of, shortened, what_differs
from switchbench.report.figures.scales import linear_scale, plain
from switchbench.report.figures.spreads import Spread, spread_of
from switchbench.report.figures.style import COLORS, FAINT, INK, MARKERS, panels

_TITLE = "How far seeds are apart"
_MOST_ROWS = 24
"""Configurations that one figure has room for."""
_APART = 0.15
"""How far single seeds stand above their row's middle, and means below it."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One configuration."""

    configuration: Configuration
    """The configuration."""
    nll: dict[int, float]
    """Its final nll by seed."""
    spread: Spread
    """Their mean with its interval."""
    group: int
    """The dense twin it is compared to, as a number; lines join the seeds within a group."""


def sketch_seeds(evidence: Evidence) -> Sketch:
    """The final nll of each seed of each configuration.

    Args:
        evidence: What the figures are drawn from.
    """
    found = strips(evidence)
    if not any(len(strip.nll) > 1 for strip in found):
        lacks = "It takes a configuration with two seeds that went well: add seeds to sweep.seeds."
        return Sketch(key="seeds", title=_TITLE, missing=lacks)
    shown = chosen_strips(found, most=_MOST_ROWS)
    widest = max(shown, key=lambda strip: max(strip.nll.values()) - min(strip.nll.values()))
    range_ = max(widest.nll.values()) - min(widest.nll.values())
    sentences = [
        "Held-out nll of each run; lower is better. Small: single seeds, with a line through the runs of one seed, "
        "which have the same data in the same order; large: means with their 95% intervals over seeds."
    ]
    if len(shown) < len(found):
        sentences.append(f"The {len(shown)} of {len(found)} configurations with the lowest nll, and their twins.")
    sentences.append("Runs that diverged have no nll, and stand in brackets.")
    return Sketch(
        key="seeds",
        title=_TITLE,
        caption=" ".join(sentences[: None if any(strip.configuration.diverged for strip in shown) else -1]),
        alt=f"{len(shown)} configurations; the seeds that differ most, of "
        f"{name_of(widest.configuration, among=evidence.configurations)}, are {range_:.3f} nats per token apart.",
        draw=lambda width: _draw(shown, evidence, width=width),
        caveats=in_order(code for strip in shown for code in strip.configuration.caveats),
    )


def strips(evidence: Evidence) -> tuple[Strip, ...]:
    """Every configuration with an nll: each dense one followed by those whose twin it is, then those without a twin.

    Args:
        evidence: What the figures are drawn from.
    """
    dense = [configuration for configuration in evidence.configurations if configuration.role == "dense"]
    groups = [
        [twin, *dict.fromkeys(p.sparse.config_id for p in evidence.pairs if p.dense.config_id == twin.config_id)]
        for twin in dense
    ]
    by_id = {configuration.config_id: configuration for configuration in evidence.configurations}
    ordered: dict[str, int] = {}
    for i, (twin, *sparse) in enumerate(groups):
        assert isinstance(twin, Configuration), "a group begins with its twin"
        for config_id in (twin.config_id, *map(str, sparse)):
            ordered.setdefault(config_id, i)
    for i, configuration in enumerate(evidence.configurations):
        ordered.setdefault(configuration.config_id, len(groups) + i)
    found = []
    for config_id, group in ordered.items():
        ends = by_id[config_id].finished
        nll = {seed: end.nll for seed, end in ends.items() if end.nll is not None and math.isfinite(end.nll)}
        if nll:
            spread = spread_of(list(nll.values()))
            found.append(Strip(configuration=by_id[config_id], nll=nll, spread=spread, group=group))
    return tuple(found)


def chosen_strips(found: Sequence[Strip], *, most: int) -> tuple[Strip, ...]:
    """Those of lowest mean nll, in their order, where there are too many; whole groups as long as they fit.

    Args:
        found: All of them.
        most: How many there is room for.
    """
    if len(found) <= most:
        return tuple(found)
    best: list[Strip] = []
    for strip in sorted(found, key=lambda strip: strip.spread.mean):
        twin = [other for other in found if other.group == strip.group and other.configuration.role == "dense"]
        wanted = [each for each in (*twin, strip) if each not in best]
        if len(best) + len(wanted) <= most:
            best += wanted
    return tuple(strip for strip in found if strip in best)


def _draw(shown: Sequence[Strip], evidence: Evidence, *, width: Width) -> Figure:
    figure, (axes,) = panels(width, number=1, height=0.7 + 0.3 * max(len(shown), 3))
    told_apart = what_differs(names_of([strip.configuration for strip in shown], among=evidence.configurations))
    names = [
        shortened(name, longest=46 if width == "wide" else 27)
        + (f" ({len(strip.configuration.diverged)} diverged)" if strip.configuration.diverged else "")
        for strip, name in zip(shown, told_apart, strict=True)
    ]
    axes.set_xlabel("held-out nll (nats/token)")
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(shown)))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda _, i: names[i or 0]))
    axes.tick_params(axis="y", length=0)
    linear_scale(axes, "x", format_=plain, ticks=6 if width == "wide" else 4)
    for group in dict.fromkeys(strip.group for strip in shown):
        members = [(i, strip) for i, strip in enumerate(shown) if strip.group == group]
        for seed in dict.fromkeys(seed for _, strip in members for seed in strip.nll):
            line = [(strip.nll[seed], i - _APART) for i, strip in members if seed in strip.nll]
            axes.plot(*zip(*line, strict=True), color=INK, linewidth=0.7, alpha=0.25, label=f"seed {seed}")
    for i, (strip, label) in enumerate(zip(shown, axes.get_yticklabels(), strict=True)):
        look: Any = {"color": COLORS[strip.configuration.role], "marker": MARKERS[strip.configuration.role]}
        label.set_color(look["color"])
        values = list(strip.nll.values())
        axes.plot(values, [i - _APART] * len(values), linestyle="", markersize=3.5, alpha=FAINT, **look)
        mean, (low, high) = strip.spread.mean, strip.spread.ends
        axes.errorbar([mean], [i + _APART], xerr=[[mean - low], [high - mean]], markersize=7, capsize=3, **look)
    return figure
