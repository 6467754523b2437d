"""From a checked tree and named values to a value, by walking the tree."""

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from switchbench.errors import ExpressionError
from switchbench.expressions.language import (
    FUNCTIONS,
    MAX_BITS,
    OPERATORS,
    ORDERINGS,
    WORDS,
    describe_value,
    dotted_name,
    is_moderate,
)


class Evaluation:
    """Evaluates an expression, once.

    Args:
        text: The expression, for messages.
        values: The named values.
        is_null_let_through: Whether null is no error where a number, a list or a truth is needed: what is computed from
            it is null, and what compares or asks it is false.
    """

    def __init__(self, text: str, values: Mapping[str, Any], *, is_null_let_through: bool = False) -> None:
        self._text = text
        self._values = values
        self._lets_null_through = is_null_let_through

    def of(self, node: ast.expr) -> Any:
        """Give the value of a node."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.List(elts=parts):
                return [self.of(part) for part in parts]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._truth(operand)
            case ast.UnaryOp(op=op, operand=operand):
                number = self._number(operand)
                return -number if isinstance(op, ast.USub) and number is not None else number
            case ast.BoolOp(op=op, values=parts):
                return (all if isinstance(op, ast.And) else any)(self._truth(part) for part in parts)
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(op, left, right)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare(left, ops, others)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._call(node, name, arguments)
        raise AssertionError("the tree was checked when it was read")

    def _named(self, node: ast.expr) -> Any:
        name = dotted_name(node) or ""
        for known in (WORDS, self._values):
            if name in known:
                return known[name]
        close = difflib.get_close_matches(name, list(self._values), n=1)
        raise self._error(node, f"{name} is not a name here." + (f" Did you mean '{close[0]}'?" if close else ""))

    def _truth(self, node: ast.expr) -> bool:
        value = self.of(node)
        if self._passes(value):
            return False
        if not isinstance(value, bool):
            raise self._error(node, f"and, or and not need true or false, got {describe_value(value)}")
        return value

    def _number(self, node: ast.expr) -> Any:
        value = self.of(node)
        if not _is_number(value) and not self._passes(value):
            got = f"{dotted_name(node)}, which is " if dotted_name(node) else ""
            raise self._error(node, f"a number is needed here, got {got}{describe_value(value)}")
        return value

    def _arithmetic(self, op: ast.operator, left_node: ast.expr, right_node: ast.expr) -> Any:
        left, right = self._number(left_node), self._number(right_node)
        if left is None or right is None:
            return None
        if isinstance(op, ast.Pow) and isinstance(left, int) and isinstance(right, int) and abs(left) > 1:
            # Known before it is computed: bits of left**right, which a huge one would take forever to fill.
            if right * (abs(left).bit_length() - 1) > MAX_BITS:
                raise self._error(right_node, "the power is too large")
            right = max(right, -2 * MAX_BITS)  # 0.0 all the same
        try:
            value = OPERATORS[type(op)](left, right)
        except ZeroDivisionError:
            raise self._error(right_node, "division by zero") from None
        except OverflowError:
            raise self._error(right_node, "the number is too large") from None
        if isinstance(value, complex):
            raise self._error(right_node, "a broken power of a number below 0 is not a number")
        if not is_moderate(value):
            raise self._error(right_node, "the number is too large")
        return value

    def _compare(self, left_node: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> bool:
        left = self.of(left_node)
        for op, right_node in zip(ops, others, strict=True):
            right = self.of(right_node)
            if type(op) in ORDERINGS:
                for node, value in ((left_node, left), (right_node, right)):
                    if not _is_number(value) and not self._passes(value):
                        raise self._error(node, f"only numbers can be smaller or larger, got {describe_value(value)}")
                holds = left is not None and right is not None and ORDERINGS[type(op)](left, right)
            elif isinstance(op, (ast.Eq, ast.NotEq)):
                holds = self._equal(left, right, node=right_node) == isinstance(op, ast.Eq)
            else:
                holds = self._contains(right, left, node=right_node) == isinstance(op, ast.In)
            if not holds:
                return False
            left_node, left = right_node, right
        return True

    def _equal(self, left: Any, right: Any, *, node: ast.expr) -> bool:
        if left is not None and right is not None and _kind(left) is not _kind(right):
            pair = f"{describe_value(left)} and {describe_value(right)}"
            raise self._error(node, f"{pair} are never equal; text stands in quotes, a number does not")
        return bool(left == right)

    def _contains(self, whole: Any, part: Any, *, node: ast.expr) -> bool:
        if isinstance(whole, str) and isinstance(part, str):
            return part in whole
        if self._passes(whole):
            return False
        if not isinstance(whole, list):
            raise self._error(node, f"'in' needs a list, such as [1, 2], got {describe_value(whole)}")
        return any([self._equal(part, each, node=node) for each in whole])

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr]) -> Any:
        values = [self.of(argument) for argument in arguments]
        if name in ("min", "max") and len(values) == 1 and isinstance(values[0], list) and values[0]:
            values = values[0]
        for value in values:
            if not _is_number(value) and not self._passes(value):
                raise self._error(node, f"{name} needs numbers, got {describe_value(value)}")
        if any(value is None for value in values):
            return None
        try:
            value = FUNCTIONS[name](*values)
        except (ValueError, TypeError, OverflowError):
            raise self._error(node, f"{name}({', '.join(map(describe_value, values))}) has no value") from None
        return value

    def _passes(self, value: Any) -> bool:
        return value is None and self._lets_null_through

    def _error(self, node: ast.expr, problem: str) -> ExpressionError:
        return ExpressionError(problem, expression=self._text, column=node.col_offset + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> type:
    return float if _is_number(value) else type(value)
