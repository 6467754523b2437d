"""What a sweep command prints before and after: the plan as a table, and how it ended."""

from pathlib import Path
from typing import Any, get_args

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from switchbench.launch.local import Outcome
from switchbench.launch.plan import Plan, PlannedCell, command_line
from switchbench.record import FINAL_STATUSES, Status
from switchbench.store import read_statuses
from switchbench.sweep import describe_cell
from switchbench.units import count, flops

SUMMARY_SCHEMA = 1
"""Version of the summary's JSON object."""
WIDE = 80
"""Columns from which on the plan is a table; below it, it is a list."""
_ACTIONS = {"run": "run", "retry": "run again", "skip": "keep"}
_VERBS = {"run": "to run", "retry": "to run again", "skip": "done"}


def print_plan(plan: Plan, *, console: Console) -> None:
    """Print a plan: the runs of one configuration that share a fate together, and the totals.

    Args:
        plan: The plan.
        console: Where to; if it is narrower than a table the plan is a list.
    """
    groups: dict[tuple[str, str, str], list[PlannedCell]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.spec.config_id, cell.action, cell.reason), []).append(cell)
    rows = list(groups.values())
    console.print(Text(f"{plan.sweep.name}: {plan.sweep.question}" if plan.sweep.question else plan.sweep.name), "")
    console.print(_table(rows) if console.width >= WIDE else Group(*(_list_entry(cells) for cells in rows)), "")
    console.print(Text(totals_line(plan)))


def totals_line(plan: Plan) -> str:
    """Sum a plan up in a sentence.

    Args:
        plan: The plan.
    """
    totals = plan.totals()
    parts = [f"{number} {words}" for key, words in _VERBS.items() if (number := totals[key])]
    runs = (
        f"{_count(totals['cells'], 'run')} of {_count(totals['configurations'], 'configuration')}: {', '.join(parts)}"
    )
    todo = totals["trained_flops_to_run"]
    timing = totals["untimed_configurations"]
    sentences = [runs]
    if todo:
        sentences.append(f"{flops(todo)} of training")
    if timing:
        sentences.append(f"then {_count(timing, 'configuration')} to time")
    return "; ".join(sentences) + "."


def failure_lines(outcome: Outcome) -> list[str]:
    """List the runs that left no result, with reason and log, and those that ended early as a result of their own.

    Args:
        outcome: What the command did.
    """
    lines = []
    for heading, ends in (
        ("ended early; that is their result:", [e for e in outcome.ended if e.status in ("diverged", "oom")]),
        ("failed; the same command tries them again:", list(outcome.failed)),
    ):
        if ends:
            lines.append(f"{_count(len(ends), 'run')} {heading}")
        for end in ends:
            reason = end.reason or end.status
            why = reason if reason.startswith(end.status) else f"{end.status}: {reason}"
            lines.append(f"  {end.cell.label} ({end.cell.spec.run_id}): {why}")
            if Path(end.log_path).exists():
                lines.append(f"    log: {end.log_path}")
    return lines


def closing_lines(outcome: Outcome, *, report_command: str) -> list[str]:
    """Say what was done, where the results are, and how to see them.

    Args:
        outcome: What the command did.
        report_command: The command that draws the tables.
    """
    plan = outcome.plan
    if plan.is_done:
        done = f"Nothing to do: {_count(sum(cell.status is not None for cell in plan.cells), 'run')} done before."
    else:
        done = f"{_count(len(outcome.ended), 'run')} started, {len(outcome.failed)} failed, {outcome.timed} timed."
    return [done, f"Results: {plan.folder.path}", f"Tables:  {report_command}"]


def interrupted_lines(plan: Plan) -> list[str]:
    """Say what is kept of a sweep that was interrupted, and how to go on.

    Args:
        plan: The plan as it was before.
    """
    statuses, _ = read_statuses(plan.folder)
    kept = sum(statuses.get(cell.spec.run_id) in FINAL_STATUSES for cell in plan.cells)
    return [
        f"Interrupted. {kept} of {_count(len(plan.cells), 'run')} are done and kept in {plan.folder.path}. To go on:",
        f"  {command_line()}",
    ]


def summary_json(outcome: Outcome) -> dict[str, Any]:
    """Give how a sweep stands after a command as one JSON object.

    Args:
        outcome: What the command did.
    """
    plan = outcome.plan
    ends = {end.cell.spec.run_id: end for end in outcome.ended}
    runs = []
    for cell in plan.cells:
        end = ends.get(cell.spec.run_id)
        status, reason = (end.status, end.reason) if end else (cell.status, cell.reason)
        runs.append({"run_id": cell.spec.run_id, "status": status, "reason": reason, "started": end is not None})
    statuses = [run["status"] for run in runs]
    return {
        "schema_version": SUMMARY_SCHEMA,
        "sweep": plan.sweep.name,
        "results": str(plan.folder.path),
        "counts": {
            "runs": len(runs),
            "started": len(ends),
            "failed": len(outcome.failed),
            "timed": outcome.timed,
            **{status: statuses.count(status) for status in get_args(Status)},
        },
        "runs": runs,
    }


def _table(rows: list[list[PlannedCell]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("configuration", overflow="fold")
    table.add_column("seeds")
    for name in ("parameters", "active", "training each"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("action", no_wrap=True)
    table.add_column("why", overflow="fold")
    for cells in rows:
        first = cells[0]
        table.add_row(
            Text(describe_cell(first.cell)),
            _seeds(cells),
            count(first.cost.parameters.total),
            count(first.cost.parameters.active),
            flops(first.cost.trained_flops.useful),
            _ACTIONS[first.action],
            first.reason,
        )
    return table


def _list_entry(cells: list[PlannedCell]) -> Text:
    first = cells[0]
    return Text(
        f"{describe_cell(first.cell)}\n"
        f"  {_plural(len(cells), 'seed')} {_seeds(cells)}: {_ACTIONS[first.action]} ({first.reason})\n"
        f"  {count(first.cost.parameters.total)} parameters, {count(first.cost.parameters.active)} active\n"
        f"  {flops(first.cost.trained_flops.useful)} of training each"
    )


def _seeds(cells: list[PlannedCell]) -> str:
    """Seeds as ranges: 0-3, 7."""
    ranges: list[list[int]] = []
    for seed in sorted(cell.spec.seed for cell in cells):
        if ranges and seed == ranges[-1][-1] + 1:
            ranges[-1][1:] = [seed]
        else:
            ranges.append([seed])
    return ", ".join("-".join(map(str, ends)) for ends in ranges)


def _count(number: int, what: str) -> str:
    return f"{number} {_plural(number, what)}"


def _plural(number: int, what: str) -> str:
    return what if number == 1 else f"{what}s"
