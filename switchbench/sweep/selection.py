"""One configuration of a sweep, named by values that it alone has."""

from collections.abc import Mapping, Sequence

from switchbench.spec import RunSpec
from switchbench.sweep.document import BROKEN, Node, describe, has_broken, plain
from switchbench.sweep.entries import as_written
from switchbench.sweep.fields import FIELDS, KIND, value_at
from switchbench.sweep.formulas import Dropped
from switchbench.sweep.names import SHORT_NAMES, path_of
from switchbench.sweep.source import Findings, Place, did_you_mean
from switchbench.sweep.values import check_value


def read_selection(node: Node, *, label: str, example: str, findings: Findings) -> dict[str, Node]:
    """Read fields and their values, by path; those with a problem are left out.

    Args:
        node: The mapping.
        label: What it is called in messages.
        example: What it is a part of, as it could be.
        findings: Takes the problems.
    """
    if not isinstance(node.value, dict):
        if node.value is not BROKEN:
            message = f"{label} must be a mapping of fields to values, as in {example}"
            findings.add(node.place, f"{message}, got {describe(node)}")
        return {}
    values = {}
    for name, entry in node.value.items():
        path = path_of(name)
        if path is None:
            suggestion = did_you_mean(name, [*SHORT_NAMES, *FIELDS])
            findings.add(entry.place, f"{label}: {name} is not a field.{suggestion}")
        elif path in values:
            findings.add(entry.place, f"{label} names {path} twice")
        elif not has_broken(entry.node) and check_value(FIELDS[path], entry.node, findings=findings):
            values[path] = entry.node
    return values


def find_selected(
    values: Mapping[str, Node],
    specs: Sequence[RunSpec],
    *,
    place: Place,
    label: str,
    noun: str,
    dropped: Sequence[Dropped],
    axes: Sequence[str],
    findings: Findings,
) -> RunSpec | None:
    """Find the one configuration that has some values; None, with a problem found, where there is not exactly one.

    Args:
        values: The values, by path.
        specs: The configurations that may be meant.
        place: Where the values stand.
        label: What they are called in messages.
        noun: What is to be found.
        dropped: The configurations that constraints keep out, for the message.
        axes: Paths of the swept fields.
        findings: Takes the problems.
    """
    left = list(specs)
    for path, node in values.items():
        having = [spec for spec in left if spec.model.ffn.kind in FIELDS[path].kinds]
        matching = [spec for spec in having if value_at(spec, path) == plain(node)]
        if not matching:
            others = dict.fromkeys(repr(value_at(spec, path)) for spec in having)
            there = f"; there: {', '.join(list(others)[:10])}" if others else ""
            message = f"{label}: no such {noun} has {path} {as_written(node)}{there}"
            findings.add(node.place, message + _dropped_as(values, dropped))
            return None
        left = matching
    if len(left) == 1:
        return left[0]
    varying = [path for path in dict.fromkeys((KIND, *axes)) if len({repr(value_at(spec, path)) for spec in left}) > 1]
    which = f"; say which, by {' and '.join(varying)}" if varying else ""
    findings.add(place, f"{label} must name one {noun}, and this names {len(left)}{which}")
    return None


def _dropped_as(values: Mapping[str, Node], dropped: Sequence[Dropped]) -> str:
    """Say that a constraint drops what is named, if one does."""
    wanted = {path: plain(node) for path, node in values.items()}
    for each in dropped:
        if all(each.settings.get(path, value) == value for path, value in wanted.items()):
            return f". A constraint drops it: {each.reason}"
    return ""
