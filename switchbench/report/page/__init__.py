"""The report as one page per sweep, and an index of several: self-contained files that load nothing.

Drawing the figures imports matplotlib; ``report.places``, which knows where pages lie and whether they are up to date,
does not.
"""

from switchbench.report.page.rendering import IndexEntry, render_index, render_page
from switchbench.report.page.writing import write_index, write_page

__all__ = ["IndexEntry", "render_index", "render_page", "write_index", "write_page"]
