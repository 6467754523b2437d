"""How evenly the tokens spread over the experts: a heat map over layers and training, of one run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from switchbench.compare import Configuration
from switchbench.record import StepRecord
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.labels import name_of
from switchbench.report.figures.scales import count, linear_scale
from switchbench.report.figures.style import WIDTHS, panels

_TITLE = "Expert load over layers and training"
_MOST_LAYERS = 6
"""Layers that one figure has room for."""
_MOST_CELLS = 1500
"""Cells of a panel from which on it is an image in the SVG."""
_STEPS_SHOWN = 2.0
"""Loads are told apart from a quarter to four times a balanced one, in factors of two."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The load of one run."""

    configuration: Configuration
    """Its configuration."""
    seed: int
    """Its seed."""
    edges: tuple[int, ...]
    """Steps at which one stretch of training ends and the next begins; one more than there are stretches."""
    layers: tuple[int, ...]
    """The sparse layers that are shown, from 1."""
    number: int
    """How many sparse layers there are."""
    values: Any
    """Load over a balanced one, (layer, expert, stretch); or, without experts, the load's coefficient of variation,
    (layer, stretch)."""

    @property
    def is_by_expert(self) -> bool:
        """Whether the load of each expert is known."""
        return bool(self.values.ndim == 3)


def sketch_expert_load(evidence: Evidence) -> Sketch:
    """The load of every expert of the leading pair's sparse configuration, of its first seed.

    Args:
        evidence: What the figures are drawn from.
    """
    load = expert_load(evidence)
    if load is None:
        lacks = "It takes the curve of a run with experts, with at least two evaluations: see train.eval_points."
        return Sketch(key="expert_load", title=_TITLE, missing=lacks)
    name = name_of(load.configuration, among=evidence.configurations)
    layers = "" if len(load.layers) == load.number else f" Layers {', '.join(map(str, load.layers))} of {load.number}."
    what = (
        "Tokens that each expert was given, before capacity, over what a balanced router gives it: 1 is balanced. "
        "Experts are in the order in which the model has them, each layer has its own."
        if load.is_by_expert
        else "Coefficient of variation of the experts' load within a batch, by layer: 0 is balanced."
    )
    return Sketch(
        key="expert_load",
        title=_TITLE,
        caption=f"{what} One run, {name}, seed {load.seed}; a column is the stretch between two evaluations.{layers}",
        alt=f"{name}, seed {load.seed}: {_in_words(load)}",
        draw=lambda width: _draw(load, width=width),
    )


def expert_load(evidence: Evidence) -> Load | None:
    """The load along training, up to the end, its cooldown included; None where no run has it.

    Args:
        evidence: What the figures are drawn from.
    """
    sparse = [configuration for configuration in evidence.configurations if configuration.role == "sparse"]
    if evidence.leading is not None:
        sparse.insert(0, evidence.leading.sparse)
    for configuration in sparse:
        for seed, end in configuration.finished.items():
            steps = _to_the_end(evidence.curves.get(end.run_id, ()))
            known = [step for step in steps if step.expert_load is not None]
            if len(known) > 1:
                loads = [np.array(step.expert_load) for step in known]
                values = np.stack(loads, axis=-1) * loads[0].shape[1]  # layer, expert, stretch
            else:
                known = [step for step in steps if step.expert_load_cv is not None]
                if len(known) < 2:
                    continue
                values = np.stack([np.array(step.expert_load_cv) for step in known], axis=-1)
            number = values.shape[0]
            chosen = sorted({round(i) for i in np.linspace(0, number - 1, min(number, _MOST_LAYERS))})
            return Load(
                configuration=configuration,
                seed=seed,
                edges=(0, *(step.step for step in known)),
                layers=tuple(i + 1 for i in chosen),
                number=number,
                values=values[chosen],
            )
    return None


def _to_the_end(steps: Sequence[StepRecord]) -> list[StepRecord]:
    """The evaluations on the path to the end of training: the trunk up to where the last cooldown begins, and that."""
    cooldown = [step for step in steps if step.phase == "cooldown" and step.anneal_fraction == 1.0]
    start = min((step.step for step in cooldown), default=math.inf)
    trunk = [step for step in steps if step.phase == "trunk" and 0 < step.step < start]
    return sorted((*trunk, *cooldown), key=lambda step: step.step)


def _in_words(load: Load) -> str:
    last = load.values[..., -1]
    if load.is_by_expert:
        return f"at the end the experts' loads lie between {last.min():.2f} and {last.max():.2f} times a balanced one."
    return f"at the end the load's coefficient of variation lies between {last.min():.2f} and {last.max():.2f}."


def _draw(load: Load, *, width: Width) -> Figure:
    if not load.is_by_expert:
        return _draw_layers(load, width=width)
    layers, experts, _ = load.values.shape
    height = max(min(1.6, max(0.55, 0.07 * experts)), 2.0 / layers)  # room for the bar's label
    figure, axes = panels("narrow", number=layers, height=height)
    figure.set_size_inches(WIDTHS[width], height * layers + 0.7)
    for i, each in enumerate(axes):
        logs = np.log2(np.clip(load.values[i], 2.0**-_STEPS_SHOWN, 2.0**_STEPS_SHOWN))
        norm = Normalize(-_STEPS_SHOWN, _STEPS_SHOWN)
        _mesh(each, load.edges, logs, palette="vlag", norm=norm)
        each.set_ylabel(f"layer {load.layers[i]}\nexpert")
        each.yaxis.set_major_locator(FixedLocator([0, experts - 1] if experts > 1 else [0]))
        each.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value + 1:.0f}"))
        if i < layers - 1:
            each.tick_params(labelbottom=False)
    axes[-1].set_xlabel("training steps")
    bar = figure.colorbar(axes[-1].collections[0], ax=axes, fraction=0.05, aspect=8 * layers)
    names = {-2.0: "≤ ¼", -1.0: "½", 0.0: "1", 1.0: "2", 2.0: "≥ 4"}
    _name_bar(bar, names, label="load (1: balanced)")
    return figure


def _draw_layers(load: Load, *, width: Width) -> Figure:
    figure, (axes,) = panels(width, number=1, height=1.2 + 0.25 * len(load.layers))
    top = max(float(load.values.max()), 1e-9)
    mesh = _mesh(axes, load.edges, load.values, palette="flare", norm=Normalize(0.0, top))
    axes.set_xlabel("training steps")
    axes.set_ylabel("sparse layer")
    axes.yaxis.set_major_locator(FixedLocator(list(range(len(load.layers)))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda _, i: str(load.layers[i or 0])))
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05)
    bar.set_label("load's coefficient\nof variation")
    bar.outline.set_visible(False)
    return figure


def _mesh(axes: Axes, edges: Sequence[int], values: Any, *, palette: str, norm: Normalize) -> Any:
    rows = values.shape[0]
    mesh = axes.pcolormesh(
        list(edges),
        np.arange(rows + 1) - 0.5,
        values,
        cmap=seaborn.color_palette(palette, as_cmap=True),
        norm=norm,
        linewidth=0,
        rasterized=values.size > _MOST_CELLS,
    )
    axes.grid(visible=False)
    axes.invert_yaxis()
    linear_scale(axes, "x", format_=count)
    return mesh


def _name_bar(bar: Colorbar, names: dict[float, str], *, label: str) -> None:
    bar.set_label(label)
    bar.ax.yaxis.set_major_locator(FixedLocator(list(names)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: names[round(value, 6)]))
    bar.outline.set_visible(False)
