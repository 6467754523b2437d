"""The formulas of a sweep: derived values and constraints, read and checked before there is any cell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from switchbench.errors import ExpressionError
from switchbench.expressions import Expression, parse_expression
from switchbench.sweep.axes import Axis
from switchbench.sweep.document import BROKEN, Entry, Node, describe
from switchbench.sweep.entries import items_of
from switchbench.sweep.fields import FIELDS, KIND, explain_unknown_axis
from switchbench.sweep.names import COMPUTED, all_names, dependencies, path_of
from switchbench.sweep.source import Findings, Place, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Formula:
    """An expression, and where it stands."""

    expression: Expression
    """The expression."""
    node: Node
    """The text in the file."""

    def place(self, column: int = 1) -> Place:
        """The place of a character of the expression."""
        return _place_within(self.node, column)


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A configuration that a constraint keeps out of the sweep."""

    settings: dict[str, Any]
    """The swept fields that it would have, by path, with their values."""
    constraint: str
    """The first constraint that it does not meet, as it is written."""
    reason: str
    """Why not: the constraint and the values that it speaks of."""


def read_derive(entry: Entry | None, *, axes: list[Axis], doubtful: set[str], findings: Findings) -> dict[str, Formula]:
    """Read ``sweep.derive``: a mapping of fields to expressions; they come in an order in which they can be computed.

    Args:
        entry: The entry, if there is one.
        axes: The axes, none of whose fields can be derived as well.
        doubtful: Takes the fields whose value is unknown since something is wrong with it.
        findings: Takes the problems.
    """
    if entry is None:
        return {}
    if not isinstance(entry.node.value, dict):
        if entry.node.value is not BROKEN:
            message = "sweep.derive must be a mapping of fields to expressions, such as {train.tokens: "
            findings.add(entry.node.place, f"{message}20 * params_active}}, got {describe(entry.node)}")
        doubtful.update(FIELDS)
        return {}
    derived = {}
    for path, each in entry.node.value.items():
        if path not in FIELDS:
            explanation, meant = explain_unknown_axis(path)
            hint = " An expression with a comma in it needs quotes." if ")" in path else ""
            findings.add(each.place, f"{path} is not a field. {explanation}{hint}")
            doubtful.update([meant] if meant else [])
            continue
        doubtful_before = len(findings)
        if path == KIND:
            findings.add(each.place, f"{KIND} cannot be derived: it decides which fields there are")
        if any(path in axis.places for axis in axes):
            findings.add(each.place, f"{path} is an axis as well; leave the axis or the derived value out")
        formula = _read_formula(each.node, label=path, findings=findings)
        if formula is None or len(findings) > doubtful_before:
            doubtful.add(path)
        else:
            derived[path] = formula
    return _in_order(derived, doubtful=doubtful, findings=findings)


def read_constraints(entry: Entry | None, *, findings: Findings) -> list[Formula]:
    """Read ``sweep.constraints``: a list of expressions that are true or false."""
    if entry is None or entry.node.value == []:  # an override may take all constraints away
        return []
    example = "[num_experts <= 16]"
    items = items_of(entry.node, label="sweep.constraints", what="it", example=example, findings=findings) or []
    formulas = [_read_formula(item, label="a constraint", findings=findings) for item in items]
    return [formula for formula in formulas if formula is not None]


def _read_formula(node: Node, *, label: str, findings: Findings) -> Formula | None:
    if node.value is BROKEN:
        return None
    if not isinstance(node.value, str):
        instead = "; a fixed value stands in base" if isinstance(node.value, (int, float)) and label in FIELDS else ""
        example = "20 * params_active" if label in FIELDS else "num_experts <= 16"
        findings.add(node.place, f"{label} must be an expression, such as {example}, got {describe(node)}{instead}")
        return None
    try:
        expression = parse_expression(node.value)
    except ExpressionError as error:
        findings.add(_place_within(node, error.column), f"{label}: {error.problem}")
        return None
    unknown = [name for name in expression.names if path_of(name) is None and name not in COMPUTED]
    for name in unknown:
        place = _place_within(node, expression.names[name])
        suggestion = did_you_mean(name, all_names()) or f" Computed names: {', '.join(COMPUTED)}."
        findings.add(place, f"{label}: {name} is not a field or a computed name.{suggestion}")
    return None if unknown else Formula(expression=expression, node=node)


def _place_within(node: Node, column: int) -> Place:
    """The place of a character of a text; that of the whole text where it is not written as it reads."""
    place, text = node.place, str(node.value)
    lines = place.source.lines
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    start = place.column - 1 + node.quoted
    if line[start : start + len(text)] != text:
        return place
    return Place(place.source, place.line, start + column)


def _in_order(derived: dict[str, Formula], *, doubtful: set[str], findings: Findings) -> dict[str, Formula]:
    """Put the derived fields after those that they depend on; report those that depend on themselves."""
    ordered: dict[str, Formula] = {}
    unknown: set[str] = set()
    waiting = dict(derived)
    needs = {path: dict(_needs(formula, derived)) for path, formula in derived.items()}
    while waiting:
        ready = [path for path in waiting if needs[path].keys().isdisjoint(waiting)]
        for path in ready:
            formula = waiting.pop(path)
            if needs[path].keys().isdisjoint(unknown):
                ordered[path] = formula
            else:
                unknown.add(path)
        if not ready:
            circle = _circle(needs, waiting)
            steps = [f"{path} → {needs[path][after]}" if needs[path][after] else path
                     for path, after in zip(circle, [*circle[1:], circle[0]], strict=True)]  # fmt: skip
            message = f"{circle[0]} depends on itself: {' → '.join([*steps, circle[0]])}"
            findings.add(waiting[circle[0]].place(), message)
            unknown.update(circle)
            waiting = {path: formula for path, formula in waiting.items() if path not in circle}
    doubtful.update(unknown)
    return ordered


def _needs(formula: Formula, derived: Mapping[str, Formula]) -> Iterator[tuple[str, str | None]]:
    """The derived fields that a formula depends on, and the computed or filled name by which it does."""
    for name in formula.expression.names:
        for path in dependencies(name, given=derived):
            if path in derived:
                yield path, None if path_of(name) == path else name


def _circle(needs: Mapping[str, Mapping[str, str | None]], among: Mapping[str, Formula]) -> list[str]:
    """Some circle among fields of which each depends on another one of them."""
    trail: list[str] = []
    path = next(iter(among))
    while path not in trail:
        trail.append(path)
        path = next(each for each in needs[path] if each in among)
    return trail[trail.index(path) :]
