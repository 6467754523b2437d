"""The small language of derived values, constraints and filters: arithmetic and comparisons over named values.

    numbers, 'text', true, false, null, lists [1, 2], names with dots
    + - * / // % **                       of numbers
    == != < <= > >=   in   not in         also in chains: 1 <= top_k <= 4
    and  or  not      ( )
    min max round ceil floor sqrt log log2 abs

A text is parsed by Python's own parser, every node of the tree is checked against this list, and the tree is evaluated
by walking it. Nothing is ever run as code, and an expression cannot take long: its text, its depth and its numbers are
limited.
"""

import ast
import difflib
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from switchbench.errors import ExpressionError

MAX_LENGTH = 500  # characters
MAX_DEPTH = 40  # operations within operations; a sum of as many terms is as deep
MAX_BITS = 1000  # of whole numbers: about as large as a float can be

_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}

_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_ORDERINGS: dict[type, Any] = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_COMPARISONS = (*_ORDERINGS, ast.Eq, ast.NotEq, ast.In, ast.NotIn)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (min, max, round, math.ceil, math.floor, math.sqrt, math.log, math.log2, abs)
}

# What people write from habit, and what to write here.
_INSTEAD: dict[type[ast.AST], str] = {
    ast.BitXor: "'^' is not allowed; a power is **",
    ast.BitAnd: "'&' is not allowed; write 'and'",
    ast.BitOr: "'|' is not allowed; write 'or'",
    ast.Is: "'is' is not allowed; write ==",
    ast.Tuple: "a list stands in square brackets, such as [1, 2]",
}
_SLIPS = (
    (re.compile(r"&&|\|\|"), "'&&' and '||' are not allowed; write 'and', 'or'"),
    (re.compile(r"!(?!=)"), "'!' is not allowed; write 'not' or !="),
    (re.compile(r"(?<![=<>!*/+%-])=(?!=)"), "'=' is not allowed; to compare, write =="),
)


@dataclass(frozen=True)
class Expression:
    """An expression that has been read."""

    text: str
    """As it was written."""
    names: dict[str, int]
    """The names that it uses, and the column, from 1, where each stands first."""
    tree: ast.expr
    """Its tree, of allowed nodes alone."""

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Give the value of the expression.

        Args:
            values: The named values: numbers, text, true or false, None, or lists of these.

        Raises:
            ExpressionError: a name has no value, or an operation has no result; says where in the text.
        """
        return _Evaluation(self, values).of(self.tree)


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Args:
        text: One line.

    Raises:
        ExpressionError: it is none of the language; says where in the text.

    >>> parse_expression("num_experts * ffn.d_ff <= 65536").names
    {'num_experts': 1, 'ffn.d_ff': 15}
    >>> parse_expression("20 * params_active").evaluate({"params_active": 100})
    2000
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"is longer than {MAX_LENGTH} characters", expression=text, column=1)
    line = text.replace("\t", " ")
    for column, character in enumerate(line, start=1):
        if not character.isprintable():
            problem = f"the character U+{ord(character):04X} is not allowed; an expression is one line"
            raise ExpressionError(problem, expression=text, column=column)
    indent = len(line) - len(line.lstrip())
    if indent == len(line):
        raise ExpressionError("is empty; an expression is such as 20 * params_active", expression=text, column=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful Python, such as `1and 2`
            tree = ast.parse(line[indent:], mode="eval").body
    except SyntaxError as error:
        column = min(error.offset + indent if error.offset else len(text) + 1, len(text) + 1)
        raise _syntax_error(text, column=column) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError("cannot be read", expression=text, column=indent + 1) from None
    check = _Check(text, line=line, indent=indent)
    check.allow(tree, depth=1)
    return Expression(text=text, names=check.names, tree=tree)


def describe_value(value: Any) -> str:
    """A value in a few words, for messages.

    >>> describe_value(None), describe_value("relu"), describe_value(True), describe_value(0.5)
    ('null', "'relu'", 'true', '0.5')
    """
    return next((word for word, meaning in _WORDS.items() if meaning is value), repr(value)[:60])


def _syntax_error(text: str, *, column: int) -> ExpressionError:
    without_text = re.sub(r"'[^']*'|\"[^\"]*\"", lambda found: " " * len(found.group()), text)
    for pattern, problem in _SLIPS:
        if found := pattern.search(without_text):
            return ExpressionError(problem, expression=text, column=found.start() + 1)
    problem = "cannot be read from here on; check operators, quotes and brackets"
    return ExpressionError(problem, expression=text, column=column)


class _Check:
    """Checks a tree against what is allowed, and collects the names."""

    def __init__(self, text: str, *, line: str, indent: int) -> None:
        self.names: dict[str, int] = {}
        self._text = text
        self._encoded = line[indent:].encode()
        self._indent = indent

    def allow(self, node: ast.expr, *, depth: int) -> None:
        """Refuse what is not allowed in a node and beneath it."""
        # From bytes of the stripped line, as Python counts, to characters of the text.
        node.col_offset = len(self._encoded[: node.col_offset].decode(errors="replace")) + self._indent
        if depth > MAX_DEPTH:
            self._refuse(node, f"is nested more than {MAX_DEPTH} operations deep")
        match node:
            case ast.Constant(value=value) if value is not None and not isinstance(value, (int, float, str)):
                self._refuse(node, "only numbers, text, true, false and null are values")
            case ast.Constant(value=value):
                if isinstance(value, (int, float)) and not _is_moderate(value):
                    self._refuse(node, "the number is too large")
            case ast.Name() | ast.Attribute():
                name = _dotted(node)
                if name is None:
                    self._refuse(node, "a '.' stands only within a name, such as model.d_model")
                if name in _FUNCTIONS:
                    self._refuse(node, f"{name} is a function; it needs its arguments in parentheses")
                if name not in _WORDS:
                    self.names.setdefault(name, node.col_offset + 1)
            case ast.Call():
                self._allow_call(node, depth=depth)
            case ast.List(elts=parts) | ast.BoolOp(values=parts):
                self._allow_all(parts, depth=depth)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
                self._allow_all([operand], depth=depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                self._allow_all([left, right], depth=depth)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
                self._allow_all([left, *others], depth=depth)
            case _:
                self._refuse(node, _why_not(node))

    def _allow_all(self, nodes: list[ast.expr], *, depth: int) -> None:
        for node in nodes:
            self.allow(node, depth=depth + 1)

    def _allow_call(self, node: ast.Call, *, depth: int) -> None:
        name = _dotted(node.func) or ""
        if name not in _FUNCTIONS:
            what = f"{name} is not a function" if name else "only a function can be called"
            self._refuse(node, f"{what}; allowed: {', '.join(_FUNCTIONS)}")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self._refuse(node, f"{name} takes plain arguments alone")
        takes_any = name in ("min", "max")
        if not node.args or (len(node.args) > 1 and not takes_any):  # round's second one could take forever
            self._refuse(node, f"{name} takes {'at least ' * takes_any}one argument, got {len(node.args)}")
        self._allow_all(node.args, depth=depth)

    def _refuse(self, node: ast.expr, problem: str) -> NoReturn:
        raise ExpressionError(problem, expression=self._text, column=node.col_offset + 1)


def _why_not(node: ast.expr) -> str:
    parts: list[ast.AST] = [node, *(part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.expr))]
    for part in parts:
        if type(part) in _INSTEAD:
            return _INSTEAD[type(part)]
    return "this is not allowed; an expression is arithmetic, comparisons, and, or and not"


def _dotted(node: ast.expr) -> str | None:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _is_moderate(value: float) -> bool:
    """Whether a number is finite and small enough to go on with."""
    return value.bit_length() <= MAX_BITS if isinstance(value, int) else math.isfinite(value)


class _Evaluation:
    """Evaluates an expression, once."""

    def __init__(self, expression: Expression, values: Mapping[str, Any]) -> None:
        self._expression = expression
        self._values = values

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
                return -number if isinstance(op, ast.USub) else number
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
        name = _dotted(node) or ""
        for known in (_WORDS, self._values):
            if name in known:
                return known[name]
        close = difflib.get_close_matches(name, list(self._values), n=1)
        raise self._error(node, f"{name} is not a name here." + (f" Did you mean '{close[0]}'?" if close else ""))

    def _truth(self, node: ast.expr) -> bool:
        value = self.of(node)
        if not isinstance(value, bool):
            raise self._error(node, f"and, or and not need true or false, got {describe_value(value)}")
        return value

    def _number(self, node: ast.expr) -> Any:
        value = self.of(node)
        if not _is_number(value):
            got = f"{_dotted(node)}, which is " if _dotted(node) else ""
            raise self._error(node, f"a number is needed here, got {got}{describe_value(value)}")
        return value

    def _arithmetic(self, op: ast.operator, left_node: ast.expr, right_node: ast.expr) -> Any:
        left, right = self._number(left_node), self._number(right_node)
        if isinstance(op, ast.Pow) and isinstance(left, int) and isinstance(right, int) and abs(left) > 1:
            # Known before it is computed: bits of left**right, which a huge one would take forever to fill.
            if right * (abs(left).bit_length() - 1) > MAX_BITS:
                raise self._error(right_node, "the power is too large")
            right = max(right, -2 * MAX_BITS)  # 0.0 all the same
        try:
            value = _OPERATORS[type(op)](left, right)
        except ZeroDivisionError:
            raise self._error(right_node, "division by zero") from None
        except OverflowError:
            raise self._error(right_node, "the number is too large") from None
        if isinstance(value, complex):
            raise self._error(right_node, "a broken power of a number below 0 is not a number")
        if not _is_moderate(value):
            raise self._error(right_node, "the number is too large")
        return value

    def _compare(self, left_node: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> bool:
        left = self.of(left_node)
        for op, right_node in zip(ops, others, strict=True):
            right = self.of(right_node)
            if type(op) in _ORDERINGS:
                for node, value in ((left_node, left), (right_node, right)):
                    if not _is_number(value):
                        raise self._error(node, f"only numbers can be smaller or larger, got {describe_value(value)}")
                holds = _ORDERINGS[type(op)](left, right)
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
        if not isinstance(whole, list):
            raise self._error(node, f"'in' needs a list, such as [1, 2], got {describe_value(whole)}")
        return any([self._equal(part, each, node=node) for each in whole])

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr]) -> Any:
        values = [self.of(argument) for argument in arguments]
        if name in ("min", "max") and len(values) == 1 and isinstance(values[0], list) and values[0]:
            values = values[0]
        for value in values:
            if not _is_number(value):
                raise self._error(node, f"{name} needs numbers, got {describe_value(value)}")
        try:
            value = _FUNCTIONS[name](*values)
        except (ValueError, TypeError, OverflowError):
            raise self._error(node, f"{name}({', '.join(map(describe_value, values))}) has no value") from None
        return value

    def _error(self, node: ast.expr, problem: str) -> ExpressionError:
        return ExpressionError(problem, expression=self._expression.text, column=node.col_offset + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> type:
    return float if _is_number(value) else type(value)
