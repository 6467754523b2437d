"""A page as text: templates, with everything escaped that comes from names, reasons and logs."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from switchbench import __version__
from switchbench.report.elements import SweepReport
from switchbench.report.figures import Figure
from switchbench.report.page.sections import arrange
from switchbench.report.page.verdict import view_verdict


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """A sweep in the index."""

    sweep: SweepReport
    """The sweep."""
    link: str
    """Its page, relative to the index."""


def render_page(sweep: SweepReport, *, figures: Sequence[Figure], inputs: str, index_link: str | None = None) -> str:
    """Write the page of a sweep.

    Args:
        sweep: The report.
        figures: Its figures, those that cannot be drawn included.
        inputs: What identifies the results and the code that the page is drawn from.
        index_link: The page that lists the sweeps beside it, relative to the page; None: there is none.
    """
    content = arrange(sweep, figures=figures)
    return _render("report.html.jinja", content=content, inputs=inputs, index_link=index_link)


def render_index(entries: Sequence[IndexEntry], *, inputs: str) -> str:
    """Write the page that lists several sweeps with their verdicts.

    Args:
        entries: The sweeps, and where their pages are.
        inputs: As in ``render_page``.
    """
    told = [(entry, view_verdict(entry.sweep)) for entry in entries]
    return _render("index.html.jinja", entries=told, inputs=inputs)


def _render(template: str, **values: object) -> str:
    environment = _environment()
    script = _source("page.js")
    return environment.get_template(template).render(
        **values,
        version=__version__,
        style=Markup(_source("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("switchbench.report.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None, "it was made with one"
    return environment.loader.get_source(environment, name)[0]
