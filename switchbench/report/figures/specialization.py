"""Which classes of tokens each expert prefers: a heat map of experts and classes, layer by layer, of one run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from switchbench.compare import Configuration
from switchbench.data.token_classes import TOKEN_CLASSES
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence
from switchbench.report.figures.labels import name_of
from switchbench.report.figures.style import panel_title, panels
from switchbench.report.specialization import Preference, preference_of
from switchbench.units import percent

_TITLE = "Classes of tokens that experts prefer"
_MOST_LAYERS = 4
"""Layers that one figure has room for."""
_MOST_CELLS = 1500
"""Cells of a panel from which on it is an image in the SVG."""
_STEPS_SHOWN = 3.0
"""Preferences are told apart from an eighth to eight times what the text has, in factors of two."""


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """What the experts of one run prefer."""

    configuration: Configuration
    """Its configuration."""
    seed: int
    """Its seed."""
    layers: tuple[int, ...]
    """The sparse layers that are shown, from 1."""
    number: int
    """How many sparse layers there are."""
    classes: tuple[str, ...]
    """The classes that the text has."""
    lifts: Any
    """(layer, expert, class): the share of a class among an expert's tokens over that in the text; experts that prefer
    the same class side by side, those without a token last, with NaN."""
    most_special: tuple[Preference | None, ...]
    """What the most special expert of each layer prefers."""


def sketch_specialization(evidence: Evidence) -> Sketch:
    """The classes that the experts of the leading pair's sparse configuration prefer, in its first seed.

    Args:
        evidence: What the figures are drawn from.
    """
    found = preferences(evidence)
    if found is None:
        lacks = "It takes a run with experts, on text, that counted which tokens each of them takes, as runs now do."
        return Sketch(key="specialization", title=_TITLE, missing=lacks)
    name = name_of(found.configuration, among=evidence.configurations)
    layers = (
        "" if len(found.layers) == found.number else f" Layers {', '.join(map(str, found.layers))} of {found.number}."
    )
    return Sketch(
        key="specialization",
        title=_TITLE,
        caption="A row is an expert: the share of each class among the held-out tokens that it took, over that in the "
        "text, 1x where it does not care. Experts that prefer the same class stand together. One run, "
        f"{name}, seed {found.seed}.{layers}",
        alt=f"{name}, seed {found.seed}: {_in_words(found)}",
        draw=lambda width: _draw(found, width=width),
    )


def preferences(evidence: Evidence) -> Preferences | None:
    """What the experts prefer at the end of training; None where no run has counted it.

    Args:
        evidence: What the figures are drawn from.
    """
    sparse = [configuration for configuration in evidence.configurations if configuration.role == "sparse"]
    if evidence.leading is not None:
        sparse.insert(0, evidence.leading.sparse)
    for configuration in sparse:
        for seed, end in configuration.finished.items():
            if end.token_classes_by_expert is None:
                continue
            counts_LEC = np.array(end.token_classes_by_expert, dtype=np.float64)
            has_C = counts_LEC.sum(axis=(0, 1)) > 0
            if not has_C.any():
                continue
            number = len(counts_LEC)
            chosen = sorted({round(i) for i in np.linspace(0, number - 1, min(number, _MOST_LAYERS))})
            return Preferences(
                configuration=configuration,
                seed=seed,
                layers=tuple(layer + 1 for layer in chosen),
                number=number,
                classes=tuple(name for name, is_there in zip(TOKEN_CLASSES, has_C, strict=True) if is_there),
                most_special=tuple(preference_of(end.token_classes_by_expert[layer]) for layer in chosen),
                lifts=np.stack([_lifts(counts_LEC[layer][:, has_C]) for layer in chosen]),
            )
    return None


def _lifts(counts_EC: Any) -> Any:
    """Shares over those of the text, experts in the order of what they prefer."""
    load_E1 = counts_EC.sum(axis=1, keepdims=True)
    share_C = counts_EC.sum(axis=0) / counts_EC.sum()
    with np.errstate(invalid="ignore"):
        lifts_EC = counts_EC / load_E1 / np.where(share_C > 0, share_C, 1)
        # As in the table: a class counts by its share as well, or the rarest would be all that experts prefer.
        gain_EC = np.nan_to_num(counts_EC / load_E1 * np.log(np.maximum(lifts_EC, 1e-9)))
    order_E = np.lexsort((-gain_EC.max(axis=1), gain_EC.argmax(axis=1), load_E1[:, 0] == 0))
    return lifts_EC[order_E]


def _in_words(found: Preferences) -> str:
    said = [
        f"in layer {layer} the most special expert prefers {each.token_class}: {percent(each.share)} of its tokens, "
        f"{percent(each.share_of_text)} of the text"
        for layer, each in zip(found.layers, found.most_special, strict=True)
        if each is not None
    ]
    return "; ".join(said) + "."


def _draw(found: Preferences, *, width: Width) -> Figure:
    layers, experts, _ = found.lifts.shape
    height = 1.1 + min(2.2, max(1.5, 0.09 * experts))  # below stand the classes' names
    figure, axes = panels(width, number=layers, height=height)
    for i, each in enumerate(axes):
        mesh = _mesh(each, found.lifts[i], classes=found.classes)
        panel_title(each, f"layer {found.layers[i]}")
        each.set_ylabel("experts, alike together")
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, aspect=12 if width == "wide" else 8 * layers)
    names = {-3.0: "≤ ⅛x", -2.0: "¼x", -1.0: "½x", 0.0: "1x", 1.0: "2x", 2.0: "4x", 3.0: "≥ 8x"}
    bar.ax.yaxis.set_major_locator(FixedLocator(list(names)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: names[round(value, 6)]))
    bar.outline.set_visible(False)
    bar.ax.set_ylabel("share over that in the text")
    return figure


def _mesh(axes: Axes, lifts_EC: Any, *, classes: tuple[str, ...]) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs_EC = np.clip(np.log2(lifts_EC), -_STEPS_SHOWN, _STEPS_SHOWN)
    mesh = axes.pcolormesh(
        np.arange(len(classes) + 1) - 0.5,
        np.arange(len(lifts_EC) + 1) - 0.5,
        np.ma.masked_invalid(logs_EC),
        cmap=seaborn.color_palette("vlag", as_cmap=True),
        norm=Normalize(-_STEPS_SHOWN, _STEPS_SHOWN),
        linewidth=0,
        rasterized=lifts_EC.size > _MOST_CELLS,
    )
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.yaxis.set_major_locator(FixedLocator([]))
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(classes)))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, i: classes[i or 0]))
    axes.tick_params(axis="x", rotation=90)
    return mesh
