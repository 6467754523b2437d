"""The three tables of a sweep: head to head, cost, and what capacity buys.

One row per configuration, a mean over its seeds. A dense twin stands right above the sparse ones compared to it.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from switchbench import units
from switchbench.caveats import Caveat, in_order
from switchbench.compare import Comparison, Configuration, Pair, first_crossing, mean_curve
from switchbench.compare.pairs import timing_caveats
from switchbench.record import RunRecord
from switchbench.report.aggregates import (
    Mixtures,
    aggregate,
    capacity_text,
    example_row,
    mixtures_of,
    model_name,
    row_caveats,
    setting_name,
    setting_text,
    swept_paths,
)
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.units import UNKNOWN

NOT_REACHED = "not reached"
"""What stands where the target quality was not reached, as in the paper's Table 1."""
REFERENCE = "1x"
"""The dense twin's own speed-up."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the tables of a sweep are drawn from."""

    configurations: tuple[Configuration, ...]
    """Those with at least one run that went well, in the manifest's order."""
    pairs: tuple[Pair, ...]
    """The pairs of twins."""
    mixtures: Mixtures
    """What the runs have not in common."""


def build_tables(configurations: Sequence[Configuration], *, pairs: Sequence[Pair]) -> tuple[Table, ...]:
    """Build the tables of a sweep; that of the capacity only where there are sparse configurations.

    Args:
        configurations: All configurations of the sweep; those without a run that went well get no row.
        pairs: The pairs of twins among them.
    """
    finished = tuple(configuration for configuration in configurations if configuration.finished)
    contents = Contents(configurations=finished, pairs=tuple(pairs), mixtures=mixtures_of(finished))
    tables = [_head_to_head(contents), _cost(contents)]
    if any(configuration.role == "sparse" for configuration in finished):
        tables.append(_capacity(contents))
    return tuple(tables)


def _head_to_head(contents: Contents) -> Table:
    """The shape of the paper's Table 1."""
    pair_of: dict[str, Pair] = {}
    for pair in contents.pairs:
        pair_of.setdefault(pair.sparse.config_id, pair)
    twins = {pair.dense.config_id for pair in contents.pairs}

    def cells(configuration: Configuration) -> tuple[Cell, ...]:
        pair = pair_of.get(configuration.config_id)
        is_twin = configuration.config_id in twins
        return (
            _neg_log_perplexity(configuration, contents.mixtures),
            _perplexity(configuration, contents.mixtures),
            _quality(configuration, "bits_per_byte", contents.mixtures),
            _difference(pair),
            _time_to_target(configuration, pair, is_twin=is_twin),
            _timed(configuration, "tokens_per_second", units.count),
            _speedup(pair.measured("step_speedup") if pair else None, is_twin=is_twin),
            _speedup(pair.measured("time_speedup") if pair else None, is_twin=is_twin),
            _seeds(configuration),
        )

    columns = (
        Column(key="neg_log_perplexity", header="neg. log\nperplexity"),
        Column(key="perplexity", header="perplexity"),
        Column(key="bits_per_byte", header="bits per\nbyte"),
        Column(key="delta_nll", header="nll vs\ndense"),
        Column(key="time_to_quality_s", header="time to\ntarget"),
        Column(key="tokens_per_second", header="tokens/s"),
        Column(key="step_speedup", header="step\nspeed-up"),
        Column(key="time_speedup", header="time\nspeed-up"),
        Column(key="seeds", header="seeds"),
    )
    return _table("head_to_head", "Head to head", columns, contents, groups=_groups(contents), cells=cells)


def _cost(contents: Contents) -> Table:
    """What each configuration costs."""

    def cells(configuration: Configuration) -> tuple[Cell, ...]:
        mixtures = contents.mixtures
        return (
            _mean(configuration, "params_total", units.count),
            _mean(configuration, "params_active", units.count),
            _mean(configuration, "tokens_per_active_param", units.significant),
            _mean(configuration, "tokens_per_total_param", units.significant),
            _mean(configuration, "useful_train_flops", units.count),
            _mean(configuration, "provisioned_train_flops", units.count),
            _mean(configuration, "executed_train_flops", units.count, caveats=mixtures.quality),
            _mean(configuration, "wall_clock_s", units.duration, caveats=mixtures.time),
            _timed(configuration, "step_time_s", units.duration),
            _peak_memory(configuration, mixtures),
            _mean(configuration, "dropped_token_fraction", units.percent, caveats=mixtures.quality),
            _mean(configuration, "expert_load_cv", units.significant, caveats=mixtures.quality),
            _seeds(configuration),
        )

    columns = (
        Column(key="params_total", header="total\nparams"),
        Column(key="params_active", header="active\nparams"),
        Column(key="tokens_per_active_param", header="tokens/\nactive"),
        Column(key="tokens_per_total_param", header="tokens/\ntotal"),
        Column(key="useful_train_flops", header="useful\nFLOPs"),
        Column(key="provisioned_train_flops", header="provis.\nFLOPs"),
        Column(key="executed_train_flops", header="executed\nFLOPs"),
        Column(key="wall_clock_s", header="wall-\nclock"),
        Column(key="step_time_s", header="step\ntime"),
        Column(key="peak_memory_bytes", header="peak\nmemory"),
        Column(key="dropped_token_fraction", header="dropped\ntokens"),
        Column(key="expert_load_cv", header="load\ncv"),
        Column(key="seeds", header="seeds"),
    )
    return _table("cost", "Cost", columns, contents, groups=_groups(contents), cells=cells)


def _capacity(contents: Contents) -> Table:
    """What a larger capacity factor buys, for each number of experts and all else that was swept."""

    def others(configuration: Configuration) -> str:
        settings = [setting_text(configuration, path) for path in swept_paths(contents.configurations)]
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
            _quality(configuration, "nll", mixtures),
            _quality(configuration, "nll_capacity", mixtures),
            _mean(configuration, "dropped_token_fraction", units.percent, caveats=mixtures.quality),
            _mean(configuration, "dropped_token_fraction_last_quarter", units.percent, caveats=mixtures.quality),
            _mean(configuration, "provisioned_train_flops", units.count),
            _mean(configuration, "executed_train_flops", units.count, caveats=mixtures.quality),
            _timed(configuration, "step_time_s", units.duration),
            _seeds(configuration),
        )

    columns = (
        Column(key="nll", header="nll"),
        Column(key="nll_capacity", header="nll with\ncapacity"),
        Column(key="dropped_token_fraction", header="dropped\ntokens"),
        Column(key="dropped_token_fraction_last_quarter", header="in last\nquarter"),
        Column(key="provisioned_train_flops", header="provis.\nFLOPs"),
        Column(key="executed_train_flops", header="executed\nFLOPs"),
        Column(key="step_time_s", header="step\ntime"),
        Column(key="seeds", header="seeds"),
    )
    ordered = [sorted(group, key=capacity_factor) for group in groups.values()]
    if all(len(group) == 1 for group in ordered):  # only one capacity factor: nothing to set apart
        ordered = [[configuration for group in ordered for configuration in group]]
    return _table("capacity", "What capacity buys", columns, contents, groups=ordered, cells=cells)


def _table(
    key: str,
    title: str,
    columns: Sequence[Column],
    contents: Contents,
    *,
    groups: Sequence[Sequence[Configuration]],
    cells: Callable[[Configuration], tuple[Cell, ...]],
) -> Table:
    paths = swept_paths(contents.configurations)
    labels = (
        Column(key="model", header="model", is_label=True),
        Column(key="num_experts", header="experts", is_label=True),
        Column(key="capacity_factor", header="capacity\nfactor", is_label=True),
        *(Column(key=path, header=setting_name(path).replace(" ", "\n", 1), is_label=True) for path in paths),
    )

    def row(configuration: Configuration, *, starts_group: bool) -> Row:
        record = example_row(configuration)
        is_sparse = configuration.role == "sparse"
        named = (
            Cell(text=model_name(configuration), value=record.model_size, caveats=_model_caveats(record)),
            Cell(text=str(record.num_experts), value=record.num_experts) if is_sparse else Cell(text=UNKNOWN),
            Cell(text=capacity_text(record), value=record.capacity_factor),
            *(Cell(text=setting_text(configuration, path)) for path in paths),
        )
        return Row(config_id=configuration.config_id, cells=named + cells(configuration), starts_group=starts_group)

    rows = (row(configuration, starts_group=i == 0) for group in groups for i, configuration in enumerate(group))
    return Table(key=key, title=title, columns=(*labels, *columns), rows=tuple(rows))


def _model_caveats(row: RunRecord) -> tuple[str, ...]:
    """What holds of a model whatever is said of it."""
    return in_order(caveat for caveat in row.caveats if caveat == Caveat.NON_CAUSAL_ROUTING)


def _groups(contents: Contents) -> list[list[Configuration]]:
    """Each dense configuration followed by the sparse ones it is the twin of; those without a twin come last."""
    groups = []
    placed: set[str] = set()
    for dense in contents.configurations:
        if dense.role == "dense":
            members = [c for c in contents.configurations if c.config_id in dense.twin_of and c.config_id not in placed]
            placed |= {member.config_id for member in members}
            groups.append([dense, *members])
    rest = [c for c in contents.configurations if c.role == "sparse" and c.config_id not in placed]
    return [*groups, rest] if rest else groups


def _mean(
    configuration: Configuration, column: str, format_: Callable[[float], str], *, caveats: Sequence[str] = ()
) -> Cell:
    found = aggregate(configuration, column)
    if found is None:
        return Cell(text=UNKNOWN)
    return Cell(text=format_(found.mean), value=found.mean, spread=found.sd, caveats=in_order(caveats))


def _quality(configuration: Configuration, column: str, mixtures: Mixtures) -> Cell:
    """A mean of nats or bits, with its standard deviation."""
    found = aggregate(configuration, column)
    if found is None:
        return Cell(text=UNKNOWN)
    text = f"{found.mean:.3f}" if found.sd is None else f"{found.mean:.3f} ± {found.sd:.3f}"
    caveats = in_order([*mixtures.quality, *row_caveats(configuration)])
    return Cell(text=text, value=found.mean, spread=found.sd, caveats=caveats)


def _neg_log_perplexity(configuration: Configuration, mixtures: Mixtures) -> Cell:
    return _quality(configuration, "neg_log_perplexity", mixtures)


def _perplexity(configuration: Configuration, mixtures: Mixtures) -> Cell:
    """exp of the mean nll: perplexities are never averaged."""
    cell = _quality(configuration, "nll", mixtures)
    if not isinstance(cell.value, float):
        return cell
    perplexity = math.exp(min(cell.value, 700.0))
    return replace(cell, text=units.significant(perplexity), value=perplexity, spread=None)


def _difference(pair: Pair | None) -> Cell:
    if pair is None:
        return Cell(text=UNKNOWN)
    comparison = pair.measured("delta_nll")
    if comparison.value is None:
        return Cell(text=UNKNOWN, caveats=comparison.caveats)
    text = f"{comparison.value:+.3f}"
    if comparison.ci95 is not None:
        text += f" [±{(comparison.ci95[1] - comparison.ci95[0]) / 2:.3f}]"
    return Cell(text=text, value=comparison.value, caveats=comparison.caveats)


def _speedup(comparison: Comparison | None, *, is_twin: bool) -> Cell:
    if comparison is None:
        return Cell(text=REFERENCE if is_twin else UNKNOWN)
    if comparison.value is None:
        is_unreached = Caveat.NOT_REACHED in comparison.caveats
        return Cell(text=NOT_REACHED if is_unreached else UNKNOWN, caveats=comparison.caveats)
    sign = {"lower": "> ", "upper": "< ", None: ""}[comparison.bound]
    text = f"{sign}{units.significant(comparison.value)}x"
    if comparison.ci95 is not None:
        low, high = (units.significant(end, digits=2) for end in comparison.ci95)
        text += f" [{low}, {high}]"
    return Cell(text=text, value=comparison.value, caveats=comparison.caveats)


def _time_to_target(configuration: Configuration, pair: Pair | None, *, is_twin: bool) -> Cell:
    """Steps up to the target quality times the exclusive step time; the target of a dense twin is its own end."""
    caveats: list[str] = list(timing_caveats([configuration.timing]))
    row = example_row(configuration)
    if pair is not None:
        caveats += [code for code in pair.measured("step_speedup").caveats if code != Caveat.CENSORED_SEEDS]
        if pair.target_nll is None:
            return Cell(text=UNKNOWN, caveats=in_order(caveats))
        if pair.crossing is None:
            return Cell(text=NOT_REACHED, caveats=in_order(caveats))
        tokens, is_bound = pair.crossing.tokens, pair.crossing.is_bound
    else:
        curve = mean_curve(list(configuration.curves.values())) if is_twin and configuration.curves else ()
        own = first_crossing(curve, target_nll=curve[-1].nll) if curve else None
        if own is None:
            return Cell(text=UNKNOWN)
        tokens, is_bound = own.tokens, own.is_bound
    if configuration.timing is None:
        return Cell(text=UNKNOWN, caveats=in_order(caveats))
    seconds = tokens / row.batch_tokens * configuration.timing.step_time_s
    text = f"{'< ' if is_bound else ''}{units.duration(seconds)}"
    return Cell(text=text, value=seconds, caveats=in_order(caveats))


def _timed(configuration: Configuration, column: str, format_: Callable[[float], str]) -> Cell:
    caveats = in_order(timing_caveats([configuration.timing]))
    if configuration.timing is None:
        return Cell(text=UNKNOWN, caveats=caveats)
    value = float(getattr(configuration.timing, column))
    return Cell(text=format_(value), value=value, caveats=caveats)


def _peak_memory(configuration: Configuration, mixtures: Mixtures) -> Cell:
    """The largest of the seeds: what must fit."""
    found = aggregate(configuration, "peak_memory_bytes")
    if found is None:
        return Cell(text=UNKNOWN)
    return Cell(text=units.size(found.largest), value=found.largest, spread=found.sd, caveats=mixtures.time)


def _seeds(configuration: Configuration) -> Cell:
    finished, asked = len(configuration.finished), len(configuration.run_ids)
    text = str(finished) if finished == asked else f"{finished} of {asked}"
    return Cell(text=text, value=finished, caveats=in_order(configuration.caveats))
