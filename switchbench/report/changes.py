"""What changed against other results of a sweep: as a table, in words, and as plain values."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from switchbench.compare import (
    Change,
    Configuration,
    Counterpart,
    Rules,
    SweepChanges,
)
from switchbench.report.aggregates import describe_all, ratio_text
from switchbench.report.contents import Contents, label_cells, label_columns
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.report.verdicts import p_text, share_text
from switchbench.units import UNKNOWN

_LISTED = 5
"""Configurations that are only on one side are named up to this number."""


def baseline_table(changes: SweepChanges, contents: Contents, *, rules: Rules) -> Table | None:
    """Draw what changed; None where no configuration with a run is on both sides.

    Args:
        changes: What changed.
        contents: What the tables of the sweep are drawn from.
        rules: What it takes for a change to be one.
    """
    columns = (
        *label_columns(contents),
        Column(key="then_nll", header="nll\nbefore", unit="nats/token"),
        Column(key="nll", header="nll\nnow", unit="nats/token"),
        Column(key="change_nll", header="change"),
        Column(key="p_holm", header="p"),
        Column(key="verdict", header="verdict"),
        Column(key="step_time_ratio", header="step\ntime"),
        Column(key="peak_memory_ratio", header="peak\nmemory"),
        Column(key="executed_flops_ratio", header="executed\nFLOPs"),
        Column(key="seeds", header="shared\nseeds"),
    )
    rows = tuple(
        Row(config_id=each.now.config_id, cells=(*label_cells(each.now, contents), *_cells(each)))
        for each in changes.counterparts
        if each.now.ends
    )
    if not rows:
        return None
    return Table(
        key="baseline",
        title=f"What changed, against {_place(changes)}",
        columns=columns,
        rows=rows,
        notes=(changes_sentence(changes), _how_to_read(changes, rules=rules), *baseline_notes(changes)),
    )


def changes_sentence(changes: SweepChanges) -> str:
    """Say in a sentence how many configurations changed in which way.

    Args:
        changes: What changed.
    """
    numbers = Counter(_verdict(each) for each in changes.counterparts)
    if not changes.counterparts:
        return f"No configuration is both here and in {_place(changes)}."
    words = {"identical": "identical to the bit", "withheld": "not comparable"}
    order = ("worse", "better", "equivalent", "unresolved", "identical", "withheld")
    parts = [f"{numbers[verdict]} {words.get(verdict, verdict)}" for verdict in order if numbers[verdict]]
    total = len(changes.counterparts)
    of_them = "the one configuration" if total == 1 else f"{total} configurations"
    return f"In nll, of {of_them} that both have: {', '.join(parts)}."


def baseline_notes(changes: SweepChanges) -> tuple[str, ...]:
    """Say which versions are compared, what is not quite the same configuration, and what only one side has."""
    then, now = (" and ".join(each) or "unknown" for each in changes.versions)
    notes = [f"Before: {then}; now: {now}." if then != now else f"Both sides were made by {now}."] if then else []
    changed: dict[tuple[str, ...], int] = {}
    for each in changes.counterparts:
        if each.differing:
            changed[each.differing] = changed.get(each.differing, 0) + 1
    for fields, number in changed.items():
        which = "1 configuration is" if number == 1 else f"{number} configurations are"
        notes.append(f"{which} matched by size and swept settings, since the specification differs: {_listed(fields)}.")
    for title, members in (("here", changes.added), ("in the baseline", changes.removed)):
        if members:
            notes.append(f"Only {title}: {_listed(list(labels_of(members).values()), separator='; ')}.")
    return tuple(notes)


def baseline_json(changes: SweepChanges, *, sweep: str) -> dict[str, Any]:
    """Give what changed as plain values.

    Args:
        changes: What changed.
        sweep: Name of the sweep.

    Returns:
        ``sweep``; ``baseline`` (folder) and ``baseline_sweep``; ``summary``; ``verdicts``, the number of
        configurations by how their nll changed; ``configurations``, one entry each: ``config_id``,
        ``baseline_config_id``, ``label``, ``differing`` fields, ``seeds``, ``is_identical``, ``verdict`` and
        ``changes`` (see ``Change``); ``added`` and ``removed``; ``noise_sd`` and ``degrees_of_freedom`` of differences
        in nll; ``versions`` of both sides.
    """
    labels = labels_of([each.now for each in changes.counterparts])
    return {
        "sweep": sweep,
        "baseline": str(changes.baseline),
        "baseline_sweep": changes.baseline_sweep,
        "summary": changes_sentence(changes),
        "verdicts": dict(Counter(_verdict(each) for each in changes.counterparts)),
        "configurations": [
            {
                "config_id": each.now.config_id,
                "baseline_config_id": each.then.config_id,
                "label": labels[each.now.config_id],
                "differing": list(each.differing),
                "seeds": list(each.seeds),
                "is_identical": each.is_identical,
                "verdict": _verdict(each),
                "changes": [_change_json(change) for change in each.changes],
            }
            for each in changes.counterparts
        ],
        **{
            name: [{"config_id": config_id, "label": label} for config_id, label in labels_of(members).items()]
            for name, members in (("added", changes.added), ("removed", changes.removed))
        },
        "noise_sd": None if changes.noise is None else math.sqrt(changes.noise.variance),
        "degrees_of_freedom": None if changes.noise is None else changes.noise.degrees_of_freedom,
        "versions": {"baseline": list(changes.versions[0]), "now": list(changes.versions[1])},
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {name: value for name, value in asdict(change).items() if name != "contrast"}


def _verdict(counterpart: Counterpart) -> str:
    return counterpart.changed("nll").verdict or "withheld"


def _place(changes: SweepChanges) -> str:
    return str(changes.baseline)


def labels_of(configurations: Sequence[Configuration]) -> dict[str, str]:
    """Put configurations into words, by ``config_id``; those without any run have no row to take them from.

    Args:
        configurations: The configurations.
    """
    known = [each for each in configurations if each.ends]
    described = describe_all(known, among=known)
    return {each.config_id: described.get(each.config_id, f"{each.role} {each.config_id}") for each in configurations}


def _listed(names: Sequence[str], *, separator: str = ", ") -> str:
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return separator.join([*names[:_LISTED], *more])


def _cells(counterpart: Counterpart) -> tuple[Cell, ...]:
    nll = counterpart.changed("nll")
    verdict = _verdict(counterpart)
    return (
        _number_cell(nll.then),
        _number_cell(nll.now),
        _change_cell(nll),
        Cell(text=UNKNOWN if nll.p_holm is None else p_text(nll.p_holm), value=nll.p_holm),
        Cell(text=verdict, value=verdict, caveats=nll.caveats if nll.verdict is None else ()),
        *(
            _ratio_cell(counterpart.changed(measure))
            for measure in ("step_time_s", "peak_memory_bytes", "executed_train_flops")
        ),
        Cell(text=str(len(counterpart.seeds)), value=len(counterpart.seeds)),
    )


def _number_cell(value: float | None) -> Cell:
    return Cell(text=UNKNOWN if value is None else f"{value:.3f}", value=value)


def _change_cell(change: Change) -> Cell:
    if change.value is None:
        return Cell(text=UNKNOWN, caveats=change.caveats)
    half = "" if change.ci95 is None else f" [±{percent_text((change.ci95[1] - change.ci95[0]) / 2)}]"
    return Cell(
        text="0" if change.verdict == "identical" else percent_text(change.value, signed=True) + half,
        value=change.value,
        ci95=change.ci95,
        caveats=change.caveats,
    )


def _ratio_cell(change: Change) -> Cell:
    if change.value is None:
        return Cell(text=UNKNOWN, caveats=change.caveats)
    ends = None if change.ci95 is None else (1 + change.ci95[0], 1 + change.ci95[1])
    return Cell(text=ratio_text(1 + change.value, ci95=ends), value=1 + change.value, ci95=ends, caveats=change.caveats)


def percent_text(share: float, *, signed: bool = False) -> str:
    """Write a change in percent, to two decimals and from 10% on to one.

    >>> percent_text(0.01234, signed=True), percent_text(-0.25, signed=True), percent_text(0.0008)
    ('+1.23%', '-25.0%', '0.08%')
    """
    decimals = 1 if abs(share) >= 0.1 else 2
    return f"{100 * share:{'+' if signed else ''}.{decimals}f}%"


def _how_to_read(changes: SweepChanges, *, rules: Rules) -> str:
    noise = changes.noise
    by = "There are too few seeds to tell what such differences scatter by. "
    if all(each.is_identical for each in changes.counterparts):
        by = ""
    if noise is not None:
        deviation = f"{math.sqrt(noise.variance):.2g} nats per run, {noise.degrees_of_freedom} degrees of freedom"
        by = f"It is judged by what such differences scatter by over the whole sweep: {deviation}. "
    return (
        f"Change: of nll, now less before, run by run over the seeds of both, as a share of nll before. {by}p: of no "
        f"change, corrected for the number of configurations (Holm), at {share_text(rules.confidence)} confidence; "
        f"equivalent: the interval is within {share_text(rules.min_effect)}. Step time, peak memory and FLOPs are now "
        "over before: above 1x, more."
    )
