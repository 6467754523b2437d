"""Everything about a run, or what makes two runs two, for people."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchbench.caveats import footnote_of
from switchbench.expressions import describe_value
from switchbench.inspection.differences import chosen_fields, default_of
from switchbench.inspection.dossier import Contrast, Dossier
from switchbench.inspection.standing_page import heartbeat_text, why
from switchbench.sweep.fields import FIELDS
from switchbench.units import UNKNOWN, count, duration, flops, percent, significant, size

MIXED_UP = "They are the same run in every field"


def print_dossier(dossier: Dossier, *, console: Console) -> None:
    """Print everything about a run.

    Args:
        dossier: The run.
        console: Where to.
    """
    run = dossier.run
    console.print(Text(f"{run.run_id}: {dossier.label}, seed {dossier.seed}", style="bold"))
    also = f" (and in {', '.join(dossier.also_in)})" if dossier.also_in else ""
    console.print(Text(f"Of sweep {run.manifest.sweep}{also}, in {run.folder.path}"))
    for twin in dossier.twins:
        what = "Dense twin of" if dossier.role == "dense" else "Its dense twin is"
        console.print(Text(f"{what} {twin.run_id}: {twin.label} ({twin.matched_on})"))
    if run.cell is None:
        _print_change(dossier, console=console)
    _print_status(dossier, console=console)
    chosen = {path: f"{describe_value(value)}{_default(path)}" for path, value in chosen_fields(dossier.spec).items()}
    _print_section("Fields that differ from their defaults, or have none", chosen, console=console)
    _print_section("Costs by arithmetic", _costs(dossier), console=console)
    _print_section("Result", _result(dossier), console=console)
    _print_points(dossier, console=console)
    alone = {timing.machine: duration(timing.step_time_s) for timing in dossier.timings}
    _print_section("Step time of its configuration, alone", alone, console=console)
    for code in dict.fromkeys(code for row in dossier.rows for code in row.caveats):
        console.print(Text(f"{code}: {footnote_of(code)}", style="dim"))


def print_contrast(found: Contrast, *, console: Console) -> None:
    """Print in which fields two runs differ.

    Args:
        found: The runs and their differences.
        console: Where to.
    """
    first, second = found.runs
    for run in found.runs:
        gone = "" if run.run.cell is not None else ", no longer in its sweep file"
        status = run.status or "no result"
        console.print(
            Text(f"{run.run.run_id}: {run.label}, seed {run.seed}; sweep {run.run.manifest.sweep}{gone}; {status}")
        )
    console.print()
    if not found.found:
        same = first.run.run_id == second.run.run_id
        console.print(f"{MIXED_UP}." if same else f"{MIXED_UP}: other versions of switchbench gave them their ids.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("field", first.run.run_id, second.run.run_id):
        table.add_column(header, overflow="fold")
    for each in found.found:
        mark = "" if each.is_identity else " (*)"
        table.add_row(Text(each.field + mark), Text(describe_value(each.first)), Text(describe_value(each.second)))
    console.print(table)
    if any(not each.is_identity for each in found.found):
        console.print(Text("(*) no part of the id: what it leads to is", style="dim"))


def _print_change(dossier: Dossier, *, console: Console) -> None:
    console.print(Text("It is no longer in the sweep file; `switchbench prune` removes its results.", style="yellow"))
    if dossier.nearest is None:
        return
    fields = [each for each in dossier.changed if each.is_identity]
    most_like = f"Most like it there is {dossier.nearest.run_id}: {dossier.nearest.label}"
    if not fields:
        console.print(Text(f"{most_like}; no field differs: another version of switchbench gave it another id."))
        return
    console.print(Text(f"{most_like}; its id is another because of"))
    for each in fields:
        console.print(Text(f"  {each.field}: was {describe_value(each.first)}, is {describe_value(each.second)}"))
        if each.field == "data_fingerprint":
            console.print("    the text, its tokenizer or its split has changed")


def _print_status(dossier: Dossier, *, console: Console) -> None:
    end = dossier.end
    if dossier.heartbeat is not None:
        console.print(Text(f"Running: {heartbeat_text(dossier.heartbeat)}", style="cyan"))
    if dossier.status is None:
        if dossier.heartbeat is None:
            console.print("It has no result yet.")
    elif dossier.status == "ok":
        console.print(Text("Done.", style="green"))
    else:
        reason = end.reason if end else None
        console.print(Text(f"Ended: {why(dossier.status, reason)}", style="red"))
    if dossier.log_path is not None:
        console.print(Text(f"Log: {dossier.log_path}"), soft_wrap=True)
    if dossier.checkpoint is not None:
        console.print(Text(f"Checkpoint: {dossier.checkpoint}"), soft_wrap=True)


def _print_section(title: str, values: dict[str, str], *, console: Console) -> None:
    shown = {name: value for name, value in values.items() if value != UNKNOWN}
    if not shown:
        return
    console.print()
    console.print(Text(title, style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in shown.items():
        table.add_row(Text(f"  {name}"), Text(value))
    console.print(table)


def _default(path: str) -> str:
    if path not in FIELDS or FIELDS[path].model.model_fields[FIELDS[path].name].is_required():
        return ""
    return f" (default {describe_value(default_of(path))})"


def _costs(dossier: Dossier) -> dict[str, str]:
    cost = dossier.cost
    if cost is None:
        return {}
    return {
        "parameters": f"{count(cost.parameters.total)}, {count(cost.parameters.active)} active",
        "forward, each token": flops(cost.forward_flops_per_token.total),
        "training, useful": flops(cost.train_flops.useful),
        "training, executed": flops(cost.train_flops.executed),
        "all cooldowns included": flops(cost.trained_flops.useful),
        "peak memory": size(cost.memory.peak),
    }


def _result(dossier: Dossier) -> dict[str, str]:
    end = dossier.end
    if end is None:
        return {}
    threads = "1 thread" if end.threads == 1 else f"{end.threads} threads"
    machine = None if end.machine is None else f"{end.machine}, {threads}, {end.precision}"
    return {
        "nll": _number(end.nll),
        "nll, limited experts": _number(end.nll_capacity),
        "bits per byte": _number(end.bits_per_byte),
        "tokens seen": count(end.tokens_seen),
        "dropped tokens": percent(end.dropped_token_fraction),
        "executed FLOPs": flops(end.executed_train_flops),
        "whole run": duration(end.run_time_s),
        "estimated before": duration(end.estimated_time_s),
        "step, side by side": duration(end.step_time_s),
        "peak memory": size(end.peak_memory_bytes),
        "micro-batch": UNKNOWN if end.micro_batch_tokens is None else f"{end.micro_batch_tokens} tokens",
        "started": end.started_at or UNKNOWN,
        "machine": machine or UNKNOWN,
        "code": end.commit or UNKNOWN,
    }


def _print_points(dossier: Dossier, *, console: Console) -> None:
    points = {
        f"at {percent(row.anneal_fraction)} of its tokens": _number(row.nll)
        for row in dossier.rows
        if row.parent_run_id is not None
    }
    _print_section("nll at earlier annealed points", points, console=console)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else significant(value, digits=5)
