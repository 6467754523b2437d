"""Where the numbers of a sweep come from: code, versions, machines, data and commands."""

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from switchbench.record import RunRecord
from switchbench.report.elements import SweepReport

_FACTS = {
    "Source commit": "commit",
    "switchbench": "switchbench_version",
    "PyTorch": "torch_version",
    "NumPy": "numpy_version",
    "Python": "python_version",
    "Machine": "machine",
    "Device": "device_name",
    "CPU threads of a run": "threads",
    "Precision of the matmuls": "precision",
    "Experts computed by": "dispatch",
    "Memory allocator": "allocator",
    "Runs that shared a GPU": "runs_per_gpu",
    "Corpus": "corpus",
    "Tokenizer": "tokenizer",
    "Data fingerprint": "data_fingerprint",
    "Schema of the records": "schema_version",
}
"""What is said of the runs, and the column that holds it."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that is known of where the runs come from."""

    name: str
    """What it is about."""
    values: tuple[str, ...]
    """Its value; where the runs differ, each of their values and how many have it."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, and what it does."""

    purpose: str
    """What it does."""
    text: str
    """The command, to be pasted."""


def facts_of(sweep: SweepReport) -> tuple[Fact, ...]:
    """Say where the runs come from; what no run recorded is left out."""
    facts = [
        Fact(name=name, values=values)
        for name, column in _FACTS.items()
        if (values := _values(getattr(run, column) for run in sweep.runs))
    ]
    started = sorted(run.started_at for run in sweep.runs if run.started_at is not None)
    if started:
        span = (
            f"{_minute(started[0])} to {_minute(started[-1])} UTC" if len(started) > 1 else f"{_minute(started[0])} UTC"
        )
        facts.append(Fact(name="Runs started", values=(span,)))
    timed = _values(timing.machine for timing in sweep.timings)
    if timed:
        facts.append(Fact(name="Step times taken on", values=timed))
    return tuple(facts)


def commands_of(sweep: SweepReport) -> tuple[Command, ...]:
    """Give the commands that make the runs, and this report of them."""
    results = shlex.quote(str(sweep.folder.path))
    return (
        Command(purpose="The runs; again, it completes what is missing", text=sweep.command),
        Command(purpose="This report", text=f"switchbench report {results}"),
        Command(purpose="Everything about a run", text=f"switchbench show {_example(sweep.runs)} {results}"),
    )


def _values(values: Iterable[object]) -> tuple[str, ...]:
    counted = Counter(str(value) for value in values if value is not None)
    if len(counted) == 1:
        return tuple(counted)
    return tuple(f"{value} ({number} {'run' if number == 1 else 'runs'})" for value, number in counted.most_common())


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _example(runs: tuple[RunRecord, ...]) -> str:
    return runs[0].run_id if runs else "RUN_ID"
