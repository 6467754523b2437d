"""The figures of a report, as SVG for pages and on disk as SVG, PNG and PDF; alone in importing matplotlib and seaborn.

To draw those of a stored sweep for a paper or a README::

    from pathlib import Path
    from switchbench.report import build_report
    from switchbench.report.figures import draw_figures, save_figures

    (sweep,) = build_report(Path("results/reference"), sweep="capacity").sweeps
    save_figures(draw_figures(sweep), Path("figures"))
"""

from switchbench.report.figures.drawing import draw_figures, save_figures
from switchbench.report.figures.elements import Figure

__all__ = ["Figure", "draw_figures", "save_figures"]
