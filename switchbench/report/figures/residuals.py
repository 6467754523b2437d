"""What the law of loss of a sweep gets wrong about its runs, against what the law depends on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from switchbench.laws import Observations
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.law import law_of
from switchbench.report.figures.scales import count, linear_scale, log_scale, plain
from switchbench.report.figures.style import COLORS, INK, MANY_POINTS, MARKERS, panel_title, panels

_TITLE = "What the law of loss gets wrong"


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """The runs that a law was fitted to, and how far it is off."""

    formula: str
    """The law."""
    observations: Observations
    """The runs."""
    percent: tuple[float, ...]
    """100 · ln(L̂/L) of each: above 0 where the law expects a higher nll than was measured."""
    uses_experts: bool
    """Whether the law depends on the experts."""
    uses_tokens: bool
    """Whether it depends on the training tokens."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust the law."""

    @property
    def rms(self) -> float:
        """Root of their mean square."""
        return math.sqrt(math.fsum(each**2 for each in self.percent) / len(self.percent))


def sketch_residuals(evidence: Evidence) -> Sketch:
    """The residuals of the fitted law against parameters, experts and tokens.

    Args:
        evidence: What the figures are drawn from.
    """
    found = law_residuals(evidence)
    if found is None:
        lacks = "No law of loss is fitted: that takes models of at least three sizes, or two where all are dense."
        return Sketch(key="residuals", title=_TITLE, missing=lacks)
    worst = max(found.percent, key=abs)
    return Sketch(
        key="residuals",
        title=_TITLE,
        caption=f"Law of loss: {found.formula}. Each marker is an annealed point of a run that it was fitted to; above "
        "0 the law expects a higher nll than was measured. The band is the root mean square of all residuals; a trend "
        "along an axis is something that the law has no room for.",
        alt=f"Root mean square {found.rms:.2f}%, the largest {worst:+.2f}%, over {len(found.percent)} annealed points.",
        draw=lambda width: _draw(found, width=width),
        caveats=found.caveats,
    )


def law_residuals(evidence: Evidence) -> Residuals | None:
    """Evaluate the fitted law at the runs that it was fitted to; None where none was fitted.

    Args:
        evidence: What the figures are drawn from.
    """
    law = law_of(evidence)
    if law is None:
        return None
    return Residuals(
        formula=law.formula,
        observations=law.fit.observations,
        percent=tuple(100 * float(each) for each in law.fit.residuals),
        uses_experts=law.fit.law.uses_experts,
        uses_tokens=law.fit.law.uses_tokens,
        caveats=law.caveats,
    )


def _draw(found: Residuals, *, width: Width) -> Figure:
    rows = found.observations
    shown: list[tuple[str, str, Any, Callable[[float], str]]] = []
    shown.append(("Parameters", "parameters that a token meets", rows.n, count))
    if found.uses_experts:
        shown.append(("Experts", "experts (1: dense)", rows.experts, plain))
    if found.uses_tokens and rows.d is not None:
        shown.append(("Tokens", "training tokens", rows.d, count))
    figure, axes = panels(width, number=len(shown), height=2.8)
    for each, (title, label, values, format_) in zip(axes, shown, strict=True):
        panel_title(each, title)
        each.set_xlabel(label)
        each.set_ylabel("ln(law/measured) (%)")
        _scatter(each, found, values, format_=format_)
    return figure


def _scatter(axes: Axes, found: Residuals, values: Any, *, format_: Callable[[float], str]) -> None:
    log_scale(axes, "x", [float(value) for value in values], format_=format_)
    linear_scale(axes, "y", format_=plain)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.axhspan(-found.rms, found.rms, color=INK, alpha=0.08, linewidth=0)
    is_dense = found.observations.experts == 1
    step = (axes.get_xlim()[1] / axes.get_xlim()[0]) ** 0.008  # both kinds stand side by side
    for role, members, shift in (("dense", is_dense, 1 / step), ("sparse", ~is_dense, step)):
        if members.any():
            axes.plot(
                values[members] * shift,
                np.array(found.percent)[members],
                color=COLORS[role],
                marker=MARKERS[role],
                markersize=4.5,
                linestyle="",
                alpha=0.7,
                rasterized=int(members.sum()) > MANY_POINTS,
                label=role,
            )
