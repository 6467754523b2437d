"""The report as one JSON object: all rows and all comparisons, for programs."""

import json
import math
from dataclasses import asdict
from typing import Any

from switchbench.caveats import Caveat
from switchbench.report.changes import baseline_json
from switchbench.report.controls import control_json
from switchbench.report.elements import Cell, Report, SweepReport, Table, one_line
from switchbench.report.verdicts import verdict_json

REPORT_SCHEMA = 1
"""Version of the JSON object; raised when the meaning of a key changes, not when one is added."""


def report_document(report: Report) -> dict[str, Any]:
    """Give the report as plain lists and dictionaries.

    Args:
        report: The report.

    Returns:
        ``schema_version``; ``sweeps`` (name, question, expected, file, command, summary, counts, notes, tables, fits:
        see ``fit_json``, scaling: see ``Scaling``, estimates: see ``EstimateErrors``, None if nothing was estimated);
        ``runs`` (one entry per run: the row of its end, its columns as keys); ``annealed`` (the rows of earlier
        annealed points); ``timings``; ``comparisons`` (one entry per pair of twins and measure); ``caveats`` (the
        footnote of every code). A table has a key, a title, columns (key, header, unit), rows (config_id, None where a
        row is of several; cells: by the key of their column, each with value, spread, ci95, bound, text and caveats)
        and notes. An unknown number is None, never NaN.

        Each sweep also has ``controls`` (see ``control_json``), ``frontiers`` (see ``Frontier``) and ``step_times``
        (see ``StepTimeVerdict``; empty unless asked for). ``budget`` has the answer of each sweep to the budgets asked
        for (see ``BestUnderBudget``), with who is ``better`` and a ``sentence``; None where none were. ``comparisons``
        with ``iso_time`` are of equal time.
    """
    document = {
        "schema_version": REPORT_SCHEMA,
        "sweeps": [_sweep(sweep) for sweep in report.sweeps],
        "runs": [row.model_dump(mode="json") for sweep in report.sweeps for row in sweep.runs],
        "annealed": [row.model_dump(mode="json") for sweep in report.sweeps for row in sweep.earlier],
        "timings": [row.model_dump(mode="json") for sweep in report.sweeps for row in sweep.timings],
        "budget": [answer for sweep in report.sweeps if (answer := _budget(sweep)) is not None] or None,
        "baseline": _changes(report),
        "gates": [asdict(gate) | {"failed": bool(gate.failures)} for gate in report.gates],
        "comparisons": [asdict(comparison) for sweep in report.sweeps for comparison in sweep.comparisons],
        "caveats": {caveat.value: caveat.footnote for caveat in Caveat},
    }
    plain: dict[str, Any] = _without_nan(document)
    return plain


def report_json(report: Report) -> str:
    """Give the report as JSON text: one object, in ASCII whatever the names in it; see ``report_document``."""
    return json.dumps(report_document(report), indent=2, allow_nan=False)


def _sweep(sweep: SweepReport) -> dict[str, Any]:
    return {
        "name": sweep.name,
        "question": sweep.question,
        "expected": sweep.expected,
        "file": sweep.file,
        "command": sweep.command,
        "summary": sweep.summary,
        "verdict": verdict_json(sweep.verdict),
        "counts": asdict(sweep.counts),
        "notes": list(sweep.notes),
        "tables": [_table(table) for table in sweep.tables],
        "scaling": [asdict(scaling) for scaling in sweep.scaling],
        "frontiers": [asdict(frontier) for frontier in sweep.frontiers],
        "step_times": [asdict(verdict) for verdict in sweep.step_times],
        "controls": [control_json(result) for result in sweep.controls],
        "fits": list(sweep.fits),
        "estimates": None if sweep.estimates is None else asdict(sweep.estimates),
    }


def _changes(report: Report) -> list[dict[str, Any]] | None:
    """What changed against a baseline; None: there was none."""
    compared = [(sweep.name, sweep.changes) for sweep in report.sweeps]
    return [baseline_json(changes, sweep=name) for name, changes in compared if changes is not None] or None


def _budget(sweep: SweepReport) -> dict[str, Any] | None:
    """The best under the budgets that were asked for; None: none were."""
    if sweep.budget is None:
        return None
    return asdict(sweep.budget) | {"better": sweep.budget.better, "sentence": sweep.budget_sentence}


def _table(table: Table) -> dict[str, Any]:
    keys = [column.key for column in table.columns]
    assert len(set(keys)) == len(keys), "a column's key names it"
    return {
        "key": table.key,
        "title": table.title,
        "columns": [
            {"key": column.key, "header": one_line(column.header), "unit": column.unit} for column in table.columns
        ],
        "rows": [
            {"config_id": row.config_id, "cells": dict(zip(keys, map(_cell, row.cells), strict=True))}
            for row in table.rows
        ],
        "notes": list(table.notes),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "spread": cell.spread,
        "ci95": cell.ci95,
        "bound": cell.bound,
        "text": cell.text,
        "caveats": list(cell.caveats),
    }


def _without_nan(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _without_nan(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_without_nan(entry) for entry in value]
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value
