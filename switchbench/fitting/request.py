"""A request for a fit: what to read, which rows, which law; and the answer to it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from switchbench.caveats import Caveat, in_order
from switchbench.errors import UnfittableError, UsageError
from switchbench.fitting.columns import Column, Role, find_columns
from switchbench.fitting.files import read_table
from switchbench.fitting.rows import UsedRows, use_rows
from switchbench.laws import (
    Budget,
    BudgetAnswer,
    FitStudy,
    LawName,
    Loss,
    Place,
    best_under_budget,
    study_law,
    total_parameters,
)
from switchbench.laws.budgets import BYTES_PER_PARAMETER
from switchbench.laws.losses import DEFAULT_LOSS
from switchbench.laws.resampling import GroupBy
from switchbench.quantities import parse_flops, parse_size

GROUP_WORDS: dict[str, GroupBy] = {"size": "size", "seed": "seed", "none": "row"}
"""What ``--group-by`` takes besides a column's name."""


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What is to be fitted to what."""

    path: Path
    """The table."""
    law: LawName | None = None
    """The form; None: the one that predicts the largest size best."""
    columns: Mapping[Role, str] | None = None
    """Where N, E, D, the loss and the seed come from, where the usual names do not say."""
    where: str | None = None
    """A filter over the table's columns."""
    group_by: str | None = None
    """``size``, ``seed``, ``none``, or a column; None: as the data have it."""
    loss: Loss = DEFAULT_LOSS
    """What is minimized."""
    resamples: int | None = None
    """Resamples of the bootstrap, 0 for none; None: 1000, or fewer where rows are very many."""
    seed: int = 0
    """Seed of the bootstrap."""
    places: tuple[Place, ...] = ()
    """Where to predict the loss besides."""
    budget: Budget | None = None
    """What training may take, where the best model under it is asked for."""
    is_alone: bool = False
    """Whether nothing is fitted beside the law: no other form, and no other kind of loss."""

    @property
    def fit_id(self) -> str:
        """Identity of what is asked for, whatever the rows: 12 hex digits."""
        content = {
            "law": self.law,
            "columns": dict(self.columns or {}),
            "where": self.where,
            "group_by": self.group_by,
            "loss": str(self.loss),
            "resamples": self.resamples,
            "seed": self.seed,
            "places": [asdict(place) for place in self.places],
            "budget": None if self.budget is None else asdict(self.budget),
            "is_alone": self.is_alone,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class TableFit:
    """A law fitted to a table, with everything that is to be said of it."""

    request: FitRequest
    """What was asked for."""
    columns: Mapping[Role, Column]
    """Where N, E, D, the loss and the seed come from."""
    rows: UsedRows
    """The rows that were used, and those that were not."""
    study: FitStudy
    """The fit."""
    budget: BudgetAnswer | None
    """The best models under a budget; None: none was given."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


def fit_table(
    request: FitRequest, *, table: pa.Table | None = None, on_progress: Callable[[float], None] | None = None
) -> TableFit:
    """Read a table, choose its rows, and fit a law to them.

    Args:
        request: What to do.
        table: The table, where it is read already.
        on_progress: Takes the share of the bootstrap that is done.

    Raises:
        UsageError: the request is wrong, or the table cannot be read.
        UnfittableError: the rows do not determine the law.
    """
    table = read_table(request.path) if table is None else table
    columns = find_columns(table.column_names, request.columns or {})
    by_column = None if request.group_by in (None, *GROUP_WORDS) else request.group_by
    if request.group_by == "seed" and "seed" not in columns:
        raise UsageError("--group-by seed: the table has no column seed; name it with --columns seed=COLUMN")
    rows = use_rows(table, columns, where=request.where, group_by=by_column)
    try:
        with np.errstate(all="ignore"):  # what is not finite is shown as not known
            study = study_law(
                rows.observations,
                law=request.law,
                loss=request.loss,
                group_by=GROUP_WORDS.get(request.group_by) if request.group_by else None,
                resamples=request.resamples,
                seed=request.seed,
                places=request.places,
                is_alone=request.is_alone,
                on_progress=on_progress,
            )
            budget = _under_budget(request, study, rows)
    except UnfittableError as error:
        raise UnfittableError(f"{error}{_account(rows)}") from None
    except np.linalg.LinAlgError as error:
        raise UnfittableError(
            f"the arithmetic of the fit broke down ({error}): the rows are too far from any law{_account(rows)}"
        ) from error
    lost = any(not each.is_filtered for each in rows.left_out)
    return TableFit(
        request=request,
        columns=columns,
        rows=rows,
        study=study,
        budget=budget,
        caveats=in_order([*study.caveats, *([Caveat.ROWS_LEFT_OUT] if lost else [])]),
    )


def _under_budget(request: FitRequest, study: FitStudy, rows: UsedRows) -> BudgetAnswer | None:
    if request.budget is None:
        return None
    return best_under_budget(
        study.fit,
        request.budget,
        total=total_parameters(rows.observations, rows.total),
        grouping=study.grouping,
        resamples=study.resamples,
        method=study.method,
    )


def _account(rows: UsedRows) -> str:
    """Say what became of the rows of a table, where some are left out."""
    if not rows.left_out:
        return ""
    reasons = "; ".join(f"{each.count} ({each.reason})" for each in rows.left_out)
    return f"\nOf {rows.num_read} rows, {len(rows.observations)} are left. Left out: {reasons}"


def parse_budget(flops: str | None, *, memory: str | None, bytes_per_parameter: float | None) -> Budget | None:
    """Read a budget such as ``1e20FLOPs`` and ``80GiB``; None where there is none.

    Raises:
        UsageError: one of them cannot be read, or there is memory without FLOPs.
    """
    if flops is None:
        if memory is not None or bytes_per_parameter is not None:
            name = "--memory" if memory is not None else "--bytes-per-parameter"
            raise UsageError(f"{name} narrows a FLOPs budget: give that, too, such as --budget 1e20FLOPs")
        return None
    if bytes_per_parameter is not None and not 0 < bytes_per_parameter < float("inf"):
        raise UsageError(f"--bytes-per-parameter is to be a number above 0, such as 16, got {bytes_per_parameter:g}")
    return Budget(
        flops=parse_flops(flops, name="--budget"),
        memory_bytes=None if memory is None else float(parse_size(memory, name="--memory")),
        bytes_per_parameter=BYTES_PER_PARAMETER if bytes_per_parameter is None else bytes_per_parameter,
    )


def parse_places(texts: Sequence[str]) -> tuple[Place, ...]:
    """Read places such as ``n=1e9,e=64,d=2e10``.

    Raises:
        UsageError: one is not of this kind.
    """
    return tuple(_parse_place(text) for text in texts)


def _parse_place(text: str) -> Place:
    numbers: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if name.lower() not in ("n", "e", "d") or not 0 < number < float("inf"):
            raise UsageError(f"--predict {text!r}: {part!r} is not of the form n=1e9, e=64 or d=2e10")
        numbers[name.lower()] = number
    if "n" not in numbers:
        raise UsageError(f"--predict {text!r} does not say n, the parameters that one token meets, such as n=1e9")
    return Place(n=numbers["n"], e=numbers.get("e", 1.0), d=numbers.get("d"))
