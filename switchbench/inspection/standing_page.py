"""How sweeps stand, for people: a table or, on a narrow terminal, a list; then what runs, and what failed and why."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchbench.inspection.standing import (
    STATES,
    RunStanding,
    State,
    Survey,
    SweepStanding,
    fraction_done,
)
from switchbench.launch.claims import BEAT_S, Heartbeat
from switchbench.units import duration, percent, significant

WIDE = 76
"""Columns from which on the configurations are a table; below it, they are a list."""
MANY = 24
"""More configurations than that are not listed where they are complete."""
SHOWN_RUNS = 12
"""Most runs that are listed as failed; the JSON object has them all."""
SILENT_S = 12 * BEAT_S
"""Without a word for so long, a run may hang."""
STYLES: dict[State, str] = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "diverged": "yellow",
    "oom": "yellow",
    "missing": "",
}
WORDS: dict[State, str] = {state: "out of memory" if state == "oom" else state for state in STATES}


def print_survey(found: Survey, *, console: Console) -> None:
    """Print how sweeps stand.

    Args:
        found: The sweeps.
        console: Where to; its width and colors (and with them ``NO_COLOR``) are respected.
    """
    for index, sweep in enumerate(found.sweeps):
        if index:
            console.print()
        _print_sweep(sweep, console=console)
    for path, problem in found.damaged.items():
        console.print()
        console.print(Text(f"{path}: {problem}", style="red"))


def heartbeat_text(heartbeat: Heartbeat) -> str:
    """Put what was last heard of a run into words: how far it is, when, and from whom.

    Args:
        heartbeat: What was heard.
    """
    fraction, age_s = fraction_done(heartbeat), heartbeat.age_s()
    parts = ["starting" if fraction is None else percent(fraction)]
    if heartbeat.nll is not None:
        parts.append(f"nll {significant(heartbeat.nll, digits=4)}")
    silent = "; it may hang" if age_s > SILENT_S else ""
    parts.append(f"heard of {duration(round(age_s))} ago{silent}")
    return f"{', '.join(parts)} ({heartbeat.host}:{heartbeat.pid})"


def _print_sweep(sweep: SweepStanding, *, console: Console) -> None:
    manifest, counts = sweep.manifest, sweep.counts()
    console.print(Text(manifest.sweep, style="bold"))
    if manifest.question:
        console.print(Text(manifest.question, style="italic"))
    console.print(_summary(counts))
    console.print()
    _print_configurations(sweep, console=console)
    _print_runs(sweep, "running", console=console)
    for state in ("failed", "oom", "diverged"):
        _print_runs(sweep, state, console=console)
    for file in sweep.unreadable:
        console.print()
        console.print(Text(f"Not readable: {file}", style="red"))
    if strangers := counts["not_in_manifest"]:
        which, them = ("1 result is of a run", "it") if strangers == 1 else (f"{strangers} results are of runs", "them")
        text = f"{which} no longer in the sweep file; `switchbench prune` removes {them}."
        console.print()
        console.print(Text(text, style="dim"))
    if running := counts["running_not_in_manifest"]:
        what = "1 run" if running == 1 else f"{running} runs"
        console.print()
        console.print(Text(f"A command is also running {what} of an earlier version of the sweep file.", style="cyan"))
    if (counts["missing"] or counts["failed"]) and not counts["running"]:
        console.print()
        console.print("To complete it:")
        console.print(Text(f"  {manifest.command}", style="bold"), soft_wrap=True)


def _summary(counts: dict[str, int]) -> Text:
    line = Text(f"{counts['cells']} {'run' if counts['cells'] == 1 else 'runs'}: ")
    states = [state for state in STATES if counts[state]]
    for index, state in enumerate(states):
        line.append(", " if index else "")
        line.append(f"{counts[state]} {WORDS[state]}", style=STYLES[state])
    noun = "configuration" if counts["configurations"] == 1 else "configurations"
    line.append(f"; {counts['timed']} of {counts['configurations']} {noun} timed")
    kept = counts["checkpoints"]
    return line.append(f"; {kept} {'checkpoint' if kept == 1 else 'checkpoints'} kept" if kept else "")


def _print_configurations(sweep: SweepStanding, *, console: Console) -> None:
    by_configuration: dict[str, list[RunStanding]] = {}
    for run in sweep.runs:
        by_configuration.setdefault(run.cell.config_id, []).append(run)
    complete = [
        config_id
        for config_id, runs in by_configuration.items()
        if config_id in sweep.timed and all(run.state == "done" for run in runs)
    ]
    hidden = set(complete) if len(by_configuration) > MANY else set()
    rows = {config_id: runs for config_id, runs in by_configuration.items() if config_id not in hidden}
    present = [state for state in STATES if any(run.state == state for run in sweep.runs)]
    if console.width >= WIDE:
        console.print(_table(rows, sweep=sweep, states=present))
    else:
        labels = sweep.labels
        for config_id, runs in rows.items():
            console.print(_list_entry(labels[config_id], runs, is_timed=config_id in sweep.timed))
    if hidden:
        console.print(f"{len(hidden)} more {'is' if len(hidden) == 1 else 'are'} complete.")


def _table(rows: dict[str, list[RunStanding]], *, sweep: SweepStanding, states: Sequence[State]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("configuration", overflow="fold")
    for state in states:
        table.add_column(WORDS[state], justify="right", no_wrap=True)
    table.add_column("timed", justify="right", no_wrap=True)
    labels = sweep.labels
    for config_id, runs in rows.items():
        numbers = Counter(run.state for run in runs)
        cells = [Text(str(numbers[state]) if numbers[state] else "", style=STYLES[state]) for state in states]
        table.add_row(Text(labels[config_id]), *cells, "yes" if config_id in sweep.timed else "no")
    return table


def _list_entry(label: str, runs: list[RunStanding], *, is_timed: bool) -> Text:
    numbers = Counter(run.state for run in runs)
    entry = Text(f"{label}: ")
    for index, state in enumerate(state for state in STATES if numbers[state]):
        entry.append(", " if index else "")
        entry.append(f"{numbers[state]} {WORDS[state]}", style=STYLES[state])
    return entry.append("; timed" if is_timed else "; not timed")


def _print_runs(sweep: SweepStanding, state: State, *, console: Console) -> None:
    runs = [run for run in sweep.runs if run.state == state]
    if not runs:
        return
    labels = sweep.labels
    console.print()
    console.print(Text(f"{WORDS[state].capitalize()}:", style=STYLES[state]))
    shown = runs if state == "running" else runs[:SHOWN_RUNS]
    for run in shown:
        label = f"  {labels[run.cell.config_id]}, seed {run.cell.seed} ({run.cell.run_id}): "
        if run.heartbeat is not None:
            console.print(Text(label + heartbeat_text(run.heartbeat)))
            continue
        console.print(Text(label + why(run.status, run.reason)))
        if run.log_path is not None:
            console.print(Text(f"    log: {run.log_path}", style="dim"), soft_wrap=True)
    if len(shown) < len(runs):
        console.print(f"  and {len(runs) - len(shown)} more; --json has them all")


def why(status: str | None, reason: str | None) -> str:
    """Say how a run ended badly, without saying a word twice.

    >>> why("killed", "killed by SIGKILL"), why("crashed", "exit code 1\\nlast words"), why("timeout", None)
    ('killed by SIGKILL', 'crashed: exit code 1', 'timeout')
    """
    first = (reason or "").strip().split("\n")[0] or str(status)
    return first if first.startswith(str(status)) else f"{status}: {first}"
