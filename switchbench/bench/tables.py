"""The answers of the benchmarks as JSON and as tables for the terminal."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from switchbench.units import count, duration

_LAYER_COLUMNS = ("d_model", "experts", "backend", "time", "IQR", "over dense", "over floor")
_STEP_COLUMNS = (
    "d_model", "experts", "precision", "backend", "time", "IQR", "forward", "backward", "optimizer", "tokens/s",
    "speed over dense",
)  # fmt: skip


def bench_json(answer: dict[str, Any]) -> str:
    """Give the answer as one JSON object."""
    return json.dumps(answer, indent=2, allow_nan=False)


def print_bench(answer: dict[str, Any], *, console: Console) -> None:
    """Draw the answer as a table.

    Args:
        answer: From ``measure``.
        console: Where to.
    """
    is_layer = answer["benchmark"] == "layer"
    table = Table(title=_title(answer), title_justify="left")
    for column in _LAYER_COLUMNS if is_layer else _STEP_COLUMNS:
        table.add_column(column, justify="left" if column in ("backend", "precision") else "right")
    previous = None
    for row in answer["rows"]:
        case = (row["d_model"], row["num_experts"] if is_layer else 0)
        if previous not in (None, case):
            table.add_section()
        previous = case
        table.add_row(*(_layer_cells(row) if is_layer else _step_cells(row)))
    console.print(table)
    for line in _footnotes(answer):
        console.print(line)


def _title(answer: dict[str, Any]) -> str:
    rows = answer["rows"]
    what = "Feed-forward layer, forward and backward, dropless" if answer["benchmark"] == "layer" else "Training step"
    return f"{what}, {rows[0]['num_tokens']} tokens" if rows else what


def _layer_cells(row: dict[str, Any]) -> list[str]:
    name = f"{row['backend']} (auto)" if row["is_auto"] else row["backend"]
    return [
        str(row["d_model"]),
        str(row["num_experts"]),
        name,
        *_times(row),
        f"{row['over_dense']:.2f}",
        f"{row['over_floor']:.2f}",
    ]


def _step_cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["d_model"]),
        str(row["num_experts"]),
        row["precision"],
        row["backend"],
        *_times(row),
        *(duration(row[f"{part}_s"]) for part in ("forward", "backward", "optimizer")),
        count(row["tokens_per_second"]),
        f"{row['speed_over_dense']:.2f}",
    ]


def _times(row: dict[str, Any]) -> tuple[str, str]:
    return duration(row["median_s"]), f"{duration(row['q25_s'])} to {duration(row['q75_s'])}"


def _footnotes(answer: dict[str, Any]) -> list[str]:
    threads = answer["threads"]
    lines = [
        f"{answer['device_name']} ({answer['device']}), {threads} CPU thread{'' if threads == 1 else 's'}, PyTorch "
        f"{answer['torch_version']}; allocator: {answer['allocator'] or 'as the system has it'}",
    ]
    if answer["benchmark"] == "layer":
        lines.append(
            "dense: the dense layer of equal FLOPs. floor: the experts' matmuls alone, on the same routing, into "
            "buffers already there. Ratios are medians over rounds of the ratio within a round."
        )
    else:
        lines.append("speed over dense: against the dense model in float32, median over rounds; above 1 is faster.")
    return lines
