"""Routing health: whether the experts share the work, and what a sparse model loses where they do not."""

from switchbench import units
from switchbench.compare import Configuration
from switchbench.report.cells import measured_cell, seeds_cell
from switchbench.report.contents import Contents, configuration_table
from switchbench.report.elements import Cell, Column, Table

_HOW_TO_READ = (
    "Loads, entropy and losses are means over the last cooldown and the sparse layers. Load cv is the coefficient of "
    "variation of the experts' loads: 0 where all get the same; of all batches together it is a lasting preference, "
    "within a batch chance adds to it. Entropy of a router that is sure of every token: 0; of one that does not "
    "choose: the logarithm of the experts' number. The balance loss is 1 where loads are equal.",
)


def routing_table(contents: Contents) -> Table | None:
    """Set out how each sparse configuration routes its tokens; None where there is none.

    Args:
        contents: What is drawn from.
    """
    sparse = [configuration for configuration in contents.configurations if configuration.role == "sparse"]
    if not sparse:
        return None
    caveats = contents.mixtures.quality

    def cells(configuration: Configuration) -> tuple[Cell, ...]:
        def share(column: str) -> Cell:
            return measured_cell(configuration, column, units.percent, caveats=caveats)

        def number(column: str) -> Cell:
            return measured_cell(configuration, column, units.significant, caveats=caveats)

        return (
            share("dropped_token_fraction"),
            share("dropped_token_fraction_last_quarter"),
            share("capacity_utilization"),
            number("expert_load_cv"),
            number("expert_load_cv_pooled"),
            number("expert_load_max_over_mean"),
            share("dead_expert_fraction"),
            number("router_entropy"),
            number("router_confidence"),
            number("aux_loss"),
            seeds_cell(configuration),
        )

    columns = (
        Column(key="dropped_token_fraction", header="dropped\ntokens"),
        Column(key="dropped_token_fraction_last_quarter", header="in last\nquarter"),
        Column(key="capacity_utilization", header="slots\nfilled"),
        Column(key="expert_load_cv", header="load cv\n(per batch)"),
        Column(key="expert_load_cv_pooled", header="load cv\n(pooled)"),
        Column(key="expert_load_max_over_mean", header="largest\nload/mean"),
        Column(key="dead_expert_fraction", header="dead\nexperts"),
        Column(key="router_entropy", header="router\nentropy", unit="nats"),
        Column(key="router_confidence", header="router\nconfidence"),
        Column(key="aux_loss", header="balance\nloss"),
        Column(key="seeds", header="seeds"),
    )
    return configuration_table(
        "routing", "Routing health", columns, contents, groups=[sparse], cells=cells, notes=_HOW_TO_READ
    )
