"""What a report consists of, before it is drawn in any format: tables of cells that carry their doubts with them.

Every format (terminal, JSON, pages) is drawn from these; no table is computed twice.
"""

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice, product
from pathlib import Path
from typing import Any, Literal

from switchbench.caveats import footnote_of
from switchbench.compare import (
    BestUnderBudget,
    Comparison,
    Configuration,
    ControlResult,
    Frontier,
    Pair,
    Scaling,
    SweepChanges,
    SweepVerdict,
)
from switchbench.compare.elsewhere import StepTimeVerdict
from switchbench.record import FINAL_STATUSES, RunRecord, TimingRecord
from switchbench.store import PrimaryPair, SweepFolder


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    key: str
    """Name of the Parquet column, measure or setting it shows."""
    header: str
    """What stands above it; a line break marks where it may be broken."""
    unit: str | None = None
    """Unit of its values; None: a ratio, a count or a label."""
    is_label: bool = False
    """Whether it tells the rows apart; such columns are repeated where a table is split."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    """What is printed."""
    value: float | str | None = None
    """The number behind it, in the unit of its column; None: unknown, or nothing that was measured."""
    spread: float | None = None
    """Standard deviation over seeds; None: fewer than two."""
    ci95: tuple[float, float] | None = None
    """95% interval over seeds; None: there is none."""
    bound: Literal["lower", "upper"] | None = None
    """``lower``: the true value is above ``value``; ``upper``: below it; None: it is a value."""
    is_reference: bool = False
    """Whether it is 1 by definition, what others are measured in: it bears no doubts."""
    caveats: tuple[str, ...] = ()
    """Codes of the reasons to distrust it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration in a table, or several that a number is drawn from."""

    config_id: str | None
    """The configuration; None: there are several."""
    cells: tuple[Cell, ...]
    """One per column."""
    starts_group: bool = False
    """Whether a new group begins here, such as the next dense twin with the sparse configurations it is compared to."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report."""

    key: str
    """``baseline``, ``verdicts``, ``head_to_head``, ``cost``, ``break_even``, ``capacity``, ``scaling``, ``estimates``,
    ``fits``, ``tuning``, ``frontier``, ``equal_time``, ``budget``, ``step_times`` or ``controls``."""
    title: str
    """What it shows."""
    columns: tuple[Column, ...]
    """Its columns, labels first."""
    rows: tuple[Row, ...]
    """Its rows."""
    notes: tuple[str, ...] = ()
    """What it says in words, and how it is to be read."""


@dataclass(frozen=True, kw_only=True)
class Footnotes:
    """Where the footnotes of a table stand; a mark that all filled cells of a column share stands in its header."""

    headers: tuple[str, ...]
    """The marks of each column's header, as letters; with commas between them where some are of two letters."""
    cells: tuple[tuple[str, ...], ...]
    """The marks of each row's cells."""
    sentences: dict[str, str]
    """The footnotes, by mark, in the order in which a reader meets them."""

    def split(self, marks: str) -> tuple[str, ...]:
        """Take the marks of a header or a cell apart.

        Args:
            marks: As ``headers`` and ``cells`` have them.
        """
        return tuple(filter(None, marks.split(","))) if _need_commas(self.sentences) else tuple(marks)


@dataclass(frozen=True, kw_only=True)
class EstimateErrors:
    """How far off the estimates that were made before the runs were, as shares of what was then measured."""

    time_runs: int
    """Runs whose time was estimated and measured."""
    median_absolute_time_error: float | None
    """Median over them of |estimate/measurement - 1|; None: there are none."""
    memory_runs: int
    """Runs whose peak memory was estimated and measured."""
    median_absolute_memory_error: float | None
    """The same of peak memory."""


@dataclass(frozen=True, kw_only=True)
class RunProblem:
    """A run that did not go well."""

    run_id: str
    """The run."""
    label: str
    """Its configuration in words."""
    seed: int
    """Its seed."""
    status: str
    """How it ended."""
    reason: str
    """Why."""
    log_path: Path
    """What it printed."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The runs of a sweep, counted."""

    cells: int
    """Runs that the sweep asks for."""
    ok: int
    """Runs that went well."""
    diverged: int
    """Runs whose nll was no longer finite."""
    failed: int
    """Runs that ended in another way."""
    missing: int
    """Runs of which there is nothing."""
    not_in_manifest: int
    """Stored runs that the sweep does not ask for (any longer); they are left out."""


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """The report of one sweep."""

    name: str
    """Name of the sweep."""
    question: str
    """The question it is to answer."""
    expected: str
    """What was expected before the first run; may be empty."""
    folder: SweepFolder
    """Where its results lie."""
    file: str
    """The sweep file."""
    command: str
    """The command that completes it."""
    summary: str
    """What it says, in a sentence or two."""
    counts: Counts
    """Its runs, counted."""
    tables: tuple[Table, ...]
    """Head to head, cost, what a sparse step may cost, what capacity buys, how cost grows, and estimates against what
    was measured."""
    problems: tuple[RunProblem, ...]
    """The runs that did not go well."""
    notes: tuple[str, ...]
    """How to read the tables, and what was left out."""
    configurations: tuple[Configuration, ...]
    """All its configurations with what there is of each, in the manifest's order."""
    pairs: tuple[Pair, ...]
    """The pairs of twins among them."""
    primary: PrimaryPair | None
    """The pair that the sweep file names."""
    verdict: SweepVerdict
    """What it says about sparse and dense."""
    comparisons: tuple[Comparison, ...]
    """All measures of all pairs, and of every sparse configuration at equal time."""
    scaling: tuple[Scaling, ...]
    """How all costs grow with all parameters."""
    fits: tuple[dict[str, Any], ...]
    """The law of loss of its annealed points, as `switchbench fit --json` gives it; none where none can be fitted."""
    estimates: EstimateErrors | None
    """How far what was estimated before the runs was off; None: nothing was."""
    runs: tuple[RunRecord, ...]
    """The ends of all its runs."""
    earlier: tuple[RunRecord, ...]
    """The earlier annealed points."""
    timings: tuple[TimingRecord, ...]
    """The exclusive step times."""
    frontiers: tuple[Frontier, ...] = ()
    """Which side is better under which budgets, by resource."""
    budget: BestUnderBudget | None = None
    """The best under the budgets that were asked for; None: none were."""
    budget_sentence: str = ""
    """The same in a sentence."""
    step_times: tuple[StepTimeVerdict, ...] = ()
    """Who is sooner on which machine; empty where no step times of other machines were given."""
    controls: tuple[ControlResult, ...] = ()
    """What came of the pairs whose outcome is known beforehand."""
    changes: SweepChanges | None = None
    """What changed against a baseline; None: it was compared with none."""
    asked: str = ""
    """What it was asked in particular, as a text that tells one request from another; empty: nothing."""

    @property
    def has_open_runs(self) -> bool:
        """Whether the command would run something: what is missing, or failed in a way that is no result."""
        return self.counts.missing > 0 or any(problem.status not in FINAL_STATUSES for problem in self.problems)


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What came of a condition that a report is to fail by."""

    expression: str
    """The condition, as it was given."""
    failures: tuple[str, ...]
    """What meets it, a line each; none: it is met nowhere."""
    doubtful: tuple[str, ...]
    """What was measured beyond its limit by a change that is not sure, a line each: it does not count."""
    checked: int
    """Configurations, or sweeps, that it was checked for."""
    unknown: int
    """Those of which what it asks is not known."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of one or several sweeps."""

    sweeps: tuple[SweepReport, ...]
    """In the order of their names."""
    gates: tuple[GateResult, ...] = ()
    """What came of the conditions that it is to fail by."""


def one_line(header: str) -> str:
    """Join the lines of a header: ``wall-`` and ``clock`` as one word, others as two."""
    return header.replace("-\n", "-").replace("/\n", "/").replace("\n", " ")


def footnote_marks(number: int) -> tuple[str, ...]:
    """Give so many footnotes their marks.

    >>> footnote_marks(3), footnote_marks(28)[25:]
    (('a', 'b', 'c'), ('z', 'aa', 'ab'))

    Args:
        number: How many footnotes there are.
    """
    return tuple(islice(_all_marks(), number))


def place_footnotes(table: Table) -> Footnotes:
    """Decide where each footnote of a table is marked, and number them in the order in which a reader meets them."""
    shared = [_shared_codes(row.cells[i] for row in table.rows) for i in range(len(table.columns))]
    own = [
        [[code for code in cell.caveats if code not in shared[i]] for i, cell in enumerate(row.cells)]
        for row in table.rows
    ]
    met = [code for codes in shared for code in codes] + [code for row in own for codes in row for code in codes]
    codes_met = tuple(dict.fromkeys(met))
    letters = dict(zip(codes_met, footnote_marks(len(codes_met)), strict=True))
    places = {code: i for i, code in enumerate(codes_met)}
    between = "," if _need_commas(letters) else ""

    def marks(codes: Iterable[str]) -> str:
        return between.join(letters[code] for code in sorted(codes, key=places.__getitem__))

    return Footnotes(
        headers=tuple(marks(codes) for codes in shared),
        cells=tuple(tuple(marks(codes) for codes in row) for row in own),
        sentences={letter: footnote_of(code) for code, letter in letters.items()},
    )


def _all_marks() -> Iterator[str]:
    for length in count(1):
        yield from map("".join, product(string.ascii_lowercase, repeat=length))


def _need_commas(marks: Iterable[str]) -> bool:
    """Whether there are so many footnotes that some of their marks are of two letters."""
    return len(tuple(marks)) > len(string.ascii_lowercase)


def _shared_codes(cells: Iterable[Cell]) -> tuple[str, ...]:
    """The caveats that all cells with something in them share; none where only one cell has something in it."""
    filled = [cell.caveats for cell in cells if not cell.is_reference and (cell.value is not None or cell.caveats)]
    if len(filled) < 2:
        return ()
    return tuple(code for code in filled[0] if all(code in caveats for caveats in filled))
