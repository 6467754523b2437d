"""The error tree. Every error says where, what it got, what is allowed, and what to do.

SwitchbenchError              exit code 1
├── UsageError                exit code 2: the request itself is wrong; nothing was started
│   ├── SpecError             a value of a specification is out of range
│   ├── SweepFileError        a sweep file has problems: all of them, each with file:line:column
│   ├── ExpressionError       an expression cannot be read, or has no value: where in its text
│   ├── CorpusError           a corpus cannot be found, read or split
│   ├── TableError            a table cannot be read, or lacks a column
│   └── ResultsFolderError    a results folder cannot be written or read
├── NothingToReportError      exit code 4: no usable run
├── GateFailedError           exit code 4: a report meets a condition that it is to fail by
└── UnfittableError           exit code 4: the rows do not determine the law
"""

from dataclasses import dataclass


class SwitchbenchError(Exception):
    """Base of all errors that are meant for the user; printed without a traceback."""

    exit_code = 1


class UsageError(SwitchbenchError):
    """The request is wrong; nothing was started and nothing was lost."""

    exit_code = 2


class SpecError(UsageError):
    """A value of a specification is out of range."""


class CorpusError(UsageError):
    """A corpus cannot be found, read or split."""


class TableError(UsageError):
    """A table cannot be read, or lacks a column."""


class ResultsFolderError(UsageError):
    """A results folder cannot be written or read."""


class NothingToReportError(SwitchbenchError):
    """There is no usable run to report."""

    exit_code = 4


class GateFailedError(SwitchbenchError):
    """A report meets a condition that it is to fail by."""

    exit_code = 4


class ExpressionError(UsageError):
    """An expression cannot be read, or has no value.

    Attributes:
        problem: What is wrong.
        column: Where in the expression, from 1.
    """

    def __init__(self, problem: str, *, expression: str, column: int) -> None:
        self.problem = problem
        self.column = column
        shown = "".join(character if character.isprintable() else " " for character in expression[:500])
        super().__init__(f"{problem}\n    {shown.rstrip()}\n    {' ' * (column - 1)}^")


class UnfittableError(SwitchbenchError):
    """The rows of a table do not determine the law that is to be fitted."""

    exit_code = 4


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in a sweep file, and where."""

    message: str
    """What is wrong, what was got, what is allowed; may end in a suggestion."""
    file: str
    """The file's path as the user wrote it, or ``command line`` for an override."""
    line: int | None = None
    """Line, from 1; None in an override, and where the problem has no place of its own."""
    column: int | None = None
    """Column, from 1."""
    source: str | None = None
    """The text of that line, for the caret."""

    def __str__(self) -> str:
        numbers = () if self.line is None else (self.line, self.column)
        place = ":".join(str(part) for part in (self.file, *numbers) if part is not None)
        text = f"{place}: {self.message}"
        if self.source is not None and self.column is not None:
            text += f"\n    {self.source.rstrip()}\n    {' ' * (self.column - 1)}^"
        return text


class SweepFileError(UsageError):
    """A sweep file has problems; all of them are listed at once.

    Attributes:
        problems: The problems, in the order of the file.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))
