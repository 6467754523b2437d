"""The figures of a report, as SVG for pages and on disk as SVG, PNG and PDF; alone in importing matplotlib and seaborn.

To draw those of a stored sweep, such as one for a paper::

    from pathlib import Path
    from switchbench.report.figures import draw_figures, read_evidence, save_figures
    from switchbench.store import find_sweeps

    (sweep,) = find_sweeps(Path("results/reference"), sweep="capacity")
    save_figures(draw_figures(read_evidence(sweep)), Path("figures"))
"""

from switchbench.report.figures.drawing import draw_figures, save_figures
from switchbench.report.figures.elements import Figure
from switchbench.report.figures.evidence import Evidence, gather_evidence, read_evidence

__all__ = ["Evidence", "Figure", "draw_figures", "gather_evidence", "read_evidence", "save_figures"]
