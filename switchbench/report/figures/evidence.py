"""What the figures of a sweep are drawn from: its configurations and pairs, and the curves of a few runs."""

from dataclasses import dataclass
from typing import Any

from switchbench.compare import Configuration, Pair, Scaling
from switchbench.record import StepRecord
from switchbench.report.elements import SweepReport
from switchbench.store import read_curve


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the figures of one sweep are drawn from."""

    sweep: str
    """Name of the sweep."""
    configurations: tuple[Configuration, ...]
    """Its configurations with a run that went well."""
    pairs: tuple[Pair, ...]
    """The pairs of twins among them that share a seed that went well."""
    leading: Pair | None
    """The pair that the report's verdict is about, which is shown where one pair is; None: there is none."""
    scaling: tuple[Scaling, ...]
    """How its costs grow with all parameters."""
    fits: tuple[dict[str, Any], ...]
    """The laws of loss that were fitted to it, as ``SweepReport`` has them."""
    curves: dict[str, tuple[StepRecord, ...]]
    """The curves of the runs of the leading pair, or of one sparse configuration where there is no pair; by run."""


def gather_evidence(report: SweepReport) -> Evidence:
    """Gather what the figures of a sweep need from its report; only a few curves are read anew.

    Args:
        report: The report of the sweep.
    """
    finished = tuple(configuration for configuration in report.configurations if configuration.finished)
    compared = tuple(pair for pair in report.pairs if pair.measured("delta_nll").value is not None)
    told = report.verdict.pair
    leading = next((pair for pair in compared if told is not None and _ids(pair) == _ids(told)), None)
    sparse = [configuration for configuration in finished if configuration.role == "sparse"]
    shown = [leading.dense, leading.sparse] if leading is not None else sparse[:1]
    return Evidence(
        sweep=report.name,
        configurations=finished,
        pairs=compared,
        leading=leading,
        scaling=report.scaling,
        fits=report.fits,
        curves={
            end.run_id: tuple(read_curve(report.folder, end.run_id))
            for configuration in shown
            for end in configuration.finished.values()
        },
    )


def _ids(pair: Pair) -> tuple[str, str, tuple[str, ...]]:
    return pair.sparse.config_id, pair.dense.config_id, pair.matched_on
