"""What a sweep's verdict is about and what it takes: ``report.primary``, ``min_effect`` and ``confidence``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from switchbench.spec import RunSpec, SparseFFNSpec
from switchbench.sweep.document import BROKEN, Entry, Node, describe, has_broken, plain
from switchbench.sweep.entries import as_written, known_entries
from switchbench.sweep.fields import FIELDS, value_at
from switchbench.sweep.formulas import Dropped
from switchbench.sweep.names import SHORT_NAMES, path_of
from switchbench.sweep.source import Findings, Place, did_you_mean
from switchbench.sweep.twins import BASELINES, Baseline
from switchbench.sweep.values import check_value

REPORT_KEYS = ["primary", "min_effect", "confidence"]
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
    sparse = _read_sparse(parts["sparse"].node, findings=findings) if "sparse" in parts else {}
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
    left = sparse
    for path, node in pair.sparse.items():
        matching = [spec for spec in left if value_at(spec, path) == plain(node)]
        if not matching:
            others = dict.fromkeys(repr(value_at(spec, path)) for spec in left)
            there = f"; there: {', '.join(list(others)[:10])}" if others else ""
            message = f"report.primary: no such sparse configuration has {path} {as_written(node)}{there}"
            findings.add(node.place, message + _dropped_as(pair, dropped))
            return None
        left = matching
    if len(left) > 1:
        varying = [path for path in axes if len({repr(value_at(spec, path)) for spec in left}) > 1]
        which = f"; say which, by {' and '.join(varying)}" if varying else ""
        findings.add(
            pair.place, f"report.primary must name one sparse configuration, and this names {len(left)}{which}"
        )
    if len(left) != 1:
        return None
    config_id = left[0].config_id
    return Primary(sparse=config_id, dense=twins[config_id][pair.dense].config_id, matched_on=pair.dense)


def _dropped_as(pair: PrimaryPair, dropped: Sequence[Dropped]) -> str:
    """Say that a constraint drops what the pair names, if one does."""
    wanted = {path: plain(node) for path, node in pair.sparse.items()}
    for each in dropped:
        if all(each.settings.get(path, value) == value for path, value in wanted.items()):
            return f". A constraint drops it: {each.reason}"
    return ""


def _read_sparse(node: Node, *, findings: Findings) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        if node.value is not BROKEN:
            message = f"report.primary.sparse must be a mapping of fields to values, as in {EXAMPLE}"
            findings.add(node.place, f"{message}, got {describe(node)}")
        return {}
    values = {}
    for name, entry in node.value.items():
        path = path_of(name)
        if path is None:
            suggestion = did_you_mean(name, [*SHORT_NAMES, *FIELDS])
            findings.add(entry.place, f"report.primary.sparse: {name} is not a field.{suggestion}")
        elif path in values:
            findings.add(entry.place, f"report.primary.sparse names {path} twice")
        elif not has_broken(entry.node) and check_value(FIELDS[path], entry.node, findings=findings):
            values[path] = entry.node
    return values


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
