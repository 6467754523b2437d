"""From an outline to configurations: the axes multiplied, values derived, constraints met, every cell resolved."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from switchbench.errors import ExpressionError
from switchbench.expressions import describe_value
from switchbench.spec import DataIdentity, DataSpec, RunSpec
from switchbench.sweep.axes import Axis
from switchbench.sweep.document import BROKEN, Node, describe, plain
from switchbench.sweep.fields import FIELDS, KIND, KINDS
from switchbench.sweep.formulas import Dropped, Formula
from switchbench.sweep.names import computed_value, dependencies, field_value, kinds_of, path_of
from switchbench.sweep.outline import Outline
from switchbench.sweep.resolve import Resolver, Values
from switchbench.sweep.source import Findings, Place
from switchbench.sweep.values import check_value

MAX_RUNS = 100_000
"""Most runs of one sweep; more is surely a slip, and would take long to check."""


def configurations(
    outline: Outline, *, identify: Callable[[DataSpec], DataIdentity], findings: Findings
) -> tuple[list[RunSpec], list[Dropped]]:
    """Expand the axes; the seed of the configurations is 0, and tuned fields have the first of their values.

    Fields that an FFN of a cell's kind does not have are left out of the cell, as are those of an axis whose conditions
    the cell does not meet, and cells that are equal then are one. Then come the derived values; then the constraints,
    before the cell is checked as a whole, so that they may keep out what is no valid run.

    Args:
        outline: What the file says.
        identify: Identifies a corpus; called once per distinct data specification.
        findings: Takes the problems; where there are any, the result is incomplete.

    Returns:
        The configurations, and those that a constraint dropped.
    """
    tries_each = math.prod(len(axis.values) for axis in outline.tune) * len(outline.tune_seeds) if outline.tune else 0
    seeds = max(len(outline.seeds), 1) + tries_each
    runs = math.prod(len(axis.rows) for axis in outline.axes) * seeds
    if runs > MAX_RUNS:
        place = outline.axes_place if outline.axes else outline.seeds_place
        findings.add(place, f"the axes and the seeds multiply to {runs:,} runs; at most {MAX_RUNS:,} are possible")
        return [], []
    tries = [dict(zip((axis.path for axis in outline.tune), values, strict=True)) for values in _tuned(outline)]
    outline = replace(outline, base=outline.base | tries[0])
    resolver = Resolver(outline, identify=identify, findings=findings)
    formulas = _Formulas(outline, resolver=resolver, findings=findings)
    specs: list[RunSpec] = []
    dropped: list[Dropped] = []
    swept_of: dict[str, Values] = {}
    for swept in _distinct_cells(outline, findings=findings):
        given = _applicable(outline.base | swept, kind=_kind(outline.base | swept))
        unmet = formulas.unmet_constraint(given, swept=swept, is_early=True)
        if unmet is None:
            given = formulas.with_derived(given, swept=swept)
            unmet = formulas.unmet_constraint(given, swept=swept, is_early=False)
        if unmet is not None:
            dropped.append(unmet)
            continue
        spec = resolver.resolve(given, swept=swept)
        for values in tries[1:]:  # the others must be good runs as well
            resolver.resolve(given | _applicable(values, kind=_kind(given)), swept=swept | values)
        if spec is None:
            continue
        twice = swept_of.setdefault(spec.config_id, swept)
        if twice is swept:
            specs.append(spec)
        else:
            _report_same_run(twice, swept, findings=findings)
    if dropped and not specs and not findings:
        message = f"the constraints leave no configuration of {len(dropped)}; the first fails since {dropped[0].reason}"
        findings.add(outline.constraints[0].place(), message)
    return specs, dropped


def _tuned(outline: Outline) -> Iterator[tuple[Node, ...]]:
    """The combinations of tuned values; where nothing is tuned, one of none."""
    return itertools.product(*(axis.values for axis in outline.tune))


def _distinct_cells(outline: Outline, *, findings: Findings) -> Iterator[Values]:
    """The swept values of each cell, in the order of the axes as the file has them, the last one fastest."""
    ordered = _conditions_first(outline.axes, findings=findings)
    if ordered is None:
        return
    never = {id(axis): axis for axis in outline.axes if axis.when}
    values_of = {id(node): repr(plain(node)) for axis in outline.axes for row in axis.rows for node in row.values()}
    seen: set[tuple[tuple[str, str], ...]] = set()
    for rows in itertools.product(*(axis.rows for axis in outline.axes)):
        row_of = dict(zip(map(id, outline.axes), rows, strict=True))
        values = dict(outline.base)
        for axis in ordered:
            if _meets(axis, values):
                values |= row_of[id(axis)]
                never.pop(id(axis), None)
        kind = _kind(values)
        swept = {
            path: node
            for row in rows
            for path, node in row.items()
            if values.get(path) is node and kind in FIELDS[path].kinds
        }
        key = tuple((path, values_of[id(node)]) for path, node in swept.items())
        if key not in seen:
            seen.add(key)
            yield swept
    for axis in never.values():
        if not outline.doubtful.intersection(axis.when):
            shown = " and ".join(map(str, axis.when))
            findings.add(axis.place, f"this axis does nothing: no cell has what its `when` asks for of {shown}")


def _conditions_first(axes: list[Axis], *, findings: Findings) -> list[Axis] | None:
    """Put every axis after those that its conditions speak of; None, with a problem found, where there is a circle."""
    ordered: list[Axis] = []
    waiting = {index: _looks_at(axis) for index, axis in enumerate(axes)}
    while waiting:
        undecided = {path for index in waiting for path in axes[index].places}
        ready = [index for index, paths in waiting.items() if undecided.isdisjoint(paths)]
        if not ready:
            shown = " and ".join(axes[index].name for index in waiting)
            what = "depend on each other" if len(waiting) > 1 else "depend on whether it is there"
            findings.add(axes[min(waiting)].place, f"the conditions of {shown} {what}")
            return None
        ordered += [axes[index] for index in ready]
        waiting = {index: paths for index, paths in waiting.items() if index not in ready}
    return ordered


def _looks_at(axis: Axis) -> set[str]:
    """The fields that decide whether the conditions of an axis are met."""
    paths: set[str] = set().union(*(dependencies(path, given=()) for path in axis.when))
    return paths if kinds_of(axis.when) == frozenset(KINDS) else {KIND, *paths}


def _meets(axis: Axis, values: Values) -> bool:
    kind = _kind(values)
    return all(
        kind in FIELDS[path].kinds and field_value(path, values) in [plain(node) for node in wanted]
        for path, wanted in axis.when.items()
    )


def _kind(values: Values) -> str:
    return str(values[KIND].value) if KIND in values else KINDS[0]


def _applicable(values: Values, *, kind: str) -> Values:
    return {path: node for path, node in values.items() if kind in FIELDS[path].kinds}


def _report_same_run(first: Values, second: Values, *, findings: Findings) -> None:
    path = next((path for path, node in second.items() if first.get(path) is not node), next(iter(second)))
    values = f"{describe(first[path])} and {describe(second[path])}" if path in first else describe(second[path])
    message = f"{path}: {values} describe the same run, all other settings being equal; leave one of them out"
    findings.add(second[path].place, message)


class _Formulas:
    """Computes the derived values of cells, and checks their constraints; each problem is reported once."""

    def __init__(self, outline: Outline, *, resolver: Resolver, findings: Findings) -> None:
        self._outline = outline
        self._resolver = resolver
        self._findings = findings
        self._reported: set[Place] = set()
        self._nodes: dict[tuple[str, str], Node] = {}
        # What speaks of given fields alone comes first: a cell that it drops need be none whose costs can be counted.
        self._early = [formula for formula in outline.constraints if self._is_early(formula)]
        self._late = [formula for formula in outline.constraints if formula not in self._early]

    def with_derived(self, given: Values, *, swept: Values) -> Values:
        """The values of a cell and the derived ones."""
        kind = _kind(given)
        for path, formula in self._outline.derive.items():
            if kind not in FIELDS[path].kinds:
                continue
            lacking = [name for name in formula.expression.names if kind not in kinds_of([name])]
            if lacking:
                place = formula.place(formula.expression.names[lacking[0]])
                self._fail(path, place, f"{path}: a {kind} cell has no {lacking[0]}")
                continue
            named = None if self._is_doubtful(formula) else self._named(formula, given, swept=swept)
            value = BROKEN if named is None else self._evaluate(formula, named, path=path)
            if value is BROKEN:
                self._outline.doubtful.add(path)
                continue
            # One node per value: what is checked once is known again by its node.
            new = _node(value, place=formula.node.place)
            node = self._nodes.setdefault((path, repr(value)), new)
            if node is new and not check_value(FIELDS[path], node, findings=Findings("")):
                self._refuse(path, formula, node, named or {})
                continue
            if path not in self._outline.doubtful:
                given = given | {path: node}
        return given

    def unmet_constraint(self, given: Values, *, swept: Values, is_early: bool) -> Dropped | None:
        """The first constraint that a cell does not meet; one that speaks of what the cell lacks is met.

        Args:
            given: The values of the cell.
            swept: Those of them that are swept.
            is_early: Which constraints are meant: those that need no derived and no computed value, or the others.
        """
        kind = _kind(given)
        for formula in self._early if is_early else self._late:
            if kind not in kinds_of(formula.expression.names) or self._is_doubtful(formula):
                continue
            named = self._named(formula, given, swept=swept)
            if named is None:
                continue
            value = self._evaluate(formula, named, path=None)
            if value is BROKEN or value is True:
                continue
            if value is not False:
                message = f"a constraint is true or false, such as num_experts <= 16; this is {describe_value(value)}"
                self._report(formula.place(), message)
                continue
            text = formula.expression.text
            shown = ", ".join(f"{name} {describe_value(value)}" for name, value in named.items())
            return Dropped(
                settings={path: plain(node) for path, node in swept.items()},
                constraint=text,
                reason=f"{text} does not hold: {shown}",
            )
        return None

    def _is_doubtful(self, formula: Formula) -> bool:
        """Whether a formula speaks of a field that something is wrong with, so that its value would mean nothing."""
        doubtful = self._outline.doubtful
        return any(not doubtful.isdisjoint(dependencies(name, given=())) for name in formula.expression.names)

    def _is_early(self, formula: Formula) -> bool:
        derived = self._outline.derive
        return all(
            path_of(name) is not None and dependencies(name, given=()).isdisjoint(derived)
            for name in formula.expression.names
        )

    def _named(self, formula: Formula, given: Values, *, swept: Values) -> dict[str, Any] | None:
        """The values of a formula's names; None where the cell's model is no valid one, which is reported with it."""
        named = {}
        for name in formula.expression.names:
            path = path_of(name)
            if path is not None:
                named[name] = field_value(path, given)
                continue
            value = computed_value(
                name,
                given,
                model=lambda: self._resolver.model(given, swept=swept),
                vocab_size=lambda: self._resolver.vocab_size(given, swept=swept),
            )
            if value is None:
                return None
            named[name] = value
        return named

    def _evaluate(self, formula: Formula, named: dict[str, Any], *, path: str | None) -> Any:
        """The value of a formula; ``BROKEN``, with a problem found, if it has none."""
        try:
            return formula.expression.evaluate(named)
        except ExpressionError as error:
            label = path or "a constraint"
            self._report(formula.place(error.column), f"{label}: {error.problem}{_with(named)}")
            return BROKEN

    def _refuse(self, path: str, formula: Formula, node: Node, named: dict[str, Any]) -> None:
        self._outline.doubtful.add(path)
        if formula.node.place in self._reported:
            return
        self._reported.add(formula.node.place)
        hint = " (round(...) makes a whole number)" if isinstance(node.value, float) else ""
        check_value(FIELDS[path], node, findings=self._findings, label=f"{path}, as derived{_with(named)}{hint},")

    def _fail(self, path: str, place: Place, message: str) -> None:
        self._outline.doubtful.add(path)
        self._report(place, message)

    def _report(self, place: Place, message: str) -> None:
        if place not in self._reported:
            self._reported.add(place)
            self._findings.add(place, message)


def _node(value: Any, *, place: Place) -> Node:
    """A computed value as if it stood in the file."""
    if isinstance(value, list):
        return Node(place, [_node(item, place=place) for item in value])
    return Node(place, value, text=describe_value(value))


def _with(named: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} {describe_value(value)}" for name, value in named.items())
    return f" with {shown}" if shown else ""
