"""What a sweep command prints after its work: how it ended, and how to go on."""

from pathlib import Path
from typing import Any, get_args

from switchbench.launch.plan import Plan, command_line
from switchbench.launch.plan_table import counted
from switchbench.launch.run import Outcome
from switchbench.record import FINAL_STATUSES, Status
from switchbench.store import read_statuses

SUMMARY_SCHEMA = 1
"""Version of the summary's JSON object."""


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
            lines.append(f"{counted(len(ends), 'run')} {heading}")
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
    if plan.is_done and not outcome.ended:
        done = f"Nothing to do: {counted(sum(cell.status is not None for cell in plan.chosen), 'run')} done before."
    else:
        done = f"{counted(len(outcome.ended), 'run')} started, {len(outcome.failed)} failed, {outcome.timed} timed."
    return [done, f"Results: {plan.folder.path}", f"Tables:  {report_command}"]


def interrupted_lines(plan: Plan) -> list[str]:
    """Say what is kept of a sweep that was interrupted, and how to go on.

    Args:
        plan: The plan as it was before.
    """
    statuses, _ = read_statuses(plan.folder)
    kept = sum(statuses.get(cell.spec.run_id) in FINAL_STATUSES for cell in plan.cells if cell.is_known)
    return [
        f"Interrupted. {kept} of {counted(len(plan.cells), 'run')} are done and kept in {plan.folder.path}. To go on:",
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
        if not cell.is_known:
            continue
        end = ends.get(cell.spec.run_id)
        status, reason = (end.status, end.reason) if end else (cell.status, cell.reason)
        runs.append({"run_id": cell.spec.run_id, "status": status, "reason": reason, "started": end is not None})
    statuses = [run["status"] for run in runs]
    return {
        "schema_version": SUMMARY_SCHEMA,
        "sweep": plan.sweep.name,
        "results": str(plan.folder.path),
        "amended": plan.amended and vars(plan.amended),
        "counts": {
            "runs": len(runs),
            "started": len(ends),
            "failed": len(outcome.failed),
            "timed": outcome.timed,
            **{status: statuses.count(status) for status in get_args(Status)},
        },
        "runs": runs,
    }
