"""A filter over the cells of a sweep: an expression over their resolved fields."""

from collections.abc import Iterable
from dataclasses import dataclass

from switchbench.errors import ExpressionError
from switchbench.expressions import Expression, describe_value, parse_expression
from switchbench.spec import RunSpec
from switchbench.sweep.names import COMPUTED, all_names, path_of, resolved_value
from switchbench.sweep.source import did_you_mean

SHOWN_VALUES = 8
"""Most values of a name that are listed."""


@dataclass(frozen=True)
class CellFilter:
    """Chooses cells of a sweep.

    Names are those of constraints, and ``seed``. A field that a cell does not have is as in the columns of its results:
    null, which is smaller or larger than nothing, and ``num_experts`` is 1 where dense.
    """

    expression: Expression
    """What must hold of a cell."""
    label: str = "--filter"
    """What it is called in messages."""

    def chooses(self, spec: RunSpec) -> bool:
        """Say whether a cell is chosen.

        Args:
            spec: Its run.

        Raises:
            ExpressionError: the filter is not true or false of it.
        """
        try:
            return self.expression.holds({name: resolved_value(name, spec) for name in self.expression.names})
        except ExpressionError as error:
            raise _labeled(error, text=self.expression.text, label=self.label) from None

    def describe_values(self, specs: Iterable[RunSpec]) -> str:
        """List the values that runs have of the filter's names: ``num_experts is 4 or 16``.

        Args:
            specs: The runs.
        """
        specs = list(specs)
        sentences = []
        for name in self.expression.names:
            values = list(dict.fromkeys(describe_value(resolved_value(name, spec)) for spec in specs))
            shown = " or ".join(values[:SHOWN_VALUES])
            more = f" or one of {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
            sentences.append(f"{name} is {shown}{more}")
        return "; ".join(sentences)


def parse_filter(text: str, *, label: str = "--filter") -> CellFilter:
    """Read a filter such as ``num_experts >= 16 and seed == 0``.

    Args:
        text: The expression.
        label: What to call it in messages.

    Raises:
        ExpressionError: it cannot be read, or uses a name that there is not.
    """
    try:
        expression = parse_expression(text)
    except ExpressionError as error:
        raise _labeled(error, text=text, label=label) from None
    for name, column in expression.names.items():
        if path_of(name) is None and name not in (*COMPUTED, "seed"):
            suggestion = did_you_mean(name, [*all_names(), "seed"]) or f" Computed names: {', '.join(COMPUTED)}."
            problem = f"{label}: {name} is not a field, a computed name or the seed.{suggestion}"
            raise ExpressionError(problem, expression=text, column=column)
    return CellFilter(expression, label=label)


def _labeled(error: ExpressionError, *, text: str, label: str) -> ExpressionError:
    return ExpressionError(f"{label}: {error.problem}", expression=text, column=error.column)
