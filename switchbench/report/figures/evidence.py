"""What the figures of a sweep are drawn from: its configurations and pairs, and the curves of a few runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from switchbench.compare import Configuration, Pair, Scaling, sort_kinds
from switchbench.record import StepRecord
from switchbench.report.elements import SweepReport
from switchbench.store import PrimaryPair, read_curve


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
    """The pair that is shown where one pair is; None: there is none."""
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
    leading = leading_pair(compared, primary=report.primary)
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


def leading_pair(pairs: Sequence[Pair], *, primary: PrimaryPair | None) -> Pair | None:
    """Choose the pair that a figure of one pair shows, as the summary does.

    It is the pair that the sweep file names; else, of those of equal FLOPs (or of the next way to match), the one that
    gains most over its own twin, with pairs without runs that diverged before all others.

    Args:
        pairs: The pairs that share a seed that went well.
        primary: The pair that the sweep file names.
    """
    if not pairs:
        return None
    for pair in pairs:
        if (
            primary is not None
            and (pair.sparse.config_id, pair.dense.config_id) == (primary.sparse, primary.dense)
            and primary.matched_on in pair.matched_on
        ):
            return pair
    first = sort_kinds({pair.matched_on[0] for pair in pairs})[0]
    candidates = [pair for pair in pairs if pair.matched_on[0] == first]
    return min(candidates, key=lambda pair: (bool(pair.sparse.diverged or pair.dense.diverged), _difference(pair)))


def _difference(pair: Pair) -> float:
    value = pair.measured("delta_nll").value
    assert value is not None, "only pairs that are compared are asked for"
    return value
