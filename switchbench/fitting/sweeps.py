"""The law that is fitted to a sweep where nobody chose one: by what its runs differ in."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from switchbench.errors import ResultsFolderError, SwitchbenchError
from switchbench.fitting.columns import find_columns
from switchbench.fitting.request import FitRequest, fit_table
from switchbench.fitting.rows import use_rows
from switchbench.fitting.storage import find_fit, signed_json, store_fit
from switchbench.laws import LawName, Observations
from switchbench.laws.sizes import sizes_of
from switchbench.record import RunRecord
from switchbench.store import SweepFolder
from switchbench.store.schemas import arrow_schema, table_of_json

RESAMPLES, FEWER = 60, 20
"""Of the bootstrap: a report shows what is at a bound, or falls apart; its intervals rest on formulas."""
MANY_ROWS = 600
"""From so many rows on fewer resamples are drawn: each takes longer, and less falls apart."""
ROUTING = (
    "router", "top_k", "capacity_factor", "switch_layer_frequency", "normalize_gates", "shared_experts", "balance",
    "aux_loss_weight", "balance_bias_rate", "router_z_loss_weight", "expert_dropout", "router_jitter",
    "router_init_scale", "gate_scale",
)  # fmt: skip
"""What sparse models of one law have in common: it knows only their size and their number of experts."""


@dataclass(frozen=True, kw_only=True)
class SweepFit:
    """The law of a sweep, or what its runs lack for one."""

    answer: dict[str, Any] | None
    """The whole answer, see ``fit_json``; None: none can be fitted."""
    reason: str
    """Why this law, or why none."""
    rows: tuple[RunRecord, ...] = ()
    """The runs that it is fitted to."""


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The runs that a law is fitted to, and the law."""

    rows: tuple[RunRecord, ...]
    where: str | None
    law: LawName
    reason: str


def fit_sweep(folder: SweepFolder, runs: Sequence[RunRecord]) -> SweepFit:
    """Fit the law that a sweep's runs allow; the answer is stored in its folder, and taken from there the next time.

    Args:
        folder: The sweep's folder.
        runs: Its rows, earlier annealed points included; without tries, and without what is no longer asked for.
    """
    choice = _choose(runs)
    if isinstance(choice, str):
        return SweepFit(answer=None, reason=f"No law of loss is fitted: {choice}")
    resamples = RESAMPLES if len(choice.rows) < MANY_ROWS else FEWER
    request = FitRequest(path=folder.path, law=choice.law, where=choice.where, resamples=resamples, is_alone=True)
    try:
        table = table_of_json((row.model_dump_json() for row in runs), arrow_schema(RunRecord))
        used = use_rows(table, find_columns(table.column_names, {}), where=choice.where)
        stored = find_fit(folder.path, fit_id=request.fit_id, rows_sha256=used.sha256)
        if stored is not None:
            return SweepFit(answer=stored, reason=choice.reason, rows=choice.rows)
        answer = fit_table(request, table=table)
    except SwitchbenchError as error:
        return SweepFit(answer=None, reason=f"No law of loss is fitted: {str(error).splitlines()[0]}")
    content = signed_json(answer)
    with contextlib.suppress(ResultsFolderError):  # a folder that can only be read is reported on all the same
        store_fit(folder.path, content)
    return SweepFit(answer=content, reason=choice.reason, rows=choice.rows)


def _choose(runs: Sequence[RunRecord]) -> _Choice | str:
    """Choose the runs and the law by what varies; or say what is missing."""
    rows = [row for row in runs if row.nll is not None and math.isfinite(row.nll) and row.nll > 0 and row.tokens_seen]
    rows, conditions = _alike(rows)
    has_experts = len({row.num_experts for row in rows}) > 1
    lengths = sorted({float(row.tokens_seen or 0) for row in rows})
    if len(lengths) == 2:  # too few for a law of them: the longer runs alone
        rows = [row for row in rows if row.tokens_seen == lengths[-1]]
        conditions.append(f"tokens_seen == {lengths[-1]:.0f}")
    has_tokens = len(lengths) > 2
    law: LawName = "routed" if has_experts else "power"
    if has_tokens:
        law = "routed-data" if has_experts else "chinchilla"
    least, sizes = (2 if law == "power" else 3), _count_sizes(rows)
    if sizes < least:
        found = f"these are of {sizes}" if sizes != 1 else "these are all of one"
        return f"that takes runs of at least {least} sizes, and {found} (a sparse model is of its dense twin's size)."
    varying = [name for name, varies in (("size", True), ("experts", has_experts), ("tokens", has_tokens)) if varies]
    listed = " and ".join([", ".join(varying[:-1]), varying[-1]] if len(varying) > 1 else varying)
    return _Choice(
        rows=tuple(rows),
        where=" and ".join(conditions) or None,
        law=law,
        reason=f"{law}, as the runs differ in {listed}",
    )


def _alike(rows: list[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """Keep the sparse runs of the routing that has the most sizes, then rows; and say which, as conditions."""
    families: dict[tuple[Any, ...], list[RunRecord]] = {}
    for row in rows:
        if row.ffn_kind != "dense":
            families.setdefault(tuple(getattr(row, name) for name in ROUTING), []).append(row)
    if len(families) < 2:
        return rows, []
    chosen = max(families, key=lambda family: (_count_sizes(families[family]), len(families[family])))
    differing = [i for i in range(len(ROUTING)) if len({family[i] for family in families}) > 1]
    conditions = " and ".join(f"{ROUTING[i]} == {_literal(chosen[i])}" for i in differing)
    kept = [row for row in rows if row.ffn_kind == "dense" or tuple(getattr(row, name) for name in ROUTING) == chosen]
    return kept, [f"(ffn_kind == 'dense' or {conditions})"]


def _count_sizes(rows: Sequence[RunRecord]) -> int:
    n = np.array([matmul_parameters(row) for row in rows], dtype=np.float64)
    experts = np.array([row.num_experts for row in rows], dtype=np.float64)
    return sizes_of(Observations(n=n, e=experts, loss=np.ones(len(rows)))).number if rows else 0


def matmul_parameters(row: RunRecord) -> int:
    """N of a run: matmul parameters that a token meets, router and output projection in, embedding lookup out."""
    return row.params_active - row.params_norm - (0 if row.tied_output else row.params_embedding)


def _literal(value: Any) -> str:
    """Write a value as filters do."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value)
