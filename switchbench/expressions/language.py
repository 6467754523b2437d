"""What expressions are made of: words, operators, functions, names, and limits."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

MAX_LENGTH = 500  # characters
MAX_DEPTH = 40  # operations within operations; a sum of as many terms is as deep
MAX_BITS = 1000  # of whole numbers: about as large as a float can be

WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}

OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
ORDERINGS: dict[type, Any] = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
COMPARISONS = (*ORDERINGS, ast.Eq, ast.NotEq, ast.In, ast.NotIn)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (min, max, round, math.ceil, math.floor, math.sqrt, math.log, math.log2, abs)
}


def describe_value(value: Any) -> str:
    """A value in a few words, for messages.

    >>> describe_value(None), describe_value("relu"), describe_value(True), describe_value(0.5)
    ('null', "'relu'", 'true', '0.5')
    """
    return next((word for word, meaning in WORDS.items() if meaning is value), repr(value)[:60])


def dotted_name(node: ast.expr) -> str | None:
    """The name that a node is, with its dots; None where it is none."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def is_moderate(value: float) -> bool:
    """Whether a number is finite and small enough to go on with."""
    return value.bit_length() <= MAX_BITS if isinstance(value, int) else math.isfinite(value)
