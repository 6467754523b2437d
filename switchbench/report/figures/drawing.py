"""All figures of a sweep, drawn; and written to disk for papers and slides."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from switchbench.report.elements import SweepReport
from switchbench.report.figures.capacity import sketch_capacity
from switchbench.report.figures.elements import Figure, Sketch, Width
from switchbench.report.figures.estimates import sketch_estimates
from switchbench.report.figures.evidence import Evidence, gather_evidence
from switchbench.report.figures.expert_load import sketch_expert_load
from switchbench.report.figures.frontier import sketch_frontier
from switchbench.report.figures.parameters import sketch_parameters
from switchbench.report.figures.quality import sketch_quality
from switchbench.report.figures.residuals import sketch_residuals
from switchbench.report.figures.scaling import sketch_scaling
from switchbench.report.figures.seeds import sketch_seeds
from switchbench.report.figures.specialization import sketch_specialization
from switchbench.report.figures.style import figure_style, lay_out
from switchbench.report.figures.svg import to_svg

_SKETCHES: tuple[Callable[[Evidence], Sketch], ...] = (
    sketch_quality,
    sketch_frontier,
    sketch_parameters,
    sketch_seeds,
    sketch_capacity,
    sketch_expert_load,
    sketch_specialization,
    sketch_scaling,
    sketch_residuals,
    sketch_estimates,
)
"""In the order in which a page shows them."""
FORMATS = ("svg", "png", "pdf")
"""What figures are written as."""
_MARGIN = 0.1
"""Around a figure on disk, inches."""


def sketch_figures(evidence: Evidence) -> tuple[Sketch, ...]:
    """Decide what each figure shows, and which cannot be drawn; draws nothing.

    Args:
        evidence: What the figures are drawn from.
    """
    return tuple(sketch(evidence) for sketch in _SKETCHES)


def draw_figures(report: SweepReport) -> tuple[Figure, ...]:
    """Draw all figures of a sweep, in the order in which a page shows them; those that lack data say what is missing.

    Args:
        report: The report of the sweep.
    """
    return tuple(draw_figure(sketch, sweep=report.name) for sketch in sketch_figures(gather_evidence(report)))


def draw_figure(sketch: Sketch, *, sweep: str) -> Figure:
    """Draw one figure at both widths.

    Args:
        sketch: What it shows.
        sweep: Name of the sweep.
    """
    drawings: dict[Width, Drawing] = {}
    svgs: dict[Width, str] = {}
    if sketch.draw is not None:
        for width in ("wide", "narrow"):
            prefix = f"{sketch.key}-{zlib.crc32(sweep.encode()):08x}-{width}"
            with figure_style(salt=prefix):
                drawings[width] = sketch.draw(width)
                lay_out(drawings[width])
                drawings[width].set_layout_engine("none")  # else each format that is written takes another draft
                svgs[width] = to_svg(drawings[width], prefix=prefix, label=sketch.alt)
    return Figure(
        key=sketch.key,
        title=sketch.title,
        caption=sketch.caption,
        alt=sketch.alt,
        svg=svgs.get("wide"),
        narrow_svg=svgs.get("narrow"),
        missing=sketch.missing,
        caveats=sketch.caveats,
        drawings=drawings,
    )


def save_figures(figures: Sequence[Figure], folder: Path) -> tuple[Path, ...]:
    """Write figures as SVG, PNG and PDF, with a white background: ``<key>.svg`` and so on; those missing are left out.

    Args:
        figures: The figures.
        folder: Where; it is created.

    Returns:
        The files, in the order of the figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in figures:
        if "wide" not in figure.drawings:
            continue
        drawing = figure.drawings["wide"]
        with figure_style(salt=figure.key):
            box = drawing.get_tightbbox().padded(_MARGIN)  # once: "tight" would take a draft for each format
            for format_ in FORMATS:
                path = folder / f"{figure.key}.{format_}"
                metadata = {"CreationDate": None} if format_ == "pdf" else {"Date": None} if format_ == "svg" else None
                drawing.savefig(path, format=format_, dpi=192, facecolor="white", metadata=metadata, bbox_inches=box)
                paths.append(path)
    return tuple(paths)
