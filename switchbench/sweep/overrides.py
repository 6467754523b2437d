"""KEY=VALUE settings from the command line: they are put into the file's tree before anything is checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from switchbench.sweep.document import BROKEN, Entry, Node, describe, parse
from switchbench.sweep.source import COMMAND_LINE, MAX_FILES, Findings, Place, Source

MAX_PARTS = 10
"""Most parts of a key; the deepest that a sweep file knows has 5."""

REMOVABLE = (("sweep", "grid"), ("sweep", "derive"), ("sweep", "tune"), ("report",))
"""Where a null takes away what is there, rather than being a value."""

# Where what follows is one key, dots and all.
_WHOLE_KEYS = (["sweep", "grid"], ["sweep", "derive"], ["sweep", "tune"], ["report", "primary", "sparse"])


@dataclass(frozen=True)
class _KeyPart:
    name: str
    place: Place


def apply_overrides(root: Node, overrides: Sequence[str], *, findings: Findings) -> None:
    """Set the values of overrides in a file's tree, in the order given: of two for one key, the last one holds.

    Args:
        root: The file's tree; changed in place.
        overrides: Texts of the form ``KEY=VALUE``. A key is a path from the file's root, ``base.train.tokens``; what
            follows ``sweep.grid.``, ``sweep.derive.``, ``sweep.tune.`` or ``report.primary.sparse.`` is one key, the
            field. Keys that the file lacks are added. A value is YAML; none at all takes an axis, a derived value or
            what is tuned away.
        findings: Takes the problems; an override with one is left out.
    """
    for order, text in enumerate(overrides, start=1):
        source = Source(COMMAND_LINE, text, MAX_FILES + order)
        key, equals, value_text = text.partition("=")
        if not equals:
            message = f"{text!r} is not of the form KEY=VALUE, such as base.train.tokens=3e5"
            findings.add(Place(source, 1, 1), message)
            continue
        parts = _key_parts(key, source=source, findings=findings)
        value = parse(value_text, source=source, findings=findings, first_line_offset=len(key) + 1, allow_empty=True)
        if parts and value is not None:
            _set(root, parts, value, findings=findings)


def _key_parts(key: str, *, source: Source, findings: Findings) -> list[_KeyPart]:
    names = key.split(".")
    for before in _WHOLE_KEYS:
        if names[: len(before)] == before and len(names) > len(before):
            names = [*before, ".".join(names[len(before) :])]
    parts, column = [], 1
    for name in names:
        parts.append(_KeyPart(name, Place(source, 1, column)))
        column += len(name) + 1
    if not key.isprintable():
        findings.add(parts[0].place, f"the key {key!r} must be text on one line")
        return []
    for part in parts:
        if not part.name:
            what = "the key is empty" if len(parts) == 1 else f"the key {key!r} has an empty part"
            findings.add(part.place, f"{what}; a key is a path such as base.train.tokens")
            return []
    if len(parts) > MAX_PARTS:
        findings.add(parts[MAX_PARTS].place, f"the key has more than {MAX_PARTS} parts")
        return []
    return parts


def _set(root: Node, parts: list[_KeyPart], value: Node, *, findings: Findings) -> None:
    mapping = root.value
    for index, part in enumerate(parts[:-1]):
        assert isinstance(mapping, dict)
        entry = mapping.get(part.name)
        if entry is None or entry.node.value is None or entry.node.value is BROKEN:
            entry = Entry(part.place, Node(part.place, {}))
            mapping[part.name] = entry
        if not isinstance(entry.node.value, dict):
            parent = ".".join(part.name for part in parts[: index + 1])
            child = parts[index + 1]
            message = f"'{parent}' is {describe(entry.node)}, so there is no '{parent}.{child.name}' to set"
            findings.add(child.place, message)
            return
        mapping = entry.node.value
    assert isinstance(mapping, dict)
    if value.value is None and parts[-1].name in mapping and tuple(part.name for part in parts[:-1]) in REMOVABLE:
        del mapping[parts[-1].name]
    else:
        mapping[parts[-1].name] = Entry(parts[-1].place, value)
