"""The tables of a sweep: head to head, cost, what capacity buys, and what else there is to say of costs.

One row per configuration, a mean over its seeds. A dense twin stands right above the sparse ones compared to it.
"""

import json
import math
from collections.abc import Sequence

from switchbench import units
from switchbench.compare import Configuration, Pair, Scaling, SweepVerdict
from switchbench.report.aggregates import example_row, mixtures_of, setting_text
from switchbench.report.cells import (
    arithmetic_cell,
    measured_cell,
    peak_memory_cell,
    quality_cell,
    seeds_cell,
    timed_cell,
    wall_clock_cell,
)
from switchbench.report.contents import Contents, configuration_table, groups_of
from switchbench.report.elements import Cell, Column, Table
from switchbench.report.estimates import estimates_table
from switchbench.report.floor import floor_table, overfitting_table
from switchbench.report.head_to_head import break_even_table, head_to_head_table
from switchbench.report.routing import routing_table
from switchbench.report.scaling import scaling_table
from switchbench.report.specialization import specialization_table
from switchbench.report.verdicts import verdicts_table

_OF_EVALUATION = (
    "nll with capacity is taken at each row's own evaluation capacity, by default that of its training: rows differ in "
    "it, so that their difference is not one of the models alone. nll is dropless in all of them."
)


def build_tables(
    configurations: Sequence[Configuration],
    *,
    pairs: Sequence[Pair],
    scaling: Sequence[Scaling],
    verdict: SweepVerdict,
    target_nll: float | None = None,
) -> tuple[Table, ...]:
    """Build the tables of a sweep, those that it has something for.

    Args:
        configurations: All configurations of the sweep; those without a run that went well get no row.
        pairs: The pairs of twins among them.
        scaling: How their costs grow.
        verdict: That of the sweep.
        target_nll: The quality that speed-ups are measured at; None: each dense twin's own at its end.
    """
    finished = tuple(configuration for configuration in configurations if configuration.finished)
    contents = Contents(
        configurations=finished, pairs=tuple(pairs), mixtures=mixtures_of(finished), target_nll=target_nll
    )
    verdicts = verdicts_table(contents, verdict)
    tables = [*([] if verdicts is None else [verdicts]), head_to_head_table(contents), _cost(contents)]
    break_even = break_even_table(contents)
    if break_even is not None:
        tables.append(break_even)
    if any(configuration.role == "sparse" for configuration in finished):
        tables.append(_capacity(contents))
    known = (floor_table(contents), overfitting_table(contents))
    routing = (routing_table(contents), specialization_table(contents))
    further = (*known, *routing, scaling_table(scaling), estimates_table(contents))
    return (*tables, *(table for table in further if table is not None))


def _cost(contents: Contents) -> Table:
    """What each configuration costs."""

    def cells(configuration: Configuration) -> tuple[Cell, ...]:
        mixtures = contents.mixtures
        return (
            arithmetic_cell(configuration, "params_total", units.count),
            arithmetic_cell(configuration, "params_active", units.count),
            arithmetic_cell(configuration, "tokens_per_active_param", units.significant),
            arithmetic_cell(configuration, "tokens_per_total_param", units.significant),
            arithmetic_cell(configuration, "useful_train_flops", units.count),
            arithmetic_cell(configuration, "provisioned_train_flops", units.count),
            arithmetic_cell(configuration, "executed_train_flops", units.count, caveats=mixtures.quality),
            wall_clock_cell(configuration, mixtures),
            timed_cell(configuration, "step_time_s", units.duration),
            peak_memory_cell(configuration, mixtures),
            measured_cell(configuration, "dropped_token_fraction", units.percent, caveats=mixtures.quality),
            measured_cell(configuration, "expert_load_cv", units.significant, caveats=mixtures.quality),
            seeds_cell(configuration),
        )

    columns = (
        Column(key="params_total", header="total\nparams"),
        Column(key="params_active", header="active\nparams"),
        Column(key="tokens_per_active_param", header="tokens/\nactive", unit="tokens/parameter"),
        Column(key="tokens_per_total_param", header="tokens/\ntotal", unit="tokens/parameter"),
        Column(key="useful_train_flops", header="useful\nFLOPs", unit="FLOP"),
        Column(key="provisioned_train_flops", header="provis.\nFLOPs", unit="FLOP"),
        Column(key="executed_train_flops", header="executed\nFLOPs", unit="FLOP"),
        Column(key="wall_clock_s", header="wall-\nclock", unit="s"),
        Column(key="step_time_s", header="step\ntime", unit="s"),
        Column(key="peak_memory_bytes", header="peak\nmemory", unit="byte"),
        Column(key="dropped_token_fraction", header="dropped\ntokens"),
        Column(key="expert_load_cv", header="load cv\n(per batch)"),
        Column(key="seeds", header="seeds"),
    )
    return configuration_table("cost", "Cost", columns, contents, groups=groups_of(contents), cells=cells)


def _capacity(contents: Contents) -> Table:
    """What a larger capacity factor buys, for each number of experts and all else that was swept."""

    def others(configuration: Configuration) -> str:
        settings = [setting_text(configuration, path) for path in contents.swept]
        row = example_row(configuration)
        return json.dumps([row.model_size, *settings, row.num_experts])

    sparse = [configuration for configuration in contents.configurations if configuration.role == "sparse"]
    groups: dict[str, list[Configuration]] = {}
    for configuration in sparse:
        groups.setdefault(others(configuration), []).append(configuration)

    def capacity_factor(configuration: Configuration) -> float:
        chosen = example_row(configuration).capacity_factor
        return math.inf if chosen is None else chosen  # dropless is the largest capacity there is

    def cells(configuration: Configuration) -> tuple[Cell, ...]:
        mixtures = contents.mixtures
        return (
            quality_cell(configuration, "nll", mixtures),
            quality_cell(configuration, "nll_capacity", mixtures),
            measured_cell(configuration, "dropped_token_fraction", units.percent, caveats=mixtures.quality),
            measured_cell(
                configuration, "dropped_token_fraction_last_quarter", units.percent, caveats=mixtures.quality
            ),
            arithmetic_cell(configuration, "provisioned_train_flops", units.count),
            arithmetic_cell(configuration, "executed_train_flops", units.count, caveats=mixtures.quality),
            timed_cell(configuration, "step_time_s", units.duration),
            seeds_cell(configuration),
        )

    columns = (
        Column(key="nll", header="nll", unit="nats/token"),
        Column(key="nll_capacity", header="nll with\ncapacity", unit="nats/token"),
        Column(key="dropped_token_fraction", header="dropped\ntokens"),
        Column(key="dropped_token_fraction_last_quarter", header="in last\nquarter"),
        Column(key="provisioned_train_flops", header="provis.\nFLOPs", unit="FLOP"),
        Column(key="executed_train_flops", header="executed\nFLOPs", unit="FLOP"),
        Column(key="step_time_s", header="step\ntime", unit="s"),
        Column(key="seeds", header="seeds"),
    )
    ordered = [sorted(group, key=capacity_factor) for group in groups.values()]
    if all(len(group) == 1 for group in ordered):  # only one capacity factor: nothing to set apart
        ordered = [[configuration for group in ordered for configuration in group]]
    factors = {row.eval_capacity_factor for each in sparse for row in each.finished.values()}
    return configuration_table(
        "capacity",
        "What capacity buys",
        columns,
        contents,
        groups=ordered,
        cells=cells,
        notes=(_OF_EVALUATION,) if len(factors) > 1 else (),
    )
