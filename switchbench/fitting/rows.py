"""The rows of a table that a law is fitted to, and the others with the reason why they are left out."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from switchbench.errors import ExpressionError, TableError
from switchbench.expressions import Expression, parse_expression
from switchbench.fitting.columns import OURS, Column, Role, require_column
from switchbench.laws import Observations
from switchbench.laws.points import Floats

ONE_KIND = {
    "tokenizer": "nll per token of different tokenizers cannot be compared; keep one, or fit bits per byte with "
    "--columns loss=bits_per_byte",
    "data_fingerprint": "losses on different text cannot be compared; keep one",
}
"""Columns in which all rows must agree, and what to do where they do not."""
UNNEEDED: tuple[Role, ...] = ("seed", "total")
"""What a row may lack, and be fitted all the same."""
EVALUATED_WITH = "eval_capacity_factor"
"""The column of the capacity factor in evaluation, which alone moves the loss of a sparse model."""
DROPLESS = ("nll", "bits_per_byte")
"""Columns of our own runs on which it has no influence."""
NOT_ABOVE = "is not above 0"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Rows that are left out for the same reason."""

    reason: str
    """Why."""
    count: int
    """How many."""
    is_filtered: bool
    """Whether the caller's own filter did it."""


@dataclass(frozen=True, kw_only=True)
class UsedRows:
    """What is left of a table."""

    observations: Observations
    """The rows."""
    index: tuple[int, ...]
    """Which rows of the table these are, from 0."""
    num_read: int
    """Rows of the table."""
    left_out: tuple[LeftOut, ...]
    """The others, by reason."""
    total: Floats | None = None
    """All parameters of each of the rows, NaN where not known; None: of none."""

    @property
    def sha256(self) -> str:
        """A hash of what the law is fitted to, whatever the order of the rows."""
        rows = self.observations
        arrays = (rows.n, rows.experts, rows.d, rows.loss, rows.seed, rows.group, self.total)
        columns = [np.zeros(len(rows)) if array is None else np.asarray(array, dtype=np.float64) for array in arrays]
        known = bytes(array is not None for array in arrays)
        ordered = np.stack(columns)[:, np.lexsort(columns)]
        return hashlib.sha256(known + np.ascontiguousarray(ordered, dtype="<f8").tobytes()).hexdigest()


def use_rows(
    table: pa.Table, columns: Mapping[Role, Column], *, where: str | None = None, group_by: str | None = None
) -> UsedRows:
    """Filter a table, and leave out what cannot be used.

    Args:
        table: The table.
        columns: Where N, E, D, the loss and the seed come from.
        where: A filter over its columns, such as ``k == 1 and (router_type == 'Dense' or seed == 42)``. A row in which
            a value that decides is null is left out: null is smaller or larger than nothing.
        group_by: A column whose values are the groups of rows that vary together.

    Raises:
        TableError: a column is not there, or rows cannot be compared.
        ExpressionError: the filter cannot be read, or is not true or false.
    """
    names = table.column_names
    reasons: Counter[tuple[str, bool]] = Counter()
    kept = list(range(table.num_rows))
    if where is not None:
        kept = _filter(table, where, reasons=reasons)
    if group_by is not None:
        require_column(group_by, names=names, where=f"--group-by {group_by}")
    values = {role: _values(table, column, kept) for role, column in columns.items() if role not in UNNEEDED}
    good, numbers = [], {role: np.empty(len(kept)) for role in values}
    for i in range(len(kept)):
        problem = None
        for role, column in values.items():
            number, problem = _positive(column[i])
            if role == "e" and (problem == NOT_ABOVE or number < 1):
                problem = f"is below 1; dense is 1: --columns e=max({columns[role].text}, 1)"
            if problem is not None:
                reasons[f"{columns[role].text} {problem}", False] += 1
                break
            numbers[role][i] = number
        if problem is None:
            good.append(i)
    taken = np.array(good, dtype=np.intp)
    index = tuple(kept[i] for i in good)
    _require_one_kind(table, index, loss=columns["loss"])
    _require_one_evaluation(table, index, columns=columns)
    groups = None if group_by is None else _codes(_plain(table, group_by, index))
    seeds = None if "seed" not in columns else _codes(_plain(table, columns["seed"].text, index))
    return UsedRows(
        observations=Observations(
            n=numbers["n"][taken],
            loss=numbers["loss"][taken],
            e=numbers["e"][taken] if "e" in numbers else None,
            d=numbers["d"][taken] if "d" in numbers else None,
            seed=seeds,
            group=groups,
        ),
        index=index,
        total=_totals(table, columns.get("total"), index),
        num_read=table.num_rows,
        left_out=tuple(
            LeftOut(reason=reason, count=count, is_filtered=is_filtered)
            for (reason, is_filtered), count in reasons.most_common()
        ),
    )


def _totals(table: pa.Table, column: Column | None, index: tuple[int, ...]) -> Floats | None:
    if column is None:
        return None
    checked = [_positive(value) for value in _values(table, column, list(index))]
    return np.array([number if problem is None else math.nan for number, problem in checked], dtype=np.float64)


def _filter(table: pa.Table, where: str, *, reasons: Counter[tuple[str, bool]]) -> list[int]:
    expression = parse_expression(where)
    for name in expression.names:
        require_column(name, names=table.column_names, where=f"--where {where}")
    kept = []
    for i, row in enumerate(_mappings(table, expression.names)):
        try:
            decision = expression.evaluate(row)
        except ExpressionError:
            missing = [name for name, value in row.items() if value is None]
            if not missing:
                raise
            if expression.holds(row):
                kept.append(i)
            else:
                reasons[f"{missing[0]} is missing, which --where asks for", False] += 1
            continue
        if not isinstance(decision, bool):
            raise ExpressionError("a filter is to be true or false of every row", expression=where, column=1)
        if decision:
            kept.append(i)
        else:
            reasons["--where", True] += 1
    return kept


def _values(table: pa.Table, column: Column, rows: list[int]) -> list[Any]:
    if column.expression is not None:
        return _evaluated(table, column.expression, rows)
    if column.text in table.column_names:
        return _plain(table, column.text, rows)
    active, norm, embedding, tied = (_plain(table, name, rows) for name in OURS[:4])
    return [
        None if None in (a, b, c, is_tied) else a - b - (0 if is_tied else c)
        for a, b, c, is_tied in zip(active, norm, embedding, tied, strict=True)
    ]


def _evaluated(table: pa.Table, expression: Expression, rows: list[int]) -> list[Any]:
    values: list[Any] = []
    for row in _mappings(table.take(rows), expression.names):
        missing = any(value is None for value in row.values())
        values.append(None if missing else expression.evaluate(row))
    return values


def _mappings(table: pa.Table, names: Mapping[str, int]) -> list[dict[str, Any]]:
    columns = [_listed(table, name) for name in names]
    if not columns:
        return [{} for _ in range(table.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(table: pa.Table, name: str, rows: list[int] | tuple[int, ...]) -> list[Any]:
    values = _listed(table, name)
    return [values[i] for i in rows]


def _listed(table: pa.Table, name: str) -> list[Any]:
    """Give a column's values; text of another encoding than UTF-8, which comes as bytes, as text all the same."""
    values = table.column(name).to_pylist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def _positive(value: Any) -> tuple[float, str | None]:
    """Give a value as a positive number, or what is wrong with it."""
    if value is None or value == "":
        return math.nan, "is missing"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan, "is no number"
    if math.isnan(number):
        return number, "is not a number (NaN)"
    if math.isinf(number):
        return number, "is infinite"
    return number, None if number > 0 else NOT_ABOVE


def _codes(values: list[Any]) -> NDArray[np.int64]:
    """Number values, the same ones alike whatever their order."""
    numbers = {text: i for i, text in enumerate(sorted({str(value) for value in values}))}
    return np.array([numbers[str(value)] for value in values], dtype=np.int64)


def _require_one_kind(table: pa.Table, index: tuple[int, ...], *, loss: Column) -> None:
    for name, advice in ONE_KIND.items():
        if name not in table.column_names or "bits_per_byte" in loss.names:
            continue
        kinds = sorted({str(value) for value in _plain(table, name, index)})
        if len(kinds) > 1:
            shown = ", ".join(kinds[:5]) + (" and more" if len(kinds) > 5 else "")
            raise TableError(f"the rows differ in {name} ({shown}): {advice}: --where \"{name} == '{kinds[0]}'\"")


def _require_one_evaluation(table: pa.Table, index: tuple[int, ...], *, columns: Mapping[Role, Column]) -> None:
    names, loss = table.column_names, columns["loss"].names
    is_ours = set(OURS) <= set(names)
    if EVALUATED_WITH not in names or (is_ours and set(loss) <= set(DROPLESS)):
        return
    factors = _plain(table, EVALUATED_WITH, index)
    if "e" in columns:  # a dense model has no capacity, whatever stands there
        experts = _values(table, columns["e"], list(index))
        factors = [factor for factor, e in zip(factors, experts, strict=True) if float(e) > 1]
    kinds = sorted({"null" if factor is None else str(factor) for factor in factors})
    if len(kinds) > 1:
        dense = f" or {columns['e'].text} == 1" if "e" in columns else ""
        instead = ", or fit nll, which is dropless: --columns loss=nll" if is_ours else ""
        raise TableError(
            f"the rows differ in {EVALUATED_WITH} ({', '.join(kinds)}), and the capacity in evaluation alone moves the "
            f'loss: keep one: --where "{EVALUATED_WITH} == {kinds[0]}{dense}"{instead}'
        )
