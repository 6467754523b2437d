"""Every run of a sweep with its settings, and the end of what those printed that did not go well."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from switchbench import units
from switchbench.compare import Configuration
from switchbench.record import RunRecord
from switchbench.report.aggregates import describe_all, example_row
from switchbench.report.elements import Cell, Column, Row, RunProblem, SweepReport, Table
from switchbench.rows import describe_run
from switchbench.spec import RunSpec
from switchbench.units import UNKNOWN

_COLUMNS = list(RunRecord.model_fields)
SETTINGS = tuple(_COLUMNS[_COLUMNS.index("corpus") : _COLUMNS.index("replicate") + 1])
"""The columns of a run's specification, its seed aside."""
CIRCUMSTANCES = (
    "machine", "device_name", "threads", "precision", "dispatch", "allocator", "commit", "switchbench_version",
    "torch_version", "numpy_version", "python_version", "schema_version",
)  # fmt: skip
"""The columns of where and with what a run was made."""
_LOG_LINES = 30
_LOG_BYTES = 8192


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that all runs share."""

    name: str
    """Its column."""
    text: str
    """Its value."""
    meaning: str
    """What it is."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that did not go well, and the end of its log."""

    problem: RunProblem
    """The run."""
    log: str | None
    """The end of what it printed; None: its log cannot be read."""


def runs_table(sweep: SweepReport) -> Table:
    """List every run that the sweep asks for, missing ones too, with the settings in which runs differ."""
    settings = _settings_of(sweep.configurations)
    varying = [name for name in SETTINGS if _varies(name, settings.values())]
    ends = [vars(end) for configuration in sweep.configurations for end in configuration.ends.values()]
    varying += [name for name in CIRCUMSTANCES if _varies(name, ends)]

    def row(configuration: Configuration, seed: int, run_id: str, *, label: str) -> Row:
        end = configuration.ends.get(seed)
        known = settings[configuration.config_id] | ({} if end is None else vars(end))
        cells = (
            Cell(text=label, value=label),
            Cell(text=str(seed), value=seed),
            Cell(text=run_id, value=run_id),
            Cell(text="missing" if end is None else end.status, value="missing" if end is None else end.status),
            _number(None if end is None else end.nll, "{:.4f}".format),
            _number(None if end is None else end.tokens_seen, units.count),
            _number(None if end is None else end.wall_clock_s, units.duration),
            _number(None if end is None else end.peak_memory_bytes, units.size),
            Cell(text=_started(end), value=_started(end)),
            *(_setting_cell(known.get(name)) for name in varying),
        )
        return Row(config_id=configuration.config_id, cells=cells)

    columns = (
        Column(key="configuration", header="configuration", is_label=True),
        Column(key="seed", header="seed", is_label=True),
        Column(key="run_id", header="run"),
        Column(key="status", header="status"),
        Column(key="nll", header="nll", unit="nats/token"),
        Column(key="tokens_seen", header="tokens"),
        Column(key="wall_clock_s", header="wall-\nclock"),
        Column(key="peak_memory_bytes", header="peak\nmemory"),
        Column(key="started_at", header="started", unit="UTC"),
        *(Column(key=f"setting-{name}", header=name.replace("_", " ").replace(" ", "\n", 1)) for name in varying),
    )
    rows: list[Row] = []
    labels = _labels(sweep.configurations)
    for configuration in sweep.configurations:
        label = labels[configuration.config_id]
        rows += [row(configuration, seed, run_id, label=label) for seed, run_id in configuration.run_ids.items()]
    return Table(key="runs", title="Every run", columns=columns, rows=tuple(rows))


def shared_settings(sweep: SweepReport) -> tuple[Setting, ...]:
    """Give the settings in which no two runs differ; those that none of them has are left out."""
    settings = list(_settings_of(sweep.configurations).values())
    shared = []
    for name in SETTINGS:
        values = [known[name] for known in settings if known.get(name) is not None]
        if values and not _varies(name, settings):
            meaning = RunRecord.model_fields[name].description or ""
            shared.append(Setting(name=name, text=_setting_cell(values[0]).text, meaning=meaning.replace("`", "")))
    return tuple(shared)


def failures_of(sweep: SweepReport) -> tuple[Failure, ...]:
    """Give the runs that did not go well, each with the end of its log."""
    return tuple(Failure(problem=problem, log=_end_of(problem.log_path)) for problem in sweep.problems)


def _settings_of(configurations: Sequence[Configuration]) -> dict[str, dict[str, Any]]:
    return {configuration.config_id: _settings(configuration) for configuration in configurations}


def _settings(configuration: Configuration) -> dict[str, Any]:
    """The settings of a configuration, from a run that is there or from what is asked for."""
    if configuration.ends:
        return {name: getattr(example_row(configuration), name) for name in SETTINGS}
    try:
        described = describe_run(RunSpec.model_validate(configuration.spec), sweep="")
    except ValidationError:  # another version wrote it
        return {}
    return {name: described[name] for name in SETTINGS if name in described}


def _varies(name: str, rows: Any) -> bool:
    """Whether those that have a value at all differ in it."""
    return len({json.dumps(row[name], default=str) for row in rows if row.get(name) is not None}) > 1


def _setting_cell(value: Any) -> Cell:
    match value:
        case None:
            return Cell(text=UNKNOWN)
        case bool():
            return Cell(text="yes" if value else "no", value="yes" if value else "no")
        case int():
            return Cell(text=f"{value:,}" if value >= 10_000 else str(value), value=value)
        case float():
            return Cell(text=f"{value:g}", value=value)
        case _:
            return Cell(text=str(value), value=str(value))


def _number(value: float | None, format_: Any) -> Cell:
    return Cell(text=UNKNOWN) if value is None else Cell(text=format_(value), value=float(value))


def _started(end: RunRecord | None) -> str:
    return UNKNOWN if end is None or end.started_at is None else end.started_at[:16].replace("T", " ")


def _labels(configurations: Sequence[Configuration]) -> dict[str, str]:
    """What tells configurations apart, by ``config_id``; of those without a run, what was swept."""
    there = [configuration for configuration in configurations if configuration.ends]
    absent = {c.config_id: _words(c.settings) or c.role for c in configurations if not c.ends}
    return absent | describe_all(there, among=there)


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{path.rpartition('.')[2].replace('_', ' ')} {value}" for path, value in settings.items())


def _end_of(path: Path) -> str | None:
    """The last lines of a log; None where there is none to be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - _LOG_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return "\n".join(lines[-_LOG_LINES:])
