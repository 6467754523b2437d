"""The outline of a sweep: what a file says, checked key by key and value by value, before cells are made from it."""

import re
from dataclasses import dataclass, field

from switchbench.sweep.document import BROKEN, Entry, Node, describe, has_broken, plain
from switchbench.sweep.fields import (
    FIELDS,
    KIND,
    KINDS,
    SECTIONS,
    SEED,
    children,
    explain_unknown,
    explain_unknown_axis,
)
from switchbench.sweep.source import Findings, Place, did_you_mean
from switchbench.sweep.twins import BASELINES, Baseline
from switchbench.sweep.values import check_value

FILE_SCHEMA = 1
"""Version of the sweep file's language."""
ROOT_KEYS = ["schema", "name", "question", "base", "sweep"]
SWEEP_KEYS = ["grid", "seeds", "baselines"]

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}")
_RESERVED_NAME = "reference"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of the grid."""

    path: str
    """The field that varies."""
    place: Place
    """Where its key stands."""
    values: tuple[Node, ...]
    """The values that can be used, in the order of the file."""


@dataclass
class Outline:
    """What a sweep file says, as far as it could be read."""

    name: str = ""
    question: str = ""
    base: dict[str, Node] = field(default_factory=dict)
    """The fields that ``base`` gives, by path."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where the keys of ``base`` stand: by path, ``base`` itself under the empty path."""
    axes: list[Axis] = field(default_factory=list)
    grid: Place | None = None
    """Where the key ``grid`` stands."""
    seeds: tuple[int, ...] = (0,)
    seeds_place: Place | None = None
    baselines: dict[Baseline, Place] = field(default_factory=dict)
    """The baselines, and where they stand."""
    doubtful: set[str] = field(default_factory=set)
    """Fields whose real value is unknown since something is wrong with it: nothing more is said about those."""


def read_outline(root: Node, *, findings: Findings) -> Outline:
    """Read a file's tree, adding everything that is wrong in it on its own to the findings."""
    outline = Outline()
    entries = _known_entries(root, ROOT_KEYS, label="", outline=outline, findings=findings)
    if entries is None:
        outline.doubtful.update(FIELDS)
        return outline
    _check_schema(entries.get("schema"), findings=findings)
    outline.name = _read_name(entries.get("name"), findings=findings)
    if "question" in entries and _is(str, entries["question"].node, "question must be text", findings=findings):
        outline.question = str(entries["question"].node.value)
    if "base" in entries:
        outline.places[""] = entries["base"].place
        _read_section("", entries["base"].node, outline=outline, findings=findings)
    if "sweep" in entries:
        swept = _known_entries(entries["sweep"].node, SWEEP_KEYS, label="sweep", outline=outline, findings=findings)
        if swept is None:
            outline.doubtful.update(FIELDS)
        else:
            _read_grid(swept.get("grid"), outline=outline, findings=findings)
            _read_seeds(swept.get("seeds"), outline=outline, findings=findings)
            _read_baselines(swept.get("baselines"), outline=outline, findings=findings)
    _check_kinds(outline, findings=findings)
    return outline


def _known_entries(
    node: Node,
    allowed: list[str],
    *,
    label: str,
    outline: Outline,
    findings: Findings,
) -> dict[str, Entry] | None:
    """The entries of a mapping with allowed keys; the others are reported, and what they stand for becomes doubtful."""
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
        explanation, meant = explain_unknown(key, allowed=allowed, outside_base=not in_base)
        shown = f"{label}.{key}".removeprefix(".")
        findings.add(entry.place, f"{shown} is not a {'field' if in_base else 'key'}. {explanation}")
        outline.doubtful.update([meant] if meant else [])
    return known


def _is(kind: type, node: Node, message: str, *, findings: Findings) -> bool:
    if isinstance(node.value, kind):
        return True
    if node.value is not BROKEN:
        findings.add(node.place, f"{message}, got {describe(node)}")
    return False


def _check_schema(entry: Entry | None, *, findings: Findings) -> None:
    if entry is None:
        findings.add(None, f"the key `schema: {FILE_SCHEMA}` is missing")
    elif entry.node.value is not BROKEN and (isinstance(entry.node.value, bool) or entry.node.value != FILE_SCHEMA):
        message = f"schema must be {FILE_SCHEMA}, the one version that this program reads, got {describe(entry.node)}"
        findings.add(entry.node.place, message)


def _read_name(entry: Entry | None, *, findings: Findings) -> str:
    if entry is None:
        findings.add(None, "the key `name` is missing; the results go into a folder of that name")
        return ""
    node = entry.node
    if not _is(str, node, "name must be text (in quotes if it looks like a number)", findings=findings):
        return ""
    name = str(node.value)
    if not _NAME.fullmatch(name):
        rule = "1 to 80 letters (a-z, A-Z), digits, '-', '_' and '.', not beginning with '.'"
        findings.add(node.place, f"name must be {rule}, since it names a folder; got {name[:100]!r}")
    elif name.lower() == _RESERVED_NAME:
        findings.add(node.place, f"name {name!r} is reserved for the committed reference results")
    return name


def _read_section(section: str, node: Node, *, outline: Outline, findings: Findings) -> None:
    """Read a section of ``base``, or ``base`` itself, whose path is empty."""
    entries = _known_entries(
        node,
        children(section),
        label=section or "base",
        outline=outline,
        findings=findings,
    )
    if entries is None:
        outline.doubtful.update(path for path in FIELDS if path.startswith(section))
        return
    for key, entry in entries.items():
        path = f"{section}.{key}" if section else key
        outline.places[path] = entry.place
        if path in SECTIONS:
            _read_section(path, entry.node, outline=outline, findings=findings)
        elif not has_broken(entry.node) and check_value(FIELDS[path], entry.node, findings=findings):
            outline.base[path] = entry.node
        else:
            outline.doubtful.add(path)


def _read_grid(entry: Entry | None, *, outline: Outline, findings: Findings) -> None:
    if entry is None:
        return
    outline.grid = entry.place
    if not isinstance(entry.node.value, dict):
        if entry.node.value is not BROKEN:
            message = f"sweep.grid must be a mapping of axes, field: [values], got {describe(entry.node)}"
            findings.add(entry.node.place, message)
        outline.doubtful.update(FIELDS)
        return
    for path, axis in entry.node.value.items():
        if path in FIELDS:
            _read_axis(path, axis, outline=outline, findings=findings)
            continue
        explanation, meant = explain_unknown_axis(path)
        findings.add(axis.place, f"{path} is not a field. {explanation}")
        outline.doubtful.update([meant] if meant else [])


def _read_axis(path: str, entry: Entry, *, outline: Outline, findings: Findings) -> None:
    described = FIELDS[path]
    items = _items(entry.node, label=path, what="an axis", example="[1, 2]", findings=findings)
    flat = described.item_noun is not None and not any(isinstance(item.value, list) for item in items or [])
    if items and flat and not described.nullable:
        message = f"{path} is {described.noun}, so its axis is a list of lists, such as [[0.5, 1.0], [1.0]]"
        findings.add(entry.node.place, message)
        items = None
    usable: dict[str, Node] = {}
    for item in items or []:
        if has_broken(item) or not check_value(described, item, findings=findings):
            outline.doubtful.add(path)
            continue
        first = usable.setdefault(repr(plain(item)), item)
        if first is not item:
            findings.add(item.place, f"{path} has the value {_as_written(item)} twice")
    if items is None:
        outline.doubtful.add(path)
    if usable:
        outline.axes.append(Axis(path=path, place=entry.place, values=tuple(usable.values())))


def _as_written(node: Node) -> str:
    return node.text or str(plain(node))


def _items(node: Node, *, label: str, what: str, example: str, findings: Findings) -> list[Node] | None:
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


def _read_seeds(entry: Entry | None, *, outline: Outline, findings: Findings) -> None:
    if entry is None:
        return
    outline.seeds_place = entry.place
    items = _items(entry.node, label="sweep.seeds", what="it", example="[0, 1, 2]", findings=findings)
    seeds: dict[int, None] = {}
    for item in items or []:
        if has_broken(item) or not check_value(SEED, item, label="sweep.seeds: a seed", findings=findings):
            continue
        if plain(item) in seeds:
            findings.add(item.place, f"sweep.seeds has the seed {_as_written(item)} twice")
        seeds[plain(item)] = None
    outline.seeds = tuple(seeds)


def _read_baselines(entry: Entry | None, *, outline: Outline, findings: Findings) -> None:
    if entry is None or entry.node.value == []:  # an override may take all baselines away
        return
    example = f"[{BASELINES[0]}]"
    items = _items(entry.node, label="sweep.baselines", what="it", example=example, findings=findings)
    for item in items or []:
        baseline = next((name for name in BASELINES if name == item.value), None)
        if baseline is not None:
            if baseline in outline.baselines:
                findings.add(item.place, f"sweep.baselines has {baseline!r} twice")
            outline.baselines.setdefault(baseline, item.place)
        elif item.value is not BROKEN:
            suggestion = did_you_mean(item.value, BASELINES) if isinstance(item.value, str) else ""
            allowed = f"allowed: {', '.join(BASELINES)}"
            findings.add(item.place, f"{describe(item)} is not a baseline; {allowed}.{suggestion}")


def _check_kinds(outline: Outline, *, findings: Findings) -> None:
    """Report fields that no cell can have, since no cell's FFN is of a kind that has them."""
    if KIND in outline.doubtful:
        return
    axis = next((axis for axis in outline.axes if axis.path == KIND), None)
    given = axis.values if axis else [outline.base[KIND]] if KIND in outline.base else []
    kinds = {str(node.value) for node in given} or {KINDS[0]}
    places = [(axis.path, axis.place) for axis in outline.axes]
    places += [(path, outline.places[path]) for path in outline.base]
    for path, place in places:
        having = FIELDS[path].kinds
        if having.isdisjoint(kinds):
            is_now = "is" if given else "is by default"
            message = (
                f"{path} is a field of {' and '.join(sorted(having))} FFNs alone, and {KIND} {is_now} "
                f"{' or '.join(map(repr, sorted(kinds)))}. Set {KIND} to {' or '.join(map(repr, sorted(having)))}, "
                f"or put it on an axis of the grid"
            )
            findings.add(place, message)
