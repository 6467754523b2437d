"""The axes of a sweep: those of the grid, with a value in each of their rows, and that of the zip, of whole rows."""

from dataclasses import dataclass, field

from switchbench.sweep.document import BROKEN, Entry, Node, describe, has_broken, plain
from switchbench.sweep.entries import as_written, items_of, known_entries
from switchbench.sweep.fields import FIELDS, explain_unknown_axis
from switchbench.sweep.source import Findings, Place
from switchbench.sweep.values import check_value

AXIS_KEYS = ["values", "when"]
NO_AXES = ("train.keep_checkpoint",)
"""Fields that cannot vary within a sweep: runs that differ in nothing else are the same run."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: the sweep is the product of all axes' rows."""

    places: dict[str, Place]
    """The fields that vary, and where their keys stand."""
    rows: tuple[dict[str, Node], ...]
    """What can be used, in the order of the file: a value of each of these fields."""
    when: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    """The axis is kept off cells in which one of these fields has none of these values."""
    when_places: dict[str, Place] = field(default_factory=dict)
    """Where the conditions stand."""

    @property
    def name(self) -> str:
        """What the axis is called in messages."""
        return ", ".join(self.places)

    @property
    def place(self) -> Place:
        """Where the axis stands."""
        return next(iter(self.places.values()))


def read_grid(entry: Entry | None, *, doubtful: set[str], findings: Findings) -> list[Axis]:
    """Read ``sweep.grid``: a mapping of fields to lists, or to mappings of ``values`` and ``when``."""
    if entry is None:
        return []
    if not isinstance(entry.node.value, dict):
        if entry.node.value is not BROKEN:
            message = f"sweep.grid must be a mapping of axes, field: [values], got {describe(entry.node)}"
            findings.add(entry.node.place, message)
        doubtful.update(FIELDS)
        return []
    axes = []
    for path, axis in entry.node.value.items():
        if is_field(path, axis.place, doubtful=doubtful, findings=findings):
            axes += _read_axis(path, axis, doubtful=doubtful, findings=findings)
    return axes


def read_zip(entry: Entry | None, *, grid: list[Axis], doubtful: set[str], findings: Findings) -> list[Axis]:
    """Read ``sweep.zip``: a list of rows, each a mapping of the same fields to values.

    Args:
        entry: The entry, if there is one.
        grid: The axes of the grid, none of whose fields may vary here as well.
        doubtful: Takes the fields whose value is unknown since something is wrong with it.
        findings: Takes the problems.
    """
    if entry is None or entry.node.value == []:  # an override may take the rows away
        return []
    example = "[{model.size: xs, train.learning_rate: 1e-2}]"
    items = items_of(entry.node, label="sweep.zip", what="it", example=example, findings=findings)
    if items is None:
        doubtful.update(FIELDS)
        return []
    rows: dict[str, dict[str, Node]] = {}
    places: dict[str, Place] = {}
    for index, item in enumerate(items):
        if not isinstance(item.value, dict) or not item.value:
            if item.value is not BROKEN:
                got = "an empty mapping" if item.value == {} else describe(item)
                message = f"sweep.zip: a row must be a mapping of fields to values, such as {example[1:-1]}, got {got}"
                findings.add(item.place, message)
            doubtful.update(FIELDS)
            continue
        first = items[0].value if isinstance(items[0].value, dict) else item.value
        _check_same_fields(item, index=index, first=first, doubtful=doubtful, findings=findings)
        row = _read_row(item.value, doubtful=doubtful, findings=findings)
        for path in row:
            places.setdefault(path, item.value[path].place)
        if row and rows.setdefault(repr({path: plain(row[path]) for path in sorted(row)}), row) is not row:
            findings.add(item.place, f"sweep.zip has this row twice: {_shown(row)}")
    for path, place in places.items():
        if any(path in axis.places for axis in grid):
            findings.add(place, f"{path} is an axis of sweep.grid as well; it can vary in one of them alone")
    whole = [row for row in rows.values() if row.keys() == places.keys()]
    return [Axis(places=places, rows=tuple(whole))] if whole else []


def is_field(path: str, place: Place, *, doubtful: set[str], findings: Findings) -> bool:
    """Whether a key of axes is the path of a field that can vary; where it is none, that is reported."""
    if path in NO_AXES:
        findings.add(place, f"{path} cannot vary: runs that differ in it alone are the same run. Set it in base")
        return False
    if path in FIELDS:
        return True
    explanation, meant = explain_unknown_axis(path)
    findings.add(place, f"{path} is not a field. {explanation}")
    doubtful.update([meant] if meant else [])
    return False


def _check_same_fields(
    item: Node, *, index: int, first: dict[str, Entry], doubtful: set[str], findings: Findings
) -> None:
    assert isinstance(item.value, dict)
    for path in first:
        if path not in item.value:
            findings.add(item.place, f"sweep.zip: row {index + 1} lacks {path}, which the first row has")
            doubtful.add(path)
    for path, entry in item.value.items():
        if path not in first:
            findings.add(entry.place, f"sweep.zip: row {index + 1} has {path}, which the first row lacks")
            doubtful.add(path)


def _read_row(content: dict[str, Entry], *, doubtful: set[str], findings: Findings) -> dict[str, Node]:
    row = {}
    for path, entry in content.items():
        if not is_field(path, entry.place, doubtful=doubtful, findings=findings):
            continue
        if has_broken(entry.node) or not check_value(FIELDS[path], entry.node, findings=findings):
            doubtful.add(path)
            continue
        row[path] = entry.node
    return row


def _shown(row: dict[str, Node]) -> str:
    return ", ".join(f"{path}: {as_written(node)}" for path, node in row.items())


def _read_axis(path: str, entry: Entry, *, doubtful: set[str], findings: Findings) -> list[Axis]:
    node = entry.node
    conditions: dict[str, Entry] = {}
    if isinstance(node.value, dict):
        known = known_entries(node, AXIS_KEYS, label=f"sweep.grid.{path}", doubtful=doubtful, findings=findings) or {}
        if "values" not in known:
            findings.add(entry.place, f"{path}: an axis with conditions is {{values: [1, 2], when: {{field: value}}}}")
            doubtful.add(path)
            return []
        node = known["values"].node
        if "when" in known:
            conditions = _conditions(path, known["when"], findings=findings)
    usable = axis_values(path, node, doubtful=doubtful, findings=findings)
    when = {name: _condition(path, name, each, findings=findings) for name, each in conditions.items()}
    if not usable:
        return []
    return [
        Axis(
            places={path: entry.place},
            rows=tuple({path: value} for value in usable),
            when={name: values for name, values in when.items() if values},
            when_places={name: each.place for name, each in conditions.items()},
        )
    ]


def axis_values(path: str, node: Node, *, doubtful: set[str], findings: Findings) -> list[Node]:
    """The values of an axis that can be used; the others are reported, and so are those that stand there twice."""
    described = FIELDS[path]
    items = items_of(node, label=path, what="an axis", example="[1, 2]", findings=findings)
    flat = described.item_noun is not None and not any(isinstance(item.value, list) for item in items or [])
    if items and flat and not described.nullable:
        message = f"{path} is {described.noun}, so its axis is a list of lists, such as [[0.5, 1.0], [1.0]]"
        findings.add(node.place, message)
        items = None
    usable: dict[str, Node] = {}
    for item in items or []:
        if has_broken(item) or not check_value(described, item, findings=findings):
            doubtful.add(path)
            continue
        first = usable.setdefault(repr(plain(item)), item)
        if first is not item:
            findings.add(item.place, f"{path} has the value {as_written(item)} twice")
    if items is None:
        doubtful.add(path)
    return list(usable.values())


def _conditions(path: str, entry: Entry, *, findings: Findings) -> dict[str, Entry]:
    """The conditions of an axis that name a field."""
    if not isinstance(entry.node.value, dict) or not entry.node.value:
        if entry.node.value is not BROKEN:
            got = "an empty mapping" if entry.node.value == {} else describe(entry.node)
            message = f"{path}: when must be a mapping of fields to values, such as {{model.ffn.kind: sparse}}"
            findings.add(entry.node.place, f"{message}, got {got}")
        return {}
    conditions = {}
    for name, each in entry.node.value.items():
        if name == path:
            findings.add(each.place, f"{path}: an axis cannot depend on itself")
        elif is_field(name, each.place, doubtful=set(), findings=findings):
            conditions[name] = each
    return conditions


def _condition(path: str, name: str, entry: Entry, *, findings: Findings) -> tuple[Node, ...]:
    """The values that one condition asks for: one, or any of a list."""
    if FIELDS[name].item_noun is not None:
        findings.add(entry.place, f"{path}: when cannot ask for {name}, which is {FIELDS[name].noun}")
        return ()
    if isinstance(entry.node.value, list):
        example = "[1, 2]"
        items = items_of(entry.node, label=f"{path}: when", what=name, example=example, findings=findings) or []
    else:
        items = [entry.node]
    good = [item for item in items if not has_broken(item) and check_value(FIELDS[name], item, findings=findings)]
    return tuple(good)
