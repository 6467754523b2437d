"""Figures of made-up sweeps, and what stands in a drawing."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from factories import Study, make_spec, write_study
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from switchbench.report import SweepReport, build_report
from switchbench.report.figures.elements import Sketch, Width
from switchbench.report.figures.evidence import Evidence, gather_evidence
from switchbench.report.figures.style import figure_style
from switchbench.spec import RunSpec

REFERENCE = Path(__file__).parents[3] / "results" / "reference"


def report_of(results: Path, sweep: str = "capacity") -> SweepReport:
    return build_report(results, sweep=sweep).sweeps[0]


def evidence_of(studies: Sequence[Study], root: Path) -> Evidence:
    write_study(root, studies)
    return gather_evidence(report_of(root))


def drawing(sketch: Sketch, width: Width = "wide") -> Figure:
    assert sketch.draw is not None, sketch.missing
    with figure_style(salt="test"):
        figure = sketch.draw(width)
        FigureCanvasAgg(figure).draw()
    return figure


def intervals_of(axes: Axes) -> dict[str, list[tuple[float, float, float]]]:
    """Low end, value and high end of all points with an upright interval, by the label of their series."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, bars = container
        ends = [[point[1] for point in segment] for segment in bars[0].get_segments()]
        values = zip(ends, line.get_ydata(), strict=True)
        found[str(container.get_label())] = [(low, float(value), high) for (low, high), value in values]
    return found


def texts_of(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Every text that is drawn, with the place that it takes, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        texts: list[Text] = [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]  # type: ignore[attr-defined]
        legend = axes.get_legend()
        texts += legend.get_texts() if legend else []
        for axis, view in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            ticks = [tick for tick in axis.get_major_ticks() if view[0] <= tick.get_loc() <= view[1]]
            texts += [label for tick in ticks for label in (tick.label1, tick.label2)]
        for text in texts:
            if text.get_text().strip() and text.get_visible():
                with figure_style(salt="test"):
                    place = Text.get_window_extent(text, renderer)
                yield text.get_text(), place


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other by more than a pixel."""
    pairs = itertools.combinations(texts_of(figure), 2)
    return [
        (a, b)
        for (a, first), (b, second) in pairs
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 1
    ]


def outside(figure: Figure) -> list[str]:
    """Texts that are cut off at the edge."""
    box = figure.bbox
    return [
        text
        for text, place in texts_of(figure)
        if place.x0 < box.x0 - 1 or place.x1 > box.x1 + 1 or place.y0 < box.y0 - 1 or place.y1 > box.y1 + 1
    ]


def with_corpus(spec: RunSpec, corpus: str) -> RunSpec:
    """The same run on another corpus: a setting that may be any text."""
    return spec.model_copy(update={"data": spec.data.model_copy(update={"corpus": corpus})})


def many_studies(name: Callable[[int], str], *, number: int) -> list[Study]:
    """Dense twins and three sparse configurations of each, two capacity factors among them, on corpora of their own."""
    studies = []
    for i in range(-(-number // 4)):
        settings = {"data.corpus": name(i)}
        dense = with_corpus(make_spec(), name(i))
        nll = {seed: [2.0 + 0.01 * i, 1.8 + 0.01 * i + 0.002 * seed, 1.7 + 0.01 * i] for seed in (0, 1)}
        studies.append(Study(dense, nll, settings=settings, is_twin=True))
        for experts, factor in ((4, 1.0), (4, 2.0), (16, 1.0)):
            spec = with_corpus(make_spec(num_experts=experts, capacity_factor=factor), name(i))
            better = {seed: [each - 0.01 * experts**0.5 for each in values] for seed, values in nll.items()}
            studies.append(Study(spec, better, settings=settings, step_time_s=0.02 + 0.001 * experts))
    return studies[:number]
