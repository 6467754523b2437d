"""A costed plan for people: a table, or on a narrow terminal a list, and the totals in a sentence."""

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from switchbench.launch.estimates import Estimates
from switchbench.launch.plan import PlannedCell
from switchbench.sweep import MAX_EXTENSIONS, describe_cell, dropped_lines
from switchbench.units import count, duration, flops, size

WIDE = 100
"""Columns from which on the plan is a table; below it, it is a list."""
_ACTIONS = {"run": "run", "retry": "run again", "rerun": "run again", "await": "run", "skip": "keep"}
_VERBS = {
    "run": "to run",
    "retry": "to run again",
    "rerun": "to run once more",
    "await": "to run after tuning",
    "skip": "done",
    "leave": "left out by --filter",
}


def print_plan(estimates: Estimates, *, console: Console) -> None:
    """Print a costed plan: the runs of one configuration that share a fate together, and the totals.

    Args:
        estimates: The plan, and what it is expected to take.
        console: Where to; if it is narrower than a table the plan is a list.
    """
    plan = estimates.plan
    groups: dict[tuple[str, str, str, str], list[PlannedCell]] = {}
    for cell in plan.chosen:
        groups.setdefault((cell.spec.config_id, cell.cell.role, cell.action, cell.reason), []).append(cell)
    rows = list(groups.values())
    console.print(Text(f"{plan.sweep.name}: {plan.sweep.question}" if plan.sweep.question else plan.sweep.name), "")
    is_wide = console.width >= WIDE
    body = _table(rows, estimates) if is_wide else Group(*(_list_entry(cells, estimates) for cells in rows))
    console.print(body, "")
    for line in [*total_lines(estimates), *dropped_lines(plan.sweep)]:
        console.print(Text(line))


def total_lines(estimates: Estimates) -> list[str]:
    """Sum a costed plan up: the runs; what they take; what comes after them.

    Args:
        estimates: The plan, and what it is expected to take.
    """
    totals = estimates.plan.totals()
    parts = [f"{number} {words}" for key, words in _VERBS.items() if (number := totals[key])]
    runs, configurations = counted(totals["cells"], "run"), counted(totals["configurations"], "configuration")
    lines = [f"{runs} of {configurations}: {', '.join(parts)}."]
    amended = estimates.plan.amended
    if amended is not None and (changes := amended.line()) is not None:
        lines.append(f"Since the last command: {changes}")
    if todo := totals["trained_flops_to_run"]:
        at_once = min(estimates.workers, len(estimates.plan.to_run))
        beside = f" with {at_once} side by side" if at_once > 1 else ""
        sentence = f"To run: {flops(todo)} of training, {_about(estimates.run_seconds)}{beside}"
        if estimates.memory_bytes is not None:
            together = f", {size(estimates.memory_bytes_side_by_side)} side by side" if at_once > 1 else ""
            sentence += f"; memory of the largest {size(estimates.memory_bytes)}{together}"
        lines.append(f"{sentence}.")
    tuning = estimates.plan.sweep.tuning
    if tuning is not None and totals["await"]:
        lines.append(
            f"Tuned on {counted(totals['tries'], 'run')}: {', '.join(tuning.grid)}. A best value at an edge of the "
            f"grid adds tries for every configuration, at most {MAX_EXTENSIONS} times, which are not counted here."
        )
    if timing := totals["untimed_configurations"]:
        lines.append(f"Then {counted(timing, 'configuration')} to time: {_about(estimates.timing_seconds)}.")
    return lines


def counted(number: int, what: str) -> str:
    """Put a number before a noun, which takes an s unless there is one of it.

    >>> counted(1, "run"), counted(12, "run")
    ('1 run', '12 runs')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _about(seconds: float | None) -> str:
    return "time not estimated" if seconds is None else f"about {duration(seconds)}"


def _table(rows: list[list[PlannedCell]], estimates: Estimates) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("\nconfiguration", overflow="fold")
    table.add_column("\nseeds")
    for name in ("\nparameters", "\nactive", "training\neach", "memory\neach", "time\neach"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("\naction", no_wrap=True)
    table.add_column("\nwhy", overflow="fold")
    for cells in rows:
        first = cells[0]
        table.add_row(
            Text(describe_cell(first.cell)),
            _seeds(cells),
            count(first.cost.parameters.total),
            count(first.cost.parameters.active),
            flops(first.cost.trained_flops.useful),
            size(first.memory_bytes),
            duration(estimates.seconds(first)),
            _ACTIONS[first.action],
            first.reason,
        )
    return table


def _list_entry(cells: list[PlannedCell], estimates: Estimates) -> Text:
    first = cells[0]
    seeds = "seed" if len(cells) == 1 else "seeds"
    return Text(
        f"{describe_cell(first.cell)}\n"
        f"  {seeds} {_seeds(cells)}: {_ACTIONS[first.action]} ({first.reason})\n"
        f"  {count(first.cost.parameters.total)} parameters, {count(first.cost.parameters.active)} active\n"
        f"  each: {flops(first.cost.trained_flops.useful)} of training\n"
        f"  each: {size(first.memory_bytes)}, {duration(estimates.seconds(first))}"
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
