"""The law of loss of a sweep, as it was stored with the report: its runs and its parameters again, not another fit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from switchbench.errors import SwitchbenchError
from switchbench.fitting.columns import find_columns
from switchbench.fitting.rows import use_rows
from switchbench.laws import LawFit, form_named, parse_loss
from switchbench.laws.fit import bounds_of
from switchbench.record import RunRecord
from switchbench.report.figures.evidence import Evidence
from switchbench.store.schemas import arrow_schema

_AT_BOUND = 1e-6
"""An internal parameter nearer to its bound than this is at it: it went through its natural scale and back."""


@dataclass(frozen=True, kw_only=True)
class SweepLaw:
    """The law of a sweep."""

    fit: LawFit
    """The law with its parameters and the annealed points that it was fitted to."""
    formula: str
    """How it is written."""
    config_ids: frozenset[str]
    """The configurations whose points these are."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


def law_of(evidence: Evidence) -> SweepLaw | None:
    """Take up the law that was fitted to a sweep; None where none was.

    Args:
        evidence: What the figures are drawn from.
    """
    for answer in evidence.fits:
        natural = {name: each["value"] for name, each in answer["parameters"].items()}
        if any(value is None for value in natural.values()):
            continue
        rows = [row.model_dump() for row in _rows(evidence)]
        table = pa.Table.from_pylist(rows, schema=arrow_schema(RunRecord))
        try:
            used = use_rows(table, find_columns(table.column_names, {}), where=answer["rows"]["where"])
        except SwitchbenchError:
            continue
        law = form_named(answer["law"], saturating="E_max" in natural)
        center = used.observations.center
        internal = law.internal(np.array([[natural[each.name] for each in law.parameters]]), center)[0]
        for bound in bounds_of(law):
            internal = np.where(np.abs(internal - bound) < _AT_BOUND, bound, internal)
        fit = LawFit(
            law=law,
            observations=used.observations,
            center=center,
            loss=parse_loss(answer["loss"]),
            internal=internal,
            objective=answer["objective"],
            has_converged=answer["has_converged"],
            minima=internal[None],
            minima_objectives=np.array([answer["objective"]]),
        )
        return SweepLaw(
            fit=fit,
            formula=answer["formula"],
            config_ids=frozenset(rows[i]["config_id"] for i in used.index),
            caveats=tuple(answer["caveats"]),
        )
    return None


def _rows(evidence: Evidence) -> Iterator[RunRecord]:
    for configuration in evidence.configurations:
        for seed, end in configuration.ends.items():
            yield from configuration.earlier.get(seed, ())
            yield end
