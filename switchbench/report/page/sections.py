"""What a page consists of, section by section: which tables and figures stand where."""

from collections.abc import Sequence
from dataclasses import dataclass

from switchbench.caveats import footnote_of
from switchbench.report.elements import SweepReport
from switchbench.report.figures import Figure
from switchbench.report.page.provenance import Command, Fact, commands_of, facts_of
from switchbench.report.page.runs import Failure, Setting, failures_of, runs_table, shared_settings
from switchbench.report.page.tables import TableView, view_table
from switchbench.report.page.verdict import VerdictView, view_verdict

_SECTIONS = {
    "baseline": ("What changed", ("baseline",)),
    "head-to-head": ("Head to head", ("budget", "verdicts", "head_to_head", "equal_time")),
    "figures": ("Figures", ()),
    "cost": ("Cost", ("cost", "break_even", "step_times")),
    "routing": ("Routing health", ("routing", "capacity")),
    "fits": ("Fits", ("fits", "frontier", "scaling")),
    "more": ("More tables", ()),
}
"""The sections with tables, in their order: title, and the keys of their tables; what is in none stands in the last."""


@dataclass(frozen=True, kw_only=True)
class FigureView:
    """A figure, with the sentences of its caveats."""

    figure: Figure
    """The figure."""
    doubts: tuple[str, ...]
    """Why what it shows should be doubted."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page with tables or figures."""

    id: str
    """Its id on the page."""
    title: str
    """What it is about."""
    tables: tuple[TableView, ...] = ()
    """Its tables."""
    figures: tuple[FigureView, ...] = ()
    """Its figures."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """All that a page says."""

    sweep: SweepReport
    """The sweep."""
    verdict: VerdictView
    """The answer."""
    expected: tuple[str, ...]
    """What was expected before the first run, in paragraphs."""
    sections: tuple[Section, ...]
    """Tables and figures."""
    runs: TableView
    """Every run."""
    settings: tuple[Setting, ...]
    """The settings that all runs share."""
    failures: tuple[Failure, ...]
    """The runs that did not go well."""
    facts: tuple[Fact, ...]
    """Where the runs come from."""
    commands: tuple[Command, ...]
    """The commands that make them."""


def arrange(sweep: SweepReport, *, figures: Sequence[Figure]) -> Content:
    """Put the report of a sweep in the order of a page.

    Args:
        sweep: The report.
        figures: Its figures, those that cannot be drawn included.
    """
    section_of = {key: section for section, (_, keys) in _SECTIONS.items() for key in keys}
    order = [key for _, keys in _SECTIONS.values() for key in keys]
    views: dict[str, list[TableView]] = {section: [] for section in _SECTIONS}
    ordered = sorted(sweep.tables, key=lambda table: order.index(table.key) if table.key in order else len(order))
    for table in ordered:
        views[section_of.get(table.key, "more")].append(view_table(table))
    shown = tuple(
        FigureView(figure=figure, doubts=tuple(footnote_of(code) for code in figure.caveats)) for figure in figures
    )
    sections = tuple(
        Section(id=key, title=title, tables=tuple(views[key]), figures=shown if key == "figures" else ())
        for key, (title, _) in _SECTIONS.items()
        if views[key] or (key == "figures" and shown)
    )
    return Content(
        sweep=sweep,
        verdict=view_verdict(sweep),
        expected=tuple(paragraph.strip() for paragraph in sweep.expected.split("\n\n") if paragraph.strip()),
        sections=sections,
        runs=view_table(runs_table(sweep)),
        settings=shared_settings(sweep),
        failures=failures_of(sweep),
        facts=facts_of(sweep),
        commands=commands_of(sweep),
    )
