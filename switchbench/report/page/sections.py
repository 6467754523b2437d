"""What a page consists of, section by section: which tables and figures stand where."""

from collections.abc import Sequence
from dataclasses import dataclass

from switchbench.caveats import footnote_of
from switchbench.report.elements import SweepReport, Table
from switchbench.report.figures import Figure
from switchbench.report.page.provenance import Command, Fact, commands_of, facts_of
from switchbench.report.page.runs import Failure, Setting, failures_of, runs_table, shared_settings
from switchbench.report.page.tables import TableView, view_table
from switchbench.report.page.verdict import VerdictView, view_verdict

_SECTIONS = {
    "baseline": ("What changed", ("baseline",), ()),
    "head-to-head": ("Head to head", ("budget", "verdicts", "head_to_head", "equal_time"), ()),
    "figures": ("Figures", (), ("quality", "parameters", "seeds")),
    "budgets": ("Budgets", ("frontier",), ("frontier",)),
    "cost": ("Cost", ("cost", "break_even", "step_times", "scaling", "estimates"), ("scaling", "estimates")),
    "routing": (
        "Routing health",
        ("routing", "specialization", "capacity"),
        ("expert_load", "specialization", "capacity"),
    ),
    "fits": ("Fits", ("fits",), ("residuals",)),
    "tuning": ("Tuning", ("tuning",), ()),
    "controls": ("Controls", ("controls",), ()),
    "more": ("More tables", (), ()),
}
"""The sections in their order: title, and the keys of their tables, then of the figures below them.

What is in none stands in the last, a figure among the figures.
"""
_DRAWN = "figures"
"""The section for figures that none names."""


@dataclass(frozen=True, kw_only=True)
class FigureView:
    """A figure, with the sentences of its caveats."""

    figure: Figure
    """The figure."""
    doubts: tuple[str, ...]
    """Why what it shows should be doubted."""
    number: int | None
    """Its number on the page; None: it is not drawn."""


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
    return Content(
        sweep=sweep,
        verdict=view_verdict(sweep),
        expected=tuple(paragraph.strip() for paragraph in sweep.expected.split("\n\n") if paragraph.strip()),
        sections=_sections(sweep.tables, figures),
        runs=view_table(runs_table(sweep)),
        settings=shared_settings(sweep),
        failures=failures_of(sweep),
        facts=facts_of(sweep),
        commands=commands_of(sweep),
    )


def _sections(tables: Sequence[Table], figures: Sequence[Figure]) -> tuple[Section, ...]:
    """The sections that have something in them, tables in the order that they have there."""
    table_places = {key: (section, i) for section, (_, keys, _) in _SECTIONS.items() for i, key in enumerate(keys)}
    figure_places = {key: section for section, (_, _, keys) in _SECTIONS.items() for key in keys}
    views: dict[str, list[TableView]] = {section: [] for section in _SECTIONS}
    last = ("more", 0)
    for table in sorted(tables, key=lambda table: table_places.get(table.key, last)[1]):
        views[table_places.get(table.key, last)[0]].append(view_table(table))
    shown: dict[str, list[FigureView]] = {section: [] for section in _SECTIONS}
    order = list(_SECTIONS)
    drawn = 0
    for figure in sorted(figures, key=lambda figure: order.index(figure_places.get(figure.key, _DRAWN))):
        drawn += figure.svg is not None
        view = FigureView(
            figure=figure,
            doubts=tuple(footnote_of(code) for code in figure.caveats),
            number=None if figure.svg is None else drawn,
        )
        shown[figure_places.get(figure.key, _DRAWN)].append(view)
    return tuple(
        Section(id=key, title=title, tables=tuple(views[key]), figures=tuple(shown[key]))
        for key, (title, _, _) in _SECTIONS.items()
        if views[key] or shown[key]
    )
