"""The table of step times on several machines, beside what a sparse step may cost."""

from collections.abc import Sequence
from typing import Any

from switchbench.compare import Configuration, Pair
from switchbench.compare.elsewhere import BenchFile, StepTimeVerdict, step_facts
from switchbench.report.aggregates import ratio_text
from switchbench.report.contents import Contents, label_cells, label_columns
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.report.matches import MATCHED_ON_COLUMN, matched_on_cell, shows_matches
from switchbench.units import UNKNOWN

_HOW_TO_READ = (
    "Sparse is sooner at the quality where the ratio of step times is below the break-even, dense where it is above; "
    "that is told where the interval of the time speed-up, over seeds and steps, leaves out 1. "
    "Models are the same where all that a step's time depends on is; the capacity factor counts where slots "
    "are padded."
)
_ANSWERS = {"sparse": "sparse", "dense": "dense", "unresolved": "not told"}


def step_times_table(verdicts: Sequence[StepTimeVerdict], files: Sequence[BenchFile], contents: Contents) -> Table:
    """Draw who is sooner on which machine, and say which file has nothing to say of this sweep.

    Args:
        verdicts: Of every pair: here, and on the machines of the files.
        files: The files.
        contents: What the tables of the sweep are drawn from.
    """
    has_matches = shows_matches(contents.pairs)
    sides = {each.config_id: each for each in contents.configurations}
    columns = (
        *label_columns(contents),
        *((MATCHED_ON_COLUMN,) if has_matches else ()),
        Column(key="machine", header="machine", is_label=True),
        Column(key="precision", header="precision", is_label=True),
        Column(key="step_time_ratio", header="step time\nratio"),
        Column(key="break_even_step_time_ratio", header="break-even"),
        Column(key="time_speedup", header="time\nspeed-up"),
        Column(key="verdict", header="sooner\nthere"),
    )
    rows = [
        Row(
            config_id=verdict.sparse,
            cells=(
                *label_cells(sides[verdict.sparse], contents),
                *((matched_on_cell(verdict.matched_on.split("+")),) if has_matches else ()),
                *_cells(verdict),
            ),
            starts_group=verdict.file is None,
        )
        for verdict in verdicts
        if verdict.sparse in sides
    ]
    matched = {verdict.file for verdict in verdicts}
    missing = [_missing(file, contents.pairs) for file in files if file.path not in matched]
    return Table(
        key="step_times",
        title="Step times here and elsewhere",
        columns=columns,
        rows=tuple(rows),
        notes=(*missing, _HOW_TO_READ),
    )


def _cells(verdict: StepTimeVerdict) -> tuple[Cell, ...]:
    here = "" if verdict.file is not None else " (here)"
    ratio, break_even, speedup = verdict.step_time_ratio, verdict.break_even, verdict.time_speedup
    sign = {"lower": "> ", "upper": "< ", None: ""}[verdict.bound]
    return (
        Cell(text=f"{verdict.machine}{here}" or UNKNOWN, value=verdict.file),
        Cell(text=verdict.precision or UNKNOWN, value=verdict.precision or None),
        Cell(text=UNKNOWN)
        if ratio is None
        else Cell(
            text=ratio_text(ratio, ci95=verdict.step_time_ratio_ci95), value=ratio, ci95=verdict.step_time_ratio_ci95
        ),
        Cell(text=UNKNOWN)
        if break_even is None
        else Cell(
            text=sign + ratio_text(break_even, ci95=verdict.ci95),
            value=break_even,
            ci95=verdict.ci95,
            bound=verdict.bound,
        ),
        Cell(text=UNKNOWN)
        if speedup is None
        else Cell(
            text=sign + ratio_text(speedup, ci95=verdict.time_speedup_ci95),
            value=speedup,
            ci95=verdict.time_speedup_ci95,
            bound=verdict.bound,
        ),
        Cell(text=_ANSWERS[verdict.verdict], value=verdict.verdict, caveats=verdict.caveats),
    )


def _missing(file: BenchFile, pairs: Sequence[Pair]) -> str:
    """Say that a file has no pair of this sweep in it, what it has, and what would have to be measured."""
    has = _shapes([row.facts for row in file.rows])
    text = f"{file.path} ({file.machine}) does not hold both models of any pair of this sweep: its own have {has}"
    return f"{text}; those of the pairs have {_shapes([step_facts(side.spec) for side in _sides(pairs)])}."


def _sides(pairs: Sequence[Pair]) -> list[Configuration]:
    return [side for pair in pairs for side in (pair.dense, pair.sparse)]


def _shapes(models: Sequence[dict[str, Any]]) -> str:
    """What the options of the benchmark set, and layers: all values that some models have.

    >>> shape = {"model.d_model": 32, "model.num_layers": 4, "model.ffn.num_experts": 8, "train.batch_tokens": 4096}
    >>> _shapes([shape, shape | {"model.ffn.num_experts": 1}])
    'd_model 32, 1 or 8 experts, 4 layers, 4096 tokens a step'
    """

    def values(path: str) -> str:
        return " or ".join(str(value) for value in sorted({facts[path] for facts in models if facts.get(path)}))

    return (
        f"d_model {values('model.d_model')}, {values('model.ffn.num_experts')} experts, "
        f"{values('model.num_layers')} layers, {values('train.batch_tokens')} tokens a step"
    )
