"""Which columns of a table hold N, E, D, the loss, the seed and all parameters."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from switchbench.errors import ExpressionError, TableError, UsageError
from switchbench.expressions import Expression, parse_expression

Role = Literal["n", "e", "d", "loss", "seed", "total"]
ROLES: tuple[Role, ...] = get_args(Role)
MEANINGS: dict[Role, str] = {
    "n": "parameters that one token meets (N)",
    "e": "experts (E), 1 where dense",
    "d": "training tokens (D)",
    "loss": "held-out loss in nats per token",
    "seed": "seed",
    "total": "all parameters",
}
USUAL: dict[Role, tuple[str, ...]] = {
    "n": ("n", "dense_parameter_count", "params_active", "active_params", "params", "num_params", "n_params"),
    "e": ("num_experts", "experts", "n_experts", "e"),
    "d": ("tokens_seen", "tokens", "training_tokens", "num_tokens", "n_tokens", "d"),
    "loss": ("nll", "loss", "loss_validation", "validation_loss", "val_loss", "eval_loss", "final_loss"),
    "seed": ("seed",),
    "total": ("params_total", "total_parameter_count", "total_params"),
}
"""Names that are taken for a role where none is given, whatever their case, the first that a table has."""

OURS = ("params_active", "params_norm", "params_embedding", "tied_output", "data_fingerprint")
"""Columns that tell a table of our own runs."""
OUR_N = "params_active - params_norm, without params_embedding unless tied_output"
"""Of our own runs: matmul parameters that a token meets, router and output projection in, embedding lookup out."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Where the values of a role come from."""

    role: Role
    """What they are."""
    text: str
    """A column's name, or an expression of columns."""
    expression: Expression | None
    """The expression; None: it is a column."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.text,) if self.expression is None else tuple(self.expression.names)


def parse_columns(text: str) -> dict[Role, str]:
    """Read ``n=dense_parameter_count,e=num_experts,loss=loss_validation``.

    Raises:
        UsageError: it is not of this kind.
    """
    given: dict[Role, str] = {}
    for part in filter(None, map(str.strip, re.split(r",(?![^()]*\))", text))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        role = next((role for role in ROLES if role == name.lower()), None)
        if role is None or not equals or not value:
            raise UsageError(
                f"--columns: {part!r} is not of the form ROLE=COLUMN; roles are {', '.join(ROLES)}, such as "
                "n=dense_parameter_count,e=num_experts,loss=loss_validation"
            )
        if role in given:
            raise UsageError(f"--columns: {role} is given twice, as {given[role]!r} and as {value!r}")
        given[role] = value
    return given


def find_columns(names: Sequence[str], given: Mapping[Role, str]) -> dict[Role, Column]:
    """Find where the values of each role come from: as given, else by the usual names.

    Args:
        names: The table's columns.
        given: Columns by role; an expression such as ``params_millions * 1e6`` is one as well.

    Raises:
        TableError: a column is not there, or there is none for N or for the loss; says what the table has.
    """
    found: dict[Role, Column] = {}
    for role in ROLES:
        if role in given:
            found[role] = _given(role, given[role], names=names)
        elif role == "n" and set(OURS) <= set(names):
            found[role] = Column(role=role, text=OUR_N, expression=None)
        elif (usual := _usual(role, names)) is not None:
            found[role] = Column(role=role, text=usual, expression=None)
    for role in ("n", "loss"):
        if role not in found:
            raise TableError(
                f"no column is known to hold the {MEANINGS[role]}; name it with --columns {role}=COLUMN. "
                f"The table has {_list(names)}"
            )
    return found


def require_column(name: str, *, names: Sequence[str], where: str) -> None:
    """Refuse a name that is no column.

    Raises:
        TableError: it is none; says which ones there are, and the one that was meant.
    """
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    hint = f" Did you mean {close[0]!r}?" if close else f" The table has {_list(names)}"
    raise TableError(f"{where}: the table has no column {name!r}.{hint}")


def _given(role: Role, text: str, *, names: Sequence[str]) -> Column:
    if text in names:
        return Column(role=role, text=text, expression=None)
    where = f"--columns {role}={text}"
    if text.replace("_", "a").replace(".", "a").isalnum() and not text[0].isdigit():
        require_column(text, names=names, where=where)
    try:
        expression = parse_expression(text)
    except ExpressionError:
        require_column(text, names=names, where=where)
        raise
    for name in expression.names:
        require_column(name, names=names, where=where)
    return Column(role=role, text=text, expression=expression)


def _usual(role: Role, names: Sequence[str]) -> str | None:
    by_case = {name.strip().lower(): name for name in reversed(names)}
    return next((by_case[name] for name in USUAL[role] if name in by_case), None)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:40])
    return f"{shown} and {len(names) - 40} more" if len(names) > 40 else shown or "no columns"
