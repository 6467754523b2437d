"""From the stored results to tables in the terminal and to one JSON object; imports neither torch nor pandas."""

from switchbench.report.document import REPORT_SCHEMA, report_document, report_json
from switchbench.report.elements import Report, SweepReport, Table
from switchbench.report.gates import parse_gates, require_gates
from switchbench.report.questions import Questions, parse_questions
from switchbench.report.sweeps import build_report
from switchbench.report.terminal import render_report

__all__ = [
    "REPORT_SCHEMA",
    "Questions",
    "Report",
    "SweepReport",
    "Table",
    "build_report",
    "parse_gates",
    "parse_questions",
    "render_report",
    "report_document",
    "report_json",
    "require_gates",
]
