"""The entries of a mapping and the items of a list, as far as they can be used; the others are reported."""

from collections.abc import Sequence

from switchbench.sweep.document import BROKEN, Entry, Node, describe, plain
from switchbench.sweep.fields import SECTIONS, explain_unknown
from switchbench.sweep.source import Findings


def known_entries(
    node: Node, allowed: Sequence[str], *, label: str, doubtful: set[str], findings: Findings
) -> dict[str, Entry] | None:
    """The entries of a mapping with allowed keys; None, with a problem found, where it is no mapping.

    Args:
        node: The mapping.
        allowed: Its keys.
        label: What the mapping is called in messages; empty: the whole file.
        doubtful: Takes the fields that unknown keys probably stand for.
        findings: Takes the problems.
    """
    if not isinstance(node.value, dict):
        if node.value is not BROKEN:
            what = label or "a sweep file"
            findings.add(node.place, f"{what} must be a mapping ({', '.join(allowed)}), got {describe(node)}")
        return None
    known = {}
    for key, entry in node.value.items():
        if key in allowed:
            known[key] = entry
            continue
        in_base = label == "base" or label in SECTIONS
        explanation, meant = explain_unknown(key, allowed=list(allowed), outside_base=not in_base)
        shown = f"{label}.{key}".removeprefix(".")
        findings.add(entry.place, f"{shown} is not a {'field' if in_base else 'key'}. {explanation}")
        doubtful.update([meant] if meant else [])
    return known


def items_of(node: Node, *, label: str, what: str, example: str, findings: Findings) -> list[Node] | None:
    """The items of a list that must not be empty; None, with a problem found, where it is not one."""
    if node.value is BROKEN:
        return None
    if not isinstance(node.value, list):
        findings.add(node.place, f"{label}: {what} must be a list of values, such as {example}, got {describe(node)}")
        return None
    if not node.value:
        findings.add(node.place, f"{label}: {what} must have at least one value")
        return None
    return node.value


def is_of(kind: type, node: Node, message: str, *, findings: Findings) -> bool:
    """Whether a value is of a kind; where it is not, the message and what was got are reported."""
    if isinstance(node.value, kind):
        return True
    if node.value is not BROKEN:
        findings.add(node.place, f"{message}, got {describe(node)}")
    return False


def as_written(node: Node) -> str:
    """A value as it stands in the file."""
    return node.text or str(plain(node))
