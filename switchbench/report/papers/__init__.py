"""The tables of a report for papers, notebooks and programs: Markdown, CSV and LaTeX, drawn from the same tables."""

from switchbench.report.papers.writing import PAPER_FORMATS, PaperFormat, paper_text, write_papers

__all__ = ["PAPER_FORMATS", "PaperFormat", "paper_text", "write_papers"]
