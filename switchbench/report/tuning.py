"""What tuning came to: what every configuration was tried with, and which values its reported runs have."""

from collections.abc import Sequence

from switchbench.caveats import Caveat
from switchbench.report.aggregates import setting_name
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.store import TunedConfiguration, TuningTry
from switchbench.sweep import describe_settings

_LACKING = object()
"""In the place of a field that a configuration lacks; None is a value."""


def tuning_table(tuned: Sequence[TunedConfiguration]) -> Table | None:
    """Build a table with a row per try; None where nothing is tuned.

    Args:
        tuned: The configurations of the manifest.
    """
    if not tuned:
        return None
    paths = list(dict.fromkeys(path for configuration in tuned for path in configuration.tries[0].values))
    columns = (
        Column(key="configuration", header="configuration", is_label=True),
        *(Column(key=path, header=setting_name(path).replace(" ", "\n", 1), is_label=True) for path in paths),
        Column(key="nll", header="nll of\nthe tries", unit="nats/token"),
        Column(key="tries", header="runs"),
        Column(key="choice", header="choice"),
    )
    rows = tuple(
        _row(configuration, each, paths=paths, starts_group=i == 0)
        for configuration in tuned
        for i, each in enumerate(_ordered(configuration))
    )
    notes = [
        "The tries of a configuration are not reported anywhere else: their seeds are used for the choice alone. Every "
        f"configuration has as many of them, {len(tuned[0].tries)}; one that diverged or failed counts as worst."
    ]
    if any(set(paths) != set(configuration.tries[0].values) for configuration in tuned):
        notes.append(
            "A configuration that lacks one of the tuned fields is tried with more values of another, so that all are "
            "tried equally often; its edges are those of its own values."
        )
    return Table(key="tuning", title="Tuning", columns=columns, rows=rows, notes=tuple(notes))


def untuned_notes(tuned: Sequence[TunedConfiguration]) -> list[str]:
    """Say which configurations have no value to report runs with, since all of their tries failed.

    Args:
        tuned: The configurations of the manifest.
    """
    return [
        f"{describe_settings(each.settings, role=each.kind)}: none of its {len(each.tries)} tries ended well, so that "
        "it has no tuned value, and no runs."
        for each in tuned
        if each.chosen is None and all(tried.failed for tried in each.tries)
    ]


def _ordered(configuration: TunedConfiguration) -> list[TuningTry]:
    """The tries by their values, where those are numbers: extensions of the grid come last in the manifest."""
    values = [value for each in configuration.tries for value in each.values.values()]
    if not all(isinstance(value, (int, float)) for value in values):
        return list(configuration.tries)
    return sorted(configuration.tries, key=lambda each: list(each.values.values()))


def _row(configuration: TunedConfiguration, tried: TuningTry, *, paths: Sequence[str], starts_group: bool) -> Row:
    is_chosen = tried.values == configuration.chosen
    failed = "failed" if tried.failed else "to come"
    return Row(
        config_id=configuration.config_id,
        cells=(
            Cell(text=describe_settings(configuration.settings, role=configuration.kind), value=configuration.kind),
            *(_value_cell(tried.values.get(path, _LACKING)) for path in paths),
            Cell(text=failed if tried.nll is None else f"{tried.nll:.3f}", value=tried.nll),
            Cell(text=str(len(tried.run_ids)), value=len(tried.run_ids)),
            Cell(
                text=_choice_text(configuration) if is_chosen else "",
                value="chosen" if is_chosen else None,
                caveats=(Caveat.TUNED_AT_EDGE,) if is_chosen and configuration.at_edge else (),
            ),
        ),
        starts_group=starts_group,
    )


def _choice_text(configuration: TunedConfiguration) -> str:
    text = f"chosen of {len(configuration.tries)}"
    return f"{text}, at the edge" if configuration.at_edge else text


def _value_cell(value: object) -> Cell:
    if value is _LACKING:
        return Cell(text="")
    if isinstance(value, (int, float)):
        return Cell(text=f"{value:g}", value=value)
    return Cell(text=str(value), value=str(value))
