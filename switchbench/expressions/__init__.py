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

from switchbench.expressions.language import MAX_DEPTH, MAX_LENGTH, describe_value
from switchbench.expressions.reading import Expression, parse_expression

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "Expression", "describe_value", "parse_expression"]
