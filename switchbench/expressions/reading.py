"""From text to a checked tree: Python's own parser, and a list of what is allowed."""

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from switchbench.errors import ExpressionError
from switchbench.expressions.evaluation import Evaluation
from switchbench.expressions.language import (
    COMPARISONS,
    FUNCTIONS,
    MAX_DEPTH,
    MAX_LENGTH,
    OPERATORS,
    WORDS,
    describe_value,
    dotted_name,
    is_moderate,
)

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
        return Evaluation(self.text, values).of(self.tree)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Say whether the expression, a filter, is true of something that may lack some of the named values.

        What is lacking is null. Null is equal to null alone, and smaller or larger than nothing; what is computed from
        it is null; where a truth is needed it is false.

        Args:
            values: The named values.

        Raises:
            ExpressionError: a name has no value, an operation has no result, or the result is not true or false.

        >>> few = parse_expression("num_experts <= 8 or capacity_factor == null")
        >>> few.holds({"num_experts": None, "capacity_factor": 1.25})
        False
        """
        value = Evaluation(self.text, values, is_null_let_through=True).of(self.tree)
        if value is not None and not isinstance(value, bool):
            problem = f"a filter is true or false, such as num_experts <= 16; this is {describe_value(value)}"
            raise ExpressionError(problem, expression=self.text, column=1)
        return bool(value)


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
                if isinstance(value, (int, float)) and not is_moderate(value):
                    self._refuse(node, "the number is too large")
            case ast.Name() | ast.Attribute():
                name = dotted_name(node)
                if name is None:
                    self._refuse(node, "a '.' stands only within a name, such as model.d_model")
                if name in FUNCTIONS:
                    self._refuse(node, f"{name} is a function; it needs its arguments in parentheses")
                if name not in WORDS:
                    self.names.setdefault(name, node.col_offset + 1)
            case ast.Call():
                self._allow_call(node, depth=depth)
            case ast.List(elts=parts) | ast.BoolOp(values=parts):
                self._allow_all(parts, depth=depth)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
                self._allow_all([operand], depth=depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                self._allow_all([left, right], depth=depth)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
                self._allow_all([left, *others], depth=depth)
            case _:
                self._refuse(node, _why_not(node))

    def _allow_all(self, nodes: list[ast.expr], *, depth: int) -> None:
        for node in nodes:
            self.allow(node, depth=depth + 1)

    def _allow_call(self, node: ast.Call, *, depth: int) -> None:
        name = dotted_name(node.func) or ""
        if name not in FUNCTIONS:
            what = f"{name} is not a function" if name else "only a function can be called"
            self._refuse(node, f"{what}; allowed: {', '.join(FUNCTIONS)}")
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
