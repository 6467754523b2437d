"""Where pages lie, and whether they show the results as they are: known without drawing anything."""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from switchbench.report.elements import Report, SweepReport
from switchbench.store import SweepFolder

_PACKAGE = Path(__file__).resolve().parents[1]
_SOURCES = (".py", ".jinja", ".css", ".js")
_INPUTS = re.compile(rb'<meta name="switchbench-inputs" content="([0-9a-f]+)">')


@dataclass(frozen=True, kw_only=True)
class PagePlace:
    """The page of a sweep."""

    sweep: SweepReport
    """The sweep."""
    path: Path
    """The page."""
    index: Path | None
    """The page that lists the sweeps beside it; None: there is one sweep."""
    inputs: str
    """What identifies the results and the code that it is to be drawn from."""

    @property
    def figures(self) -> Path:
        """Where its figures lie as files of their own."""
        return self.path.parent / "figures"

    @property
    def is_up_to_date(self) -> bool:
        """Whether the page is there and was drawn from these results by this code."""
        try:
            with self.path.open("rb") as file:
                found = _INPUTS.search(file.read(4096))
        except OSError:
            return False
        return found is not None and found[1].decode() == self.inputs and self.figures.is_dir()


def places_of(report: Report, *, results: Path, output: Path | None = None) -> tuple[PagePlace, ...]:
    """Decide where the pages of a report lie.

    In each sweep's folder as ``report/report.html``, and of several sweeps an ``index.html`` in the root; below
    ``output`` as ``report.html``, or of several sweeps as ``index.html`` and ``<sweep>/report.html``.

    Args:
        report: The report.
        results: The folder that it is of.
        output: Where pages go instead of the folders of the sweeps.
    """
    is_alone = len(report.sweeps) == 1
    index = None if is_alone else (results if output is None else output) / "index.html"
    code = _code_of(_PACKAGE)

    def place(sweep: SweepReport) -> PagePlace:
        if output is None:
            folder = sweep.folder.report
        else:
            folder = output if is_alone else output / sweep.folder.path.resolve().name
        inputs = _identify([code, sweep.asked, "" if index is None else str(index), *states_of(sweep.folder)])
        return PagePlace(sweep=sweep, path=folder / "report.html", index=index, inputs=inputs)

    return tuple(place(sweep) for sweep in report.sweeps)


def link_between(page: Path, other: Path) -> str:
    """Give the link from one page to another, relative so that both can be moved together.

    >>> link_between(Path("results/capacity/report/report.html"), Path("results/index.html"))
    '../../index.html'
    """
    return quote(os.path.relpath(other, page.parent).replace(os.sep, "/"))


def states_of(folder: SweepFolder) -> Iterable[str]:
    """Give name, size and time of change of every file that a page shows something of.

    Args:
        folder: The sweep's folder.
    """
    files = [folder.manifest_path]
    for part in (folder.runs, folder.steps, folder.timings, folder.logs):
        if part.is_dir():
            files += sorted(part.iterdir())
    for path in files:
        try:
            state = path.stat()
        except OSError:  # removed meanwhile
            continue
        yield f"{path.relative_to(folder.path)} {state.st_size} {state.st_mtime_ns}"


@cache
def _code_of(package: Path) -> str:
    """Identify the code, whatever its version says: a page must not outlive the function that drew it."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in _SOURCES:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _identify(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
