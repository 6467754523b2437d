"""What a report is told: the pair that its verdict is about, what a verdict takes, and the controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from switchbench.spec import RunSpec, SparseFFNSpec
from switchbench.sweep.controls import ControlPair, read_controls
from switchbench.sweep.document import BROKEN, Entry, Node, describe
from switchbench.sweep.entries import known_entries
from switchbench.sweep.formulas import Dropped
from switchbench.sweep.selection import find_selected, read_selection
from switchbench.sweep.source import Findings, Place, did_you_mean
from switchbench.sweep.twins import BASELINES, Baseline

REPORT_KEYS = ["primary", "min_effect", "confidence", "controls"]
PRIMARY_KEYS = ["sparse", "dense"]
MIN_EFFECT = 0.005
"""The smallest difference in quality that matters, as a share of the dense twin's, where the file does not say."""
CONFIDENCE = 0.95
"""How sure a verdict must be, where the file does not say."""
BOUNDS: dict[Literal["min_effect", "confidence"], tuple[float, float]] = {
    "min_effect": (0.0, 1.0),
    "confidence": (0.5, 1.0),
}
"""Above what and below what these must be."""
EXAMPLE = "{sparse: {num_experts: 16}, dense: iso_flop}"


@dataclass(frozen=True, kw_only=True)
class PrimaryPair:
    """The pair as the file names it."""

    place: Place
    """Where it stands."""
    sparse: dict[str, Node]
    """Fields and their values, which one sparse configuration alone has; by path."""
    dense: Baseline
    """The baseline that makes its dense twin."""


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The pair as it was found."""

    sparse: str
    """The ``config_id`` of the sparse configuration."""
    dense: str
    """The ``config_id`` of its dense twin."""
    matched_on: Baseline
    """What the two have in common."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """What ``report`` says."""

    primary: PrimaryPair | None = None
    """The pair; None: none is named."""
    min_effect: float = MIN_EFFECT
    """The smallest difference that matters."""
    confidence: float = CONFIDENCE
    """How sure a verdict must be."""
    controls: tuple[ControlPair, ...] = ()
    """Pairs whose outcome is known beforehand."""


def read_report(entry: Entry, *, baselines: Mapping[Baseline, Place], findings: Findings) -> ReportSettings:
    """Read ``report``.

    Args:
        entry: The entry.
        baselines: The sweep's baselines.
        findings: Takes the problems.
    """
    report = known_entries(entry.node, REPORT_KEYS, label="report", doubtful=set(), findings=findings) or {}
    primary = _read_primary(report["primary"], baselines=baselines, findings=findings) if "primary" in report else None
    min_effect, confidence = (
        _read_share(key, report[key].node, findings=findings) if key in report else None for key in BOUNDS
    )
    return ReportSettings(
        primary=primary,
        min_effect=MIN_EFFECT if min_effect is None else min_effect,
        confidence=CONFIDENCE if confidence is None else confidence,
        controls=read_controls(report["controls"], findings=findings) if "controls" in report else (),
    )


def _read_share(key: Literal["min_effect", "confidence"], node: Node, *, findings: Findings) -> float | None:
    """Read a number between two bounds."""
    low, high = BOUNDS[key]
    value = node.value
    if value is BROKEN:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < high:
        findings.add(
            node.place, f"report.{key} must be a number above {low:g} and below {high:g}, got {describe(node)}"
        )
        return None
    return float(value)


def _read_primary(primary: Entry, *, baselines: Mapping[Baseline, Place], findings: Findings) -> PrimaryPair | None:
    parts = known_entries(primary.node, PRIMARY_KEYS, label="report.primary", doubtful=set(), findings=findings)
    if parts is None:
        return None
    for key in PRIMARY_KEYS:
        if key not in parts:
            findings.add(primary.place, f"report.primary lacks the key {key}; it is such as {EXAMPLE}")
    sparse = {}
    if "sparse" in parts:
        node = parts["sparse"].node
        sparse = read_selection(node, label="report.primary.sparse", example=EXAMPLE, findings=findings)
    dense = _read_dense(parts["dense"].node, baselines=baselines, findings=findings) if "dense" in parts else None
    return None if dense is None else PrimaryPair(place=primary.place, sparse=sparse, dense=dense)


def find_primary(
    pair: PrimaryPair,
    specs: Sequence[RunSpec],
    *,
    dropped: Sequence[Dropped],
    axes: Sequence[str],
    twins: Mapping[str, Mapping[Baseline, RunSpec]],
    findings: Findings,
) -> Primary | None:
    """Find the pair among the configurations; None, with a problem found, where there is not exactly one.

    Args:
        pair: The pair as the file names it.
        specs: The configurations.
        dropped: The configurations that constraints keep out, for the message.
        axes: Paths of the swept fields.
        twins: The dense twins, by the ``config_id`` of the sparse configuration and the baseline.
        findings: Takes the problems.
    """
    sparse = [spec for spec in specs if isinstance(spec.model.ffn, SparseFFNSpec)]
    found = find_selected(
        pair.sparse,
        sparse,
        place=pair.place,
        label="report.primary",
        noun="sparse configuration",
        dropped=dropped,
        axes=axes,
        findings=findings,
    )
    if found is None:
        return None
    config_id = found.config_id
    return Primary(sparse=config_id, dense=twins[config_id][pair.dense].config_id, matched_on=pair.dense)


def _read_dense(node: Node, *, baselines: Mapping[Baseline, Place], findings: Findings) -> Baseline | None:
    chosen = next((name for name in BASELINES if name == node.value), None)
    if chosen is None:
        if node.value is not BROKEN:
            suggestion = did_you_mean(node.value, BASELINES) if isinstance(node.value, str) else ""
            message = f"report.primary.dense must be a baseline ({', '.join(BASELINES)}), got {describe(node)}"
            findings.add(node.place, message + ("." + suggestion if suggestion else ""))
        return None
    if chosen not in baselines:
        findings.add(node.place, f"report.primary.dense: {chosen} is none of the sweep's baselines; add it there")
        return None
    return chosen
