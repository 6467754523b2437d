"""The tables of pairs: dense against sparse head to head, and how much a sparse step may cost before dense is faster.

One row per configuration and twin: a sparse configuration with several dense twins stands below each of them.
"""

from dataclasses import dataclass

from switchbench import units
from switchbench.compare import Configuration, Measure, Pair, sort_kinds
from switchbench.report.cells import (
    difference_cell,
    perplexity_cell,
    quality_cell,
    ratio_cell,
    seeds_cell,
    speedup_cell,
    time_to_target_cell,
    timed_cell,
)
from switchbench.report.contents import Contents, label_cells, label_columns
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.report.matches import MATCHED_ON_COLUMN, matched_on_cell, shows_matches

_SPEEDUPS: dict[Measure, str] = {
    "step_speedup": "step\nspeed-up",
    "time_speedup": "time\nspeed-up",
    "flops_speedup_provisioned": "provis. FLOPs\nspeed-up",
    "flops_speedup_executed": "executed FLOPs\nspeed-up",
}
"""The speed-ups with what stands above them."""
_RATIOS: dict[Measure, str] = {
    "step_time_ratio": "step time\nhere",
    "flops_ratio_provisioned": "provis.\nFLOPs",
    "peak_memory_ratio": "peak\nmemory",
}
"""What a sparse configuration costs in terms of its twin, with what stands above it."""
_HOW_TO_READ = (
    "All as multiples of the dense twin. Sparse reaches the twin's quality sooner wherever its step takes less than "
    "the break-even times the dense step. The break-even is set by quality alone, so it carries over to other "
    "machines; the step time here does not. Peak memory: means over seeds."
)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A row to be: a configuration, and the pair that it stands there for."""

    configuration: Configuration
    pair: Pair | None
    """None for a dense twin, and for what has no twin."""
    matched_on: tuple[str, ...]


def head_to_head_table(contents: Contents) -> Table:
    """Draw the shape of the paper's Table 1."""
    twins = {pair.dense.config_id for pair in contents.pairs}

    def cells(line: _Line) -> tuple[Cell, ...]:
        configuration, pair = line.configuration, line.pair
        is_twin = configuration.config_id in twins
        return (
            quality_cell(configuration, "neg_log_perplexity", contents.mixtures),
            perplexity_cell(configuration, contents.mixtures),
            quality_cell(configuration, "bits_per_byte", contents.mixtures),
            difference_cell(pair),
            time_to_target_cell(configuration, pair, is_twin=is_twin, target_nll=contents.target_nll),
            timed_cell(configuration, "tokens_per_second", units.count),
            *(speedup_cell(pair.measured(measure) if pair else None, is_twin=is_twin) for measure in _SPEEDUPS),
            seeds_cell(configuration),
        )

    columns = (
        *_labels(contents),
        Column(key="neg_log_perplexity", header="neg. log\nperplexity", unit="nats/token"),
        Column(key="perplexity", header="perplexity"),
        Column(key="bits_per_byte", header="bits per\nbyte", unit="bits/byte"),
        Column(key="delta_nll", header="nll vs\ndense", unit="nats/token"),
        Column(key="time_to_quality_s", header="time to\ntarget", unit="s"),
        Column(key="tokens_per_second", header="tokens/s", unit="tokens/s"),
        *(Column(key=measure, header=header) for measure, header in _SPEEDUPS.items()),
        Column(key="seeds", header="seeds"),
    )
    rows = (
        Row(
            config_id=line.configuration.config_id,
            cells=_label_cells(line, contents) + cells(line),
            starts_group=i == 0,
        )
        for group in _groups(contents)
        for i, line in enumerate(group)
    )
    return Table(key="head_to_head", title="Head to head", columns=columns, rows=tuple(rows))


def break_even_table(contents: Contents) -> Table | None:
    """Set what a sparse step may cost against what it does cost here; None without a pair."""
    rows = []
    for group in _groups(contents):
        pairs = [(line, line.pair) for line in group if line.pair is not None]
        for i, (line, pair) in enumerate(pairs):
            break_even = speedup_cell(pair.measured("break_even_step_time_ratio"), is_twin=False)
            ratios = (ratio_cell(pair.measured(measure)) for measure in _RATIOS)
            cells = (*_label_cells(line, contents), break_even, *ratios)
            rows.append(Row(config_id=line.configuration.config_id, cells=cells, starts_group=i == 0))
    if not rows:
        return None
    columns = (
        *_labels(contents),
        Column(key="break_even_step_time_ratio", header="break-even\nstep time"),
        *(Column(key=measure, header=header) for measure, header in _RATIOS.items()),
    )
    title = "What a sparse step may cost"
    return Table(key="break_even", title=title, columns=columns, rows=tuple(rows), notes=(_HOW_TO_READ,))


def _groups(contents: Contents) -> list[list[_Line]]:
    """Each dense twin followed by the sparse configurations compared to it, by what they are matched on.

    A dense configuration that is nobody's twin keeps its place among the first; sparse ones without a twin, or whose
    twin has no run that went well, come last.
    """
    there = {configuration.config_id for configuration in contents.configurations}
    twins = {pair.dense.config_id for pair in contents.pairs}
    groups = []
    for number, kind in enumerate(sort_kinds({pair.matched_on[0] for pair in contents.pairs}) or ("",)):
        for dense in contents.configurations:
            pairs = [p for p in contents.pairs if p.dense.config_id == dense.config_id and p.matched_on[0] == kind]
            if pairs:
                shared = [each for each in pairs[0].matched_on if all(each in pair.matched_on for pair in pairs)]
                twin = _Line(configuration=dense, pair=None, matched_on=tuple(shared))
                groups.append([twin, *(_sparse_line(pair) for pair in pairs if pair.sparse.config_id in there)])
            elif number == 0 and dense.role == "dense" and dense.config_id not in twins:
                groups.append([_Line(configuration=dense, pair=None, matched_on=())])
    rest = []
    for sparse in contents.configurations:
        pairs = [pair for pair in contents.pairs if pair.sparse.config_id == sparse.config_id]
        rest += [_sparse_line(pair) for pair in pairs if pair.dense.config_id not in there]
        if sparse.role == "sparse" and not pairs:
            rest.append(_Line(configuration=sparse, pair=None, matched_on=()))
    return [*groups, rest] if rest else groups


def _sparse_line(pair: Pair) -> _Line:
    return _Line(configuration=pair.sparse, pair=pair, matched_on=pair.matched_on)


def _labels(contents: Contents) -> tuple[Column, ...]:
    return label_columns(contents) + ((MATCHED_ON_COLUMN,) if shows_matches(contents.pairs) else ())


def _label_cells(line: _Line, contents: Contents) -> tuple[Cell, ...]:
    named = label_cells(line.configuration, contents)
    return (*named, matched_on_cell(line.matched_on)) if shows_matches(contents.pairs) else named
