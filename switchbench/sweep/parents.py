"""Files that a sweep file extends: mappings are merged key by key, everything else is replaced.

A parent's ``name`` is not taken over: it is the folder of the parent's own results. Under ``sweep.grid``,
``sweep.derive``, ``sweep.tune`` and ``report`` a null takes away what the parent has.
"""

import os
from pathlib import Path

from switchbench.sweep.document import BROKEN, Entry, Node, describe, parse
from switchbench.sweep.outline import check_schema
from switchbench.sweep.overrides import REMOVABLE
from switchbench.sweep.source import MAX_FILES, Findings, Place, Source, read_source


def read_tree(path: Path, *, findings: Findings) -> Node | None:
    """Read a sweep file and those that it extends into one tree; None, with a problem found, where one is no YAML.

    Args:
        path: The file.
        findings: Takes the problems.
    """
    trees: list[Node] = []
    seen: list[tuple[Path, str]] = []
    named_at: Place | None = None
    next_path: Path | None = path
    while next_path is not None:
        source = read_source(next_path, findings=findings, order=len(trees), named_at=named_at)
        tree = _parse(source, findings=findings) if source else None
        if tree is None:
            return None
        seen.append((_real(next_path), str(next_path)))
        trees.append(tree)
        if named_at is not None and not _is_parent(tree, named_at=named_at, path=next_path, findings=findings):
            return None
        next_path, named_at = _parent(tree, path=next_path, seen=seen, findings=findings)
    merged = trees.pop()
    while trees:
        merged = _merged(merged, trees.pop(), where=())
    return merged


def _parse(source: Source, *, findings: Findings) -> Node | None:
    before = len(findings)
    tree = parse(source.text, source=source, findings=findings)
    if tree is None and len(findings) == before:
        place = None if source.order == 0 else Place(source, 1, 1)
        findings.add(place, "is empty; a sweep file has at least the keys schema and name")
    return tree


def _parent(
    tree: Node, *, path: Path, seen: list[tuple[Path, str]], findings: Findings
) -> tuple[Path | None, Place | None]:
    """The file that a file extends, and where it says so; the key is taken out of the tree."""
    entry = tree.value.pop("extends", None) if isinstance(tree.value, dict) else None
    if entry is None or entry.node.value is BROKEN:
        return None, None
    node = entry.node
    if not isinstance(node.value, str) or not node.value:
        message = f"extends must be the path of a sweep file, from this file's folder, got {describe(node)}"
        findings.add(node.place, message)
        return None, None
    parent = path.parent / node.value
    known = [real for real, _ in seen]
    if _real(parent) in known:
        names = [name for _, name in seen[known.index(_real(parent)) :]]
        findings.add(node.place, f"extends makes a circle: {' → '.join([*names, names[0]])}")
        return None, None
    if len(seen) == MAX_FILES:
        findings.add(node.place, f"more than {MAX_FILES} files extend each other")
        return None, None
    return parent, node.place


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # what is wrong with it shows when it is read
        return path


def _is_parent(tree: Node, *, named_at: Place, path: Path, findings: Findings) -> bool:
    """Whether a file can be a parent; what is its own and is not taken over is taken out of the tree."""
    if not isinstance(tree.value, dict):
        if tree.value is not BROKEN:
            findings.add(tree.place, f"a sweep file must be a mapping, got {describe(tree)}")
        return False
    schema = tree.value.pop("schema", None)
    if schema is None:
        findings.add(named_at, f"{path}: the key `schema` is missing there")
    else:
        check_schema(schema, findings=findings)
    tree.value.pop("name", None)
    return True


def _merged(parent: Node, child: Node, *, where: tuple[str, ...]) -> Node:
    if not isinstance(parent.value, dict) or not isinstance(child.value, dict):
        return child
    content: dict[str, Entry] = dict(parent.value)
    for key, entry in child.value.items():
        if key not in content:
            content[key] = entry
        elif where in REMOVABLE and entry.node.value is None:
            del content[key]
        else:
            content[key] = Entry(entry.place, _merged(content[key].node, entry.node, where=(*where, key)))
    return Node(child.place, content)
