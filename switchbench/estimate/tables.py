"""The answer as tables in the terminal, as wide as it is."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchbench import units
from switchbench.cost import TRAIN_OVER_FORWARD
from switchbench.estimate.captions import (
    breakdown_caption,
    device_captions,
    flops_caption,
    memory_caption,
    note_captions,
    sequence_caption,
)
from switchbench.estimate.costs import Estimate
from switchbench.estimate.devices import DevicePlan, Layout

WIDE = 80
"""Columns from which on models are rows of a table; below it, each is a list."""
_GAP = 2
"""Spaces between columns."""
_NAME_WIDTH = 16
"""Columns at which the name of a model is broken where it heads a column."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One quantity of all models."""

    label: str
    texts: list[str]


def print_estimates(estimates: Sequence[Estimate], *, console: Console, breakdown: bool = False) -> None:
    """Print tables, and under them what their numbers mean.

    Args:
        estimates: What to print; at least one.
        console: Where to.
        breakdown: Whether to print what parameters, FLOPs and memory consist of, too.
    """
    console.print(_models_as_rows(estimates)) if console.width >= WIDE else _print_lists(estimates, console=console)
    captions = [flops_caption(estimates), sequence_caption(estimates), memory_caption(estimates)]
    if breakdown:
        for title, rows in _breakdown(estimates):
            _print_rows(title, rows, estimates=estimates, console=console)
        captions.append(breakdown_caption(estimates))
    if estimates[0].devices is not None:
        for title, rows in _on_devices(estimates):
            _print_rows(title, rows, estimates=estimates, console=console)
        captions += device_captions(estimates)
    captions += note_captions(estimates)
    console.print()
    for caption in captions:
        console.print(Text(caption))


def _models_as_rows(estimates: Sequence[Estimate]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold", vertical="bottom")
    headers = ("params", "active\nparams", "forward\na token", "forward\na sequence", "training\na token", "memory")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    for each in estimates:
        table.add_row(
            Text(each.subject.name),
            units.count(each.parameters.total),
            units.count(each.parameters.active),
            units.flops(each.forward_flops_per_token),
            units.flops(each.forward_flops_per_sequence),
            units.flops(TRAIN_OVER_FORWARD * each.forward_flops_per_token),
            units.size(each.memory.peak),
        )
    return table


def _print_lists(estimates: Sequence[Estimate], *, console: Console) -> None:
    for each in estimates:
        forward = each.forward_flops_per_token
        console.print(Text(each.subject.name, style="bold"))
        for line in (
            f"parameters {units.count(each.parameters.total)}, active {units.count(each.parameters.active)}",
            f"forward {units.flops(forward)} a token",
            f"forward {units.flops(each.forward_flops_per_sequence)} a sequence",
            f"training {units.flops(TRAIN_OVER_FORWARD * forward)} a token",
            f"memory {units.size(each.memory.peak)}",
        ):
            console.print(Text(f"  {line}"))


def _breakdown(estimates: Sequence[Estimate]) -> list[tuple[str, list[_Row]]]:
    """What parameters, FLOPs and memory consist of; components that no model has are left out."""
    parameters = [each.parameters for each in estimates]
    flops = [each.flops_by_component for each in estimates]
    memory = [each.memory for each in estimates]
    activations = [each.activations for each in memory]
    return [
        (
            "Parameters",
            [
                *_component_rows(parameters, units.count, left_out=("inactive",)),
                _row("total", [each.total for each in parameters], units.count),
                _row("active", [each.active for each in parameters], units.count),
            ],
        ),
        (
            "Forward FLOPs a token",
            [
                *(_component_rows(flops, units.flops) if None not in flops else []),
                _row("total, useful", [each.forward_flops_per_token for each in estimates], units.flops),
                _row(
                    "total, provisioned",
                    [each.provisioned_forward_flops_per_token for each in estimates],
                    units.flops,
                ),
            ],
        ),
        (
            "Memory of a step",
            [
                _row("weights", [each.weights for each in memory], units.size),
                _row("gradients", [each.gradients for each in memory], units.size),
                _row("optimizer", [each.optimizer for each in memory], units.size),
                *_component_rows(activations, units.size, prefix="activations: "),
                _row("activations, all", [each.total for each in activations], units.size),
                _row("tokens and logits", [each.held for each in memory], units.size),
                _row("short-lived, at the peak", [each.temporary for each in memory], units.size),
                _row("peak", [each.peak for each in memory], units.size),
            ],
        ),
    ]


def _on_devices(estimates: Sequence[Estimate]) -> list[tuple[str, list[_Row]]]:
    plans = [each.devices for each in estimates if each.devices is not None]
    replicated = [
        _row("experts of a layer", [plan.experts_per_device or None for plan in plans], _number),
        _row("state, replicated", [plan.replicated_bytes for plan in plans], units.size),
    ]
    all_to_all = [None if plan.all_to_all is None else plan.all_to_all.sent_bytes for plan in plans]
    return [
        (
            f"On each device, expert parallel{_where(plans[0])}",
            [
                *replicated,
                *_layout_rows(plans, [plan.expert_parallel for plan in plans]),
                _row("all-to-all a step", all_to_all, units.size),
            ],
        ),
        (f"On each device, sharded{_where(plans[0])}", _layout_rows(plans, [plan.sharded for plan in plans])),
    ]


def _where(plan: DevicePlan) -> str:
    of = "" if plan.device_memory_bytes is None else f" of {units.size(plan.device_memory_bytes)}"
    return f" (the fewest{of} that fit)" if plan.num_devices is None else f" ({plan.num_devices}{of})"


def _layout_rows(plans: Sequence[DevicePlan], layouts: Sequence[Layout]) -> list[_Row]:
    rows = [
        _row("state", [layout.state_bytes for layout in layouts], units.size),
        _row("activations", [layout.activation_bytes for layout in layouts], units.size),
        _row("together", [layout.total_bytes for layout in layouts], units.size),
    ]
    if plans[0].device_memory_bytes is not None:
        if plans[0].num_devices is not None:
            rows.append(_row("fits", ["yes" if layout.fits else "no" for layout in layouts], str))
        rows.append(_row("fewest devices", [layout.least_devices or "none fit" for layout in layouts], str))
    return rows


def _number(value: int | None) -> str:
    return units.UNKNOWN if value is None else str(value)


def _row(label: str, values: Sequence[Any], format_value: Callable[[Any], str]) -> _Row:
    return _Row(label=label, texts=[format_value(value) for value in values])


def _component_rows(
    records: Sequence[Any], format_value: Callable[[Any], str], *, prefix: str = "", left_out: Sequence[str] = ()
) -> list[_Row]:
    """Give a row per field of the records that is above 0 in any of them."""
    names = [field.name for field in fields(records[0]) if field.name not in left_out]
    return [
        _row(prefix + name.replace("_", " "), [getattr(record, name) for record in records], format_value)
        for name in names
        if any(getattr(record, name) for record in records)
    ]


def _print_rows(title: str, rows: Sequence[_Row], *, estimates: Sequence[Estimate], console: Console) -> None:
    """Print quantities as rows and models as columns, in as many tables below each other as the width asks for."""
    names = [textwrap.wrap(each.subject.name, _NAME_WIDTH) for each in estimates]
    widths = [max(map(len, [*name, *(row.texts[index] for row in rows)])) + _GAP for index, name in enumerate(names)]
    label_width = max(len(row.label) for row in rows)
    console.print()
    console.print(Text(title, style="bold"))
    start = 0
    while start < len(estimates):
        if start:
            console.print()
        end, room = start + 1, console.width - label_width - widths[start]
        while end < len(estimates) and widths[end] <= room:
            room -= widths[end]
            end += 1
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        table.add_column("", overflow="fold")
        for index in range(start, end):
            table.add_column(Text("\n".join(names[index])), justify="right", no_wrap=True, vertical="bottom")
        for row in rows:
            table.add_row(Text(row.label), *row.texts[start:end])
        console.print(table)
        start = end
